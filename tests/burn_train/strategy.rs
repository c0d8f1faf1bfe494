//! The driver behind burn-train's `SupervisedTraining`: the same updates as in a loop of one's own,
//! and what burn-train adds to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::common::{floats, values_of};
use crate::learner::{Net, Screen, batches, folder, loader, loader_of};
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::{LossMetric, NumericEntry};
use burn::train::{
    ClassificationOutput, InferenceStep, LearningResult, SupervisedTraining, TrainOutput, TrainStep,
};
use downhill::optim::{AdamWConfig, MuonConfig, ScheduleFreeAdamWConfig, SgdConfig};
use downhill::schedule::{
    CosineConfig, PlateauScheduler, ReduceOnPlateauConfig, ThresholdMode, percent,
};
use downhill::train::{
    Accumulation, Averaging, BindError, Clipping, DrivenStrategy, Driver, DriverBuilder, Group,
    LossScaling, NonFinite, Outcome, Rate, Select, StepCause, StepReport,
};
use downhill_problems::data::{self, Batch};

/// As many as keep a test short.
const BATCHES: usize = 10;

/// A driver that uses what there is.
fn builder(updates: u64) -> DriverBuilder {
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).schedule();
    let schedule = cosine.warmup(percent(10.0)).try_build_for(2e-2, updates);
    Driver::builder(AdamWConfig::new().init(), schedule.unwrap())
        .with_clipping(Clipping::global_norm(0.5))
        .with_averaging(Averaging::ema(0.9))
        .with_group(Group::no_decay())
        .with_group(Group::new("head", Select::path("**.output.*")).with_learning_rate_factor(0.5))
}

fn ready() -> Vec<Batch> {
    let mut batches = batches(&data::digits().train, &Device::flex());
    batches.truncate(BATCHES);
    batches
}

/// The same with one batch that has a NaN in it.
fn broken(at: usize) -> Vec<Batch> {
    let mut batches = ready();
    let mut bad = batches[at].clone();
    let nan = Tensor::from_floats([[f32::NAN]], &Device::flex());
    bad.inputs = bad.inputs.slice_assign([0..1, 0..1], nan);
    batches.insert(at, bad);
    batches
}

/// What a training comes to.
struct Trained {
    params: Vec<f64>,
    averages: Vec<f64>,
    reports: Vec<StepReport>,
}

/// In a loop of one's own.
fn by_hand(builder: DriverBuilder, batches: &[Batch], epochs: usize) -> Trained {
    let mut net = Net::new(&Device::flex().autodiff());
    let mut driver = builder.bind(&net).unwrap();
    let mut reports = Vec::new();
    for _ in 0..epochs {
        for batch in batches {
            let batch = Batch {
                inputs: batch.inputs.clone().autodiff(),
                ..batch.clone()
            };
            let grads = TrainStep::step(&net, batch).grads;
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            reports.push(report);
        }
        let flushed;
        (net, flushed) = driver.flush(net).unwrap();
        reports.extend(flushed);
    }
    Trained {
        params: values_of(&net),
        averages: values_of(&driver.averaged(&net)),
        reports,
    }
}

/// By burn-train.
struct Run {
    folder: PathBuf,
    batches: Vec<Batch>,
    epochs: usize,
    resumed: Option<usize>,
    /// How many checkpoints are kept.
    kept: Option<usize>,
    accumulation: Option<usize>,
    /// The model's.
    device: Device,
    screen: Screen,
}

