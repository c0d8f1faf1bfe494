//! The drawings of a report.

use super::axis::Axis;
use super::format::{count, list, number, percent, seconds};
use super::scene::{Anchor, COLORS, DASHES, Mark, Paint, Points, Scene, Shape, fitted, text_width};
use super::verdict::places;
use crate::results::{Comparison, Edge, Entry, Interval, ProblemSummary, Tried};

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A page of paper or a desk's screen.
    Wide,
    /// A phone.
    Narrow,
}

impl Room {
    fn width(self) -> f64 {
        match self {
            Self::Wide => 840.0,
            Self::Narrow => 344.0,
        }
    }

    fn is_wide(self) -> bool {
        self == Self::Wide
    }
}

/// Small print.
const SIZE: f64 = 12.0;

/// Between the middles of two lines of text.
const ROW: f64 = 17.0;

/// How the lines of an optimizer look, which is the same in all figures.
#[derive(Clone, Copy, Debug)]
struct Look {
    paint: Paint,
    dash: usize,
    mark: Mark,
}

/// The looks of the optimizers of a comparison.
#[derive(Clone, Debug)]
pub struct Looks(Vec<String>);

impl Looks {
    /// Those that are ranked first look the least alike.
    pub fn of(comparison: &Comparison) -> Self {
        let mut names: Vec<String> = Vec::new();
        for place in comparison.problems.iter().flat_map(places) {
            let name = &place.entry.optimizer;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Self(names)
    }

    fn of_name(&self, name: &str) -> Look {
        const MARKS: [Mark; DASHES] = [
            Mark::Circle,
            Mark::Square,
            Mark::Triangle,
            Mark::Diamond,
            Mark::Wedge,
        ];
        let i = self.0.iter().position(|other| other == name).unwrap_or(0);
        Look {
            paint: Paint::Series(i % COLORS),
            dash: i % DASHES,
            mark: MARKS[i % DASHES],
        }
    }
}

/// The part of a drawing that has coordinates.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Plot {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x(x), self.y(y))
    }

    fn x(&self, x: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.position(x)
    }

    fn y(&self, y: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.position(y)
    }

    /// Both axes, with what they are said to be.
    fn axes(&self, x_name: &str, y_name: &str) -> Vec<Shape> {
        let mut shapes = self.x_axis(x_name);
        let rows = ((self.bottom - self.top) / 34.0) as usize;
        for (value, label) in self.y.ticks(rows) {
            let y = self.y(value);
            shapes.push(rule((self.left, y), (self.right, y), Paint::Grid));
            shapes.push(text((self.left - 7.0, y), label, Paint::Muted, Anchor::End));
        }
        let corner = (self.left, self.bottom);
        shapes.push(rule(corner, (self.left, self.top), Paint::Muted));
        shapes.push(rule(corner, (self.right, self.bottom), Paint::Muted));
        let name = fitted(y_name, SIZE, self.right - 4.0);
        shapes.push(text(
            (2.0, self.top - 15.0),
            name,
            Paint::Ink,
            Anchor::Start,
        ));
        shapes
    }

    fn x_axis(&self, name: &str) -> Vec<Shape> {
        let mut shapes = Vec::new();
        let mut free = f64::NEG_INFINITY;
        let columns = ((self.right - self.left) / 62.0) as usize;
        for (value, label) in self.x.ticks(columns) {
            let x = self.x(value);
            shapes.push(rule((x, self.bottom), (x, self.top), Paint::Grid));
            let half = text_width(&label, SIZE) / 2.0;
            if x - half < free {
                continue;
            }
            free = x + half + 6.0;
            let at = (x, self.bottom + 13.0);
            shapes.push(text(at, label, Paint::Muted, Anchor::Middle));
        }
        let at = ((self.left + self.right) / 2.0, self.bottom + 33.0);
        shapes.push(text(at, name.to_string(), Paint::Ink, Anchor::Middle));
        shapes
    }
}

/// Below the lower end of a plot, for the labels of its axis.
const FOOT: f64 = 44.0;

fn rule(from: (f64, f64), to: (f64, f64), paint: Paint) -> Shape {
    Shape::Line {
        points: vec![from, to],
        paint,
        width: 1.0,
        dash: 0,
    }
}

