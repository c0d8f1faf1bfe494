//! One run: a problem, an optimizer, a rate and a seed.

use std::fmt::Display;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use downhill_optim::{OptimizerConfig, state_bytes};
use downhill_problems::{AnyModel, AnyProblem, Evaluation, Info, Measure, Part, Training};
use downhill_train::{Driver, DriverConfig, DriverConfigError, MicroBatch, StepCause};
use serde_json::json;

use crate::protocol::{Stopped, to_digits};
use crate::results::{Cost, Outcome, Point, Run, Score, Trial};

/// How many points the curve of a run has, besides its beginning, if it has so many updates.
pub const POINTS: u64 = 20;

/// Makes the run of a trial on its problem.
///
/// The time is that of the updates alone. After each the loss must be finite; where it is not, the run
/// has diverged and ends. When the target was reached is read off a straight line between two points of the curve.
/// What is kept of a run has six digits: more would tell of the order of sums, and runs are kept by the thousand.
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
    let failed = |error: &dyn Display| Stopped::Failed(format!("{}: {error}", trial.optimizer));
    let settings = driver_config(trial).map_err(|error| failed(&error))?;
    let sync = || device.sync().map_err(|error| failed(&error));

    reset_peak();
    let mut training = problem.start(trial.seed, device);
    let parameters = training.model().num_params() as u64;
    let driver = settings.bind(training.model());
    let mut driver = driver.map_err(|error| failed(&error))?;
    let evaluate = |training: &Training, driver: &Driver, parts: &[Part]| -> Vec<Evaluation> {
        let model = evaluated(training, driver, &settings);
        let parts = parts.iter();
        parts
            .map(|part| training.evaluate_model(&model, *part))
            .collect()
    };
    let of_both = [Part::Train, Part::Validation];
    let target = problem.info().target;
    let measured = |training: &Training, driver: &Driver, found: &[Evaluation]| match target.part {
        Part::Train => found[0],
        Part::Validation => found[1],
        Part::Test => evaluate(training, driver, &[Part::Test])[0],
    };
    let found = evaluate(&training, &driver, &of_both);
    let mut before = (0, measured(&training, &driver, &found).get(target.measure));
    let mut curve = vec![point(0, &found)];
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
        let batch = training.next_batch();
        let (mut loss, mut cause, mut synced) = (None, None, Ok(()));
        let mut elsewhere = Duration::ZERO;
        // Sharpness-aware minimisation asks twice, of this model first.
        let gradients = |model: &AnyModel| {
            let start = Instant::now();
            let (at, gradients) = batch.gradients(model);
            synced = core::mem::replace(&mut synced, Ok(())).and(sync());
            elsewhere += start.elapsed();
            loss.get_or_insert(at);
            MicroBatch::new(gradients).with_loss(at)
        };
        training.update(|model| match driver.step_sam(model, gradients) {
            Ok((model, _)) => model,
            Err(error) => {
                cause = Some(error.cause);
                error.model
            }
        });
        synced.and(sync())?;
        time += start.elapsed();
        optimizer_time += start.elapsed().saturating_sub(elsewhere);
        let loss = loss.unwrap_or(f64::NAN);

        let done = step + 1;
        let is_point = done * POINTS / trial.steps > step * POINTS / trial.steps;
        let not_finite = match cause {
            None => !loss.is_finite(),
            Some(StepCause::NonFinite { .. } | StepCause::TooManySkips { .. }) => true,
            Some(cause) => return Err(failed(&cause)),
        };
        if not_finite {
            diverged_at = Some(done);
            break;
        }
        if is_point {
            let found = evaluate(&training, &driver, &of_both);
            let point = point(done, &found);
            if point.train.loss.is_none() || point.validation.loss.is_none() {
                diverged_at = Some(done);
                break;
            }
            curve.push(point);
            if steps_to_target.is_none() {
                let evaluation = measured(&training, &driver, &found);
                let now = (done, evaluation.get(target.measure));
                if problem.info().is_target_met(&evaluation) {
                    let steps = crossing(before, now, target.value);
                    steps_to_target = Some(steps);
                    seconds_to_target = Some(time.as_secs_f64() * steps as f64 / done as f64);
                }
                before = now;
            }
            progress(done);
        }
    }
    let test = match diverged_at {
        None => score(evaluate(&training, &driver, &[Part::Test])[0]),
        Some(_) => Score::default(),
    };
    Ok(Run {
        trial: trial.clone(),
        outcome: Outcome {
            curve,
            test,
            diverged_at,
            steps_to_target,
            state_bytes: state_bytes(driver.optimizer()).map_err(|error| failed(&error))? as u64,
            parameters,
        },
        cost: Cost {
            seconds: to_digits(time.as_secs_f64(), 6),
            optimizer_seconds: to_digits(optimizer_time.as_secs_f64(), 6),
            seconds_to_target: seconds_to_target.map(|seconds| to_digits(seconds, 6)),
            peak_bytes: peak(),
        },
    })
}

