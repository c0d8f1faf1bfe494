//! States of PyTorch's optimizers, as torch 2.15 has saved them (`tools/golden/pytorch_states.py`).

use std::collections::BTreeMap;
use std::fs;

use burn::tensor::TensorData;
use downhill::train::{PyTorchError, PyTorchStates};
use serde::Deserialize;

use super::*;

#[derive(Module, Debug)]
struct Two {
    hidden: Linear,
    output: Linear,
}

/// Numbers by PyTorch's names of the parameters.
type Params = BTreeMap<String, Vec<f64>>;

#[derive(Deserialize)]
struct Case {
    start: Params,
    end: Params,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints/pytorch")
}

fn cases() -> BTreeMap<String, Case> {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    let mut all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(
        all.remove("torch")
            .unwrap()
            .as_str()
            .unwrap()
            .starts_with("2.15")
    );
    let read = |(name, case)| (name, serde_json::from_value(case).unwrap());
    all.into_iter().map(read).collect()
}

/// The settings with which PyTorch trained.
fn config(name: &str) -> OptimizerConfig {
    let settings = match name {
        "sgd" => r#", "momentum": 0.9"#,
        "adam" => r#", "betas": [0.8, 0.95], "eps": 1e-6"#,
        "adamw" => r#", "amsgrad": true, "weight_decay": 0.1"#,
        "rmsprop" => r#", "momentum": 0.5, "centered": true"#,
        "asgd" => r#", "t0": 15"#,
        _ => "",
    };
    OptimizerConfig::from_json(&format!(r#"{{"name": "{name}"{settings}}}"#)).unwrap()
}

const SHAPES: [(&str, [usize; 2]); 4] = [
    ("hidden.weight", [3, 4]),
    ("hidden.bias", [3, 1]),
    ("output.weight", [3, 3]),
    ("output.bias", [3, 1]),
];

/// A weight of PyTorch's as it lies here.
fn turned(values: &[f64], [outputs, inputs]: [usize; 2]) -> Vec<f64> {
    let at = (0..inputs).flat_map(|i| (0..outputs).map(move |o| o * inputs + i));
    at.map(|at| values[at]).collect()
}

fn matrix(values: &[f64], shape: [usize; 2], device: &Device) -> Tensor<2> {
    let data = TensorData::new(turned(values, shape), [shape[1], shape[0]]);
    Tensor::from_data(data.convert_dtype(DType::F32), device)
}

fn vector(values: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values).convert_dtype(DType::F32), device)
}

fn model(params: &Params, device: &Device) -> Two {
    let device = &device.clone().autodiff();
    let linear = |name: &str, shape: [usize; 2]| {
        let mut linear: Linear = LinearConfig::new(shape[1], shape[0]).init(device);
        let weight = matrix(&params[&format!("{name}.weight")], shape, device);
        linear.weight = Param::from_tensor(weight);
        let bias = vector(&params[&format!("{name}.bias")], device);
        linear.bias = Some(Param::from_tensor(bias));
        linear
    };
    Two {
        hidden: linear("hidden", SHAPES[0].1),
        output: linear("output", SHAPES[2].1),
    }
}

fn grads(model: &Two, t: usize, device: &Device) -> GradientsParams {
    let mut grads = GradientsParams::new();
    for (at, (name, shape)) in SHAPES.iter().enumerate() {
        let count = shape[0] * shape[1];
        let values = (0..count).map(|i| (0.7 * t as f64 + 0.3 * i as f64 + at as f64).cos());
        let values: Vec<f64> = values.collect();
        let layer = if name.starts_with("hidden") {
            &model.hidden
        } else {
            &model.output
        };
        match name.ends_with("weight") {
            true => grads.register(layer.weight.id, matrix(&values, *shape, device)),
            false => {
                let bias = layer.bias.as_ref().unwrap().id;
                grads.register(bias, vector(&values, device));
            }
        }
    }
    grads
}

fn bound(model: &Two, config: &OptimizerConfig) -> Driver {
    let optim = config.try_init().unwrap();
    Driver::builder(optim, 0.01).bind(model).unwrap()
}

/// Twenty steps after PyTorch's ten end where PyTorch's own thirty do.
#[test]
fn a_training_goes_on_from_pytorch() {
    let cases = cases();
    assert_eq!(cases.len(), 11);
    for device in devices() {
        let device = &device.device;
        for (name, case) in &cases {
            let mut model = model(&case.start, device);
            let mut driver = bound(&model, &config(name));
            let states = PyTorchStates::open(folder().join(format!("{name}.pt")), None).unwrap();
            let report = driver.load_pytorch(&model, &states).unwrap();
            assert_eq!(report.taken.len(), 4, "{name}");
            assert_eq!(report.learning_rates, [0.01], "{name}");
            assert!(
                report.differences.is_empty(),
                "{name}: {:?}",
                report.differences
            );
            // Gradient descent counts no steps there.
            let updates = if name == "sgd" { 0 } else { 10 };
            assert_eq!(driver.updates(), updates, "{name}");
            for t in 10..30 {
                let grads = grads(&model, t, device);
                model = driver.step(model, grads).unwrap().0;
            }
            let found = [
                model.hidden.weight.to_data(),
                model.hidden.bias.as_ref().unwrap().to_data(),
                model.output.weight.to_data(),
                model.output.bias.as_ref().unwrap().to_data(),
            ];
            for (found, (path, shape)) in found.iter().zip(SHAPES) {
                let expected = turned(&case.end[path], shape);
                for (found, expected) in found.iter::<f64>().zip(expected) {
                    let distance = (found - expected).abs();
                    assert!(
                        distance <= 1e-6,
                        "{name}: {path} is {found}, not {expected}"
                    );
                }
            }
        }
    }
}

