//! `downhill advise`: which optimizers a leaderboard speaks for.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use comfy_table::CellAlignment;
use downhill_lab::leaderboard::{Clock, Line, Place, Standings, Track, published};
use serde::Serialize;

use super::{Failure, failed, json, number, printable_path, table, usage};

/// Name the optimizers that a leaderboard speaks for, with the numbers behind it
///
/// Scores are among those that are left by the options, on the problems that are left: how much of them is solved, and
/// how fast beside the fastest. What chance may have made is said to be equal, and nothing is claimed of problems that
/// are not in the leaderboard.
#[derive(clap::Args)]
pub struct Args {
    /// Only problems whose name or description has this in it, for example transformer [default: all]
    #[arg(long, value_name = "WORD")]
    problem_like: Option<String>,

    /// How much the optimizer may keep between steps
    #[arg(long, value_enum, default_value = "any")]
    memory: Memory,

    /// Whether settings are searched for the problem, or one setting has to do for all
    #[arg(long, value_enum, default_value = "tuned")]
    settings: Settings,

    /// What is scarce
    #[arg(long, value_enum, default_value = "steps")]
    time: Time,

    /// How many are named at most
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,

    /// The leaderboard, as `downhill leaderboard` writes it [default: the published one, which is part of the program]
    #[arg(long, value_name = "FILE.json")]
    from: Option<PathBuf>,

    /// Print JSON instead of a table, and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Memory {
    /// Less than one number of 32 bits for each parameter
    Least,
    /// About one number for each parameter
    Low,
    Any,
}

impl Memory {
    /// In bytes for each parameter. A little more than the numbers, for what is kept of a whole tensor.
    fn most(self) -> f64 {
        match self {
            Self::Least => 3.0,
            Self::Low => 4.5,
            Self::Any => f64::INFINITY,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Settings {
    Tuned,
    One,
}

#[derive(Clone, Copy, ValueEnum)]
enum Time {
    Steps,
    Seconds,
}

#[derive(Serialize)]
struct Advice<'a> {
    problems: Vec<&'a str>,
    considered: usize,
    told_apart: usize,
    candidates: &'a [Place],
}

fn read(from: &Path) -> Result<Standings, Failure> {
    let name = printable_path(from);
    let text = fs::read_to_string(from).map_err(|error| {
        usage(format!(
            "cannot read {name}: {error}; `downhill leaderboard` makes one"
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| usage(format!("{name} is not a leaderboard: {error}")))
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let standings = match &args.from {
        Some(from) => read(from)?,
        None => published(),
    };
    let word = args
        .problem_like
        .as_deref()
        .unwrap_or_default()
        .to_lowercase();
    let problems: Vec<usize> = (0..standings.problems.len())
        .filter(|&at| {
            let problem = &standings.problems[at];
            let texts = [&problem.name, &problem.description];
            texts.iter().any(|text| text.to_lowercase().contains(&word))
        })
        .collect();
    if problems.is_empty() {
        let names: Vec<&str> = standings
            .problems
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        return Err(usage(format!(
            "no problem is like `{word}`: there are {}",
            names.join(", ")
        )));
    }
    let fits = |line: &Line| line.state_bytes_per_parameter <= args.memory.most();
    let optimizers: Vec<usize> = (0..standings.optimizers.len())
        .filter(|&at| fits(&standings.optimizers[at]))
        .collect();
    if optimizers.is_empty() {
        return Err(failed("no optimizer of the leaderboard keeps so little"));
    }
    let track = match args.settings {
        Settings::Tuned => Track::Tuned,
        Settings::One => Track::OneSetting,
    };
    let clock = match args.time {
        Time::Steps => Clock::Steps,
        Time::Seconds => Clock::Seconds,
    };
    let places = standings
        .among(&problems, &optimizers, track, clock)
        .map_err(failed)?;
    let told_apart = places.iter().filter(|place| !place.tied).count();
    let candidates = &places[..places.len().min(args.count as usize)];
    let names: Vec<&str> = problems
        .iter()
        .map(|at| standings.problems[*at].name.as_str())
        .collect();

    let mut stdout = io::stdout().lock();
    if args.json {
        let advice = Advice {
            problems: names,
            considered: places.len(),
            told_apart,
            candidates,
        };
        writeln!(stdout, "{}", json(&advice)?)?;
        return Ok(());
    }
    writeln!(
        stdout,
        "On {} ({} settings for each, {} seeds, {}):",
        names.join(", "),
        standings.setups,
        standings.seeds.len(),
        standings.date
    )?;
    if candidates.iter().all(|place| place.reached == 0) {
        writeln!(
            stdout,
            "None of the {} optimizers came to a target.",
            places.len()
        )?;
        return Ok(());
    }
    writeln!(
        stdout,
        "{}",
        candidates_table(&standings, candidates, problems.len())
    )?;
    let tied = places.len() - told_apart;
    writeln!(
        stdout,
        "Of {} optimizers {tied} cannot be told apart from the best by these runs.",
        places.len()
    )?;
    Ok(())
}

fn candidates_table(
    standings: &Standings,
    candidates: &[Place],
    problems: usize,
) -> comfy_table::Table {
    let header = [
        "Optimizer",
        "Score",
        "Chance",
        "Told apart",
        "Reached",
        "State",
        "Good settings",
    ];
    let mut table = table(header.to_vec());
    for place in candidates {
        let line = standings
            .optimizers
            .iter()
            .find(|line| line.name == place.optimizer);
        table.add_row([
            place.optimizer.clone(),
            format!("{:.2}", place.score),
            format!("{:.2} to {:.2}", place.low, place.high),
            match place.tied {
                true => "no".to_string(),
                false => "yes".to_string(),
            },
            format!("{} of {problems}", place.reached),
            line.map_or_else(String::new, |line| {
                format!("{} bytes", number(line.state_bytes_per_parameter))
            }),
            line.and_then(|line| line.robustness)
                .map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
