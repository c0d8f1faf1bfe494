//! Ranks that are processes of an MPI job.

use core::fmt;
use core::time::Duration;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use super::{Exchange, ExchangeError, Message, TIMEOUT, outgoing};
use worker::{Command, LAST_WORDS, Reply};

mod worker;

/// What a call of MPI that does not come back gets on top of the timeout.
const GRACE: Duration = Duration::from_secs(5);

/// A rank that is a process, started by `mpirun` or the like: on one machine or several. Without it the process is a
/// world of one.
///
/// ```no_run
/// use downhill_train::{Exchange, ExchangeError, Mpi};
///
/// fn main() -> Result<(), ExchangeError> {
///     let mut exchange = Mpi::init()?;
///     let mut rank = [exchange.rank() as f32];
///     exchange.sum(&mut rank)?;
///     println!("{rank:?}");
///     Ok(())
/// }
/// ```
///
/// # How it ends
///
/// A handle that is dropped waits until the others drop theirs, at most for the timeout, and finalises MPI. If they call a
/// collective instead, they get [`Lost`](ExchangeError::Lost), and the drop does not wait. After an error other than
/// [`Mismatch`](ExchangeError::Mismatch), and in a panic, it does not wait either, and MPI is *not* finalised: that could
/// hang. So return the error from `main`, and do not call [`process::exit`]: the error is printed, the process exits with 1,
/// and `mpirun` ends the other ranks, also those that hang, and exits with 1 itself. Where something else than Open MPI's
/// `mpirun` starts the ranks and does not end the job with one of them, call [`abort`](Self::abort).
///
/// A rank that is killed cannot tell the others, and `mpirun` ends the job (Open MPI 4.1: after a second, with 137 for
/// `SIGKILL`). Where it does not, they get [`Timeout`](ExchangeError::Timeout).
///
/// # What is called
///
/// Messages go by `MPI_Isend`, and are found with `MPI_Improbe` and received with `MPI_Imrecv`, all tested with `MPI_Test`
/// until the timeout: a collective of MPI itself could not be left when a rank does not come, could not tell which one, and
/// would sum in an order of its own. One thread makes these calls, and initialises and finalises MPI
/// (`MPI_THREAD_FUNNELED`). It stays behind with the buffers of a call that has failed, since MPI may still write into them;
/// this is why bytes are copied once on their way out and once on their way in. Between collectives it looks for messages
/// now and then, without which MPI need not deliver what has been sent.
///
/// It is alone on `MPI_COMM_WORLD`: a program must not call MPI beside it. Collectives cut what is long in pieces; a single
/// message of more than `i32::MAX` bytes is refused.
pub struct Mpi {
    rank: usize,
    size: usize,
    sent: u64,
    timeout: Duration,
    failure: Option<ExchangeError>,
    commands: Sender<Command>,
    replies: Receiver<Reply>,
}

impl Mpi {
    /// Initialises MPI, and waits until all ranks have done so.
    ///
    /// # Errors
    ///
    /// [`Init`](ExchangeError::Init) if MPI has been initialised in this process before, also if it has been finalised
    /// since: MPI allows it once. Where MPI itself cannot start it ends the process.
    pub fn init() -> Result<Self, ExchangeError> {
        let (commands, their_commands) = channel();
        let (their_replies, replies) = channel();
        let (started, start) = channel();
        let spawned = thread::Builder::new()
            .name("mpi".to_owned())
            .spawn(move || worker::run(&started, their_commands, their_replies));
        let failed = |reason| ExchangeError::Init { reason };
        spawned.map_err(|error| failed(format!("no thread for MPI: {error}")))?;
        let (rank, size) = start
            .recv()
            .unwrap_or_else(|_| Err("the thread that calls MPI has ended".to_owned()))
            .map_err(failed)?;
        Ok(Self {
            rank,
            size,
            sent: 0,
            timeout: TIMEOUT,
            failure: None,
            commands,
            replies,
        })
    }

    /// Sets how long this rank waits for the others in a collective, and at the end; [`TIMEOUT`] if not set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends all processes of the job at once, by `MPI_Abort`, with this exit code.
    ///
    /// For launchers that do not end the job when one process exits with an error; print what was wrong before.
    pub fn abort(self, code: i32) -> ! {
        if self.commands.send(Command::Abort(code)).is_ok() {
            // `MPI_Abort` ends this process too, if it works.
            thread::sleep(GRACE);
        }
        process::exit(code)
    }

    fn ask(&self, command: Command) -> Reply {
        let reply = match self.commands.send(command) {
            Ok(()) => self
                .replies
                .recv_timeout(self.timeout.saturating_add(GRACE)),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        reply.unwrap_or_else(|error| {
            let reason = match error {
                RecvTimeoutError::Timeout => "a call of MPI does not come back",
                RecvTimeoutError::Disconnected => "the thread that calls MPI has ended",
            };
            Err(ExchangeError::Transport {
                reason: reason.to_owned(),
            })
        })
    }
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn all_to_all(&mut self, messages: Vec<Message>) -> Result<Vec<Message>, ExchangeError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let bytes = outgoing(self.rank, self.size, &messages)?;
        if let Some(long) = messages.iter().find(|m| i32::try_from(m.len()).is_err()) {
            let (found, most) = (long.len(), i32::MAX);
            return Err(ExchangeError::Transport {
                reason: format!("a message of {found} bytes: MPI carries at most {most} in one"),
            });
        }
        self.sent += bytes;
        let reply = self.ask(Command::Round {
            messages,
            timeout: self.timeout,
        });
        self.failure = reply.as_ref().err().cloned();
        reply
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let end = Command::End {
            timeout: self.timeout,
        };
        if thread::panicking() {
            // The others are told, but not waited for.
            let _ = self.commands.send(end);
            let _ = self.replies.recv_timeout(LAST_WORDS);
        } else {
            // Nobody is left to whom an error could be said.
            let _ = self.ask(end);
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi")
            .field("rank", &self.rank)
            .field("size", &self.size)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