impl Run {
    fn new(name: &str, epochs: usize) -> Self {
        Self {
            folder: folder(&format!("driver-{name}")),
            batches: ready(),
            epochs,
            resumed: None,
            kept: None,
            accumulation: None,
            device: Device::flex(),
            screen: Screen::default(),
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    fn launch(
        &self,
        builder: DriverBuilder,
        change: impl FnOnce(DrivenStrategy<Net>) -> DrivenStrategy<Net>,
    ) -> (LearningResult<Net>, DrivenStrategy<Net>, Vec<StepReport>) {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reports);
        let (learner, strategy) = builder.learner(Net::new(&Device::flex())).unwrap();
        let strategy =
            change(strategy).with_observer(move |report| seen.lock().unwrap().push(report.clone()));
        let (test, _) = loader(&data::digits().test, &Device::flex());
        let mut training =
            SupervisedTraining::new(&self.folder, loader_of(self.batches.clone()), test)
                .with_application_logger(None)
                .renderer(Box::new(self.screen.clone()))
                .metrics((LossMetric::new(),))
                .metric_train_numeric(strategy.grad_norm_metric())
                .metric_train_numeric(strategy.skipped_metric())
                .metric_train_numeric(strategy.update_ratio_metric())
                .with_training_strategy(strategy.clone().into())
                .num_epochs(self.epochs);
        if let Some(kept) = self.kept {
            training = training
                .with_checkpointing_strategy(KeepLastNCheckpoints::new(kept))
                .with_default_checkpointers();
        }
        if let Some(epoch) = self.resumed {
            training = training.checkpoint(epoch);
        }
        if let Some(micro_batches) = self.accumulation {
            training = training.grads_accumulation(micro_batches);
        }
        let result = training.launch(learner);
        let reports = reports.lock().unwrap().clone();
        (result, strategy, reports)
    }

    fn train(&self, builder: DriverBuilder) -> Trained {
        let folder = self.checkpoints();
        let (result, strategy, reports) =
            self.launch(builder, |strategy| strategy.with_state_folder(folder));
        assert!(result.error.is_none(), "{:?}", result.error);
        Trained {
            params: values_of(&result.model),
            averages: values_of(&strategy.averaged().unwrap()),
            reports,
        }
    }

    fn error(&self, builder: DriverBuilder) -> String {
        let folder = self.checkpoints();
        let (result, _, reports) =
            self.launch(builder, |strategy| strategy.with_state_folder(folder));
        assert!(reports.is_empty());
        result.error.unwrap().to_string()
    }

    /// The values of a numeric metric, one for each item.
    fn shown(&self, name: &str) -> Vec<Option<f64>> {
        let shown = self.screen.shown.lock().unwrap();
        let own = shown.iter().filter(|(id, _)| id.contains(name));
        own.filter_map(|(_, value)| match value {
            Some(NumericEntry::Final(_)) => None,
            value => Some(value.as_ref().map(NumericEntry::current)),
        })
        .collect()
    }
}

fn rates(reports: &[StepReport]) -> Vec<f64> {
    reports.iter().map(|report| report.learning_rate).collect()
}

fn norms(reports: &[StepReport]) -> Vec<Option<f64>> {
    let norm = |report: &StepReport| report.grad_norm.as_ref().map(|norm| norm.value());
    reports.iter().map(norm).collect()
}

#[test]
fn burn_train_makes_the_updates_of_a_loop_of_ones_own() {
    let run = Run::new("same", 2);
    let expected = by_hand(builder(20), &run.batches, 2);
    let trained = run.train(builder(20));
    assert_eq!(trained.params, expected.params);
    assert_eq!(trained.averages, expected.averages);
    assert_eq!(rates(&trained.reports), rates(&expected.reports));
    assert_eq!(norms(&trained.reports), norms(&expected.reports));
    assert_ne!(trained.averages, trained.params);
}

/// Matrices are turned there too, and what is none is stepped by the fallback.
#[test]
fn parameters_go_to_muon_and_to_its_fallback() {
    let muon = |fallback_rate| {
        let config = MuonConfig::new().with_no_matrix(["output"].into());
        let builder = Driver::builder(config.with_fallback_rate(fallback_rate).init(), 1e-2);
        builder.with_averaging(Averaging::ema(0.9))
    };
    let run = Run::new("matrices", 1);
    let expected = by_hand(muon(0.3), &run.batches, 1);
    let trained = run.train(muon(0.3));
    assert_eq!(trained.params, expected.params);
    assert_ne!(by_hand(muon(0.6), &run.batches, 1).params, expected.params);
}

#[test]
fn the_device_says_what_is_recomputed_in_the_backward_pass() {
    let mut run = Run::new("recomputed", 1);
    let expected = by_hand(builder(10), &run.batches, 1);
    run.device = run.device.autodiff().gradient_checkpointing();
    let (result, _, _) = run.launch(builder(10), |strategy| strategy);
    assert!(result.error.is_none(), "{:?}", result.error);
    assert_eq!(values_of(&result.model), expected.params);
}

#[test]
fn a_window_ends_with_its_epoch() {
    let accumulating = || builder(6).with_accumulation(Accumulation::mean(4));
    let run = Run::new("window", 2);
    let expected = by_hand(accumulating(), &run.batches, 2);
    let trained = run.train(accumulating());
    assert_eq!(trained.params, expected.params);
    assert_eq!(trained.averages, expected.averages);
    assert_eq!(rates(&trained.reports), rates(&expected.reports));
    assert_eq!(trained.reports.last().unwrap().step, 6);
}

#[test]
fn the_accumulation_of_burn_train_is_a_sum() {
    let mut run = Run::new("sum", 1);
    run.accumulation = Some(4);
    let summing = builder(3).with_accumulation(Accumulation::sum(4));
    let expected = by_hand(summing, &run.batches, 1);
    let trained = run.train(builder(3));
    assert_eq!(trained.params, expected.params);
    assert_eq!(trained.reports.last().unwrap().step, 3);
}

#[test]
fn a_loss_that_is_to_be_scaled_is_refused() {
    let run = Run::new("scaled", 1);
    let scaled = builder(10).with_loss_scaling(LossScaling::dynamic());
    let error = scaled.learner(Net::new(&run.device)).err().unwrap();
    assert!(
        error.to_string().contains("loss scaling cannot be given"),
        "{error}"
    );
}

/// burn-train's loop updates the places of a parameter one by one.
#[test]
fn a_tied_parameter_is_refused() {
    #[derive(Module, Debug)]
    struct Twins {
        left: Net,
        right: Net,
    }
    impl TrainStep for Twins {
        type Input = Batch;
        type Output = ClassificationOutput;

        fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
            TrainStep::step(&self.left, batch)
        }
    }
    impl InferenceStep for Twins {
        type Input = Batch;
        type Output = ClassificationOutput;

