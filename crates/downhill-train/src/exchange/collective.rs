//! The collectives, made of rounds in which every rank hands a message to every other.

use core::ops::Range;
use std::sync::Arc;

use super::number::Number;
use super::tag::{Kind, Tag, payload};
use super::{Exchange, ExchangeError, Message};

/// Up to so many bytes go to every rank at once: a round less, for more bytes.
const DIRECT: usize = 8 << 10;

/// More bytes than this go to a rank piece by piece, which bounds the memory for messages and keeps them in the cache.
const SEGMENT: usize = 1 << 20;

/// And the share of a rank in what all have a share of: the more ranks, the longer the pieces, or latency would count.
const SHARE: usize = 512 << 10;

/// One round of messages that are all of one call.
fn round<E: Exchange + ?Sized>(
    exchange: &mut E,
    tag: &Tag,
    messages: Vec<Message>,
) -> Result<(Vec<Message>, Vec<Tag>), ExchangeError> {
    let received = exchange.all_to_all(messages)?;
    if received.len() != exchange.size() {
        let (found, size) = (received.len(), exchange.size());
        return Err(ExchangeError::Transport {
            reason: format!("{found} messages came from {size} ranks"),
        });
    }
    let tags = received.iter().enumerate();
    let tags = tags.map(|(rank, message)| tag.same(rank, message));
    let tags = tags.collect::<Result<_, _>>()?;
    Ok((received, tags))
}

/// A round in which every rank gets the same message.
fn tell<E: Exchange + ?Sized>(
    exchange: &mut E,
    tag: &Tag,
    message: Message,
) -> Result<(Vec<Message>, Vec<Tag>), ExchangeError> {
    let messages = vec![message; exchange.size()];
    round(exchange, tag, messages)
}

/// What a rank has of `length` things. Lengths differ by at most one.
fn share(length: usize, size: usize, rank: usize) -> Range<usize> {
    let (each, more) = (length / size, length % size);
    let start = rank * each + rank.min(more);
    start..start + each + usize::from(rank < more)
}

/// The piece from `start` of what a rank has `length` of, which may be nothing.
fn segment(start: usize, length: usize) -> Range<usize> {
    start.min(length)..length.min(start + SEGMENT)
}

fn encoded<N: Number>(tag: &Tag, values: &[N::Value]) -> Message {
    let mut message = tag.head(values.len() * N::BYTES);
    N::append(values, &mut message);
    Arc::new(message)
}

pub(super) fn barrier<E: Exchange + ?Sized>(exchange: &mut E) -> Result<(), ExchangeError> {
    let tag = Tag::new(Kind::Barrier, 0);
    tell(exchange, &tag, tag.message(&[])).map(|_| ())
}

pub(super) fn sum<E: Exchange + ?Sized, N: Number>(
    exchange: &mut E,
    values: &mut [N::Value],
) -> Result<(), ExchangeError> {
    if exchange.size() == 1 {
        return Ok(());
    }
    let tag = Tag::new(N::KIND, values.len());
    if values.len() * N::BYTES <= DIRECT {
        let (received, _) = tell(exchange, &tag, encoded::<N>(&tag, values))?;
        return add::<N>(values, &received);
    }
    for segment in values.chunks_mut(exchange.size() * SHARE / N::BYTES) {
        sum_segment::<E, N>(exchange, &tag, segment)?;
    }
    Ok(())
}

/// Each rank adds a share of its own, and tells the others.
fn sum_segment<E: Exchange + ?Sized, N: Number>(
    exchange: &mut E,
    tag: &Tag,
    values: &mut [N::Value],
) -> Result<(), ExchangeError> {
    let (length, size, rank) = (values.len(), exchange.size(), exchange.rank());
    let share = |rank| share(length, size, rank);
    let shares = (0..size).map(|to| encoded::<N>(tag, &values[share(to)]));
    let (received, _) = round(exchange, tag, shares.collect())?;
    let own = &mut values[share(rank)];
    add::<N>(own, &received)?;
    let (received, _) = tell(exchange, tag, encoded::<N>(tag, own))?;
    for (from, message) in received.iter().enumerate() {
        let values = &mut values[share(from)];
        N::read(values, payload(from, message, values.len() * N::BYTES)?);
    }
    Ok(())
}

/// Begins with the values of rank 0 and not with zero, which would lose the sign of a negative zero.
fn add<N: Number>(values: &mut [N::Value], received: &[Message]) -> Result<(), ExchangeError> {
    let bytes = values.len() * N::BYTES;
    let payloads = received.iter().enumerate();
    let payloads = payloads.map(|(from, message)| payload(from, message, bytes));
    // All are looked at before the first is used: an error leaves the values as they were.
    let payloads = payloads.collect::<Result<Vec<_>, _>>()?;
    for (from, bytes) in payloads.into_iter().enumerate() {
        match from {
            0 => N::read(values, bytes),
            _ => N::add(values, bytes),
        }
    }
    Ok(())
}

