//! Ranks that are threads of one process.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Exchange, ExchangeError, Message, TIMEOUT, outgoing};

/// A rank that is a thread of this process: for several devices in a process, and for tests.
///
/// Each thread owns one handle. A handle that is dropped, by a panic or because its thread is done, is
/// [`Lost`](ExchangeError::Lost) to those that wait for it then or later, and they hear of it at once. What has failed
/// has failed for all: every rank gets the first error.
///
/// ```
/// use std::thread;
/// use downhill_train::{Exchange, ExchangeError, Threads};
///
/// # fn main() -> Result<(), ExchangeError> {
/// let [mut first, mut second] = <[_; 2]>::try_from(Threads::of(2)).unwrap();
/// let other = thread::spawn(move || {
///     let mut settings = Vec::new();
///     second.broadcast(0, &mut settings)?;
///     second.all_gather(&settings[..1])
/// });
/// first.broadcast(0, &mut b"lr = 0.1".to_vec())?;
/// let gathered = first.all_gather(b"")?;
/// assert_eq!(gathered, [b"".to_vec(), b"l".to_vec()]);
/// assert_eq!(other.join().unwrap(), Ok(gathered));
/// assert_eq!(first.barrier(), Err(ExchangeError::Lost { rank: 1 }));
/// # Ok(())
/// # }
/// ```
pub struct Threads {
    rank: usize,
    sent: u64,
    timeout: Duration,
    shared: Arc<Shared>,
}

struct Shared {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Of each pair of ranks, what has been sent and not taken yet.
    boxes: Vec<VecDeque<Message>>,
    /// Ranks that have left, in the order in which they did: the first may have made the others leave.
    lost: Vec<usize>,
    failure: Option<ExchangeError>,
}

impl Threads {
    /// The handles of so many ranks, in their order.
    pub fn of(size: usize) -> Vec<Self> {
        let shared = Arc::new(Shared {
            size,
            state: Mutex::new(State {
                boxes: vec![VecDeque::new(); size * size],
                lost: Vec::new(),
                failure: None,
            }),
            changed: Condvar::new(),
        });
        let handle = |rank| Self {
            rank,
            sent: 0,
            timeout: TIMEOUT,
            shared: Arc::clone(&shared),
        };
        (0..size).map(handle).collect()
    }

    /// Sets how long this rank waits for the others in a collective; [`TIMEOUT`] if not set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Shared {
    // No code that can panic runs under the lock, so that its state is good even if it is poisoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, from: usize, messages: Vec<Message>) -> Result<(), ExchangeError> {
        let mut state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        for (to, message) in messages.into_iter().enumerate() {
            state.boxes[to * self.size + from].push_back(message);
        }
        self.changed.notify_all();
        Ok(())
    }

    fn take(&self, to: usize, timeout: Duration) -> Result<Vec<Message>, ExchangeError> {
        let begun = Instant::now();
        let boxes = to * self.size..(to + 1) * self.size;
        let mut state = self.lock();
        loop {
            let missing = boxes.clone().filter(|&b| state.boxes[b].is_empty());
            let missing: Vec<usize> = missing.map(|b| b - boxes.start).collect();
            if missing.is_empty() {
                let boxes = &mut state.boxes[boxes];
                return Ok(boxes.iter_mut().filter_map(VecDeque::pop_front).collect());
            }
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let lost = state.lost.iter().find(|rank| missing.contains(rank));
            let waited = begun.elapsed();
            let failure = match (lost, timeout.checked_sub(waited)) {
                (Some(&rank), _) => ExchangeError::Lost { rank },
                (None, None) => ExchangeError::Timeout { waited, missing },
                (None, Some(left)) => {
                    let waiting = self.changed.wait_timeout(state, left);
                    state = waiting.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            };
            state.failure = Some(failure.clone());
            self.changed.notify_all();
            return Err(failure);
        }
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn all_to_all(&mut self, messages: Vec<Message>) -> Result<Vec<Message>, ExchangeError> {
        let bytes = outgoing(self.rank, self.shared.size, &messages)?;
        self.shared.put(self.rank, messages)?;
        self.sent += bytes;
        self.shared.take(self.rank, self.timeout)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.lock().lost.push(self.rank);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("rank", &self.rank)
            .field("size", &self.shared.size)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
