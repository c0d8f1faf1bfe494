//! Losses on a logarithmic scale: one coordinate system, or several side by side.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use downhill_plot::{Figure, color, log_ticks, short};

pub struct Losses {
    pub title: String,
    pub y: &'static str,
    /// In the order of the colours; those of all panels are in one legend.
    pub names: Vec<String>,
    pub panels: Vec<Panel>,
    pub size: (u32, u32),
}

pub struct Panel {
    pub title: String,
    /// For each name, the loss after each epoch.
    pub curves: Vec<Vec<f64>>,
}

impl Figure for Losses {
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
        let print = Print { unit };
        let width = root.dim_in_pixel().0;
        let left = print.px(80.0);
        let title = print.font(18.0).into_text_style(&root);
        root.draw(&Text::new(
            self.title.as_str(),
            (left, print.px(14.0)),
            title,
        ))?;
        let top = print.legend(&self.names, &root, left, width as i32 - print.px(20.0))?;

        let (_, below) = root.split_vertically(top);
        let areas = below.split_evenly((1, self.panels.len()));
        for (i, (panel, area)) in self.panels.iter().zip(&areas).enumerate() {
            let y = if i == 0 { self.y } else { "" };
            print.panel(panel, y, area)?;
        }
        root.present()?;
        Ok(())
    }
}

struct Print {
    unit: u32,
}

impl Print {
    fn px(&self, pixels: f64) -> i32 {
        (pixels * f64::from(self.unit)).round() as i32
    }

    fn font(&self, pixels: f64) -> (&'static str, i32) {
        // The backends take 1.24 of it for the height of a line.
        ("sans-serif", self.px(1.24 * pixels))
    }

    fn style(&self, i: usize) -> ShapeStyle {
        color(i).stroke_width(self.px(2.0) as u32)
    }

    /// Draws the names from left to right, as many in a row as fit, and returns where they end.
    fn legend<B: DrawingBackend>(
        &self,
        names: &[String],
        root: &DrawingArea<B, Shift>,
        left: i32,
        right: i32,
    ) -> Result<i32, Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let row = self.px(22.0);
        let (dash, gap) = (self.px(24.0), self.px(6.0));
        let (mut x, mut y) = (left, self.px(42.0));
        for (i, name) in names.iter().enumerate() {
            let style = self.font(13.0).into_text_style(root);
            let style = style.pos(Pos::new(HPos::Left, VPos::Center));
            // A viewer may have a broader font than the one that is measured.
            let text = 11 * root.estimate_text_size(name, &style)?.0 as i32 / 10;
            let width = dash + gap + text;
            if x > left && x + width > right {
                x = left;
                y += row;
            }
            // Too many to be told apart leave room for the curves.
            if y + row > root.dim_in_pixel().1 as i32 / 2 {
                break;
            }
            let middle = y + row / 2;
            root.draw(&PathElement::new(
                [(x, middle), (x + dash, middle)],
                self.style(i),
            ))?;
            root.draw(&Text::new(name.as_str(), (x + dash + gap, middle), style))?;
            x += width + self.px(20.0);
        }
        Ok(y + row)
    }

    fn panel<B: DrawingBackend>(
        &self,
        panel: &Panel,
        y: &str,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let losses = || panel.curves.iter().flatten().copied();
        let epochs = panel.curves.iter().map(Vec::len).max().unwrap_or(0);
        let positive = || losses().filter(|loss| *loss > 0.0 && loss.is_finite());
        let low = positive().fold(f64::MAX, f64::min);
        let high = positive().fold(0.0, f64::max);
        // Nothing to draw, and one number, have no scale.
        let (low, high) = match high / low {
            ratio if ratio > 1.0 => {
                let margin = ratio.powf(0.04);
                (low / margin, high * margin)
            }
            _ if high > 0.0 => (high / 2.0, high * 2.0),
            _ => (0.1, 1.0),
        };

        let mut builder = ChartBuilder::on(area);
        builder
            .margin_top(self.px(8.0))
            .margin_right(self.px(24.0))
            .margin_bottom(self.px(8.0))
            .margin_left(self.px(10.0))
            .x_label_area_size(self.px(46.0))
            .y_label_area_size(self.px(70.0));
        if !panel.title.is_empty() {
            builder.caption(panel.title.as_str(), self.font(15.0));
        }
        let ticks = log_ticks(low, high);
        let label = |loss: f64| label(loss, &ticks);
        let mut chart = builder.build_cartesian_2d(
            1..epochs.max(2),
            (low..high).log_scale().with_key_points(ticks.clone()),
        )?;
        let grid = |mix| BLACK.mix(mix).stroke_width(self.px(1.0) as u32);
        let mut mesh = chart.configure_mesh();
        if !y.is_empty() {
            mesh.y_desc(y);
        }
        let narrow = (area.dim_in_pixel().0 as i32) < self.px(600.0);
        mesh.x_desc("Epoch")
            .x_labels(if narrow { 6 } else { 11 })
            .y_label_formatter(&|loss| label(*loss))
            .label_style(self.font(12.0))
            .axis_desc_style(self.font(13.0))
            .axis_style(grid(0.5))
            .bold_line_style(grid(0.12))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(self.px(5.0))
            .draw()?;
        for (i, curve) in panel.curves.iter().enumerate() {
            // A loss of 0 has no logarithm; it is drawn at the lower edge.
            let points = curve.iter().map(|loss| loss.clamp(low, high));
            let points: Vec<(usize, f64)> = (1..).zip(points).collect();
            if let &[point] = points.as_slice() {
                let dot = Circle::new(point, self.px(4.0), color(i).filled());
                chart.draw_series([dot])?;
            }
            chart.draw_series(LineSeries::new(points, self.style(i)))?;
        }
        Ok(())
    }
}

/// A tick's label, with as many digits as it takes to tell it from the others.
fn label(loss: f64, ticks: &[f64]) -> String {
    let digits = |digits: usize| {
        move |tick: &f64| -> f64 { format!("{tick:.digits$e}").parse().unwrap_or(*tick) }
    };
    let enough = (2..8).find(|&n| {
        let exact = |tick: &f64| (digits(n)(tick) / tick - 1.0).abs() < 1e-9;
        ticks.iter().all(exact)
    });
    match enough {
        None | Some(2) => short(loss),
        Some(n) => digits(n)(&loss).to_string(),
    }
}
