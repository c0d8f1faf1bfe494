//! Schedules as curves, and pictures of them.

use std::error::Error;

use downhill_schedule::Schedule;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use downhill_plot::{Figure, color, short};

/// A curve with its name.
#[derive(Clone)]
pub struct Line {
    /// The name, for the legend.
    pub name: String,
    /// In order of their first coordinate.
    pub points: Vec<(f64, f64)>,
    /// Broad and pale, to be seen under another curve that is the same in part.
    pub below: bool,
}

impl Line {
    /// The schedule's values at the steps 0 to `end`. Where they are too many to be told apart, the
    /// lowest and the highest of neighbours stand for all of them, so that nothing is missed.
    pub fn of(name: &str, schedule: &Schedule, end: u64) -> Self {
        const MOST: u64 = 1_000;
        let mut points = Vec::new();
        let width = (end + 1).div_ceil(MOST);
        for start in (0..=end).step_by(width as usize) {
            let last = end.min(start + width - 1);
            // Beyond this the coordinates would become infinite.
            let point = |step| (step, schedule.value(step).min(1e300));
            let mut kept = [point(start), point(start), point(start), point(last)];
            let [_, low, high, _] = &mut kept;
            for point in (start..=last).map(point) {
                if point.1 < low.1 {
                    *low = point;
                }
                if point.1 > high.1 {
                    *high = point;
                }
            }
            kept.sort_by_key(|(step, _)| *step);
            points.extend(kept.map(|(step, value)| (step as f64, value)));
        }
        points.dedup();
        Self {
            name: name.to_string(),
            points,
            below: false,
        }
    }
}

/// A vertical line where something begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The first step of the new phase.
    pub step: u64,
    /// Whether it begins at the top again.
    pub restart: bool,
}

/// The boundaries of the phases below `end`. It is a restart where the value has fallen during the
/// phase before and jumps up.
pub fn marks(schedule: &Schedule, end: u64) -> Vec<Mark> {
    let mut begin = 0;
    let phases = schedule.phases(end).into_iter();
    phases
        .map(|step| {
            let before = schedule.value(step - 1);
            let fall = schedule.value(begin) - before;
            let jump = schedule.value(step) - before;
            begin = step;
            let restart = fall > 0.0 && jump > 0.1 * fall;
            Mark { step, restart }
        })
        .collect()
}

/// A coordinate system with curves.
#[derive(Clone)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What the horizontal axis has.
    pub x: &'static str,
    /// What the vertical axis has.
    pub y: &'static str,
    /// The right end of the horizontal axis, which begins at 0.
    pub end: u64,
    /// The curves.
    pub lines: Vec<Line>,
    /// The vertical lines.
    pub marks: Vec<Mark>,
}

impl Panel {
    /// The upper end of the axis: a round number, as are its quarters.
    pub fn top(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| &line.points);
        let high = values.map(|(_, y)| *y).fold(0.0, f64::max);
        if high == 0.0 {
            return 1.0;
        }
        // There are no round numbers that small.
        if high < 1e-300 {
            return high;
        }
        let unit = 10f64.powf(high.log10().floor());
        let round = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
        let tops = round.into_iter().map(|digits| digits * unit);
        // A value that is the end but for rounding lies on it.
        let mut tops = tops.filter(|top| high <= top * (1.0 + 1e-9));
        tops.next().unwrap_or(10.0 * unit)
    }
}

/// Panels one above the other.
pub struct Page {
    /// From the top.
    pub panels: Vec<Panel>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// For a picture in a text: no title, and small print.
    pub small: bool,
}

impl Figure for Page {
    const FINE: u32 = 10;
    const DENSE: u32 = 2;

    fn size(&self) -> (u32, u32) {
        self.size
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
        let print = Print {
            unit,
            small: self.small,
        };
        for (panel, area) in self
            .panels
            .iter()
            .zip(root.split_evenly((self.panels.len(), 1)))
        {
            print.panel(panel, &area)?;
        }
        root.present()?;
        Ok(())
    }
}

struct Print {
    unit: u32,
    small: bool,
}

impl Print {
    /// A length in pixels, which may be less in a small picture.
    fn px(&self, large: f64, small: f64) -> i32 {
        let pixels = if self.small { small } else { large };
        (pixels * f64::from(self.unit)).round() as i32
    }

    fn font(&self, large: f64, small: f64) -> (&'static str, i32) {
        // The backends take 1.24 of it for the height of a line.
        ("sans-serif", self.px(1.24 * large, 1.24 * small))
    }

