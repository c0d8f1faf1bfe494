//! How long ranks take to come together: what an update of several processes costs besides its own work.
//!
//! ```text
//! cargo build --release --features mpi --example exchange
//! mpirun -n 2 target/release/examples/exchange
//! target/release/examples/exchange --threads 2
//! ```
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill::train::{Exchange, ExchangeError, Mpi, Threads};

/// Measures the collectives of a training of several ranks, each as the median of many.
#[derive(Parser)]
#[command(name = "exchange")]
struct Args {
    /// So many threads of this process, in the place of the processes of an MPI job
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Elements of a sum, and how often it is made.
const SUMS: [(usize, usize); 6] = [
    (1, 2000),
    (1 << 10, 1000),
    (1 << 16, 200),
    (1 << 20, 40),
    (1 << 22, 20),
    (1 << 24, 9),
];

fn median(
    exchange: &mut dyn Exchange,
    times: usize,
    mut work: impl FnMut(&mut dyn Exchange) -> Result<(), ExchangeError>,
) -> Result<Duration, ExchangeError> {
    work(exchange)?;
    work(exchange)?;
    let mut all = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        work(exchange)?;
        all.push(begun.elapsed());
    }
    all.sort();
    Ok(all[times / 2])
}

fn size_of(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn measure(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["", "f32", "in bf16"]);
    let barrier = median(exchange, 2000, |exchange| exchange.barrier())?;
    table.add_row([
        "barrier".to_owned(),
        format!("{barrier:.1?}"),
        String::new(),
    ]);
    for (elements, times) in SUMS {
        let mut buffer = vec![0.0; elements];
        let single = median(exchange, times, |exchange| exchange.sum(&mut buffer))?;
        let half = median(exchange, times, |exchange| exchange.sum_bf16(&mut buffer))?;
        let name = format!("sum of {}", size_of(4 * elements));
        table.add_row([name, format!("{single:.1?}"), format!("{half:.1?}")]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if exchange.rank() == 0 {
        println!("{} ranks\n{table}", exchange.size());
    }
    Ok(())
}

fn run(args: &Args) -> Result<(), ExchangeError> {
    // As in a process that has had a large tensor: from then on the allocator keeps what is freed, and pages are not made
    // anew for each message.
    drop(black_box(vec![0_u8; 30 << 20]));
    let Some(threads) = args.threads else {
        return measure(&mut Mpi::init()?);
    };
    thread::scope(|scope| {
        let ranks = Threads::of(threads.into()).into_iter();
        let ranks: Vec<_> = ranks
            .map(|mut exchange| scope.spawn(move || measure(&mut exchange)))
            .collect();
        let mut ended = ranks.into_iter().map(|rank| rank.join());
        ended.try_for_each(|rank| rank.expect("a rank does not panic"))
    })
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
