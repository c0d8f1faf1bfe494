//! Groups and driven settings.

use super::*;

/// What steps a parameter alone, with the settings of each update.
type Alone<'a> = &'a dyn Fn(u64) -> (ModuleOptimizer, f64);

/// Compares a driver with optimizers that are rebuilt for every update, one for each parameter; their
/// state goes on through records.
fn assert_steps_as(
    label: &str,
    builder: DriverBuilder,
    alone: [Alone; 3],
    device: &TestDevice,
    dtype: DType,
) {
    let inner = &device.device;
    let mut net = Net::new(1, inner, dtype);
    let mut other = net.clone();
    let mut driver = builder.bind(&net).unwrap();
    let mut records = [None, None, None];
    for t in 0..5 {
        let grads = net.grads(t, &ALL, inner, dtype);
        (net, _) = driver.step(net, grads).unwrap();
        for index in ALL {
            let (mut optim, rate) = alone[index](t as u64);
            if let Some(record) = records[index].take() {
                optim = optim.from_bytes(record).unwrap();
            }
            let grads = other.grads(t, &[index], inner, dtype);
            other = optim.step(rate, other, grads);
            records[index] = Some(optim.into_bytes().unwrap());
        }
        for index in ALL {
            let (found, expected) = (&net.values()[index], &other.values()[index]);
            let name = ["weight", "bias", "kernel"][index];
            assert_same(
                &format!("{label}, step {t}: {name}"),
                device,
                found,
                expected,
            );
        }
    }
}

fn adamw(weight_decay: f64, beta_1: f64) -> ModuleOptimizer {
    let config = optim::AdamWConfig::new().with_weight_decay(weight_decay);
    config.with_beta_1(beta_1).init()
}

#[test]
fn each_group_is_stepped_as_if_it_were_alone() {
    let falling = LinearConfig::new(0.1, 0.0, 5).try_build().unwrap();
    let momentum = LinearConfig::new(0.95, 0.55, 4).try_build().unwrap();
    let base: Alone = &|_| (adamw(0.1, 0.9), 0.05);
    let no_decay: Alone = &|_| (adamw(0.0, 0.9), 0.05);
    let tenth: Alone = &|_| (adamw(0.1, 0.9), 0.005);
    let quarter: Alone = &|_| (adamw(0.1, 0.9), 0.0125);
    let own_rate: Alone = &|t| (adamw(0.1, 0.9), falling.value(t));
    let own_decay: Alone = &|t| (adamw(falling.value(t), 0.9), 0.05);
    let own_momentum: Alone = &|t| (adamw(0.1, momentum.value(t)), 0.05);
    let nadam: Alone = &|_| (optim::NAdamConfig::new().init(), 0.05);
    let burns: Alone = &|_| (burn::optim::AdamConfig::new().init(), 0.05);
    let of = |name: &'static str| Group::new(name, Select::name(name));
    let cases: Vec<(&str, Vec<Group>, [Alone; 3])> = vec![
        ("no groups", vec![], [base; 3]),
        ("no decay", vec![Group::no_decay()], [base, no_decay, base]),
        (
            "layers",
            Group::layers(0.5, ["weight", "bias", "kernel"]),
            [quarter, &|_| (adamw(0.1, 0.9), 0.025), base],
        ),
        (
            "factor",
            vec![of("kernel").with_learning_rate_factor(0.1)],
            [base, base, tenth],
        ),
        (
            "rate",
            vec![of("bias").with_learning_rate(falling.clone())],
            [base, own_rate, base],
        ),
        (
            "decay",
            vec![of("weight").with_weight_decay(falling.clone())],
            [own_decay, base, base],
        ),
        (
            "momentum",
            vec![of("kernel").with_momentum(momentum.clone())],
            [base, base, own_momentum],
        ),
        (
            "optimizers",
            vec![
                of("weight").with_optimizer(optim::NAdamConfig::new().build()),
                of("bias").with_optimizer(burn::optim::AdamConfig::new().build()),
            ],
            [nadam, burns, base],
        ),
        (
            "decay beside another's optimizer",
            vec![
                of("bias").with_optimizer(burn::optim::AdamConfig::new().build()),
                of("kernel").with_weight_decay(falling.clone()),
            ],
            [base, burns, own_decay],
        ),
        (
            "all at once",
            vec![
                Group::no_decay(),
                of("bias").with_learning_rate_factor(0.1),
                of("weight").with_optimizer(optim::NAdamConfig::new().build()),
                of("kernel").with_momentum(momentum.clone()),
            ],
            [nadam, &|_| (adamw(0.0, 0.9), 0.005), own_momentum],
        ),
    ];
    for device in devices() {
        for (label, groups, alone) in &cases {
            let label = format!("{label} on {}", device.name);
            let builder = Driver::builder(adamw(0.1, 0.9), 0.05).with_groups(groups.clone());
            assert_steps_as(&label, builder, *alone, &device, DType::F32);
        }
    }
}

