use serde::{Deserialize, Serialize};

use crate::Clock;
use crate::factored::{Decay, FactoredNames, FactoredRule, FactoredStep};

/// Which of the algorithms called Adafactor; see [`Adafactor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdafactorVariant {
    /// Algorithms 4 to 6 of the paper.
    Paper,
    /// `torch.optim.Adafactor`.
    Torch,
    /// fairseq and Hugging Face transformers.
    Hf,
    /// `optax.adafactor`.
    Optax,
    /// burn-optim's `Adafactor`.
    Burn,
}

/// Adafactor: Adam's second moment, factored over two dimensions, so that the state of a matrix is
/// one number per row and one per column.
///
/// ```text
/// beta_2,t = 1 - t^decay_rate
/// row ← beta_2·row + (1 - beta_2)·mean over columns of (g² + epsilon_1)
/// col ← beta_2·col + (1 - beta_2)·mean over rows of (g² + epsilon_1)
/// U   = g / sqrt(row·col / mean(row))
/// U   ← U / max(1, RMS(U)/clip_threshold)
/// p   ← p - rate·U,   rate = max(epsilon_2, RMS(p))·rho
/// ```
///
/// Vectors keep a full second moment. What the variants do differently:
///
/// | | paper | torch | hf | optax | burn |
/// |---|---|---|---|---|---|
/// | epsilon_1 | added to g² | floor `max(mean(row), epsilon_1)`, and `epsilon_1²` under the estimate | added to g² | added to g² | added to g² |
/// | rho, relative step | `min(1e-2, 1/sqrt t)` | `min(lr, 1/sqrt t)` | `min(1e-2, 1/sqrt t)`; with warmup `min(1e-6·t, 1/sqrt t)` | `min(lr, 1/sqrt t)` (an addition: optax has none) | `min(lr, 1/sqrt t)` |
/// | rho otherwise | lr | lr | lr | lr | lr |
/// | decay takes | `lr·weight_decay` | `lr·weight_decay` | `rate·weight_decay` | `weight_decay` | `lr·weight_decay` |
/// | dimensions | last two | last two | last two | the two largest | last two |
///
/// A parameter is factored if the smaller of its two dimensions is at least
/// `min_dim_size_to_factor`. State: `row_var` and `col_var`, or `variance`, and `exp_avg` with
/// `beta_1`. Source: Shazeer & Stern, arXiv 1804.04235.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adafactor {
    /// Which algorithm.
    pub variant: AdafactorVariant,
    /// Guard of the second moment, above 0.
    pub epsilon_1: f64,
    /// Floor under the parameter's root mean square.
    pub epsilon_2: f64,
    /// Largest root mean square of an update.
    pub clip_threshold: Option<f64>,
    /// Exponent of the second moment's decay, below 0.
    pub decay_rate: f64,
    /// Whether the rate falls as `1/sqrt t`.
    pub relative_step: bool,
    /// Whether the rate is proportional to the parameter's root mean square.
    pub scale_parameter: bool,
    /// Whether a relative step starts small (hf).
    pub warmup_init: bool,
    /// Decay of the first moment, an average of the scaled updates.
    pub beta_1: Option<f64>,
    /// What decay takes from the parameter at each step; see the table.
    pub weight_decay: f64,
    /// Whether to climb instead.
    pub maximize: bool,
    /// Smallest dimension that is factored.
    pub min_dim_size_to_factor: usize,
}

impl Adafactor {
    fn rho(&self, clock: &Clock) -> f64 {
        if !self.relative_step {
            return clock.lr;
        }
        let ceiling = match self.variant {
            AdafactorVariant::Torch | AdafactorVariant::Optax | AdafactorVariant::Burn => clock.lr,
            AdafactorVariant::Hf if self.warmup_init => 1e-6 * clock.t(),
            AdafactorVariant::Paper | AdafactorVariant::Hf => 1e-2,
        };
        ceiling.min(clock.t().sqrt().recip())
    }
}

impl FactoredRule for Adafactor {
    fn factored_dims(&self, shape: &[usize]) -> Option<(usize, usize)> {
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let (rows, cols) = if self.variant == AdafactorVariant::Optax {
            // Of equal dimensions the later ones, as a stable sort leaves them.
            let mut dims: Vec<usize> = (0..rank).collect();
            dims.sort_by_key(|&dim| shape[dim]);
            let (a, b) = (dims[rank - 2], dims[rank - 1]);
            (a.min(b), a.max(b))
        } else {
            (rank - 2, rank - 1)
        };
        let smaller = shape[rows].min(shape[cols]);
        (smaller >= self.min_dim_size_to_factor).then_some((rows, cols))
    }

    fn names(&self) -> FactoredNames {
        FactoredNames {
            row: "row_var",
            col: "col_var",
            full: "variance",
            first_moment: self.beta_1.map(|_| "exp_avg"),
        }
    }

    fn prepare(&self, clock: &mut Clock) -> FactoredStep {
        let weight_decay = clock.weight_decay(self.weight_decay);
        let torch = self.variant == AdafactorVariant::Torch;
        FactoredStep {
            beta_2: 1.0 - clock.t().powf(self.decay_rate),
            statistic: if torch { 0.0 } else { self.epsilon_1 },
            mean_floor: Some(if torch { self.epsilon_1 } else { 0.0 }),
            factor: 0.0,
            vector: 0.0,
            cap: if torch {
                self.epsilon_1.recip()
            } else {
                f64::INFINITY
            },
            clip: self.clip_threshold,
            rate: self.rho(clock),
            parameter_scale: self.scale_parameter.then_some(self.epsilon_2),
            beta_1: self.beta_1.map(|beta_1| clock.momentum(beta_1)),
            decay: match self.variant {
                AdafactorVariant::Paper | AdafactorVariant::Torch | AdafactorVariant::Burn => {
                    Decay::Share(clock.lr * weight_decay)
                }
                AdafactorVariant::Hf => Decay::TimesRate(weight_decay),
                AdafactorVariant::Optax => Decay::Share(weight_decay),
            },
            sign: if self.maximize { -1.0 } else { 1.0 },
            grad_scale: 1.0,
        }
    }
}
