//! Names as people type them, of optimizers and of settings.

use downhill_optim::{AdamConfig, AdamWConfig, ConfigError, OptimizerConfig, SgdConfig};

fn read(json: &str) -> Result<OptimizerConfig, ConfigError> {
    OptimizerConfig::from_json(json)
}

fn error(json: &str) -> String {
    read(json).unwrap_err().to_string()
}

#[test]
fn an_optimizer_is_found_however_it_is_spelled() {
    for (typed, name) in [
        ("AdamW", "adamw"),
        ("Adam", "adam"),
        ("SGD", "sgd"),
        ("RMSprop", "rmsprop"),
        ("NAdam", "nadam"),
        ("ScheduleFreeAdamW", "schedule_free_adamw"),
        ("adam-mini", "adam_mini"),
        ("adamw_torch", "adamw"),
        ("adamw_torch_fused", "adamw"),
        ("kron", "psgd_kron"),
    ] {
        assert_eq!(
            OptimizerConfig::by_name(typed).unwrap().name(),
            name,
            "{typed}"
        );
    }
    let amsgrad = OptimizerConfig::by_name("amsgrad").unwrap();
    assert_eq!(amsgrad, AdamConfig::new().with_amsgrad(true).into());
    let momentum = read(r#"{"name": "momentum", "momentum": 0.8}"#).unwrap();
    assert_eq!(momentum, SgdConfig::new().with_momentum(0.8).into());
    let unknown = OptimizerConfig::by_name("AdamV").unwrap_err().to_string();
    assert!(unknown.ends_with("did you mean `adam`?"), "{unknown}");
}

#[test]
fn settings_of_others_are_understood() {
    let typed = r#"{"name": "AdamW", "lr": 3e-4, "betas": [0.95, 0.98], "eps": 1e-6, "wd": 0.1}"#;
    let expected = AdamWConfig::new()
        .with_learning_rate(3e-4)
        .with_beta_1(0.95)
        .with_beta_2(0.98)
        .with_epsilon(1e-6)
        .with_weight_decay(0.1);
    assert_eq!(read(typed).unwrap(), expected.into());
    for spelled in ["beta1", "b1", "Beta-1"] {
        let json = format!(r#"{{"name": "adam", "{spelled}": 0.5}}"#);
        assert_eq!(
            read(&json).unwrap(),
            AdamConfig::new().with_beta_1(0.5).into()
        );
    }
}

#[test]
fn what_is_not_understood_is_said() {
    let twice = error(r#"{"name": "adam", "epsilon": 1e-6, "eps": 1e-6}"#);
    assert!(twice.contains("both say what `epsilon` is"), "{twice}");
    let twice = error(r#"{"name": "adam", "learning_rate": 1e-3, "lr": 1e-3}"#);
    assert!(
        twice.contains("`learning_rate` and `lr` both say"),
        "{twice}"
    );
    let count = error(r#"{"name": "adam", "betas": [0.9, 0.99, 0.999]}"#);
    assert!(
        count.contains("3 numbers, and it has beta_1 and beta_2"),
        "{count}"
    );
    let none = error(r#"{"name": "sgd", "betas": [0.9, 0.99]}"#);
    assert!(none.contains("it has none"), "{none}");
    let rate = error(r#"{"name": "adam", "lr": -1}"#);
    assert!(
        rate.contains("`learning_rate` must be finite and above 0"),
        "{rate}"
    );
    let field = error(r#"{"name": "adam", "epsylon": 1}"#);
    assert!(field.contains("did you mean `epsilon`"), "{field}");
}

/// What is said beside another library's name is meant.
#[test]
fn settings_say_more_than_a_name() {
    let sgd = read(r#"{"name": "sgd"}"#).unwrap();
    let coupled = r#"{"name": "sgdw", "decoupled_weight_decay": false}"#;
    assert_eq!(read(coupled).unwrap(), sgd);
    assert_ne!(read(r#"{"name": "sgdw"}"#).unwrap(), sgd);
    let own = read(r#"{"name": "momentum", "Momentum": 0.5}"#).unwrap();
    assert_eq!(own, SgdConfig::new().with_momentum(0.5).into());
}

/// The rate is the whole's, and not that of an optimizer inside another.
#[test]
fn a_rate_inside_is_refused() {
    for json in [
        r#"{"name": "lookahead", "optimizer": {"name": "adam", "lr": 1e-3}}"#,
        r#"{"name": "muon", "fallback": {"name": "adamw", "lr": 1e-3}}"#,
    ] {
        // A wrapper is built when it is read.
        let error = read(json).and_then(|config| config.try_trajectory(&[2, 2]));
        let error = error.err().unwrap();
        let said = "the optimizer in it has a `learning_rate`, which belongs to the whole";
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// A rate is where a training begins, and nothing that a step depends on.
#[test]
fn a_learning_rate_is_the_default_one() {
    let config = read(r#"{"name": "adamw", "lr": 3e-4}"#).unwrap();
    assert_eq!(config.default_learning_rate(), 3e-4);
    assert_eq!(config.info().default_learning_rate, 1e-3);
    assert!(
        config.to_string().contains(r#""learning_rate":0.0003"#),
        "{config}"
    );
    assert_eq!(read(&config.to_string()).unwrap(), config);
    let plain = OptimizerConfig::by_name("adamw").unwrap();
    assert_eq!(plain.default_learning_rate(), 1e-3);
    assert!(!plain.to_string().contains("learning_rate"), "{plain}");
    assert_ne!(plain, config);
}