fn text(at: (f64, f64), text: String, paint: Paint, anchor: Anchor) -> Shape {
    Shape::Text {
        at,
        text,
        size: SIZE,
        paint,
        anchor,
    }
}

fn line(points: Points, look: Look) -> Shape {
    Shape::Line {
        points,
        paint: look.paint,
        width: 2.0,
        dash: look.dash,
    }
}

/// A short piece of an optimizer's line, with its mark if it has marks.
fn sample(x: f64, y: f64, look: Look, marked: bool) -> Vec<Shape> {
    let mut shapes = vec![line(vec![(x, y), (x + SAMPLE, y)], look)];
    if marked {
        shapes.push(Shape::Mark {
            at: (x + SAMPLE / 2.0, y),
            radius: 3.5,
            mark: look.mark,
            paint: look.paint,
        });
    }
    shapes
}

const SAMPLE: f64 = 28.0;

/// Names below a drawing, from left to right, as many in a row as there is room for, and the height of
/// them.
fn legend(names: &[&str], looks: &Looks, marked: bool, top: f64, width: f64) -> (Vec<Shape>, f64) {
    let mut shapes = Vec::new();
    let (mut x, mut y) = (2.0, top + ROW / 2.0);
    for name in names {
        let look = looks.of_name(name);
        let name = fitted(name, SIZE, width - SAMPLE - 12.0);
        let room = SAMPLE + 6.0 + text_width(&name, SIZE);
        if x > 2.0 && x + room > width {
            x = 2.0;
            y += ROW;
        }
        shapes.extend(sample(x, y, look, marked));
        let at = (x + SAMPLE + 6.0, y);
        shapes.push(text(at, name, Paint::Ink, Anchor::Start));
        x += room + 16.0;
    }
    (shapes, y + ROW / 2.0 - top)
}

/// Names to the right of where lines end, each at the height of its line as far as there is room, with
/// a thin line from the one to the other.
fn end_labels(ends: &[(&str, (f64, f64))], looks: &Looks, plot: &Plot, width: f64) -> Vec<Shape> {
    let mut ends: Vec<_> = ends.to_vec();
    ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
    let heights = spread(&wanted, plot.top, plot.bottom + ROW);
    let x = plot.right + 26.0;
    let mut shapes = Vec::new();
    for ((name, end), y) in ends.iter().zip(heights) {
        let look = looks.of_name(name);
        // In the plot it would look like a curve.
        if end.0 < plot.right {
            shapes.push(rule(*end, (plot.right, end.1), Paint::Grid));
        }
        shapes.push(Shape::Line {
            points: vec![(plot.right, end.1), (plot.right + 4.0, end.1), (x - 4.0, y)],
            paint: look.paint,
            width: 0.7,
            dash: 0,
        });
        shapes.extend(sample(x, y, look, false));
        let at = (x + SAMPLE + 5.0, y);
        let name = fitted(name, SIZE, width - at.0);
        shapes.push(text(at, name, Paint::Ink, Anchor::Start));
    }
    shapes
}

/// Ascending positions, moved apart so that neighbours are a row from each other, between two ends if
/// there is room.
fn spread(wanted: &[f64], low: f64, high: f64) -> Vec<f64> {
    let gap = ROW.min((high - low) / (wanted.len().max(2) - 1) as f64);
    // Labels that touch move as one, about the mean of where they want to be.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for y in wanted {
        groups.push((*y, 1));
        while let [.., (a, n), (b, m)] = &groups[..] {
            let (a, n, b, m) = (*a, *n, *b, *m);
            let (n_f, m_f) = (n as f64, m as f64);
            let extent = |n: f64| gap * (n - 1.0) / 2.0;
            let inside = |y: f64, n: f64| {
                let end = (high - extent(n)).max(low + extent(n));
                y.clamp(low + extent(n), end)
            };
            let (upper, lower) = (inside(a, n_f), inside(b, m_f));
            if lower - extent(m_f) - upper - extent(n_f) >= gap - 1e-9 {
                break;
            }
            groups.truncate(groups.len() - 2);
            groups.push(((a * n_f + b * m_f) / (n_f + m_f), n + m));
        }
    }
    let mut heights = Vec::new();
    for (middle, n) in groups {
        let extent = gap * (n as f64 - 1.0) / 2.0;
        let end = (high - extent).max(low + extent);
        let first = middle.clamp(low + extent, end) - extent;
        heights.extend((0..n).map(|i| first + gap * i as f64));
    }
    heights
}

