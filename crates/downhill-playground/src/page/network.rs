//! The part with a network: what it learns, by whom, and what it still gets wrong.

use std::cell::RefCell;
use std::rc::Rc;

use downhill_optim::OptimizerConfig;
use downhill_problems::data::{self, Split};
use serde_json::Value;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{
    CanvasRenderingContext2d, Element, HtmlCanvasElement, HtmlElement, HtmlSelectElement,
    ImageData, MessageEvent, Worker, WorkerOptions, WorkerType,
};

use super::chart::Chart;
use super::dom::{by_id, channels, colour, fill, made, number, on, refill, row, set_text};
use super::fields::{
    chosen_runner, enter, enter_schedule, entered, entered_schedule, optimizer_choices,
    runner_choices,
};
use super::runners::Owner;
use super::take::Take;
use super::worker::Said;
use super::{link, runners};
use crate::network::{Lesson, Report};
use crate::scene::{changed, title};
use crate::snippet;

pub type Shared = Rc<RefCell<Network>>;

/// Digits that are shown of those that a network gets wrong.
const SHOWN: usize = 40;

/// The state of the part.
pub struct Network {
    lesson: Lesson,
    optimizers: Vec<OptimizerConfig>,
    digits: Split,
    /// What each optimizer's network came to, before the first epoch and after each.
    reports: Vec<Vec<Report>>,
    /// Who trains, while it does.
    worker: Option<Worker>,
    /// Counts the trainings, as one that was ended may have said something that is yet to come.
    training: u32,
    take: Rc<Take>,
}

impl Owner for Shared {
    fn optimizers(&self) -> Vec<Value> {
        self.borrow().lesson.optimizers.clone()
    }

    fn set_optimizers(&self, optimizers: Vec<Value>, others: bool) {
        let lesson = self.borrow().lesson.clone();
        let lesson = Lesson {
            optimizers,
            ..lesson
        };
        if Network::change(self, lesson, others) {
            self.borrow().remember();
        }
    }
}

impl Network {
    pub fn open() -> Shared {
        let network = Rc::new(RefCell::new(Self {
            lesson: Lesson::default(),
            optimizers: Vec::new(),
            digits: data::digits(),
            reports: Vec::new(),
            worker: None,
            training: 0,
            take: Take::new("network", &["rust", "json", "command"]),
        }));
        optimizer_choices("network-add-name");
        Self::listen(&network);
        Self::change(&network, Lesson::default(), true);
        network
    }

    /// The lesson of a link.
    pub fn follow(shared: &Shared, content: &str) -> Result<(), String> {
        let lesson = Lesson::from_link(content, &shared.borrow().digits);
        Self::change(shared, lesson.map_err(|error| error.to_string())?, true);
        Ok(())
    }

    fn listen(shared: &Shared) {
        let button = |id: &str, act: fn(&Shared)| {
            let shared = Rc::clone(shared);
            on(&by_id::<HtmlElement>(id), "click", move |_| act(&shared));
        };
        button("network-train", |shared| {
            let is_training = shared.borrow().worker.is_some();
            match is_training {
                true => shared.borrow_mut().end(),
                false => Self::begin(shared),
            }
        });
        button("network-add", |shared| {
            let name = by_id::<HtmlSelectElement>("network-add-name").value();
            runners::add(shared, &name);
        });
        for id in ["epochs", "hidden", "batch", "seed", "rates"] {
            let shared = Rc::clone(shared);
            let field = by_id::<HtmlElement>(&format!("network-{id}"));
            on(&field, "change", move |_| {
                let lesson = shared.borrow().entered();
                match lesson {
                    Err(wrong) => set_text("network-wrong", &wrong),
                    Ok(lesson) => {
                        if Self::change(&shared, lesson, false) {
                            shared.borrow().remember();
                        }
                    }
                }
            });
        }
        let looked = Rc::clone(shared);
        on(&by_id::<HtmlElement>("network-seen"), "change", move |_| {
            looked.borrow().show_mistakes();
        });
        let chosen = Rc::clone(shared);
        let lines = move || chosen.borrow().write_lines();
        on(&by_id::<HtmlElement>("network-of"), "change", {
            let lines = lines.clone();
            move |_| lines()
        });
        let linked = Rc::clone(shared);
        let take = Rc::clone(&shared.borrow().take);
        take.listen(lines, move || linked.borrow().remember());
    }

