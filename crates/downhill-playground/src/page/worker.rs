//! The training, beside the page, which stays free to answer.

use downhill_problems::data;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsCast;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use super::dom::on;
use crate::network::{Lesson, Report};
use crate::scene::SceneError;

/// What the worker tells the page.
#[derive(Serialize, Deserialize)]
pub enum Said {
    /// It listens from now on.
    Ready,
    /// How far one of the networks is.
    Came(Report),
    /// Why there is no more to come.
    Wrong(String),
    /// All is trained.
    Done,
}

impl Said {
    pub fn to(&self, page: &DedicatedWorkerGlobalScope) {
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = page.post_message(&text.into());
    }
}

/// Waits for a lesson, gives it, and tells the page of each epoch.
pub fn start(page: DedicatedWorkerGlobalScope) {
    let told = page.clone();
    on(&page, "message", move |event| {
        let message = event.unchecked_into::<MessageEvent>().data().as_string();
        match give(&message.unwrap_or_default(), &told) {
            Ok(()) => Said::Done.to(&told),
            Err(error) => Said::Wrong(error.to_string()).to(&told),
        }
    });
    Said::Ready.to(&page);
}

fn give(lesson: &str, page: &DedicatedWorkerGlobalScope) -> Result<(), SceneError> {
    let digits = data::digits();
    let lesson = Lesson::from_link(lesson, &digits)?;
    let mut trainings = lesson.begin(&digits)?;
    for training in &trainings {
        Said::Came(training.report()).to(page);
    }
    for _ in 0..lesson.epochs {
        for training in &mut trainings {
            training.epoch()?;
            Said::Came(training.report()).to(page);
        }
    }
    Ok(())
}
