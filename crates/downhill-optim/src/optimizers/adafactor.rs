use downhill_rule::{Clock, Numbers};
use downhill_rule::factored::{Decay as Takes, FactoredNames, FactoredRule, FactoredStep};

use crate::config::Config;
use crate::decay::{Decay, Shared};
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// Which of the algorithms called Adafactor; see [`Adafactor`].
    AdafactorVariant {
        /// Algorithms 4 to 6 of the paper.
        Paper = "paper",
        /// `torch.optim.Adafactor`.
        Torch = "torch",
        /// fairseq and Hugging Face transformers.
        Hf = "hf",
        /// `optax.adafactor`.
        Optax = "optax",
        /// burn-optim's `Adafactor`.
        Burn = "burn",
    }
}

optimizer! {
    /// Adafactor: Adam's second moment factored over two dimensions, `torch.optim.Adafactor` by
    /// default.
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
    /// Tensors of rank 2 and more are factored, vectors keep a full second moment. Presets:
    /// [`new`](AdafactorConfig::new) (torch), [`paper`](AdafactorConfig::paper), [`hf`](AdafactorConfig::hf),
    /// [`optax`](AdafactorConfig::optax), [`burn`](AdafactorConfig::burn). What the variants do differently:
    ///
    /// | | paper | torch | hf | optax | burn |
    /// |---|---|---|---|---|---|
    /// | `epsilon_1` | added to g² | a floor: `max(mean(row), epsilon_1)`, and `epsilon_1²` under the estimate | added to g² | added to g² | added to g² |
    /// | rho, relative step | `min(1e-2, 1/sqrt t)` | `min(lr, 1/sqrt t)` | `min(1e-2, 1/sqrt t)`; with warmup `min(1e-6·t, 1/sqrt t)` | `min(lr, 1/sqrt t)`: an addition | `min(lr, 1/sqrt t)` |
    /// | rho otherwise | lr | lr | lr | lr | lr |
    /// | decay takes | `lr·weight_decay` | `lr·weight_decay` | `rate·weight_decay` | `weight_decay` | `lr·weight_decay` |
    /// | dimensions | last two | last two | last two | the two largest | last two |
    ///
    /// State: `row_var` and `col_var`, or `variance`; `exp_avg` with `beta_1`. Source: Shazeer &
    /// Stern, arXiv 1804.04235.
    ///
    /// ```
    /// use downhill_optim::AdafactorConfig;
    ///
    /// let optim = AdafactorConfig::hf().with_relative_step(false).with_beta_1(Some(0.9)).init();
    /// ```
    Adafactor as AdafactorConfig, "adafactor" {
        learning_rate: 1e-2,
        state: "r + c, n for vectors, n more with beta_1",
        paper: "Shazeer & Stern, arXiv 1804.04235",
        description: "adam's second moment as one number per row and column; five variants",
        decay: Decay::own(0.0),
    }
    /// Which algorithm.
    variant, with_variant: AdafactorVariant = AdafactorVariant::Torch, ANY,
        shown_with r#"{"epsilon_1": 0.1}"#;
    /// Guard of the second moment. None: the spacing of the parameter's numbers at 1 in the torch variant
    /// (1.2e-7 in f32), 1e-30 in the others.
    epsilon_1, with_epsilon_1: Option<f64> = None, POSITIVE;
    /// Floor under the parameter's root mean square.
    epsilon_2, with_epsilon_2: f64 = 1e-3, POSITIVE;
    /// Largest root mean square of an update (torch: at least 1); none for no clipping.
    clip_threshold, with_clip_threshold: Option<f64> = Some(1.0), POSITIVE;
    /// Exponent of the second moment's decay.
    decay_rate, with_decay_rate: f64 = -0.8, NEGATIVE;
    /// Whether the rate falls as `1/sqrt t`.
    relative_step, with_relative_step: bool = true, ANY, shown_with r#"{"variant": "paper"}"#;
    /// Whether the rate is proportional to the parameter's root mean square.
    scale_parameter, with_scale_parameter: bool = true, ANY;
    /// Whether a relative step starts small; hf only.
    warmup_init, with_warmup_init: bool = false, ANY, shown_with r#"{"variant": "hf"}"#;
    /// Decay of a first moment of the scaled updates; none for no first moment.
    beta_1, with_beta_1: Option<f64> = None, DECAY;
    /// A parameter is factored if the smaller of its two dimensions is at least this.
    min_dim_size_to_factor, with_min_dim_size_to_factor: usize = 1, AT_LEAST_ONE;
    => |adafactor, shared| {
        let torch = adafactor.variant == AdafactorVariant::Torch;
        let hf = adafactor.variant == AdafactorVariant::Hf;
        if adafactor.warmup_init && !(hf && adafactor.relative_step) {
            let reason = "`warmup_init` needs the hf `variant` and `relative_step`";
            return Err(shared.conflict(reason));
        }
        if torch && adafactor.clip_threshold.is_some_and(|threshold| threshold < 1.0) {
            let reason = "the torch `variant` needs a `clip_threshold` of at least 1";
            return Err(shared.conflict(reason));
        }
        shared.factored(Around { adafactor, shared: *shared })
    }
}

