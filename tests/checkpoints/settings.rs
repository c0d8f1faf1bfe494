//! What is compared when a training goes on, setting by setting: each that is changed is refused and named, and
//! where a file is taken in part, it is reported.

use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::ParamGroup;
use downhill::optim::AdamWConfig;
use downhill::schedule::{LinearConfig, Schedule};
use downhill::train::{LocalUpdates, LossScaling, Mechanic, Rate, Sam, Threads};

use super::*;

type Make = fn() -> DriverBuilder;

fn adamw() -> DriverBuilder {
    Driver::builder(AdamWConfig::new().init(), 0.1)
}

fn local(local: LocalUpdates) -> DriverBuilder {
    let exchange = Threads::of(1).remove(0);
    adamw().with_local_updates(local).with_exchange(exchange)
}

fn grouped(with: fn(Group) -> Group) -> DriverBuilder {
    adamw().with_group(with(Group::new("w", Select::name("weight"))))
}

fn under(rate: impl Into<Rate>) -> DriverBuilder {
    Driver::builder(SgdConfig::new().with_momentum(0.9).init(), rate)
}

fn falling(from: f64) -> Schedule {
    LinearConfig::new(from, 0.0, 10).try_build().unwrap()
}

fn burns_cosine(rate: f64, steps: usize) -> ModuleLrScheduler {
    let config = CosineAnnealingLrSchedulerConfig::new(rate, steps);
    config.init().unwrap()
}

