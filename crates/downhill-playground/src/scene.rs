//! What is to be seen: a valley, and who goes down there. A link says all of it.

use downhill_optim::{ConfigError, OptimizerConfig};
use downhill_problems::functions::{self, Function, FunctionError};
use downhill_schedule::{Schedule, ScheduleConfig, ScheduleError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The functions that can be chosen.
pub const FUNCTIONS: [&str; 8] = [
    "quadratic-2-100",
    "rosenbrock",
    "beale",
    "himmelblau",
    "rastrigin-2",
    "ackley-2",
    "styblinski-tang-2",
    "saddle",
];

/// Of a scene: more colours cannot be told apart.
pub const MOST_RUNNERS: usize = 8;
/// Of a scene.
pub const MOST_STEPS: u64 = 100_000;

/// A function of two variables, a start, and optimizers that go down from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The function's name.
    pub function: String,
    /// Where they begin; the function's own start if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<[f64; 2]>,
    /// Steps of each.
    pub steps: u64,
    /// The optimizers, with their rates.
    pub optimizers: Vec<Value>,
    /// A schedule of their rates; they are constant if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Value>,
}

/// Why a scene cannot be shown.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SceneError {
    /// It is not of this form.
    #[error("this is not a scene: {0}")]
    Form(String),
    /// There is no such function.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// It cannot be drawn.
    #[error("{name} has {dimension} variables; only functions of 2 can be drawn")]
    Dimension {
        /// The function.
        name: String,
        /// Its variables.
        dimension: usize,
    },
    /// The start is elsewhere.
    #[error("the start must lie between {low} and {high}, got ({}, {})", start[0], start[1])]
    Start {
        /// The start.
        start: [f64; 2],
        /// The least of both coordinates.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// Too few or too many.
    #[error("there must be 1 to {MOST_STEPS} steps, got {0}")]
    Steps(u64),
    /// A number of a network, or of its training, is out of range.
    #[error("there must be 1 to {most} {what}, got {got}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// As many as there may be.
        most: u32,
        /// As many as are wanted.
        got: u32,
    },
    /// An optimizer cannot be bound to the network, or refused a step.
    #[error("optimizer {}: {error}", at + 1)]
    Training {
        /// Which, counted from 0.
        at: usize,
        /// What is wrong.
        error: String,
    },
    /// Too many.
    #[error("at most {MOST_RUNNERS} optimizers can be told apart, got {0}")]
    Runners(usize),
    /// The settings of an optimizer are wrong.
    #[error("optimizer {}: {error}", at + 1)]
    Optimizer {
        /// Which, counted from 0.
        at: usize,
        /// What is wrong.
        error: ConfigError,
    },
    /// The schedule's settings are wrong.
    #[error("schedule: {0}")]
    Schedule(#[from] ScheduleError),
}

/// A scene that was found to be sound.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The function.
    pub function: Function,
    /// Where they begin.
    pub start: [f64; 2],
    /// The optimizers, and the rates of their steps.
    pub optimizers: Optimizers,
    /// Steps of each.
    pub steps: u64,
}

impl Scene {
    /// Whether the scene can be shown.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, in words.
    pub fn check(&self) -> Result<Checked, SceneError> {
        let function = functions::by_name(&self.function)?;
        if function.dimension() != 2 {
            return Err(SceneError::Dimension {
                name: function.name(),
                dimension: function.dimension(),
            });
        }
        if !(1..=MOST_STEPS).contains(&self.steps) {
            return Err(SceneError::Steps(self.steps));
        }
        let [low, high] = function.domain();
        let own = function.start();
        let start = self.start.unwrap_or([own[0], own[1]]);
        if !start.iter().all(|x| (low..=high).contains(x)) {
            return Err(SceneError::Start { start, low, high });
        }
        let schedule = self.schedule.as_ref();
        Ok(Checked {
            optimizers: optimizers(&self.optimizers, schedule, self.steps)?,
            function,
            start,
            steps: self.steps,
        })
    }

    /// The scene of a link.
    ///
    /// # Errors
    ///
    /// If it is none, or cannot be shown.
    pub fn from_link(text: &str) -> Result<Self, SceneError> {
        let scene: Self =
            serde_json::from_str(text).map_err(|error| SceneError::Form(error.to_string()))?;
        scene.check()?;
        Ok(scene)
    }

