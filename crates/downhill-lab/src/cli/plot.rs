//! Filled contours of a function of two variables, and animations.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plotters::prelude::*;

use downhill_plot::{Figure, PlotFile, has_folder, register_sans_serif};

/// A file for a picture or, if its name ends in .gif, an animation.
#[derive(Clone, Debug)]
pub enum PictureFile {
    Still(PlotFile),
    Animation(PathBuf),
}

impl FromStr for PictureFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("svg" | "png") => text.parse().map(Self::Still),
            Some("gif") => has_folder(&path).map(|()| Self::Animation(path)),
            _ => Err("the name of a picture ends in .svg, .png or .gif".to_string()),
        }
    }
}

impl fmt::Display for PictureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Still(file) => file.fmt(f),
            Self::Animation(path) => path.display().fmt(f),
        }
    }
}

/// Draws one frame after the other, `milliseconds` apart.
pub fn animate<F: Figure>(
    path: &Path,
    frames: impl IntoIterator<Item = F>,
    milliseconds: u32,
) -> Result<(), Box<dyn Error>> {
    register_sans_serif()?;
    let mut animation = None;
    for frame in frames {
        let size = frame.size();
        let mut pixels = vec![0; 3 * size.0 as usize * size.1 as usize];
        let buffer = BitMapBackend::with_buffer(&mut pixels, size);
        frame.draw(buffer.into_drawing_area(), 1)?;
        reduce_colors(&mut pixels);
        let animation = match &mut animation {
            Some(animation) => animation,
            none => none.insert(BitMapBackend::gif(path, size, milliseconds)?),
        };
        animation.blit_bitmap((0, 0), size, &pixels)?;
        animation.present()?;
    }
    Ok(())
}

