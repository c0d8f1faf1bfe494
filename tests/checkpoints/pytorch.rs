//! States of PyTorch's optimizers, as torch 2.15 has saved them (`tools/golden/pytorch_states.py`).

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::TensorData;
use downhill::train::{Group, PyTorchError, PyTorchStates, Select};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;

#[derive(Module, Debug)]
struct Two {
    hidden: Linear,
    output: Linear,
}

/// Numbers by PyTorch's names of the parameters.
type Params = BTreeMap<String, Vec<f64>>;

#[derive(Deserialize, Serialize)]
struct Case {
    config: Value,
    start: Params,
    end: Params,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints/pytorch")
}

/// The cases in a folder, and PyTorch's version if it is told.
fn cases_in(folder: &Path) -> (BTreeMap<String, Case>, Option<Value>) {
    let text = fs::read_to_string(folder.join("expected.json")).unwrap();
    let mut all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let version = all.remove("torch");
    let read = |(name, case)| (name, serde_json::from_value(case).unwrap());
    (all.into_iter().map(read).collect(), version)
}

fn cases() -> BTreeMap<String, Case> {
    let (cases, version) = cases_in(&folder());
    assert!(version.unwrap().as_str().unwrap().starts_with("2.15"));
    assert_eq!(cases.len(), 15);
    cases
}

impl Case {
    fn config(&self) -> OptimizerConfig {
        OptimizerConfig::from_json(&self.config.to_string()).unwrap()
    }
}

