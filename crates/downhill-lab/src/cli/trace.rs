//! `downhill trace`: where optimizers go.

use std::error::Error;
use std::io::{self, Write};

use comfy_table::CellAlignment;
use downhill_lab::trace::{Path, RATES, TraceError, best_of, trace};
use downhill_optim::OptimizerConfig;
use downhill_problems::functions::{self, Function};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use super::plot::{Grid, Levels, PictureFile, Region, animate, clip};
use super::{Failure, failed, json, number, table, usage};
use downhill_plot::{Figure, color};

/// More could not be told apart.
const MOST: usize = 6;

/// Show the paths of optimizers over a test function
///
/// Without --lr each optimizer takes the rate, of 1e-4, 2e-4, 5e-4, ..., 10, with the lowest value at
/// the last step, and the table says which: at their default rates, which are made for networks, most
/// would hardly leave the start. Rates with which the path leaves the function's domain do not count.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true, after_help = after_help())]
pub struct Args {
    /// A function of two variables (listed below); the quadratic may have a condition number, as in
    /// quadratic-2-50
    #[arg(long, value_name = "NAME", value_parser = function)]
    function: Function,

    /// Optimizers, separated by commas (`downhill list optimizers`), six at most
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    #[arg(value_parser = OptimizerConfig::by_name)]
    optimizer: Vec<OptimizerConfig>,

    /// Learning rate of all optimizers [default: the best one of a grid for each]
    #[arg(long, value_name = "X", value_parser = learning_rate)]
    lr: Option<f64>,

    /// Updates
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    steps: u64,

    /// Where the paths start, in the function's domain [default: the function's own start]
    #[arg(long, value_name = "X,Y", value_parser = point, allow_hyphen_values = true)]
    start: Option<[f64; 2]>,

    /// Draw the paths over the function's contours into this file, GIF animated
    #[arg(long, value_name = "FILE.svg|png|gif")]
    out: Option<PictureFile>,

    /// Print one JSON object per optimizer, with the whole path, instead of a table, and nothing else
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    let mut help = String::from("Functions:\n");
    for function in planar() {
        let [low, high] = function.domain();
        let name = function.name();
        help += &format!("  {name:<16} {}, from {low} to {high}\n", function.about());
    }
    help + "
JSON keys:
  function, optimizer, lr, start
  steps     updates that gave a finite value
  end       the last point
  value     the function's value there
  distance  from there to the nearest minimum
  left_at   the step that left the domain for good, or null
  points    the start, and the point after each update
  values    the function's values there"
}

/// The functions that come with the crate and have two variables, or may have.
fn planar() -> Vec<Function> {
    let quadratic = Function::quadratic(2, 100.0).ok();
    let others = functions::all().into_iter().filter(|f| f.dimension() == 2);
    quadratic.into_iter().chain(others).collect()
}

fn function(name: &str) -> Result<Function, String> {
    // What else has a dimension of its own has two variables by default.
    let name = if name == "quadratic" {
        "quadratic-2"
    } else {
        name
    };
    let function = functions::by_name(name).map_err(|error| error.to_string())?;
    match function.dimension() {
        2 => Ok(function),
        dimension => Err(TraceError::Dimension {
            function: function.name(),
            dimension,
        }
        .to_string()),
    }
}

fn learning_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(lr) if lr.is_finite() && lr > 0.0 => Ok(lr),
        _ => Err("a learning rate is a number above 0, for example 0.01"),
    }
}

fn point(text: &str) -> Result<[f64; 2], &'static str> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let pair = text.split_once(',');
    let point = pair.and_then(|(x, y)| Some([number(x)?, number(y)?]));
    point.ok_or("a point is two numbers with a comma between them, for example -1.2,1")
}

