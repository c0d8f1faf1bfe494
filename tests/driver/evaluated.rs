//! The model to evaluate, of optimizers that train another one.

use burn::optim::Optimizer;
use downhill::train::checkpoint::Checkpoint;
use downhill::train::evaluated;

use super::*;

/// Optimizers with such a view, and settings under which it shows at once.
const AVERAGES: &[&str] = &[
    r#"{"name": "asgd", "t0": 0.0, "lambd": 0.1}"#,
    r#"{"name": "schedule_free_sgd"}"#,
    r#"{"name": "schedule_free_adamw"}"#,
    r#"{"name": "schedule_free_radam", "silent_sgd_phase": false}"#,
    r#"{"name": "gpa_adamw"}"#,
    r#"{"name": "schedule_free", "optimizer": {"name": "rmsprop"}}"#,
    r#"{"name": "lookahead", "optimizer": {"name": "schedule_free_sgd"}}"#,
];

fn config(json: &str) -> OptimizerConfig {
    OptimizerConfig::from_json(json).unwrap()
}

/// What the optimizer itself says of one parameter, after the same steps.
fn alone(config: &OptimizerConfig, net: &Net, device: &Device, dtype: DType) -> Vec<f64> {
    let optim = config.try_build().unwrap();
    let mut param: Tensor<2> = net.weight.val().without_autodiff();
    let mut state = None;
    for t in 0..4 {
        let grad = net
            .grads(t, &ALL, device, dtype)
            .get::<2>(net.weight.id)
            .unwrap();
        (param, state) = optim.step(0.1, param, grad, state);
    }
    floats(optim.evaluated(param, &state.unwrap()).into_data())
}

#[test]
fn a_driver_has_the_model_to_evaluate_and_goes_on_as_if_it_had_not_been_asked() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        for json in AVERAGES {
            let (label, config) = (format!("{json} on {label}"), config(json));
            let net = Net::new(1, inner, dtype);
            let expected = alone(&config, &net, inner, dtype);
            let make = || {
                Driver::builder(config.try_init().unwrap(), 0.1)
                    .bind(&net)
                    .unwrap()
            };
            let (mut asked, mut other) = (make(), make());
            // Before the first step it is the model itself.
            assert_eq!(asked.evaluated(&net).values(), net.values(), "{label}");
            let trained = train(&mut asked, net.clone(), 0..4, inner, dtype);
            let found = asked.evaluated(&trained);
            assert_eq!(found.values()[0], expected, "{label}");
            assert_ne!(found.values(), trained.values(), "{label}");
            assert!(!found.weight.is_require_grad() && !found.weight.val().is_autodiff());
            let bare = evaluated(asked.optimizer(), &trained).unwrap();
            assert_eq!(bare.values(), found.values(), "{label}");
            drop((found, bare));

            let trained = train(&mut asked, trained, 4..6, inner, dtype);
            let straight = train(&mut other, net.clone(), 0..6, inner, dtype);
            assert_eq!(trained.values(), straight.values(), "{label}");
            let bytes = |driver: &Driver| canonical_bytes(driver.optimizer()).unwrap();
            assert_eq!(bytes(&asked), bytes(&other), "{label}");
        }
    });
}

#[test]
fn a_checkpoint_has_it_too() {
    let device = devices().remove(0).device;
    for json in AVERAGES {
        let config = config(json);
        let net = Net::new(1, &device, DType::F32);
        let make = || {
            Driver::builder(config.try_init().unwrap(), 0.1)
                .bind(&net)
                .unwrap()
        };
        let mut driver = make();
        let trained = train(&mut driver, net.clone(), 0..4, &device, DType::F32);
        let bytes = driver.checkpoint(&trained).unwrap().to_bytes().unwrap();
        let mut resumed = make();
        let checkpoint = Checkpoint::from_bytes(bytes).unwrap();
        let loaded = resumed.resume(net.clone(), &checkpoint).unwrap();
        let found = resumed.evaluated(&loaded).values();
        assert_eq!(found, driver.evaluated(&trained).values(), "{json}");
        assert_ne!(found, trained.values(), "{json}");
    }
}

#[test]
fn parameters_of_other_optimizers_are_the_models_own() {
    let device = devices().remove(0).device;
    let net = Net::new(1, &device, DType::F32);
    let theirs = burn::optim::AdamWConfig::new()
        .with_weight_decay(0.5)
        .build();
    let group = Group::new("bias", Select::name("bias")).with_optimizer(theirs);
    let frozen = Group::new("kernel", Select::name("kernel")).frozen();
    let optim = config(AVERAGES[1]).try_init().unwrap();
    let mut driver = Driver::builder(optim, 0.1)
        .with_groups([group, frozen])
        .bind(&net)
        .unwrap();
    let trained = train(&mut driver, net, 0..4, &device, DType::F32);
    let bare = evaluated(driver.optimizer(), &trained).unwrap();
    for found in [driver.evaluated(&trained), bare] {
        assert_ne!(found.values()[0], trained.values()[0]);
        assert_eq!(found.values()[1..], trained.values()[1..]);
    }
    let theirs = burn::optim::SgdConfig::new().init();
    assert_eq!(
        evaluated(&theirs, &trained).unwrap().values(),
        trained.values()
    );
}
