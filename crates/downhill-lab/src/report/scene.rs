//! Drawings that are written as SVG, for both colour schemes, and as PNG.
//!
//! The SVG is written here and not by plotters, whose SVG has neither classes, which the colours of a
//! dark page need, nor dashes, of which each would be an element, nor fractions of a pixel.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use downhill_plot::register_sans_serif;
use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours of series before they repeat.
pub const COLORS: usize = 6;

/// Dash patterns before they repeat. No number of series up to the product of both has two that look
/// the same, since [`COLORS`] and this have no common divisor.
pub const DASHES: usize = 5;

/// On and off in pixels.
const PATTERNS: [&[f64]; DASHES] = [
    &[],
    &[8.0, 3.0],
    &[2.0, 2.5],
    &[9.0, 3.0, 2.0, 3.0],
    &[4.0, 2.5],
];

/// The colours of Okabe and Ito, which remain apart for the colour-blind; on a light page some are
/// darker than theirs, and on a dark one lighter, to have enough contrast.
const SERIES: [[u32; 2]; COLORS] = [
    [0x0072b2, 0x4a9df0],
    [0xd55e00, 0xff8a3d],
    [0x009e73, 0x2fc99b],
    [0xc4679b, 0xe89cc8],
    [0x3a9bd6, 0x9be0ff],
    [0xc98a00, 0xf0c24a],
];

/// What a thing is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text.
    Ink,
    /// Text that matters less, and axes.
    Muted,
    /// Lines behind everything.
    Grid,
    /// The page.
    Paper,
    /// One of [`COLORS`].
    Series(usize),
}

impl Paint {
    fn class(self) -> String {
        match self {
            Self::Ink => "ink".to_string(),
            Self::Muted => "muted".to_string(),
            Self::Grid => "grid".to_string(),
            Self::Paper => "paper".to_string(),
            Self::Series(i) => format!("c{}", i % COLORS),
        }
    }

    /// On a light page, and on a dark one.
    fn colors(self) -> [u32; 2] {
        match self {
            Self::Ink => [0x1c2024, 0xe6e9ec],
            Self::Muted => [0x5c646c, 0xa3abb3],
            Self::Grid => [0xdfe3e7, 0x363c43],
            Self::Paper => [0xffffff, 0x15181b],
            Self::Series(i) => SERIES[i % COLORS],
        }
    }

    fn rgb(self) -> RGBColor {
        let [light, _] = self.colors();
        RGBColor((light >> 16) as u8, (light >> 8) as u8, light as u8)
    }

    fn all() -> impl Iterator<Item = Self> {
        let plain = [Self::Ink, Self::Muted, Self::Grid, Self::Paper];
        plain.into_iter().chain((0..COLORS).map(Self::Series))
    }
}

/// The colours as variables of CSS, and the classes that the drawings in a page have.
pub fn page_css() -> String {
    let variables = |scheme: usize| {
        Paint::all().fold(String::new(), |mut css, paint| {
            let color = paint.colors()[scheme];
            write!(css, "--{}:#{color:06x};", paint.class()).expect("memory");
            css
        })
    };
    let mut css = format!(
        ":root{{{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        variables(0),
        variables(1)
    );
    for class in Paint::all().map(Paint::class) {
        writeln!(
            css,
            ".s-{class}{{stroke:var(--{class})}}.f-{class}{{fill:var(--{class})}}"
        )
        .expect("memory");
    }
    css
}

/// The classes of a drawing that is a file of its own. The colours of a light page are attributes, for
/// viewers that know no CSS.
fn file_css() -> String {
    let mut css = "@media (prefers-color-scheme:dark){".to_string();
    for paint in Paint::all() {
        let (class, [_, dark]) = (paint.class(), paint.colors());
        write!(
            css,
            ".s-{class}{{stroke:#{dark:06x}}}.f-{class}{{fill:#{dark:06x}}}"
        )
        .expect("memory");
    }
    css + "}"
}