        fn step(&self, batch: Batch) -> ClassificationOutput {
            InferenceStep::step(&self.right, batch)
        }
    }
    let left = Net::new(&Device::flex().autodiff());
    let right = left.clone();
    let error = builder(1).learner(Twins { left, right }).err().unwrap();
    let said = "`left.mlp.hidden.weight` and `right.mlp.hidden.weight` are one parameter, which burn-train";
    assert!(error.to_string().contains(said), "{error}");
}

#[test]
fn two_accumulations_are_refused() {
    let mut run = Run::new("twice", 1);
    run.accumulation = Some(2);
    let error = run.error(builder(5).with_accumulation(Accumulation::mean(2)));
    assert!(error.contains("both the driver and burn-train"), "{error}");
}

#[test]
fn an_interrupted_training_ends_where_an_uninterrupted_one_does() {
    let trains = |name: &str, epochs: usize, resumed: Option<usize>| {
        let mut run = Run::new(name, epochs);
        run.kept = Some(3);
        run.resumed = resumed;
        run
    };
    let whole = trains("whole", 3, None).train(builder(30));

    let interrupted = trains("interrupted", 1, None);
    let first = interrupted.train(builder(30));
    let mut resumed = trains("resumed", 3, Some(1));
    resumed.folder = interrupted.folder;
    let second = resumed.train(builder(30));

    assert_eq!(second.params, whole.params);
    assert_eq!(second.averages, whole.averages);
    let both = [first.reports, second.reports].concat();
    assert_eq!(rates(&both), rates(&whole.reports));
    let steps: Vec<u64> = both.iter().map(|report| report.step).collect();
    assert_eq!(steps, (1..=30).collect::<Vec<u64>>());
}

