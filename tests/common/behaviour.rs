//! How an optimizer behaves, found by running it in f64 on plain numbers. Where a test holds for some optimizers
//! only, it asks here which, so that no optimizer has to be named.

use downhill::optim::{OptimizerConfig, Scope, SettingKind};
use serde_json::{Value, json};

/// Numbers in `[-1, 1)` without a pattern, exact in every precision.
pub fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 57) as f64 - 63.5) / 64.0
        })
        .collect()
}

/// Where a parameter gets to.
fn run(
    config: &OptimizerConfig,
    lr: f64,
    shape: &[usize],
    start: &[f64],
    grads: impl IntoIterator<Item = Vec<f64>>,
) -> Vec<f64> {
    let mut trajectory = config.try_trajectory(shape).expect("a row can be built");
    let mut param = start.to_vec();
    for (step, grad) in grads.into_iter().enumerate() {
        let loss = (step as f64 + 1.0).recip();
        trajectory.step_with_loss(lr, &mut param, &grad, loss);
    }
    param
}

fn root_mean_square(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    (values.map(|x| x * x).sum::<f64>() / count).sqrt()
}

/// Ten times the rate that is usual, at most 0.1, but one at which eight steps move a parameter as far as is
/// sensible.
pub fn rate(config: &OptimizerConfig) -> f64 {
    let default = config.info().default_learning_rate;
    if finds_its_rate(config) {
        return default;
    }
    let usual = (10.0 * default).min(0.1);
    let start = noise(12, 1);
    let end = run(
        config,
        usual,
        &[4, 3],
        &start,
        (100..108).map(|seed| noise(12, seed)),
    );
    let moved = root_mean_square(end.iter().zip(&start).map(|(a, b)| a - b));
    match (1e-3..2.0).contains(&moved) {
        true => usual,
        false => usual * 0.05 / moved,
    }
}

/// Whether it estimates how far to go.
fn finds_its_rate(config: &OptimizerConfig) -> bool {
    let settings = config.settings();
    let begins = settings
        .iter()
        .any(|setting| super::rows::BEGINS.contains(&setting.name));
    begins || config.info().scope == Scope::Model
}

/// How many steps move nothing at first.
pub fn waits(config: &OptimizerConfig) -> u64 {
    let start = noise(12, 1);
    let moves = |steps: u64| {
        let grads = (0..steps).map(|step| noise(12, 100 + step));
        run(config, 0.1, &[4, 3], &start, grads) != start
    };
    (0..10)
        .find(|steps| moves(steps + 1))
        .expect("ten steps move something")
}

/// The configuration that keeps another parameter to evaluate than the one that is trained: this one, or with a
/// number of 0.
pub fn averaging(config: &OptimizerConfig) -> Option<OptimizerConfig> {
    let averages = |config: &OptimizerConfig| {
        let mut trajectory = config.try_trajectory(&[12]).expect("a row can be built");
        let mut param = noise(12, 1);
        for step in 0..8 {
            trajectory.step_with_loss(0.1, &mut param, &noise(12, 100 + step), 1.0);
        }
        trajectory.evaluated(&param) != param
    };
    std::iter::once(config.clone())
        .chain(each_zero(config))
        .find(averages)
}

/// Whether a gradient along the parameter moves nothing.
pub fn goes_across(config: &OptimizerConfig) -> bool {
    let start = noise(12, 1);
    let grads = (0..waits(config) + 3).map(|_| start.iter().map(|x| 2.0 * x).collect());
    run(config, 0.1, &[4, 3], &start, grads) == start
}

/// Whether an element's step has one length, whatever the gradient: it jumps, and another unit of each element's
/// gradient changes nothing.
pub fn goes_by_sign(config: &OptimizerConfig) -> bool {
    let start = noise(12, 1);
    let moved = |unit: f64| {
        let grads = (0..6).map(|step| {
            let grad = noise(12, 100 + step).into_iter().enumerate();
            grad.map(|(i, g)| g * unit.powi(i as i32 % 3)).collect()
        });
        run(config, 0.1, &[12], &start, grads)
    };
    jumps(config) && moved(1.0) == moved(4.0)
}

/// Whether a step is a jump somewhere: elements that were the same until now are given gradients close to each
/// other, and the closer they are, the closer they should come out.
pub fn jumps(config: &OptimizerConfig) -> bool {
    let furthest = |steps: usize| {
        let last = (0..=steps).map(|i| 40.0 * i as f64 / steps as f64 - 20.0 + 1e-3);
        let before = [0.1, -0.2, 0.3, 0.1].map(|g| vec![g; steps + 1]);
        let grads = before.into_iter().chain([last.collect()]);
        let end = run(config, 0.1, &[steps + 1], &vec![0.5; steps + 1], grads);
        let apart = end.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        apart.fold(0.0, f64::max)
    };
    // A decay that begins where the step turns round is too small to be seen beside it, and what a matrix method does by
    // signs is not done to a vector.
    let json = serde_json::to_value(config).expect("a configuration is JSON");
    let turns = json["weight_decay_kind"] == "cautious" || json["sign"] == true;
    turns || furthest(40_000) > 0.5 * furthest(4_000)
}

