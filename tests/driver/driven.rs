//! Settings that a schedule drives, by their names.

use downhill::optim::SettingKind;
use serde_json::{Value, json};

use super::*;

/// A value of a setting that is allowed and not the one that it has.
fn other(range: optim::Range, own: f64) -> f64 {
    let candidates = [0.5, 0.25, 2.0, 10.0, -0.5];
    let fits = |x: &f64| range.contains(*x) && *x != own;
    candidates
        .into_iter()
        .find(fits)
        .expect("a number that is allowed")
}

/// The configuration with another value.
fn with(config: &OptimizerConfig, name: &str, value: f64) -> Option<OptimizerConfig> {
    let mut json = serde_json::to_value(config).unwrap();
    json[name] = json!(value);
    OptimizerConfig::from_json(&json.to_string()).ok()
}

/// The settings of a configuration that are numbers.
fn numbers(config: &OptimizerConfig) -> Vec<(&'static str, f64)> {
    let json = serde_json::to_value(config).unwrap();
    let is_number = |kind| matches!(kind, SettingKind::Number | SettingKind::OptionalNumber);
    let settings = config.settings().into_iter();
    let settings = settings.filter(|setting| is_number(setting.kind));
    settings
        .filter_map(|setting| Some((setting.name, json.get(setting.name)?.as_f64()?)))
        .collect()
}

fn after(driver: DriverBuilder, net: &Net, device: &TestDevice) -> [Vec<f64>; 3] {
    let mut driver = driver.bind(net).unwrap();
    train(&mut driver, net.clone(), 0..6, &device.device, DType::F32).values()
}

/// Numbers that cannot be driven: they decide about the state, or only the start knows them.
const FIXED: &[(&str, &str)] = &[
    ("adagrad", "initial_accumulator_value"),
    ("yogi", "initial_accumulator_value"),
    ("adabound", "base_learning_rate"),
    ("cocob", "epsilon"),
    ("dog", "epsilon"),
    ("ldog", "epsilon"),
    ("dowg", "epsilon"),
    ("dowg", "initial_distance_sq"),
    ("gpa_adamw", "mu_y"),
    ("psgd_kron", "precond_init_scale"),
    ("schedule_free_sgd", "momentum"),
    ("schedule_free_adamw", "beta_1"),
    ("schedule_free_radam", "beta_1"),
    ("schedule_free", "momentum"),
];

#[test]
fn a_driven_number_is_that_of_another_configuration() {
    let device = devices().remove(0);
    for_rows(&device, |label, row, config| {
        let net = Net::new(1, &device.device, DType::F32);
        let lr = row.lr;
        let optim = config.try_build().unwrap();
        for (name, own) in numbers(config) {
            let label = format!("{label}, {name}");
            let Some(range) = optim.drives(name) else {
                let is_fixed = FIXED.contains(&(row.name, name)) || BEGINS.contains(&name);
                // Without a momentum there is no buffer that one could act on.
                let has_no_buffer = name == "momentum" && own == 0.0;
                let acts = ["sgd", "signsgd"].contains(&row.name);
                let of_fallback = name == "fallback_rate";
                assert!(
                    is_fixed || has_no_buffer || acts || of_fallback,
                    "{label} cannot be driven"
                );
                continue;
            };
            assert!(!FIXED.contains(&(row.name, name)), "{label}");
            let value = other(range, own);
            // Some go with one value of another setting only.
            let Some(expected) = with(config, name, value) else {
                continue;
            };
            let expected = after(
                Driver::builder(expected.try_init().unwrap(), lr),
                &net,
                &device,
            );
            let driven = Driver::builder(config.try_init().unwrap(), lr).with_driven(name, value);
            assert_eq!(after(driven, &net, &device), expected, "{label}");
        }
    });
}

#[test]
fn a_driven_number_changes_from_step_to_step_and_from_group_to_group() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        let config = |beta_2| optim::AdamConfig::new().with_beta_2(beta_2);
        let falling = LinearConfig::new(0.9, 0.5, 4).try_build().unwrap();
        let net = Net::new(1, inner, dtype);
        let rest = Group::new("bias", Select::name("bias")).with_driven("beta_2", 0.25);
        let mut driver = Driver::builder(config(0.999).init(), 0.1)
            .with_driven("beta_2", falling.clone())
            .with_group(rest)
            .bind(&net)
            .unwrap();
        let (mut driven, mut by_hand) = (net.clone(), net);
        let mut records = [config(0.9).init(), config(0.25).init()].map(|optim| optim.to_record());
        for t in 0..6 {
            let grads = driven.grads(t, &ALL, inner, dtype);
            let report;
            (driven, report) = driver.step(driven, grads).unwrap();
            let beta_2 = falling.value(t as u64);
            assert_eq!(report.driven["beta_2"], beta_2, "{label}");
            assert!(report.to_string().contains(", beta_2 "), "{report}");
            for (at, (of, beta_2)) in [(&[0, 2][..], beta_2), (&[1], 0.25)]
                .into_iter()
                .enumerate()
            {
                let record = std::mem::take(&mut records[at]);
                let mut optim = config(beta_2).init().load_record(record);
                let grads = by_hand.grads(t, of, inner, dtype);
                by_hand = optim.step(0.1, by_hand, grads);
                records[at] = optim.to_record();
            }
        }
        assert_eq!(driven.values(), by_hand.values(), "{label}");
    });
}

