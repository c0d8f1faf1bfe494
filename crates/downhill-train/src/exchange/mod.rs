//! What the ranks of a data-parallel training tell each other: see
//! [`DriverBuilder::with_exchange`](crate::DriverBuilder::with_exchange).

use core::time::Duration;
use std::sync::Arc;

use burn::tensor::bf16;

mod collective;
mod error;
#[cfg(feature = "mpi")]
mod mpi;
mod number;
mod tag;
mod threads;

pub use error::ExchangeError;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use threads::Threads;

/// How long a rank waits for the others in a collective, if nothing else is set: 60 s.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// What one rank hands to another. Several ranks may be handed the same one, without a copy.
pub type Message = Arc<Vec<u8>>;

/// Collective communication between the ranks of a training, numbered from 0.
///
/// Every rank makes the same calls in the same order. Each call comes back when what it needs has come from the others,
/// and carries its kind and number of elements: ranks that do different things get
/// [`Mismatch`](ExchangeError::Mismatch), all of them, with their buffers as they were.
///
/// [`Threads`] connects the threads of a process, `Mpi` (with the feature `mpi`) those of an MPI job. Another transport has four methods to write; the collectives are made of
/// [`all_to_all`](Self::all_to_all).
///
/// ```
/// use std::thread;
/// use downhill_train::{Exchange, ExchangeError, Threads};
///
/// fn mean(exchange: &mut dyn Exchange, gradient: &mut [f32]) -> Result<(), ExchangeError> {
///     exchange.sum(gradient)?;
///     let size = exchange.size() as f32;
///     gradient.iter_mut().for_each(|element| *element /= size);
///     Ok(())
/// }
///
/// let ranks: Vec<_> = Threads::of(2)
///     .into_iter()
///     .map(|mut exchange| {
///         thread::spawn(move || {
///             let mut gradient = [1.0, 4.0 * exchange.rank() as f32];
///             mean(&mut exchange, &mut gradient).map(|()| gradient)
///         })
///     })
///     .collect();
/// for rank in ranks {
///     assert_eq!(rank.join().unwrap(), Ok([1.0, 2.0]));
/// }
/// ```
///
/// # Errors
///
/// All collectives: [`Mismatch`](ExchangeError::Mismatch), after which one may go on;
/// [`Lost`](ExchangeError::Lost), [`Timeout`](ExchangeError::Timeout) and [`Transport`](ExchangeError::Transport), which
/// every later call returns again, and after which a buffer may be summed in part.
pub trait Exchange: Send {
    /// This rank, below [`size`](Self::size).
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The bytes that this rank has handed to others so far, with the 16 bytes at the head of each message.
    ///
    /// Of `n` ranks and `b` bytes each sends, without heads: in a sum `2 b (n - 1) / n`, or `b (n - 1)` where `b` is at most
    /// 8192; in an `all_gather` `b (n - 1)` of its own `b`, in a `gather` its own `b`; in a broadcast `2 b (n - 1) / n` from the root and
    /// `b (n - 2) / n` from each other one, or `b (n - 1)` and nothing where `b` is at most 8192; in a barrier nothing.
    fn sent(&self) -> u64;

    /// Hands `messages[r]` to each rank `r`, and returns what each has handed to this one, in the order of ranks. A rank's
    /// message to itself comes back as it is.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors); [`Transport`](ExchangeError::Transport) also if there is not one message for each
    /// rank.
    fn all_to_all(&mut self, messages: Vec<Message>) -> Result<Vec<Message>, ExchangeError>;

    /// Makes each element the sum over all ranks, added in the order of ranks: the same bits on each rank and in each run.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn sum(&mut self, buffer: &mut [f32]) -> Result<(), ExchangeError> {
        collective::sum::<Self, f32>(self, buffer)
    }

    /// As [`sum`](Self::sum), of f64.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn sum_f64(&mut self, buffer: &mut [f64]) -> Result<(), ExchangeError> {
        collective::sum::<Self, f64>(self, buffer)
    }

    /// As [`sum`](Self::sum), with half of the bytes: elements travel in bf16, which has 8 bits of precision, and so does
    /// the sum of more than 4096 of them. It is made in f32.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn sum_bf16(&mut self, buffer: &mut [f32]) -> Result<(), ExchangeError> {
        collective::sum::<Self, bf16>(self, buffer)
    }

    /// Makes `bytes` on each rank what it is on `root`. The others need not know its length.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors); [`Root`](ExchangeError::Root) if there is no such rank. `bytes` is as it was after
    /// any error.
    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        collective::broadcast(self, root, bytes)
    }

    /// The bytes of each rank, in the order of ranks. Lengths may differ.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        collective::all_gather(self, bytes)
    }

    /// The bytes of each rank, in the order of ranks, on `root`; nothing on the others. Lengths may differ.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors); [`Root`](ExchangeError::Root) if there is no such rank.
    fn gather(&mut self, root: usize, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        collective::gather(self, root, bytes)
    }

    /// Waits until each rank is here.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn barrier(&mut self) -> Result<(), ExchangeError> {
        collective::barrier(self)
    }
}

/// What a transport checks before it takes messages, and the bytes that it will send.
fn outgoing(rank: usize, size: usize, messages: &[Message]) -> Result<u64, ExchangeError> {
    if messages.len() != size {
        let found = messages.len();
        return Err(ExchangeError::Transport {
            reason: format!("there are {found} messages for {size} ranks"),
        });
    }
    let bytes = messages.iter().map(|message| message.len() as u64);
    Ok(bytes.sum::<u64>() - messages[rank].len() as u64)
}
