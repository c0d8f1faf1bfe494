//! A driver from a configuration is the one that a builder makes.

use burn::config::Config;
use downhill::train::{
    DriverConfig, GroupConfig, LocalUpdates, LossScaling, Mechanic, Sam, SelectConfig, Threads,
};

use super::*;

/// A field as JSON, and what it stands for.
type Field = (&'static str, fn(DriverBuilder) -> DriverBuilder);

fn fields() -> Vec<Field> {
    vec![
        (r#"{}"#, |builder| builder),
        (
            r#"{"clipping": {"global_norm": {"threshold": 0.5}}}"#,
            |builder| builder.with_clipping(Clipping::global_norm(0.5)),
        ),
        (
            r#"{"clipping": {"adaptive": {"ratio": {"name": "linear", "initial": 0.5, "end": 0.25, "steps": 9}}}}"#,
            |builder| {
                let falling = LinearConfig::new(0.5, 0.25, 9).try_build();
                builder.with_clipping(Clipping::adaptive(falling.unwrap()))
            },
        ),
        (
            r#"{"non_finite": {"skip": {"max_consecutive": 5}}}"#,
            |builder| builder.with_non_finite(NonFinite::Skip { max_consecutive: 5 }),
        ),
        (
            r#"{"accumulation": {"sum": {"micro_batches": 1}}}"#,
            |builder| builder.with_accumulation(Accumulation::sum(1)),
        ),
        (
            r#"{"averaging": {"kind": {"ema": {"decay": 0.5}}}}"#,
            |builder| builder.with_averaging(Averaging::ema(0.5)),
        ),
        (r#"{"sam": {"rho": 0.05}}"#, |builder| {
            builder.with_sam(Sam::new(0.05))
        }),
        (
            r#"{"loss_scaling": {"scale": 4.0, "interval": 5}}"#,
            |builder| {
                let scaling = LossScaling::dynamic().with_scale(4.0);
                builder.with_loss_scaling(scaling.with_interval(5))
            },
        ),
        (r#"{"mechanic": {"s_init": 1e-3}}"#, |builder| {
            builder.with_mechanic(Mechanic::new().with_s_init(1e-3))
        }),
        (
            r#"{"local_updates": {"every": 1, "rate": 0.5, "bf16": true}}"#,
            |builder| {
                let nesterov = optim::SgdConfig::new()
                    .with_momentum(0.9)
                    .with_nesterov(true);
                let local = LocalUpdates::new(1).with_bf16();
                builder.with_local_updates(local.with_outer(nesterov.into(), 0.5))
            },
        ),
        (
            r#"{"driven": {"beta_2": {"name": "linear", "initial": 0.5, "end": 0.9, "steps": 9}}}"#,
            |builder| {
                builder.with_driven(
                    "beta_2",
                    LinearConfig::new(0.5, 0.9, 9).try_build().unwrap(),
                )
            },
        ),
        (
            r#"{"groups": [{"name": "no_decay", "select": {"rank": [0, 1]}, "weight_decay": 0.0}]}"#,
            |builder| builder.with_group(Group::no_decay()),
        ),
        (
            r#"{"groups": [{"name": "a", "select": {"all_of": [{"name": "weight"}, {"not": {"path": "head.*"}}]},
                "learning_rate_factor": 0.5, "driven": {"beta_1": 0.5}},
                {"name": "b", "select": {"any_of": [{"path": "bias"}, {"path": "none"}]}, "frozen": true}]}"#,
            |builder| {
                let a = Select::name("weight") & !Select::path("head.*");
                let a = Group::new("a", a).with_learning_rate_factor(0.5);
                let b = Select::path("bias") | Select::path("none");
                builder
                    .with_group(a.with_driven("beta_1", 0.5))
                    .with_group(Group::new("b", b).frozen())
            },
        ),
        (
            r#"{"groups": [{"name": "sgd", "select": {"rank": [2, 2]}, "learning_rate": 0.5, "momentum": 0.25,
                "optimizer": {"name": "SGD", "momentum": 0.9}}]}"#,
            |builder| {
                let sgd = optim::SgdConfig::new().with_momentum(0.9).build();
                let group = Group::new("sgd", Select::rank(2..=2)).with_optimizer(sgd);
                builder.with_group(group.with_learning_rate(0.5).with_momentum(0.25))
            },
        ),
    ]
}

/// All that is saved after some steps.
fn trained(builder: DriverBuilder, steps: usize, device: &Device) -> Vec<u8> {
    let mut net = Net::new(1, device, DType::F32);
    let mut driver = builder.bind(&net).unwrap();
    for t in 0..steps {
        let grads = net.grads(t, &ALL, device, DType::F32);
        (net, _) = driver.step(net, grads).unwrap();
    }
    bytes(&driver, &net)
}