#[test]
fn a_state_that_is_not_the_drivers_own_is_refused() {
    let mut run = Run::new("state", 1);
    run.kept = Some(2);
    run.train(builder(20));
    run.resumed = Some(1);
    run.epochs = 2;

    let error = run.error(builder(20).with_clipping(Clipping::global_norm(2.0)));
    assert!(error.contains("another clipping"), "{error}");

    let file = run.checkpoints().join("driver-1.ckpt");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = run.error(builder(20));
    assert!(error.contains("driver-1.ckpt: it is damaged"), "{error}");

    std::fs::remove_file(&file).unwrap();
    let error = run.error(builder(20));
    assert!(error.contains("driver-1.ckpt is missing"), "{error}");
}

/// burn-train's records say where a scheduler is, and nothing of groups.
#[test]
fn other_groups_and_schedulers_of_burns_are_refused() {
    let cosine = |rate: f64| {
        let config = CosineAnnealingLrSchedulerConfig::new(rate, 100);
        config.init().unwrap()
    };
    let build = |rate: f64, decay: f64, momentum: f64| {
        let group = Group::new("head", Select::path("**.output.*"));
        Driver::builder(AdamWConfig::new().init(), cosine(rate))
            .with_averaging(Averaging::ema(0.9))
            .with_group(group.with_weight_decay(decay).with_momentum(momentum))
    };
    let mut run = Run::new("groups", 1);
    run.kept = Some(2);
    run.train(build(0.1, 0.2, 0.5));
    run.resumed = Some(1);
    run.epochs = 2;
    for (changed, expected) in [
        (
            build(0.1, 0.3, 0.5),
            "another weight_decay of the group `head`: 0.2",
        ),
        (
            build(0.1, 0.2, 0.6),
            "another momentum of the group `head`: 0.5",
        ),
        (
            build(0.2, 0.2, 0.5),
            "the learning rate's scheduler does not go on",
        ),
    ] {
        let error = run.error(changed);
        assert!(error.contains(expected), "{error}");
    }
    run.train(build(0.1, 0.2, 0.5));
}

fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[test]
fn states_of_checkpoints_that_are_gone_go_too() {
    let mut run = Run::new("pruned", 5);
    run.kept = Some(1);
    run.batches.truncate(1);
    run.train(builder(5));
    assert_eq!(files(&run.checkpoints(), "model-"), ["model-5.bpk"]);
    let states = files(&run.checkpoints(), "driver-");
    assert!(states.contains(&"driver-5.ckpt".to_string()), "{states:?}");
    assert!(!states.contains(&"driver-3.ckpt".to_string()), "{states:?}");
}

#[test]
fn checkpoints_without_the_drivers_state_are_refused_at_the_start() {
    let mut run = Run::new("folder", 1);
    run.kept = Some(1);
    let (result, _, reports) = run.launch(builder(10), |strategy| strategy);
    assert!(reports.is_empty());
    let error = result.error.unwrap().to_string();
    assert!(error.contains("with_state_folder"), "{error}");
}

#[test]
fn a_skipped_batch_is_one_that_never_was() {
    let guarded = || builder(20).with_non_finite(NonFinite::Skip { max_consecutive: 1 });
    let clean = Run::new("clean", 2).train(guarded());
    let mut run = Run::new("skipping", 2);
    run.batches = broken(3);
    let skipping = run.train(guarded());
    assert_eq!(skipping.params, clean.params);
    assert_eq!(skipping.averages, clean.averages);
    let (skipped, updates): (Vec<StepReport>, Vec<StepReport>) =
        (skipping.reports.into_iter()).partition(|report| report.outcome == Outcome::Skipped);
    assert_eq!(skipped.len(), 2);
    assert_eq!(rates(&updates), rates(&clean.reports));
    let shown = run.shown("Skipped");
    assert_eq!(shown.iter().filter(|value| **value == Some(1.0)).count(), 2);
    assert_eq!(shown[3], Some(1.0));
}