    fn panel<B: DrawingBackend>(
        &self,
        panel: &Panel,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let (margin, labels) = (self.px(10.0, 6.0), self.px(70.0, 40.0));
        let left = margin + labels;
        let right = self.px(28.0, 20.0);
        let width = area.dim_in_pixel().0 as i32;
        let mut y = self.px(12.0, 4.0);
        if !self.small {
            let style = self.font(17.0, 0.0).into_text_style(area);
            area.draw(&Text::new(panel.title.as_str(), (left, y), style))?;
            y += self.px(26.0, 0.0);
        }
        // One curve is named by the title, or by the text around the picture.
        if panel.lines.len() > 1 {
            y = self.legend(panel, area, left, width - right, y)?;
        }
        if panel.marks.iter().any(|mark| mark.restart) {
            y += self.px(16.0, 12.0);
        }

        let (end, top) = (panel.end as f64, panel.top());
        let mut chart = ChartBuilder::on(area)
            .margin_top(y + self.px(4.0, 4.0))
            .margin_right(right)
            .margin_bottom(self.px(6.0, 5.0))
            .margin_left(margin)
            .x_label_area_size(self.px(46.0, 34.0))
            .y_label_area_size(labels)
            .build_cartesian_2d(0.0..end, 0.0..1.02 * top)?;
        let grid = |mix| BLACK.mix(mix).stroke_width(self.px(1.0, 0.8) as u32);
        let mut mesh = chart.configure_mesh();
        if !panel.y.is_empty() {
            mesh.y_desc(panel.y);
        }
        mesh.x_desc(panel.x)
            .x_labels(if self.small { 7 } else { 11 })
            .y_labels(if self.small { 5 } else { 6 })
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .label_style(self.font(12.0, 10.0))
            .axis_desc_style(self.font(13.0, 10.0))
            .axis_style(grid(0.5))
            .bold_line_style(grid(0.12))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(self.px(5.0, 3.0))
            .draw()?;

        let mut free = 0;
        for mark in &panel.marks {
            let x = mark.step as f64;
            let style = BLACK.mix(if mark.restart { 0.8 } else { 0.5 });
            let ends = [(x, 0.0), (x, 1.02 * top)];
            // Each dash is an element, which makes an SVG large.
            let dashes = self.px(2.0, 1000.0);
            chart.draw_series(DashedLineSeries::new(
                ends,
                dashes,
                self.px(3.0, 0.0),
                style.stroke_width(self.px(1.0, 0.5) as u32),
            ))?;
            if !mark.restart {
                continue;
            }
            let (x, _) = chart.backend_coord(&(x, 0.0));
            let style = self.font(11.0, 9.0).into_text_style(area);
            let half = area.estimate_text_size("restart", &style)?.0 as i32 / 2;
            if x - half >= free {
                let style = style.pos(Pos::new(HPos::Center, VPos::Bottom));
                area.draw(&Text::new("restart", (x, y + self.px(2.0, 3.0)), style))?;
                free = x + half + self.px(6.0, 4.0);
            }
        }
        for (i, line) in panel.lines.iter().enumerate() {
            let points = simplified(&line.points, top * 4e-4);
            chart.draw_series(LineSeries::new(points, self.line_style(i, line)))?;
        }
        Ok(())
    }

    fn line_style(&self, i: usize, line: &Line) -> ShapeStyle {
        if line.below {
            color(i).mix(0.35).stroke_width(self.px(7.0, 6.0) as u32)
        } else {
            color(i).stroke_width(self.px(2.0, 1.6) as u32)
        }
    }

    /// Draws the names from left to right, as many in a row as fit, and returns where they end.
    fn legend<B: DrawingBackend>(
        &self,
        panel: &Panel,
        area: &DrawingArea<B, Shift>,
        left: i32,
        right: i32,
        mut y: i32,
    ) -> Result<i32, Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let row = self.px(20.0, 15.0);
        let (dash, gap) = (self.px(24.0, 18.0), self.px(6.0, 5.0));
        let mut x = left;
        for (i, line) in panel.lines.iter().enumerate() {
            let style = self.font(13.0, 10.0).into_text_style(area);
            let style = style.pos(Pos::new(HPos::Left, VPos::Center));
            // A viewer may have a broader font than the one that is measured.
            let text = 11 * area.estimate_text_size(&line.name, &style)?.0 as i32 / 10;
            let width = dash + gap + text;
            if x > left && x + width > right {
                x = left;
                y += row;
            }
            let middle = y + row / 2;
            let ends = [(x, middle), (x + dash, middle)];
            area.draw(&PathElement::new(ends, self.line_style(i, line)))?;
            area.draw(&Text::new(
                line.name.as_str(),
                (x + dash + gap, middle),
                style,
            ))?;
            x += width + self.px(20.0, 12.0);
        }
        Ok(y + row)
    }
}

/// Without the points that lie on a straight line between their neighbours, or no further than
/// `tolerance` from it (Ramer, Douglas and Peucker).
fn simplified(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let mut kept = vec![*first];
    let mut ranges = vec![(0, points.len() - 1)];
    // Ranges are worked on from left to right; a range without outliers is done.
    while let Some((start, end)) = ranges.pop() {
        let ((x0, y0), (x1, y1)) = (points[start], points[end]);
        let distance = |i: &usize| {
            let (x, y) = points[*i];
            (y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0))).abs()
        };
        let furthest = (start + 1..end).max_by(|a, b| distance(a).total_cmp(&distance(b)));
        match furthest {
            Some(i) if distance(&i) > tolerance => ranges.extend([(i, end), (start, i)]),
            _ => kept.push((x1, y1)),
        }
    }
    kept.dedup();
    debug_assert_eq!(kept.last(), Some(last));
    kept
}