/// The settings with which PyTorch trained.
fn config(name: &str) -> OptimizerConfig {
    cases()[name].config()
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

fn bound<M: Module>(model: &M, config: &OptimizerConfig) -> Driver {
    let optim = config.try_init().unwrap();
    Driver::builder(optim, 0.01).bind(model).unwrap()
}

fn train(mut model: Two, driver: &mut Driver, steps: Range<usize>, device: &Device) -> Two {
    for t in steps {
        let grads = grads(&model, t, device);
        model = driver.step(model, grads).unwrap().0;
    }
    model
}

/// The parameters as PyTorch has them.
fn params(model: &Two) -> Params {
    let of = |layer: &Linear| {
        let bias = layer.bias.as_ref().unwrap().to_data();
        [layer.weight.val().transpose().into_data(), bias]
    };
    let all = [of(&model.hidden), of(&model.output)].into_iter().flatten();
    let named = SHAPES.iter().zip(all);
    named
        .map(|((path, _), data)| (path.to_string(), data.iter::<f64>().collect()))
        .collect()
}

fn assert_near(name: &str, found: &Params, expected: &Params) {
    for (path, expected) in expected {
        for (found, expected) in found[path].iter().zip(expected) {
            let distance = (found - expected).abs();
            assert!(
                distance <= 1e-6,
                "{name}: {path} is {found}, not {expected}"
            );
        }
    }
}

/// Twenty steps after PyTorch's ten end where PyTorch's own thirty do.
#[test]
fn a_training_goes_on_from_pytorch() {
    let cases = cases();
    for device in devices() {
        let device = &device.device;
        for (name, case) in &cases {
            let model = model(&case.start, device);
            let mut driver = bound(&model, &case.config());
            let states = PyTorchStates::open(folder().join(format!("{name}.pt")), None).unwrap();
            let report = driver.load_pytorch(&model, &states).unwrap();
            assert_eq!(report.taken.len(), 4, "{name}");
            assert_eq!(report.learning_rates, [Some(0.01)], "{name}");
            let differences: &[&str] = match name.as_str() {
                "came" => &["group 0: `RMS` is not needed here"],
                _ => &[],
            };
            assert_eq!(report.differences, differences, "{name}");
            // Gradient descent counts no steps there.
            let updates = if name == "sgd" { 0 } else { 10 };
            assert_eq!(driver.updates(), updates, "{name}");
            let model = train(model, &mut driver, 10..30, device);
            assert_near(name, &params(&model), &case.end);
        }
    }
}

/// Where the files for PyTorch to go on from are.
fn written() -> PathBuf {
    folder().join("written")
}

/// Twenty steps in PyTorch, from what was written here after ten, end where twenty more end here.
#[test]
fn a_training_goes_back_to_pytorch() {
    let device = device();
    let write = std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some();
    let scratch = std::env::temp_dir().join(format!("downhill-written-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let mut begun = BTreeMap::new();
    for (name, case) in cases() {
        let model = model(&case.start, &device);
        let mut driver = bound(&model, &case.config());
        let model = train(model, &mut driver, 0..10, &device);
        let states = driver.pytorch_states(&model).unwrap();
        let mut ends = Vec::new();
        for kind in ["pt", "safetensors"] {
            let file = format!("{name}.{kind}");
            let saved = scratch.join(&file);
            states.save(&saved).unwrap();
            let read = PyTorchStates::open(&saved, None).unwrap();
            assert_eq!(read, states, "{file}");
            if write {
                fs::create_dir_all(written()).unwrap();
                fs::copy(&saved, written().join(&file)).unwrap();
            }
            // The files that PyTorch went on from are these.
            let theirs = PyTorchStates::open(written().join(&file), None).unwrap();
            let mut from_theirs = bound(&model, &case.config());
            let report = from_theirs.load_pytorch(&model, &theirs).unwrap();
            assert_eq!(report.taken.len(), 4, "{file}");
            assert_eq!(report.learning_rates, [Some(0.01)], "{file}");
            assert!(
                report.differences.is_empty(),
                "{file}: {:?}",
                report.differences
            );
            assert_eq!(from_theirs.updates(), 10, "{file}");
            let end = train(model.clone(), &mut from_theirs, 10..30, &device);
            ends.push(params(&end));
        }
        let start = params(&model);
        let model = train(model, &mut driver, 10..30, &device);
        let end = params(&model);
        ends.iter()
            .for_each(|found| assert_near(&name, found, &end));
        begun.insert(
            name,
            Case {
                config: case.config,
                start,
                end,
            },
        );
    }
    fs::remove_dir_all(scratch).unwrap();
    if write {
        let text = serde_json::to_string_pretty(&begun).unwrap();
        fs::write(written().join("expected.json"), text + "\n").unwrap();
        return;
    }
    let (theirs, _) = cases_in(&written());
    assert_eq!(theirs.len(), begun.len());
    for (name, case) in theirs {
        assert_near(&name, &begun[&name].start, &case.start);
        assert_near(&name, &begun[&name].end, &case.end);
    }
}

/// Without the state, or with one that is not turned, the training ends elsewhere: the test above would notice.
#[test]
fn the_state_matters() {
    let device = device();
    let case = &cases()["adam"];
    let trained = |loaded: bool, order: Option<[&str; 4]>| {
        let model = model(&case.start, &device);
        let mut driver = bound(&model, &config("adam"));
        let mut states = PyTorchStates::open(folder().join("adam.pt"), None).unwrap();
        if let Some(order) = order {
            states = states.with_order(order);
        }
        if loaded {
            driver.load_pytorch(&model, &states).unwrap();
        }
        let model = train(model, &mut driver, 10..30, &device);
        params(&model)["output.bias"].clone()
    };
    let near = |found: &[f64]| {
        let pairs = found.iter().zip(&case.end["output.bias"]);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-6
    };
    assert!(near(&trained(true, None)));
    assert!(near(&trained(true, Some(SHAPES.map(|(path, _)| path)))));
    assert!(!near(&trained(false, None)));
    let swapped = [
        "hidden.weight",
        "output.bias",
        "output.weight",
        "hidden.bias",
    ];
    assert!(!near(&trained(true, Some(swapped))));
}

/// Groups without names need an order, names are one, and steps and rates are whatever they are.
#[test]
fn whatever_way_it_was_saved() {
    let device = device();
    let case = &cases()["adam"];
    let model = model(&case.start, &device);
    let open = |name: &str, key| PyTorchStates::open(folder().join(name), key).unwrap();
    let two_groups = || open("two_groups.pt", Some("optimizer"));
    let error = bound(&model, &case.config()).load_pytorch(&model, &two_groups());
    let error = error.unwrap_err();
    assert_eq!(error, PyTorchError::Order { groups: 2 });
    let order = [
        "hidden.bias",
        "output.bias",
        "hidden.weight",
        "output.weight",
    ];
    for (states, rates) in [
        (
            two_groups().with_order(order),
            &[Some(0.01), Some(0.01)][..],
        ),
        (open("named.pt", None), &[Some(0.01)]),
        (open("plain_step.pt", None), &[None]),
    ] {
        let mut driver = bound(&model, &case.config());
        let report = driver.load_pytorch(&model, &states).unwrap();
        assert_eq!(report.learning_rates, rates);
        assert!(report.differences.is_empty(), "{:?}", report.differences);
        assert_eq!(driver.updates(), 10);
        let end = train(model.clone(), &mut driver, 10..30, &device);
        assert_near("adam", &params(&end), &case.end);
    }
}

/// Groups of a driver are groups there, with what is driven of them.
#[test]
fn groups_are_written() {
    let device = device();
    let case = &cases()["adamw"];
    let model = model(&case.start, &device);
    let bind = |groups: Vec<Group>| {
        let optim = case.config().try_init().unwrap();
        let builder = Driver::builder(optim, 0.01).with_groups(groups);
        builder.bind(&model).unwrap()
    };
    let head = Group::new("head", Select::path("output.*")).with_learning_rate_factor(0.1);
    let mut driver = bind(vec![Group::no_decay(), head.clone()]);
    let model = train(model.clone(), &mut driver, 0..3, &device);
    let states = driver.pytorch_states(&model).unwrap();
    let mut again = bind(vec![Group::no_decay(), head.clone()]);
    let report = again.load_pytorch(&model, &states).unwrap();
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    let rates = [0.01, 0.01, 0.001, 0.001];
    let near = |(found, expected): (&Option<f64>, f64)| (found.unwrap() - expected).abs() < 1e-12;
    assert_eq!(report.learning_rates.len(), 4);
    assert!(report.learning_rates.iter().zip(rates).all(near));
    assert_eq!(again.states().unwrap(), driver.states().unwrap());
    let report = bind(vec![head]).load_pytorch(&model, &states).unwrap();
    assert_eq!(
        report.differences,
        [1, 3].map(|at| format!("group {at}: weight_decay is 0.0 in PyTorch, and 0.1 here"))
    );
}

/// What has no state there begins anew.
#[test]
fn a_parameter_without_a_state_begins_anew() {
    let device = device();
    let case = &cases()["adam"];
    let model = model(&case.start, &device);
    let fresh = bound(&model, &case.config())
        .pytorch_states(&model)
        .unwrap();
    let mut driver = bound(&model, &case.config());
    let model = train(model, &mut driver, 0..1, &device);
    let report = driver.load_pytorch(&model, &fresh).unwrap();
    assert!(report.taken.is_empty());
    assert_eq!(driver.states().unwrap().iter().count(), 0);
}

/// Norms have other names there, and one of matrices says how its steps are made.
#[test]
fn names_and_settings_are_theirs() {
    #[derive(Module, Debug)]
    struct Normed {
        norm: LayerNorm,
        linear: Linear,
    }

    let device = device().autodiff();
    let model = Normed {
        norm: LayerNormConfig::new(4).init(&device),
        linear: LinearConfig::new(4, 3).init(&device),
    };
    let optim = OptimizerConfig::by_name("muon").unwrap();
    let mut driver = bound(&model, &optim);
    let states = driver.pytorch_states(&model).unwrap();
    let text = format!("{states:?}");
    for said in [
        r#""param_names": Array [String("norm.weight"), String("norm.bias")"#,
        r#""ns_coefficients": Array [Number(3.4445), Number(-4.775), Number(2.0315)]"#,
        r#""adjust_lr_fn": Null"#,
        r#""eps": Number(1e-7)"#,
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let report = driver.load_pytorch(&model, &states).unwrap();
    assert!(report.differences.is_empty(), "{:?}", report.differences);
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
            "PyTorch's optimizer has 4 parameters, and here are 1",
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
    let whole = fs::read(written().join("adam.safetensors")).unwrap();
    let long = [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat();
    for (at, bytes) in [
        &b""[..],
        &whole[..whole.len() / 2],
        &whole[..40],
        &whole[1..],
        &long,
    ]
    .into_iter()
    .enumerate()
    {
        let file = scratch.join(format!("{at}.safetensors"));
        fs::write(&file, bytes).unwrap();
        let error = PyTorchStates::open(&file, None).unwrap_err();
        assert!(matches!(error, PyTorchError::File { .. }), "{at}: {error}");
    }
    // A model's, which has no groups, and a key, of which there are none.
    let model = scratch.join("model.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&model, [&length[..], header, &[0; 4]].concat()).unwrap();
    let error = PyTorchStates::open(&model, None).unwrap_err().to_string();
    assert!(
        error.contains("its metadata has no `param_groups`"),
        "{error}"
    );
    let error = PyTorchStates::open(written().join("adam.safetensors"), Some("optimizer"));
    assert!(error.unwrap_err().to_string().contains("no `optimizer`"));
    let missing = PyTorchStates::open(scratch.join("none.pt"), None).unwrap_err();
    assert!(matches!(missing, PyTorchError::File { .. }), "{missing}");
    let key = PyTorchStates::open(folder().join("adam.pt"), Some("optimizer")).unwrap_err();
    assert!(key.to_string().contains("optimizer"), "{key}");
    fs::remove_dir_all(scratch).unwrap();
}
