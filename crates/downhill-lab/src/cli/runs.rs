//! What commands have in common that make many runs: the file of them, shares, Ctrl-C, and how far they are.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use downhill_lab::compare::{self, CompareError};
use downhill_lab::protocol::{Observer, Stopped};
use downhill_lab::results::{Run, Stage, Trial};
use downhill_lab::source::version;
use downhill_lab::store::Store;
use downhill_plot::number;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, failed, printable_path, usage};

/// The place of a share, counted from 0, and their number.
pub fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/');
    let numbers = parts.and_then(|(share, of)| Some((share.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((share @ 1.., of)) if share <= of => Ok((share - 1, of)),
        _ => Err("a share is its place and their number, for example 2/8".to_string()),
    }
}

/// How many runs at once.
pub fn jobs(asked: Option<u32>) -> usize {
    asked.map_or_else(threads, |jobs| jobs as usize)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub use compare::RUNS;

/// The same, with what is to be told about it on standard error.
pub fn open(folder: &Path) -> Result<Store, Failure> {
    let store = store(folder)?;
    if store.dropped_a_line() {
        let note = "note: the last run had not been written to its end; it is made again";
        let _ = writeln!(io::stderr(), "{note}");
    }
    match store.of_other_versions() {
        0 => {}
        runs => {
            let note = format!(
                "note: {runs} runs in {} are not of version {}, and are left alone",
                printable_path(folder),
                version()
            );
            let _ = writeln!(io::stderr(), "{note}");
        }
    }
    Ok(store)
}

/// Set by Ctrl-C from now on.
pub fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&interrupted);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
        .map_err(|error| failed(format!("cannot listen to Ctrl-C: {error}")))?;
    Ok(interrupted)
}

/// Why runs were not made to their end, and what is left of them.
pub fn stopped(stopped: Stopped, store: &Store, folder: &Path) -> Failure {
    match stopped {
        Stopped::Interrupted => Failure::Interrupted(format!(
            "interrupted; {} finished runs are in {}, and the same command goes on from there",
            store.runs().len(),
            folder.join(RUNS).display()
        )),
        other => failed(other),
    }
}

/// Says that a share is made.
pub fn shared(store: &Store, folder: &Path) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let (runs, folder) = (store.runs().len(), printable_path(folder));
    writeln!(stdout, "{runs} runs are in {folder}, for `downhill merge`")?;
    Ok(())
}

/// The runs of a folder, which is made if there is none.
pub fn store(folder: &Path) -> Result<Store, Failure> {
    compare::open(folder).map_err(|error| match error {
        CompareError::Folder { .. } => failed(error),
        other => usage(other),
    })
}

/// On standard error, and only if that is a terminal.
pub struct Progress {
    pub bar: ProgressBar,
}

impl Progress {
    pub fn new(runs: usize) -> Self {
        let style =
            ProgressStyle::with_template("{bar:20} {pos}/{len} runs, {eta} left  {wide_msg}");
        let bar = ProgressBar::new(runs as u64);
        bar.set_style(style.expect("the template is a constant"));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }
}

impl Observer for Progress {
    fn planned(&mut self, done: usize, needed: usize) {
        self.bar.set_length(needed as u64);
        self.bar.set_position(done as u64);
    }

    fn begins(&mut self, trial: &Trial) {
        let what = match trial.stage {
            Stage::Tune => "tuning".to_string(),
            Stage::Final => format!("seed {}", trial.seed),
        };
        let optimizer = trial.optimizer["name"].as_str().unwrap_or_default();
        let lr = number(trial.lr);
        self.bar
            .set_message(format!("{} {optimizer} {lr} {what}", trial.problem));
    }

    fn ended(&mut self, _: &Run, known: bool) {
        // Runs from the file say nothing about the time that is left.
        if known {
            self.bar.reset_eta();
        }
    }
}
