//! What holds for every schedule, over random ones.

use downhill_schedule::{Multiplier, MultiplierConfig, Schedule, ScheduleConfig, Warmup};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A random schedule, and what is known of it from how it was made.
#[derive(Clone, Debug)]
struct Subject {
    json: Value,
    floor: f64,
    peak: f64,
    /// How much it changes from a step to the next where it does not jump.
    slope: f64,
    /// Whether it jumps, which it does where a phase begins.
    jumps: bool,
}

impl Subject {
    fn schedule(&self) -> Schedule {
        let config = ScheduleConfig::from_json(&self.json.to_string()).unwrap();
        config
            .try_build()
            .unwrap_or_else(|error| panic!("{config}: {error}"))
    }
}

const PI: f64 = std::f64::consts::PI;

/// A shape by itself, with values up to `top`.
fn shape(top: f64) -> impl Strategy<Value = Subject> {
    let numbers = (0.0..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64, 1.0..4.0f64);
    let lengths = (prop_oneof![Just(1u64), 1..50u64, 1..5000u64], 0..3000u64);
    let kinds = (0..14usize, 0..4usize, any::<bool>());
    (numbers, lengths, kinds).prop_map(move |((a, b, c, m), (steps, more), (kind, sort, flag))| {
        let (floor, peak) = (top * a.min(b), top * a.max(b));
        let span = peak - floor;
        let n = steps as f64;
        let subject = |json, slope, jumps| Subject { json, floor, peak, slope, jumps };
        match kind {
            0 => {
                let json = json!({"name": "constant", "value": peak});
                subject(json, 0.0, false)
            }
            1 => {
                let (initial, end) = if flag { (peak, floor) } else { (floor, peak) };
                let json =
                    json!({"name": "linear", "initial": initial, "end": end, "steps": steps});
                subject(json, span / n, false)
            }
            2 => {
                let json =
                    json!({"name": "step", "initial": peak, "gamma": c, "step_size": steps});
                Subject { floor: 0.0, ..subject(json, 0.0, true) }
            }
            3 => {
                let milestones = [more, more + steps, more + 3 * steps];
                let json = json!({
                    "name": "multi_step", "initial": peak, "gamma": c, "milestones": milestones
                });
                Subject { floor: peak * c.powi(3), ..subject(json, 0.0, true) }
            }
            4 => {
                let interpolation = ["constant", "linear", "cosine"][sort % 3];
                let points = json!([[more, floor], [more + steps, peak], [more + 2 * steps, floor]]);
                let json = json!({
                    "name": "piecewise", "points": points, "interpolation": interpolation
                });
                subject(json, span / n * PI / 2.0, interpolation == "constant")
            }
            5 => {
                let json =
                    json!({"name": "exponential", "initial": peak, "gamma": c, "steps": steps});
                let slope = peak * (1.0 - c.powf(1.0 / n));
                Subject { floor: 0.0, ..subject(json, slope, false) }
            }
            6 => {
                let json = json!({
                    "name": "polynomial", "initial": peak, "end": floor, "steps": steps, "power": m
                });
                subject(json, m * span / n, false)
            }
            7 => {
                let json = json!({
                    "name": "cosine", "peak": peak, "floor": floor, "steps": steps, "periodic": flag
                });
                subject(json, span / n * PI / 2.0, false)
            }
            8 => {
                let t_mul = [1.0, 2.0, 3.0, m][sort];
                let json = json!({
                    "name": "cosine_restarts", "peak": peak, "floor": floor, "period": steps,
                    "t_mul": t_mul, "m_mul": c
                });
                subject(json, span / n * PI / 2.0, true)
            }
            9 => {
                let (pct_start, pct_final) = (c / 2.0, if flag { json!(c) } else { json!(null) });
                let json = json!({
                    "name": "one_cycle", "peak": peak, "steps": steps, "pct_start": pct_start,
                    "pct_final": pct_final, "three_phase": flag,
                    "anneal": (["cosine", "linear"][sort % 2]),
                    "boundaries": (["torch", "optax"][sort / 2]),
                });
                // A phase may be as short as nothing.
                Subject { floor: peak / 25e4, ..subject(json, peak, false) }
            }
            10 => {
                let mode = ["triangular", "triangular2", "exp_range"][sort % 3];
                let json = json!({
                    "name": "cyclic", "floor": floor, "peak": peak, "step_size_up": steps,
                    "step_size_down": more + 1, "mode": mode,
                    "gamma": if sort % 3 == 2 { c } else { 1.0 }
                });
                let slope = span / n.min(more as f64 + 1.0) + span * (1.0 - c);
                subject(json, slope, false)
            }
            11 => {
                let json = json!({"name": "inverse_sqrt", "peak": peak, "timescale": steps});
                Subject { floor: 0.0, ..subject(json, peak / n, false) }
            }
            12 => {
                let name = ["wsd", "wsd_repeated"][usize::from(flag)];
                let shape = ["linear", "cosine", "1-sqrt", "exponential"][sort];
                let length = if flag { "period" } else { "steps" };
                let json = json!({
                    "name": name, "peak": peak, "floor": floor.max(1e-300), length: 2 * steps + more,
                    "warmup": steps, "decay": steps, "decay_shape": shape
                });
                // The root is as steep at its beginning as can be, and so may the power be.
                let slope = match sort {
                    2 => span / n.sqrt() + peak / n,
                    3 => peak,
                    _ => peak / n * PI / 2.0,
                };
                Subject { floor: 0.0, ..subject(json, slope, flag) }
            }
            _ => {
                let json = json!({"name": "rex", "peak": peak, "floor": floor, "steps": steps});
                subject(json, 2.0 * span / n, false)
            }
        }
    })
}

