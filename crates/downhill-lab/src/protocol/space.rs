//! Which settings an optimizer is tried with, beyond its rate.

use downhill_optim::{OptimizerConfig, SettingKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::halton::halton;
use super::rounded;
use crate::run::takes_a_schedule;

/// The point of the sequence from which on the settings come: four of them are far apart there, in each coordinate too.
const FIRST: u64 = 292;

/// Between which shares of the optimizer's own rate those are that are tried. Up rather than down: what authors give is
/// for models that are far larger and trainings that are far longer.
const RATES: [f64; 2] = [0.2, 100.0];

/// Settings that an optimizer is tried with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The optimizer's settings, with its name.
    pub optimizer: Value,
    /// The schedule's.
    pub schedule: Value,
    /// The learning rate, of which the schedule is a share.
    pub lr: f64,
}

/// What is searched: a coordinate from 0 to 1 becomes a setting.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// In equal ratios.
    fn at(&self, share: f64) -> f64 {
        rounded(self.low.powf(1.0 - share) * self.high.powf(share))
    }
}

/// `count` settings to try an optimizer with: first its own ones, and then quasi-random ones around them.
///
/// | | from | to | |
/// |---|---|---|---|
/// | learning rate | a fifth of its own | a hundred times its own | in equal ratios |
/// | `1 - beta_1`, or `1 - momentum` | 0.02 | 0.5 | in equal ratios |
/// | weight decay that is added to the gradient | 1e-7 | 1e-4 | in equal ratios |
/// | any other weight decay | 1e-6 over the rate of its own | 1e-3 over it | in equal ratios |
/// | warmup | 0 % | 10 % | of the steps |
///
/// What an optimizer does not have is not searched. After the warmup, which is 5 % for its own settings, the rate falls
/// along a cosine to nothing; where averages take the place of a schedule ([`evaluated`]) it stays. An optimizer that
/// takes no rate, or that of the first step, has a constant one.
///
/// The points are those of the [Halton sequence](super::halton), the same for every optimizer.
///
/// [`evaluated`]: downhill_train::Driver::evaluated
pub fn setups(config: &OptimizerConfig, count: usize) -> Vec<Setup> {
    let base = config.default_learning_rate();
    let own = serde_json::to_value(config).unwrap_or_default();
    let has = |name: &&str| {
        let mut settings = config.settings().into_iter();
        settings.any(|setting| setting.name == *name && setting.kind == SettingKind::Number)
    };
    let momentum = ["beta_1", "momentum"].into_iter().find(has);
    let decay = ["weight_decay"]
        .into_iter()
        .find(has)
        .map(|_| match is_coupled(config) {
            true => Range {
                low: 1e-7,
                high: 1e-4,
            },
            false => Range {
                low: 1e-6 / base,
                high: 1e-3 / base,
            },
        });
    let first = Setup {
        optimizer: own.clone(),
        schedule: schedule(config, 5.0),
        lr: base,
    };
    let others = (0..count.saturating_sub(1) as u64).map(|index| {
        let at = |dimension| halton(FIRST + index, dimension);
        let mut optimizer = own.clone();
        if let Some(name) = momentum {
            let range = Range {
                low: 0.02,
                high: 0.5,
            };
            optimizer[name] = rounded(1.0 - range.at(at(1))).into();
        }
        if let Some(range) = &decay {
            optimizer["weight_decay"] = range.at(at(2)).into();
        }
        let [low, high] = RATES.map(|share| share * base);
        let range = Range { low, high };
        Setup {
            optimizer,
            schedule: schedule(config, (100.0 * at(3)).round() / 10.0),
            lr: range.at(at(0)),
        }
    });
    core::iter::once(first).chain(others).take(count).collect()
}

