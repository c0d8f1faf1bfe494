//! A few words for what is often done with elements.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::{
    CanvasRenderingContext2d, Document, Element, Event, EventTarget, HtmlCanvasElement,
    HtmlElement, Window,
};

pub fn window() -> Window {
    web_sys::window().expect("there is a window")
}

pub fn document() -> Document {
    window().document().expect("there is a document")
}

/// An element of the page's own HTML, which is there.
pub fn by_id<E: JsCast>(id: &str) -> E {
    let element = document().get_element_by_id(id);
    let element = element.unwrap_or_else(|| panic!("there is an element `{id}`"));
    element
        .dyn_into()
        .unwrap_or_else(|_| panic!("`{id}` is another kind of element"))
}

/// Does `act` whenever an event happens.
pub fn on(target: &EventTarget, event: &str, act: impl FnMut(Event) + 'static) {
    let closure = Closure::<dyn FnMut(Event)>::new(act);
    let _ = target.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref());
    // As long as the page.
    closure.forget();
}

pub fn set_hidden(element: &HtmlElement, hidden: bool) {
    element.set_hidden(hidden);
}

pub fn set_text(id: &str, text: &str) {
    by_id::<HtmlElement>(id).set_text_content(Some(text));
}

/// A new element with these attributes and this text.
pub fn made<E: JsCast>(tag: &str, attributes: &[(&str, &str)], text: &str) -> E {
    let element: Element = document().create_element(tag).expect("the tag is a name");
    for (name, value) in attributes {
        let _ = element.set_attribute(name, value);
    }
    if !text.is_empty() {
        element.set_text_content(Some(text));
    }
    element
        .dyn_into()
        .unwrap_or_else(|_| panic!("a `{tag}` is another kind of element"))
}

/// Puts elements into another, in their order.
pub fn fill(parent: &Element, children: &[Element]) {
    for child in children {
        let _ = parent.append_child(child);
    }
}

/// A row of a table about an optimizer: its colour and title, and then what there is to say.
pub fn row(at: usize, title: &str, cells: &[String]) -> Element {
    let row: Element = made("tr", &[], "");
    let head: Element = made("th", &[("scope", "row")], "");
    let swatch = made("span", &[("class", &format!("swatch s{at}"))], "");
    fill(&head, &[swatch, made("span", &[], title)]);
    fill(&row, &[head]);
    let cells = cells.iter().map(|text| made("td", &[], text));
    fill(&row, &cells.collect::<Vec<Element>>());
    row
}

/// Puts elements into another in the place of what was there.
pub fn refill(id: &str, children: &[Element]) {
    let parent: Element = by_id(id);
    parent.set_inner_html("");
    fill(&parent, children);
}

/// A canvas with as many points as the screen has, and its size in the page's units.
pub fn canvas(id: &str) -> Option<(CanvasRenderingContext2d, f64, f64)> {
    let canvas: HtmlCanvasElement = by_id(id);
    let (width, height) = (
        f64::from(canvas.client_width()),
        f64::from(canvas.client_height()),
    );
    // It is not shown.
    if width < 1.0 || height < 1.0 {
        return None;
    }
    let ratio = window().device_pixel_ratio().clamp(1.0, 3.0);
    let points = |length: f64| (length * ratio).round() as u32;
    if (canvas.width(), canvas.height()) != (points(width), points(height)) {
        canvas.set_width(points(width));
        canvas.set_height(points(height));
    }
    let context = canvas
        .get_context("2d")
        .ok()??
        .dyn_into::<CanvasRenderingContext2d>()
        .ok()?;
    let _ = context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
    context.clear_rect(0.0, 0.0, width, height);
    Some((context, width, height))
}

/// The value of one of the style's colours, as it is now.
pub fn colour(name: &str) -> String {
    let root = document().document_element();
    let style = root.and_then(|root| window().get_computed_style(&root).ok().flatten());
    let value = style.and_then(|style| style.get_property_value(&format!("--{name}")).ok());
    value.unwrap_or_default().trim().to_string()
}

/// The red, green and blue of a colour as `#rrggbb`.
pub fn channels(colour: &str) -> [u8; 3] {
    let digits = colour.trim_start_matches('#');
    [0, 2, 4].map(|at| {
        let pair = digits.get(at..at + 2).unwrap_or("00");
        u8::from_str_radix(pair, 16).unwrap_or(0)
    })
}

/// Whether a button that stays down is down.
pub fn set_pressed(id: &str, pressed: bool) {
    let pressed = if pressed { "true" } else { "false" };
    let _ = by_id::<HtmlElement>(id).set_attribute("aria-pressed", pressed);
}

/// [Copies](copy) the text of an element.
pub fn copy_text(id: &str, status: String) {
    let text = by_id::<HtmlElement>(id).text_content();
    copy(&text.unwrap_or_default(), status);
}

/// Puts text where other programs find it, and says so in `status`.
pub fn copy(text: &str, status: String) {
    let promise = window().navigator().clipboard().write_text(text);
    let of_said = status.clone();
    let said = Closure::<dyn FnMut(JsValue)>::new(move |_| set_text(&of_said, "Copied."));
    let refused = Closure::<dyn FnMut(JsValue)>::new(move |_| {
        set_text(
            &status,
            "The browser does not let the page copy; mark the lines instead.",
        );
    });
    let _ = promise.then2(&said, &refused);
    said.forget();
    refused.forget();
}

/// With so many digits, for people.
pub fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".to_string();
    }
    match x.abs() {
        1e-3..1e5 => {
            let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
            let text = format!("{x:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text,
            }
        }
        _ => format!("{x:.2e}"),
    }
}