/// A schedule, or schedules combined.
fn subject() -> impl Strategy<Value = Subject> {
    shape(1e3).prop_recursive(3, 8, 2, |inner| {
        let numbers = (0.0..=2.0f64, 0.0..=1.0f64, 0..2000u64, 1..2000u64);
        (inner.clone(), inner, shape(1.0), numbers, 0..8usize).prop_map(
            |(one, two, multiplier, (factor, part, steps, period), kind)| match kind {
                0 => {
                    let to = one.schedule().value(0);
                    let from = to * part;
                    let shape = ["linear", "cosine", "exponential"][steps as usize % 3];
                    let from = if shape == "exponential" { to / 3.0 } else { from };
                    let json = json!({
                        "name": "warmup", "steps": steps, "from": from, "shape": shape,
                        "schedule": one.json
                    });
                    let slope = to / steps.max(1) as f64 * PI / 2.0;
                    let floor = one.floor.min(from);
                    Subject { json, floor, slope: one.slope.max(slope), ..one }
                }
                1 => Subject {
                    json: json!({
                        "name": "sequence", "schedules": [one.json, two.json], "milestones": [period]
                    }),
                    floor: one.floor.min(two.floor),
                    peak: one.peak.max(two.peak),
                    slope: one.slope.max(two.slope),
                    jumps: true,
                },
                2 => Subject {
                    json: json!({
                        "name": "product", "schedule": one.json, "multipliers": [multiplier.json]
                    }),
                    floor: one.floor * multiplier.floor,
                    peak: one.peak * multiplier.peak,
                    slope: one.slope * multiplier.peak + one.peak * multiplier.slope,
                    jumps: one.jumps || multiplier.jumps,
                },
                3 => Subject {
                    json: json!({"name": "scale", "schedule": one.json, "factor": factor}),
                    floor: factor * one.floor,
                    peak: factor * one.peak,
                    slope: factor * one.slope,
                    ..one
                },
                4 => {
                    let (min, max) = (one.peak * part, one.peak);
                    let json = json!({
                        "name": "clamp", "schedule": one.json, "min": min, "max": max
                    });
                    Subject { json, floor: one.floor.max(min), ..one }
                }
                5 => {
                    let shift = steps as i64 - 1000;
                    let json = json!({"name": "shift", "schedule": one.json, "steps": shift});
                    Subject { json, ..one }
                }
                6 => Subject {
                    json: json!({"name": "repeat", "schedule": one.json, "period": period}),
                    jumps: true,
                    ..one
                },
                _ => {
                    // Between two epochs everything happens at once: all of them are jumps.
                    let json = json!({
                        "name": "per_epoch", "schedule": one.json,
                        "steps_per_epoch": period % 7 + 1
                    });
                    Subject { json, ..one }
                }
            },
        )
    })
}