/// Every parameter has directives of its own, and some are not stepped.
#[test]
fn directives_reach_their_parameters_where_others_have_no_gradient() {
    for device in devices() {
        let inner = &device.device;
        let mut net = Net::new(1, inner, DType::F32);
        let mut driver = Driver::builder(adamw(0.1, 0.9), 0.05)
            .with_clipping(Clipping::tensor_norm(0.5))
            .with_group(Group::no_decay())
            .bind(&net)
            .unwrap();
        let mut other = net.clone();
        let mut optims = [adamw(0.1, 0.9), adamw(0.0, 0.9), adamw(0.1, 0.9)];
        let given: [&[usize]; 6] = [&ALL, &[1], &[0, 2], &[2], &[], &[1, 2]];
        for (t, given) in given.into_iter().enumerate() {
            net.kernel = net.kernel.set_require_grad(t != 3);
            let grads = net.grads(t, given, inner, DType::F32);
            (net, _) = driver.step(net, grads).unwrap();
            for &index in given.iter().filter(|index| (t, **index) != (3, 2)) {
                let grads = grad_values(t).map(|grad| tensor_norm(&[], &grad, &[], 0.5));
                let grads = other.grads_from(&grads, &[index], inner, DType::F32);
                other = optims[index].step(0.05, other, grads);
            }
            for (found, expected) in net.values().iter().zip(&other.values()) {
                let tolerance = 2.0 * device.f32_tolerance;
                assert_close(device.name, found, expected, tolerance, tolerance);
            }
        }
    }
}

#[derive(Module, Debug)]
struct Deep {
    layers: Vec<nn::Linear>,
}

#[test]
fn groups_find_the_layers_that_they_name_and_no_others() {
    let device = &devices()[0].device.clone().autodiff();
    let mut deep = Deep {
        layers: (0..12)
            .map(|_| nn::LinearConfig::new(2, 2).init(device))
            .collect(),
    };
    let group = Group::new("second", Select::path("layers.1.**"));
    let mut driver = Driver::builder(PLAIN[0].1(), 0.1)
        .with_group(group.with_optimizer(optim::AdamWConfig::new().build()))
        .with_group(Group::new("last", Select::path("layers.11.*")).frozen())
        .bind(&deep)
        .unwrap();
    let before = values_of(&deep);
    let (grads, _) = grads_for(&deep, 0);
    let report;
    (deep, report) = driver.step(deep, grads).unwrap();
    assert_eq!(report.frozen, ["layers.11.weight", "layers.11.bias"]);
    assert_eq!(values_of(&deep)[66..], before[66..]);
    assert!(
        values_of(&deep)[..66]
            .iter()
            .zip(&before)
            .all(|(a, b)| a != b)
    );
    let other: Vec<String> = driver
        .parameters()
        .filter(|param| {
            param
                .optimizer
                .is_some_and(|identity| identity.name == "adamw")
        })
        .map(|param| param.info.path.to_string())
        .collect();
    assert_eq!(other, ["layers.1.weight", "layers.1.bias"]);
}