#[test]
fn a_batch_that_is_not_finite_stops_the_training() {
    let mut run = Run::new("error", 2);
    run.batches = broken(3);
    let expected = by_hand(builder(20), &run.batches[..3], 1);
    let (result, strategy, reports) = run.launch(builder(20), |strategy| strategy);
    let error = result.error.unwrap().to_string();
    assert!(error.contains("not finite"), "{error}");
    assert!(error.contains("mlp.hidden.weight"), "{error}");
    assert!(matches!(
        strategy.cause(),
        Some(StepCause::NonFinite { .. })
    ));
    assert_eq!(reports.len(), 3);
    assert_eq!(values_of(&result.model), expected.params);
}

#[test]
fn the_metric_has_the_norms_of_the_reports_in_their_order() {
    let run = Run::new("norms", 2);
    let trained = run.train(builder(20).with_update_ratios(5));
    let expected = norms(&trained.reports);
    assert!(expected.iter().all(Option::is_some));
    assert_eq!(run.shown("Gradient Norm"), expected);
    let ratios = run.shown("Update Ratio");
    let measured: Vec<usize> = (0..20).filter(|at| ratios[*at].is_some()).collect();
    assert_eq!(measured, [4, 9, 14, 19]);
}

#[test]
fn clipping_changes_the_training() {
    let sgd = || Driver::builder(SgdConfig::new().init(), 0.5).with_averaging(Averaging::mean());
    let free = Run::new("free", 1).train(sgd());
    let clipped = Run::new("clipped", 1).train(sgd().with_clipping(Clipping::global_norm(0.1)));
    assert_ne!(free.params, clipped.params);
    for report in &clipped.reports {
        assert!(report.clipped_norm.as_ref().unwrap().value() <= 0.1 + 1e-9);
    }
}

/// A plateau that falls after every epoch but the first.
fn plateau() -> PlateauScheduler {
    let config = ReduceOnPlateauConfig {
        patience: 0,
        // Nothing is better than the first.
        threshold: 100.0,
        threshold_mode: ThresholdMode::Abs,
        ..ReduceOnPlateauConfig::new(0.01)
    };
    PlateauScheduler::from(config.try_build().unwrap())
}

#[test]
fn a_plateau_follows_the_validation() {
    let trains = |run: &Run, metric: &str| {
        let own = plateau();
        let driver = Driver::builder(SgdConfig::new().init(), own.clone());
        let folder = run.checkpoints();
        let (result, _, reports) = run.launch(driver, |strategy| {
            strategy.with_plateau(own, metric).with_state_folder(folder)
        });
        (result.error.map(|error| error.to_string()), rates(&reports))
    };
    let per_epoch = |rates: &[f64]| -> Vec<f64> {
        let epochs = rates.chunks(BATCHES);
        epochs.map(|epoch| epoch[0]).collect()
    };
    let (error, rates) = trains(&Run::new("plateau", 3), "Loss");
    assert_eq!(error, None);
    assert_eq!(per_epoch(&rates), [0.01, 0.01, 0.01 * 0.1]);

    let mut run = Run::new("plateau-resumed", 2);
    run.kept = Some(1);
    trains(&run, "Loss");
    (run.resumed, run.epochs) = (Some(2), 3);
    let (error, rates) = trains(&run, "Loss");
    assert_eq!(error, None);
    assert_eq!(per_epoch(&rates), [0.01 * 0.1]);

    let (error, _) = trains(&Run::new("no-metric", 2), "Recall");
    let error = error.unwrap();
    assert!(error.contains("validation metric `Recall`"), "{error}");
}