#[test]
fn every_field_is_what_a_builder_is_told() {
    let device = devices().remove(0).device;
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (json, with) in fields() {
        let config = DriverConfig::from_json(json).unwrap();
        // Steps with SAM take gradients of two places.
        let steps = if config.sam.is_some() { 0 } else { 2 };
        let among = |builder: DriverBuilder| match config.local_updates {
            Some(_) => builder.with_exchange(Threads::of(1).remove(0)),
            None => builder,
        };
        let found = trained(among(config.try_builder().unwrap()), steps, &device);
        let adamw = optim::AdamWConfig::new().init();
        let expected = trained(among(with(Driver::builder(adamw, 1e-3))), steps, &device);
        assert!(found == expected, "{json}");
        assert!(!seen.contains(&found), "{json} does nothing");
        seen.push(found);
        // What is written is read again, as JSON and as TOML.
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            DriverConfig::from_json(&written).unwrap(),
            config,
            "{written}"
        );
        let written = config.to_toml().unwrap();
        assert_eq!(
            DriverConfig::from_toml(&written).unwrap(),
            config,
            "{written}"
        );
    }
}

/// It changes where states are, and nothing that is saved.
#[test]
fn sharded_states_are_asked_for() {
    let net = Net::new(1, &devices().remove(0).device, DType::F32);
    let config = DriverConfig::from_toml("sharded_state = true").unwrap();
    let error = config.bind(&net).unwrap_err().to_string();
    assert_eq!(
        error,
        "sharded states are for several ranks: see `with_exchange`"
    );
    let exchange = Threads::of(1).remove(0);
    config
        .try_builder()
        .unwrap()
        .with_exchange(exchange)
        .bind(&net)
        .unwrap();
    assert_eq!(
        config.to_toml().unwrap().lines().next(),
        Some("non_finite = \"error\"")
    );
    assert_eq!(
        DriverConfig::from_toml(&config.to_toml().unwrap()).unwrap(),
        config
    );
}

