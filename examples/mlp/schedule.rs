//! The schedules that a training can follow: those of the step, and the one of the loss.

use std::fs;

use downhill::schedule::{
    PlateauScheduler, ReduceOnPlateau, ReduceOnPlateauConfig, Schedule, ScheduleConfig,
    ScheduleError,
};
use downhill::train::Rate;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A schedule as it was asked for, without a learning rate and a number of steps.
#[derive(Clone)]
pub struct Plan {
    /// The option, for messages.
    pub option: String,
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    Steps(ScheduleConfig),
    Plateau {
        config: ReduceOnPlateauConfig,
        has_lr: bool,
    },
}

impl Plan {
    pub fn by_name(name: &str) -> Result<Self, String> {
        let rule = if ReduceOnPlateauConfig::is_named(name) {
            Rule::Plateau {
                config: ReduceOnPlateauConfig::default(),
                has_lr: false,
            }
        } else {
            let config = ScheduleConfig::by_name(name).map_err(|error| error.to_string())?;
            // Some have no defaults that they could do with, whatever the training.
            config.try_build_for(1.0, 100).map_err(|error| {
                let mut message = error.to_string();
                if config.name() != "custom" {
                    message += "; give its settings in a file (--schedule-config)";
                }
                message
            })?;
            Rule::Steps(config)
        };
        let option = format!("--schedule {name}");
        Ok(Self { option, rule })
    }

    pub fn read(path: &str) -> Result<Self, String> {
        let json = fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
        let value: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let rule = if value["name"]
            .as_str()
            .is_some_and(ReduceOnPlateauConfig::is_named)
        {
            plateau(value).map_err(|error| format!("{}: {error}", ReduceOnPlateauConfig::NAME))?
        } else {
            let config = ScheduleConfig::from_json(&json);
            Rule::Steps(config.map_err(|error| error.to_string())?)
        };
        let option = format!("--schedule-config {path}");
        Ok(Self { option, rule })
    }

    pub fn name(&self) -> &'static str {
        match &self.rule {
            Rule::Steps(config) => config.name(),
            Rule::Plateau { .. } => ReduceOnPlateauConfig::NAME,
        }
    }

    pub fn rates(&self, lr: f64, steps: u64) -> Result<Rates, ScheduleError> {
        match &self.rule {
            Rule::Steps(config) => config.try_build_for(lr, steps).map(Rates::Schedule),
            Rule::Plateau { config, has_lr } => {
                let lr = if *has_lr { config.lr } else { lr };
                let config = ReduceOnPlateauConfig {
                    lr,
                    ..config.clone()
                };
                config.try_build().map(Rates::Plateau)
            }
        }
    }

    /// Whether its rates are the same for any learning rate.
    pub fn ignores(&self, lr: f64, steps: u64) -> bool {
        let other = if lr > 1.0 { lr / 2.0 } else { lr * 2.0 };
        let rates = self.rates(lr, steps);
        rates.is_ok() && rates == self.rates(other, steps)
    }

    /// What to do where it ignores the learning rate and should not.
    pub fn way_to_use_lr(&self) -> &'static str {
        match &self.rule {
            Rule::Steps(_) => "drop --lr, or give its rates in percent, such as \"100%\"",
            Rule::Plateau { .. } => "drop --lr, or `lr` in the file",
        }
    }
}

fn plateau(mut settings: Value) -> Result<Rule, serde_json::Error> {
    if let Some(fields) = settings.as_object_mut() {
        fields.remove("name");
    }
    let has_lr = settings.get("lr").is_some();
    let config = serde_json::from_value(settings)?;
    Ok(Rule::Plateau { config, has_lr })
}

/// The learning rates of a training.
#[derive(Clone, PartialEq)]
pub enum Rates {
    Constant(f64),
    Schedule(Schedule),
    Plateau(ReduceOnPlateau),
}

impl Rates {
    /// The rate of the first update.
    pub fn first(&self) -> f64 {
        match self {
            Self::Constant(lr) => *lr,
            Self::Schedule(schedule) => schedule.value(0),
            Self::Plateau(plateau) => plateau.lr(),
        }
    }

    /// What a driver follows, and what has to be told the loss of each epoch.
    pub fn rate(&self) -> (Rate, Option<PlateauScheduler>) {
        match self {
            Self::Constant(lr) => ((*lr).into(), None),
            Self::Schedule(schedule) => (schedule.clone().into(), None),
            Self::Plateau(plateau) => {
                let plateau = PlateauScheduler::from(plateau.clone());
                (plateau.clone().into(), Some(plateau))
            }
        }
    }
}

/// The settings, with every percentage worked out.
impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'a> {
            name: &'static str,
            #[serde(flatten)]
            config: &'a ReduceOnPlateauConfig,
        }
        match self {
            Self::Constant(_) => serializer.serialize_none(),
            Self::Schedule(schedule) => schedule.serialize(serializer),
            Self::Plateau(plateau) => {
                let (name, config) = (ReduceOnPlateauConfig::NAME, plateau.config());
                Named { name, config }.serialize(serializer)
            }
        }
    }
}