    /// The JSON of a link.
    pub fn to_link(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Optimizers, and the rates of their steps, if these are not constant.
pub type Optimizers = Vec<(OptimizerConfig, Option<Schedule>)>;

/// Optimizers by their settings, with one schedule for all of them.
pub(crate) fn optimizers(
    all: &[Value],
    schedule: Option<&Value>,
    steps: u64,
) -> Result<Optimizers, SceneError> {
    if all.len() > MOST_RUNNERS {
        return Err(SceneError::Runners(all.len()));
    }
    let schedule = schedule.map(|one| ScheduleConfig::from_json(&one.to_string()));
    let schedule = schedule.transpose()?;
    let each = all.iter().enumerate().map(|(at, settings)| {
        let config = OptimizerConfig::from_json(&settings.to_string())
            .map_err(|error| SceneError::Optimizer { at, error })?;
        let rate = config.default_learning_rate();
        let built = schedule.as_ref();
        let built = built.map(|schedule| schedule.try_build_for(rate, steps));
        Ok((config, built.transpose()?))
    });
    each.collect()
}

/// The settings of an optimizer that are not its defaults, but for its name and its rate.
pub(crate) fn turned(config: &OptimizerConfig) -> Map<String, Value> {
    let map = |config: &OptimizerConfig| match serde_json::to_value(config) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let mut settings = map(config);
    if let Ok(own) = OptimizerConfig::by_name(config.name()) {
        let own = map(&own);
        settings.retain(|name, value| own.get(name) != Some(value));
    }
    settings.retain(|name, _| name != "name" && name != "learning_rate");
    settings
}

/// The settings of an optimizer that are not its defaults, with its name and its rate.
pub fn changed(config: &OptimizerConfig) -> Value {
    let mut settings = turned(config);
    settings.insert("name".to_string(), json!(config.name()));
    settings.insert(
        "learning_rate".to_string(),
        json!(config.default_learning_rate()),
    );
    Value::Object(settings)
}

/// What an optimizer is called beside others of its name: with its rate and what else is not as by default.
///
/// ```
/// use downhill_optim::OptimizerConfig;
/// use downhill_playground::scene::title;
///
/// let sgd = OptimizerConfig::from_json(r#"{"name": "sgd", "learning_rate": 0.5, "momentum": 0.9, "nesterov": true}"#)?;
/// assert_eq!(title(&sgd), "sgd 0.5, momentum 0.9, nesterov");
/// # Ok::<(), downhill_optim::ConfigError>(())
/// ```
pub fn title(config: &OptimizerConfig) -> String {
    let mut title = format!("{} {}", config.name(), config.default_learning_rate());
    for (name, value) in turned(config) {
        let name = name.replace('_', " ");
        title += &match value {
            Value::Bool(true) => format!(", {name}"),
            Value::Bool(false) => format!(", no {name}"),
            Value::String(text) => format!(", {name} {text}"),
            value => format!(", {name} {value}"),
        };
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        Scene {
            function: "rosenbrock".to_string(),
            start: None,
            steps: 100,
            optimizers: vec![json!({"name": "adam", "learning_rate": 0.1, "beta_1": 0.8})],
            schedule: Some(json!({"name": "warmup_cosine", "warmup": "10%"})),
        }
    }

    #[test]
    fn a_link_says_all_of_a_scene() {
        let scene = scene();
        assert_eq!(Scene::from_link(&scene.to_link()).unwrap(), scene);
        let checked = scene.check().unwrap();
        assert_eq!(checked.start, [-1.2, 1.0]);
        let (adam, schedule) = &checked.optimizers[0];
        assert_eq!(changed(adam), scene.optimizers[0]);
        assert_eq!(schedule.as_ref().unwrap().value(10), 0.1);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let wrong = |change: &dyn Fn(&mut Scene)| {
            let mut scene = scene();
            change(&mut scene);
            scene.check().unwrap_err().to_string()
        };
        assert_eq!(
            wrong(&|scene| scene.function = "rosenbrok".to_string()),
            "unknown function `rosenbrok`; did you mean `rosenbrock`?"
        );
        assert_eq!(
            wrong(&|scene| scene.function = "rosenbrock-10".to_string()),
            "rosenbrock-10 has 10 variables; only functions of 2 can be drawn"
        );
        assert_eq!(
            wrong(&|scene| scene.start = Some([9.0, 0.0])),
            "the start must lie between -2.048 and 2.048, got (9, 0)"
        );
        assert!(wrong(&|scene| scene.start = Some([f64::NAN, 0.0])).starts_with("the start"));
        assert_eq!(
            wrong(&|scene| scene.steps = 0),
            "there must be 1 to 100000 steps, got 0"
        );
        assert_eq!(
            wrong(&|scene| scene.optimizers = vec![scene.optimizers[0].clone(); 9]),
            "at most 8 optimizers can be told apart, got 9"
        );
        assert_eq!(
            wrong(&|scene| scene.optimizers.push(json!({"name": "adamv"}))),
            "optimizer 2: there is no optimizer `adamv`; did you mean `adam`?"
        );
        assert!(
            wrong(&|scene| scene.schedule = Some(json!({"name": "cosin"})))
                .contains("did you mean `cosine`?")
        );
        let form = Scene::from_link("{").unwrap_err().to_string();
        assert!(form.starts_with("this is not a scene: EOF"), "{form}");
    }
}