#[test]
fn what_cannot_be_driven_is_refused_with_its_name() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let adam = || Driver::builder(optim::AdamConfig::new().init(), 0.1);
    let error = |driver: DriverBuilder| driver.bind(&net).unwrap_err();
    let refused = error(adam().with_driven("beta_3", 0.5));
    let (path, what) = ("weight".into(), "beta_3".to_string());
    assert_eq!(refused, BindError::NotDriven { path, what });
    let refused = error(adam().with_driven("beta_1", 0.5).with_momentum(0.5));
    let (path, what) = ("weight".into(), "beta_1".to_string());
    assert_eq!(refused, BindError::DrivenTwice { path, what });
    let refused = error(adam().with_driven("beta_2", 1.0));
    assert_eq!(
        refused.to_string(),
        "`beta_2` must be at least 0 and below 1, got 1"
    );
    let group = Group::new("all", Select::all()).with_driven("beta_2", f64::NAN);
    let refused = error(adam().with_group(group));
    assert!(
        refused
            .to_string()
            .contains("beta_2 of a group` must be finite"),
        "{refused}"
    );
}

#[test]
fn a_driven_number_that_leaves_its_range_moves_nothing() {
    let device = devices().remove(0).device;
    let net = Net::new(1, &device, DType::F32);
    let rising = LinearConfig::new(0.9, 1.1, 2).try_build().unwrap();
    let mut driver = Driver::builder(optim::AdamConfig::new().init(), 0.1)
        .with_driven("beta_2", rising)
        .bind(&net)
        .unwrap();
    let net = train(&mut driver, net, 0..1, &device, DType::F32);
    let (values, state) = (net.values(), canonical_bytes(driver.optimizer()).unwrap());
    let grads = net.grads(1, &ALL, &device, DType::F32);
    let error = driver.step(net, grads).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`beta_2` must be at least 0 and below 1"),
        "{error}"
    );
    assert_eq!(error.model.values(), values);
    assert_eq!(canonical_bytes(driver.optimizer()).unwrap(), state);
}

#[test]
fn a_rate_that_changes_is_refused_where_it_does_nothing() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let falling = || LinearConfig::new(0.1, 0.01, 4).try_build().unwrap();
    let ignored = |path: &str| BindError::RateIgnored { path: path.into() };
    for config in ["rprop", "cocob"] {
        let optim = || {
            OptimizerConfig::by_name(config)
                .unwrap()
                .try_init()
                .unwrap()
        };
        let refused = |rate: Rate| Driver::builder(optim(), rate).bind(&net).err();
        assert_eq!(refused(0.1.into()), None);
        let constant = ScheduleConfig::constant(0.1).try_build().unwrap();
        assert_eq!(refused(constant.into()), None);
        assert_eq!(refused(falling().into()), Some(ignored("weight")));
        let scheduler = ModuleLrScheduler::new(0.1);
        assert_eq!(refused(scheduler.into()), Some(ignored("weight")));
    }
    // Only the bias has it.
    let rprop = optim::RpropConfig::new().build();
    let bias = || Group::new("bias", Select::name("bias")).with_optimizer(rprop.clone());
    let bound = |group: Group| {
        let adam = Driver::builder(optim::AdamConfig::new().init(), falling());
        adam.with_group(group).bind(&net).err()
    };
    assert_eq!(bound(bias()), Some(ignored("bias")));
    assert_eq!(bound(bias().with_learning_rate(0.1)), None);
    assert_eq!(bound(bias().frozen()), None);
}

/// Through a wrapper a number reaches the optimizer inside.
#[test]
fn numbers_of_the_optimizer_inside_a_wrapper_are_driven_too() {
    let device = devices().remove(0);
    let net = Net::new(1, &device.device, DType::F32);
    let config = |beta_2: f64| {
        let inner: Value = json!({"name": "adam", "beta_2": beta_2});
        let json = json!({"name": "lookahead", "k": 2, "optimizer": inner});
        OptimizerConfig::from_json(&json.to_string())
            .unwrap()
            .try_init()
            .unwrap()
    };
    let expected = after(Driver::builder(config(0.5), 0.1), &net, &device);
    let driven = Driver::builder(config(0.9), 0.1).with_driven("beta_2", 0.5);
    assert_eq!(after(driven, &net, &device), expected);
}
