//! The part with valleys: a map, charts, and what they are made of.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::{
    Element, HtmlCanvasElement, HtmlElement, HtmlInputElement, HtmlSelectElement, KeyboardEvent,
    PointerEvent,
};

use super::chart::Chart;
use super::dom::{by_id, colour, fill, made, number, on, refill, row, set_text, window};
use super::fields::{
    choices, chosen_runner, enter, enter_schedule, entered, entered_schedule, optimizer_choices,
    runner_choices, schedule_choices,
};
use super::map::Map;
use super::runners::Owner;
use super::take::Take;
use super::{link, runners};
use crate::race::Race;
use crate::scene::{FUNCTIONS, Scene, title};
use crate::{snippet, tour};

pub type Shared = Rc<RefCell<Valleys>>;

/// The state of the part.
pub struct Valleys {
    pub scene: Scene,
    race: Race,
    map: Map,
    is_playing: bool,
    /// When the last frame was, and the share of a step that is left from it.
    clock: Option<(f64, f64)>,
    take: Rc<Take>,
}

impl Owner for Shared {
    fn optimizers(&self) -> Vec<Value> {
        self.borrow().scene.optimizers.clone()
    }

    fn set_optimizers(&self, optimizers: Vec<Value>, others: bool) {
        let scene = self.borrow().scene.clone();
        Valleys::change_address(
            self,
            Scene {
                optimizers,
                ..scene
            },
            others,
        );
    }
}

impl Valleys {
    /// Fills the part with the first stop of the tour.
    pub fn open() -> Shared {
        let stops = tour::stops();
        let scene = stops[0].scene.clone();
        let race = Race::new(&scene).expect("the tour's scenes are sound");
        let valleys = Rc::new(RefCell::new(Self {
            scene,
            race,
            map: Map::default(),
            is_playing: false,
            clock: None,
            take: Take::new("valley", &["rust", "json"]),
        }));
        choices("function", FUNCTIONS.map(|name| (name.into(), name.into())));
        optimizer_choices("add-name");
        schedule_choices("schedule-names", |info| info.description);
        for stop in stops {
            let item: Element = made("li", &[], "");
            let button: HtmlElement = made("button", &[], stop.title);
            fill(&item, &[button.clone().into()]);
            fill(&by_id("tour"), &[item]);
            let shared = Rc::clone(&valleys);
            on(&button, "click", move |_| {
                Self::show(&shared, stop.scene.clone());
                shared.borrow().remember();
                set_text("told", stop.text);
                Self::begin(&shared);
            });
        }
        Self::listen(&valleys);
        let scene = valleys.borrow().scene.clone();
        Self::show(&valleys, scene);
        let reduced = window().match_media("(prefers-reduced-motion: reduce)");
        match reduced {
            Ok(Some(query)) if query.matches() => valleys.borrow_mut().finish(),
            _ => Self::begin(&valleys),
        }
        valleys
    }

    /// The scene of a link.
    pub fn follow(shared: &Shared, content: &str) -> Result<(), String> {
        let scene = Scene::from_link(content).map_err(|error| error.to_string())?;
        Self::show(shared, scene);
        shared.borrow_mut().finish();
        Ok(())
    }

