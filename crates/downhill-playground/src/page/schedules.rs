//! The part with schedules: one, combined at will, as a curve.

use std::cell::RefCell;
use std::rc::Rc;

use downhill_schedule::{Schedule, ScheduleConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasm_bindgen::JsCast;
use web_sys::{
    HtmlCanvasElement, HtmlElement, HtmlSelectElement, HtmlTextAreaElement, KeyboardEvent,
    MouseEvent,
};

use super::chart::{Chart, LEFT, RIGHT};
use super::dom::{by_id, colour, number, on, set_text};
use super::fields::{enter, entered, schedule_choices};
use super::link;
use super::take::Take;
use crate::snippet;

/// Points of the curve at most: there are no more on a screen.
const POINTS: u64 = 2000;

/// What a link says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    schedule: Value,
    rate: f64,
    steps: u64,
}

/// The state of the part.
pub struct Schedules {
    shown: Shown,
    schedule: Schedule,
    /// The step whose value is read.
    read: u64,
    take: Rc<Take>,
}

impl Schedules {
    pub fn open() -> Rc<RefCell<Self>> {
        let shown = Shown {
            schedule: json!({"name": "warmup_cosine", "warmup": "5%"}),
            rate: 0.1,
            steps: 1000,
        };
        let schedule = built(&shown).expect("the first schedule is sound");
        let schedules = Rc::new(RefCell::new(Self {
            shown,
            schedule,
            read: 0,
            take: Take::new("schedule", &["rust", "json"]),
        }));
        schedule_choices("schedule-name", |info| info.name);
        schedules.borrow().enter();
        Self::listen(&schedules);
        schedules
    }

    /// The schedule of a link.
    pub fn follow(&mut self, content: &str) -> Result<(), String> {
        let shown: Shown = serde_json::from_str(content).map_err(|error| error.to_string())?;
        self.schedule = built(&shown)?;
        self.shown = shown;
        self.enter();
        Ok(())
    }

    fn listen(shared: &Rc<RefCell<Self>>) {
        let chosen = Rc::clone(shared);
        on(
            &by_id::<HtmlElement>("schedule-name"),
            "change",
            move |_| {
                let name = by_id::<HtmlSelectElement>("schedule-name").value();
                let mut schedules = chosen.borrow_mut();
                let shown = Shown {
                    schedule: json!({ "name": name }),
                    ..schedules.shown.clone()
                };
                schedules.change(shown);
            },
        );
        for id in ["rate", "length", "settings"] {
            let entered = Rc::clone(shared);
            on(&by_id::<HtmlElement>(id), "change", move |_| {
                let mut schedules = entered.borrow_mut();
                match schedules.entered() {
                    Ok(shown) => schedules.change(shown),
                    Err(wrong) => set_text("schedule-wrong", &wrong),
                }
            });
        }
        for around in ["warmup", "scale", "clamp", "repeat", "sequence"] {
            let document = super::dom::document();
            let button = document.query_selector(&format!("[data-around={around}]"));
            let Ok(Some(button)) = button else { continue };
            let combined = Rc::clone(shared);
            on(&button, "click", move |_| {
                let mut schedules = combined.borrow_mut();
                let inner = schedules.shown.schedule.clone();
                let least = schedules.shown.rate / 10.0;
                let schedule = match around {
                    "warmup" => json!({"name": "warmup", "steps": "10%", "schedule": inner}),
                    "scale" => json!({"name": "scale", "factor": 0.5, "schedule": inner}),
                    "clamp" => json!({"name": "clamp", "min": least, "schedule": inner}),
                    "repeat" => json!({"name": "repeat", "period": "25%", "schedule": inner}),
                    _ => {
                        json!({"name": "sequence", "schedules": [inner, {"name": "linear"}], "milestones": ["50%"]})
                    }
                };
                let shown = Shown {
                    schedule,
                    ..schedules.shown.clone()
                };
                schedules.change(shown);
            });
        }
        let formed = Rc::clone(shared);
        let linked = Rc::clone(shared);
        let take = Rc::clone(&shared.borrow().take);
        take.listen(
            move || formed.borrow().write_lines(),
            move || linked.borrow().remember(),
        );
        let curve: HtmlCanvasElement = by_id("curve");
        let (pointed, wide) = (Rc::clone(shared), curve.clone());
        on(&curve, "pointermove", move |event| {
            let x = f64::from(event.unchecked_into::<MouseEvent>().offset_x());
            let width = f64::from(wide.client_width());
            let mut schedules = pointed.borrow_mut();
            let share = ((x - LEFT) / (width - LEFT - RIGHT).max(1.0)).clamp(0.0, 1.0);
            schedules.read = (share * schedules.shown.steps as f64).round() as u64;
            schedules.draw();
        });
        let gone = Rc::clone(shared);
        on(&curve, "keydown", move |event| {
            let event = event.unchecked_into::<KeyboardEvent>();
            let mut schedules = gone.borrow_mut();
            let steps = schedules.shown.steps;
            let far = if event.shift_key() {
                steps.div_ceil(20)
            } else {
                steps.div_ceil(200)
            };
            schedules.read = match event.key().as_str() {
                "ArrowLeft" => schedules.read.saturating_sub(far),
                "ArrowRight" => (schedules.read + far).min(steps),
                "Home" => 0,
                "End" => steps,
                _ => return,
            };
            event.prevent_default();
            schedules.draw();
        });
    }

