//! Optimizers in a Burn module, as users have them: records, missing gradients, frozen parameters,
//! clipping, and burn-optim's own optimizers beside them.

use std::process::Command;

use crate::common::net::{ALL, Net, make};
use crate::common::rows::{ROWS, rows_alone_on};
use crate::common::{devices, values_of};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, Device};
use downhill::optim::{self, OptimizerConfig, canonical_bytes, state_bytes};
use downhill::rule::{Clock, Numbers, Rule, Scalar, Slot, Step, Value};
use downhill_problems::mlp::MlpConfig;

/// Runs every configuration on every device and precision.
fn for_all(mut test: impl FnMut(&str, f64, &dyn Fn() -> ModuleOptimizer, &Device, DType)) {
    for device in devices() {
        for dtype in device.dtypes {
            for row in rows_alone_on(&device) {
                for (label, config) in row.configs() {
                    let label = format!("{label} on {} in {dtype:?}", device.name);
                    let make = || config.try_init().unwrap();
                    test(&label, row.lr, &make, &device.device, *dtype);
                }
            }
        }
    }
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    for_all(|label, lr, make, device, dtype| {
        let mut optim = make();
        let mut net = Net::new(1, device, dtype);
        for t in 0..3 {
            let grads = net.grads(t, &ALL, device, dtype);
            net = optim.step(lr, net, grads);
        }
        let bytes = optim.into_bytes().unwrap();
        let mut resumed_optim = make().from_bytes(bytes).unwrap();
        let mut resumed = net.clone();
        for t in 3..6 {
            let grads = net.grads(t, &ALL, device, dtype);
            net = optim.step(lr, net, grads);
            let grads = resumed.grads(t, &ALL, device, dtype);
            resumed = resumed_optim.step(lr, resumed, grads);
        }
        assert_eq!(net.values(), resumed.values(), "{label}");
        assert_eq!(
            canonical_bytes(&optim).unwrap().to_vec(),
            canonical_bytes(&resumed_optim).unwrap().to_vec(),
            "{label}: the state"
        );
    });
}

#[test]
fn equal_states_are_saved_as_equal_bytes() {
    for_all(|label, lr, make, device, dtype| {
        let mut optim = make();
        let mut net = Net::new(1, device, dtype);
        for t in 0..2 {
            let grads = net.grads(t, &ALL, device, dtype);
            net = optim.step(lr, net, grads);
        }
        let bytes = canonical_bytes(&optim).unwrap().to_vec();
        assert_eq!(
            bytes,
            canonical_bytes(&optim.clone()).unwrap().to_vec(),
            "{label}"
        );
        let loaded = make().from_bytes(optim.into_bytes().unwrap()).unwrap();
        assert_eq!(
            bytes,
            canonical_bytes(&loaded).unwrap().to_vec(),
            "{label}: loaded"
        );
    });
}

/// The second half of [`a_run_is_resumed_in_a_fresh_process`], run by it as a process of its own.
#[test]
fn resume_in_this_process() {
    let Ok(folder) = std::env::var("DOWNHILL_TEST_RESUME") else {
        return;
    };
    let device = &devices()[0].device;
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        let mut optim = row.config(&row.configs[0]).try_init().unwrap();
        let path = |what: &str| format!("{folder}/{}-{what}", row.name);
        optim = optim.load(path("optim")).unwrap();
        // Other values and other identities, until the record is loaded.
        let mut net = Net::new(50, device, DType::F32);
        net = net.try_load_file(path("net")).unwrap();
        for t in 3..6 {
            let grads = net.grads(t, &ALL, device, DType::F32);
            net = optim.step(row.lr, net, grads);
        }
        let expected: [Vec<f64>; 3] =
            serde_json::from_str(&std::fs::read_to_string(path("values")).unwrap()).unwrap();
        assert_eq!(net.values(), expected, "{}", row.name);
    }
    std::fs::write(format!("{folder}/done"), "").unwrap();
}

