//! A schedule in burn-train's `Learner`: training that was interrupted and resumed from its
//! checkpoint goes on as if nothing had happened.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::values_of;
use crate::learner::{Net, Screen, folder, loader};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::tensor::Device;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::{Learner, SupervisedTraining};
use downhill::optim::NAdamConfig;
use downhill::schedule::{CosineConfig, Schedule, Scheduler, percent};
use downhill_problems::data;

const EPOCHS: usize = 2;

/// A scheduler that keeps the rates which it was asked for.
#[derive(Clone)]
struct Observed {
    scheduler: Scheduler,
    rates: Arc<Mutex<Vec<f64>>>,
}

impl LrScheduler for Observed {
    fn step(&mut self) -> f64 {
        let rate = self.scheduler.step();
        self.rates.lock().unwrap().push(rate);
        rate
    }
    fn to_record(&self) -> LrSchedulerRecord {
        self.scheduler.to_record()
    }
    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.scheduler.load_record(record);
    }
}

struct Run<'a> {
    folder: &'a Path,
    schedule: &'a Schedule,
    epochs: usize,
    /// The epoch whose checkpoint it goes on from.
    resumed: Option<usize>,
}

impl Run<'_> {
    /// The trained model's parameters, its accuracy, and the rates on the way.
    fn train(&self) -> (Vec<f64>, f64, Vec<f64>) {
        let device = Device::flex();
        let data = data::digits();
        let net = Net::new(&device.clone().autodiff());
        let (train, _) = loader(&data.train, &device);
        let (test, _) = loader(&data.test, &device);
        let observed = Observed {
            scheduler: self.schedule.scheduler(),
            rates: Arc::default(),
        };
        let rates = Arc::clone(&observed.rates);
        let learner = Learner::new(net, NAdamConfig::new().init(), observed);
        let mut training = SupervisedTraining::new(self.folder, train, test)
            .with_application_logger(None)
            .renderer(Box::new(Screen::default()))
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(EPOCHS))
            .with_default_checkpointers()
            .num_epochs(self.epochs);
        if let Some(epoch) = self.resumed {
            training = training.checkpoint(epoch);
        }
        let result = training.launch(learner);
        assert!(result.error.is_none(), "{:?}", result.error);
        let accuracy = result.model.mlp.evaluate(&data.test).accuracy;
        let rates = rates.lock().unwrap().clone();
        (values_of(&result.model), accuracy, rates)
    }
}

fn steps_per_epoch() -> u64 {
    loader(&data::digits().train, &Device::flex()).1
}

/// Warmup over the first tenth, and then a cosine to the end.
fn schedule(steps: u64) -> Schedule {
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).with_floor(percent(1.0));
    cosine
        .schedule()
        .warmup(percent(10.0))
        .try_build_for(2e-2, steps)
        .unwrap()
}

#[test]
fn an_interrupted_training_ends_where_an_uninterrupted_one_does() {
    let steps = EPOCHS as u64 * steps_per_epoch();
    let schedule = schedule(steps);
    let run = |folder, epochs, resumed| {
        let schedule = &schedule;
        Run {
            folder,
            schedule,
            epochs,
            resumed,
        }
        .train()
    };
    let (uninterrupted, interrupted) = (folder("uninterrupted"), folder("interrupted"));
    let (whole, accuracy, rates) = run(&uninterrupted, EPOCHS, None);
    // One rate for each update: the schedule's.
    let expected: Vec<f64> = (0..steps).map(|step| schedule.value(step)).collect();
    assert_eq!(rates, expected);
    assert!(accuracy > 0.9, "{accuracy}");

    let (half, _, first) = run(&interrupted, 1, None);
    let (resumed, _, second) = run(&interrupted, EPOCHS, Some(1));
    assert_eq!([first, second].concat(), expected);
    assert_eq!(resumed, whole);
    assert_ne!(half, whole);
}

/// Burn's own schedulers go on at the wrong place without a word when the run has become longer.
#[test]
#[should_panic(expected = "the record was made by another schedule")]
fn a_checkpoint_of_another_schedule_is_refused() {
    let folder = folder("other");
    let steps = steps_per_epoch();
    let run = |schedule: &Schedule, resumed: Option<usize>| {
        let folder = &folder;
        Run {
            folder,
            schedule,
            epochs: resumed.map_or(1, |epoch| epoch + 1),
            resumed,
        }
        .train()
    };
    run(&schedule(steps), None);
    run(&schedule(2 * steps), Some(1));
}
