//! A function as a map: bands of height and the lines between them.

use downhill_problems::functions::Function;

/// Lines from the lowest point of a map to its highest.
const LINES: f64 = 24.0;
/// Points on each side that heights are ranked by.
const RANKED: usize = 96;

/// Heights of a function, ranked: what share of the map lies lower.
///
/// Lines at equal distances of the root of that share are as dense near a minimum as elsewhere, whatever the function's
/// values are.
#[derive(Clone, Debug)]
pub struct Relief {
    function: Function,
    sorted: Vec<f64>,
}

impl Relief {
    /// Of the function's domain.
    pub fn new(function: &Function) -> Self {
        let [low, high] = function.domain();
        let at = |i: usize| low + (high - low) * (i as f64 + 0.5) / RANKED as f64;
        let values =
            (0..RANKED * RANKED).map(|i| function.value(&[at(i % RANKED), at(i / RANKED)]));
        let mut sorted: Vec<f64> = values.collect();
        sorted.push(function.least());
        sorted.sort_by(f64::total_cmp);
        Self {
            function: function.clone(),
            sorted,
        }
    }

    /// The height of a value, in lines.
    fn height(&self, value: f64) -> f64 {
        let sorted = &self.sorted;
        let above = sorted.partition_point(|other| *other < value);
        let share = match (above.checked_sub(1), sorted.get(above)) {
            (None, _) => 0.0,
            (Some(below), Some(next)) => {
                let (low, high) = (sorted[below], *next);
                let part = if high > low {
                    (value - low) / (high - low)
                } else {
                    0.0
                };
                below as f64 + part
            }
            (Some(below), None) => below as f64,
        };
        LINES * (share / (sorted.len() - 1) as f64).sqrt()
    }

    /// A picture of the domain of so many points, row by row from the top: red, green, blue and opacity.
    ///
    /// It goes from `low` to `high` with the height, and lines are of the colour `line`.
    pub fn picture(&self, side: usize, [low, high, line]: [[u8; 3]; 3]) -> Vec<u8> {
        let [left, right] = self.function.domain();
        let at = |i: usize| left + (right - left) * (i as f64 + 0.5) / side as f64;
        // One row and one column more, for differences.
        let wide = side + 1;
        let heights = (0..wide * wide).map(|i| {
            let (x, y) = (at(i % wide), at(side - 1) - (at(i / wide) - at(0)));
            self.height(self.function.value(&[x, y]))
        });
        let heights: Vec<f64> = heights.collect();
        let mut pixels = Vec::with_capacity(4 * side * side);
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let here = heights[row * wide + column];
            let slope = (heights[row * wide + column + 1] - here)
                .hypot(heights[(row + 1) * wide + column] - here);
            // How many points away the next line is.
            let distance = (here - here.round()).abs() / slope.max(1e-9);
            let ink = (1.2 - distance).clamp(0.0, 1.0) * (0.6 / slope.max(0.6));
            let part = here / LINES;
            for channel in 0..3 {
                let mix =
                    |a: u8, b: u8, part: f64| f64::from(a) + (f64::from(b) - f64::from(a)) * part;
                let ground = mix(low[channel], high[channel], part);
                pixels.push((ground + (f64::from(line[channel]) - ground) * ink).round() as u8);
            }
            pixels.push(255);
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use downhill_problems::functions::by_name;

    use super::*;

    #[test]
    fn heights_go_with_values_from_the_least_to_the_greatest() {
        for name in crate::scene::FUNCTIONS {
            let function = by_name(name).unwrap();
            let relief = Relief::new(&function);
            assert_eq!(relief.height(function.least()), 0.0, "{name}");
            let greatest = relief.sorted[relief.sorted.len() - 1];
            // Several points may be as high.
            assert!(relief.height(greatest) > 0.99 * LINES, "{name}");
            assert_eq!(relief.height(greatest + 1.0), LINES, "{name}");
            let heights: Vec<f64> = relief
                .sorted
                .iter()
                .map(|value| relief.height(*value))
                .collect();
            assert!(heights.is_sorted(), "{name}");
        }
    }

    /// On a bowl lines are circles at equal distances.
    #[test]
    fn a_minimum_is_on_the_map_where_it_is() {
        let function = by_name("rosenbrock").unwrap();
        let colours = [[0, 0, 0], [255, 0, 0], [0, 0, 0]];
        let side = 64;
        let pixels = Relief::new(&function).picture(side, colours);
        assert_eq!(pixels.len(), 4 * side * side);
        let red = |x: f64, y: f64| {
            let place = |x: f64| ((x + 2.048) / 4.096 * side as f64) as usize;
            pixels[4 * ((side - 1 - place(y)) * side + place(x))]
        };
        // The valley goes through (1, 1) and (-1, 1); (0, 2) is above it, and (0, -2) higher still.
        assert!(
            red(1.0, 1.0) < 40 && red(-1.0, 1.0) < 80,
            "{} {}",
            red(1.0, 1.0),
            red(-1.0, 1.0)
        );
        assert!(red(-1.9, -1.9) > 200, "{}", red(-1.9, -1.9));
    }
}