/// The training losses on the way: the median, and the range of all runs.
pub fn loss_curves(problem: &ProblemSummary, looks: &Looks, room: Room) -> Option<Scene> {
    let places = places(problem);
    let drawn: Vec<&Entry> = places
        .iter()
        .map(|place| place.entry)
        .filter(|entry| !entry.curve.is_empty())
        .collect();
    let bands = drawn.iter().flat_map(|entry| &entry.curve);
    let y = Axis::log(bands.flat_map(|band| [band.low, band.median, band.high]))?;
    let names: Vec<&str> = drawn.iter().map(|e| e.optimizer.as_str()).collect();
    let width = room.width();
    let plot = Plot {
        left: if room.is_wide() { 62.0 } else { 52.0 },
        right: if room.is_wide() {
            width - 190.0
        } else {
            width - 8.0
        },
        top: 30.0,
        bottom: if room.is_wide() { 400.0 } else { 290.0 },
        x: Axis::linear(0.0, problem.steps.max(1) as f64),
        y,
    };
    let scale = if y.is_log() { ", logarithmic" } else { "" };
    let mut shapes = plot.axes("steps", &format!("training loss{scale}"));
    let opacity = if drawn.len() > 6 { 0.1 } else { 0.17 };
    // The first in rank is on top.
    for entry in drawn.iter().rev() {
        let look = looks.of_name(&entry.optimizer);
        let at = |step: u64, loss: f64| plot.at(step as f64, loss);
        let lower = entry.curve.iter().map(|band| at(band.step, band.low));
        let upper = entry.curve.iter().rev();
        let upper = upper.map(|band| at(band.step, band.high));
        let median = entry.curve.iter().map(|band| at(band.step, band.median));
        let mut parts = vec![
            Shape::Area {
                points: lower.chain(upper).collect(),
                paint: look.paint,
                opacity,
            },
            line(median.collect(), look),
        ];
        if let Some(last) = entry.curve.last()
            && entry.diverged > 0
            && last.step < problem.steps
        {
            parts.push(Shape::Mark {
                at: at(last.step, last.median),
                radius: 5.0,
                mark: Mark::Cross,
                paint: look.paint,
            });
        }
        shapes.push(Shape::Named(entry.optimizer.clone(), parts));
    }
    let mut height = plot.bottom + FOOT;
    if room.is_wide() {
        let mut ends: Vec<(&str, (f64, f64))> = Vec::new();
        for entry in &drawn {
            if let Some(last) = entry.curve.last() {
                let at = plot.at(last.step as f64, last.median);
                ends.push((&entry.optimizer, at));
            }
        }
        shapes.extend(end_labels(&ends, looks, &plot, width));
    } else {
        let (names, rows) = legend(&names, looks, false, height + 4.0, width);
        shapes.extend(names);
        height += rows + 6.0;
    }
    let last = |entry: &&Entry| {
        let loss = entry.curve.last().map_or(f64::NAN, |band| band.median);
        format!("{} {}", entry.optimizer, number(loss))
    };
    let finals: Vec<String> = drawn.iter().map(last).collect();
    Some(Scene {
        title: format!("{}: training loss", problem.problem),
        description: format!(
            "A line with a band for each optimizer. The last medians are: {}.",
            list(&finals)
        ),
        width,
        height,
        shapes,
    })
}

