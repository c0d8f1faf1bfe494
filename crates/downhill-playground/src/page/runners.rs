//! A card for each optimizer, with its settings.

use downhill_optim::{OptimizerConfig, Setting, SettingKind};
use serde_json::{Map, Value};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, HtmlInputElement, HtmlSelectElement};

use super::dom::{by_id, fill, made, on};
use crate::scene::{changed, title};

/// Whose optimizers have cards.
pub trait Owner: Clone + 'static {
    /// The optimizers, as they are now.
    fn optimizers(&self) -> Vec<Value>;
    /// Takes over their settings, or other optimizers than there were.
    fn set_optimizers(&self, optimizers: Vec<Value>, others: bool);
}

/// Makes the cards anew; those that were open stay so.
pub fn fill_cards(id: &str, owner: &impl Owner) {
    let cards: Element = by_id(id);
    let children = cards.children();
    let open: Vec<bool> = (0..children.length())
        .map(|at| {
            children
                .item(at)
                .is_some_and(|card| card.has_attribute("open"))
        })
        .collect();
    cards.set_inner_html("");
    for (at, settings) in owner.optimizers().iter().enumerate() {
        let Ok(config) = OptimizerConfig::from_json(&settings.to_string()) else {
            continue;
        };
        let card = card(owner, at, &config);
        if open.get(at) == Some(&true) {
            let _ = card.set_attribute("open", "");
        }
        fill(&cards, &[card]);
    }
}

/// One more, with its own settings.
pub fn add(owner: &impl Owner, name: &str) {
    let mut optimizers = owner.optimizers();
    if let Ok(config) = OptimizerConfig::by_name(name) {
        optimizers.push(changed(&config));
    }
    owner.set_optimizers(optimizers, true);
}

fn card(owner: &impl Owner, at: usize, config: &OptimizerConfig) -> Element {
    let card: Element = made("details", &[("class", "card")], "");
    let summary: Element = made("summary", &[], "");
    let swatch = made("span", &[("class", &format!("swatch s{at}"))], "");
    let name: HtmlElement = made("span", &[], &title(config));
    fill(&summary, &[swatch, name.clone().into()]);
    let about: Element = made("p", &[("class", "hint")], config.info().description);
    let fields: Element = made("div", &[("class", "fields")], "");
    let wrong: HtmlElement = made("p", &[("class", "wrong"), ("role", "alert")], "");
    let all = match serde_json::to_value(config) {
        Ok(Value::Object(all)) => all,
        _ => Map::new(),
    };
    let rate = Field {
        name: "learning_rate",
        doc: "How far a step goes; a schedule takes shares of it.",
        kind: SettingKind::Number,
        value: config.default_learning_rate().into(),
    };
    let settings = config.settings().into_iter();
    // Names of parameters are nothing for two numbers, and rarely turned on a network of two layers.
    let shown = settings.filter(|setting| setting.kind != SettingKind::Patterns);
    let others = shown.filter(|setting| setting.name != "learning_rate");
    let others = others.map(|setting| Field::of(setting, &all));
    for field in std::iter::once(rate).chain(others) {
        let owner = owner.clone();
        let (setting, wrong, name) = (field.name, wrong.clone(), name.clone());
        let label = field.label(move |value| {
            let mut optimizers = owner.optimizers();
            let settings = optimizers.get_mut(at).and_then(Value::as_object_mut);
            let Some(settings) = settings else { return };
            settings.insert(setting.to_string(), value);
            let json = Value::Object(settings.clone()).to_string();
            match OptimizerConfig::from_json(&json) {
                Err(error) => wrong.set_text_content(Some(&error.to_string())),
                Ok(config) => {
                    wrong.set_text_content(None);
                    name.set_text_content(Some(&title(&config)));
                    optimizers[at] = changed(&config);
                    owner.set_optimizers(optimizers, false);
                }
            }
        });
        fill(&fields, &[label]);
    }
    let named = format!("Remove {}, the optimizer {}", config.name(), at + 1);
    let remove: HtmlElement = made("button", &[("aria-label", &named)], "Remove");
    let owner = owner.clone();
    on(&remove, "click", move |_| {
        let mut optimizers = owner.optimizers();
        if at < optimizers.len() {
            optimizers.remove(at);
        }
        owner.set_optimizers(optimizers, true);
    });
    fill(
        &card,
        &[summary, about, fields, wrong.into(), remove.into()],
    );
    card
}

/// A setting that can be turned.
struct Field<'a> {
    name: &'static str,
    doc: &'a str,
    kind: SettingKind,
    value: Value,
}

impl<'a> Field<'a> {
    fn of(setting: &'a Setting, all: &Map<String, Value>) -> Self {
        Self {
            name: setting.name,
            doc: setting.doc,
            kind: setting.kind,
            value: all.get(setting.name).cloned().unwrap_or(Value::Null),
        }
    }

    /// A control with its name and explanation, which tells of its new value.
    fn label(&self, mut changed: impl FnMut(Value) + 'static) -> Element {
        let is_flag = self.kind == SettingKind::Flag;
        let class = if is_flag { "tick" } else { "" };
        let label: Element = made("label", &[("class", class)], "");
        let words: Element = made("span", &[], &self.name.replace('_', " "));
        let doc: Element = made("small", &[], self.doc);
        match self.kind {
            SettingKind::Flag => {
                let input: HtmlInputElement = made("input", &[("type", "checkbox")], "");
                input.set_checked(self.value == Value::Bool(true));
                let read = input.clone();
                on(&input, "change", move |_| changed(read.checked().into()));
                fill(&label, &[input.into(), words, doc]);
            }
            SettingKind::Choice(names) => {
                let select: HtmlSelectElement = made("select", &[], "");
                for name in names {
                    fill(&select, &[made("option", &[("value", name)], name)]);
                }
                select.set_value(self.value.as_str().unwrap_or_default());
                let read = select.clone();
                on(&select, "change", move |_| changed(read.value().into()));
                fill(&label, &[words, select.into(), doc]);
            }
            kind => {
                let is_number = matches!(
                    kind,
                    SettingKind::Number | SettingKind::OptionalNumber | SettingKind::Count
                );
                let form = if is_number { "number" } else { "text" };
                let input: HtmlInputElement = made(
                    "input",
                    &[("type", form), ("step", "any"), ("spellcheck", "false")],
                    "",
                );
                let text = match &self.value {
                    Value::Null => String::new(),
                    value => value.to_string(),
                };
                input.set_value(&text);
                let read = input.clone();
                on(&input, "change", move |_| {
                    let text = read.value();
                    changed(match text.trim() {
                        "" => Value::Null,
                        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
                    });
                });
                fill(&label, &[words, input.unchecked_into(), doc]);
            }
        }
        label
    }
}
