//! A training that is killed again and again, goes on each time, and ends with the same bits as one that
//! nobody disturbed.
//!
//! ```text
//! cargo run --release --example resume
//! cargo run --release --example resume -- --kills 20
//! cargo run --release --example resume -- --train checkpoints
//! ```
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    fs,
    hash::{BuildHasher, Hasher},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use burn::{optim::GradientsParams, tensor::Device};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill::{
    optim::NAdamConfig,
    schedule::{CosineConfig, percent},
    train::{Averaging, Clipping, Driver, checkpoint::Checkpoints},
};
use downhill_problems::{data, mlp::MlpConfig, numpy::RandomState};
use indicatif::{ProgressBar, ProgressStyle};

/// Kills a training at random moments, lets it go on, and compares it with one that ran through.
///
/// A network learns handwritten digits with NAdam, a warmup and a cosine, clipped gradients and an
/// average of the weights. First it does so without an interruption; then in a process of its own,
/// which is killed (SIGKILL) and started again. The last checkpoints of both are compared byte for
/// byte.
#[derive(Parser)]
#[command(name = "resume", after_help = AFTER_HELP)]
struct Args {
    /// How often the training is killed
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    kills: u64,

    /// Only train, with checkpoints in this folder: goes on from the last one, and prints the number
    /// of each update
    #[arg(long, value_name = "DIR", conflicts_with = "kills")]
    train: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit status:
  0  both trainings are the same
  1  they differ, or something failed
  2  the command line is wrong";

const EPOCHS: u64 = 40;
const BATCH: usize = 32;
const PEAK: f64 = 2e-3;
const SAVE_EVERY: u64 = 25;

/// The training, from the beginning or from where its folder has got to. `tell` is told each update.
fn train(folder: &Path, mut tell: impl FnMut(u64) -> io::Result<()>) -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    let data = data::digits().train;
    let steps_per_epoch = steps_per_epoch();
    let steps = EPOCHS * steps_per_epoch;

    // The same in every process: a checkpoint compares it with what it was made with.
    let mut model = MlpConfig::new(data.inputs(), 64, data.classes()).init(42, &device);
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).schedule();
    let schedule = cosine.warmup(percent(10.0)).try_build_for(PEAK, steps)?;
    let mut driver = Driver::builder(NAdamConfig::new().init(), schedule)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.99))
        .bind(&model)?;

    let folder = Checkpoints::new(folder).keep_last(2);
    if let Some(file) = folder.latest()? {
        model = driver
            .load(model, file)
            .map_err(|rejected| rejected.cause)?;
    }

    // The driver knows how many updates were made. From that follows the place in the data, as long as
    // the order of the samples depends on nothing but the epoch.
    for epoch in driver.updates() / steps_per_epoch..EPOCHS {
        let mut random = RandomState::new(epoch as u32);
        let done = driver.updates() % steps_per_epoch;
        let batches = data.batches(BATCH, &mut random, &device);
        for batch in batches.skip(done as usize) {
            let grads = GradientsParams::from_grads(model.loss(&batch).backward(), &model);
            (model, _) = driver.step(model, grads)?;
            let step = driver.updates();
            if step.is_multiple_of(SAVE_EVERY) || step == steps {
                folder.save(&driver, &model, None)?;
            }
            tell(step)?;
        }
    }
    Ok(())
}

fn steps_per_epoch() -> u64 {
    (data::digits().train.samples() as u64).div_ceil(BATCH as u64)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.train {
        Some(folder) => {
            let mut stdout = io::stdout();
            train(folder, |step| writeln!(stdout, "{step}")).map(|()| true)
        }
        None => demonstrate(args.kills),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // `eprintln!` would panic if standard error is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A folder that is removed again.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the two trainings are the same.
fn demonstrate(kills: u64) -> Result<bool, Box<dyn Error>> {
    let name = format!("downhill-resume-{}", std::process::id());
    let scratch = Scratch(env::temp_dir().join(name));
    let [whole, killed] = ["uninterrupted", "killed"].map(|name| scratch.0.join(name));
    let steps = EPOCHS * steps_per_epoch();

    let bar = progress_bar(steps, "uninterrupted");
    train(&whole, |step| {
        bar.set_position(step);
        Ok(())
    })?;
    bar.finish_and_clear();

    let bar = progress_bar(steps, "killed");
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["Kill", "At step", "Last checkpoint", "Steps lost"]);
    let (mut done, mut lost) = (0, 0);
    for kill in 1..=kills {
        // In one part of the training after the other, so that each start gets further.
        let part = steps / (kills + 1);
        let moment = (kill - 1) * part + 1 + random(part);
        let Some(reached) = run_until(&killed, moment, &bar)? else {
            break;
        };
        let saved = Checkpoints::new(&killed)
            .list()?
            .last()
            .map_or(0, |(step, _)| *step);
        // It may have been killed between saving and saying so.
        let again = reached.saturating_sub(saved);
        let cells = [kill, reached, saved, again];
        table.add_row(cells.map(|cell| cell.to_string()));
        (done, lost) = (kill, lost + again);
    }
    run_until(&killed, u64::MAX, &bar)?;
    bar.finish_and_clear();
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let last = |folder: &Path| -> Result<Vec<u8>, Box<dyn Error>> {
        let file = Checkpoints::new(folder).latest()?;
        Ok(fs::read(file.ok_or("there is no checkpoint")?)?)
    };
    let (whole, killed) = (last(&whole)?, last(&killed)?);
    let equal = whole == killed;
    let mut stdout = io::stdout();
    writeln!(stdout, "{table}")?;
    let s = if done == 1 { "" } else { "s" };
    let verdict = if equal {
        "are equal bit for bit"
    } else {
        "DIFFER"
    };
    writeln!(
        stdout,
        "After {done} kill{s}, {lost} of {steps} steps had to be made again.\n\
         Weights, averages and optimizer state {verdict}."
    )?;
    Ok(equal)
}

/// Lets the training go on in a process of its own, which is killed soon after the step `moment`.
/// Returns the last step that it has told of, or none if it came to its end.
fn run_until(folder: &Path, moment: u64, bar: &ProgressBar) -> Result<Option<u64>, Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?)
        .arg("--train")
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let told = follow(&mut child, moment, bar);
    let status = child.wait()?;
    match (status.success(), told?) {
        (true, _) => Ok(None),
        (false, Some(step)) => Ok(Some(step)),
        (false, None) => Err(format!("the training failed: {status}").into()),
    }
}

/// The step that the process had reached when it was killed, or none if it ended by itself.
fn follow(child: &mut Child, moment: u64, bar: &ProgressBar) -> io::Result<Option<u64>> {
    let (mut reached, mut killed) = (0, false);
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    for line in BufReader::new(stdout).lines() {
        // What it was just about to write when it was killed is no number.
        let Ok(step) = line?.parse() else {
            continue;
        };
        reached = step;
        bar.set_position(step);
        if step >= moment && !killed {
            // Somewhere in an update, or in the middle of saving.
            thread::sleep(Duration::from_micros(random(3_000)));
            child.kill()?;
            killed = true;
        }
    }
    Ok(killed.then_some(reached))
}

/// A random number below `end`.
fn random(end: u64) -> u64 {
    // The standard library seeds its hash maps with random numbers, and this needs no better ones.
    let random = std::hash::RandomState::new().build_hasher().finish();
    random % end
}

/// On standard error, and only if that is a terminal.
fn progress_bar(steps: u64, name: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:<14} {wide_bar} step {pos}/{len}");
    ProgressBar::new(steps)
        .with_style(style.expect("the template is a constant"))
        .with_prefix(name)
}
