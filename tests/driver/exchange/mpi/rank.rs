//! What a process of a job does.

use std::process::{self, Command};
use std::time::Duration;
use std::{env, thread};

use downhill::train::exchange::{Exchange, ExchangeError, Message, Mpi};

use super::super::collectives;
use super::MODE;

#[test]
#[ignore = "the tests beside it run it under mpirun"]
fn rank() {
    let mode = env::var(MODE).unwrap_or_default();
    process::exit(match with(&mode) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    })
}

fn with(mode: &str) -> Result<(), String> {
    let mut exchange = Mpi::init().map_err(|error| error.to_string())?;
    let rank = exchange.rank();
    let outcome = match mode {
        "init" => init(exchange),
        "abort" => {
            exchange.barrier().map_err(|error| error.to_string())?;
            match rank {
                1 => exchange.abort(42),
                _ => stuck(),
            }
        }
        "finish-late" => {
            thread::sleep(Duration::from_millis(300 * rank as u64));
            Ok(())
        }
        // A handle that goes while others are stuck may not hang for longer than the timeout.
        "drop" => {
            let exchange = exchange.with_timeout(Duration::from_secs(1));
            match rank {
                1 => stuck(),
                _ => drop(exchange),
            }
            Ok(())
        }
        "hang" => exchange.barrier().and_then(|()| {
            let mut exchange = exchange.with_timeout(Duration::from_secs(1));
            match rank {
                1 => stuck(),
                _ => exchange.sum(&mut [1.0; 100]),
            }
        }),
        "hang-abort" => {
            exchange = exchange.with_timeout(Duration::from_secs(1));
            match rank {
                1 => stuck(),
                _ => {
                    println!("{}", exchange.barrier().unwrap_err());
                    exchange.abort(42)
                }
            }
        }
        // In the midst of a transfer, as a rank whose machine is gone.
        "stop" => exchange.barrier().and_then(|()| {
            let mut exchange = exchange.with_timeout(Duration::from_secs(1));
            if rank == 1 {
                thread::spawn(|| {
                    thread::sleep(Duration::from_millis(200));
                    signal("-STOP");
                });
            }
            loop {
                exchange.sum(&mut vec![1.0; 1 << 24])?;
            }
        }),
        mode => work(mode, &mut exchange),
    };
    outcome.map_err(|error| format!("rank {rank}: {error}"))
}

fn work(mode: &str, exchange: &mut Mpi) -> Result<(), ExchangeError> {
    match mode {
        "check" => {
            collectives::all(exchange)?;
            collectives::sent(exchange)?;
            collectives::mismatch(exchange)?;
            println!("rank {} of {} is done", exchange.rank(), exchange.size());
            return Ok(());
        }
        _ => exchange.barrier()?,
    }
    if exchange.rank() == 1 {
        match mode {
            "early" => return Ok(()),
            "early-error" => {
                return Err(ExchangeError::Transport {
                    reason: "a cause".to_owned(),
                });
            }
            "panic" => panic!("on purpose"),
            "exit" => std::process::exit(0),
            "kill" => {
                signal("-KILL");
                stuck();
            }
            _ => {}
        }
    }
    exchange.sum(&mut [1.0; 100_000])
}

fn signal(name: &str) {
    let this = std::process::id().to_string();
    let sent = Command::new("kill").args([name, &this]).status();
    println!("{sent:?}");
}

fn stuck() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn init(mut exchange: Mpi) -> Result<(), ExchangeError> {
    let long = Message::new(vec![0; 1 << 31]);
    println!("{}", exchange.all_to_all(vec![long]).unwrap_err());
    exchange.barrier()?;
    println!("{}", Mpi::init().unwrap_err());
    drop(exchange);
    println!("{}", Mpi::init().unwrap_err());
    Ok(())
}
