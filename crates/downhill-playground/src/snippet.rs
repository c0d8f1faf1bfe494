//! Lines for a Burn project, and for the command line.

use downhill_optim::{OptimizerConfig, SettingKind};
use serde_json::Value;

use crate::scene::{changed, turned};

/// The lines that build an optimizer as it is set, in Rust.
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
    let (mut uses, optimizer) = match built(config) {
        Some(line) => (
            format!("use downhill::optim::{};\n", config.info().config),
            format!("let mut optim = {line}.init();\n"),
        ),
        None => (
            "use downhill::optim::OptimizerConfig;\n".to_string(),
            format!(
                "let mut optim = OptimizerConfig::from_json(\n    r#\"{}\"#,\n)?\n.try_init()?;\n",
                changed(config)
            ),
        ),
    };
    let (before, rate) = match schedule {
        None => (String::new(), format!("{rate:?}")),
        Some((schedule, steps)) => {
            uses += "use downhill::schedule::ScheduleConfig;\n";
            (
                format!(
                    "let schedule = ScheduleConfig::from_json(r#\"{schedule}\"#)?\n    .try_build_for({rate:?}, {steps})?;\n"
                ),
                "schedule.value(step)".to_string(),
            )
        }
    };
    format!(
        "{uses}\n{before}{optimizer}// in the loop:\nmodel = optim.step({rate}, model, grads);\n"
    )
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