/// Without the state, or with one that is not turned, the training ends elsewhere: the test above would notice.
#[test]
fn the_state_matters() {
    let device = device();
    let case = &cases()["adam"];
    let train = |loaded: bool, order: Option<[&str; 4]>| {
        let mut model = model(&case.start, &device);
        let mut driver = bound(&model, &config("adam"));
        let mut states = PyTorchStates::open(folder().join("adam.pt"), None).unwrap();
        if let Some(order) = order {
            states = states.with_order(order);
        }
        if loaded {
            driver.load_pytorch(&model, &states).unwrap();
        }
        for t in 10..30 {
            let grads = grads(&model, t, &device);
            model = driver.step(model, grads).unwrap().0;
        }
        let data = model.output.bias.unwrap().to_data();
        data.iter::<f64>().collect::<Vec<_>>()
    };
    let near = |found: &[f64]| {
        let pairs = found.iter().zip(&case.end["output.bias"]);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-6
    };
    assert!(near(&train(true, None)));
    assert!(near(&train(true, Some(SHAPES.map(|(path, _)| path)))));
    assert!(!near(&train(false, None)));
    let swapped = [
        "hidden.weight",
        "output.bias",
        "output.weight",
        "hidden.bias",
    ];
    assert!(!near(&train(true, Some(swapped))));
}

#[test]
fn what_differs_is_said() {
    let device = device();
    let model = model(&cases()["adam"].start, &device);
    let states = PyTorchStates::open(folder().join("adam.pt"), None).unwrap();
    let mut driver = bound(&model, &OptimizerConfig::by_name("adam").unwrap());
    let report = driver.load_pytorch(&model, &states).unwrap();
    assert_eq!(
        report.differences,
        [
            "group 0: beta_1 is 0.8 in PyTorch, and 0.9 here",
            "group 0: beta_2 is 0.95 in PyTorch, and 0.999 here",
            "group 0: epsilon is 1e-6 in PyTorch, and 1e-8 here",
        ]
    );
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let device = device();
    let model = model(&cases()["adam"].start, &device);
    let open = |name: &str| PyTorchStates::open(folder().join(format!("{name}.pt")), None);
    for (states, message) in [
        (
            open("sgd").unwrap(),
            "it has no `exp_avg`; there is momentum_buffer",
        ),
        (
            open("adamw").unwrap(),
            "the optimizer here has no `max_exp_avg_sq`",
        ),
        (
            open("adam").unwrap().with_order(["hidden.weight"]),
            "of 4 parameters, and 1 are given",
        ),
        (
            open("adam").unwrap().with_order(["a", "b", "c", "d"]),
            "the state of parameter 0 does not fit `a`: the model here does not train it",
        ),
        (
            open("adam").unwrap().with_order([
                "hidden.bias",
                "hidden.weight",
                "output.weight",
                "output.bias",
            ]),
            "`exp_avg` has the shape",
        ),
    ] {
        let mut driver = bound(&model, &config("adam"));
        let before = driver.checkpoint(&model).unwrap().to_bytes().unwrap();
        let error = driver
            .load_pytorch(&model, &states)
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(
            driver.checkpoint(&model).unwrap().to_bytes().unwrap(),
            before
        );
    }
}

/// Nothing in a file is run, and what is damaged is an error.
#[test]
fn hostile_files_are_refused() {
    let scratch = std::env::temp_dir().join(format!("downhill-pytorch-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let mark = scratch.join("mark");
    let command = format!("cos\nsystem\n(S'touch {}'\ntR.", mark.display());
    let whole = fs::read(folder().join("adam.pt")).unwrap();
    let mut flipped = whole.clone();
    for at in (0..flipped.len()).step_by(7) {
        flipped[at] ^= 0x55;
    }
    let contents: [&[u8]; 5] = [
        command.as_bytes(),
        b"",
        b"no pickle",
        &whole[..whole.len() / 2],
        &flipped,
    ];
    for (at, bytes) in contents.into_iter().enumerate() {
        let file = scratch.join(format!("{at}.pt"));
        fs::write(&file, bytes).unwrap();
        assert!(PyTorchStates::open(&file, None).is_err(), "{at}");
    }
    assert!(!mark.exists());
    let missing = PyTorchStates::open(scratch.join("none.pt"), None).unwrap_err();
    assert!(matches!(missing, PyTorchError::File { .. }), "{missing}");
    let key = PyTorchStates::open(folder().join("adam.pt"), Some("optimizer")).unwrap_err();
    assert!(key.to_string().contains("optimizer"), "{key}");
    fs::remove_dir_all(scratch).unwrap();
}
