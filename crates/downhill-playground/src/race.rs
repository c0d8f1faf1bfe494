//! Optimizers on their way down, step by step, in f64.

use downhill_optim::{OptimizerConfig, Trajectory};
use downhill_problems::functions::Function;
use downhill_schedule::Schedule;
use serde_json::{Value, json};

use crate::scene::{Checked, Scene, SceneError};

/// An optimizer on its way.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Its settings.
    pub config: OptimizerConfig,
    schedule: Option<Schedule>,
    trajectory: Trajectory,
    trained: [f64; 2],
    /// The start, and where it is after each step: the average, of an optimizer that has one to evaluate.
    pub path: Vec<[f64; 2]>,
    /// The function there.
    pub values: Vec<f64>,
    /// How far each step went.
    pub lengths: Vec<f64>,
    /// Whether it came to what is no number, and ended before.
    pub is_lost: bool,
}

/// All of a scene's optimizers, which step together.
#[derive(Clone, Debug)]
pub struct Race {
    /// Where.
    pub function: Function,
    /// Who.
    pub runners: Vec<Runner>,
    /// Steps that were made.
    pub step: u64,
    /// Steps that are to be made.
    pub steps: u64,
}

impl Race {
    /// Everybody at the start.
    ///
    /// # Errors
    ///
    /// If the scene is not sound.
    pub fn new(scene: &Scene) -> Result<Self, SceneError> {
        let Checked {
            function,
            start,
            optimizers,
            steps,
        } = scene.check()?;
        let runner = |(at, (config, schedule)): (usize, (OptimizerConfig, Option<Schedule>))| {
            let trajectory = config.try_trajectory(&[2]);
            Ok(Runner {
                trajectory: trajectory.map_err(|error| SceneError::Optimizer { at, error })?,
                config,
                schedule,
                trained: start,
                path: vec![start],
                values: vec![function.value(&start)],
                lengths: Vec::new(),
                is_lost: false,
            })
        };
        let runners = optimizers.into_iter().enumerate().map(runner);
        Ok(Self {
            runners: runners.collect::<Result<_, SceneError>>()?,
            function,
            step: 0,
            steps,
        })
    }

    /// Makes a step of everybody; none after the last.
    pub fn step(&mut self) -> bool {
        if self.step == self.steps {
            return false;
        }
        for runner in &mut self.runners {
            runner.step(&self.function, self.step);
        }
        self.step += 1;
        true
    }

    /// Makes steps until there are so many, or the last is made.
    pub fn go_to(&mut self, step: u64) {
        while self.step < step && self.step() {}
    }
}

/// The path of each of a scene's optimizers to the end, and the values on it, as JSON.
///
/// ```
/// use downhill_playground::race::numbers;
///
/// let scene = r#"{"function": "saddle", "steps": 1, "optimizers": [{"name": "sgd", "learning_rate": 0.5}]}"#;
/// assert!(numbers(scene)?.starts_with(r#"[{"path":[["#));
/// # Ok::<(), downhill_playground::scene::SceneError>(())
/// ```
///
/// # Errors
///
/// If the scene is not sound.
pub fn numbers(link: &str) -> Result<String, SceneError> {
    let mut race = Race::new(&Scene::from_link(link)?)?;
    race.go_to(race.steps);
    let each = race.runners.iter();
    let each = each.map(|runner| json!({"path": runner.path, "values": runner.values}));
    Ok(Value::from_iter(each).to_string())
}

impl Runner {
    /// The learning rate of a step.
    pub fn rate(&self, step: u64) -> f64 {
        let schedule = self.schedule.as_ref();
        schedule.map_or_else(
            || self.config.default_learning_rate(),
            |schedule| schedule.value(step),
        )
    }

    fn step(&mut self, function: &Function, step: u64) {
        if self.is_lost {
            return;
        }
        let gradient = function.gradient(&self.trained);
        let loss = function.value(&self.trained);
        let rate = self.rate(step);
        let trajectory = &mut self.trajectory;
        trajectory.step_with_loss(rate, &mut self.trained, &gradient, loss);
        let seen = trajectory.evaluated(&self.trained);
        let seen = [seen[0], seen[1]];
        let value = function.value(&seen);
        let all = seen.iter().chain(&self.trained).chain([&value]);
        if !all.into_iter().all(|x| x.is_finite()) {
            self.is_lost = true;
            return;
        }
        let before = self.path[self.path.len() - 1];
        let length = (seen[0] - before[0]).hypot(seen[1] - before[1]);
        self.path.push(seen);
        self.values.push(value);
        self.lengths.push(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::FUNCTIONS;

    fn scene(function: &str, optimizers: Vec<serde_json::Value>, steps: u64) -> Scene {
        Scene {
            function: function.to_string(),
            start: None,
            steps,
            optimizers,
            schedule: None,
        }
    }

    fn run(scene: &Scene) -> Race {
        let mut race = Race::new(scene).unwrap();
        while race.step() {}
        race
    }

    #[test]
    fn adam_comes_down_where_descent_does_not() {
        let adam = json!({"name": "adam", "learning_rate": 0.1});
        let sgd = json!({"name": "sgd", "learning_rate": 0.0001});
        let race = run(&scene("rosenbrock", vec![adam, sgd], 600));
        let last = |at: usize| *race.runners[at].values.last().unwrap();
        assert!(last(0) < 1e-2 && last(1) > 1.0, "{} {}", last(0), last(1));
        assert_eq!(race.runners[0].path.len(), 601);
        assert_eq!(race.runners[0].lengths.len(), 600);
    }

    #[test]
    fn who_leaps_away_ends_before_what_is_no_number() {
        let sgd = json!({"name": "sgd", "learning_rate": 10.0});
        let race = run(&scene("rosenbrock", vec![sgd], 100));
        let runner = &race.runners[0];
        assert!(runner.is_lost && runner.path.len() < 20);
        assert!(runner.values.iter().all(|value| value.is_finite()));
        assert_eq!(race.step, 100);
    }

    #[test]
    fn a_schedule_is_of_each_ones_own_rate() {
        let of = |rate: f64| json!({"name": "sgd", "learning_rate": rate});
        let mut scene = scene("saddle", vec![of(0.1), of(0.2)], 10);
        scene.schedule = Some(json!({"name": "linear", "end": 0.0}));
        let race = Race::new(&scene).unwrap();
        for (runner, rate) in race.runners.iter().zip([0.1, 0.2]) {
            assert_eq!(runner.rate(0), rate);
            assert!(runner.rate(9) < 0.2 * rate);
        }
    }

    #[test]
    fn every_optimizer_goes_a_step_on_every_function() {
        let all = OptimizerConfig::all().into_iter();
        for info in all.chain(OptimizerConfig::slides()) {
            for function in FUNCTIONS {
                let rate = info.default_learning_rate.min(0.01);
                let optimizer = json!({"name": info.name, "learning_rate": rate});
                let race = run(&scene(function, vec![optimizer], 3));
                assert!(!race.runners[0].is_lost, "{} on {function}", info.name);
            }
        }
    }
}
