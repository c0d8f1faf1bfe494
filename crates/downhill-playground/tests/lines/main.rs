//! The lines that are taken along compile, and are the optimizers that they were made from.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use downhill_optim::OptimizerConfig;
use downhill_playground::snippet;
use downhill_schedule::ScheduleConfig;
use downhill_train::{Driver, MicroBatch};
use serde_json::{Value, json};

/// The lines of [`cases`], each in a function.
#[rustfmt::skip]
mod written;

/// What a function of `written` does with a model, its gradients, the number of the step, and the loss.
type Step = fn(Linear, GradientsParams, u64, f64) -> Result<Linear, Box<dyn Error>>;

/// The step that the functions make, halfway through the warmup of the schedule.
const STEP: u64 = 50;

/// A name, settings, and a schedule with its steps.
type Case = (String, OptimizerConfig, Option<(Value, u64)>);

/// Every optimizer as it is, and some with settings of each kind and schedules.
fn cases() -> Vec<Case> {
    let all = OptimizerConfig::all().into_iter();
    let all = all.chain(OptimizerConfig::slides());
    let mut cases: Vec<Case> = all
        .map(|info| {
            let config = OptimizerConfig::by_name(info.name).unwrap();
            (info.name.replace('-', "_"), config, None)
        })
        .collect();
    let turned = [
        (
            "with_numbers",
            json!({"name": "adam", "learning_rate": 0.1, "beta_1": 0.8, "epsilon": 1e-9}),
        ),
        (
            "with_flags",
            json!({"name": "sgd", "learning_rate": 0.5, "momentum": 0.9, "nesterov": true}),
        ),
        (
            "with_a_choice",
            json!({"name": "muon", "learning_rate": 0.02, "adjust_lr": "match_rms_adamw"}),
        ),
        (
            "with_a_driver",
            json!({"name": "prodigy", "learning_rate": 1.0, "d_coef": 0.5}),
        ),
    ];
    let schedule = (json!({"name": "warmup_cosine", "warmup": "10%"}), 1000);
    for (name, settings) in turned {
        let config = OptimizerConfig::from_json(&settings.to_string()).unwrap();
        cases.push((name.to_string(), config.clone(), None));
        cases.push((
            format!("{name}_and_a_schedule"),
            config,
            Some(schedule.clone()),
        ));
    }
    cases
}

#[test]
fn what_is_compiled_is_what_is_written() {
    let mut text = "//! The lines for each case. Written anew by\n\
                    //! `DOWNHILL_WRITE_GOLDEN=1 cargo test --package downhill-playground --test lines`.\n\n\
                    use std::error::Error;\n\n\
                    use burn::nn::Linear;\n\
                    use burn::optim::GradientsParams;\n"
        .to_string();
    let mut list = String::new();
    for (name, config, schedule) in cases() {
        let schedule = schedule
            .as_ref()
            .map(|(settings, steps)| (settings, *steps));
        // What the lines do not ask for.
        let asks = schedule.is_some() && !config.needs_driver();
        let step = if asks { "step" } else { "_step" };
        let loss = if config.needs_loss() { "loss" } else { "_loss" };
        text += &format!(
            "\npub fn {name}(mut model: Linear, grads: GradientsParams, {step}: u64, {loss}: f64)\n    \
             -> Result<Linear, Box<dyn Error>> {{\n{}    Ok(model)\n}}\n",
            snippet::rust(&config, schedule)
        );
        list += &format!("    (\"{name}\", {name}),\n");
    }
    text += &format!("\npub const ALL: &[(&str, super::Step)] = &[\n{list}];\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lines/written.rs");
    if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap();
    assert!(
        written == text,
        "other lines are taken along than are compiled; DOWNHILL_WRITE_GOLDEN=1 writes them anew"
    );
}

#[test]
fn the_lines_make_the_step_of_the_settings() {
    let device = Device::flex().autodiff();
    let values: Vec<f32> = (0..12).map(|i| 0.1 * i as f32 - 0.5).collect();
    let begun = || -> (Linear, GradientsParams, f64) {
        let mut model = LinearConfig::new(4, 3).init(&device);
        let weight = Tensor::<1>::from_data(values.as_slice(), &device).reshape([4, 3]);
        model.weight = model.weight.map(|_| weight.clone().require_grad());
        model.bias = model
            .bias
            .map(|bias| bias.map(|bias| bias.zeros_like().require_grad()));
        let x = Tensor::<1>::from_data([1.0f32, -2.0, 0.5, 3.0].as_slice(), &device);
        let loss = model.forward(x.reshape([1, 4])).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        (model, grads, loss.into_scalar())
    };
    let numbers = |model: &Linear| -> Vec<f32> {
        let data = model.weight.val().into_data();
        data.try_into_vec().unwrap()
    };
    let mut steps = BTreeSet::new();
    for ((name, config, schedule), (written, step)) in cases().into_iter().zip(written::ALL) {
        assert_eq!(name, *written);
        let (model, grads, loss) = begun();
        let by_lines = numbers(&step(model, grads, STEP, loss).unwrap());
        let (model, grads, loss) = begun();
        let own = config.default_learning_rate();
        // A driver counts its steps.
        let at = if config.needs_driver() { 0 } else { STEP };
        let rate = schedule.map_or(own, |(settings, steps)| {
            let schedule = ScheduleConfig::from_json(&settings.to_string()).unwrap();
            schedule.try_build_for(own, steps).unwrap().value(at)
        });
        let builder = Driver::builder(config.try_init().unwrap(), rate);
        let mut driver = builder.bind(&model).unwrap();
        let batch = MicroBatch::new(grads).with_loss(loss);
        let by_settings = numbers(&driver.step(model, batch).unwrap().0);
        for (a, b) in by_lines.iter().zip(&by_settings) {
            assert!(
                (a - b).abs() <= 1e-6,
                "{name}: {by_lines:?}, not {by_settings:?}"
            );
        }
        steps.insert(format!("{by_lines:?}"));
    }
    assert!(
        steps.len() > 40,
        "they are different optimizers: {}",
        steps.len()
    );
}
