//! Axes: where a value is, and which values have a label.

use super::format::{count, number};

/// A direction of a plot.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// From the lowest to the highest of the values, logarithmic unless one of them is negative. Zeros
    /// have no place on a logarithmic axis and lie at its lower end.
    pub fn log(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        if values.clone().any(|x| x < 0.0) {
            let (low, high) = ends(values)?;
            let room = if low == high {
                low.abs().max(1.0)
            } else {
                0.04 * (high - low)
            };
            return Some(Self {
                low: low - room,
                high: high + room,
                log: false,
            });
        }
        let (low, high) = ends(values.filter(|x| *x > 0.0))?;
        // A little room, and enough where all values are the same.
        let room = (0.04 * (high.ln() - low.ln())).exp().max(1.05);
        Some(Self {
            low: (low / room).max(f64::MIN_POSITIVE),
            high: (high * room).min(f64::MAX),
            log: true,
        })
    }

    /// From zero to the highest of the values, or logarithmic if they are far apart.
    pub fn amounts(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let (low, high) = ends(values.clone())?;
        if low > 0.0 && high / low > 30.0 {
            return Self::log(values);
        }
        Some(Self::linear(
            0.0,
            if high > 0.0 { 1.04 * high } else { 1.0 },
        ))
    }

    /// From one value to a higher one.
    pub fn linear(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            log: false,
        }
    }

    /// The same with another upper end, if that is lower.
    pub fn capped(self, high: f64) -> Self {
        let high = if high > self.low { high } else { self.high };
        Self {
            high: self.high.min(high),
            ..self
        }
    }

    /// Whether it is logarithmic.
    pub fn is_log(self) -> bool {
        self.log
    }

    /// From 0 at the lower end to 1 at the upper one, where everything beyond lies too.
    pub fn position(self, x: f64) -> f64 {
        let part = if self.log {
            // Quotients of such numbers may be infinite.
            let low = self.low.ln();
            (x.max(self.low).ln() - low) / (self.high.ln() - low)
        } else {
            (x - self.low) / (self.high - self.low)
        };
        if part.is_nan() {
            0.0
        } else {
            part.clamp(0.0, 1.0)
        }
    }

    /// Round values, at most about `most`, with their labels.
    pub fn ticks(self, most: usize) -> Vec<(f64, String)> {
        let ticks = if self.log {
            self.log_ticks(most)
        } else {
            Vec::new()
        };
        let ticks = if ticks.len() < 2 {
            self.even_ticks(most)
        } else {
            ticks
        };
        let label = |x: f64| {
            if (1e4..1e7).contains(&x) && x.fract() == 0.0 {
                count(x)
            } else {
                number(x)
            }
        };
        ticks.into_iter().map(|x| (x, label(x))).collect()
    }

    fn log_ticks(self, most: usize) -> Vec<f64> {
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let inside = |x: &f64| (self.low..=self.high).contains(x);
        // Through text, since powers are not exact.
        let value = |digit: u32, power: i32| format!("{digit}e{power}").parse().unwrap_or(f64::NAN);
        for digits in [&[1, 2, 5][..], &[1, 3], &[1]] {
            let powers = first..=last;
            let ticks = powers.flat_map(|power| digits.iter().map(move |d| value(*d, power)));
            let ticks: Vec<f64> = ticks.filter(inside).collect();
            if ticks.len() <= most {
                return ticks;
            }
        }
        let stride = ((last - first) as usize).div_ceil(most.max(1)).max(2) as i32;
        let powers = (first..=last).filter(|power| power.rem_euclid(stride) == 0);
        powers.map(|power| value(1, power)).filter(inside).collect()
    }

    fn even_ticks(self, most: usize) -> Vec<f64> {
        let span = self.high - self.low;
        let least = span / most.max(1) as f64;
        let power = least.log10().floor();
        let unit = 10f64.powf(power);
        let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * unit);
        let step = steps
            .into_iter()
            .find(|step| *step >= 0.999 * least)
            .unwrap_or(least);
        if !(step.is_finite() && step > 0.0) {
            return Vec::new();
        }
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        // Without the last digits, which the multiplication makes.
        let tick = |i: f64| format!("{:.9e}", i * step).parse().unwrap_or(i * step);
        let count = (last - first).max(-1.0) as i64;
        (0..=count).map(|i| tick(first + i as f64)).collect()
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|x| x.is_finite());
    values.fold(None, |ends, x| match ends {
        None => Some((x, x)),
        Some((low, high)) => Some((x.min(low), x.max(high))),
    })
}