/// Where a text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// On it.
    Middle,
    /// To the left of it.
    End,
}

/// The form of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// Standing on its side.
    Triangle,
    /// Standing on its corner.
    Diamond,
    /// Standing on its tip.
    Wedge,
    /// An x.
    Cross,
}

/// Points in pixels.
pub type Points = Vec<(f64, f64)>;

/// A part of a drawing.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Straight lines from point to point.
    Line {
        /// The points.
        points: Points,
        /// The colour.
        paint: Paint,
        /// In pixels.
        width: f64,
        /// A dash pattern, 0 for none.
        dash: usize,
    },
    /// A filled polygon.
    Area {
        /// Its corners.
        points: Points,
        /// The colour.
        paint: Paint,
        /// How much of what is below it covers.
        opacity: f64,
    },
    /// A mark at a point.
    Mark {
        /// The point.
        at: (f64, f64),
        /// From the middle to the border.
        radius: f64,
        /// The form.
        mark: Mark,
        /// The colour.
        paint: Paint,
    },
    /// A ring around a point.
    Ring {
        /// The point.
        at: (f64, f64),
        /// In pixels.
        radius: f64,
        /// The colour.
        paint: Paint,
    },
    /// A line of text, its height centred at a point.
    Text {
        /// The point.
        at: (f64, f64),
        /// The text.
        text: String,
        /// In pixels.
        size: f64,
        /// The colour.
        paint: Paint,
        /// Where it stands at the point.
        anchor: Anchor,
    },
    /// Shapes that are one thing; a viewer shows the name of what the pointer is on.
    Named(String, Vec<Shape>),
}

/// A drawing.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What it is, in a few words.
    pub title: String,
    /// What it shows, for those who do not see it.
    pub description: String,
    /// In pixels.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// From the back to the front.
    pub shapes: Vec<Shape>,
}

/// Space for the title above a drawing that is a file of its own.
const HEAD: f64 = 34.0;

impl Scene {
    /// The drawing as an element of a page that has [`page_css`]; `id` is used once in it.
    pub fn inline_svg(&self, id: &str) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\
             <title id=\"{id}-title\">{}</title><desc id=\"{id}-text\">{}</desc>\n",
            short(self.width),
            short(self.height),
            escaped(&self.title),
            escaped(&self.description)
        );
        write_shapes(&mut svg, &self.shapes);
        svg + "</svg>"
    }

    /// The drawing as a file of its own.
    pub fn file_svg(&self) -> String {
        let (width, height) = (self.width, self.height + HEAD);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 {} {width} {height}\" role=\"img\" aria-labelledby=\"title text\" \
             font-family=\"'DejaVu Sans',Verdana,sans-serif\">\n\
             <title id=\"title\">{}</title><desc id=\"text\">{}</desc>\n<style>{}</style>\n",
            -HEAD,
            escaped(&self.title),
            escaped(&self.description),
            file_css()
        );
        write_shapes(&mut svg, &[self.page(), self.headline()]);
        write_shapes(&mut svg, &self.shapes);
        svg + "</svg>\n"
    }

    fn page(&self) -> Shape {
        let (right, bottom) = (self.width, self.height);
        Shape::Area {
            points: vec![(0.0, -HEAD), (right, -HEAD), (right, bottom), (0.0, bottom)],
            paint: Paint::Paper,
            opacity: 1.0,
        }
    }

    fn headline(&self) -> Shape {
        Shape::Text {
            at: (10.0, 16.0 - HEAD),
            text: self.title.clone(),
            size: 16.0,
            paint: Paint::Ink,
            anchor: Anchor::Start,
        }
    }

    /// Writes the drawing as it is on a light page, with two dots in a pixel, to a file whose name ends
    /// in `.png`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        load_font();
        // plotters does not smooth what it draws but text, so that each dot is made of several.
        const DENSE: usize = 2;
        const SMOOTH: usize = 2;
        let unit = (DENSE * SMOOTH) as f64;
        let (width, height) = (
            self.width.ceil() as usize,
            (self.height + HEAD).ceil() as usize,
        );
        let size = |scale: usize| ((width * scale) as u32, (height * scale) as u32);
        let fine_row = width * DENSE * SMOOTH * 3;
        let mut fine = vec![255; fine_row * height * DENSE * SMOOTH];
        {
            let backend = BitMapBackend::with_buffer(&mut fine, size(DENSE * SMOOTH));
            let area = backend.into_drawing_area();
            let raster = Raster { area: &area, unit };
            raster.shapes(&[self.page(), self.headline()])?;
            raster.shapes(&self.shapes)?;
            area.present()?;
        }
        let (columns, rows) = (width * DENSE, height * DENSE);
        let mut dots = Vec::with_capacity(columns * rows * 3);
        for y in 0..rows {
            for x in 0..columns {
                for channel in 0..3 {
                    let sample = |i: usize| {
                        let (dx, dy) = (i % SMOOTH, i / SMOOTH);
                        let at = (y * SMOOTH + dy) * fine_row + (x * SMOOTH + dx) * 3 + channel;
                        u32::from(fine[at])
                    };
                    let sum: u32 = (0..SMOOTH * SMOOTH).map(sample).sum();
                    dots.push((sum / (SMOOTH * SMOOTH) as u32) as u8);
                }
            }
        }
        let mut file = BitMapBackend::new(path, size(DENSE));
        file.blit_bitmap((0, 0), size(DENSE), &dots)?;
        file.present()?;
        Ok(())
    }
}

