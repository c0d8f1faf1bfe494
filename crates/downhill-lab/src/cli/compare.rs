//! `downhill compare`: a fair comparison, and its report.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::CellAlignment;
use downhill_lab::compare::{Compare, Length, Rates};
use downhill_lab::protocol::{Plan, RATES, beyond_rates};
use downhill_lab::report;
use downhill_lab::results::{Edge, Entry, Interval, ProblemSummary};
use downhill_optim::OptimizerConfig;
use downhill_problems::AnyProblem;
use downhill_schedule::ScheduleConfig;
use downhill_train::DriverConfig;
use indicatif::DecimalBytes;
use serde_json::{Map, Value};

use super::device::{self, DeviceName};
use super::{
    Failure, failed, json, number, printable, printable_path, problem, runs, table, usage,
};
use downhill_plot::short;

/// Compare optimizers fairly, and write a report
///
/// Every optimizer is tuned with the same number of learning rates, chosen on validation samples, and
/// then runs from several seeds; the results are of test samples. A best rate at the edge of the grid
/// widens the grid, twice at most. Runs are written as they are finished, and the same command goes on
/// where it was stopped.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// Problems, separated by commas (`downhill list problems`)
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    #[arg(value_parser = problem)]
    problem: Vec<AnyProblem>,

    /// Optimizers with their default settings (`downhill list optimizers`) or files with settings of
    /// your own as JSON, separated by commas; or all
    #[arg(
        long,
        value_name = "NAME|FILE.json|all",
        value_delimiter = ',',
        required = true
    )]
    #[arg(value_parser = Chosen::parse)]
    optimizer: Vec<Chosen>,

    /// Seeds of the runs that are counted: 1 to N; fewer than 6 tell nothing apart
    #[arg(long, value_name = "N", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,

    /// Learning rates that each optimizer is tuned with: around its own default, in steps of half a
    /// power of ten
    #[arg(
        long,
        value_name = "N",
        default_value_t = 7,
        conflicts_with = "lr_grid"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=99))]
    tune: u32,

    /// The same learning rates for all: N of them from A to B, in equal ratios, within 1e-30 and 1e30
    #[arg(long, value_name = "A:B:N", value_parser = grid)]
    lr_grid: Option<Grid>,

    /// Updates of each run [default: the problem's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// Length of each run in passes over the training samples [default: the problem's own]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,

    /// Schedule of the learning rate (`downhill list schedules`), or a file with one as JSON
    /// [default: constant]
    #[arg(long, value_name = "NAME|FILE.json", value_parser = schedule)]
    schedule: Option<Scheduled>,

    /// What else every run's driver is told, as JSON or TOML: clipping, averaging, groups and what else
    /// `downhill config` shows but the optimizer, the schedule and the steps
    #[arg(long, value_name = "FILE.json|toml", value_parser = driver)]
    driver: Option<Driven>,

    /// What to compute on
    #[arg(long, value_enum)]
    device: Option<DeviceName>,

    /// Runs at once [default: the processor's threads]; the results are the same, times are longer
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,

    /// Make the I-th of N shares of the runs, without a report; `downhill merge` puts the folders together
    #[arg(long, value_name = "I/N", value_parser = runs::shard)]
    shard: Option<(usize, usize)>,

    /// Folder of the runs and the report
    #[arg(long, value_name = "DIR", default_value = "comparison")]
    out: PathBuf,

    /// Print the results as JSON instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))
}

