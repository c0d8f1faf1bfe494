//! `downhill leaderboard`: all optimizers on all problems.

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::CellAlignment;
use downhill_lab::leaderboard::{Contender, Leaderboard, Standings, write};
use downhill_lab::protocol::setups;
use downhill_lab::results::Trial;
use downhill_lab::run::run_among;
use downhill_lab::source::machine;
use downhill_optim::OptimizerConfig;
use downhill_problems::{AnyProblem, by_name};

use super::device::{self, DeviceName};
use super::{Failure, failed, json, number, printable, printable_path, problem, runs, table};

/// Compare all optimizers on all problems, with settings searched and with one setting for everything
///
/// Each optimizer is tried with the same number of settings on every problem: its own ones, and quasi-random ones
/// around them. On one track the setting that reached a problem's target first is run again from several seeds, on the
/// other the one that did best on all problems together. Runs are written as they are finished, and the same command
/// goes on where it was stopped.
#[derive(clap::Args)]
pub struct Args {
    /// Problems, separated by commas [default: those that have data]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = problem)]
    problem: Vec<AnyProblem>,

    /// Optimizers, separated by commas [default: all that are not for comparison only]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = optimizer)]
    optimizer: Vec<OptimizerConfig>,

    /// Settings that each optimizer is tried with, its own among them
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    setups: u32,

    /// Seeds of the runs that are counted: 1 to N
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,

    /// What to compute on
    #[arg(long, value_enum)]
    device: Option<DeviceName>,

    /// Runs at once [default: the processor's threads]; the results are the same, times are longer
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,

    /// Make the runs of the I-th of N shares of the optimizers, without a page; `downhill merge` puts the folders
    /// together
    #[arg(long, value_name = "I/N", value_parser = runs::shard)]
    shard: Option<(usize, usize)>,

    /// Folder of the runs and of the page
    #[arg(long, value_name = "DIR", default_value = "leaderboard")]
    out: PathBuf,

    /// Print the standings as JSON instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

/// What a leaderboard is about unless something else is asked for: models and data of several kinds.
const PROBLEMS: [&str; 12] = [
    "least-squares",
    "matrix-factorization",
    "pinn",
    "digits-logistic",
    "digits-mlp",
    "digits-conv",
    "digits-resnet",
    "digits-autoencoder",
    "digits-bandit",
    "char-rnn",
    "char-transformer-small",
    "char-transformer",
];

fn optimizer(name: &str) -> Result<OptimizerConfig, String> {
    OptimizerConfig::by_name(name).map_err(|error| printable(&error.to_string()))
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let jobs = runs::jobs(args.jobs);
    let (device_name, device) = device::open(args.device)?;
    let leaderboard = leaderboard(args, device_name)?;
    let mut store = runs::open(&args.out)?;
    let interrupted = runs::interrupted()?;
    let mut progress = runs::Progress::new(leaderboard.runs());
    let bar = progress.bar.clone();
    let make = |trial: &Trial| run_among(&leaderboard.problems, trial, &device, &interrupted);
    let share = args.shard.unwrap_or((0, 1));
    let result = leaderboard.carry_out(share, jobs, &mut store, &mut progress, &make);
    bar.finish_and_clear();
    let cells = result.map_err(|stopped| runs::stopped(stopped, &store, &args.out))?;
    if args.shard.is_some() {
        return runs::shared(&store, &args.out);
    }
    let command = command(args, &leaderboard);
    let standings = Standings::new(&leaderboard, cells, command, machine(jobs), jobs);
    let standings = standings.map_err(failed)?;
    write(&standings, &args.out).map_err(failed)?;

    let mut stdout = io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", json(&standings)?)?;
        return Ok(());
    }
    writeln!(stdout, "{}", summary(&standings))?;
    writeln!(
        stdout,
        "The page is {}",
        printable_path(&args.out.join("index.html"))
    )?;
    Ok(())
}

fn leaderboard(args: &Args, device: DeviceName) -> Result<Leaderboard, Failure> {
    let problems = match args.problem.as_slice() {
        [] => PROBLEMS
            .into_iter()
            .map(by_name)
            .collect::<Result<_, _>>()
            .map_err(failed)?,
        some => some.to_vec(),
    };
    let optimizers = match args.optimizer.as_slice() {
        [] => {
            let all = OptimizerConfig::all();
            let all = all.iter().map(|info| OptimizerConfig::by_name(info.name));
            all.collect::<Result<_, _>>().map_err(failed)?
        }
        some => some.to_vec(),
    };
    let contender = |config: &OptimizerConfig| Contender {
        name: config.name().to_string(),
        setups: setups(config, args.setups as usize),
    };
    Ok(Leaderboard {
        problems,
        contenders: optimizers.iter().map(contender).collect(),
        seeds: (1..=args.seeds).collect(),
        device: device.to_string(),
    })
}

/// The command with everything that it takes by default, but for the optimizers if they are all.
fn command(args: &Args, leaderboard: &Leaderboard) -> String {
    let problems = leaderboard
        .problems
        .iter()
        .map(|problem| problem.info().name.as_str());
    let problems: Vec<&str> = problems.collect();
    let mut command = format!("downhill leaderboard --problem {}", problems.join(","));
    if !args.optimizer.is_empty() {
        let names: Vec<&str> = args.optimizer.iter().map(OptimizerConfig::name).collect();
        command += &format!(" --optimizer {}", names.join(","));
    }
    command
        + &format!(
            " --setups {} --seeds {} --device {}",
            args.setups, args.seeds, leaderboard.device
        )
}

fn summary(standings: &Standings) -> String {
    let mut table = table(vec![
        "Optimizer",
        "Score",
        "Rank",
        "Reached",
        "One setting",
        "Rank",
        "State",
    ]);
    for (place, one, line) in standings.by_steps() {
        table.add_row([
            place.optimizer.clone(),
            format!("{:.2} ({:.2} to {:.2})", place.score, place.low, place.high),
            format!("{} ({} to {})", place.rank, place.rank_low, place.rank_high),
            format!("{} of {}", place.reached, standings.problems.len()),
            format!("{:.2} ({:.2} to {:.2})", one.score, one.low, one.high),
            format!("{} ({} to {})", one.rank, one.rank_low, one.rank_high),
            number(line.state_bytes_per_parameter),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "Score: the share of problems that are solved, less where others are faster (0 to 1), by steps.\n\
         State: bytes for each number that is learned.\n{table}"
    )
}
