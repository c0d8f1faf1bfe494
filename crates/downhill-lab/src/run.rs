//! One run: a problem, an optimizer, a rate and a seed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use downhill_optim::{OptimizerConfig, state_bytes};
use downhill_problems::{AnyProblem, Evaluation, Info, Measure, Part, Training};
use downhill_schedule::ScheduleConfig;

use crate::protocol::Stopped;
use crate::results::{Cost, Outcome, Point, Run, Score, Trial};
use crate::stepper::Stepper;

/// How many points the curve of a run has, besides its beginning, if it has so many updates.
pub const POINTS: u64 = 20;

/// Makes the run of a trial on its problem.
///
/// The time is that of the updates alone. After each the loss must be finite; where it is not, the run
/// has diverged and ends.
///
/// # Errors
///
/// [`Stopped::Interrupted`] soon after `interrupted` was set, and [`Stopped::Failed`] if the optimizer
/// or the schedule cannot be built.
pub fn run(
    problem: &AnyProblem,
    trial: &Trial,
    device: &Device,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(u64),
) -> Result<Run, Stopped> {
    let failed = |error: String| Stopped::Failed(format!("{}: {error}", trial.optimizer));
    let config: OptimizerConfig = serde_json::from_value(trial.optimizer.clone())
        .map_err(|error| failed(error.to_string()))?;
    let mut stepper = Stepper::new(&config).map_err(|error| failed(error.to_string()))?;
    let schedule = match &trial.schedule {
        None => ScheduleConfig::constant(trial.lr),
        Some(schedule) => {
            serde_json::from_value(schedule.clone()).map_err(|error| failed(error.to_string()))?
        }
    };
    let schedule = schedule
        .try_build_for(trial.lr, trial.steps)
        .map_err(|error| failed(error.to_string()))?;
    let sync = || device.sync().map_err(|error| failed(error.to_string()));

    reset_peak();
    let mut training = problem.start(trial.seed, device);
    let parameters = training.parameters().len() as u64;
    let (train, validation) = evaluations(&training);
    let mut curve = vec![point(0, train, validation)];
    let mut diverged_at = None;
    let mut steps_to_target = None;
    let mut time = Duration::ZERO;
    let mut optimizer_time = Duration::ZERO;
    let mut seconds_to_target = None;
    for step in 0..trial.steps {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Stopped::Interrupted);
        }
        let start = Instant::now();
        let (loss, gradients) = training.gradients();
        sync()?;
        let update = Instant::now();
        stepper.update(&mut training, schedule.value(step), loss, gradients);
        sync()?;
        optimizer_time += update.elapsed();
        time += start.elapsed();

        let done = step + 1;
        let is_point = done * POINTS / trial.steps > step * POINTS / trial.steps;
        if !loss.is_finite() {
            diverged_at = Some(done);
            break;
        }
        if is_point {
            let (train, validation) = evaluations(&training);
            let point = point(done, train, validation);
            if point.train.loss.is_none() || point.validation.loss.is_none() {
                diverged_at = Some(done);
                break;
            }
            curve.push(point);
            let reached = |info: &Info| {
                info.is_target_met(&match info.target.part {
                    Part::Train => train,
                    Part::Validation => validation,
                    Part::Test => training.evaluate(Part::Test),
                })
            };
            if steps_to_target.is_none() && reached(problem.info()) {
                steps_to_target = Some(done);
                seconds_to_target = Some(time.as_secs_f64());
            }
            progress(done);
        }
    }
    let test = match diverged_at {
        None => score(training.evaluate(Part::Test)),
        Some(_) => Score::default(),
    };
    Ok(Run {
        trial: trial.clone(),
        outcome: Outcome {
            curve,
            test,
            diverged_at,
            steps_to_target,
            state_bytes: state_bytes(&stepper.optimizer)
                .map_err(|error| failed(error.to_string()))? as u64,
            parameters,
        },
        cost: Cost {
            seconds: time.as_secs_f64(),
            optimizer_seconds: optimizer_time.as_secs_f64(),
            seconds_to_target,
            peak_bytes: peak(),
        },
    })
}

/// On the training and on the validation samples.
fn evaluations(training: &Training) -> (Evaluation, Evaluation) {
    (
        training.evaluate(Part::Train),
        training.evaluate(Part::Validation),
    )
}

fn point(step: u64, train: Evaluation, validation: Evaluation) -> Point {
    Point {
        step,
        train: score(train),
        validation: score(validation),
    }
}

fn score(evaluation: Evaluation) -> Score {
    let finite = |x: f64| x.is_finite().then_some(x);
    Score {
        loss: finite(evaluation.loss),
        metric: evaluation.metric.and_then(finite),
    }
}

/// Linux only: the most memory of the process is counted from now on.
fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that the process had, where the system tells.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// What counts as solved, for people.
pub fn target_in_words(info: &Info) -> String {
    let target = info.target;
    let part = match target.part {
        Part::Train => "training",
        Part::Validation => "validation",
        Part::Test => "test",
    };
    let (measure, bound) = match (target.measure, &info.metric) {
        (Measure::Metric, Some(metric)) => (
            metric.name.as_str(),
            if metric.higher_is_better {
                "at least"
            } else {
                "at most"
            },
        ),
        _ => ("loss", "at most"),
    };
    format!("{part} {measure} {bound} {}", target.value)
}