/// Leaves the 256 most frequent colours, which is what a frame may have. Left to itself, the encoder
/// would look at a sample of the pixels and miss the thin lines.
fn reduce_colors(pixels: &mut [u8]) {
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for pixel in pixels.as_chunks::<3>().0 {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut colors: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    if colors.len() <= 256 {
        return;
    }
    colors.sort_by_key(|(color, count)| (Reverse(*count), *color));
    let (kept, others) = colors.split_at(256);
    let nearest = |color: &[u8; 3]| {
        let distance = |kept: &[u8; 3]| -> u32 {
            let parts = color.iter().zip(kept);
            parts.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
        };
        let kept = kept.iter().map(|(color, _)| *color);
        kept.min_by_key(distance).unwrap_or(*color)
    };
    let replaced: HashMap<[u8; 3], [u8; 3]> = others
        .iter()
        .map(|(color, _)| (*color, nearest(color)))
        .collect();
    for pixel in pixels.as_chunks_mut::<3>().0 {
        if let Some(color) = replaced.get(pixel) {
            *pixel = *color;
        }
    }
}

/// A function's values on a square grid.
pub struct Grid {
    x: [f64; 2],
    y: [f64; 2],
    /// Cells on each side.
    cells: usize,
    /// Row by row, from the lowest `y` and `x` on.
    values: Vec<f64>,
}

impl Grid {
    /// The values of `f` on `cells` by `cells` cells, whose corners lie in the ranges.
    pub fn new(x: [f64; 2], y: [f64; 2], cells: usize, f: impl Fn(f64, f64) -> f64) -> Self {
        let at = |[low, high]: [f64; 2], i: usize| low + (high - low) * i as f64 / cells as f64;
        let rows = (0..=cells).flat_map(|j| (0..=cells).map(move |i| (i, j)));
        let values = rows.map(|(i, j)| f(at(x, i), at(y, j))).collect();
        Self {
            x,
            y,
            cells,
            values,
        }
    }

    /// Values for contours above `least`: round numbers in equal distances, or in equal ratios above
    /// the least where most of the values are small beside the highest.
    pub fn levels(&self, least: f64) -> Levels {
        let mut above: Vec<f64> = self.values.iter().map(|value| value - least).collect();
        above.sort_by(f64::total_cmp);
        let highest = above[above.len() - 1];
        let low = above[above.len() / 500].max(1e-6 * highest);
        if highest / low > 100.0 {
            let digits: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
            let candidates = digits.map(|digits| {
                let decades = low.log10().floor() as i32..=highest.log10().floor() as i32;
                let all = decades.flat_map(|k| digits.iter().map(move |d| d * 10f64.powi(k)));
                all.filter(|level| (low..highest).contains(level))
                    .collect::<Vec<f64>>()
            });
            let fits = candidates.iter().find(|levels| levels.len() <= 14);
            return Levels {
                values: fits.unwrap_or(&candidates[2]).clone(),
                above: least,
            };
        }
        let (bottom, top) = (least + above[0], least + highest);
        let unit = 10f64.powf(((top - bottom) / 14.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .map(|digits| digits * unit)
            .into_iter()
            .find(|step| (top - bottom) / step <= 14.0)
            .unwrap_or(10.0 * unit);
        let first = (bottom / step).floor() as i64 + 1;
        let last = (top / step).ceil() as i64 - 1;
        Levels {
            values: (first..=last).map(|i| i as f64 * step).collect(),
            above: 0.0,
        }
    }

    /// The boundaries of the regions between the levels, from the outermost to the innermost: painted
    /// in this order, each region in its own colour covers what it lies in.
    ///
    /// The contours are those of marching squares (W. E. Lorensen and H. E. Cline, Marching cubes,
    /// SIGGRAPH 1987, in two dimensions). The function is taken as infinite outside of the grid, which
    /// closes all contours.
    pub fn regions(&self, levels: &Levels) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        // Where two boundaries are the same, the grid's, the inner region has the lower level.
        for (band, level) in levels.values.iter().enumerate().rev() {
            for points in self.contours(level + levels.above) {
                let twice_area: f64 = (0..points.len())
                    .map(|i| (points[i], points[(i + 1) % points.len()]))
                    .map(|((x, y), (u, v))| x * v - u * y)
                    .sum();
                // What is below the level lies to the left of its contour.
                let band = if twice_area > 0.0 { band } else { band + 1 };
                regions.push(Region {
                    band,
                    points,
                    area: twice_area.abs() / 2.0,
                });
            }
        }
        regions.sort_by(|a, b| b.area.total_cmp(&a.area));
        regions
    }

    /// The value at a node, where the nodes around the grid count too, from 0 on.
    fn value(&self, i: usize, j: usize) -> f64 {
        let inside = 1..=self.cells + 1;
        if inside.contains(&i) && inside.contains(&j) {
            self.values[(j - 1) * (self.cells + 1) + i - 1]
        } else {
            f64::INFINITY
        }
    }

    /// Where a node is; those around the grid are on its edge.
    fn position(&self, i: usize, j: usize) -> (f64, f64) {
        let at = |[low, high]: [f64; 2], i: usize| {
            let i = i.clamp(1, self.cells + 1) - 1;
            low + (high - low) * i as f64 / self.cells as f64
        };
        (at(self.x, i), at(self.y, j))
    }

    /// The closed lines where the function crosses the level, with lower values to their left.
    fn contours(&self, level: f64) -> Vec<Vec<(f64, f64)>> {
        type Node = (usize, usize);
        // An edge is a pair of nodes, the lower value first, so that both its cells know it by it.
        type Edge = (Node, Node);
        let mut next: HashMap<Edge, Edge> = HashMap::new();
        let mut order: Vec<Edge> = Vec::new();
        for j in 0..self.cells + 2 {
            for i in 0..self.cells + 2 {
                let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
                let values = corners.map(|(i, j)| self.value(i, j));
                let below = values.map(|value| value < level);
                // Counterclockwise, the edges where the level is left upwards or come down to.
                let edge = |k: usize| {
                    let (a, b) = (corners[k], corners[(k + 1) % 4]);
                    if below[k] { (a, b) } else { (b, a) }
                };
                let is_up = |k: &usize| below[*k] && !below[(k + 1) % 4];
                let is_down = |k: &usize| !below[*k] && below[(k + 1) % 4];
                // The higher corners by themselves, unless the cell's middle connects them.
                let middle = values.iter().sum::<f64>() / 4.0;
                for up in (0..4).filter(is_up) {
                    let mut after = (1..4).map(|k| (up + k) % 4).filter(is_down);
                    let down = if middle < level {
                        after.next()
                    } else {
                        after.next_back()
                    };
                    if let Some(down) = down {
                        next.insert(edge(up), edge(down));
                        order.push(edge(up));
                    }
                }
            }
        }
        let crossing = |(low, high): Edge| {
            let (from, to) = (self.value(low.0, low.1), self.value(high.0, high.1));
            let part = (level - from) / (to - from);
            let ((x, y), (u, v)) = (self.position(low.0, low.1), self.position(high.0, high.1));
            (x + part * (u - x), y + part * (v - y))
        };
        // A small part of what can be seen in a picture.
        let tolerance = (self.x[1] - self.x[0]) / 5000.0;
        let mut lines = Vec::new();
        for start in order {
            let mut line = Vec::new();
            let mut edge = start;
            while let Some(following) = next.remove(&edge) {
                line.push(crossing(edge));
                edge = following;
            }
            let line = thinned(line, tolerance);
            if line.len() > 2 {
                lines.push(line);
            }
        }
        lines
    }
}

/// Without points that lie, but for the tolerance, on the straight line between those that are left.
fn thinned(line: Vec<(f64, f64)>, tolerance: f64) -> Vec<(f64, f64)> {
    let is_straight = |from: usize, to: usize| {
        let ((a, b), (u, v)) = (line[from], line[to]);
        let length = (u - a).hypot(v - b);
        line[from + 1..to].iter().all(|(x, y)| {
            let area = (x - a) * (v - b) - (y - b) * (u - a);
            area.abs() <= tolerance * length
        })
    };
    let mut left = Vec::new();
    let mut from = 0;
    while from < line.len() {
        left.push(line[from]);
        // A longer line costs more to check than it saves.
        let furthest = line.len().min(from + 100);
        let straight = (from + 2..furthest).take_while(|to| is_straight(from, *to));
        from = straight.last().unwrap_or(from + 1);
    }
    left
}

/// The values of contours.
pub struct Levels {
    pub values: Vec<f64>,
    /// What they are added to.
    pub above: f64,
}

/// A part of the plane with a closed boundary.
pub struct Region {
    /// How many levels are below its values next to the boundary.
    pub band: usize,
    pub points: Vec<(f64, f64)>,
    area: f64,
}

/// The part of a line that lies in a rectangle (Liang and Barsky).
pub fn clip(from: [f64; 2], to: [f64; 2], x: [f64; 2], y: [f64; 2]) -> Option<[(f64, f64); 2]> {
    let (mut enter, mut leave) = (0f64, 1f64);
    for (i, [low, high]) in [x, y].into_iter().enumerate() {
        let length = to[i] - from[i];
        if length == 0.0 {
            if !(low..=high).contains(&from[i]) {
                return None;
            }
            continue;
        }
        let (a, b) = ((low - from[i]) / length, (high - from[i]) / length);
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    // Where the ends are far away, rounding alone would leave the rectangle.
    let at = |part: f64| {
        (
            (from[0] + part * (to[0] - from[0])).clamp(x[0], x[1]),
            (from[1] + part * (to[1] - from[1])).clamp(y[0], y[1]),
        )
    };
    (enter <= leave).then(|| [at(enter), at(leave)])
}