    fn listen(shared: &Shared) {
        type Act = fn(&Shared);
        let buttons: [(&str, Act); 5] = [
            ("play", |shared| {
                let is_playing = shared.borrow().is_playing;
                match is_playing {
                    true => shared.borrow_mut().pause(),
                    false => Self::begin(shared),
                }
            }),
            ("once", |shared| {
                let mut valleys = shared.borrow_mut();
                valleys.pause();
                valleys.race.step();
                valleys.draw();
            }),
            ("again", |shared| {
                let mut valleys = shared.borrow_mut();
                valleys.restart(0);
                valleys.draw();
            }),
            ("end", |shared| {
                shared.borrow_mut().pause();
                shared.borrow_mut().finish();
            }),
            ("add", |shared| {
                runners::add(shared, &by_id::<HtmlSelectElement>("add-name").value());
            }),
        ];
        for (id, act) in buttons {
            let shared = Rc::clone(shared);
            on(&by_id::<HtmlElement>(id), "click", move |_| act(&shared));
        }
        for id in ["function", "steps", "start-x", "start-y", "rates"] {
            let shared = Rc::clone(shared);
            on(&by_id::<HtmlElement>(id), "change", move |_| {
                let scene = shared.borrow().entered(id == "function");
                Self::change_address(&shared, scene, false);
            });
        }
        let chosen = Rc::clone(shared);
        let lines = move || chosen.borrow().write_lines();
        on(&by_id::<HtmlElement>("valley-of"), "change", {
            let lines = lines.clone();
            move |_| lines()
        });
        let linked = Rc::clone(shared);
        let take = Rc::clone(&shared.borrow().take);
        take.listen(lines, move || linked.borrow().remember());

        let map: HtmlCanvasElement = by_id("map");
        let dragged = Rc::new(RefCell::new(false));
        let (valleys, is_dragged, pressed) = (Rc::clone(shared), Rc::clone(&dragged), map.clone());
        on(&map, "pointerdown", move |event| {
            let event = event.unchecked_into::<PointerEvent>();
            *is_dragged.borrow_mut() = true;
            let _ = pressed.set_pointer_capture(event.pointer_id());
            valleys.borrow_mut().pause();
            valleys.borrow_mut().drag(&event);
        });
        let (valleys, is_dragged) = (Rc::clone(shared), Rc::clone(&dragged));
        on(&map, "pointermove", move |event| {
            if *is_dragged.borrow() {
                valleys.borrow_mut().drag(&event.unchecked_into());
            }
        });
        for end in ["pointerup", "pointercancel"] {
            let (valleys, is_dragged) = (Rc::clone(shared), Rc::clone(&dragged));
            on(&map, end, move |_| {
                *is_dragged.borrow_mut() = false;
                valleys.borrow().remember();
            });
        }
        let valleys = Rc::clone(shared);
        on(&map, "keydown", move |event| {
            let event = event.unchecked_into::<KeyboardEvent>();
            let way = match event.key().as_str() {
                "ArrowLeft" => [-1.0, 0.0],
                "ArrowRight" => [1.0, 0.0],
                "ArrowUp" => [0.0, 1.0],
                "ArrowDown" => [0.0, -1.0],
                _ => return,
            };
            event.prevent_default();
            let mut valleys = valleys.borrow_mut();
            let [low, high] = valleys.race.function.domain();
            let far = (high - low) / if event.shift_key() { 20.0 } else { 200.0 };
            let start = valleys.start();
            valleys.start_at([start[0] + far * way[0], start[1] + far * way[1]]);
            valleys.remember();
        });
    }

    /// Shows another scene, with everybody at the start.
    fn show(shared: &Shared, scene: Scene) {
        shared.borrow_mut().pause();
        shared.borrow_mut().race.step = 0;
        Self::change(shared, scene, true);
    }

    /// Takes over a scene if it is sound, and says what is wrong otherwise. As many steps are shown as before.
    fn change(shared: &Shared, scene: Scene, others: bool) {
        let mut valleys = shared.borrow_mut();
        match Race::new(&scene) {
            Err(error) => {
                set_text("wrong", &error.to_string());
                return;
            }
            Ok(race) => {
                let step = valleys.race.step;
                valleys.scene = scene;
                valleys.race = race;
                valleys.race.go_to(step);
            }
        }
        set_text("wrong", "");
        valleys.enter();
        if others {
            drop(valleys);
            runners::fill_cards("runners", shared);
            valleys = shared.borrow_mut();
        }
        valleys.write_lines();
        valleys.draw();
    }

    /// [`change`](Self::change), which the address tells of from now on.
    pub fn change_address(shared: &Shared, scene: Scene, others: bool) {
        Self::change(shared, scene, others);
        shared.borrow().remember();
    }

    /// The scene as the fields have it.
    fn entered(&self, other_function: bool) -> Scene {
        let number = |id: &str| entered(id).parse::<f64>().unwrap_or(f64::NAN);
        let mut scene = self.scene.clone();
        scene.function = by_id::<HtmlSelectElement>("function").value();
        scene.start = match other_function {
            true => None,
            false => Some([number("start-x"), number("start-y")]),
        };
        scene.steps = entered("steps").parse().unwrap_or(0);
        scene.schedule = entered_schedule("rates");
        scene
    }

    /// Puts the scene into the fields.
    fn enter(&self) {
        by_id::<HtmlSelectElement>("function").set_value(&self.scene.function);
        let [x, y] = self.start();
        enter("steps", self.scene.steps);
        enter("start-x", round(x));
        enter("start-y", round(y));
        enter_schedule("rates", self.scene.schedule.as_ref());
        let runners = self.race.runners.iter();
        runner_choices("valley-of", runners.map(|runner| title(&runner.config)));
    }

    fn start(&self) -> [f64; 2] {
        let own = self.race.function.start();
        self.scene.start.unwrap_or([own[0], own[1]])
    }

    fn start_at(&mut self, start: [f64; 2]) {
        let [low, high] = self.race.function.domain();
        self.scene.start = Some(start.map(|x| round(x.clamp(low, high))));
        let step = self.race.step;
        self.restart(step);
        self.enter();
        self.draw();
    }