pub(super) fn broadcast<E: Exchange + ?Sized>(
    exchange: &mut E,
    root: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), ExchangeError> {
    let is_root = exchange.rank() == root;
    let tag = Tag::of_root(Kind::Broadcast, root, if is_root { bytes.len() } else { 0 });
    let direct = is_root && bytes.len() <= DIRECT;
    let first = tag.message(if direct { bytes } else { &[] });
    let (received, tags) = tell(exchange, &tag, first)?;
    let size = exchange.size();
    let (Some(first), Some(of_root)) = (received.get(root), tags.get(root)) else {
        return Err(ExchangeError::Root { root, size });
    };
    let length = length(root, of_root)?;
    let mut whole = Vec::new();
    if length <= DIRECT {
        whole.extend_from_slice(payload(root, first, length)?);
    } else if size > 1 {
        for start in (0..length).step_by(size * SHARE) {
            let segment = start..length.min(start + size * SHARE);
            let given = if is_root {
                &bytes[segment.clone()]
            } else {
                &[]
            };
            broadcast_segment(exchange, &tag, given, segment.len(), &mut whole)?;
        }
    }
    if !is_root {
        *bytes = whole;
    }
    Ok(())
}

/// The root gives each rank a share, and each rank tells it to those that do not have it: the root sends less than if
/// it told all to each.
fn broadcast_segment<E: Exchange + ?Sized>(
    exchange: &mut E,
    tag: &Tag,
    given: &[u8],
    length: usize,
    whole: &mut Vec<u8>,
) -> Result<(), ExchangeError> {
    let (size, rank, root) = (exchange.size(), exchange.rank(), tag.root as usize);
    let nothing = tag.message(&[]);
    let mut shares = vec![Arc::clone(&nothing); size];
    if rank == root {
        for (to, message) in shares.iter_mut().enumerate() {
            *message = tag.message(&given[share(length, size, to)]);
        }
    }
    let (received, _) = round(exchange, tag, shares)?;
    let own = Arc::clone(&received[root]);
    payload(root, &own, share(length, size, rank).len())?;
    let mut shares = vec![own; size];
    if rank != root {
        shares[root] = nothing;
    }
    let (received, _) = round(exchange, tag, shares)?;
    if rank != root {
        for (from, message) in received.iter().enumerate() {
            whole.extend_from_slice(payload(from, message, share(length, size, from).len())?);
        }
    }
    Ok(())
}

pub(super) fn all_gather<E: Exchange + ?Sized>(
    exchange: &mut E,
    bytes: &[u8],
) -> Result<Vec<Vec<u8>>, ExchangeError> {
    let tag = Tag::new(Kind::AllGather, bytes.len());
    let mut start = 0;
    let mut all = vec![Vec::new(); exchange.size()];
    loop {
        let message = tag.message(&bytes[segment(start, bytes.len())]);
        let (received, tags) = tell(exchange, &tag, message)?;
        let mut longest = 0;
        for (from, (message, tag)) in received.iter().zip(&tags).enumerate() {
            let length = length(from, tag)?;
            longest = longest.max(length);
            let due = segment(start, length).len();
            all[from].extend_from_slice(payload(from, message, due)?);
        }
        start += SEGMENT;
        if start >= longest {
            return Ok(all);
        }
    }
}

/// Only the root gets more than a head from the others.
pub(super) fn gather<E: Exchange + ?Sized>(
    exchange: &mut E,
    root: usize,
    bytes: &[u8],
) -> Result<Vec<Vec<u8>>, ExchangeError> {
    let (size, is_root) = (exchange.size(), exchange.rank() == root);
    let tag = Tag::of_root(Kind::Gather, root, bytes.len());
    let (_, tags) = tell(exchange, &tag, tag.message(&[]))?;
    if root >= size {
        return Err(ExchangeError::Root { root, size });
    }
    let lengths = tags.iter().enumerate();
    let lengths: Vec<usize> = lengths
        .map(|(rank, tag)| length(rank, tag))
        .collect::<Result<_, _>>()?;
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut all = vec![Vec::new(); if is_root { size } else { 0 }];
    for start in (0..longest).step_by(SEGMENT) {
        let mut messages = vec![tag.message(&[]); size];
        messages[root] = tag.message(&bytes[segment(start, bytes.len())]);
        let (received, _) = round(exchange, &tag, messages)?;
        for (from, (all, message)) in all.iter_mut().zip(&received).enumerate() {
            let due = segment(start, lengths[from]).len();
            all.extend_from_slice(payload(from, message, due)?);
        }
    }
    Ok(all)
}

fn length(rank: usize, tag: &Tag) -> Result<usize, ExchangeError> {
    usize::try_from(tag.count).map_err(|_| ExchangeError::Transport {
        reason: format!(
            "rank {rank} has {} bytes, more than this machine can address",
            tag.count
        ),
    })
}