/// What each learning rate came to.
pub fn sensitivity(problem: &ProblemSummary, looks: &Looks, room: Room) -> Option<Scene> {
    let places = places(problem);
    let drawn: Vec<&Entry> = places
        .iter()
        .map(|place| place.entry)
        .filter(|entry| !entry.tried.is_empty())
        .collect();
    let tried = || drawn.iter().flat_map(|entry| &entry.tried);
    let x = Axis::log(tried().map(|tried| tried.lr))?;
    let losses = tried().filter_map(|tried| tried.validation.loss);
    let y = Axis::log(losses.clone()).unwrap_or(Axis::linear(0.0, 1.0));
    let y = match initial_loss(problem) {
        Some(initial) if y.is_log() => y.capped(10.0 * initial),
        _ => y,
    };
    let names: Vec<&str> = drawn.iter().map(|e| e.optimizer.as_str()).collect();
    let width = room.width();
    let mut plot = Plot {
        left: if room.is_wide() { 72.0 } else { 52.0 },
        right: if room.is_wide() {
            width - 190.0
        } else {
            width - 12.0
        },
        top: 0.0,
        bottom: 0.0,
        x,
        y,
    };
    let finite = |tried: &Tried| tried.validation.loss.filter(|loss| loss.is_finite());
    // Several optimizers diverge at the same rate: their crosses are one above the other.
    let mut crosses: Vec<(&str, f64, usize)> = Vec::new();
    for entry in &drawn {
        for tried in entry.tried.iter().filter(|tried| finite(tried).is_none()) {
            let x = plot.x(tried.lr);
            let near = crosses.iter().filter(|cross| (cross.1 - x).abs() < 10.0);
            let taken: Vec<usize> = near.map(|cross| cross.2).collect();
            let free = (0..).find(|row| !taken.contains(row)).unwrap_or(0);
            crosses.push((&entry.optimizer, x, free));
        }
    }
    let rows = crosses.iter().map(|cross| cross.2 + 1).max().unwrap_or(0);
    plot.top = 28.0 + 11.0 * rows as f64 + if rows > 0 { 10.0 } else { 0.0 };
    plot.bottom = plot.top + if room.is_wide() { 330.0 } else { 240.0 };
    let cross = |name: &str, tried: &Tried| {
        let x = plot.x(tried.lr);
        let mut crosses = crosses.iter();
        let found = crosses.find(|cross| cross.0 == name && cross.1 == x);
        let row = found.map_or(0, |cross| cross.2);
        (x, plot.top - 15.0 - 11.0 * row as f64)
    };
    let scale = if y.is_log() { ", logarithmic" } else { "" };
    let mut shapes = plot.axes("learning rate, logarithmic", "");
    let name = format!("validation loss{scale}");
    shapes.push(text((2.0, 8.0), name, Paint::Ink, Anchor::Start));
    if rows > 0 {
        let label = if room.is_wide() { "diverged" } else { "div." };
        let at = (plot.left - 7.0, plot.top - 15.0);
        shapes.push(text(at, label.to_string(), Paint::Muted, Anchor::End));
        let (left, y) = (plot.left, plot.top - 7.0);
        shapes.push(rule((left, y), (plot.right, y), Paint::Grid));
    }
    for entry in drawn.iter().rev() {
        let look = looks.of_name(&entry.optimizer);
        let mut parts = Vec::new();
        // A rate that diverged interrupts the line.
        for stretch in entry.tried.split(|tried| finite(tried).is_none()) {
            let points = stretch.iter();
            let points = points.filter_map(|tried| Some(plot.at(tried.lr, finite(tried)?)));
            parts.push(line(points.collect(), look));
        }
        for pair in entry.tried.windows(2) {
            let at = |tried: &Tried| match finite(tried) {
                Some(loss) => plot.at(tried.lr, loss),
                None => cross(&entry.optimizer, tried),
            };
            if finite(&pair[0]).is_some() != finite(&pair[1]).is_some() {
                parts.push(Shape::Line {
                    points: vec![at(&pair[0]), at(&pair[1])],
                    paint: look.paint,
                    width: 0.8,
                    dash: look.dash,
                });
            }
        }
        for tried in &entry.tried {
            let Some(loss) = finite(tried) else {
                parts.push(Shape::Mark {
                    at: cross(&entry.optimizer, tried),
                    radius: 4.0,
                    mark: Mark::Cross,
                    paint: look.paint,
                });
                continue;
            };
            let at = plot.at(tried.lr, loss);
            parts.push(Shape::Mark {
                at,
                radius: 3.5,
                mark: look.mark,
                paint: look.paint,
            });
            if Some(tried.lr) == entry.lr {
                parts.push(Shape::Ring {
                    at,
                    radius: 7.5,
                    paint: Paint::Ink,
                });
            }
        }
        shapes.push(Shape::Named(entry.optimizer.clone(), parts));
    }
    let mut height = plot.bottom + FOOT;
    if room.is_wide() {
        let rows = names.len() as f64;
        let gap = ROW.min((height - plot.top) / rows);
        let mut y = plot.top;
        for name in &names {
            let x = plot.right + 22.0;
            shapes.extend(sample(x, y, looks.of_name(name), true));
            let at = (x + SAMPLE + 6.0, y);
            let name = fitted(name, SIZE, width - at.0);
            shapes.push(text(at, name, Paint::Ink, Anchor::Start));
            y += gap;
        }
    } else {
        let (names, rows) = legend(&names, looks, true, height + 4.0, width);
        shapes.extend(names);
        height += rows + 6.0;
    }
    let best = |entry: &&Entry| match entry.lr {
        Some(lr) => format!("{} {}", entry.optimizer, number(lr)),
        None => format!("{} none, as each diverged", entry.optimizer),
    };
    let best: Vec<String> = drawn.iter().map(best).collect();
    Some(Scene {
        title: format!("{}: sensitivity to the learning rate", problem.problem),
        description: format!(
            "A line with marks for each optimizer. The rates that were chosen are: {}.",
            list(&best)
        ),
        width,
        height,
        shapes,
    })
}

