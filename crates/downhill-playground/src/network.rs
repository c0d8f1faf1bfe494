//! A network that learns to read digits, by several optimizers side by side.
//!
//! It is what `cargo run --release --example mlp` trains: the same seed gives the same weights, the same batches in the
//! same order, and so, but for rounding, the same numbers.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use downhill_optim::OptimizerConfig;
use downhill_problems::data::Split;
use downhill_problems::mlp::{Mlp, MlpConfig};
use downhill_problems::numpy::RandomState;
use downhill_train::{Driver, MicroBatch, NonFinite, Rate};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scene::{SceneError, changed, optimizers};

/// What is trained, how long, and by which optimizers. A link says all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// The optimizers, with their rates.
    pub optimizers: Vec<Value>,
    /// A schedule of their rates; they are constant if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Value>,
    /// How often each digit is seen, 1 to 200.
    pub epochs: u32,
    /// Units of the hidden layer, 1 to 256.
    pub hidden: u32,
    /// Digits for each step, 1 to 1435.
    pub batch_size: u32,
    /// Decides the first weights and the order of the digits.
    pub seed: u32,
}

/// One optimizer's network, and how far it is.
pub struct Training<'a> {
    lesson: &'a Lesson,
    digits: &'a Split,
    at: usize,
    model: Mlp,
    driver: Driver,
    random: RandomState,
    device: Device,
}

/// What a network came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which optimizer's it is.
    pub at: usize,
    /// The mean cross-entropy of the digits that it is trained on, in nats. Nothing, once it is no number.
    pub loss: Option<f64>,
    /// What it takes each of the digits for that it is tested on.
    pub guesses: Vec<u8>,
}

impl Default for Lesson {
    /// Of the deck: its network, and its optimizers at their own rates.
    fn default() -> Self {
        let of = |name: &str, rate: f64| serde_json::json!({"name": name, "learning_rate": rate});
        Self {
            optimizers: vec![of("sgd", 0.1), of("adam", 0.01), of("nadam", 0.01)],
            schedule: None,
            epochs: 20,
            hidden: 64,
            batch_size: 32,
            seed: 42,
        }
    }
}

impl Lesson {
    /// Steps of each optimizer, if each epoch's last batch may be smaller.
    pub fn steps(&self, digits: &Split) -> u64 {
        let batches = digits
            .train
            .samples()
            .div_ceil(self.batch_size.max(1) as usize);
        u64::from(self.epochs) * batches as u64
    }

    /// The optimizers, if the lesson can be given.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, in words.
    pub fn check(&self, digits: &Split) -> Result<Vec<OptimizerConfig>, SceneError> {
        let all = self.rated(digits)?;
        Ok(all.into_iter().map(|(config, _)| config).collect())
    }

    fn rated(&self, digits: &Split) -> Result<Vec<(OptimizerConfig, Rate)>, SceneError> {
        let counts = [
            ("epochs", self.epochs, 200),
            ("hidden units", self.hidden, 256),
            (
                "digits for each step",
                self.batch_size,
                digits.train.samples() as u32,
            ),
        ];
        for (what, got, most) in counts {
            if !(1..=most).contains(&got) {
                return Err(SceneError::Count { what, most, got });
            }
        }
        let all = optimizers(&self.optimizers, self.schedule.as_ref(), self.steps(digits))?;
        let rated = all.into_iter().map(|(config, schedule)| {
            let rate = match schedule {
                Some(schedule) => Rate::from(schedule),
                None => Rate::from(config.default_learning_rate()),
            };
            (config, rate)
        });
        Ok(rated.collect())
    }

    /// A network for each optimizer, all with the same weights.
    ///
    /// ```
    /// use downhill_playground::network::Lesson;
    /// use downhill_problems::data;
    ///
    /// let digits = data::digits();
    /// let lesson = Lesson::default();
    /// let mut adam = lesson.begin(&digits)?.remove(1);
    /// adam.epoch()?;
    /// assert!(adam.report().accuracy(&digits) > 0.8);
    /// # Ok::<(), downhill_playground::scene::SceneError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the lesson cannot be given.
    pub fn begin<'a>(&'a self, digits: &'a Split) -> Result<Vec<Training<'a>>, SceneError> {
        let device = Device::flex().autodiff();
        let network = MlpConfig::new(
            digits.train.inputs(),
            self.hidden as usize,
            digits.train.classes(),
        );
        let all = self.rated(digits)?.into_iter().enumerate();
        let trainings = all.map(|(at, (config, rate))| {
            let optim = config
                .try_init()
                .map_err(|error| SceneError::Optimizer { at, error })?;
            let model = network.init(self.seed, &device);
            // What is no number is seen at the end of an epoch.
            let driver = Driver::builder(optim, rate)
                .with_non_finite(NonFinite::Ignore)
                .bind(&model)
                .map_err(|error| wrong(at, &error))?;
            Ok(Training {
                lesson: self,
                digits,
                at,
                model,
                driver,
                random: RandomState::new(self.seed),
                device: device.clone(),
            })
        });
        trainings.collect()
    }