/// Whether an element of a matrix goes its way whatever the others do.
pub fn is_elementwise(config: &OptimizerConfig) -> bool {
    let start = noise(6, 1);
    // Small and large ones: some look at the whole only to see whether it is larger than before.
    let sizes = [1.0, 0.1, 3.0].into_iter().cycle();
    let grads: Vec<Vec<f64>> = (0..12)
        .zip(sizes)
        .map(|(step, size)| noise(6, 100 + step).iter().map(|g| g * size).collect())
        .collect();
    let alone = |i: usize| {
        run(
            config,
            0.1,
            &[1, 1],
            &start[i..=i],
            grads.iter().map(|g| vec![g[i]]),
        )
    };
    let together = run(config, 0.1, &[2, 3], &start, grads.clone());
    // One tensor cannot tell whether it looks at others.
    config.info().scope != Scope::Model && (0..6).all(|i| alone(i) == together[i..=i])
}

/// The configuration with `settings` in the place of its own.
fn with(
    config: &OptimizerConfig,
    settings: impl IntoIterator<Item = (&'static str, Value)>,
) -> OptimizerConfig {
    tried(config, settings).expect("settings that go together")
}

/// The same, if the settings go together.
fn tried(
    config: &OptimizerConfig,
    settings: impl IntoIterator<Item = (&'static str, Value)>,
) -> Option<OptimizerConfig> {
    let mut json = serde_json::to_value(config).expect("a configuration is JSON");
    for (name, value) in settings {
        json[name] = value;
    }
    OptimizerConfig::from_json(&json.to_string()).ok()
}

/// The names of the settings that differ.
pub fn difference(one: &OptimizerConfig, other: &OptimizerConfig) -> Vec<String> {
    let json = |config| serde_json::to_value(config).expect("a configuration is JSON");
    let (one, other) = (json(one), json(other));
    let settings = one.as_object().expect("an object").iter();
    let differ = settings.filter(|(name, value)| other[name.as_str()] != **value);
    differ.map(|(name, _)| name.clone()).collect()
}

/// The settings whose value is a number, and which may have `value`.
fn numbers(config: &OptimizerConfig, value: f64) -> impl Iterator<Item = &'static str> {
    let settings = config.settings().into_iter();
    let numbers = settings.filter(move |setting| {
        matches!(setting.kind, SettingKind::Number) && setting.range.contains(value)
    });
    numbers.map(|setting| setting.name)
}

/// The configuration with one of its numbers at 0, the last first.
fn each_zero(config: &OptimizerConfig) -> impl Iterator<Item = OptimizerConfig> {
    let names: Vec<_> = numbers(config, 0.0).collect();
    let names = names.into_iter().rev();
    // Some go with another setting only.
    names.filter_map(|name| tried(config, [(name, json!(0.0))]))
}

/// The configuration under which a parameter without gradients stays where it is, if there is one: without weight
/// decay, and if need be without one more thing.
pub fn still(config: &OptimizerConfig) -> Option<OptimizerConfig> {
    let start = noise(6, 3);
    let stays = |config: &OptimizerConfig| {
        [&[3, 2][..], &[6]].iter().all(|shape| {
            let grads = (0..3).map(|_| vec![0.0; 6]);
            run(config, 0.1, shape, &start, grads) == start
        })
    };
    let decays = |name: &&str| *name == "weight_decay";
    let undecayed = with(
        config,
        numbers(config, 0.0)
            .filter(decays)
            .map(|name| (name, json!(0.0))),
    );
    std::iter::once(undecayed.clone())
        .chain(each_zero(&undecayed))
        .find(stays)
}

/// The law by which the first direction grows with the gradient.
pub struct Scaling {
    /// A gradient `c` times as large moves `c^exponent` times as far.
    pub exponent: f64,
    /// Under these settings: the guard against a division by zero is out of the way.
    pub config: OptimizerConfig,
}

/// How the first direction answers to the unit of the gradient, for a shape, if by a law.
pub fn scaling(config: &OptimizerConfig, lr: f64, shape: &[usize]) -> Option<Scaling> {
    let still = still(config).unwrap_or_else(|| config.clone());
    let guards = |name: &&str| name.starts_with("epsilon");
    let unguarded = with(
        &still,
        numbers(&still, 1e-30)
            .filter(guards)
            .map(|name| (name, json!(1e-30))),
    );
    [unguarded, still].into_iter().find_map(|config| {
        let exponent = exponent(&config, lr, shape)?;
        Some(Scaling { exponent, config })
    })
}

fn exponent(config: &OptimizerConfig, lr: f64, shape: &[usize]) -> Option<f64> {
    let len: usize = shape.iter().product();
    let first = waits(config) + 1;
    let moved = |c: f64| {
        let grads = (0..first).map(|step| noise(len, 17 + step).iter().map(|g| g * c).collect());
        run(config, lr, shape, &vec![0.0; len], grads)
    };
    let unit = moved(1.0);
    let exponents: Vec<f64> = [1e-3_f64, 1e-1, 1e1, 1e3]
        .into_iter()
        .flat_map(|c| {
            let pairs = moved(c).into_iter().zip(unit.clone());
            pairs.map(move |(scaled, unit)| (scaled / unit).ln() / c.ln())
        })
        .collect();
    // Laws that there are have small fractions for exponents.
    let nearest = (exponents[0] * 6.0).round() / 6.0;
    exponents
        .iter()
        .all(|exponent| (exponent - nearest).abs() < 1e-6)
        .then_some(nearest)
}