#[test]
fn groups_of_a_scheduler_and_of_the_driver_go_together() {
    let scheduler = ModuleLrScheduler::new(Counting(0.0))
        .with_group(ParamGroup::from_path("bias"), 0.01)
        .with_group(ParamGroup::from_path("kernel"), 0.5);
    let kernel = Group::new("kernel", Select::name("kernel")).with_learning_rate_factor(0.5);
    let sgd: Make = PLAIN[0].1;
    let alone: [Alone; 3] = [&|t| (sgd(), (t + 1) as f64), &|_| (sgd(), 0.01), &|_| {
        (sgd(), 0.25)
    }];
    for device in devices() {
        let builder = Driver::builder(sgd(), scheduler.clone());
        let whole: Alone = &|_| (sgd(), 0.5);
        let without = [alone[0], alone[1], whole];
        assert_steps_as(
            "without groups",
            builder.clone(),
            without,
            &device,
            DType::F32,
        );
        assert_steps_as(
            "with a group",
            builder.with_group(kernel.clone()),
            alone,
            &device,
            DType::F32,
        );
    }
}

#[test]
fn driven_settings_equal_an_optimizer_that_is_rebuilt_with_them() {
    let momentum = LinearConfig::new(0.95, 0.85, 4).try_build().unwrap();
    let decay = LinearConfig::new(0.0, 0.2, 4).try_build().unwrap();
    let cases = [
        (
            "sgd",
            "momentum",
            r#"{"momentum": 0.5, "weight_decay": 0.3}"#,
        ),
        (
            "sgd",
            "momentum",
            r#"{"momentum": 0.5, "nesterov": true, "dampening": 0.0, "decoupled_weight_decay": true, "weight_decay": 0.3}"#,
        ),
        ("sgd", "momentum", r#"{"momentum": 0.5, "velocity": true}"#),
        ("adam", "beta_1", r#"{"weight_decay": 0.3}"#),
        ("adam", "beta_1", r#"{"amsgrad": true}"#),
        ("adamw", "beta_1", "{}"),
        ("nadam", "beta_1", "{}"),
        ("nadam", "beta_1", r#"{"variant": "dozat"}"#),
        (
            "nadam",
            "beta_1",
            r#"{"variant": "optax", "weight_decay": 0.3, "decoupled_weight_decay": true}"#,
        ),
        ("rmsprop", "momentum", r#"{"momentum": 0.5}"#),
        (
            "rmsprop",
            "momentum",
            r#"{"momentum": 0.5, "centered": true}"#,
        ),
        (
            "adafactor",
            "beta_1",
            r#"{"variant": "hf", "relative_step": false, "beta_1": 0.5}"#,
        ),
        (
            "adafactor",
            "beta_1",
            r#"{"relative_step": false, "beta_1": 0.5}"#,
        ),
    ];
    for_all(|label, device, dtype| {
        for (name, field, settings) in cases {
            let build = |momentum: Option<f64>, decay: Option<f64>| {
                let mut json: serde_json::Value = serde_json::from_str(settings).unwrap();
                json["name"] = name.into();
                if let Some(momentum) = momentum {
                    json[field] = momentum.into();
                }
                if let Some(decay) = decay {
                    json["weight_decay"] = decay.into();
                }
                let config = OptimizerConfig::from_json(&json.to_string()).unwrap();
                config.try_init().unwrap()
            };
            let builder = Driver::builder(build(None, None), 0.05)
                .with_momentum(momentum.clone())
                .with_weight_decay(decay.clone());
            let rebuilt: Alone = &|t| (build(Some(momentum.value(t)), Some(decay.value(t))), 0.05);
            let label = format!("{name} {settings} on {label}");
            assert_steps_as(&label, builder, [rebuilt; 3], device, dtype);
        }
    });
}

#[test]
fn driven_settings_are_reported() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.1)
        .with_momentum(LinearConfig::new(0.95, 0.85, 2).try_build().unwrap())
        .with_weight_decay(0.25)
        .bind(&net)
        .unwrap();
    let net = train(&mut driver, net, 0..1, device, DType::F32);
    let grads = net.grads(1, &ALL, device, DType::F32);
    let (_, report) = driver.step(net, grads).unwrap();
    assert_eq!(report.weight_decay, Some(0.25));
    assert!(is_close(report.momentum.unwrap(), 0.9, 1e-15));
}