fn is_file(text: &str) -> bool {
    Path::new(text)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// A schedule as it was asked for.
#[derive(Clone)]
struct Scheduled {
    word: String,
    config: ScheduleConfig,
}

fn schedule(text: &str) -> Result<Scheduled, String> {
    let config = if is_file(text) {
        ScheduleConfig::from_json(&read(text)?)
    } else {
        ScheduleConfig::by_name(text)
    };
    let config = config.map_err(|error| printable(&error.to_string()))?;
    let word = text.to_string();
    Ok(Scheduled { word, config })
}

/// Settings of the driver as they were asked for.
#[derive(Clone)]
struct Driven {
    word: String,
    settings: Map<String, Value>,
}

fn driver(text: &str) -> Result<Driven, String> {
    let file = read(text)?;
    let config = match is_file(text) {
        true => DriverConfig::from_json(&file),
        false => DriverConfig::from_toml(&file),
    };
    let config = config.map_err(|error| printable(&error.to_string()))?;
    let value = |config: &DriverConfig| match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    let (mut settings, usual) = (value(&config), value(&DriverConfig::default()));
    settings.retain(|name, value| usual.get(name) != Some(value));
    let ours = ["optimizer", "schedule", "steps", "checkpoints"];
    if let Some(name) = ours.into_iter().find(|name| settings.contains_key(*name)) {
        return Err(format!(
            "`{name}` is the comparison's own and cannot be in it"
        ));
    }
    let word = text.to_string();
    Ok(Driven { word, settings })
}

/// Optimizers that were asked for by one word.
#[derive(Clone)]
struct Chosen {
    word: String,
    /// A name for tables, and the settings.
    optimizers: Vec<(String, OptimizerConfig)>,
}

impl Chosen {
    fn parse(text: &str) -> Result<Self, String> {
        let word = text.to_string();
        let optimizers = if text == "all" {
            let names = OptimizerConfig::all().into_iter().map(|info| info.name);
            let configs = names.map(|name| Ok((name.to_string(), OptimizerConfig::by_name(name)?)));
            configs.collect::<Result<_, _>>()
        } else if is_file(text) {
            let name = Path::new(text)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            OptimizerConfig::from_json(&read(text)?).map(|config| vec![(printable(&name), config)])
        } else {
            OptimizerConfig::by_name(text).map(|config| vec![(config.name().to_string(), config)])
        };
        let optimizers = optimizers.map_err(|error| printable(&error.to_string()))?;
        Ok(Self { word, optimizers })
    }
}

#[derive(Clone, Copy)]
struct Grid {
    low: f64,
    high: f64,
    count: usize,
}

fn grid(text: &str) -> Result<Grid, String> {
    const FORM: &str = "a grid is two rates above 0 and a count, for example 1e-4:1e-1:7";
    let parts: Vec<&str> = text.split(':').collect();
    let [low, high, count] = parts[..] else {
        return Err(FORM.to_string());
    };
    let rate = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|lr| lr.is_finite() && *lr > 0.0)
    };
    let (Some(low), Some(high), Ok(count)) = (rate(low), rate(high), count.parse()) else {
        return Err(FORM.to_string());
    };
    if let Some(lr) = [low, high].into_iter().find(|lr| !RATES.contains(lr)) {
        return Err(beyond_rates(lr));
    }
    let wrong = match count {
        0 | 100.. => "a grid has 1 to 99 rates",
        1 if low != high => "a grid of one rate begins and ends at it",
        2.. if low >= high => "a grid begins at its lowest rate and ends at its highest",
        _ => return Ok(Grid { low, high, count }),
    };
    Err(wrong.to_string())
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let (device_name, device) = device::open(args.device)?;
    let compare = compare(args);
    let plan = compare.plan(&device_name.to_string()).map_err(usage)?;
    let mut store = runs::open(&args.out)?;
    let interrupted = runs::interrupted()?;
    let mut progress = runs::Progress::new(plan.runs());
    let bar = progress.bar.clone();
    let made = compare.carry_out(
        &plan,
        args.shard,
        &device,
        &mut store,
        &mut progress,
        &interrupted,
    );
    bar.finish_and_clear();
    let problems = made.map_err(|stopped| runs::stopped(stopped, &store, &args.out))?;
    let Some(problems) = problems else {
        return runs::shared(&store, &args.out);
    };
    let command = command(args, &plan);
    let comparison = compare.comparison(plan, problems, command);
    report::write(&comparison, &args.out).map_err(failed)?;
    keep_settings(args)?;

    let mut stdout = io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", json(&comparison)?)?;
        return Ok(());
    }
    for problem in &comparison.problems {
        writeln!(stdout, "{}", summary(problem))?;
    }
    writeln!(
        stdout,
        "The report is {}",
        printable_path(&args.out.join("report.html"))
    )?;
    Ok(())
}

fn compare(args: &Args) -> Compare {
    let mut compare = Compare::new(args.problem.clone())
        .with_seeds(args.seeds)
        .with_jobs(runs::jobs(args.jobs))
        .with_rates(match args.lr_grid {
            Some(Grid { low, high, count }) => Rates::Between { low, high, count },
            None => Rates::Around(args.tune as usize),
        })
        .with_length(match (args.steps, args.epochs) {
            (Some(steps), _) => Length::Steps(steps),
            (None, Some(epochs)) => Length::Epochs(epochs),
            (None, None) => Length::Own,
        });
    for (name, config) in args.optimizer.iter().flat_map(|chosen| &chosen.optimizers) {
        compare = compare.with_optimizer(name, config.clone());
    }
    if let Some(schedule) = &args.schedule {
        compare = compare.with_schedule(schedule.config.clone());
    }
    if let Some(driver) = &args.driver {
        compare = compare.with_driver(driver.settings.clone());
    }
    compare
}