    fn drag(&mut self, event: &PointerEvent) {
        let map: HtmlCanvasElement = by_id("map");
        let (width, height) = (
            f64::from(map.client_width()),
            f64::from(map.client_height()),
        );
        let side = width.min(height).max(1.0);
        let [low, high] = self.race.function.domain();
        let x = (f64::from(event.offset_x()) - (width - side) / 2.0) / side;
        let y = (f64::from(event.offset_y()) - (height - side) / 2.0) / side;
        self.start_at([low + (high - low) * x, high - (high - low) * y]);
    }

    /// Everybody at the start, and then so many steps.
    fn restart(&mut self, step: u64) {
        if let Ok(race) = Race::new(&self.scene) {
            self.race = race;
        }
        self.race.go_to(step);
    }

    fn finish(&mut self) {
        self.race.go_to(self.race.steps);
        self.draw();
    }

    fn pause(&mut self) {
        self.is_playing = false;
        self.clock = None;
        set_text("play", "Play");
    }

    /// Plays on, or from the start if the end is reached.
    fn begin(shared: &Shared) {
        {
            let mut valleys = shared.borrow_mut();
            if valleys.race.step == valleys.race.steps {
                valleys.restart(0);
            }
            valleys.is_playing = true;
            valleys.clock = None;
        }
        set_text("play", "Pause");
        Self::next_frame(shared);
    }

    fn next_frame(shared: &Shared) {
        let shared = Rc::clone(shared);
        let frame = Closure::once_into_js(move |now: f64| {
            let goes_on = shared.borrow_mut().frame(now);
            if goes_on {
                Self::next_frame(&shared);
            }
        });
        let _ = window().request_animation_frame(frame.unchecked_ref());
    }

    /// As many steps as are due, and whether there are more.
    fn frame(&mut self, now: f64) -> bool {
        if !self.is_playing {
            return false;
        }
        let speed = 10f64.powf(by_id::<HtmlInputElement>("speed").value_as_number());
        let (before, left) = self.clock.unwrap_or((now, 1.0));
        // A page that was not seen does not catch up.
        let due = left + speed * ((now - before) / 1000.0).clamp(0.0, 0.1);
        for _ in 0..due as u64 {
            self.race.step();
        }
        self.clock = Some((now, due.fract()));
        if self.race.step == self.race.steps {
            self.pause();
        }
        self.draw();
        self.is_playing
    }

    /// Puts the scene into the address.
    fn remember(&self) -> String {
        link("valleys", &self.scene.to_link())
    }

    fn write_lines(&self) {
        let schedule = self.scene.schedule.as_ref();
        let schedule = schedule.map(|one| (one, self.scene.steps));
        let lines = match self.race.runners.get(chosen_runner("valley-of")) {
            None => String::new(),
            Some(runner) if self.take.form() == "json" => {
                crate::scene::changed(&runner.config).to_string()
            }
            Some(runner) => snippet::rust(&runner.config, schedule),
        };
        self.take.write(&lines);
    }

    /// Everything that is seen of where they are.
    pub fn draw(&mut self) {
        self.map.draw(&self.race, self.start());
        let least = self.race.function.least();
        let runners = self.race.runners.iter().enumerate();
        let line = |of: &dyn Fn(usize) -> Vec<f64>| -> Vec<(String, Vec<f64>)> {
            let all = 0..self.race.runners.len();
            all.map(|at| (colour(&format!("c{at}")), of(at))).collect()
        };
        let values = line(&|at| {
            let values = self.race.runners[at].values.iter();
            values.map(|value| value - least).collect()
        });
        let lengths = line(&|at| self.race.runners[at].lengths.clone());
        let chart = |id, lines, first| Chart {
            id,
            lines,
            first,
            last: self.race.steps,
            logarithmic: true,
            marked: None,
        };
        chart("losses", &values, 0).draw();
        chart("lengths", &lengths, 1).draw();

        let rows = runners.map(|(at, runner)| {
            let last = |values: &[f64]| values.last().map_or("–".to_string(), |x| number(*x));
            let [x, y] = runner.path[runner.path.len() - 1];
            let rate = runner.rate(self.race.step.saturating_sub(1));
            let cells = match runner.is_lost {
                true => ["left the numbers", "–", "–", "–"].map(String::from),
                false => [
                    number(runner.values[runner.values.len() - 1] - least),
                    last(&runner.lengths),
                    number(rate),
                    format!("{}, {}", number(x), number(y)),
                ],
            };
            row(at, &title(&runner.config), &cells)
        });
        refill("places", &rows.collect::<Vec<Element>>());
        set_text(
            "at",
            &format!("Step {} of {}", self.race.step, self.race.steps),
        );
    }
}

/// To what a start is written with.
fn round(x: f64) -> f64 {
    (1e4 * x).round() / 1e4
}
