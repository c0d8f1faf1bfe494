//! `downhill config`: a driver's configuration with every setting explained.

use std::io::{self, Write};

use downhill_optim::{OptimizerConfig, Setting};
use serde_json::Value;

use super::{Failure, usage};

/// Print the configuration of a driver as TOML, with every setting, its default and what it does
#[derive(clap::Args)]
#[command(after_help = "`DriverConfig::from_toml` reads it. \
    Lines that begin with one # are settings that are off, those with two are explanations.")]
pub struct Args {
    /// The optimizer, as in `downhill list optimizers`
    #[arg(default_value = "adamw")]
    optimizer: String,
}

/// What is around the optimizer.
const DRIVER: &str = include_str!("driver.toml");

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = OptimizerConfig::by_name(&args.optimizer).map_err(usage)?;
    let mut stdout = io::stdout().lock();
    write!(stdout, "{}", page(&config))?;
    Ok(())
}

fn page(config: &OptimizerConfig) -> String {
    // In TOML a table ends where the next one begins, so groups come last.
    let (around, groups) = DRIVER
        .split_once("## Parameters that")
        .expect("the page speaks of groups");
    let about = config.info();
    let mut page = format!(
        "{around}## The optimizer: {}.\n[optimizer]\nname = \"{}\"\n",
        about.description, about.name
    );
    let values = serde_json::to_value(config).unwrap_or_default();
    for setting in config.settings() {
        page += &lines(setting, &values[setting.name], about.default_learning_rate);
    }
    page + "\n## Parameters that" + groups
}

fn lines(setting: &Setting, value: &Value, rate: f64) -> String {
    let Setting { name, doc, .. } = setting;
    let is_number = value.is_number() && setting.range.allowed != "anything";
    let range = match is_number {
        true => format!(" It is {}.", setting.range.allowed),
        false => String::new(),
    };
    let value = match (*name, value) {
        ("learning_rate", Value::Null) => format!("learning_rate = {rate:e}"),
        (_, Value::Null) => format!("## {name} is not set."),
        (_, value) => format!("{name} = {}", toml(value)),
    };
    format!("\n{}{value}\n", explained(&format!("{doc}{range}")))
}

/// A text as comments.
fn explained(text: &str) -> String {
    const WIDTH: usize = 116;
    let mut lines = String::new();
    let mut line = String::from("##");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &line;
            lines.push('\n');
            line = String::from("##");
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

/// A value in one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(toml).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<_> = fields
                .map(|(name, value)| format!("{name} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use downhill_train::DriverConfig;

    use super::*;

    /// What is printed is what is used without it, whatever the optimizer.
    #[test]
    fn the_page_has_the_defaults() {
        for info in OptimizerConfig::all() {
            let optimizer = OptimizerConfig::by_name(info.name).unwrap();
            let page = page(&optimizer);
            let found =
                DriverConfig::from_toml(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
            let rate = found.optimizer.default_learning_rate();
            assert_eq!(rate, info.default_learning_rate, "{}", info.name);
            let mut json = serde_json::to_value(&found.optimizer).unwrap();
            json.as_object_mut().unwrap().remove("learning_rate");
            assert_eq!(json, serde_json::to_value(&optimizer).unwrap(), "{page}");
            let expected = DriverConfig::new(found.optimizer.clone());
            assert_eq!(found, expected);
        }
    }

    /// Every field of a configuration is on the page, and what is off can be switched on.
    #[test]
    fn the_page_has_every_field() {
        let page = page(&OptimizerConfig::by_name("adamw").unwrap());
        let switched: Vec<&str> = page
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .collect();
        let config = DriverConfig::from_toml(&switched.join("\n")).unwrap();
        assert!(config.try_builder().is_ok());
        let fields = serde_json::to_value(&config).unwrap();
        let fields = fields.as_object().unwrap();
        let unknown = DriverConfig::from_toml("nothing = 1")
            .unwrap_err()
            .to_string();
        let named: Vec<&str> = unknown.split('`').skip(5).step_by(2).collect();
        assert!(named.len() > 10, "{unknown}");
        for name in named {
            assert!(fields.contains_key(name), "{name} is not on the page");
        }
    }
}