/// What a training was started with, what it is to go on with, and what the error names.
const CHANGES: &[(&str, Make, Make)] = &[
    (
        "learning_rate_factor of the group `w`",
        || grouped(|group| group.with_learning_rate_factor(0.1)),
        || grouped(|group| group.with_learning_rate_factor(10.0)),
    ),
    (
        "learning_rate of the group `w`",
        || grouped(|group| group.with_learning_rate_factor(0.1)),
        || grouped(|group| group.with_learning_rate(0.01)),
    ),
    (
        "learning_rate of the group `w`",
        || grouped(|group| group.with_learning_rate(0.1)),
        || grouped(|group| group.with_learning_rate(7.0)),
    ),
    (
        "learning_rate of the group `w`",
        || grouped(|group| group.with_learning_rate(0.1)),
        || grouped(|group| group.with_learning_rate(falling(0.1))),
    ),
    (
        "weight_decay of the group `w`",
        || grouped(|group| group.with_weight_decay(0.0)),
        || grouped(|group| group.with_weight_decay(0.5)),
    ),
    (
        "weight_decay of the group `w`",
        || grouped(|group| group),
        || grouped(|group| group.with_weight_decay(0.0)),
    ),
    (
        "momentum of the group `w`",
        || grouped(|group| group.with_momentum(0.1)),
        || grouped(|group| group.with_momentum(falling(0.1))),
    ),
    (
        "frozen of the group `w`",
        || grouped(|group| group),
        || grouped(Group::frozen),
    ),
    (
        "frozen of the group `w`",
        || grouped(Group::frozen),
        || grouped(|group| group),
    ),
    (
        "group of `weight`",
        || grouped(|group| group),
        || adamw().with_group(Group::new("v", Select::name("weight"))),
    ),
    (
        "group of `kernel`",
        || grouped(|group| group),
        || adamw().with_group(Group::new("w", Select::rank(2..=4))),
    ),
    (
        "optimizer of `weight`",
        || grouped(|group| group),
        || grouped(|group| group.with_optimizer(SgdConfig::new().build())),
    ),
    (
        "optimizer of `weight`",
        || grouped(|group| group.with_optimizer(SgdConfig::new().build())),
        || grouped(|group| group.with_optimizer(SgdConfig::new().with_momentum(0.5).build())),
    ),
    ("optimizer of `weight`", adamw, || {
        Driver::builder(AdamWConfig::new().with_beta_1(0.8).init(), 0.1)
    }),
    ("learning rate", adamw, || {
        Driver::builder(AdamWConfig::new().init(), 0.2)
    }),
    ("learning rate", adamw, || {
        Driver::builder(AdamWConfig::new().init(), falling(0.1))
    }),
    (
        "learning rate",
        || under(falling(0.1)),
        || under(falling(0.2)),
    ),
    (
        "learning rate",
        || under(0.1),
        || under(burns_cosine(0.1, 9)),
    ),
    (
        "learning rate",
        || under(burns_cosine(0.1, 9)),
        || under(0.1),
    ),
    ("clipping", adamw, || {
        adamw().with_clipping(Clipping::global_norm(1.0))
    }),
    (
        "clipping",
        || adamw().with_clipping(Clipping::global_norm(1.0)),
        || adamw().with_clipping(Clipping::global_norm(falling(1.0))),
    ),
    (
        "clipping",
        || adamw().with_clipping(Clipping::global_norm(1.0)),
        || adamw().with_clipping(Clipping::tensor_norm(1.0)),
    ),
    ("non_finite", adamw, || {
        adamw().with_non_finite(NonFinite::Ignore)
    }),
    (
        "non_finite",
        || adamw().with_non_finite(NonFinite::Skip { max_consecutive: 1 }),
        || adamw().with_non_finite(NonFinite::Skip { max_consecutive: 2 }),
    ),
    (
        "accumulation",
        || adamw().with_accumulation(Accumulation::mean(2)),
        || adamw().with_accumulation(Accumulation::sum(2)),
    ),
    (
        "accumulation",
        || adamw().with_accumulation(Accumulation::mean(2)),
        || adamw().with_accumulation(Accumulation::mean(3)),
    ),
    ("weight_decay", adamw, || adamw().with_weight_decay(0.1)),
    ("momentum", adamw, || adamw().with_momentum(0.5)),
    ("driven", adamw, || adamw().with_driven("beta_2", 0.5)),
    (
        "driven",
        || adamw().with_driven("beta_2", 0.5),
        || adamw().with_driven("epsilon", 0.5),
    ),
    (
        "driven of the group `w`",
        || grouped(|group| group),
        || grouped(|group| group.with_driven("epsilon", falling(0.1))),
    ),
    (
        "sam",
        || adamw().with_sam(Sam::new(0.05)),
        || adamw().with_sam(Sam::new(0.1)),
    ),
    (
        "sam",
        || adamw().with_sam(Sam::new(0.05)),
        || adamw().with_sam(Sam::new(0.05).adaptive()),
    ),
    (
        "sam",
        || adamw().with_sam(Sam::new(0.05)),
        || adamw().with_sam(Sam::new(0.05).surrogate_gap(0.4)),
    ),
    (
        "sam",
        || adamw().with_sam(Sam::new(0.05).look_every(2, 0.7)),
        || adamw().with_sam(Sam::new(0.05).look_every(3, 0.7)),
    ),
    (
        "loss_scaling",
        || adamw().with_loss_scaling(LossScaling::dynamic()),
        || adamw().with_loss_scaling(LossScaling::dynamic().with_scale(4.0)),
    ),
    (
        "loss_scaling",
        || adamw().with_loss_scaling(LossScaling::dynamic()),
        || adamw().with_loss_scaling(LossScaling::dynamic().with_interval(10)),
    ),
    (
        "mechanic",
        || adamw().with_mechanic(Mechanic::new()),
        || adamw().with_mechanic(Mechanic::new().with_s_init(1e-3)),
    ),
    (
        "mechanic",
        || adamw().with_mechanic(Mechanic::new()),
        || adamw().with_mechanic(Mechanic::new().with_lambda(0.1)),
    ),
    (
        "local_updates",
        || local(LocalUpdates::new(1)),
        || local(LocalUpdates::new(2)),
    ),
    (
        "local_updates",
        || local(LocalUpdates::new(1)),
        || local(LocalUpdates::averaged(1)),
    ),
    (
        "local_updates",
        || local(LocalUpdates::new(1)),
        || local(LocalUpdates::new(1).with_bf16()),
    ),
    (
        "averaging",
        || adamw().with_averaging(Averaging::ema(0.9)),
        || adamw().with_averaging(Averaging::ema(0.8)),
    ),
    (
        "averaging",
        || adamw().with_averaging(Averaging::ema(0.9)),
        || adamw().with_averaging(Averaging::mean()),
    ),
    (
        "averaging",
        || adamw().with_averaging(Averaging::ema(0.9)),
        || adamw().with_averaging(Averaging::ema(0.9).with_warmup()),
    ),
    (
        "averaging",
        || adamw().with_averaging(Averaging::mean()),
        || adamw().with_averaging(Averaging::mean().with_every(2)),
    ),
    (
        "averaging",
        || adamw().with_averaging(Averaging::mean()),
        || adamw().with_averaging(Averaging::mean().with_buffers_of_the_model()),
    ),
];

