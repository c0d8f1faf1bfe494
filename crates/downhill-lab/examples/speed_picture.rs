//! Draws the times of a step beside those of other libraries, for the documentation.
//!
//! ```text
//! cargo run --example speed_picture -- docs/book/src/speed.csv docs/book/src/speed.svg
//! ```
//!
//! A row of the file has an optimizer, then nanoseconds per parameter: downhill's, burn-optim's (or nothing), and the
//! least and the most of PyTorch's.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::fs;

use downhill_plot::{Figure, PlotFile, color, short};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

struct Row {
    name: String,
    downhill: f64,
    burn_optim: Option<f64>,
    torch: [f64; 2],
}

fn row(line: &str) -> Result<Row, Box<dyn Error>> {
    let fields: Vec<&str> = line.split(',').collect();
    let [name, downhill, burn_optim, low, high] = fields[..] else {
        return Err(format!("a row has five fields: {line}").into());
    };
    Ok(Row {
        name: name.to_string(),
        downhill: downhill.parse()?,
        burn_optim: (!burn_optim.is_empty())
            .then(|| burn_optim.parse())
            .transpose()?,
        torch: [low.parse()?, high.parse()?],
    })
}

struct Speed(Vec<Row>);

/// What is drawn for a library: its name, and its colour by the number.
const LIBRARIES: [(&str, usize); 3] = [("downhill", 0), ("burn-optim", 1), ("PyTorch 2.15", 2)];

const SIZE: (u32, u32) = (860, 330);
const LEFT: f64 = 96.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;
const RANGE: (f64, f64) = (0.3, 30.0);

impl Figure for Speed {
    const FINE: u32 = 10;
    const DENSE: u32 = 2;

    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: DrawingArea<B, Shift>,
        unit: u32,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let px = |pixels: f64| (pixels * f64::from(unit)).round() as i32;
        let (width, height) = (f64::from(SIZE.0), f64::from(SIZE.1));
        let x = |time: f64| {
            let share = (time / RANGE.0).ln() / (RANGE.1 / RANGE.0).ln();
            px(LEFT + share * (width - LEFT - RIGHT))
        };
        let text = |text: &str, size: f64, at: (i32, i32), pos: Pos| {
            // The backends take 1.24 of it for the height of a line.
            let style = ("sans-serif", px(1.24 * size)).into_text_style(&root);
            root.draw(&Text::new(text.to_string(), at, style.pos(pos)))
        };
        root.fill(&WHITE)?;
        let bottom = px(height - BOTTOM);
        for tick in [0.3, 1.0, 3.0, 10.0, 30.0] {
            let line = [(x(tick), px(TOP - 8.0)), (x(tick), bottom)];
            root.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
            let below = (x(tick), bottom + px(6.0));
            text(&short(tick), 12.0, below, Pos::new(HPos::Center, VPos::Top))?;
        }
        let middle = (px(LEFT + (width - LEFT - RIGHT) / 2.0), px(height - 14.0));
        let label = "nanoseconds per parameter for one step (log scale): less is better";
        text(label, 12.0, middle, Pos::new(HPos::Center, VPos::Center))?;

        for (at, (name, library)) in LIBRARIES.iter().enumerate() {
            let left = px(LEFT + 150.0 * at as f64);
            let line = px(16.0);
            root.draw(&Circle::new(
                (left, line),
                px(5.0),
                color(*library).filled(),
            ))?;
            let place = (left + px(12.0), line);
            text(name, 13.0, place, Pos::new(HPos::Left, VPos::Center))?;
        }
        let each = (height - TOP - BOTTOM) / self.0.len() as f64;
        for (at, row) in self.0.iter().enumerate() {
            let y = px(TOP + each * (at as f64 + 0.5));
            let place = (px(LEFT - 10.0), y);
            text(&row.name, 13.0, place, Pos::new(HPos::Right, VPos::Center))?;
            let [low, high] = row.torch;
            let torch = color(2);
            let line = [(x(low), y), (x(high), y)];
            root.draw(&PathElement::new(line, torch.stroke_width(px(4.0) as u32)))?;
            for end in row.torch {
                root.draw(&Circle::new((x(end), y), px(4.0), torch.filled()))?;
            }
            let others = row.burn_optim.map(|time| (time, 1));
            for (time, library) in others.into_iter().chain([(row.downhill, 0)]) {
                root.draw(&Circle::new((x(time), y), px(6.0), color(library).filled()))?;
            }
        }
        root.present()?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [from, to] = &args[..] else {
        return Err("usage: speed_picture FILE.csv FILE.svg|png".into());
    };
    let rows = fs::read_to_string(from)?;
    let rows = rows.lines().skip(1).map(row).collect::<Result<_, _>>()?;
    let file: PlotFile = to.parse()?;
    file.draw_figure(&Speed(rows))
}
