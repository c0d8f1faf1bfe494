//! The loss of each epoch as a picture.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

pub use downhill_plot::PlotFile;
use downhill_plot::{Figure, color, log_ticks, short};

/// One line of the plot.
pub struct Curve {
    pub name: String,
    /// The loss before the first epoch, and after each.
    pub losses: Vec<f64>,
}

pub fn draw_losses(file: &PlotFile, title: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    file.draw_figure(&Losses { title, curves })
}

struct Losses<'a> {
    title: &'a str,
    curves: &'a [Curve],
}

const SIZE: (u32, u32) = (960, 540);

impl Figure for Losses<'_> {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: DrawingArea<B, Shift>,
        _unit: u32,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        draw(root, self.title, self.curves)
    }
}

fn draw<B: DrawingBackend>(
    root: DrawingArea<B, Shift>,
    title: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    root.fill(&WHITE)?;
    let longest = curves.iter().map(|curve| curve.name.len()).max();
    let legend_width = 60 + 10 * longest.unwrap_or(0) as i32;
    let (chart, legend) = root.split_horizontally(SIZE.0 as i32 - legend_width);

    let epochs = curves
        .iter()
        .map(|curve| curve.losses.len())
        .max()
        .unwrap_or(0);
    let losses = || {
        let losses = curves.iter().flat_map(|curve| curve.losses.iter().copied());
        losses.filter(|loss| *loss > 0.0)
    };
    // A loss of 0 has no logarithm; it is drawn at the lower edge.
    let low = losses().fold(f64::MAX, f64::min) / 1.2;
    let high = losses().fold(low, f64::max) * 1.2;

    let mut chart = ChartBuilder::on(&chart)
        .caption(title, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(
            0..epochs.saturating_sub(1).max(1),
            (low..high)
                .log_scale()
                .with_key_points(log_ticks(low, high)),
        )?;
    chart
        .configure_mesh()
        .x_desc("Epoch")
        .y_desc("Training loss (mean cross-entropy, log scale)")
        .x_labels(11)
        .y_label_formatter(&|loss| short(*loss))
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .bold_line_style(BLACK.mix(0.15))
        .light_line_style(TRANSPARENT)
        .draw()?;

    for (i, curve) in curves.iter().enumerate() {
        let style = color(i).stroke_width(2);
        let points = curve.losses.iter().map(|loss| loss.max(low)).enumerate();
        chart.draw_series(LineSeries::new(points, style))?;

        let y = 60 + 26 * i as i32;
        legend.draw(&PathElement::new([(0, y), (26, y)], style))?;
        let text = ("sans-serif", 16).into_text_style(&legend);
        let text = text.pos(Pos::new(HPos::Left, VPos::Center));
        legend.draw(&Text::new(curve.name.as_str(), (34, y), text))?;
    }
    root.present()?;
    Ok(())
}
