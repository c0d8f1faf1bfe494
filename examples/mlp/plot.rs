//! The loss of each epoch as a picture.

use std::{error::Error, fmt, path::PathBuf, str::FromStr};

use plotters::{
    coord::Shift,
    prelude::*,
    style::register_font,
    style::text_anchor::{HPos, Pos, VPos},
};

/// One line of the plot.
pub struct Curve {
    pub name: String,
    /// The loss before the first epoch, and after each.
    pub losses: Vec<f64>,
}

/// A file to draw into, SVG or PNG by its name.
#[derive(Clone, Debug)]
pub struct PlotFile {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Svg,
    Png,
}

impl FromStr for PlotFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let format = match extension.to_str() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err("the name of a plot ends in .svg or .png".to_string()),
        };
        // Better said now than after the training.
        match path.parent() {
            Some(folder) if folder != "" && !folder.is_dir() => {
                Err(format!("there is no folder {}", folder.display()))
            }
            _ => Ok(Self { path, format }),
        }
    }
}

impl fmt::Display for PlotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

const SIZE: (u32, u32) = (960, 540);

impl PlotFile {
    pub fn draw(&self, title: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
        register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
            .map_err(|_| "the font is damaged")?;
        match self.format {
            Format::Svg => draw(
                SVGBackend::new(&self.path, SIZE).into_drawing_area(),
                title,
                curves,
            ),
            Format::Png => draw(
                BitMapBackend::new(&self.path, SIZE).into_drawing_area(),
                title,
                curves,
            ),
        }
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
            (low..high).log_scale().with_key_points(ticks(low, high)),
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

/// Where to write numbers on a logarithmic axis: round ones, and enough of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let of_digits = |digits: &[f64]| -> Vec<f64> {
        let powers = decades.clone().map(|decade| 10f64.powi(decade));
        let ticks = powers.flat_map(|power| digits.iter().map(move |digit| digit * power));
        ticks.filter(|tick| (low..=high).contains(tick)).collect()
    };
    [of_digits(&[1.0]), of_digits(&[1.0, 2.0, 5.0])]
        .into_iter()
        .find(|ticks| ticks.len() >= 4)
        .unwrap_or_else(|| {
            // Less than a decade: equal steps of 1, 2 or 5 units.
            let unit = 10f64.powf(((high - low) / 4.0).log10().floor());
            let steps = [unit, 2.0 * unit, 5.0 * unit, 10.0 * unit];
            let step = steps.into_iter().find(|step| (high - low) / step <= 8.0);
            let step = step.unwrap_or(high - low);
            let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
            (first..=last).map(|i| i as f64 * step).collect()
        })
}

/// A tick's label.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.2e}").parse().unwrap_or(x);
    if (1e-4..1e5).contains(&rounded) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// Colours that remain apart for the colour-blind (Okabe and Ito), and then steps of the golden
/// ratio around the colour wheel.
fn color(i: usize) -> RGBColor {
    const FIRST: [RGBColor; 6] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(86, 180, 233),
        RGBColor(230, 159, 0),
    ];
    FIRST.get(i).copied().unwrap_or_else(|| {
        let hue = (0.618_034 * i as f64).fract();
        let (r, g, b) = HSLColor(hue, 0.8, 0.35).rgb();
        RGBColor(r, g, b)
    })
}