/// Two updates, and the bytes of a checkpoint.
fn started(make: Make) -> (Checkpoint, Net) {
    let mut net = Net::new(1, &device(), DType::F32);
    let mut driver = make().bind(&net).unwrap();
    for t in 0..2 {
        let grads = |net: &Net| net.grads(t, &ALL, &device(), DType::F32);
        (net, _) = driver.step_sam(net, grads).unwrap();
    }
    (driver.checkpoint(&net).unwrap(), net)
}

#[test]
fn each_setting_that_is_changed_is_refused_and_named() {
    for (at, (what, first, second)) in CHANGES.iter().enumerate() {
        let (saved, net) = started(*first);
        // As it was, it goes on.
        let other = Net::new(2, &device(), DType::F32);
        let same = first().bind(&other).unwrap().resume(other, &saved);
        assert_eq!(same.unwrap().values(), net.values(), "{at}, {what}");

        let other = Net::new(3, &device(), DType::F32);
        let mut driver = second().bind(&other).unwrap();
        let text = refused(&mut driver, other, &saved);
        let expected = format!("it was made with another {what}: ");
        assert!(text.starts_with(&expected), "{at}, {what}: {text}");

        let path = file(&format!("setting-{at}.ckpt"));
        saved.write(&path).unwrap();
        let other = Net::new(4, &device(), DType::F32);
        let mut driver = second().bind(&other).unwrap();
        let (_, report) = driver.load_partial(other, &path).unwrap();
        let named = |difference: &String| difference.starts_with(&format!("another {what}: "));
        assert!(
            report.differences.iter().any(named),
            "{at}, {what}: {report}"
        );
        assert!(!report.is_complete());
    }
}

#[test]
fn every_setting_in_a_header_has_a_change() {
    let (saved, _) = started(|| grouped(|group| group));
    let settings = saved.header().settings.clone().unwrap();
    let mut names = Vec::new();
    for (name, value) in settings.as_object().unwrap() {
        match name.as_str() {
            "groups" => {
                let fields = value["w"].as_object().unwrap().keys();
                names.extend(fields.map(|field| format!("{field} of the group `w`")));
            }
            name => names.push(name.to_string()),
        }
    }
    assert_eq!(names.len(), 11 + 6);
    for name in names {
        let has_one = CHANGES.iter().any(|(what, ..)| *what == name);
        assert!(has_one, "no change of {name}");
    }
}

/// Schedulers that say in their records where they are, and not what they are.
#[test]
fn a_scheduler_of_burns_with_other_settings_is_refused() {
    let linear = |to| {
        let config = LinearLrSchedulerConfig::new(0.5, to, 30);
        config.init().unwrap()
    };
    let exponential = |gamma| {
        let config = ExponentialLrSchedulerConfig::new(0.5, gamma);
        config.init().unwrap()
    };
    // The rate of one parameter differs, and not that of all.
    let grouped = |rate: f64| {
        let group = ParamGroup::from_path("bias");
        ModuleLrScheduler::new(0.1).with_group(group, rate)
    };
    // For 40 updates they are the same.
    let late = |last: f64| own(move |step| if step < 40 { 0.1 } else { last });
    let pairs: [(ModuleLrScheduler, ModuleLrScheduler, &str); 6] = [
        (
            burns_cosine(0.1, 100),
            burns_cosine(0.9, 1000),
            "it has other settings: 1 updates on its rate would be 0.0999",
        ),
        (
            burns_cosine(0.1, 100),
            burns_cosine(0.1, 101),
            "1 updates on",
        ),
        (linear(0.1), linear(0.2), "1 updates on"),
        (exponential(0.9), exponential(0.8), "1 updates on"),
        (grouped(0.2), grouped(0.3), "updates its rates differ"),
        (late(0.1), late(0.2), "updates its rates differ"),
    ];
    for (first, second, expected) in pairs {
        let mut net = Net::new(1, &device(), DType::F32);
        let mut driver = under(first.clone()).bind(&net).unwrap();
        net = train(&mut driver, net, 0..2, &device(), DType::F32);
        let saved = driver.checkpoint(&net).unwrap();
        let other = Net::new(2, &device(), DType::F32);
        under(first)
            .bind(&other)
            .unwrap()
            .resume(other, &saved)
            .unwrap();

        let other = Net::new(2, &device(), DType::F32);
        let mut driver = under(second.clone()).bind(&other).unwrap();
        let text = refused(&mut driver, other, &saved);
        assert!(text.contains(expected), "{text}");
        // In part, the driver's own begins anew, and the report says so.
        let path = file("scheduler.ckpt");
        saved.write(&path).unwrap();
        let other = Net::new(2, &device(), DType::F32);
        let mut driver = under(second).bind(&other).unwrap();
        let (_, report) = driver.load_partial(other, &path).unwrap();
        assert!(!report.is_complete());
        assert!(
            report
                .differences
                .iter()
                .any(|text| text.contains(expected))
        );
    }
}