    /// The lesson of a link.
    ///
    /// # Errors
    ///
    /// If it is none, or cannot be given.
    pub fn from_link(text: &str, digits: &Split) -> Result<Self, SceneError> {
        let lesson: Self =
            serde_json::from_str(text).map_err(|error| SceneError::Form(error.to_string()))?;
        lesson.check(digits)?;
        Ok(lesson)
    }

    /// The JSON of a link.
    pub fn to_link(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The lines for a shell that train one of the networks outside of the browser, from the folder of the library.
    pub fn command(&self, optimizer: &OptimizerConfig) -> String {
        let quoted =
            |settings: &Value| format!("'{}'", settings.to_string().replace('\'', r"'\''"));
        let Self {
            epochs,
            hidden,
            batch_size,
            seed,
            ..
        } = self;
        let mut lines = format!("echo {} > optimizer.json\n", quoted(&changed(optimizer)));
        let mut schedule = "";
        if let Some(settings) = &self.schedule {
            lines += &format!("echo {} > schedule.json\n", quoted(settings));
            schedule = " --schedule-config schedule.json";
        }
        lines += &format!(
            "cargo run --release --example mlp -- --config optimizer.json{schedule} \\\n    \
             --epochs {epochs} --hidden {hidden} --batch-size {batch_size} --seed {seed}\n"
        );
        lines
    }
}

fn wrong(at: usize, error: &impl ToString) -> SceneError {
    let error = error.to_string();
    SceneError::Training { at, error }
}

impl Training<'_> {
    /// Shows the network all digits once.
    ///
    /// # Errors
    ///
    /// If the optimizer refuses a step. The network learns no more then.
    pub fn epoch(&mut self) -> Result<(), SceneError> {
        let size = self.lesson.batch_size as usize;
        let batches = self
            .digits
            .train
            .batches(size, &mut self.random, &self.device);
        // Its own copy, which the steps change in place.
        let mut model = self.model.clone();
        for batch in batches {
            let loss = model.loss(&batch);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let mut batch = MicroBatch::new(gradients);
            if self.driver.needs_loss() {
                batch = batch.with_loss(loss.into_scalar());
            }
            let stepped = self.driver.step(model, batch);
            (model, _) = stepped.map_err(|error| wrong(self.at, &error.cause))?;
        }
        self.model = model;
        Ok(())
    }

    /// What it has come to: of the network to evaluate, where an optimizer trains another one.
    pub fn report(&self) -> Report {
        let model = self.driver.evaluated(&self.model).valid();
        let loss = model.evaluate(&self.digits.train).loss;
        let test = self.digits.test.batch(&model.devices()[0]);
        let guesses = model.forward(test.inputs).argmax(1).into_data_as::<i64>();
        let guesses: Vec<i64> = guesses.try_into_vec().unwrap_or_default();
        Report {
            at: self.at,
            loss: loss.is_finite().then_some(loss),
            guesses: guesses.iter().map(|class| *class as u8).collect(),
        }
    }
}

impl Report {
    /// The share of the digits of the test that it reads right.
    pub fn accuracy(&self, digits: &Split) -> f64 {
        let samples = digits.test.samples();
        (samples - self.wrong(digits).len()) as f64 / samples as f64
    }

    /// The digits of the test that it gets wrong, by their numbers, and what it takes them for.
    pub fn wrong(&self, digits: &Split) -> Vec<(usize, u8)> {
        let labels = digits.test.labels().iter().zip(&self.guesses).enumerate();
        let wrong = labels.filter(|(_, (label, guess))| **label != usize::from(**guess));
        wrong.map(|(at, (_, guess))| (at, *guess)).collect()
    }

