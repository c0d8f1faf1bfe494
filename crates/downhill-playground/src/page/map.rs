//! The map of a valley, with the paths.

use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

use super::chart::line;
use super::dom::{canvas, channels, colour, document};
use crate::race::Race;
use crate::relief::Relief;

/// Points on each side of the map's ground.
const GROUND: usize = 480;

/// The map.
#[derive(Default)]
pub struct Map {
    /// The ground, and what it was made for.
    ground: Option<(String, HtmlCanvasElement)>,
}

impl Map {
    /// The paths over the ground, the minima, and the start.
    pub fn draw(&mut self, race: &Race, start: [f64; 2]) {
        let Some((context, width, height)) = canvas("map") else {
            return;
        };
        let colours = ["low", "high", "line"].map(colour);
        let made_for = format!("{} {}", race.function.name(), colours.join(" "));
        if self.ground.as_ref().is_none_or(|(of, _)| *of != made_for) {
            let colours = [0, 1, 2].map(|at| channels(&colours[at]));
            self.ground = ground(race, colours).map(|ground| (made_for, ground));
        }
        let side = width.min(height);
        let (left, top) = ((width - side) / 2.0, (height - side) / 2.0);
        if let Some((_, ground)) = &self.ground {
            let _ = context
                .draw_image_with_html_canvas_element_and_dw_and_dh(ground, left, top, side, side);
        }
        let [low, high] = race.function.domain();
        let place = |[x, y]: [f64; 2]| {
            let share = |x: f64| (x - low) / (high - low);
            (left + side * share(x), top + side * (1.0 - share(y)))
        };
        context.save();
        context.begin_path();
        context.rect(left, top, side, side);
        context.clip();
        context.set_stroke_style_str(&colour("ink"));
        context.set_line_width(1.5);
        for minimum in race.function.minima() {
            let (x, y) = place([minimum.point[0], minimum.point[1]]);
            line(&context, &[(x - 5.0, y - 5.0), (x + 5.0, y + 5.0)]);
            line(&context, &[(x - 5.0, y + 5.0), (x + 5.0, y - 5.0)]);
        }
        context.set_line_width(2.0);
        for (at, runner) in race.runners.iter().enumerate() {
            let colour = colour(&format!("c{at}"));
            context.set_stroke_style_str(&colour);
            context.set_fill_style_str(&colour);
            let path: Vec<(f64, f64)> = runner.path.iter().map(|point| place(*point)).collect();
            line(&context, &path);
            disc(&context, path[path.len() - 1], 5.0);
            context.fill();
        }
        context.set_stroke_style_str(&colour("ink"));
        disc(&context, place(start), 9.0);
        context.stroke();
        context.restore();
    }
}

fn disc(context: &CanvasRenderingContext2d, (x, y): (f64, f64), radius: f64) {
    context.begin_path();
    let _ = context.arc(x, y, radius, 0.0, std::f64::consts::TAU);
}

/// The ground of the map, which changes with the function and the colours only.
fn ground(race: &Race, colours: [[u8; 3]; 3]) -> Option<HtmlCanvasElement> {
    let pixels = Relief::new(&race.function).picture(GROUND, colours);
    let side = GROUND as u32;
    let image = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels), side, side).ok()?;
    let canvas = document().create_element("canvas").ok()?;
    let canvas: HtmlCanvasElement = canvas.dyn_into().ok()?;
    canvas.set_width(side);
    canvas.set_height(side);
    let context = canvas.get_context("2d").ok()??;
    let context = context.dyn_into::<CanvasRenderingContext2d>().ok()?;
    context.put_image_data(&image, 0.0, 0.0).ok()?;
    Some(canvas)
}
