use core::fmt;

use downhill_optim::drive::{Coefficient, Measure, Squares};
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use crate::Setting;
use crate::gradients::{self, Change, Seen};
use crate::report::Norm;
use crate::setting::{OutOfRange, in_range};

/// How gradients are clipped. Every threshold is a [`Setting`], so it can follow a schedule, for
/// example to come down during a warmup.
///
/// ```
/// use downhill_schedule::LinearConfig;
/// use downhill_train::Clipping;
///
/// let clipping = Clipping::global_norm(1.0);
/// // From 10 down to 1 over the first 500 updates.
/// let warm = Clipping::global_norm(LinearConfig::new(10.0, 1.0, 500).try_build()?);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Clipping {
    /// See [`Clipping::global_norm`].
    GlobalNorm {
        /// Largest norm, above 0.
        threshold: Setting,
    },
    /// See [`Clipping::tensor_norm`].
    TensorNorm {
        /// Largest norm, above 0.
        threshold: Setting,
    },
    /// See [`Clipping::value`].
    Value {
        /// Largest magnitude, above 0.
        threshold: Setting,
    },
    /// See [`Clipping::adaptive`].
    Adaptive {
        /// Largest share of the parameter's norm, above 0.
        ratio: Setting,
        /// Floor under the parameter's norm, above 0.
        #[serde(default = "floor")]
        epsilon: f64,
    },
}

/// Of [`Clipping::adaptive`].
fn floor() -> f64 {
    1e-3
}

impl Clipping {
    /// All gradients together, of every group, are scaled to the norm `threshold` if theirs is larger:
    /// the direction of the step is kept.
    ///
    /// ```text
    /// g ← g · min(1, threshold / ‖all gradients‖₂)
    /// ```
    ///
    /// The norm is taken before any finite gradient can overflow. `torch.nn.utils.clip_grad_norm_`
    /// divides by `norm + 1e-6` instead, and lands just below the threshold. Source: Pascanu, Mikolov &
    /// Bengio, arXiv 1211.5063.
    pub fn global_norm(threshold: impl Into<Setting>) -> Self {
        Self::GlobalNorm {
            threshold: threshold.into(),
        }
    }

    /// Each parameter's gradient is scaled to the norm `threshold` if its own is larger. This is what
    /// Burn's `GradientClipping::Norm` does; it turns the direction of the whole.
    pub fn tensor_norm(threshold: impl Into<Setting>) -> Self {
        Self::TensorNorm {
            threshold: threshold.into(),
        }
    }

    /// Each element is limited to `[-threshold, threshold]`.
    pub fn value(threshold: impl Into<Setting>) -> Self {
        Self::Value {
            threshold: threshold.into(),
        }
    }

    /// Adaptive gradient clipping: the gradient of each unit (what belongs to one output) is at most
    /// `ratio` of the unit's own norm.
    ///
    /// ```text
    /// g_i ← g_i · min(1, ratio · max(‖w_i‖, epsilon) / ‖g_i‖)
    /// ```
    ///
    /// Units are the columns of a matrix (Burn's `Linear` has its outputs last), the first dimension of
    /// what has more dimensions (convolutions), and the whole of a vector. The paper leaves out the last
    /// layer; that, as any choice of parameters, is not made here. `epsilon` is 1e-3. Source: Brock et
    /// al., arXiv 2102.06171, equation 3.
    pub fn adaptive(ratio: impl Into<Setting>) -> Self {
        Self::Adaptive {
            ratio: ratio.into(),
            epsilon: floor(),
        }
    }

    /// Whether it can be done at the update `step`.
    pub(crate) fn check(&self, step: u64) -> Result<(), OutOfRange> {
        self.threshold(step)?;
        if let Self::Adaptive { epsilon, .. } = self {
            in_range("epsilon of the clipping", *epsilon, Range::POSITIVE)?;
        }
        Ok(())
    }

    /// The threshold of the update `step`.
    pub(crate) fn threshold(&self, step: u64) -> Result<f64, OutOfRange> {
        let (name, setting) = match self {
            Self::GlobalNorm { threshold }
            | Self::TensorNorm { threshold }
            | Self::Value { threshold } => ("threshold of the clipping", threshold),
            Self::Adaptive { ratio, .. } => ("ratio of the clipping", ratio),
        };
        in_range(name, setting.value(step), Range::POSITIVE)
    }

    /// Whether a norm decides.
    pub(crate) fn needs_norms(&self) -> bool {
        matches!(self, Self::GlobalNorm { .. } | Self::TensorNorm { .. })
    }
}