    fn change(&mut self, shown: Shown) {
        match built(&shown) {
            Err(wrong) => set_text("schedule-wrong", &wrong),
            Ok(schedule) => {
                set_text("schedule-wrong", "");
                self.schedule = schedule;
                self.shown = shown;
                self.read = self.read.min(self.shown.steps);
                self.enter();
                self.remember();
                self.draw();
            }
        }
    }

    /// What the fields say.
    fn entered(&self) -> Result<Shown, String> {
        let settings = by_id::<HtmlTextAreaElement>("settings").value();
        Ok(Shown {
            schedule: serde_json::from_str(&settings).map_err(|error| error.to_string())?,
            rate: entered("rate")
                .parse()
                .map_err(|_| "the rate must be a number")?,
            steps: entered("length")
                .parse()
                .map_err(|_| "the steps must be a whole number")?,
        })
    }

    /// Puts the state into the fields.
    fn enter(&self) {
        let settings = serde_json::to_string_pretty(&self.shown.schedule).unwrap_or_default();
        by_id::<HtmlTextAreaElement>("settings").set_value(&settings);
        enter("rate", self.shown.rate);
        enter("length", self.shown.steps);
        let name = self.shown.schedule["name"].as_str().unwrap_or_default();
        by_id::<HtmlSelectElement>("schedule-name").set_value(name);
        let all = ScheduleConfig::all();
        let info = all.iter().find(|info| info.name == name);
        let about = info.map_or(String::new(), |info| match info.source {
            "" => info.description.to_string(),
            source => format!("{} ({source})", info.description),
        });
        set_text("about", &about);
        self.write_lines();
    }

    fn remember(&self) -> String {
        link(
            "schedules",
            &serde_json::to_string(&self.shown).unwrap_or_default(),
        )
    }

    fn write_lines(&self) {
        let Shown {
            schedule,
            rate,
            steps,
        } = &self.shown;
        let lines = match self.take.form() {
            "json" => schedule.to_string(),
            _ => snippet::schedule(schedule, *rate, *steps),
        };
        self.take.write(&lines);
    }

    pub fn draw(&self) {
        let steps = self.shown.steps;
        let count = steps.min(POINTS);
        let at = |i: u64| (i as f64 / count as f64 * steps as f64).round() as u64;
        let values: Vec<f64> = (0..=count).map(|i| self.schedule.value(at(i))).collect();
        let chart = Chart {
            id: "curve",
            lines: &[(colour("c0"), values)],
            first: 0,
            last: count,
            logarithmic: false,
            marked: Some((self.read as f64 / steps as f64 * count as f64).round() as u64),
        };
        chart.draw();
        let value = self.schedule.value(self.read);
        set_text(
            "read",
            &format!("Step {} of {steps}: {}", self.read, number(value)),
        );
    }
}

fn built(shown: &Shown) -> Result<Schedule, String> {
    if !(1..=1_000_000).contains(&shown.steps) {
        return Err(format!(
            "there must be 1 to 1000000 steps, got {}",
            shown.steps
        ));
    }
    let config = ScheduleConfig::from_json(&shown.schedule.to_string());
    let config = config.map_err(|error| error.to_string())?;
    config
        .try_build_for(shown.rate, shown.steps)
        .map_err(|error| error.to_string())
}
