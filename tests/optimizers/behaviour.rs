//! The page that says how the optimizers behave.

use std::fmt::Write as _;

use crate::common::behaviour;
use crate::common::rows::ROWS;
use crate::generated;
use downhill::optim::OptimizerConfig;

/// The power of `c`, as text.
fn law(exponent: f64) -> String {
    match (exponent * 6.0).round() as i64 {
        0 => "1".to_string(),
        6 => "c".to_string(),
        -6 => "1/c".to_string(),
        3 => "c^(1/2)".to_string(),
        2 => "c^(1/3)".to_string(),
        sixths => format!("c^({sixths}/6)"),
    }
}

fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "" }
}

#[test]
fn this_page_is_what_the_optimizers_do() {
    let mut table = String::from(
        "| optimizer | looks at | passes | unit of the loss | waits | by sign | jumps | stays | average |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in ROWS.iter() {
        let config = row.config("{}");
        let scaling = behaviour::scaling(&config, row.lr, &[4, 3]);
        // What has to be 0 for it, beside weight decay.
        let condition = |other: Option<OptimizerConfig>| {
            other.map_or(String::new(), |other| {
                let changed = behaviour::difference(&config, &other).into_iter();
                let mut zeros = changed.filter(|name| name != "weight_decay");
                zeros
                    .next()
                    .map_or("yes".to_string(), |name| format!("`{name}` 0"))
            })
        };
        let stays = condition(behaviour::still(&config));
        let average = condition(behaviour::averaging(&config));
        let waits = Some(row.waits).filter(|steps| *steps > 0);
        writeln!(
            table,
            "| `{}` | {} | {} | {} | {} | {} | {} | {stays} | {average} |",
            row.name,
            config.info().scope,
            config.info().passes,
            scaling.map_or(String::new(), |scaling| law(scaling.exponent)),
            waits.map_or(String::new(), |steps| steps.to_string()),
            yes(row.goes_by_sign),
            yes(behaviour::jumps(&config)),
        )
        .unwrap();
    }
    generated("docs/behaviour.md", "behaviour", &table);
}