    /// Takes over a lesson if it can be given, and says what is wrong otherwise. What was learned is forgotten.
    fn change(shared: &Shared, lesson: Lesson, others: bool) -> bool {
        let mut network = shared.borrow_mut();
        match lesson.check(&network.digits) {
            Err(error) => {
                set_text("network-wrong", &error.to_string());
                return false;
            }
            Ok(optimizers) => network.optimizers = optimizers,
        }
        network.end();
        network.lesson = lesson;
        network.reports = vec![Vec::new(); network.optimizers.len()];
        set_text("network-wrong", "");
        network.enter();
        drop(network);
        if others {
            runners::fill_cards("network-runners", shared);
        }
        shared.borrow().write_lines();
        shared.borrow().draw();
        true
    }

    /// The lesson as the fields have it.
    fn entered(&self) -> Result<Lesson, String> {
        let count = |id: &str, what: &str| -> Result<u32, String> {
            let text = entered(id);
            let wrong = |_| format!("{what} must be a whole number, got `{text}`");
            text.parse().map_err(wrong)
        };
        Ok(Lesson {
            optimizers: self.lesson.optimizers.clone(),
            schedule: entered_schedule("network-rates"),
            epochs: count("network-epochs", "the epochs")?,
            hidden: count("network-hidden", "the hidden units")?,
            batch_size: count("network-batch", "the digits a step")?,
            seed: count("network-seed", "the seed")?,
        })
    }

    /// Puts the lesson into the fields.
    fn enter(&self) {
        enter("network-epochs", self.lesson.epochs);
        enter("network-hidden", self.lesson.hidden);
        enter("network-batch", self.lesson.batch_size);
        enter("network-seed", self.lesson.seed);
        enter_schedule("network-rates", self.lesson.schedule.as_ref());
        for id in ["network-of", "network-seen"] {
            runner_choices(id, self.optimizers.iter().map(title));
        }
    }

