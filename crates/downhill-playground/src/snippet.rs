//! Lines for a Burn project, and for the command line.

use downhill_optim::{OptimizerConfig, OptimizerInfo, SettingKind};
use serde_json::Value;

use crate::scene::{changed, turned};

/// The lines that build an optimizer as it is set, in Rust, and make a step of `model` with its gradients `grads`, at the
/// schedule's value of `step`, and told the `loss` if it has to be.
///
/// ```
/// use downhill_optim::OptimizerConfig;
/// use downhill_playground::snippet::rust;
///
/// let config = OptimizerConfig::from_json(r#"{"name": "adam", "beta_1": 0.8, "learning_rate": 0.1}"#)?;
/// let lines = rust(&config, None);
/// assert!(lines.contains("let mut optim = AdamConfig::new().with_beta_1(0.8).init();"));
/// assert!(lines.contains("model = optim.step(0.1, model, grads);"));
/// # Ok::<(), downhill_optim::ConfigError>(())
/// ```
pub fn rust(config: &OptimizerConfig, schedule: Option<(&Value, u64)>) -> String {
    let rate = config.default_learning_rate();
    let of_slides = |info: &OptimizerInfo| info.name == config.name();
    let module = match OptimizerConfig::slides().iter().any(of_slides) {
        true => "slides::",
        false => "",
    };
    let (mut uses, optim) = match built(config) {
        Some(line) => (
            format!("use downhill::optim::{module}{};\n", config.info().config),
            format!("{line}.init()"),
        ),
        None => (
            "use downhill::optim::OptimizerConfig;\n".to_string(),
            format!(
                "OptimizerConfig::from_json(\n    r#\"{}\"#,\n)?\n.try_init()?",
                changed(config)
            ),
        ),
    };
    let mut before = String::new();
    if let Some((schedule, steps)) = schedule {
        uses += "use downhill::schedule::ScheduleConfig;\n";
        before = format!(
            "let schedule = ScheduleConfig::from_json(r#\"{schedule}\"#)?\n    .try_build_for({rate:?}, {steps})?;\n"
        );
    }
    let rate = |scheduled: &str| match schedule {
        None => format!("{rate:?}"),
        Some(_) => scheduled.to_string(),
    };
    let (optimizer, step) = if config.needs_driver() {
        let (import, batch) = match config.needs_loss() {
            true => (
                "{Driver, MicroBatch}",
                "MicroBatch::new(grads).with_loss(loss)",
            ),
            false => ("Driver", "grads"),
        };
        uses += &format!("use downhill::train::{import};\n");
        let rate = rate("schedule");
        (
            format!("let mut driver = Driver::builder({optim}, {rate}).bind(&model)?;\n"),
            format!("(model, _) = driver.step(model, {batch})?;\n"),
        )
    } else {
        let rate = rate("schedule.value(step)");
        (
            format!("let mut optim = {optim};\n"),
            format!("model = optim.step({rate}, model, grads);\n"),
        )
    };
    format!("{uses}\n{before}{optimizer}// in the loop:\n{step}")
}

/// The configuration with its settings, where all of them have a method that takes what they are.
fn built(config: &OptimizerConfig) -> Option<String> {
    let mut line = format!("{}::new()", config.info().config);
    for (name, value) in turned(config) {
        let table = config.settings();
        let setting = table.iter().find(|setting| setting.name == name)?;
        let argument = match (setting.kind, &value) {
            (SettingKind::Number, Value::Number(number)) => format!("{:?}", number.as_f64()?),
            (SettingKind::Count, Value::Number(number)) => number.to_string(),
            (SettingKind::Flag, Value::Bool(flag)) => flag.to_string(),
            _ => return None,
        };
        line += &format!(".with_{name}({argument})");
    }
    Some(line)
}

/// The lines that build a schedule.
pub fn schedule(settings: &Value, rate: f64, steps: u64) -> String {
    format!(
        "use downhill::schedule::ScheduleConfig;\n\n\
         let schedule = ScheduleConfig::from_json(\n    r#\"{settings}\"#,\n)?\n.try_build_for({rate:?}, {steps})?;\n\
         // in the loop:\nmodel = optim.step(schedule.value(step), model, grads);\n"
    )
}