fn steps() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..10u64,
        0..20_000u64,
        any::<u64>(),
        Just(u64::MAX),
        Just(1 << 53),
        Just(u64::MAX - 1)
    ]
}

const HORIZON: u64 = 6000;

/// So many cases, or as many as the environment variable `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_set { default.cases } else { cases },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_value_is_between_floor_and_peak(subject in subject(), steps in prop::collection::vec(steps(), 20)) {
        let schedule = subject.schedule();
        // Products of roundings.
        let slack = 1e-12 * subject.peak;
        for step in steps.into_iter().chain(schedule.phases(HORIZON)) {
            let value = schedule.value(step);
            let inside = subject.floor - slack..=subject.peak + slack;
            prop_assert!(value.is_finite() && inside.contains(&value),
                "{} at step {step} is not in {inside:?}", value);
        }
    }

    /// Where no phase begins, it changes no more in a step than its steepest part does.
    #[test]
    fn it_jumps_only_where_a_phase_begins(subject in subject()) {
        let schedule = subject.schedule();
        let phases = schedule.phases(HORIZON);
        let limit = 1.001 * subject.slope + 1e-9 * subject.peak;
        for step in 1..HORIZON {
            if subject.jumps && phases.binary_search(&step).is_ok() {
                continue;
            }
            let change = (schedule.value(step) - schedule.value(step - 1)).abs();
            prop_assert!(change <= limit, "{change} above {limit} at step {step}");
        }
    }

    #[test]
    fn phases_ascend_and_end_where_they_are_told(subject in subject(), until in 0..HORIZON) {
        let schedule = subject.schedule();
        let phases = schedule.phases(until);
        prop_assert!(phases.windows(2).all(|pair| pair[0] < pair[1]), "{phases:?}");
        prop_assert!(phases.iter().all(|step| (1..until).contains(step)), "{phases:?}");
        // Those of a shorter time are the first of those of a longer one.
        let all = schedule.phases(HORIZON);
        prop_assert_eq!(&phases[..], &all[..phases.len()]);
        prop_assert!(all.get(phases.len()).is_none_or(|next| *next >= until));
    }

    #[test]
    fn json_and_back_is_the_same_schedule(subject in subject(), steps in prop::collection::vec(steps(), 10)) {
        let schedule = subject.schedule();
        let json = serde_json::to_string(&schedule).unwrap();
        let read: Schedule = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &schedule);
        prop_assert_eq!(read.fingerprint(), schedule.fingerprint());
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        for step in steps {
            prop_assert_eq!(read.value(step).to_bits(), schedule.value(step).to_bits());
        }
    }

    /// A schedule and the multiplier of the same settings have the same values; so has the product of
    /// a constant 1 and that multiplier.
    #[test]
    fn rates_and_multipliers_agree(subject in subject(), steps in prop::collection::vec(steps(), 10)) {
        let schedule = subject.schedule();
        let config: MultiplierConfig = serde_json::from_value(subject.json.clone()).unwrap();
        let multiplier: Multiplier = config.try_build().unwrap();
        let product = (ScheduleConfig::constant(1.0) * config).try_build().unwrap();
        for step in steps {
            prop_assert_eq!(schedule.value(step), multiplier.value(step));
            prop_assert_eq!(schedule.value(step), product.value(step));
        }
    }

    /// Percentages come to the same as the numbers that they stand for, once and for all.
    #[test]
    fn percentages_are_resolved_once(
        lr in 1e-6..10.0f64, whole in 0..100_000u64, warmup in 0..=100u32, floor in 0..=100u32,
    ) {
        let json = format!(
            r#"{{"name": "warmup", "steps": "{warmup}%", "schedule":
                {{"name": "cosine", "peak": "100%", "floor": "{floor}%"}}}}"#
        );
        let config = ScheduleConfig::from_json(&json).unwrap();
        let schedule = config.try_build_for(lr, whole).unwrap();
        let steps = (whole as f64 * f64::from(warmup) / 100.0).round() as u64;
        prop_assert_eq!(schedule.value(steps), if steps == whole { floor_of(lr, floor) } else { lr });
        prop_assert_eq!(schedule.value(whole), floor_of(lr, floor));

        let again = schedule.config().try_build().unwrap();
        prop_assert_eq!(&again, &schedule);
        prop_assert!(!schedule.config().to_string().contains('%'));
        // A whole of another length changes nothing any more.
        prop_assert_eq!(&schedule.config().try_build_for(2.0 * lr, whole + 1).unwrap(), &schedule);
    }

    /// Each restart is at the peak of its cycle, and the step before it is not.
    #[test]
    fn restarts_are_exact(
        period in 1..1000u64, t_mul in prop_oneof![(1..20u32).prop_map(f64::from), 1.0..5.0f64],
    ) {
        let json = json!({
            "name": "cosine_restarts", "peak": 1.0, "period": period, "t_mul": t_mul
        });
        let schedule: Schedule = serde_json::from_value(json).unwrap();
        for restart in schedule.phases(100_000 * period) {
            let whole = t_mul.fract() == 0.0;
            let at = schedule.value(restart);
            if whole {
                prop_assert_eq!(at, 1.0, "at {}", restart);
            }
            // A real cycle may begin up to one step before.
            prop_assert!(restart == 1 || period == 1 || at > schedule.value(restart - 1),
                "{} at {}, {} before", at, restart, schedule.value(restart - 1));
        }
    }
}