/// A scheduler of a user's own.
#[derive(Clone)]
struct Late {
    step: u64,
    values: std::sync::Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl LrScheduler for Late {
    fn step(&mut self) -> f64 {
        self.step += 1;
        (self.values)(self.step - 1)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.step = record.scalar("step").unwrap_or(0);
    }
}

fn own(values: impl Fn(u64) -> f64 + Send + Sync + 'static) -> ModuleLrScheduler {
    ModuleLrScheduler::new(Late {
        step: 0,
        values: std::sync::Arc::new(values),
    })
}

/// JSON has no infinity, and no NaN.
#[test]
fn rates_to_come_that_are_not_finite_are_saved_and_compared() {
    let ending_in = |last: f64| own(move |step| if step < 5 { 0.1 } else { last });
    for last in [f64::INFINITY, f64::NAN] {
        let build = |last: f64, net: &Net| under(ending_in(last)).bind(net).unwrap();
        let net = Net::new(1, &device(), DType::F32);
        let mut driver = build(last, &net);
        let net = train(&mut driver, net, 0..2, &device(), DType::F32);
        let saved = Checkpoint::from_bytes(bytes(&driver, &net)).unwrap();
        let other = Net::new(2, &device(), DType::F32);
        build(last, &other).resume(other, &saved).unwrap();
        let other = Net::new(2, &device(), DType::F32);
        let text = refused(&mut build(0.1, &other), other, &saved);
        assert!(text.contains("it has other settings"), "{text}");
    }
}

#[test]
fn taking_a_file_in_part_goes_on_with_the_scheduler_that_fits() {
    let build = |net: &Net| under(burns_cosine(0.1, 100)).bind(net).unwrap();
    let net = Net::new(1, &device(), DType::F32);
    let mut driver = build(&net);
    let net = train(&mut driver, net, 0..60, &device(), DType::F32);
    let path = file("cosine.ckpt");
    driver.save(&net, &path).unwrap();
    let other = Net::new(2, &device(), DType::F32);
    let mut resumed = build(&other);
    let (other, report) = resumed.load_partial(other, &path).unwrap();
    assert!(report.is_complete(), "{report}");
    let rate = |driver: &mut Driver, net: Net| {
        let grads = net.grads(60, &ALL, &device(), DType::F32);
        driver.step(net, grads).unwrap().1.learning_rate
    };
    assert_eq!(rate(&mut resumed, other), rate(&mut driver, net));
}

#[test]
fn a_mean_does_not_take_over_a_moving_average() {
    let build = |averaging: Averaging, net: &Net| {
        let driver = Driver::builder(SgdConfig::new().init(), 0.1);
        driver.with_averaging(averaging).bind(net).unwrap()
    };
    let net = Net::new(1, &device(), DType::F32);
    let mut driver = build(Averaging::ema(0.99), &net);
    let net = train(&mut driver, net, 0..10, &device(), DType::F32);
    let path = file("moving.ckpt");
    driver.save(&net, &path).unwrap();
    let moving = driver.averaged(&net).values();
    // Another decay is another pace of the same average, and another start another mean.
    let pairs = [
        (Averaging::ema(0.5), true),
        (Averaging::mean(), false),
        (Averaging::mean().with_start(10), false),
    ];
    for (averaging, taken) in pairs {
        let other = Net::new(2, &device(), DType::F32);
        let mut resumed = build(averaging, &other);
        let (other, report) = resumed.load_partial(other, &path).unwrap();
        assert!(!report.is_complete());
        let found = resumed.averaged(&other).values();
        let unused = report.unexpected.contains(&"average/weight".to_string());
        assert_eq!((found == moving, unused), (taken, !taken), "{report}");
        if !taken {
            // The first that is taken in is all that there is.
            let other = train(&mut resumed, other, 10..11, &device(), DType::F32);
            assert_eq!(resumed.averaged(&other).values(), other.values());
        }
    }
}

/// Files of before the settings of groups and the rates to come were saved.
#[test]
fn what_an_older_file_does_not_say_is_not_compared() {
    let (saved, net) = started(|| {
        let group = Group::new("w", Select::name("weight"));
        under(burns_cosine(0.1, 100)).with_group(group.with_weight_decay(0.5))
    });
    let older = forged::with_header(&saved.to_bytes().unwrap(), |header| {
        let header = header.as_object_mut().unwrap();
        header.remove("rates_ahead").unwrap();
        header["settings"]
            .as_object_mut()
            .unwrap()
            .remove("groups")
            .unwrap();
    });
    let checkpoint = Checkpoint::from_bytes(older).unwrap();
    let other = Net::new(2, &device(), DType::F32);
    let group = Group::new("w", Select::name("weight")).with_weight_decay(0.1);
    let mut driver = under(burns_cosine(0.2, 100))
        .with_group(group)
        .bind(&other)
        .unwrap();
    assert_eq!(
        driver.resume(other, &checkpoint).unwrap().values(),
        net.values()
    );
}

#[test]
fn states_in_another_precision_are_refused() {
    let net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    let net = train(&mut driver, net, 0..2, &device(), DType::F32);
    let saved = bytes(&driver, &net);
    let double = forged::changed(&saved, |tensors| {
        let state = tensors.get_mut("optimizer/weight/state.exp_avg").unwrap();
        *state = state.clone().convert::<f64>();
    });
    let other = Net::new(2, &device(), DType::F32);
    let text = refused(
        &mut plain(&other),
        other,
        &Checkpoint::from_bytes(double).unwrap(),
    );
    assert_eq!(
        text,
        "the optimizer's state of `weight` cannot be taken up: `state.exp_avg` is in F64, and must be in F32"
    );
}

/// A module whose name for its only part has a slash, as names in a map can.
#[derive(Clone, Debug)]
struct Slashed(Net);

impl Module for Slashed {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn train(self) -> Self {
        Self(Module::train(self.0))
    }