/// Makes the run of a trial on that of the problems which it names.
///
/// # Errors
///
/// As [`run`], and [`Stopped::Failed`] if none of them has the name.
pub fn run_among(
    problems: &[AnyProblem],
    trial: &Trial,
    device: &Device,
    interrupted: &AtomicBool,
) -> Result<Run, Stopped> {
    let mut named = problems.iter();
    match named.find(|problem| problem.info().name == trial.problem) {
        Some(problem) => run(problem, trial, device, interrupted, &mut |_| ()),
        None => Err(Stopped::Failed(format!(
            "there is no problem {}",
            trial.problem
        ))),
    }
}

/// The settings of a trial's driver. Unless they say otherwise it does not look for what is not finite: the loss is
/// looked at anyway.
fn driver_config(trial: &Trial) -> Result<DriverConfig, DriverConfigError> {
    let mut settings = json!({"non_finite": "ignore"});
    let fields = trial.driver.iter().flatten();
    for (name, value) in fields {
        settings[name] = value.clone();
    }
    let mut optimizer = trial.optimizer.clone();
    optimizer["learning_rate"] = trial.lr.into();
    settings["optimizer"] = optimizer;
    settings["steps"] = trial.steps.into();
    if let Some(schedule) = &trial.schedule {
        settings["schedule"] = schedule.clone();
    }
    let mut config = DriverConfig::from_json(&settings.to_string())?;
    if !takes_a_schedule(&config.optimizer) {
        config.schedule = None;
    }
    Ok(config)
}

/// Whether a rate that changes does anything: some optimizers take none, or that of the first step, and a driver
/// refuses a schedule for them.
pub(crate) fn takes_a_schedule(config: &OptimizerConfig) -> bool {
    let bare = config.try_build();
    bare.map_or(true, |bare| bare.follows_rate())
}

/// The model that is to be evaluated: the driver's averages, or what the optimizer has beside the one it trains.
fn evaluated(training: &Training, driver: &Driver, settings: &DriverConfig) -> AnyModel {
    match settings.averaging {
        Some(_) => driver.averaged(training.model()),
        None => driver.evaluated(training.model()),
    }
}

/// The first update at which a measure that is known at two of them has come to a target, if it goes from one to the
/// other in a straight line. `now` it is at the target or beyond.
fn crossing(before: (u64, Option<f64>), now: (u64, Option<f64>), target: f64) -> u64 {
    let share = match (before.1, now.1) {
        (Some(before), Some(now)) => (target - before) / (now - before),
        _ => 1.0,
    };
    let steps = (now.0 - before.0) as f64;
    let steps = (share * steps).ceil().clamp(1.0, steps);
    if steps.is_nan() {
        now.0
    } else {
        before.0 + steps as u64
    }
}

/// From the evaluations of the training and of the validation part.
fn point(step: u64, found: &[Evaluation]) -> Point {
    Point {
        step,
        train: score(found[0]),
        validation: score(found[1]),
    }
}

fn score(evaluation: Evaluation) -> Score {
    let finite = |x: f64| x.is_finite().then(|| to_digits(x, 6));
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

#[cfg(test)]
mod tests {
    use super::crossing;

    #[test]
    fn between_two_measurements_a_measure_goes_in_a_straight_line() {
        // Falling, rising, right at the end, at once, and from what is no number.
        assert_eq!(crossing((100, Some(3.0)), (200, Some(1.0)), 1.5), 175);
        assert_eq!(crossing((100, Some(0.5)), (110, Some(0.9)), 0.61), 103);
        assert_eq!(crossing((100, Some(3.0)), (200, Some(1.0)), 1.0), 200);
        assert_eq!(crossing((0, Some(3.0)), (50, Some(1.0)), 3.0), 1);
        assert_eq!(crossing((100, None), (200, Some(1.0)), 1.5), 200);
        assert_eq!(crossing((100, Some(f64::NAN)), (200, Some(1.0)), 1.5), 200);
        assert_eq!(
            crossing((100, Some(f64::INFINITY)), (200, Some(1.0)), 1.5),
            200
        );
    }
}