fn load_font() {
    register_sans_serif().unwrap_or_else(|_| unreachable!("the font is part of the library"));
}

// The backends take 1.24 of a font's size for the height of a line.
fn font(size: f64) -> FontDesc<'static> {
    ("sans-serif", 1.24 * size).into_font()
}

/// How broad a text is in pixels: in the font of the PNG, which is broader than most others.
pub fn text_width(text: &str, size: f64) -> f64 {
    load_font();
    // Measured large, as the result is a whole number.
    let width = font(10.0 * size)
        .box_size(text)
        .map_or(0, |(width, _)| width);
    f64::from(width) / 10.0
}

/// A text that is no broader than `most` pixels.
pub fn fitted(text: &str, size: f64, most: f64) -> String {
    if text_width(text, size) <= most {
        return text.to_string();
    }
    let mut kept: String = text.chars().take(200).collect();
    while !kept.is_empty() && text_width(&format!("{kept}…"), size) > most {
        kept.pop();
    }
    kept + "…"
}

/// A coordinate without superfluous digits.
fn short(x: f64) -> String {
    let rounded = (10.0 * x).round() / 10.0;
    // Not "-0".
    (rounded + 0.0).to_string()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            // XML has no way to write them.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn corners(mark: Mark, (x, y): (f64, f64), r: f64) -> Points {
    let at = |points: &[(f64, f64)]| -> Points {
        let points = points.iter();
        points.map(|(dx, dy)| (x + r * dx, y + r * dy)).collect()
    };
    match mark {
        Mark::Square => at(&[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]),
        Mark::Triangle => at(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
        Mark::Wedge => at(&[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)]),
        Mark::Diamond => at(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        Mark::Circle | Mark::Cross => Vec::new(),
    }
}

fn strokes((x, y): (f64, f64), r: f64) -> [Points; 2] {
    [
        vec![(x - r, y - r), (x + r, y + r)],
        vec![(x - r, y + r), (x + r, y - r)],
    ]
}

fn write_shapes(svg: &mut String, shapes: &[Shape]) {
    for shape in shapes {
        write_shape(svg, shape);
    }
}

fn write_shape(svg: &mut String, shape: &Shape) {
    let joined = |points: &Points| {
        let points = points.iter();
        let points = points.map(|(x, y)| format!("{},{}", short(*x), short(*y)));
        points.collect::<Vec<_>>().join(" ")
    };
    let stroke = |paint: Paint| {
        let [light, _] = paint.colors();
        format!("class=\"s-{}\" stroke=\"#{light:06x}\"", paint.class())
    };
    let fill = |paint: Paint| {
        let [light, _] = paint.colors();
        format!("class=\"f-{}\" fill=\"#{light:06x}\"", paint.class())
    };
    let line = match shape {
        Shape::Line {
            points,
            paint,
            width,
            dash,
        } => {
            let pattern = PATTERNS[dash % DASHES];
            let dashes = match pattern {
                [] => String::new(),
                _ => {
                    let pattern: Vec<String> = pattern.iter().map(|x| short(*x)).collect();
                    format!(" stroke-dasharray=\"{}\"", pattern.join(" "))
                }
            };
            format!(
                "<polyline {} fill=\"none\" stroke-width=\"{width}\"{dashes} stroke-linejoin=\"round\" \
                 points=\"{}\"/>",
                stroke(*paint),
                joined(points)
            )
        }
        Shape::Area {
            points,
            paint,
            opacity,
        } => {
            let opacity = match *opacity {
                1.0 => String::new(),
                opacity => format!(" fill-opacity=\"{opacity}\""),
            };
            format!(
                "<polygon {}{opacity} points=\"{}\"/>",
                fill(*paint),
                joined(points)
            )
        }
        Shape::Mark {
            at: (x, y),
            radius,
            mark: Mark::Circle,
            paint,
        } => format!(
            "<circle {} cx=\"{}\" cy=\"{}\" r=\"{radius}\"/>",
            fill(*paint),
            short(*x),
            short(*y)
        ),
        Shape::Mark {
            at,
            radius,
            mark: Mark::Cross,
            paint,
        } => {
            let strokes = strokes(*at, *radius).map(|points| Shape::Line {
                points,
                paint: *paint,
                width: 2.0,
                dash: 0,
            });
            return write_shapes(svg, &strokes);
        }
        Shape::Mark {
            at,
            radius,
            mark,
            paint,
        } => format!(
            "<polygon {} points=\"{}\"/>",
            fill(*paint),
            joined(&corners(*mark, *at, *radius))
        ),
        Shape::Ring {
            at: (x, y),
            radius,
            paint,
        } => format!(
            "<circle {} fill=\"none\" stroke-width=\"1.5\" cx=\"{}\" cy=\"{}\" r=\"{radius}\"/>",
            stroke(*paint),
            short(*x),
            short(*y)
        ),
        Shape::Text {
            at: (x, y),
            text,
            size,
            paint,
            anchor,
        } => {
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            format!(
                "<text {} x=\"{}\" y=\"{}\" font-size=\"{size}\"{anchor}>{}</text>",
                fill(*paint),
                short(*x),
                // Viewers do not agree on how to centre a text.
                short(y + 0.36 * size),
                escaped(text)
            )
        }
        Shape::Named(name, shapes) => {
            write!(svg, "<g><title>{}</title>", escaped(name)).expect("memory");
            write_shapes(svg, shapes);
            "</g>".to_string()
        }
    };
    svg.push_str(&line);
    svg.push('\n');
}

struct Raster<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    unit: f64,
}