/// Copies the files that the command names beside the report, so that it can be repeated from there.
fn keep_settings(args: &Args) -> Result<(), Failure> {
    let optimizers = args.optimizer.iter().map(|chosen| &chosen.word);
    let schedule = args.schedule.iter().map(|schedule| &schedule.word);
    let words = optimizers.chain(schedule).filter(|word| is_file(word));
    let driver = args.driver.iter().map(|driver| &driver.word);
    let folder = args.out.join("settings");
    for path in words.chain(driver).map(Path::new) {
        let copy = folder.join(path.file_name().unwrap_or_default());
        // The command may name the copies of another one.
        if copy.exists() && fs::canonicalize(path).ok() == fs::canonicalize(&copy).ok() {
            continue;
        }
        let made = fs::create_dir_all(&folder).and_then(|()| fs::copy(path, &copy));
        made.map_err(|error| {
            failed(format!(
                "cannot copy {} beside the report: {error}",
                path.display()
            ))
        })?;
    }
    Ok(())
}

/// The command with everything that it takes by default.
fn command(args: &Args, plan: &Plan) -> String {
    let join = |words: Vec<&str>| words.join(",");
    let problems = plan
        .subjects
        .iter()
        .map(|subject| subject.name.as_str())
        .collect();
    let optimizers = args
        .optimizer
        .iter()
        .map(|chosen| chosen.word.as_str())
        .collect();
    let mut command = format!(
        "downhill compare --problem {} --optimizer {} --seeds {}",
        join(problems),
        join(optimizers),
        args.seeds
    );
    match args.lr_grid {
        Some(Grid { low, high, count }) => command += &format!(" --lr-grid {low}:{high}:{count}"),
        None => command += &format!(" --tune {}", args.tune),
    }
    if let Some(steps) = args.steps {
        command += &format!(" --steps {steps}");
    }
    if let Some(epochs) = args.epochs {
        command += &format!(" --epochs {epochs}");
    }
    if let Some(schedule) = &args.schedule {
        command += &format!(" --schedule {}", schedule.word);
    }
    if let Some(driver) = &args.driver {
        command += &format!(" --driver {}", driver.word);
    }
    command + &format!(" --device {}", plan.device)
}

fn summary(problem: &ProblemSummary) -> String {
    let metric = problem.metric.as_deref();
    let mut header = vec!["Optimizer", "Rate", "Train loss", "Test loss"];
    header.extend(metric);
    header.extend(["Steps to target", "Step time", "State"]);
    let mut table = table(header);
    for entry in &problem.entries {
        let mut row = vec![
            entry.optimizer.clone(),
            rate(entry),
            median(entry.train_loss),
            median(entry.test_loss),
        ];
        if metric.is_some() {
            row.push(range(entry.test_metric));
        }
        row.extend([
            match entry.steps_to_target {
                Some(steps) if entry.reached == entry.runs => number(steps.median),
                Some(steps) => format!(
                    "{} ({} of {})",
                    number(steps.median),
                    entry.reached,
                    entry.runs
                ),
                None => format!("{} of {}", entry.reached, entry.runs),
            },
            format!("{} ms", number(1e3 * entry.seconds_per_step)),
            DecimalBytes(entry.state_bytes).to_string(),
        ]);
        // A narrow terminal must not part a number from its unit.
        let units = |cell: String| cell.replace(" ms", "\u{a0}ms");
        table.add_row(row.into_iter().map(units));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let ProblemSummary {
        problem,
        steps,
        target,
        ..
    } = problem;
    format!("{problem}: {steps} updates; target: {target}\n{table}")
}

fn rate(entry: &Entry) -> String {
    let lr = entry.lr.map(number);
    match (entry.edge, lr) {
        (Edge::Lowest, Some(lr)) => format!("≤ {lr}"),
        (Edge::Highest, Some(lr)) => format!("≥ {lr}"),
        (_, Some(lr)) => lr,
        (_, None) => "all diverge".to_string(),
    }
}

fn median(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "diverged".to_string(),
        |interval| number(interval.median),
    )
}

/// In three digits: a cell has little room.
fn range(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |Interval { median, low, high }| {
        format!("{} ({} to {})", short(median), short(low), short(high))
    })
}