#[test]
fn a_run_is_resumed_in_a_fresh_process() {
    let folder = std::env::temp_dir().join(format!("downhill-resume-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let device = &devices()[0].device;
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        let mut optim = row.config(&row.configs[0]).try_init().unwrap();
        let path = |what: &str| folder.join(format!("{}-{what}", row.name));
        let mut net = Net::new(1, device, DType::F32);
        for t in 0..6 {
            if t == 3 {
                optim.save(path("optim")).unwrap();
                net.clone().save_file(path("net")).unwrap();
            }
            let grads = net.grads(t, &ALL, device, DType::F32);
            net = optim.step(row.lr, net, grads);
        }
        let values = serde_json::to_string(&net.values()).unwrap();
        std::fs::write(path("values"), values).unwrap();
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "module::resume_in_this_process", "--nocapture"])
        .env("DOWNHILL_TEST_RESUME", &folder)
        .status()
        .unwrap();
    assert!(status.success());
    assert!(
        folder.join("done").exists(),
        "the second process did nothing"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn without_gradients_nothing_happens() {
    for_all(|label, lr, make, device, dtype| {
        let mut optim = make();
        let net = Net::new(1, device, dtype);
        let before = net.values();
        let net = optim.step(lr, net, GradientsParams::new());
        assert_eq!(net.values(), before, "{label}");
        assert_eq!(state_bytes(&optim).unwrap(), 0, "{label}");
    });
}

/// A parameter without a gradient keeps its value, its state and its own step counter.
#[test]
fn a_missing_gradient_leaves_its_parameter_alone() {
    for_all(|label, lr, make, device, dtype| {
        let (mut with_gap, mut without) = (make(), make());
        let mut net = Net::new(1, device, dtype);
        let mut other = net.clone();
        for t in 0..4 {
            // The bias misses its gradient in the middle of the run.
            let of: &[usize] = if t == 2 { &[0, 2] } else { &ALL };
            let bias_before = net.values()[1].clone();
            let grads = net.grads(t, of, device, dtype);
            net = with_gap.step(lr, net, grads);
            if t == 2 {
                assert_eq!(net.values()[1], bias_before, "{label}");
            }
        }
        // For the bias it was a run of three steps.
        for t in [0, 1, 3] {
            let grads = other.grads(t, &[1], device, dtype);
            other = without.step(lr, other, grads);
        }
        assert_eq!(net.values()[1], other.values()[1], "{label}");
    });
}

#[test]
fn frozen_parameters_stay_and_go_on_where_they_were() {
    for device in devices() {
        for row in rows_alone_on(&device) {
            let mut optim = row.config(&row.configs[0]).try_init().unwrap();
            let mut net = Net::new(1, &device.device, DType::F32);
            let train = |net: &Net| {
                let loss = (net.weight.val() - 1.0).powi_scalar(2).sum()
                    + (net.bias.val() - 1.0).powi_scalar(2).sum()
                    + (net.kernel.val() - 1.0).powi_scalar(2).sum();
                GradientsParams::from_grads(loss.backward(), net)
            };
            let grads = train(&net);
            net = optim.step(row.lr, net, grads);
            net.bias = net.bias.set_require_grad(false);
            let frozen = net.values();
            for _ in 0..row.waits + 3 {
                let grads = train(&net);
                net = optim.step(row.lr, net, grads);
            }
            let label = format!("{} on {}", row.name, device.name);
            assert_eq!(net.values()[1], frozen[1], "{label}");
            assert_ne!(net.values()[0], frozen[0], "{label}");
            net.bias = net.bias.set_require_grad(true);
            for _ in 0..row.waits + 1 {
                let grads = train(&net);
                net = optim.step(row.lr, net, grads);
            }
            assert_ne!(net.values()[1], frozen[1], "{label}: thawed");
        }
    }
}

/// A record of another optimizer starts that parameter afresh, as Burn does with what it cannot read.
#[test]
fn the_state_of_another_optimizer_is_not_used() {
    let device = &devices()[0].device;
    let run = |optim: &mut ModuleOptimizer, net: Net| {
        let grads = net.grads(9, &ALL, device, DType::F32);
        optim.step(0.01, net, grads).values()
    };
    for from in ROWS.iter().filter(|row| row.is_alone()) {
        let mut source = from.config(&from.configs[0]).try_init().unwrap();
        let net = Net::new(1, device, DType::F32);
        let grads = net.grads(0, &ALL, device, DType::F32);
        let net = source.step(0.01, net, grads);
        let bytes = source.into_bytes().unwrap();
        for to in ROWS.iter().filter(|row| row.is_alone()) {
            let config = to.config(&to.configs[0]);
            let mut loaded = config
                .try_init()
                .unwrap()
                .from_bytes(bytes.clone())
                .unwrap();
            let mut fresh = config.try_init().unwrap();
            let (loaded, fresh) = (run(&mut loaded, net.clone()), run(&mut fresh, net.clone()));
            assert!(loaded.iter().flatten().all(|x| x.is_finite()));
            let names = from.state_names().into_iter().zip(to.state_names());
            if names.into_iter().all(|(from, to)| from != to) {
                assert_eq!(loaded, fresh, "{} read as {}", from.name, to.name);
            }
        }
    }
}

#[test]
fn gradient_clipping_is_burns_and_is_applied() {
    let device = &devices()[0].device;
    for row in ROWS
        .iter()
        .filter(|row| row.is_alone() && !row.goes_by_sign)
    {
        let run = |clipping: Option<GradientClippingConfig>| {
            let mut json = serde_json::to_value(row.config("{}")).unwrap();
            json["grad_clipping"] = serde_json::to_value(clipping).unwrap();
            let config = OptimizerConfig::from_json(&json.to_string()).unwrap();
            let mut optim = config.try_init().unwrap();
            let mut net = Net::new(1, device, DType::F32);
            for t in 0..2 + usize::try_from(row.waits).unwrap() {
                let grads = net.grads(t, &ALL, device, DType::F32);
                net = optim.step(row.lr, net, grads);
            }
            net.values()
        };
        let clipped = run(Some(GradientClippingConfig::Value(0.1)));
        assert_ne!(run(None), clipped, "{}", row.name);
        assert_ne!(
            run(Some(GradientClippingConfig::Norm(0.1))),
            clipped,
            "{}",
            row.name
        );
    }
}

/// `burn()` presets beside burn-optim's own optimizers, 60 steps of a real module.
#[test]
fn burn_presets_follow_burn() {
    use burn::optim::momentum::MomentumConfig;
    type Make = fn() -> ModuleOptimizer;
    let pairs: [(&str, Make, Make, f64); 7] = [
        (
            "sgd",
            || optim::SgdConfig::new().init(),
            || burn::optim::SgdConfig::new().init(),
            0.05,
        ),
        (
            "sgd with momentum",
            || optim::SgdConfig::burn().init(),
            || {
                burn::optim::SgdConfig::new()
                    .with_momentum(Some(MomentumConfig::new()))
                    .init()
            },
            0.05,
        ),
        (
            "adagrad",
            || optim::AdaGradConfig::burn().init(),
            || burn::optim::AdaGradConfig::new().init(),
            0.05,
        ),
        (
            "rmsprop",
            || optim::RmsPropConfig::burn().init(),
            || burn::optim::RmsPropConfig::new().init(),
            1e-3,
        ),
        (
            "adam",
            || optim::AdamConfig::burn().init(),
            || burn::optim::AdamConfig::new().init(),
            0.01,
        ),
        (
            "adamw",
            || optim::AdamWConfig::burn().init(),
            || burn::optim::AdamWConfig::new().init(),
            0.01,
        ),
        (
            "adafactor",
            || optim::AdafactorConfig::burn().init(),
            || burn::optim::AdafactorConfig::new().init(),
            0.01,
        ),
    ];
    let device = &devices()[0].device.clone().autodiff();
    for (name, ours, burns, lr) in pairs {
        let (mut our_optim, mut burn_optim) = (ours(), burns());
        let batch = downhill_problems::data::deck().batch(device);
        let mut one = MlpConfig::new(20, 8, 3).init(1, device);
        let mut two = one.clone();
        for _ in 0..60 {
            let loss = one.loss(&batch);
            let grads = GradientsParams::from_grads(loss.backward(), &one);
            one = our_optim.step(lr, one, grads);
            let loss = two.loss(&batch);
            let grads = GradientsParams::from_grads(loss.backward(), &two);
            two = burn_optim.step(lr, two, grads);
        }
        // Burn computes bias corrections and settings in f32, off by up to 3e-5 of a step, and
        // training carries that on; a wrong formula is off by whole steps.
        assert_follows(name, &values_of(&one), &values_of(&two), 1e-2 * lr);

        // Tensors of rank 1, 2 and 4 under the same gradients, without the feedback of training.
        let (mut our_optim, mut burn_optim) = (ours(), burns());
        let inner = &devices()[0].device;
        let mut one = Net::new(1, inner, DType::F32);
        let mut two = one.clone();
        for t in 0..60 {
            let grads = one.grads(t, &ALL, inner, DType::F32);
            one = our_optim.step(lr, one, grads);
            let grads = two.grads(t, &ALL, inner, DType::F32);
            two = burn_optim.step(lr, two, grads);
        }
        assert_follows(name, &values_of(&one), &values_of(&two), 5e-3 * lr);
    }
}

fn assert_follows(name: &str, ours: &[f64], burns: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), burns.len());
    for (ours, burns) in ours.iter().zip(burns) {
        assert!(
            (ours - burns).abs() <= tolerance,
            "{name}: {ours} instead of {burns}"
        );
    }
}

