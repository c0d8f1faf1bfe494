//! Pictures in files: what the commands and examples that draw have in common.
//!
//! A [`Figure`] is drawn once for SVG and PNG; a [`PlotFile`] is where to, as a command line names it.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use plotters::{coord::Shift, prelude::*, style::register_font};

/// Something to draw.
pub trait Figure {
    /// SVG units in a pixel. Coordinates are whole units, and a curve wants finer ones than pixels.
    const FINE: u32 = 1;

    /// Dots of a PNG in a pixel.
    const DENSE: u32 = 1;

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws everything, with `unit` of the area's units in a pixel.
    fn draw<B: DrawingBackend>(
        &self,
        root: DrawingArea<B, Shift>,
        unit: u32,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static;
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
        has_folder(&path)?;
        Ok(Self { path, format })
    }
}

/// Whether there is a folder for a file: better said now than after the training.
pub fn has_folder(path: &Path) -> Result<(), String> {
    match path.parent() {
        Some(folder) if folder != "" && !folder.is_dir() => {
            Err(format!("there is no folder {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes the font known that texts are drawn in.
pub fn register_sans_serif() -> Result<(), Box<dyn Error>> {
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font is damaged".into())
}

impl fmt::Display for PlotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl PlotFile {
    /// Draws the figure into the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn draw_figure<F: Figure>(&self, figure: &F) -> Result<(), Box<dyn Error>> {
        register_sans_serif()?;
        match self.format {
            Format::Svg => fs::write(&self.path, svg(figure)?)?,
            Format::Png => {
                let (width, height) = figure.size();
                let dots = (width * F::DENSE, height * F::DENSE);
                let backend = BitMapBackend::new(&self.path, dots);
                figure.draw(backend.into_drawing_area(), F::DENSE)?;
            }
        }
        Ok(())
    }
}

fn svg<F: Figure>(figure: &F) -> Result<String, Box<dyn Error>> {
    let (width, height) = figure.size();
    let units = (width * F::FINE, height * F::FINE);
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, units);
    figure.draw(backend.into_drawing_area(), F::FINE)?;

    let (_, rest) = svg.split_once('>').ok_or("the drawing has no beginning")?;
    let rest = rest
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" \"/>", "\"/>");
    let mut parts = rest.split("font-size=\"");
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\" \
         xmlns=\"http://www.w3.org/2000/svg\">{}",
        units.0,
        units.1,
        parts.next().unwrap_or_default()
    );
    // Without sixteen digits each.
    for part in parts {
        let (size, rest) = part.split_once('"').ok_or("a font without a size")?;
        let size: f64 = size.parse()?;
        svg += &format!("font-size=\"{}\"{rest}", (10.0 * size).round() / 10.0);
    }
    Ok(svg)
}

/// Where to write numbers on a logarithmic axis: round ones, and neither too few nor too many.
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let of_digits = |digits: &[f64], every: usize| -> Vec<f64> {
        let powers = (first..=last)
            .step_by(every)
            .map(|decade| 10f64.powi(decade));
        let ticks = powers.flat_map(|power| digits.iter().map(move |digit| digit * power));
        ticks.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let every = ((last - first) as usize).div_ceil(8).max(1);
    [of_digits(&[1.0], every), of_digits(&[1.0, 2.0, 5.0], 1)]
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

/// A tick's label: three significant digits at most.
pub fn short(x: f64) -> String {
    significant(x, 3)
}

/// A table's number: four significant digits at most.
pub fn number(x: f64) -> String {
    significant(x, 4)
}

/// So many significant digits at most, with a power of ten where the number is very small or large.
pub fn significant(x: f64, digits: usize) -> String {
    let rounded: f64 = format!("{x:.*e}", digits - 1).parse().unwrap_or(x);
    if rounded == 0.0 || (1e-4..1e5).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// Colours that remain apart for the colour-blind (Okabe and Ito), and then steps of the golden
/// ratio around the colour wheel.
pub fn color(i: usize) -> RGBColor {
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