/// Numbers that something overflows, cancels or is lost at, as JSON.
const EXTREMES: [&str; 16] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "0.5",
    "0.999",
    "1e-5",
    "1e-320",
    "1000",
    "1e5",
    "1e19",
    "1e300",
    "1e308",
    "1.7976931348623157e308",
    "-1",
];

/// Lengths of the same kind, ascending.
const LENGTHS: [u64; 12] = [
    0,
    1,
    2,
    3,
    10,
    1000,
    1 << 32,
    (1 << 53) + 1,
    (1 << 53) + 3,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

fn extreme_number() -> impl Strategy<Value = Value> {
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    prop_oneof![
        4 => prop::sample::select(&EXTREMES[..]).prop_map(number),
        2 => extreme_length(),
        1 => (0..10u64, -9..9i32).prop_map(|(digit, power)| json!(digit as f64 * 10f64.powi(power))),
        1 => prop::sample::select(vec!["0%", "1%", "50%", "99.9%", "100%", "1e300%"])
            .prop_map(|text| json!(text)),
    ]
}

fn extreme_length() -> impl Strategy<Value = Value> {
    prop::sample::select(&LENGTHS[..]).prop_map(|steps| json!(steps))
}

fn ascending_lengths(count: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::sample::subsequence(&LENGTHS[..], count)
}

/// Any schedule that is not made of others, with some of its settings replaced.
fn extreme_shape() -> impl Strategy<Value = Value> {
    let shapes: Vec<Value> = ScheduleConfig::all()
        .iter()
        .map(|info| ScheduleConfig::by_name(info.name).unwrap())
        .map(|config| serde_json::to_value(config).unwrap())
        .filter(|json| json.get("schedule").is_none() && json.get("schedules").is_none())
        .collect();
    let word = prop::sample::select(vec![
        json!("linear"),
        json!("cosine"),
        json!("1-sqrt"),
        json!("exponential"),
        json!("constant"),
        json!("triangular2"),
        json!("exp_range"),
        json!("optax"),
        json!(true),
        Value::Null,
    ]);
    let replaced = (any::<u8>(), extreme_number(), word);
    let lists = (ascending_lengths(3), extreme_number(), extreme_number());
    let replaced = prop::collection::vec(replaced, 10);
    (prop::sample::select(shapes), replaced, lists).prop_map(|(mut json, replaced, lists)| {
        let (steps, low, high) = lists;
        let settings = json.as_object_mut().unwrap().iter_mut();
        for ((name, value), (kind, number, word)) in settings.zip(replaced) {
            match (name.as_str(), kind) {
                ("name" | "function", _) => {}
                ("milestones", _) => *value = json!(steps),
                ("points", _) => {
                    *value = json!([[steps[0], low], [steps[1], high], [steps[2], low]])
                }
                (_, 128..) => {}
                (_, 0..10) => *value = word,
                ("mode" | "decay_shape" | "interpolation" | "anneal" | "boundaries", _) => {
                    *value = word
                }
                ("periodic" | "three_phase", _) => *value = json!(kind % 2 == 0),
                _ => *value = number,
            }
        }
        json
    })
}

/// Such schedules combined with extreme settings. Not all of them can be built.
fn extreme() -> impl Strategy<Value = Value> {
    extreme_shape().prop_recursive(3, 8, 2, |inner| {
        let numbers = (extreme_number(), extreme_number(), ascending_lengths(1));
        let shift = prop::sample::select(vec![i64::MIN, -1, 0, 1, 1 << 53, i64::MAX]);
        (inner.clone(), inner, numbers, shift, 0..8usize).prop_map(
            |(one, two, (a, b, milestone), shift, kind)| match kind {
                0 => json!({"name": "scale", "factor": a, "schedule": one}),
                1 => json!({"name": "clamp", "min": a, "max": b, "schedule": one}),
                2 => json!({"name": "shift", "steps": shift, "schedule": one}),
                3 => json!({"name": "repeat", "period": a, "schedule": one}),
                4 => json!({"name": "per_epoch", "steps_per_epoch": a, "schedule": one}),
                5 => json!({"name": "sequence", "schedules": [one, two], "milestones": milestone}),
                6 => {
                    let shape = ["linear", "cosine", "exponential"][shift.rem_euclid(3) as usize];
                    json!({
                        "name": "warmup", "steps": a, "from": b, "shape": shape, "schedule": one
                    })
                }
                _ => json!({"name": "product", "schedule": one, "multipliers": [two]}),
            },
        )
    })
}

/// How many of [`extreme`] must build at the least, so that the test is about something. About 22 % do,
/// and their number is another at each run.
const BUILT: f64 = 0.1;

/// Whatever can be built is finite and not negative at every step, and what cannot is refused in words.
#[test]
fn what_builds_is_finite_and_not_negative_everywhere() {
    use proptest::test_runner::TestRunner;
    use std::cell::Cell;

    let wholes = vec![0, 1, 10, 1000, (1 << 53) + 3, u64::MAX];
    let rates = vec![0.0, 1e-320, 1e-3, 1.0, 1e300, f64::MAX];
    let of = (prop::sample::select(rates), prop::sample::select(wholes));
    let probes = prop::collection::vec(steps(), 10);
    let (tried, built) = (Cell::new(0.0), Cell::new(0.0));
    let mut runner = TestRunner::new(config(2_000));
    let result = runner.run(&(extreme(), of, probes), |(json, (lr, whole), probes)| {
        tried.set(tried.get() + 1.0);
        let config = ScheduleConfig::from_json(&json.to_string());
        let schedule = match config.and_then(|config| config.try_build_for(lr, whole)) {
            Ok(schedule) => schedule,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
        };
        built.set(built.get() + 1.0);
        let phases = schedule.phases(1000);
        let around = phases.iter().flat_map(|step| [step - 1, *step]);
        for step in LENGTHS.into_iter().chain(probes).chain(around) {
            let value = schedule.value(step);
            prop_assert!(value.is_finite() && value >= 0.0, "{value} at step {step}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        built.get() >= BUILT * tried.get(),
        "{} of {}",
        built.get(),
        tried.get()
    );
}

/// Phases are looked for where they are asked for, and not from the beginning of all schedules inside.
#[test]
fn phases_far_from_the_beginning_are_found_at_once() {
    let far = 1i64 << 53;
    let later = (far as u64).div_ceil(7) * 7 - far as u64;
    for inner in [
        json!({"name": "step", "step_size": 7, "initial": 1}),
        json!({"name": "cosine", "peak": 1, "steps": 7, "periodic": true}),
        json!({"name": "cosine_restarts", "peak": 1, "period": 7}),
        json!({"name": "cyclic", "floor": 0, "peak": 1, "step_size_up": 3, "step_size_down": 4}),
        json!({"name": "wsd_repeated", "peak": 1, "warmup": 0, "period": 7, "decay": 2}),
        json!({"name": "repeat", "period": 7, "schedule": {"name": "constant", "value": 1}}),
        json!({"name": "per_epoch", "steps_per_epoch": 7, "schedule":
            {"name": "step", "step_size": 1, "initial": 1}}),
        json!({"name": "sequence", "milestones": [1], "schedules": [
            {"name": "constant", "value": 1},
            {"name": "shift", "steps": 6, "schedule": {"name": "step", "step_size": 7, "initial": 1}}
        ]}),
    ] {
        let json = json!({"name": "shift", "steps": -far, "schedule": inner});
        let schedule: Schedule = serde_json::from_value(json).unwrap();
        let phases = schedule.phases(30);
        let period = |n: u64| later + 7 * n;
        assert!(
            (0..3).all(|n| phases.contains(&period(n))),
            "{inner}: {phases:?}"
        );
        assert!(
            phases.iter().all(|step| (1..30).contains(step)),
            "{inner}: {phases:?}"
        );
        let json = json!({"name": "repeat", "period": u64::MAX, "schedule": inner});
        let schedule: Schedule = serde_json::from_value(json).unwrap();
        assert!(schedule.phases(30).contains(&14), "{inner}");
    }
}

/// Settings that overflow somewhere on the way, or would.
#[test]
fn extreme_settings_have_values_or_are_refused() {
    let value = |json: Value, step: u64| {
        let schedule: Schedule = serde_json::from_value(json).unwrap();
        schedule.value(step)
    };
    // The second cycle begins after the first and never ends.
    let restarts = json!({"name": "cosine_restarts", "peak": 1.0, "period": 10, "t_mul": 1e308});
    assert!(value(restarts.clone(), 9) < 0.03);
    for step in [10, 1000, 1 << 53, u64::MAX] {
        assert_eq!(value(restarts.clone(), step), 1.0, "at {step}");
    }
    // The boundaries, where the logarithm of the cycle overflows.
    let restarts = json!({"name": "cosine_restarts", "peak": 1.0, "period": 1, "t_mul": 1e290});
    assert_eq!(value(restarts, u64::MAX), 1.0);

    let step = json!({"name": "slides_step", "initial": 1.0, "drop": 2.0, "epochs_drop": 1});
    assert_eq!(value(step.clone(), 9), 1024.0);
    assert_eq!(value(step, u64::MAX), f64::MAX);
    let step = json!({"name": "slides_step", "initial": 0.0, "drop": 2.0, "epochs_drop": 1});
    assert_eq!(value(step, u64::MAX), 0.0);

    let restarts = |t_mul: f64| {
        let config = json!({"name": "slides_restarts", "initial": 1.0, "t_mul": t_mul});
        serde_json::from_value::<Schedule>(config)
    };
    assert!(restarts(1000.0).unwrap().value(u64::MAX).is_finite());
    let error = restarts(1e308).unwrap_err().to_string();
    assert!(error.contains("`t_mul` must be above 1"), "{error}");
    assert!(error.contains("at most 1000"), "{error}");
}

fn floor_of(lr: f64, percent: u32) -> f64 {
    lr * (f64::from(percent) / 100.0)
}

/// The boundaries at which PyTorch's logarithm finds the wrong cycle, and some more.
#[test]
fn restarts_that_a_logarithm_misses() {
    for (t_mul, cycles) in [(3u64, 12), (9, 12), (10, 12), (2, 50), (7, 20)] {
        let json = json!({
            "name": "cosine_restarts", "peak": 1.0, "period": 10, "t_mul": t_mul
        });
        let schedule: Schedule = serde_json::from_value(json).unwrap();
        let (mut start, mut length) = (0u64, 10u64);
        for _ in 0..cycles {
            start += length;
            length *= t_mul;
            assert_eq!(schedule.value(start), 1.0, "t_mul {t_mul} at {start}");
            assert!(
                schedule.value(start - 1) < 0.03,
                "t_mul {t_mul} before {start}"
            );
        }
    }
    // 1 + 1.1 in decimals, not in binary.
    let json = json!({"name": "cosine_restarts", "peak": 1.0, "period": 10, "t_mul": 1.1});
    let schedule: Schedule = serde_json::from_value(json).unwrap();
    assert_eq!(schedule.value(21), 1.0);
    assert!(schedule.value(20) < 0.05);
}

/// Lengths of nothing, of all, and of one step: defined, or refused in words.
#[test]
fn edges() {
    let cases = [
        (
            json!({"name": "linear", "initial": 1, "end": 0.5, "steps": 0}),
            [0.5, 0.5, 0.5],
        ),
        (
            json!({"name": "linear", "initial": 1, "end": 0.5, "steps": 1}),
            [1.0, 0.5, 0.5],
        ),
        (
            json!({"name": "cosine", "peak": 1, "floor": 0.5, "steps": 0}),
            [0.5, 0.5, 0.5],
        ),
        (
            json!({"name": "cosine", "peak": 1, "floor": 0.5, "steps": 1}),
            [1.0, 0.5, 0.5],
        ),
        (
            json!({"name": "rex", "peak": 1, "floor": 0.5, "steps": 1}),
            [1.0, 0.5, 0.5],
        ),
        (
            json!({"name": "polynomial", "initial": 1, "steps": 0, "power": 2}),
            [0.0, 0.0, 0.0],
        ),
        (
            json!({"name": "one_cycle", "peak": 1, "steps": 1}),
            [4e-6, 4e-6, 4e-6],
        ),
        (
            json!({"name": "one_cycle", "peak": 1, "steps": 2, "pct_start": 0.5}),
            [1.0, 4e-6, 4e-6],
        ),
        (
            json!({"name": "one_cycle", "peak": 1, "steps": 2, "pct_start": 0, "anneal": "linear",
                "final_div_factor": 1}),
            [0.52, 0.04, 0.04],
        ),
        (
            json!({"name": "wsd", "peak": 1, "steps": 0, "warmup": 0, "decay": 0}),
            [0.0, 0.0, 0.0],
        ),
        (
            json!({"name": "wsd", "peak": 1, "steps": 1, "warmup": 1, "decay": 0}),
            [0.0, 0.0, 0.0],
        ),
        (
            json!({"name": "cosine_restarts", "peak": 1, "period": 1}),
            [1.0, 1.0, 1.0],
        ),
        (
            json!({"name": "warmup", "steps": 0, "schedule": {"name": "constant", "value": 1}}),
            [1.0, 1.0, 1.0],
        ),
        (
            json!({"name": "warmup", "steps": 2, "schedule":
                {"name": "cosine", "peak": 1, "floor": 0.5, "steps": 0}}),
            [0.0, 0.25, 0.5],
        ),
        (
            json!({"name": "shift", "steps": i64::MIN, "schedule":
                {"name": "linear", "initial": 1, "end": 0.5, "steps": 9}}),
            [0.5, 0.5, 0.5],
        ),
    ];
    for (json, expected) in cases {
        let schedule: Schedule = serde_json::from_value(json.clone()).unwrap();
        for (step, expected) in (0..).zip(expected) {
            let value = schedule.value(step);
            assert!(
                (value - expected).abs() < 1e-15,
                "{json} at {step}: {value}"
            );
        }
        assert!(schedule.value(u64::MAX).is_finite());
    }
    // A warmup as long as the whole leaves no step for what follows: that is at its end.
    let config = ScheduleConfig::by_name("cosine").unwrap().warmup(100);
    let schedule = config.try_build_for(1.0, 100).unwrap();
    assert_eq!(schedule.value(100), 0.0);
    assert!((50..100).all(|step| schedule.value(step) <= 1.0));
    // Numbers that are too large stay numbers, and nothing is taken from infinity.
    let huge = ScheduleConfig::constant(1e300);
    let multiplier = |value| MultiplierConfig::constant(value);
    for (config, expected) in [
        (huge.clone() * multiplier(1e300), f64::MAX),
        (huge.clone() * multiplier(1e300) * multiplier(0.0), 0.0),
        (huge.clone().scale(1e300), f64::MAX),
        (huge.clone().warmup(Warmup::exponential(2, 1e-300)), 1.0),
    ] {
        let value = config.try_build().unwrap().value(1);
        assert!(
            (value - expected).abs() <= 1e-12 * expected,
            "{config}: {value}"
        );
    }
    let whole = ScheduleConfig::by_name("one_cycle")
        .unwrap()
        .try_build_for(1.0, 0);
    assert!(whole.unwrap_err().to_string().contains("at least 1 step"));
}

/// Functions are the same if they are one function, and unlike by another name.
#[test]
fn functions_compare() {
    let config = ScheduleConfig::custom("f", |step| step as f64);
    assert_eq!(config, config.clone());
    assert_ne!(config, ScheduleConfig::custom("f", |step| step as f64));
    let schedule = config.try_build().unwrap();
    let other = ScheduleConfig::custom("g", |step| step as f64)
        .try_build()
        .unwrap();
    assert_ne!(schedule.fingerprint(), other.fingerprint());
    assert_eq!(
        schedule.config().to_string(),
        r#"{"name":"custom","function":"f"}"#
    );
}