#[derive(Serialize)]
struct Report<'a> {
    function: String,
    optimizer: &'a str,
    lr: f64,
    start: [f64; 2],
    steps: u64,
    end: [f64; 2],
    value: f64,
    distance: f64,
    left_at: Option<u64>,
    points: &'a [[f64; 2]],
    values: &'a [f64],
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if args.optimizer.len() > MOST {
        return Err(usage(format!(
            "{} optimizers: more than {MOST} cannot be told apart",
            args.optimizer.len()
        )));
    }
    let function = &args.function;
    let own = function.start();
    let start = args.start.unwrap_or([own[0], own[1]]);
    let paths: Vec<Path> = args
        .optimizer
        .iter()
        .map(|optimizer| match args.lr {
            Some(lr) => trace(function, optimizer, lr, start, args.steps),
            None => best_of(function, optimizer, &RATES, start, args.steps),
        })
        .collect::<Result<_, _>>()
        .map_err(usage)?;

    let mut stdout = io::stdout().lock();
    if args.json {
        for path in &paths {
            let report = Report {
                function: function.name(),
                optimizer: &path.optimizer,
                lr: path.lr,
                start,
                steps: path.steps(),
                end: path.end(),
                value: path.end_value(),
                distance: path.distance_to_minimum(function),
                left_at: path.left_at,
                points: &path.points,
                values: &path.values,
            };
            let json = json(&report)?;
            writeln!(stdout, "{json}")?;
        }
    } else {
        writeln!(
            stdout,
            "{} ({}) from ({}, {})",
            function.name(),
            function.about(),
            number(start[0]),
            number(start[1])
        )?;
        let mut table = table([
            "Optimizer",
            "Rate",
            "Steps",
            "Final point",
            "Value",
            "Distance to minimum",
            "",
        ]);
        for path in &paths {
            let [x, y] = path.end();
            table.add_row([
                path.optimizer.clone(),
                number(path.lr),
                path.steps().to_string(),
                format!("({},\u{a0}{})", number(x), number(y)),
                number(path.end_value()),
                number(path.distance_to_minimum(function)),
                match path.left_at {
                    Some(step) => format!("left the domain at step {step}"),
                    None => String::new(),
                },
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if let (true, Some(column)) = (
            paths.iter().all(|path| path.left_at.is_none()),
            table.column_mut(6),
        ) {
            column.set_constraint(comfy_table::ColumnConstraint::Hidden);
        }
        writeln!(stdout, "{table}")?;
        if args.lr.is_none() {
            writeln!(
                stdout,
                "Each rate is the best of {} to {} (--lr sets one for all).",
                number(RATES[0]),
                number(RATES[RATES.len() - 1])
            )?;
        }
    }
    if let Some(file) = &args.out {
        draw(file, function, start, args.steps, &paths)
            .map_err(|error| failed(format!("cannot write {file}: {error}")))?;
    }
    Ok(())
}

fn draw(
    file: &PictureFile,
    function: &Function,
    start: [f64; 2],
    steps: u64,
    paths: &[Path],
) -> Result<(), Box<dyn Error>> {
    /// Frames of an animation that move, and that stand still at its end.
    const MOVING: u64 = 34;
    const STILL: u64 = 6;

    let view = View::of(function, start, paths);
    let grid = Grid::new(view.x, view.y, 240, |x, y| function.value(&[x, y]));
    let minima = function.minima();
    let levels = grid.levels(minima[0].value);
    let map = Map {
        function,
        start,
        steps,
        paths,
        regions: grid.regions(&levels),
        levels,
        view,
    };
    match file {
        PictureFile::Still(file) => file.draw_figure(&Page {
            map: &map,
            shown: None,
        }),
        PictureFile::Animation(path) => {
            let moving = MOVING.min(steps + 1);
            let frames = (0..moving + STILL).map(|frame| {
                // The first steps are the longest.
                let part = (frame as f64 / (moving - 1) as f64).min(1.0).powf(1.5);
                Page {
                    map: &map,
                    shown: Some((part * steps as f64).round() as u64),
                }
            });
            animate(path, frames, 120)
        }
    }
}

/// The part of the plane that is drawn: a square.
struct View {
    x: [f64; 2],
    y: [f64; 2],
}

impl View {
    /// The function's domain, or less if all that happens fills only a small part of it.
    fn of(function: &Function, start: [f64; 2], paths: &[Path]) -> Self {
        let [low, high] = function.domain();
        let minima = function.minima();
        let nearest = paths.iter().filter_map(|path| {
            let [x, y] = path.end();
            let distance = |p: &[f64]| (x - p[0]).hypot(y - p[1]);
            let points = minima.iter().map(|minimum| &minimum.point[..]);
            let nearest = points.min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
            Some([nearest[0], nearest[1]])
        });
        let points = paths.iter().flat_map(|path| path.points.iter().copied());
        let points: Vec<[f64; 2]> = points.chain(nearest).chain([start]).collect();
        let range = |i: usize| {
            let inside = points.iter().map(|point| point[i].clamp(low, high));
            inside.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], x| {
                [a.min(x), b.max(x)]
            })
        };
        let ranges = [range(0), range(1)];
        let extent = ranges.iter().map(|[a, b]| b - a).fold(0.0, f64::max);
        let width = 1.3 * extent;
        if width > 0.3 * (high - low) || width == 0.0 {
            return Self {
                x: [low, high],
                y: [low, high],
            };
        }
        let [x, y] = ranges.map(|[a, b]| {
            let left = ((a + b - width) / 2.0).clamp(low, high - width);
            [left, left + width]
        });
        Self { x, y }
    }
}