/// Whether weight decay is added to the gradient: where it changes nothing to say so.
fn is_coupled(config: &OptimizerConfig) -> bool {
    let decoupled = |config: &OptimizerConfig| -> Option<bool> {
        let settings = serde_json::to_value(config).ok()?;
        settings["decoupled_weight_decay"].as_bool()
    };
    if let Some(decoupled) = decoupled(config) {
        return !decoupled;
    }
    let settings = json!({"name": config.name(), "weight_decay_kind": "coupled"});
    let said = OptimizerConfig::from_json(&settings.to_string());
    let own = OptimizerConfig::by_name(config.name());
    matches!((said, own), (Ok(said), Ok(own)) if said == own)
}

/// A warmup over a share of the steps, in percent, and what comes after it.
fn schedule(config: &OptimizerConfig, warmup: f64) -> Value {
    if !takes_a_schedule(config) {
        return json!({"name": "constant"});
    }
    let warmup = format!("{warmup}%");
    match config.name().starts_with("schedule_free") {
        true => json!({"name": "warmup", "steps": warmup}),
        false => json!({"name": "warmup_cosine", "warmup": warmup}),
    }
}

#[cfg(test)]
mod tests {
    use downhill_train::DriverConfig;

    use super::*;

    fn of(name: &str, count: usize) -> Vec<Setup> {
        setups(&OptimizerConfig::by_name(name).unwrap(), count)
    }

    #[test]
    fn the_first_are_its_own_and_the_others_within_the_table() {
        let all = of("adamw", 5);
        assert_eq!(all[0].lr, 1e-3);
        assert_eq!(all[0].optimizer["beta_1"], 0.9);
        assert_eq!(
            all[0].schedule,
            json!({"name": "warmup_cosine", "warmup": "5%"})
        );
        for (at, setup) in all.iter().enumerate().skip(1) {
            let number = |name: &str| setup.optimizer[name].as_f64().unwrap();
            assert!((2e-4..=1e-1).contains(&setup.lr), "{at}");
            assert!((0.5..=0.98).contains(&number("beta_1")), "{at}");
            assert!((1e-3..=1.0).contains(&number("weight_decay")), "{at}");
            assert_eq!(setup.optimizer["beta_2"], 0.999);
        }
        // More of them are the same and more.
        assert_eq!(of("adamw", 3), all[..3]);
        assert_eq!(of("adamw", 0), []);
    }

    #[test]
    fn what_an_optimizer_has_not_is_not_searched() {
        let sgd = of("sgd", 2);
        assert!(sgd[1].optimizer.get("beta_1").is_none());
        assert!(sgd[1].optimizer["momentum"].as_f64().unwrap() > 0.0);
        assert!((1e-7..=1e-4).contains(&sgd[1].optimizer["weight_decay"].as_f64().unwrap()));
        for (name, is_added) in [
            ("adam", true),
            ("adamax", true),
            ("rmsprop", true),
            ("radam", true),
            ("adamw", false),
            ("lion", false),
            ("lamb", false),
        ] {
            let decay = of(name, 2)[1].optimizer["weight_decay"].as_f64().unwrap();
            assert_eq!(decay <= 1e-4, is_added, "{name}: {decay}");
        }
        let free = of("schedule_free_adamw", 2);
        assert_eq!(free[0].schedule, json!({"name": "warmup", "steps": "5%"}));
        assert_eq!(of("rprop", 2)[1].schedule, json!({"name": "constant"}));
    }

    #[test]
    fn every_optimizer_can_be_built_with_all_of_them() {
        let mut seen = 0;
        for info in OptimizerConfig::all() {
            for setup in of(info.name, 17) {
                let config = json!({
                    "optimizer": setup.optimizer, "schedule": setup.schedule, "steps": 200
                });
                let config = DriverConfig::from_json(&config.to_string());
                let built = config.and_then(|config| config.try_builder().map(drop));
                assert!(built.is_ok(), "{setup:?}: {built:?}");
                seen += 1;
            }
        }
        assert!(seen > 1000);
    }
}