#[test]
fn the_state_is_as_large_as_the_table_says() {
    let device = &devices()[0].device;
    let numbers = |json: &str| {
        let config = OptimizerConfig::from_json(json).unwrap();
        let mut optim = config.try_init().unwrap();
        let net = Net::new(1, device, DType::F32);
        let grads = net.grads(0, &ALL, device, DType::F32);
        optim.step(0.01, net, grads);
        state_bytes(&optim).unwrap() / 4
    };
    let n = 12 + 3 + 24;
    for (json, expected) in [
        (r#"{"name": "sgd"}"#, 0),
        (r#"{"name": "sgd", "momentum": 0.9}"#, n),
        (r#"{"name": "adagrad"}"#, n),
        (r#"{"name": "rmsprop"}"#, n),
        (r#"{"name": "rmsprop", "centered": true}"#, 2 * n),
        (
            r#"{"name": "rmsprop", "centered": true, "momentum": 0.9}"#,
            3 * n,
        ),
        (r#"{"name": "adam"}"#, 2 * n),
        (r#"{"name": "adam", "amsgrad": true}"#, 3 * n),
        (r#"{"name": "adamw"}"#, 2 * n),
        (r#"{"name": "nadam"}"#, 2 * n),
        // [4, 3]: 4 rows, 3 columns; [2, 2, 3, 2]: 4 matrices of 3 rows, 2 columns; [3] in full.
        (r#"{"name": "adafactor"}"#, 7 + 4 * 5 + 3),
        (r#"{"name": "adafactor", "beta_1": 0.9}"#, 7 + 4 * 5 + 3 + n),
        (r#"{"name": "came"}"#, n + 2 * (7 + 4 * 5) + 3),
        // By outputs: 3 columns, all of a vector, 2 of the first dimension.
        (r#"{"name": "adam_mini"}"#, n + 3 + 1 + 2),
        // The first dimension against all others.
        (r#"{"name": "sm3"}"#, 7 + (2 + 12) + 3),
        (r#"{"name": "ldog"}"#, n + 3 * 2),
        (r#"{"name": "slides_momentum"}"#, n),
        (r#"{"name": "slides_nadam"}"#, 2 * n),
        (r#"{"name": "slides_adafactor"}"#, 7 + 4 * 5 + 3),
    ] {
        assert_eq!(numbers(json), expected, "{json}");
    }
}

#[test]
fn the_order_of_the_parameters_does_not_matter() {
    let device = &devices()[0].device;
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        let alone = |index: usize| {
            let mut optim = row.config(&row.configs[0]).try_init().unwrap();
            let mut net = Net::new(1, device, DType::F32);
            for t in 0..3 {
                let grads = net.grads(t, &[index], device, DType::F32);
                net = optim.step(row.lr, net, grads);
            }
            net.values()[index].clone()
        };
        let mut optim = row.config(&row.configs[0]).try_init().unwrap();
        let mut net = Net::new(1, device, DType::F32);
        for t in 0..3 {
            let grads = net.grads(t, &ALL, device, DType::F32);
            net = optim.step(row.lr, net, grads);
        }
        for index in ALL {
            assert_eq!(net.values()[index], alone(index), "{}", row.name);
        }
    }
}

/// A step that is refused says why, before anything is written.
#[test]
fn bad_learning_rates_and_shapes_are_refused_in_words() {
    let device = &devices()[0].device;
    let refused = |lr: f64, grad_shape: &'static [usize]| {
        let device = device.clone();
        let result = std::panic::catch_unwind(move || {
            let mut optim = optim::AdamConfig::new().init();
            let net = Net::new(1, &device, DType::F32);
            let mut grads = GradientsParams::new();
            grads.register(net.weight.id, make::<2>(1, grad_shape, &device, DType::F32));
            optim.step(lr, net, grads);
        });
        *result.unwrap_err().downcast::<String>().unwrap()
    };
    for lr in [f64::NAN, f64::INFINITY, -1.0] {
        let message = refused(lr, &[4, 3]);
        assert!(
            message.contains("learning rate must be finite"),
            "{message}"
        );
        assert!(message.contains(&lr.to_string()), "{message}");
    }
    for shape in [&[3, 4], &[1, 3]] {
        let message = refused(0.1, shape);
        assert!(
            message.contains("gradient must have its parameter's shape"),
            "{message}"
        );
    }
}

/// A rule whose own scalar has the name of the step counter.
#[derive(Clone)]
struct Counting;

impl Numbers for Counting {}

impl Rule for Counting {
    type State<V: Value> = [V; 0];
    type Coefs = ();
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }
    fn memory(&self) -> Vec<Scalar> {
        vec![Scalar::new("step", 0.5)]
    }
    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        clock.memory[0] *= 2.0;
        Step::new(clock.lr * clock.memory[0] * clock.t(), ())
    }
    fn direction<V: Value>(_: &(), _: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (grad, state)
    }
}

#[test]
fn names_of_a_rule_do_not_meet_the_records_own() {
    let device = &devices()[0].device;
    let make = || ModuleOptimizer::from(optim::RuleOptimizer::new(Counting));
    let mut net = Net::new(1, device, DType::F32);
    let (mut through, mut optim) = (make(), make());
    let mut other = net.clone();
    for t in 0..4 {
        let grads = net.grads(t, &ALL, device, DType::F32);
        net = through.step(0.1, net, grads);
        let grads = other.grads(t, &ALL, device, DType::F32);
        other = optim.step(0.1, other, grads);
        optim = make().from_bytes(optim.into_bytes().unwrap()).unwrap();
    }
    assert_eq!(net.values(), other.values());
}
