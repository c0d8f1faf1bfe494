//! The thread that calls MPI, and is alone in doing so.

use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use mpi::Threading;
use mpi::environment::{Universe, initialize_with_threading, is_finalized};
use mpi::request::{LocalScope, Request, scope};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::{Destination, Equivalence, Source};

use crate::exchange::{ExchangeError, Message};

/// MPI's tag of the messages of a round.
const ROUND: i32 = 1;

/// And of the message of a rank that is not going to send another one.
const LEAVE: i32 = 2;

/// Between collectives, the shortest and the longest time after which messages are looked for.
const IDLE: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];

/// Before the others hear that a rank has left: `mpirun` ends all ranks when the first one fails, and the one that has left
/// may have something to say of why.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(10);

pub(super) type Reply = Result<Vec<Message>, ExchangeError>;

pub(super) enum Command {
    Round {
        messages: Vec<Message>,
        timeout: Duration,
    },
    End {
        timeout: Duration,
    },
    Abort(i32),
}

/// Ranks and requests as far as they have come in one round.
type Pending<'a, 's> = Vec<(usize, Option<Request<'a, [u8], &'s LocalScope<'a>>>)>;

struct Worker {
    world: SimpleCommunicator,
    rank: usize,
    size: usize,
    commands: Receiver<Command>,
    replies: Sender<Reply>,
}

pub(super) fn run(
    started: &Sender<Result<(usize, usize), String>>,
    commands: Receiver<Command>,
    replies: Sender<Reply>,
) {
    // Whoever waits for an answer is gone if it cannot be sent.
    let (universe, worker) = match start(commands, replies) {
        Ok(both) => both,
        Err(reason) => return started.send(Err(reason)).unwrap_or_default(),
    };
    if started.send(Ok((worker.rank, worker.size))).is_err() {
        return;
    }
    worker.serve();
    drop(universe);
    let _ = worker.replies.send(Ok(Vec::new()));
}

fn start(
    commands: Receiver<Command>,
    replies: Sender<Reply>,
) -> Result<(Universe, Worker), String> {
    let Some((universe, threading)) = initialize_with_threading(Threading::Funneled) else {
        let what = match is_finalized() {
            true => "finalised",
            false => "initialised",
        };
        return Err(format!(
            "MPI has been {what} in this process already, and starts only once"
        ));
    };
    if threading < Threading::Funneled {
        return Err("this MPI does not work in a process with several threads".to_owned());
    }
    let world = universe.world();
    let number = |rank: i32| usize::try_from(rank).map_err(|_| format!("MPI has a rank {rank}"));
    let (rank, size) = (number(world.rank())?, number(world.size())?);
    let worker = Worker {
        world,
        rank,
        size,
        commands,
        replies,
    };
    Ok((universe, worker))
}

impl Worker {
    /// Comes back when all ranks are at their end.
    fn serve(&self) {
        let [mut idle, longest] = IDLE;
        loop {
            match self.commands.recv_timeout(idle) {
                Ok(Command::Round { messages, timeout }) => {
                    let received = self.round(ROUND, messages, timeout);
                    let _ = self.replies.send(Ok(received));
                    idle = IDLE[0];
                }
                Ok(Command::End { timeout }) => {
                    let nothing = Message::default();
                    self.round(LEAVE, vec![nothing; self.size], timeout);
                    return;
                }
                Ok(Command::Abort(code)) => self.world.abort(code),
                Err(RecvTimeoutError::Timeout) => {
                    self.progress();
                    idle = longest.min(idle * 2);
                }
                Err(RecvTimeoutError::Disconnected) => park(),
            }
        }
    }

    /// Any call makes MPI deliver what it has.
    fn progress(&self) {
        let _ = self.world.any_process().immediate_probe();
    }

    /// Does not come back after a failure: requests may not be left before they are complete, since MPI writes into
    /// their buffers.
    fn round(&self, tag: i32, messages: Vec<Message>, timeout: Duration) -> Vec<Message> {
        let mut received = vec![Vec::new(); self.size];
        scope(|scope| {
            let mut slots: Vec<Option<&mut Vec<u8>>> = received.iter_mut().map(Some).collect();
            slots[self.rank] = None;
            let mut pending = Pending::new();
            // Each begins with the rank after its own, or all would send to the same one first.
            for to in (1..self.size).map(|step| (self.rank + step) % self.size) {
                let process = self.world.process_at_rank(to as i32);
                let request = process.immediate_send_with_tag(scope, &messages[to][..], tag);
                pending.push((to, Some(request)));
            }
            let mut waiting = Waiting::new();
            loop {
                let mut moved = false;
                for (from, entry) in slots.iter_mut().enumerate() {
                    if let Some(slot) = entry.take() {
                        let found = self.receive(scope, tag, from, slot);
                        moved |= found.is_ok();
                        match found {
                            Ok(request) => pending.push((from, Some(request))),
                            Err(slot) => *entry = Some(slot),
                        }
                    }
                }
                for (_, entry) in &mut pending {
                    if let Some(request) = entry.take() {
                        *entry = request.test().err();
                        moved |= entry.is_none();
                    }
                }
                pending.retain(|(_, request)| request.is_some());
                if pending.is_empty() && slots.iter().all(Option::is_none) {
                    return;
                }
                if moved {
                    waiting = waiting.again();
                } else if waiting.begun.elapsed() < timeout {
                    waiting.pause();
                } else {
                    let open = |rank: &usize| {
                        slots[*rank].is_some() || pending.iter().any(|(other, _)| other == rank)
                    };
                    self.fail(ExchangeError::Timeout {
                        waited: waiting.begun.elapsed(),
                        missing: (0..self.size).filter(open).collect(),
                    })
                }
            }
        });
        let mut received: Vec<_> = received.into_iter().map(Arc::new).collect();
        received[self.rank] = Arc::clone(&messages[self.rank]);
        received
    }

    /// Begins to receive the next message of a rank, or hands the slot back if there is none.
    ///
    /// Of any tag, since only then MPI promises that a rank's messages are found in the order in which they were sent.
    fn receive<'a, 's>(
        &self,
        scope: &'s LocalScope<'a>,
        tag: i32,
        from: usize,
        slot: &'a mut Vec<u8>,
    ) -> Result<Request<'a, [u8], &'s LocalScope<'a>>, &'a mut Vec<u8>> {
        let process = self.world.process_at_rank(from as i32);
        let Some((message, status)) = process.immediate_matched_probe() else {
            return Err(slot);
        };
        let length = usize::try_from(status.count(u8::equivalent_datatype()));
        let error = match length {
            _ if status.tag() != tag => ExchangeError::Lost { rank: from },
            Err(_) => ExchangeError::Transport {
                reason: format!("rank {from} has sent more than MPI can count"),
            },
            Ok(length) => {
                slot.resize(length, 0);
                return Ok(message.immediate_matched_receive_into(scope, &mut slot[..]));
            }
        };
        // It would panic if it were dropped before it is received, which nobody wants any more.
        core::mem::forget(message);
        if tag == ROUND {
            thread::sleep(LAST_WORDS);
        }
        self.fail(error)
    }

    fn fail(&self, error: ExchangeError) -> ! {
        let _ = self.replies.send(Err(error));
        loop {
            match self.commands.recv_timeout(IDLE[1]) {
                Ok(Command::Abort(code)) => self.world.abort(code),
                // What has been sent may still be on its way, to ranks that can go on.
                Ok(_) | Err(RecvTimeoutError::Timeout) => self.progress(),
                Err(RecvTimeoutError::Disconnected) => park(),
            }
        }
    }
}

/// Leaves MPI alone, until the process ends.
fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Looks again at once for a while, then lets others run, and then sleeps: there may be more ranks than cores.
struct Waiting {
    begun: Instant,
    moved: Instant,
}

impl Waiting {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            moved: now,
        }
    }

    fn again(self) -> Self {
        Self {
            moved: Instant::now(),
            ..self
        }
    }

    fn pause(&self) {
        match self.moved.elapsed().as_micros() {
            0..20 => core::hint::spin_loop(),
            20..5000 => thread::yield_now(),
            waited => thread::sleep(Duration::from_micros((waited / 50).min(1000) as u64)),
        }
    }
}
