use downhill_rule::{Adafactor, AdafactorVariant};

use crate::config::{AT_LEAST_ONE, check_range, config};
use crate::{ConfigError, RuleOptimizer};

config! {
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
    /// [`new`](Self::new) (torch), [`paper`](Self::paper), [`hf`](Self::hf),
    /// [`optax`](Self::optax), [`burn`](Self::burn). What the variants do differently:
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
    AdafactorConfig, "adafactor" {
        learning_rate: 1e-2,
        state: "r + c, n for vectors, n more with beta_1",
        paper: "Shazeer & Stern, arXiv 1804.04235",
        description: "adam's second moment as one number per row and column; five variants",
    }
    /// Which algorithm. Default: torch.
    variant, with_variant: AdafactorVariant = AdafactorVariant::Torch, ANY;
    /// Guard of the second moment, above 0. Default (none): the spacing of the parameter's numbers
    /// at 1 in the torch variant (1.2e-7 in f32), 1e-30 in the others.
    epsilon_1, with_epsilon_1: Option<f64> = None, POSITIVE;
    /// Floor under the parameter's root mean square, above 0. Default: 1e-3.
    epsilon_2, with_epsilon_2: f64 = 1e-3, POSITIVE;
    /// Largest root mean square of an update, above 0 (torch: at least 1); none for no clipping.
    /// Default: 1.
    clip_threshold, with_clip_threshold: Option<f64> = Some(1.0), POSITIVE;
    /// Exponent of the second moment's decay, below 0. Default: -0.8.
    decay_rate, with_decay_rate: f64 = -0.8, NEGATIVE;
    /// Whether the rate falls as `1/sqrt t`. Default: true.
    relative_step, with_relative_step: bool = true, ANY;
    /// Whether the rate is proportional to the parameter's root mean square. Default: true.
    scale_parameter, with_scale_parameter: bool = true, ANY;
    /// Whether a relative step starts small; hf only. Default: false.
    warmup_init, with_warmup_init: bool = false, ANY;
    /// Decay of a first moment of the scaled updates, in `[0, 1)`; none for no first moment.
    /// Default: none.
    beta_1, with_beta_1: Option<f64> = None, DECAY;
    /// Weight decay, at least 0; the table says what it takes. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
    /// A parameter is factored if the smaller of its two dimensions is at least this. Default: 1.
    min_dim_size_to_factor, with_min_dim_size_to_factor: usize = 1, AT_LEAST_ONE;
}

impl AdafactorConfig {
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

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        if self.warmup_init && (self.variant != AdafactorVariant::Hf || !self.relative_step) {
            return Err(ConfigError::Conflict {
                optimizer: Self::NAME,
                reason: "`warmup_init` needs the hf `variant` and `relative_step`",
            });
        }
        let torch = self.variant == AdafactorVariant::Torch;
        if torch {
            check_range(
                Self::NAME,
                "clip_threshold",
                &self.clip_threshold,
                AT_LEAST_ONE,
            )?;
        }
        Ok(RuleOptimizer::factored(Adafactor {
            variant: self.variant,
            epsilon_1: self.epsilon_1.unwrap_or(match torch {
                true => f64::from(f32::EPSILON),
                false => 1e-30,
            }),
            epsilon_2: self.epsilon_2,
            clip_threshold: self.clip_threshold,
            decay_rate: self.decay_rate,
            relative_step: self.relative_step,
            scale_parameter: self.scale_parameter,
            warmup_init: self.warmup_init,
            beta_1: self.beta_1,
            weight_decay: self.weight_decay,
            maximize: self.maximize,
            min_dim_size_to_factor: self.min_dim_size_to_factor,
        }))
    }
}