#[test]
fn the_rate_is_the_optimizers_and_its_schedules() {
    let device = devices().remove(0).device;
    let net = Net::new(1, &device, DType::F32);
    let rates = |toml: &str| {
        let mut driver = DriverConfig::from_toml(toml).unwrap().bind(&net).unwrap();
        let mut net = net.clone();
        (0..3)
            .map(|t| {
                let rate = driver.learning_rate().unwrap();
                let grads = net.grads(t, &ALL, &device, DType::F32);
                net = driver.step(net.clone(), grads).unwrap().0;
                rate
            })
            .collect::<Vec<f64>>()
    };
    assert_eq!(rates(""), [1e-3; 3]);
    assert_eq!(rates(r#"optimizer = { name = "sgd" }"#), [1e-2; 3]);
    let own = r#"optimizer = { name = "sgd", lr = 0.5 }"#;
    assert_eq!(rates(own), [0.5; 3]);
    let warm = "schedule = { name = \"warmup_linear\", warmup = \"50%\" }\nsteps = 4\n";
    assert_eq!(rates(&format!("{warm}{own}")), [0.0, 0.25, 0.5]);
    let counted = "schedule = { name = \"linear\", steps = 2 }\n";
    assert_eq!(rates(&format!("{counted}{own}")), [0.5, 0.25, 0.0]);
}

#[test]
fn an_error_has_the_path_of_its_field() {
    let device = devices().remove(0).device;
    let net = Net::new(1, &device, DType::F32);
    for (toml, message) in [
        (
            "cliping = 1",
            "`cliping`: unknown field `cliping`, expected one of `optimizer`, ",
        ),
        (
            "optimizer = { name = \"adamv\" }",
            "`optimizer`: there is no optimizer `adamv`; did you mean `adam`?",
        ),
        (
            "[[groups]]\nname = \"a\"\nselect = { path = \"**\" }\noptimizer = { name = \"adam\", epsylon = 1 }",
            "`groups[0].optimizer`: adam: there is no setting `epsylon`; did you mean `epsilon`?",
        ),
        (
            "optimizer = { name = \"adam\", beta_1 = 2.0 }",
            "`optimizer`: adam: `beta_1` must be at least 0 and below 1, got 2",
        ),
        (
            "[[groups]]\nname = \"a\"\nselect = \"all\"\noptimizer = { name = \"adam\", beta_1 = 2.0 }",
            "`groups[0].optimizer`: adam: `beta_1` must be",
        ),
        (
            "schedule = { name = \"cosine\" }",
            "`schedule`: cosine: `steps` is 100% of `steps`, which is not set",
        ),
        (
            "[[groups]]\nname = \"a\"\nselect = \"all\"\nlearning_rate = 1.0\nlearning_rate_factor = 1.0",
            "`groups[0].learning_rate_factor`: `learning_rate` says what the rate is, too",
        ),
        (
            "[[groups]]\nname = \"a\"\nselect = \"all\"\nlearning_rate = 1.0\noptimizer = { name = \"sgd\", lr = 1.0 }",
            "`groups[0].learning_rate`: `optimizer.learning_rate` says what the rate is, too",
        ),
        (
            "[[groups]]\nname = \"a\"\nselect = \"all\"\nweight_decay = 1.0\ndriven = { weight_decay = 1.0 }",
            "`groups[0].weight_decay`: `driven.weight_decay` says what it is, too",
        ),
        (
            "optimizer = { name = \"lookahead\", optimizer = { name = \"adam\", lr = 1.0 } }",
            "`optimizer`: lookahead: the optimizer in it has a `learning_rate`",
        ),
        (
            "clipping = { global_norm = { threshold = { name = \"linear\" } } }",
            "`clipping.global_norm.threshold`: linear: ",
        ),
        (
            "clipping = { global_norm = { threshold = \"1\" } }",
            "`clipping.global_norm.threshold`: \"1\" is neither a number nor a schedule",
        ),
        (
            "clipping = { value = { threshold = -1.0 } }",
            "`threshold of the clipping` must be finite and above 0",
        ),
        (
            "\nclipping = {",
            "unclosed inline table, expected `}` at line 2",
        ),
    ] {
        let found = DriverConfig::from_toml(toml);
        let error = match found {
            Ok(config) => config.bind(&net).unwrap_err(),
            Err(error) => error,
        };
        let error = error.to_string();
        assert!(error.starts_with(message), "{toml}: {error}");
    }
    let error = DriverConfig::from_json(r#"{"steps": "many"}"#).unwrap_err();
    assert!(
        error.to_string().starts_with("`steps`: invalid type"),
        "{error}"
    );
    let error = DriverConfig::from_json("{} {}").unwrap_err();
    assert!(error.to_string().contains("trailing"), "{error}");
}

/// Who steps what, and at which rate.
#[cfg(feature = "pytorch")]
fn steppers(config: &DriverConfig) -> (Vec<String>, Vec<Option<f64>>) {
    #[derive(Module, Debug)]
    struct Words {
        characters: nn::Embedding,
        hidden: nn::Linear,
        head: nn::Linear,
    }
    let device = devices().remove(0).device.autodiff();
    let linear = nn::LinearConfig::new(4, 6).with_bias(false);
    let model = Words {
        characters: nn::EmbeddingConfig::new(5, 4).init(&device),
        hidden: linear.init(&device),
        head: linear.init(&device),
    };
    let driver = config.bind(&model).unwrap();
    let by = driver
        .parameters()
        .map(|found| found.stepped_by.unwrap().to_string());
    let by = by.collect();
    let states = driver.pytorch_states(&model).unwrap();
    let mut again = config.bind(&model).unwrap();
    (
        by,
        again.load_pytorch(&model, &states).unwrap().learning_rates,
    )
}

/// One of matrices knows the model, for all parameters and for a group, and a group's rate may be its optimizer's.
#[cfg(feature = "pytorch")]
#[test]
fn a_configuration_knows_the_model() {
    let read = |toml: &str| DriverConfig::from_toml(toml).unwrap();
    let whole = read("optimizer = { name = \"muon\", lr = 0.02 }");
    assert_eq!(steppers(&whole).0, ["adamw", "muon", "adamw"]);
    let group = "\n[[groups]]\nname = \"all\"\nselect = { rank = [2, 2] }\noptimizer = ";
    let all = read(&format!(
        "optimizer = {{ name = \"sgd\", lr = 0.5 }}{group}{{ name = \"muon\", lr = 0.05 }}"
    ));
    let (by, rates) = steppers(&all);
    assert_eq!(by, ["adamw", "muon", "adamw"]);
    assert!((rates[0].unwrap() - 0.05).abs() < 1e-12, "{rates:?}");
    let own = read(&format!(
        "{group}{{ name = \"muon\", no_matrix = [\"hidden\"] }}"
    ));
    let (by, rates) = steppers(&own);
    assert_eq!(by, ["adamw", "adamw", "muon"]);
    assert_eq!(rates[0], Some(1e-3));
}

/// What is off although it is on by default cannot be said in TOML, and is not lost.
#[test]
fn toml_has_no_null() {
    let adafactor = optim::AdafactorConfig::new().with_clip_threshold(None);
    let error = DriverConfig::new(adafactor).to_toml().unwrap_err();
    assert!(
        error.to_string().contains("which TOML cannot say"),
        "{error}"
    );
}

/// The configuration of a training, as Burn's users write it.
#[derive(Config, Debug)]
struct TrainingConfig {
    #[config(default = 10)]
    epochs: usize,
    driver: DriverConfig,
}

#[test]
fn it_is_part_of_the_configuration_of_a_training() {
    let mut driver = DriverConfig::new(optim::AdamWConfig::new().with_learning_rate(3e-4));
    driver.clipping = Some(Clipping::global_norm(1.0));
    driver.groups = vec![
        GroupConfig::no_decay(),
        GroupConfig::new("head", SelectConfig::Path("head.**".to_string())),
    ];
    let config = TrainingConfig::new(driver);
    let file = std::env::temp_dir().join(format!("downhill-config-{}.json", std::process::id()));
    config.save(&file).unwrap();
    let loaded = TrainingConfig::load(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(loaded.driver, config.driver);
    assert_eq!(loaded.epochs, 10);
}