impl Config<Adafactor> {
    /// Algorithm 4 of the paper: the relative step is at most 1e-2 and the learning rate unused.
    pub fn paper() -> Self {
        Self::new().with_variant(AdafactorVariant::Paper)
    }

    /// fairseq's and Hugging Face's defaults: a relative step without a learning rate.
    pub fn hf() -> Self {
        Self::new().with_variant(AdafactorVariant::Hf)
    }

    /// optax's defaults: the learning rate as it is, and only dimensions from 128 are factored.
    pub fn optax() -> Self {
        Self::new()
            .with_variant(AdafactorVariant::Optax)
            .with_relative_step(false)
            .with_min_dim_size_to_factor(128)
    }

    /// burn-optim's form and defaults.
    pub fn burn() -> Self {
        Self::new().with_variant(AdafactorVariant::Burn)
    }
}

/// The rule with the settings around it, which it applies itself.
#[derive(Clone)]
struct Around {
    adafactor: Adafactor,
    shared: Shared,
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

impl Numbers for Around {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "weight_decay" => Some(&mut self.shared.weight_decay),
            _ => self.adafactor.number_mut(name),
        }
    }
}

impl FactoredRule for Around {
    fn factored_dims(&self, shape: &[usize]) -> Option<(usize, usize)> {
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let (rows, cols) = if self.adafactor.variant == AdafactorVariant::Optax {
            // Of equal dimensions the later ones, as a stable sort leaves them.
            let mut dims: Vec<usize> = (0..rank).collect();
            dims.sort_by_key(|&dim| shape[dim]);
            let (a, b) = (dims[rank - 2], dims[rank - 1]);
            (a.min(b), a.max(b))
        } else {
            (rank - 2, rank - 1)
        };
        let smaller = shape[rows].min(shape[cols]);
        (smaller >= self.adafactor.min_dim_size_to_factor).then_some((rows, cols))
    }

    fn names(&self) -> FactoredNames {
        FactoredNames {
            row: "row_var",
            col: "col_var",
            full: "variance",
            first_moment: self.adafactor.beta_1.map(|_| "exp_avg"),
        }
    }

    fn prepare(&self, clock: &mut Clock) -> FactoredStep {
        let weight_decay = self.shared.weight_decay;
        let torch = self.adafactor.variant == AdafactorVariant::Torch;
        let epsilon_1 = self.adafactor.epsilon_1.unwrap_or(match torch {
            true => f64::from(f32::EPSILON),
            false => 1e-30,
        });
        FactoredStep {
            beta_2: 1.0 - clock.t().powf(self.adafactor.decay_rate),
            statistic: if torch { 0.0 } else { epsilon_1 },
            mean_floor: Some(if torch { epsilon_1 } else { 0.0 }),
            factor: 0.0,
            vector: 0.0,
            cap: if torch {
                epsilon_1.recip()
            } else {
                f64::INFINITY
            },
            clip: self.adafactor.clip_threshold,
            rate: self.adafactor.rho(clock),
            parameter_scale: self.adafactor.scale_parameter.then_some(self.adafactor.epsilon_2),
            beta_1: self.adafactor.beta_1,
            decay: match self.adafactor.variant {
                AdafactorVariant::Paper | AdafactorVariant::Torch | AdafactorVariant::Burn => {
                    Takes::Share(clock.lr * weight_decay)
                }
                AdafactorVariant::Hf => Takes::TimesRate(weight_decay),
                AdafactorVariant::Optax => Takes::Share(weight_decay),
            },
            sign: if self.shared.maximize { -1.0 } else { 1.0 },
            grad_scale: 1.0,
        }
    }
}