impl<B: DrawingBackend> Raster<'_, B>
where
    B::ErrorType: 'static,
{
    fn dot(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let dots = |pixels: f64| (pixels * self.unit).round() as i32;
        (dots(x), dots(y + HEAD))
    }

    fn dots(&self, points: &[(f64, f64)]) -> Vec<(i32, i32)> {
        let mut dots: Vec<_> = points.iter().map(|point| self.dot(*point)).collect();
        dots.dedup();
        dots
    }

    fn shapes(&self, shapes: &[Shape]) -> Result<(), Box<dyn Error>> {
        shapes.iter().try_for_each(|shape| self.shape(shape))
    }

    fn shape(&self, shape: &Shape) -> Result<(), Box<dyn Error>> {
        match shape {
            Shape::Line {
                points,
                paint,
                width,
                dash,
            } => {
                let stroke = (width * self.unit).round().max(1.0) as u32;
                let style = paint.rgb().stroke_width(stroke);
                for dash in dashed(points, PATTERNS[dash % DASHES]) {
                    self.area.draw(&PathElement::new(self.dots(&dash), style))?;
                }
            }
            Shape::Area {
                points,
                paint,
                opacity,
            } => {
                let style = paint.rgb().mix(*opacity).filled();
                self.area.draw(&Polygon::new(self.dots(points), style))?;
            }
            Shape::Mark {
                at,
                radius,
                mark: Mark::Circle,
                paint,
            } => {
                let radius = (radius * self.unit).round() as i32;
                let style = paint.rgb().filled();
                self.area.draw(&Circle::new(self.dot(*at), radius, style))?;
            }
            Shape::Mark {
                at,
                radius,
                mark: Mark::Cross,
                paint,
            } => {
                let style = paint.rgb().stroke_width((2.0 * self.unit) as u32);
                for points in strokes(*at, *radius) {
                    self.area
                        .draw(&PathElement::new(self.dots(&points), style))?;
                }
            }
            Shape::Mark {
                at,
                radius,
                mark,
                paint,
            } => {
                let corners = self.dots(&corners(*mark, *at, *radius));
                self.area
                    .draw(&Polygon::new(corners, paint.rgb().filled()))?;
            }
            Shape::Ring { at, radius, paint } => {
                // plotters' broad circles have holes; a polygon has none.
                let corner = |i: i32| {
                    let angle = f64::from(i) * std::f64::consts::TAU / 48.0;
                    let (x, y) = *at;
                    (x + radius * angle.cos(), y + radius * angle.sin())
                };
                let points: Points = (0..=48).map(corner).collect();
                let style = paint.rgb().stroke_width((1.5 * self.unit) as u32);
                self.area
                    .draw(&PathElement::new(self.dots(&points), style))?;
            }
            Shape::Text {
                at,
                text,
                size,
                paint,
                anchor,
            } => {
                let side = match anchor {
                    Anchor::Start => HPos::Left,
                    Anchor::Middle => HPos::Center,
                    Anchor::End => HPos::Right,
                };
                let color = paint.rgb();
                let style = font(size * self.unit).into_text_style(self.area);
                let style = style.color(&color).pos(Pos::new(side, VPos::Center));
                // The backend centres a line with room for accents above it.
                let at = self.dot((at.0, at.1 + 0.2 * size));
                self.area.draw(&Text::new(text.as_str(), at, style))?;
            }
            Shape::Named(_, shapes) => self.shapes(shapes)?,
        }
        Ok(())
    }
}

/// The pieces of a line that are drawn.
fn dashed(points: &[(f64, f64)], pattern: &[f64]) -> Vec<Points> {
    if pattern.is_empty() {
        return vec![points.to_vec()];
    }
    let mut pieces = Vec::new();
    let mut lengths = pattern.iter().copied().cycle();
    let mut left = lengths.next().unwrap_or(f64::INFINITY);
    let mut drawing = true;
    let mut piece: Points = points.first().copied().into_iter().collect();
    for ends in points.windows(2) {
        let ((mut x, mut y), (end_x, end_y)) = (ends[0], ends[1]);
        loop {
            let distance = (end_x - x).hypot(end_y - y);
            if distance <= left {
                left -= distance;
                piece.push((end_x, end_y));
                break;
            }
            let part = left / distance;
            (x, y) = (x + part * (end_x - x), y + part * (end_y - y));
            piece.push((x, y));
            if drawing {
                pieces.push(std::mem::take(&mut piece));
            }
            piece = vec![(x, y)];
            drawing = !drawing;
            left = lengths.next().unwrap_or(f64::INFINITY);
        }
    }
    if drawing && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}