    /// How many of the digits of each class, by rows, it takes for each, by columns.
    pub fn confusion(&self, digits: &Split) -> Vec<Vec<u32>> {
        let classes = digits.test.classes();
        let mut counts = vec![vec![0; classes]; classes];
        for (label, guess) in digits.test.labels().iter().zip(&self.guesses) {
            counts[*label][usize::from(*guess)] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use downhill_problems::data;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_example() {
        // cargo run --release --example mlp -- --config optimizer.json --schedule-config schedule.json \
        //     --epochs 3 --hidden 16 --batch-size 64 --seed 7 --json
        // with the files that `command` writes.
        let lesson = Lesson {
            optimizers: vec![json!({"name": "adam", "learning_rate": 0.02, "beta_1": 0.8})],
            schedule: Some(json!({"name": "warmup_cosine", "warmup": "10%"})),
            epochs: 3,
            hidden: 16,
            batch_size: 64,
            seed: 7,
        };
        let digits = data::digits();
        let mut training = lesson.begin(&digits).unwrap().remove(0);
        for _ in 0..3 {
            training.epoch().unwrap();
        }
        let report = training.report();
        let (loss, accuracy) = (0.317_034_691, 0.928_176_795);
        let got = report.loss.unwrap();
        assert!((got / loss - 1.0).abs() < 1e-5, "{got}");
        assert!((report.accuracy(&digits) - accuracy).abs() < 0.003);
        let counts = report.confusion(&digits);
        let right: u32 = (0..10).map(|class| counts[class][class]).sum();
        assert_eq!(right as usize + report.wrong(&digits).len(), 362);
        assert_eq!(
            lesson.command(&lesson.check(&digits).unwrap()[0]),
            "echo '{\"beta_1\":0.8,\"learning_rate\":0.02,\"name\":\"adam\"}' > optimizer.json\n\
             echo '{\"name\":\"warmup_cosine\",\"warmup\":\"10%\"}' > schedule.json\n\
             cargo run --release --example mlp -- --config optimizer.json --schedule-config schedule.json \\\n    \
             --epochs 3 --hidden 16 --batch-size 64 --seed 7\n"
        );
    }

    #[test]
    fn what_an_optimizer_evaluates_is_what_is_reported() {
        let lesson = Lesson {
            optimizers: vec![json!({"name": "schedule_free_adamw", "learning_rate": 0.01})],
            epochs: 1,
            ..Lesson::default()
        };
        let digits = data::digits();
        let mut training = lesson.begin(&digits).unwrap().remove(0);
        training.epoch().unwrap();
        let trained = training.model.evaluate(&digits.train).loss;
        let reported = training.report().loss.unwrap();
        assert!(
            (reported / trained - 1.0).abs() > 0.01,
            "{reported} {trained}"
        );
    }

    #[test]
    fn who_leaps_away_says_so() {
        let lesson = Lesson {
            optimizers: vec![json!({"name": "sgd", "learning_rate": 1e38})],
            epochs: 1,
            ..Lesson::default()
        };
        let digits = data::digits();
        let mut training = lesson.begin(&digits).unwrap().remove(0);
        training.epoch().unwrap();
        assert_eq!(training.report().loss, None);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let digits = data::digits();
        let wrong = |change: &dyn Fn(&mut Lesson)| {
            let mut lesson = Lesson::default();
            change(&mut lesson);
            lesson.check(&digits).unwrap_err().to_string()
        };
        assert_eq!(
            wrong(&|lesson| lesson.epochs = 0),
            "there must be 1 to 200 epochs, got 0"
        );
        assert_eq!(
            wrong(&|lesson| lesson.batch_size = 2000),
            "there must be 1 to 1435 digits for each step, got 2000"
        );
        assert_eq!(
            wrong(&|lesson| lesson.hidden = 1000),
            "there must be 1 to 256 hidden units, got 1000"
        );
        assert!(
            wrong(&|lesson| lesson.optimizers[1] = json!({"name": "adamv"}))
                .starts_with("optimizer 2: there is no optimizer `adamv`")
        );
        assert!(
            wrong(&|lesson| lesson.schedule = Some(json!({"name": "cosin"})))
                .contains("did you mean `cosine`?")
        );
        assert!(
            Lesson::from_link("{", &digits)
                .unwrap_err()
                .to_string()
                .starts_with("this is not a scene")
        );
        let lesson = Lesson::default();
        assert_eq!(Lesson::from_link(&lesson.to_link(), &digits), Ok(lesson));
    }
}
