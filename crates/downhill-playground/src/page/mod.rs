//! The page: what is seen, and what happens when something is touched.

mod chart;
mod dom;
mod fields;
mod map;
mod network;
mod runners;
mod schedules;
mod take;
mod valleys;
mod worker;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, HtmlElement, KeyboardEvent};

use dom::{by_id, on, set_hidden, window};
use network::Network;
use schedules::Schedules;
use valleys::Valleys;
use worker::Said;

/// The names of the parts, as they are in ids and links.
const PARTS: [&str; 3] = ["valleys", "network", "schedules"];

/// All parts.
struct Page {
    valleys: Rc<RefCell<Valleys>>,
    /// Made when somebody looks at it, so that the first picture need not wait for the digits.
    network: OnceCell<network::Shared>,
    schedules: Rc<RefCell<Schedules>>,
}

/// Begins when the module is loaded, by the page or by its worker.
#[wasm_bindgen(start)]
pub fn start() {
    let worker = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>();
    let told = worker.clone().ok();
    std::panic::set_hook(Box::new(move |panic| {
        web_sys::console::error_1(&panic.to_string().into());
        let text = format!("This is a mistake of the playground: {panic}");
        match &told {
            Some(page) => Said::Wrong(text).to(page),
            None => say(&text),
        }
    }));
    match worker {
        Ok(scope) => worker::start(scope),
        Err(_) => open(),
    }
}

/// The numbers behind the paths of a valley, by the JSON of its link: for whoever wants to go on with them in the
/// browser's console.
#[wasm_bindgen]
pub fn race(scene: &str) -> Result<String, JsError> {
    Ok(crate::race::numbers(scene)?)
}

fn open() {
    let page = Rc::new(Page {
        valleys: Valleys::open(),
        network: OnceCell::new(),
        schedules: Schedules::open(),
    });
    for (at, part) in PARTS.into_iter().enumerate() {
        let tab: HtmlElement = by_id(&format!("tab-{part}"));
        let shown = Rc::clone(&page);
        on(&tab, "click", move |_| shown.show(at));
        let shown = Rc::clone(&page);
        on(&tab, "keydown", move |event| {
            let key = event.unchecked_into::<KeyboardEvent>().key();
            let to = match key.as_str() {
                "ArrowRight" => (at + 1) % PARTS.len(),
                "ArrowLeft" => (at + PARTS.len() - 1) % PARTS.len(),
                "Home" => 0,
                "End" => PARTS.len() - 1,
                _ => return,
            };
            shown.show(to);
            let _ = by_id::<HtmlElement>(&format!("tab-{}", PARTS[to])).focus();
        });
    }
    let linked = Rc::clone(&page);
    on(&window(), "hashchange", move |_| linked.follow());
    let drawn = Rc::clone(&page);
    on(&window(), "resize", move |_| drawn.draw());
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        let drawn = Rc::clone(&page);
        on(&dark, "change", move |_| drawn.draw());
    }
    set_hidden(&by_id("loading"), true);
    page.follow();
}

/// Says what is wrong with the page as a whole; nothing, if it is empty.
fn say(text: &str) {
    let problem: HtmlElement = by_id("problem");
    problem.set_text_content(Some(text));
    set_hidden(&problem, text.is_empty());
}

/// Puts a part and what it shows into the address, without going there.
fn link(part: &str, content: &str) -> String {
    let hash = format!(
        "#{part}={}",
        String::from(js_sys::encode_uri_component(content))
    );
    if let Ok(history) = window().history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&hash));
    }
    window().location().href().unwrap_or_default()
}

impl Page {
    /// Shows what the address says.
    fn follow(&self) {
        let hash = window().location().hash().unwrap_or_default();
        let hash = hash.trim_start_matches('#');
        let (part, content) = hash.split_once('=').unwrap_or((hash, ""));
        let content = js_sys::decode_uri_component(content);
        let content = content.map_or_else(|_| "%".to_string(), String::from);
        say("");
        let wrong = match (part, content.as_str()) {
            ("", _) | (_, "") => None,
            ("valleys", content) => Valleys::follow(&self.valleys, content).err(),
            ("network", content) => Network::follow(self.network(), content).err(),
            ("schedules", content) => self.schedules.borrow_mut().follow(content).err(),
            (other, _) => Some(format!("there is no part `{other}`")),
        };
        if let Some(wrong) = wrong {
            say(&format!("The link cannot be followed: {wrong}"));
        }
        self.show(PARTS.iter().position(|known| *known == part).unwrap_or(0));
    }

    fn network(&self) -> &network::Shared {
        self.network.get_or_init(Network::open)
    }

    fn show(&self, at: usize) {
        if PARTS[at] == "network" {
            self.network();
        }
        for (i, part) in PARTS.into_iter().enumerate() {
            let tab: HtmlElement = by_id(&format!("tab-{part}"));
            let _ = tab.set_attribute("aria-selected", if i == at { "true" } else { "false" });
            tab.set_tab_index(if i == at { 0 } else { -1 });
            set_hidden(&by_id(part), i != at);
        }
        self.draw();
    }

    fn draw(&self) {
        self.valleys.borrow_mut().draw();
        if let Some(network) = self.network.get() {
            network.borrow().draw();
        }
        self.schedules.borrow().draw();
    }
}