    /// Trains from the beginning.
    fn begin(shared: &Shared) {
        let mut network = shared.borrow_mut();
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let Ok(worker) = Worker::new_with_options("./worker.js", &options) else {
            set_text(
                "network-wrong",
                "The browser lets the page start no worker.",
            );
            return;
        };
        network.training += 1;
        network.reports = vec![Vec::new(); network.optimizers.len()];
        let (training, heard) = (network.training, Rc::clone(shared));
        on(&worker, "message", move |event| {
            let message = event.unchecked_into::<MessageEvent>().data().as_string();
            let said = serde_json::from_str(&message.unwrap_or_default());
            let mut network = heard.borrow_mut();
            if let (Ok(said), true) = (said, network.training == training) {
                network.hear(said);
            }
        });
        let heard = Rc::clone(shared);
        on(&worker, "error", move |_| {
            let mut network = heard.borrow_mut();
            if network.training == training {
                network.hear(Said::Wrong("The training broke off.".to_string()));
            }
        });
        network.worker = Some(worker);
        set_text("network-train", "Stop");
        set_text("network-wrong", "");
        network.draw();
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Ready => {
                if let Some(worker) = &self.worker {
                    let _ = worker.post_message(&self.lesson.to_link().into());
                }
            }
            Said::Came(report) => {
                let at = report.at;
                if let Some(reports) = self.reports.get_mut(at) {
                    reports.push(report);
                }
                self.draw_progress();
                if at == chosen_runner("network-seen") {
                    self.show_mistakes();
                }
            }
            Said::Wrong(error) => {
                self.end();
                set_text("network-wrong", &error);
            }
            Said::Done => self.end(),
        }
    }

    /// Ends the training, if there is one.
    fn end(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.terminate();
        }
        self.training += 1;
        set_text("network-train", "Train");
    }

    /// Puts the lesson into the address.
    fn remember(&self) -> String {
        link("network", &self.lesson.to_link())
    }

    fn write_lines(&self) {
        let schedule = self.lesson.schedule.as_ref();
        let schedule = schedule.map(|one| (one, self.lesson.steps(&self.digits)));
        let lines = match self.optimizers.get(chosen_runner("network-of")) {
            None => String::new(),
            Some(config) => match self.take.form() {
                "json" => changed(config).to_string(),
                "command" => self.lesson.command(config),
                _ => snippet::rust(config, schedule),
            },
        };
        self.take.write(&lines);
    }

    /// Everything that is seen of what they learned.
    pub fn draw(&self) {
        self.draw_progress();
        self.show_mistakes();
    }

    /// How far they are.
    fn draw_progress(&self) {
        let epochs = self.reports.iter().map(|reports| reports.len());
        let begun = epochs.clone().max().unwrap_or(0);
        let at = match begun {
            0 => String::new(),
            _ => {
                let epoch = epochs.min().unwrap_or(0).saturating_sub(1);
                format!("Epoch {epoch} of {}", self.lesson.epochs)
            }
        };
        set_text("network-at", &at);
        let line = |of: &dyn Fn(&Report) -> f64| -> Vec<(String, Vec<f64>)> {
            let each = self.reports.iter().enumerate();
            each.map(|(at, reports)| {
                let values = reports.iter().map(of).take_while(|value| value.is_finite());
                (colour(&format!("c{at}")), values.collect())
            })
            .collect()
        };
        let losses = line(&|report| report.loss.unwrap_or(f64::NAN));
        let errors = line(&|report| 1.0 - report.accuracy(&self.digits));
        for (id, lines) in [("network-losses", &losses), ("network-errors", &errors)] {
            let chart = Chart {
                id,
                lines,
                first: 0,
                last: u64::from(self.lesson.epochs),
                logarithmic: true,
                marked: None,
            };
            chart.draw();
        }
        let rows = self.optimizers.iter().zip(&self.reports).enumerate();
        let rows = rows.map(|(at, (config, reports))| {
            let cells = match reports.last() {
                None => ["–", "–", "–"].map(String::from),
                Some(report) => [
                    report.loss.map_or("left the numbers".to_string(), number),
                    format!("{:.1} %", 100.0 * report.accuracy(&self.digits)),
                    report.wrong(&self.digits).len().to_string(),
                ],
            };
            row(at, &title(config), &cells)
        });
        refill("network-places", &rows.collect::<Vec<Element>>());
    }

    /// What the network that is looked at takes for what, and the digits that it gets wrong.
    fn show_mistakes(&self) {
        let seen = self.reports.get(chosen_runner("network-seen"));
        let report = seen.and_then(|reports| reports.last());
        by_id::<HtmlElement>("network-mistakes").set_hidden(report.is_none());
        let Some(report) = report else { return };
        let counts = report.confusion(&self.digits);
        let rows = counts.iter().enumerate().map(|(class, counts)| {
            let row: Element = made("tr", &[], "");
            fill(&row, &[made("th", &[("scope", "row")], &class.to_string())]);
            let all = counts.iter().sum::<u32>().max(1);
            for (guess, count) in counts.iter().enumerate() {
                let kind = if guess == class { "right" } else { "mistaken" };
                let text = match count {
                    0 => String::new(),
                    count => count.to_string(),
                };
                let cell: HtmlElement = made("td", &[("class", kind)], &text);
                let share = format!("{:.3}", f64::from(*count) / f64::from(all));
                let _ = cell.style().set_property("--share", &share);
                fill(&row, &[cell.into()]);
            }
            row
        });
        refill("network-confusion", &rows.collect::<Vec<Element>>());

        let wrong = report.wrong(&self.digits);
        let ink = channels(&colour("ink"));
        let shown = wrong.iter().take(SHOWN);
        let figures = shown.map(|(at, guess)| self.figure(*at, *guess, ink));
        refill("network-digits", &figures.collect::<Vec<Element>>());
        let more = match wrong.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("And {more} more."),
        };
        set_text("network-more", &more);
    }

    /// A digit, what it is, and what it is taken for.
    fn figure(&self, at: usize, guess: u8, ink: [u8; 3]) -> Element {
        let (pixels, class) = (self.digits.test.features(), self.digits.test.labels()[at]);
        let inputs = self.digits.test.inputs();
        let points = pixels[at * inputs..][..inputs].iter();
        let points: Vec<u8> = points
            .flat_map(|pixel| [ink[0], ink[1], ink[2], (255.0 * pixel).round() as u8])
            .collect();
        let figure: Element = made("figure", &[], "");
        let name = format!("A {class}, read as {guess}");
        let attributes = [
            ("width", "8"),
            ("height", "8"),
            ("role", "img"),
            ("aria-label", &name),
        ];
        let canvas: HtmlCanvasElement = made("canvas", &attributes, "");
        let image = ImageData::new_with_u8_clamped_array(Clamped(&points), 8);
        let context = canvas.get_context("2d").ok().flatten();
        let context = context.and_then(|one| one.dyn_into::<CanvasRenderingContext2d>().ok());
        if let (Some(context), Ok(image)) = (context, image) {
            let _ = context.put_image_data(&image, 0.0, 0.0);
        }
        let text = made("figcaption", &[], &format!("{class}, not {guess}"));
        fill(&figure, &[canvas.into(), text]);
        figure
    }
}