#[test]
fn what_is_validated_are_the_averages() {
    let loss = |name: &str, validated: bool| {
        let run = Run::new(name, 1);
        let (_, strategy, _) = run.launch(builder(10), |strategy| {
            strategy.validate_averages(validated)
        });
        assert!(strategy.averaged().is_some());
        let path = run.folder.join("valid").join("epoch-1").join("Loss.log");
        std::fs::read_to_string(path).unwrap()
    };
    assert_ne!(loss("raw", false), loss("averaged", true));
}

#[test]
fn without_averages_the_optimizers_own_view_is_validated() {
    let make = || Driver::builder(ScheduleFreeAdamWConfig::new().init(), 1e-2);
    let run = Run::new("evaluated", 1);
    let (result, strategy, _) = run.launch(make(), |strategy| strategy);
    let evaluated = strategy.evaluated().unwrap();
    assert_ne!(values_of(&evaluated), values_of(&result.model));
    assert!(strategy.averaged().is_none());
    let mut net = Net::new(&Device::flex().autodiff());
    let mut driver = make().bind(&net).unwrap();
    for batch in &run.batches {
        let batch = Batch {
            inputs: batch.inputs.clone().autodiff(),
            ..batch.clone()
        };
        (net, _) = driver
            .step(net.clone(), TrainStep::step(&net, batch).grads)
            .unwrap();
    }
    assert_eq!(values_of(&net), values_of(&result.model));
    assert_eq!(values_of(&driver.evaluated(&net)), values_of(&evaluated));
    // The loss in the file is that of the view.
    let path = run.folder.join("valid").join("epoch-1").join("Loss.log");
    let shown = std::fs::read_to_string(path).unwrap();
    let losses = shown
        .split_whitespace()
        .filter_map(|line| line.split(',').next()?.parse().ok());
    let losses: Vec<f64> = losses.collect();
    let (test, _) = loader(&data::digits().test, &Device::flex());
    let expected: Vec<f64> = test
        .to_device(&Device::flex())
        .iter()
        .map(|batch| InferenceStep::step(&evaluated, batch.unwrap()))
        .map(|output| floats(output.loss.into_data())[0])
        .collect();
    // The last entry is that of the whole epoch.
    assert_eq!(losses.len(), expected.len() + 1);
    for (found, expected) in losses.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 1e-4 * expected,
            "{found}, {expected}"
        );
    }
}

#[test]
fn a_factor_needs_a_rate_that_can_be_scaled() {
    let plateau = ReduceOnPlateauConfig::new(0.1).try_build().unwrap();
    let group = || Group::new("head", Select::path("**.output.*"));
    let with = |group: Group| {
        let rate = Rate::from(PlateauScheduler::from(plateau.clone()));
        let builder = Driver::builder(SgdConfig::new().init(), rate).with_group(group);
        builder.learner(Net::new(&Device::flex()))
    };
    let error = with(group().with_learning_rate_factor(0.5)).err().unwrap();
    assert!(matches!(error, BindError::LearnerRate { .. }));
    assert!(error.to_string().contains("group `head`"), "{error}");
    assert!(with(group().with_learning_rate(0.5)).is_ok());
}

#[test]
fn a_strategy_has_one_training() {
    let run = Run::new("again", 1);
    let (_, strategy, _) = run.launch(builder(10), |strategy| strategy);
    let (learner, _) = builder(10).learner(Net::new(&Device::flex())).unwrap();
    let before = values_of(&learner.model().valid());
    let (test, _) = loader(&data::digits().test, &Device::flex());
    let result = SupervisedTraining::new(&run.folder, loader_of(ready()), test)
        .with_application_logger(None)
        .renderer(Box::new(Screen::default()))
        .with_training_strategy(strategy.into())
        .launch(learner);
    let error = result.error.unwrap().to_string();
    assert!(error.contains("one training"), "{error}");
    assert_eq!(values_of(&result.model), before);
}
