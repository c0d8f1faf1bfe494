//! What can be taken along from a part: lines in one of several forms, and a link.

use std::cell::Cell;
use std::rc::Rc;

use web_sys::HtmlElement;

use super::dom::{by_id, copy, copy_text, on, set_pressed, set_text};

/// The lines at the foot of a part. Its elements' ids begin with the part's name.
pub struct Take {
    part: &'static str,
    /// What can be chosen, as it is in the ids of the buttons.
    forms: &'static [&'static str],
    form: Cell<usize>,
}

impl Take {
    pub fn new(part: &'static str, forms: &'static [&'static str]) -> Rc<Self> {
        let form = Cell::new(0);
        Rc::new(Self { part, forms, form })
    }

    /// Asks for the lines in another form, or for a link, when a button says so.
    pub fn listen(
        self: &Rc<Self>,
        lines: impl Fn() + Clone + 'static,
        link: impl Fn() -> String + 'static,
    ) {
        let button = |name: &str| by_id::<HtmlElement>(&format!("{}-{name}", self.part));
        for at in 0..self.forms.len() {
            let (take, lines) = (Rc::clone(self), lines.clone());
            on(&button(&self.id(at)), "click", move |_| {
                take.form.set(at);
                for other in 0..take.forms.len() {
                    set_pressed(&format!("{}-{}", take.part, take.id(other)), other == at);
                }
                lines();
            });
        }
        let part = self.part;
        on(&button("copy"), "click", move |_| {
            copy_text(&format!("{part}-lines"), format!("{part}-copied"));
        });
        on(&button("copy-link"), "click", move |_| {
            copy(&link(), format!("{part}-copied"));
        });
    }

    fn id(&self, at: usize) -> String {
        format!("as-{}", self.forms[at])
    }

    /// The form that is chosen.
    pub fn form(&self) -> &'static str {
        self.forms[self.form.get()]
    }

    pub fn write(&self, lines: &str) {
        set_text(&format!("{}-lines", self.part), lines);
        set_text(&format!("{}-copied", self.part), "");
    }
}