/// As it would be written in a sentence.
impl fmt::Display for Clipping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GlobalNorm { threshold } => write!(f, "global norm {threshold}"),
            Self::TensorNorm { threshold } => write!(f, "norm of each tensor {threshold}"),
            Self::Value { threshold } => write!(f, "value {threshold}"),
            Self::Adaptive { ratio, .. } => write!(f, "adaptive {ratio}"),
        }
    }
}

/// What happens to an update whose gradients (or whose loss, where the driver is told it) are not
/// finite. It is decided before anything is changed.
///
/// All but `Ignore` have to know the gradients' norm, which on a GPU means to wait for it once in every
/// update; on the CPU it is a pass over the gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NonFinite {
    /// The step is an error that names the parameters, and hands model and gradients back.
    #[default]
    Error,
    /// The update is left out: parameters, optimizer state, counters and averages stay as they are, and
    /// the schedule does not move on. Too many in a row are an error.
    Skip {
        /// How many in a row are left out at most: micro-batches that are not finite, and windows whose sum is
        /// not although every micro-batch was good.
        max_consecutive: u32,
    },
    /// NaN and infinite elements of gradients become zeros, and the update is made. A loss that is not
    /// finite is reported.
    ZeroNan,
    /// Nothing is looked at, and nothing waits for the device.
    Ignore,
}

/// What clipping comes to.
pub(crate) struct Clip {
    pub scale: Scale,
    pub change: Option<Change<'static>>,
    pub clipped_norm: Option<Norm>,
}

/// The factors of the parameters' gradients.
pub(crate) enum Scale {
    All(f64),
    Each(Vec<f64>),
}

impl Scale {
    pub fn of(&self, at: usize) -> f64 {
        match self {
            Self::All(factor) => *factor,
            Self::Each(factors) => factors[at],
        }
    }
}

/// What clipping comes to: factors, a change that is more than a factor, and the norm afterwards where it
/// is known.
pub(crate) fn clip(
    clipping: Option<(&Clipping, f64)>,
    seen: &[Seen],
    factor: f64,
    norm: Option<&Norm>,
) -> Clip {
    let mut clip = Clip {
        scale: Scale::All(factor),
        change: None,
        clipped_norm: None,
    };
    let Some((clipping, threshold)) = clipping else {
        return clip;
    };
    match clipping {
        Clipping::GlobalNorm { .. } => {
            match gradients::on_device(seen) {
                Some(pairs) => {
                    let coefficient = Coefficient::to_norm(pairs, threshold / factor);
                    clip.change = Some(Change::ScaleBy(coefficient));
                }
                None => {
                    let squares = norm.map(Norm::squares).unwrap_or_default();
                    let coefficient = coefficient(squares.unit, squares.sum, threshold);
                    clip.scale = Scale::All(factor * coefficient);
                }
            }
            clip.clipped_norm = norm.map(|norm| norm.at_most(threshold));
        }
        Clipping::TensorNorm { .. } => {
            let mut clipped = Squares::default();
            let factors = seen.iter().map(|seen| match seen {
                Seen::Gradient(Some(Measure::Host(squares))) => {
                    let unit = squares.unit * factor;
                    let factor = factor * coefficient(unit, squares.sum, threshold);
                    clipped = clipped.plus(squares.times(factor));
                    factor
                }
                _ => factor,
            });
            clip.scale = Scale::Each(factors.collect());
            match gradients::on_device(seen) {
                Some(_) => clip.change = Some(Change::ToNorm(threshold / factor)),
                // On the device it is not known without another measurement.
                None => clip.clipped_norm = norm.map(|_| Norm::host(clipped)),
            }
        }
        Clipping::Value { .. } => clip.change = Some(Change::Clamp(threshold)),
        Clipping::Adaptive { epsilon, .. } => {
            clip.change = Some(Change::Adaptive {
                ratio: threshold,
                epsilon: *epsilon,
            });
        }
    }
    clip
}

/// The factor that brings `unit·sqrt(sum)` down to `threshold`, at most 1. The norm itself may be more
/// than an f64 can hold.
fn coefficient(unit: f64, sum: f64, threshold: f64) -> f64 {
    let factor = threshold / unit / sum.sqrt();
    // Also where there is no norm at all, or an infinite one: it would wipe out what is finite.
    if sum.is_finite() && factor < 1.0 {
        factor
    } else {
        1.0
    }
}