    fn valid(&self) -> Self {
        Self(self.0.valid())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialize())
    }

    fn visit<V: burn::module::ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module("a/b%2F", "");
        self.0.visit(visitor);
        visitor.exit_module("a/b%2F", "");
    }

    fn map<M: burn::module::ModuleMapper>(self, mapper: &mut M) -> Self {
        mapper.enter_module("a/b%2F", "");
        let net = self.0.map(mapper);
        mapper.exit_module("a/b%2F", "");
        Self(net)
    }
}

#[test]
fn paths_with_a_slash_go_on() {
    let build = |seed| {
        let model = Slashed(Net::new(seed, &device(), DType::F32));
        let driver = Driver::builder(AdamConfig::new().init(), 0.1);
        let driver = driver
            .with_averaging(Averaging::ema(0.9))
            .with_accumulation(Accumulation::mean(2));
        (driver.bind(&model).unwrap(), model)
    };
    let step = |driver: &mut Driver, model: Slashed, t: usize| {
        let grads = model.0.grads(t, &ALL, &device(), DType::F32);
        driver.step(model, grads).unwrap().0
    };
    let (mut driver, mut model) = build(1);
    for t in 0..3 {
        model = step(&mut driver, model, t);
    }
    let saved = Checkpoint::from_bytes(bytes(&driver, &model)).unwrap();
    for entry in &saved.header().parameters {
        let elements: usize = entry.shape.iter().product();
        assert_eq!(
            saved.state_bytes(&entry.path),
            2 * 4 * elements,
            "{}",
            entry.path
        );
    }
    let (mut resumed, other) = build(2);
    let mut other = resumed.resume(other, &saved).unwrap();
    for t in 3..6 {
        model = step(&mut driver, model, t);
        other = step(&mut resumed, other, t);
    }
    assert_eq!(model.0.values(), other.0.values());
    assert!(bytes(&driver, &model) == bytes(&resumed, &other));

    let path = file("slashed.ckpt");
    saved.write(&path).unwrap();
    let (mut partial, other) = build(3);
    let (_, report) = partial.load_partial(other, &path).unwrap();
    assert_eq!(report.states.len(), 3, "{report}");
}