/// The highest training loss before the first update. Where a loss ended far above, nothing was learned.
pub fn initial_loss(problem: &ProblemSummary) -> Option<f64> {
    let curves = problem.entries.iter().map(|entry| &entry.curve);
    let first = curves.filter_map(|curve| curve.first());
    let losses = first.map(|band| band.high).filter(|loss| loss.is_finite());
    losses.max_by(f64::total_cmp)
}

/// Whether a loss of [`sensitivity`] is beyond its upper end.
pub fn is_capped(problem: &ProblemSummary) -> bool {
    let tried = problem.entries.iter().flat_map(|entry| &entry.tried);
    let losses = tried.filter_map(|tried| tried.validation.loss);
    let log = losses.clone().all(|loss| loss >= 0.0);
    let highest = losses.fold(0.0, f64::max);
    log && initial_loss(problem).is_some_and(|initial| highest > 10.0 * initial)
}

/// How long the target took, in steps and in seconds.
pub fn time_to_target(problem: &ProblemSummary, looks: &Looks, room: Room) -> Option<Scene> {
    let mut entries: Vec<&Entry> = problem.entries.iter().filter(|e| e.runs > 0).collect();
    entries.sort_by(|a, b| {
        let steps = |entry: &Entry| entry.steps_to_target.map_or(f64::INFINITY, |i| i.median);
        steps(a).total_cmp(&steps(b))
    });
    if entries.iter().all(|entry| entry.steps_to_target.is_none()) {
        return None;
    }
    let width = room.width();
    let widest = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| text_width(text, SIZE)).fold(0.0, f64::max)
    };
    let names = widest(&mut entries.iter().map(|e| e.optimizer.as_str()));
    let names = names.min(if room.is_wide() { 150.0 } else { 110.0 });
    let row = 22.0;
    let rows = row * entries.len() as f64;
    let left = names + 12.0;
    // Two side by side, or one below the other.
    let panels = if room.is_wide() {
        let half = (width - left - 36.0) / 2.0;
        [
            (left, left + half, 10.0),
            (left + half + 28.0, width - 8.0, 10.0),
        ]
    } else {
        [
            (left, width - 12.0, 10.0),
            (left, width - 12.0, 10.0 + rows + FOOT + 16.0),
        ]
    };
    type Pick = fn(&Entry) -> Option<Interval>;
    let picks: [(&str, Pick); 2] = [
        ("steps to the target", |entry| entry.steps_to_target),
        ("seconds to the target", |entry| entry.seconds_to_target),
    ];
    let mut shapes = Vec::new();
    let mut height = 0.0;
    for (i, ((left, right, top), (name, pick))) in panels.into_iter().zip(picks).enumerate() {
        let intervals = entries.iter().filter_map(|entry| pick(entry));
        let Some(axis) = Axis::amounts(intervals.flat_map(|i| [i.low, i.median, i.high])) else {
            continue;
        };
        let plot = Plot {
            left,
            right,
            top,
            bottom: top + rows,
            x: axis,
            y: Axis::linear(0.0, 1.0),
        };
        let scale = if axis.is_log() { ", logarithmic" } else { "" };
        shapes.extend(plot.x_axis(&format!("{name}{scale}")));
        let corner = (left, plot.bottom);
        shapes.push(rule(corner, (right, plot.bottom), Paint::Muted));
        shapes.push(rule(corner, (left, top), Paint::Muted));
        for (j, entry) in entries.iter().enumerate() {
            let y = top + row * (j as f64 + 0.5);
            let look = looks.of_name(&entry.optimizer);
            if i == 0 || !room.is_wide() {
                let name = fitted(&entry.optimizer, SIZE, names);
                shapes.push(text((left - 8.0, y), name, Paint::Ink, Anchor::End));
            }
            let runs = format!("{} of {}", entry.reached, entry.runs);
            let Some(interval) = pick(entry) else {
                let words = if entry.reached == 0 {
                    "not reached".to_string()
                } else {
                    format!("reached by {runs} only")
                };
                let words = fitted(&words, SIZE, right - left - 10.0);
                // The lines of the grid would run through the words.
                let end = left + 10.0 + text_width(&words, SIZE);
                shapes.push(Shape::Area {
                    points: vec![
                        (left + 2.0, y - 8.0),
                        (end, y - 8.0),
                        (end, y + 8.0),
                        (left + 2.0, y + 8.0),
                    ],
                    paint: Paint::Paper,
                    opacity: 1.0,
                });
                shapes.push(text((left + 6.0, y), words, Paint::Muted, Anchor::Start));
                continue;
            };
            let (low, high) = (plot.x(interval.low), plot.x(interval.high));
            let middle = (plot.x(interval.median), y);
            let mut parts = vec![Shape::Line {
                points: vec![(low, y), (high, y)],
                paint: look.paint,
                width: 2.0,
                dash: 0,
            }];
            parts.extend([low, high].map(|x| Shape::Line {
                points: vec![(x, y - 4.0), (x, y + 4.0)],
                paint: look.paint,
                width: 2.0,
                dash: 0,
            }));
            parts.push(Shape::Mark {
                at: middle,
                radius: 4.5,
                mark: look.mark,
                paint: look.paint,
            });
            shapes.push(Shape::Named(entry.optimizer.clone(), parts));
            if i == 0 && entry.reached < entry.runs {
                let room = text_width(&runs, SIZE) + 10.0;
                let (x, anchor) = if high + room < right {
                    (high + 9.0, Anchor::Start)
                } else {
                    (low - 9.0, Anchor::End)
                };
                shapes.push(text((x, y), runs, Paint::Muted, anchor));
            }
        }
        height = plot.bottom + FOOT;
    }
    let said = entries.iter().map(|entry| {
        let steps = entry.steps_to_target.map(|steps| count(steps.median));
        let time = entry.seconds_to_target.map(|time| seconds(time.median));
        match (steps, time) {
            (Some(steps), Some(time)) => format!("{} {steps} steps, {time}", entry.optimizer),
            (Some(steps), None) => format!("{} {steps} steps", entry.optimizer),
            _ => format!(
                "{} {} of {} runs",
                entry.optimizer, entry.reached, entry.runs
            ),
        }
    });
    Some(Scene {
        title: format!("{}: time to the target", problem.problem),
        description: format!("Medians: {}.", said.collect::<Vec<_>>().join("; ")),
        width,
        height,
        shapes,
    })
}

