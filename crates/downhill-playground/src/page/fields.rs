//! Fields that several parts have.

use downhill_optim::OptimizerConfig;
use downhill_schedule::{ScheduleConfig, ScheduleInfo};
use serde_json::{Value, json};
use web_sys::{Element, HtmlInputElement, HtmlSelectElement};

use super::dom::{by_id, fill, made};

/// What is in a field.
pub fn entered(id: &str) -> String {
    by_id::<HtmlInputElement>(id).value().trim().to_string()
}

/// Puts something into a field.
pub fn enter(id: &str, value: impl ToString) {
    by_id::<HtmlInputElement>(id).set_value(&value.to_string());
}

/// Everything that can be chosen, by its value and its text.
pub fn choices(id: &str, all: impl IntoIterator<Item = (String, String)>) {
    let option = |(value, text): (String, String)| made("option", &[("value", &value)], &text);
    let options: Vec<Element> = all.into_iter().map(option).collect();
    let select: Element = by_id(id);
    select.set_inner_html("");
    fill(&select, &options);
}

/// All optimizers can be chosen, the deck's own among them.
pub fn optimizer_choices(id: &str) {
    let all = OptimizerConfig::all().into_iter();
    let all = all.chain(OptimizerConfig::slides());
    let text =
        |info: &downhill_optim::OptimizerInfo| format!("{}: {}", info.name, info.description);
    choices(id, all.map(|info| (info.name.to_string(), text(&info))));
}

/// All schedules can be chosen, each with a text.
pub fn schedule_choices(id: &str, text: impl Fn(&ScheduleInfo) -> &'static str) {
    let all = ScheduleConfig::all().into_iter();
    choices(
        id,
        all.map(|info| (info.name.to_string(), text(&info).to_string())),
    );
}

/// One of several optimizers can be chosen; who was stays so, by its place.
pub fn runner_choices(id: &str, titles: impl ExactSizeIterator<Item = String>) {
    let select: HtmlSelectElement = by_id(id);
    let (chosen, count) = (select.selected_index().max(0), titles.len() as i32);
    let numbered = titles.enumerate();
    choices(
        id,
        numbered.map(|(at, title)| (at.to_string(), format!("{}. {title}", at + 1))),
    );
    select.set_selected_index(chosen.min(count - 1));
}

/// Who is chosen.
pub fn chosen_runner(id: &str) -> usize {
    by_id::<HtmlSelectElement>(id).selected_index().max(0) as usize
}

/// The schedule that a field names, or has the settings of.
pub fn entered_schedule(id: &str) -> Option<Value> {
    match entered(id).as_str() {
        "" | "constant" => None,
        json if json.starts_with('{') => {
            Some(serde_json::from_str(json).unwrap_or_else(|_| json.into()))
        }
        name => Some(json!({ "name": name })),
    }
}

/// Puts a schedule into such a field.
pub fn enter_schedule(id: &str, schedule: Option<&Value>) {
    let text = match schedule {
        None => String::new(),
        Some(Value::Object(settings)) if settings.len() == 1 => {
            settings["name"].as_str().unwrap_or_default().to_string()
        }
        Some(schedule) => schedule.to_string(),
    };
    enter(id, text);
}
