//! Lines over steps.

use web_sys::CanvasRenderingContext2d;

use super::dom::{canvas, colour, number};

/// Room at the left and at the bottom, for numbers.
pub const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;
pub const RIGHT: f64 = 8.0;

/// What is drawn.
pub struct Chart<'a> {
    /// Of the canvas.
    pub id: &'a str,
    /// The lines, with their colours; the first point of each is at `first`.
    pub lines: &'a [(String, Vec<f64>)],
    pub first: u64,
    /// The last step of the axis.
    pub last: u64,
    /// In equal ratios upwards.
    pub logarithmic: bool,
    /// A step that is marked.
    pub marked: Option<u64>,
}

impl Chart<'_> {
    pub fn draw(&self) {
        let Some((context, width, height)) = canvas(self.id) else {
            return;
        };
        let (least, greatest) = self.ends();
        let up = |y: f64| {
            if self.logarithmic {
                y.max(least).log10()
            } else {
                y
            }
        };
        let (low, high) = (up(least), up(greatest));
        let across = |step: f64| LEFT + (width - LEFT - RIGHT) * step / self.last.max(1) as f64;
        let place = |y: f64| {
            let share = (up(y) - low) / (high - low).max(1e-300);
            height - BOTTOM - (height - TOP - BOTTOM) * share.clamp(0.0, 1.0)
        };
        context.set_font("12px system-ui, sans-serif");
        context.set_line_width(1.0);
        context.set_stroke_style_str(&colour("grid"));
        context.set_fill_style_str(&colour("muted"));
        for (value, text) in self.ticks(low, high) {
            let y = place(value);
            line(&context, &[(LEFT, y), (width - RIGHT, y)]);
            context.set_text_align("right");
            let _ = context.fill_text(&text, LEFT - 6.0, y + 4.0);
        }
        for (share, align) in [(0.0, "left"), (0.5, "center"), (1.0, "right")] {
            context.set_text_align(align);
            let step = share * self.last as f64;
            let _ = context.fill_text(&number(step.round()), across(step), height - 6.0);
        }
        if let Some(step) = self.marked {
            context.set_stroke_style_str(&colour("muted"));
            let x = across(step as f64);
            line(&context, &[(x, TOP), (x, height - BOTTOM)]);
        }
        context.set_line_width(2.0);
        for (colour, values) in self.lines {
            context.set_stroke_style_str(colour);
            let steps = values.iter().enumerate();
            let points = steps.map(|(i, y)| (across((self.first + i as u64) as f64), place(*y)));
            line(&context, &points.collect::<Vec<_>>());
        }
    }

    /// Values with a line of their own: powers of ten where there are two, their doubles and halves where there are
    /// two of these, and quarters of the way otherwise.
    fn ticks(&self, low: f64, high: f64) -> Vec<(f64, String)> {
        let (first, last) = (low.ceil() as i32, high.floor() as i32);
        if self.logarithmic && first < last {
            let between = ((last - first) as usize).div_ceil(5);
            let powers = (first..=last).step_by(between.max(1));
            return powers
                .map(|power| (10f64.powi(power), format!("1e{power}")))
                .collect();
        }
        let named = |values: Vec<f64>| -> Vec<(f64, String)> {
            let values = values.into_iter();
            values.map(|value| (value, number(value))).collect()
        };
        if self.logarithmic {
            let powers = first - 1..=last + 1;
            let halves = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|x| x * 10f64.powi(power)));
            let within = halves.filter(|value| (low..=high).contains(&value.log10()));
            let within: Vec<f64> = within.collect();
            if within.len() >= 2 {
                return named(within);
            }
        }
        let quarters = (0..=4).map(|quarter| low + (high - low) * f64::from(quarter) / 4.0);
        let values = quarters.map(|y| if self.logarithmic { 10f64.powf(y) } else { y });
        named(values.collect())
    }

    /// The least and the greatest value; of what is not above zero a logarithmic chart knows nothing.
    fn ends(&self) -> (f64, f64) {
        let values = self.lines.iter().flat_map(|(_, values)| values).copied();
        let counted = values.filter(|y| y.is_finite() && (!self.logarithmic || *y > 0.0));
        let (low, high) = counted.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
            (low.min(y), high.max(y))
        });
        match (low <= high, self.logarithmic) {
            (false, _) => (1.0, 10.0),
            // No more than sixteen powers of ten: below is rounding.
            (true, true) => (low.max(high * 1e-16), high.max(low * 1.001)),
            (true, false) => (low.min(0.0), high.max(low + 1e-12)),
        }
    }
}

/// A line through points.
pub fn line(context: &CanvasRenderingContext2d, points: &[(f64, f64)]) {
    context.begin_path();
    for (x, y) in points {
        context.line_to(*x, *y);
    }
    context.stroke();
}