/// For each optimizer, how many times the fewest steps to the target it took on each problem that any
/// reached, ascending; nothing where it did not reach it.
fn ratios<'a>(comparison: &'a Comparison) -> (usize, Vec<(&'a str, Vec<f64>)>) {
    let mut counted = 0;
    let mut ratios: Vec<(&str, Vec<f64>)> = Vec::new();
    let steps = |entry: &Entry| entry.steps_to_target.map(|steps| steps.median.max(1.0));
    for problem in &comparison.problems {
        let fewest = problem.entries.iter().filter_map(steps);
        let fewest = fewest.fold(f64::INFINITY, f64::min);
        counted += usize::from(fewest.is_finite());
        for entry in &problem.entries {
            let name: &'a str = &entry.optimizer;
            let i = ratios.iter().position(|(other, _)| *other == name);
            let i = i.unwrap_or_else(|| {
                ratios.push((name, Vec::new()));
                ratios.len() - 1
            });
            ratios[i].1.extend(steps(entry).map(|steps| steps / fewest));
        }
    }
    for (_, ratios) in &mut ratios {
        ratios.sort_by(f64::total_cmp);
    }
    (counted, ratios)
}

/// Problems that the performance profile counts: those whose target any optimizer reached.
pub fn profiled(comparison: &Comparison) -> usize {
    ratios(comparison).0
}

/// The share of problems that each optimizer needs at most so many times the fewest steps for (Dolan
/// and Moré 2002).
pub fn profile(comparison: &Comparison, looks: &Looks, room: Room) -> Option<Scene> {
    let (problems, ratios) = ratios(comparison);
    if problems < 2 {
        return None;
    }
    let share = |solved: usize| solved as f64 / problems as f64;
    let highest = ratios.iter().flat_map(|(_, r)| r).copied();
    let highest = highest.fold(2.0, f64::max);
    let width = room.width();
    let plot = Plot {
        left: if room.is_wide() { 62.0 } else { 52.0 },
        right: if room.is_wide() {
            width - 190.0
        } else {
            width - 12.0
        },
        top: 30.0,
        bottom: if room.is_wide() { 330.0 } else { 260.0 },
        x: Axis::log([1.0, 1.1 * highest].into_iter())?,
        y: Axis::linear(0.0, 1.04),
    };
    let mut shapes = plot.x_axis("times the fewest steps, logarithmic");
    for i in 0..=4 {
        let part = f64::from(i) / 4.0;
        let y = plot.y(part);
        shapes.push(rule((plot.left, y), (plot.right, y), Paint::Grid));
        let at = (plot.left - 7.0, y);
        shapes.push(text(at, percent(part, 0), Paint::Muted, Anchor::End));
    }
    let corner = (plot.left, plot.bottom);
    shapes.push(rule(corner, (plot.left, plot.top), Paint::Muted));
    shapes.push(rule(corner, (plot.right, plot.bottom), Paint::Muted));
    let name = format!("share of {problems} problems");
    shapes.push(text((2.0, 14.0), name, Paint::Ink, Anchor::Start));
    let mut ends = Vec::new();
    // Lines that are the same in part are moved aside by less than their width, to be seen.
    let middle = (ratios.len() as f64 - 1.0) / 2.0;
    let aside = 2.0_f64.min(12.0 / ratios.len() as f64);
    for (i, (name, ratios)) in ratios.iter().enumerate().rev() {
        let shift = aside * (i as f64 - middle);
        let at = |ratio: f64, solved: usize| {
            let (x, y) = plot.at(ratio, share(solved));
            (x + shift, (y + shift).min(plot.bottom))
        };
        let mut points = vec![at(1.0, 0)];
        for (solved, ratio) in ratios.iter().enumerate() {
            points.extend([at(*ratio, solved), at(*ratio, solved + 1)]);
        }
        let end = (plot.right, at(highest, ratios.len()).1);
        points.push(end);
        ends.push((*name, end));
        let part = line(points, looks.of_name(name));
        shapes.push(Shape::Named((*name).to_string(), vec![part]));
    }
    let mut height = plot.bottom + FOOT;
    if room.is_wide() {
        shapes.extend(end_labels(&ends, looks, &plot, width));
    } else {
        ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let names: Vec<&str> = ends.iter().map(|(name, _)| *name).collect();
        let (names, rows) = legend(&names, looks, false, height + 4.0, width);
        shapes.extend(names);
        height += rows + 6.0;
    }
    let said = ratios.iter().map(|(name, ratios)| {
        let first = ratios.iter().filter(|ratio| **ratio <= 1.0).count();
        format!("{name} is fastest on {first} and reaches {}", ratios.len())
    });
    Some(Scene {
        title: "Performance profile".to_string(),
        description: format!(
            "Of {problems} problems, {}.",
            list(&said.collect::<Vec<_>>())
        ),
        width,
        height,
        shapes,
    })
}

/// The mark of a rate at the edge of what was tried.
pub fn edge_mark(edge: Edge) -> &'static str {
    match edge {
        Edge::Lowest => "↓",
        Edge::Highest => "↑",
        Edge::Inside | Edge::None => "",
    }
}