/// What is drawn.
struct Map<'a> {
    function: &'a Function,
    start: [f64; 2],
    steps: u64,
    paths: &'a [Path],
    levels: Levels,
    regions: Vec<Region>,
    view: View,
}

/// A picture, or a frame of an animation with the paths up to a step.
struct Page<'a> {
    map: &'a Map<'a>,
    shown: Option<u64>,
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

const SIZE: (u32, u32) = (816, 590);
const LEFT: u32 = 66;
const EDGE: u32 = 8;
const TOP: u32 = 40;
const SIDE: u32 = 504;

impl Figure for Page<'_> {
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
        root.fill(&WHITE)?;
        let print = Print { page: self, unit };
        print.all(&root)?;
        root.present()?;
        Ok(())
    }
}

struct Print<'a> {
    page: &'a Page<'a>,
    unit: u32,
}

impl Print<'_> {
    fn px(&self, pixels: f64) -> i32 {
        (pixels * f64::from(self.unit)).round() as i32
    }

    fn stroke(&self, color: RGBAColor, pixels: f64) -> ShapeStyle {
        color.stroke_width(self.px(pixels).max(1) as u32)
    }

    fn text<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        text: &str,
        [x, y]: [f64; 2],
        size: f64,
        anchor: HPos,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        // The backends take 1.24 of it for the height of a line.
        let style = ("sans-serif", self.px(1.24 * size)).into_text_style(root);
        let style = style.pos(Pos::new(anchor, VPos::Center));
        // The bitmap backend leaves the gap between lines below the text.
        let is_bitmap = self.unit < Page::FINE;
        let y = if is_bitmap { y + 0.17 * size } else { y };
        Ok(root.draw(&Text::new(text, (self.px(x), self.px(y)), style))?)
    }

    fn all<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let map = self.page.map;
        let [x, y] = map.start;
        let when = match self.page.shown {
            None => format!("{} steps", map.steps),
            Some(step) => format!("step {step} of {}", map.steps),
        };
        let title = format!(
            "{} from ({}, {}), {when}",
            map.function.name(),
            number(x),
            number(y)
        );
        self.text(root, &title, [f64::from(LEFT), 20.0], 16.0, HPos::Left)?;

        let [x, y] = [map.view.x, map.view.y];
        let mut chart = ChartBuilder::on(root)
            .margin_top(self.px(f64::from(TOP)))
            .margin_right(self.px(f64::from(SIZE.0 - LEFT - SIDE)))
            .margin_left(self.px(f64::from(EDGE)))
            .margin_bottom(self.px(f64::from(EDGE)))
            .x_label_area_size(self.px(f64::from(SIZE.1 - TOP - SIDE - EDGE)))
            .y_label_area_size(self.px(f64::from(LEFT - EDGE)))
            .build_cartesian_2d(x[0]..x[1], y[0]..y[1])?;
        let background = self.band(map.levels.values.len());
        chart.draw_series([Rectangle::new(
            [(x[0], y[0]), (x[1], y[1])],
            background.filled(),
        )])?;
        for region in &map.regions {
            chart.draw_series([Polygon::new(
                region.points.clone(),
                self.band(region.band).filled(),
            )])?;
            // An animation would be twice as large with them.
            if self.page.shown.is_some() {
                continue;
            }
            let closed = region.points.iter().chain(region.points.first());
            let line = self.stroke(RGBColor(128, 140, 158).to_rgba(), 0.5);
            chart.draw_series([PathElement::new(closed.copied().collect::<Vec<_>>(), line)])?;
        }
        let frame = self.stroke(RGBColor(128, 140, 158).to_rgba(), 1.0);
        chart.draw_series([Rectangle::new([(x[0], y[0]), (x[1], y[1])], frame)])?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("x")
            .y_desc("y")
            .x_labels(9)
            .y_labels(9)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .label_style(("sans-serif", self.px(1.24 * 12.0)))
            .axis_desc_style(("sans-serif", self.px(1.24 * 13.0)))
            .axis_style(self.stroke(BLACK.mix(0.7), 1.0))
            .set_all_tick_mark_size(self.px(5.0))
            .draw()?;
        for (i, path) in map.paths.iter().enumerate() {
            self.line(root, &mut chart, path, color(i))?;
        }
        for minimum in map.function.minima() {
            let [u, v] = [minimum.point[0], minimum.point[1]];
            if (x[0]..=x[1]).contains(&u) && (y[0]..=y[1]).contains(&v) {
                self.star(root, chart.backend_coord(&(u, v)))?;
            }
        }
        for (i, path) in map.paths.iter().enumerate() {
            self.end(root, &chart, path, color(i))?;
        }
        self.ring(root, chart.backend_coord(&(map.start[0], map.start[1])))?;
        self.legend(root)
    }

    /// From nearly white where the function is lowest: there the paths crowd.
    fn band(&self, band: usize) -> RGBColor {
        let part = band as f64 / self.page.map.levels.values.len().max(1) as f64;
        let mix = |low: f64, high: f64| (low + part * (high - low)).round() as u8;
        RGBColor(mix(252.0, 150.0), mix(252.0, 163.0), mix(250.0, 184.0))
    }

    /// The points that are reached, and whether they have left the domain for good.
    fn reached<'a>(&self, path: &'a Path) -> (&'a [[f64; 2]], bool) {
        let steps = self.page.shown.unwrap_or(u64::MAX).min(path.steps());
        let until = path.left_at.unwrap_or(u64::MAX).min(steps);
        // A step to infinity has no point.
        let has_left = path
            .left_at
            .is_some_and(|step| until == step || steps == path.steps());
        (&path.points[..=until as usize], has_left)
    }

    /// The parts of a path that are in the picture.
    fn lines(&self, points: &[[f64; 2]]) -> Vec<Vec<(f64, f64)>> {
        let View { x, y } = self.page.map.view;
        let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
        for step in points.windows(2) {
            let Some([from, to]) = clip(step[0], step[1], x, y) else {
                continue;
            };
            match lines.last_mut() {
                Some(line) if line.last() == Some(&from) => line.push(to),
                _ => lines.push(vec![from, to]),
            }
        }
        lines
    }

    fn line<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        chart: &mut Chart<B>,
        path: &Path,
        color: RGBColor,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let View { x, y } = self.page.map.view;
        let (points, _) = self.reached(path);
        let lines = self.lines(points);
        for style in [
            self.stroke(WHITE.to_rgba(), 4.0),
            self.stroke(color.to_rgba(), 1.8),
        ] {
            for line in &lines {
                // Joined, sharp turns would have long spikes.
                for step in line.windows(2) {
                    chart.draw_series([PathElement::new(step.to_vec(), style)])?;
                }
            }
        }
        let mut last: Option<(i32, i32)> = None;
        let inside = points
            .iter()
            .filter(|p| (x[0]..=x[1]).contains(&p[0]) && (y[0]..=y[1]).contains(&p[1]));
        for point in inside {
            let at = chart.backend_coord(&(point[0], point[1]));
            let is_apart = last.is_none_or(|last| {
                let [dx, dy] = [last.0 - at.0, last.1 - at.1].map(f64::from);
                dx.hypot(dy) >= f64::from(self.px(7.0))
            });
            if is_apart {
                root.draw(&Circle::new(at, self.px(2.4), color.filled()))?;
                last = Some(at);
            }
        }
        Ok(())
    }

    fn end<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        chart: &Chart<B>,
        path: &Path,
        color: RGBColor,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let View { x, y } = self.page.map.view;
        let (points, has_left) = self.reached(path);
        let [u, v] = points[points.len() - 1];
        // What is far beyond the picture has no coordinates in it.
        let nearest = (u.clamp(x[0], x[1]), v.clamp(y[0], y[1]));
        let at = chart.backend_coord(&nearest);
        if has_left {
            let crossing = self.lines(points).pop().and_then(|mut line| line.pop());
            let at = crossing.map_or(at, |crossing| chart.backend_coord(&crossing));
            self.cross(root, at, color)?;
        } else if nearest == (u, v) {
            root.draw(&Circle::new(at, self.px(5.0), WHITE.filled()))?;
            root.draw(&Circle::new(at, self.px(3.8), color.filled()))?;
        }
        Ok(())
    }

    fn star<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        at: (i32, i32),
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        for (radius, color) in [(10.0, WHITE), (7.5, BLACK)] {
            let points: Vec<(i32, i32)> = (0..10)
                .map(|i| {
                    let angle = std::f64::consts::PI * (0.2 * f64::from(i) - 0.5);
                    let radius = if i % 2 == 0 { radius } else { 0.45 * radius };
                    let [dx, dy] = [angle.cos(), angle.sin()].map(|part| self.px(radius * part));
                    (at.0 + dx, at.1 + dy)
                })
                .collect();
            root.draw(&Polygon::new(points, color.filled()))?;
        }
        Ok(())
    }

    fn ring<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        at: (i32, i32),
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        root.draw(&Circle::new(at, self.px(6.0), BLACK.filled()))?;
        root.draw(&Circle::new(at, self.px(4.2), WHITE.filled()))?;
        Ok(())
    }

    fn cross<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        (x, y): (i32, i32),
        color: RGBColor,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        for (arm, style) in [
            (8.0, self.stroke(WHITE.to_rgba(), 5.5)),
            (6.5, self.stroke(color.to_rgba(), 2.8)),
        ] {
            let arm = self.px(arm);
            for side in [-1, 1] {
                let ends = [(x - arm, y - side * arm), (x + arm, y + side * arm)];
                root.draw(&PathElement::new(ends, style))?;
            }
        }
        Ok(())
    }

    /// Beside the axes: the optimizers, the marks, and the levels.
    fn legend<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let map = self.page.map;
        let left = f64::from(LEFT + SIDE) + 22.0;
        let text = left + 34.0;
        let at = |x: f64, y: f64| (self.px(x), self.px(y));
        let mut y = f64::from(TOP) + 10.0;
        for (i, path) in map.paths.iter().enumerate() {
            let line = [at(left, y), at(left + 26.0, y)];
            let style = self.stroke(color(i).to_rgba(), 2.2);
            root.draw(&PathElement::new(line, style))?;
            root.draw(&Circle::new(
                at(left + 13.0, y),
                self.px(3.6),
                color(i).filled(),
            ))?;
            self.text(root, &path.optimizer, [text, y], 13.0, HPos::Left)?;
            let (points, has_left) = self.reached(path);
            let end = match path.left_at {
                Some(step) if has_left => format!("left at step {step}"),
                _ => format!("f = {}", short(path.values[points.len() - 1])),
            };
            let below = format!("rate {}, {end}", number(path.lr));
            self.text(root, &below, [text, y + 16.0], 11.0, HPos::Left)?;
            y += 40.0;
        }
        y += 2.0;
        let middle = left + 13.0;
        self.ring(root, at(middle, y))?;
        self.text(root, "start", [text, y], 12.0, HPos::Left)?;
        y += 21.0;
        self.star(root, at(middle, y))?;
        self.text(root, "minimum", [text, y], 12.0, HPos::Left)?;
        if map.paths.iter().any(|path| path.left_at.is_some()) {
            y += 21.0;
            self.cross(root, at(middle, y), RGBColor(90, 90, 90))?;
            self.text(root, "leaves the domain", [text, y], 12.0, HPos::Left)?;
        }

        let levels = &map.levels.values;
        let bands = levels.len() + 1;
        let bottom = f64::from(TOP + SIDE);
        let height = (bottom - y - 46.0).min(15.0 * bands as f64) / bands as f64;
        let title = match map.levels.above {
            0.0 => "f".to_string(),
            least => format!("f + {}", number(-least)).replace("+ -", "- "),
        };
        let top = bottom - height * bands as f64;
        self.text(root, &title, [left, top - 14.0], 12.0, HPos::Left)?;
        for band in 0..bands {
            let low = bottom - height * band as f64;
            let area = [at(left, low - height), at(left + 26.0, low)];
            root.draw(&Rectangle::new(area, self.band(band).filled()))?;
        }
        let frame = [at(left, top), at(left + 26.0, bottom)];
        let style = self.stroke(RGBColor(128, 140, 158).to_rgba(), 1.0);
        root.draw(&Rectangle::new(frame, style))?;
        let every = (13.0 / height).ceil().max(1.0) as usize;
        for (i, level) in levels.iter().enumerate().step_by(every) {
            let y = bottom - height * (i + 1) as f64;
            self.text(root, &number(*level), [text, y], 11.0, HPos::Left)?;
        }
        Ok(())
    }
}

/// Two significant digits.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.1e}").parse().unwrap_or(x);
    number(rounded)
}
