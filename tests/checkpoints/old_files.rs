//! Checkpoints and records of earlier versions, of every optimizer that they had.

use burn::module::ParamId;
use downhill::optim::canonical_bytes;

use super::*;

/// What was configured, as JSON.
const CONFIGS: &[&str] = &[
    r#"{"name": "sgd"}"#,
    r#"{"name": "sgd", "momentum": 0.9, "nesterov": true, "weight_decay": 0.1, "decoupled_weight_decay": true}"#,
    r#"{"name": "sgd", "momentum": 0.9, "velocity": true, "maximize": true}"#,
    r#"{"name": "adagrad", "initial_accumulator_value": 0.5, "lr_decay": 0.1, "weight_decay": 0.1}"#,
    r#"{"name": "rmsprop", "centered": true, "momentum": 0.5, "epsilon_inside_root": true}"#,
    r#"{"name": "adam", "weight_decay": 0.1, "grad_clipping": {"Norm": 0.5}}"#,
    r#"{"name": "adam", "amsgrad": true, "maximize": true}"#,
    r#"{"name": "adamw", "beta_1": 0.8}"#,
    r#"{"name": "nadam", "decoupled_weight_decay": true, "weight_decay": 0.1}"#,
    r#"{"name": "nadam", "variant": "optax"}"#,
    r#"{"name": "adafactor"}"#,
    r#"{"name": "adafactor", "variant": "hf", "beta_1": 0.9, "weight_decay": 0.1, "clip_threshold": null}"#,
    r#"{"name": "slides_momentum"}"#,
    r#"{"name": "slides_nadam"}"#,
    r#"{"name": "slides_adafactor"}"#,
];

/// A net whose parameters have the same ids in every process.
fn net() -> Net {
    let net = Net::new(1, &device(), DType::F32);
    Net {
        weight: Param::initialized(ParamId::from(1), net.weight.val()),
        bias: Param::initialized(ParamId::from(2), net.bias.val()),
        kernel: Param::initialized(ParamId::from(3), net.kernel.val()),
    }
}

/// Calls `check` with each configuration, and the name of its files.
fn for_each(check: impl Fn(&OptimizerConfig, &str)) {
    for (index, json) in CONFIGS.iter().enumerate() {
        let config = OptimizerConfig::from_json(json).unwrap();
        check(&config, &format!("{index:02}_{}", config.name()));
    }
}

/// The files come from another machine, whose C library may round a logarithm to another last digit, and from
/// versions that added up some sums in another order.
fn assert_close(name: &str, found: &Net, expected: &Net) {
    let (found, expected) = (found.values().concat(), expected.values().concat());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 1e-5 * expected.abs(),
            "{name}: {found}, {expected}"
        );
    }
}

fn old(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoint_files/0.1");
    folder.join(name)
}

#[test]
fn checkpoints_of_every_optimizer_go_on() {
    for_each(|config, name| {
        let path = old(&format!("{name}.ckpt"));
        let mut own = driver(config, 0.1, &net());
        let trained = train(&mut own, net(), 0..3, &device(), DType::F32);
        if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
            own.save(&trained, &path).unwrap();
        }
        let mut resumed = driver(config, 0.1, &net());
        let loaded = resumed.load(net(), &path).unwrap();
        assert_close(name, &loaded, &trained);
        let loaded = train(&mut resumed, loaded, 3..6, &device(), DType::F32);
        let trained = train(&mut own, trained, 3..6, &device(), DType::F32);
        assert_close(name, &loaded, &trained);
    });
}

#[test]
fn records_of_every_optimizer_are_the_same_and_go_on() {
    for_each(|config, name| {
        let step = |optim: &mut burn::optim::ModuleOptimizer, net: Net, t| {
            let grads = net.grads(t, &ALL, &device(), DType::F32);
            optim.step(0.1, net, grads)
        };
        let path = old(&format!("{name}.bpk"));
        let mut own = config.try_init().unwrap();
        let mut trained = net();
        for t in 0..3 {
            trained = step(&mut own, trained, t);
        }
        let bytes = canonical_bytes(&own).unwrap();
        if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &*bytes).unwrap();
        }
        let old = std::fs::read(&path).unwrap();
        // Of an optimizer that looks at sums the numbers may differ in the last digit, but nothing else.
        assert_eq!(old.len(), bytes.len(), "{name}: another record");
        let same = old == bytes.to_vec();
        assert!(
            same || !crate::common::behaviour::is_elementwise(config),
            "{name}: the record has other bytes"
        );
        let old = burn::tensor::Bytes::from_bytes_vec(old);
        let mut resumed = config.try_init().unwrap().from_bytes(old).unwrap();
        let mut loaded = trained.clone();
        for t in 3..6 {
            trained = step(&mut own, trained, t);
            loaded = step(&mut resumed, loaded, t);
        }
        match same {
            true => assert_eq!(loaded.values(), trained.values(), "{name}"),
            false => assert_close(name, &loaded, &trained),
        }
    });
}
