use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Optional, Over, Size, Slot, Step, Value, ema, over,
};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;
use crate::program::Program;
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
        let programs = match adafactor.beta_1 {
            None => [shared.look_own(Full::<0>(adafactor))?, shared.look_own(Factored::<0>(adafactor))?],
            Some(_) => [shared.look_own(Full::<1>(adafactor))?, shared.look_own(Factored::<1>(adafactor))?],
        };
        let route = move |shape: &[usize]| usize::from(adafactor.frame(shape).is_some());
        Ok(Program::by_shape(route, programs))
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

/// What the host computes for one step.
#[derive(Clone, Copy, Debug)]
pub struct AdafactorCoefs {
    beta_2: f64,
    /// Added to every squared gradient.
    statistic: f64,
    /// Floor under the mean of all rows.
    mean_floor: f64,
    /// Largest multiple of the gradient.
    cap: f64,
    clip: Option<f64>,
    /// The rate before the parameter's scale.
    rate: f64,
    /// Floor under the parameter's root mean square, by which the rate is multiplied.
    scale_floor: Option<f64>,
    beta_1: f64,
    /// What decay takes from the parameter, as a share of it, and as one of the rate after its scale.
    share: f64,
    share_of_rate: f64,
}

impl Adafactor {
    fn step(&self, clock: &Clock) -> Step<AdafactorCoefs> {
        let torch = self.variant == AdafactorVariant::Torch;
        let epsilon_1 = self.epsilon_1.unwrap_or(match torch {
            true => f64::from(f32::EPSILON),
            false => 1e-30,
        });
        let decay = clock.weight_decay;
        let (share, share_of_rate) = match self.variant {
            AdafactorVariant::Paper | AdafactorVariant::Torch | AdafactorVariant::Burn => {
                (clock.lr * decay, 0.0)
            }
            AdafactorVariant::Hf => (0.0, decay),
            AdafactorVariant::Optax => (decay, 0.0),
        };
        let coefs = AdafactorCoefs {
            beta_2: 1.0 - clock.t().powf(self.decay_rate),
            statistic: if torch { 0.0 } else { epsilon_1 },
            mean_floor: if torch { epsilon_1 } else { 0.0 },
            cap: if torch { epsilon_1.recip() } else { f64::INFINITY },
            clip: self.clip_threshold,
            rate: self.rho(clock),
            scale_floor: self.scale_parameter.then_some(self.epsilon_2),
            beta_1: self.beta_1.unwrap_or(0.0),
            share,
            share_of_rate,
        };
        Step::new(1.0, coefs)
    }

    fn frame(&self, shape: &[usize]) -> Option<Frame> {
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
        let frame = Frame { rows: vec![rows], cols: vec![cols] };
        (smaller >= self.min_dim_size_to_factor).then_some(frame)
    }
}

impl AdafactorCoefs {
    /// The rate with clipping and scale, and the share that decay takes, from the sums of squares of the direction
    /// and of the parameter.
    fn settle<V: Field>(&self, [direction, param]: [V; 2], size: &Size) -> [V; 2] {
        let root_mean = |sum: V| sum.scale(size.whole.recip()).sqrt();
        let scaled = match self.scale_floor {
            Some(floor) => root_mean(param).clamp_min(floor).scale(self.rate),
            None => param.filled(self.rate),
        };
        let lost = scaled.clone().scale(self.share_of_rate).offset(self.share);
        let rate = match self.clip {
            Some(limit) => scaled / root_mean(direction).scale(limit.recip()).clamp_min(1.0),
            None => scaled,
        };
        [rate, lost]
    }

    /// The step: the scaled direction, or its mean, and the decay. Without a branch on a number, which would keep
    /// the loop over the elements from being vectorised.
    #[inline(always)]
    fn moved<const M: usize, V: Value>(
        &self,
        [rate, lost]: [&V; 2],
        param: &V,
        direction: V,
        first: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let scaled = direction * rate.clone();
        let first = first.map(|mean| ema(mean, scaled.clone(), self.beta_1));
        let moved = first.get().cloned().unwrap_or(scaled);
        (moved + param.clone() * lost.clone(), first)
    }
}

/// With a second moment of rows and columns, and `M` first moments.
#[derive(Clone)]
struct Factored<const M: usize>(Adafactor);

impl<const M: usize> Numbers for Factored<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const M: usize> Look for Factored<M> {
    type State<V: Value> = Optional<V, M>;
    type Kept<V: Value> = [V; 2];
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 4];
    type Coefs = AdafactorCoefs;
    const LOOKS: usize = 2;
    const KEPT: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);
    const KNOWN: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);

    fn frame(&self, shape: &[usize]) -> Frame {
        self.0.frame(shape).unwrap_or_default()
    }

    fn over(look: usize) -> [Over; MAX_SUMS] {
        match look {
            0 => over([Over::Rows, Over::Cols]),
            _ => over([]),
        }
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"); M]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("row_var"), Slot::zeros("col_var")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<AdafactorCoefs> {
        self.0.step(clock)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &AdafactorCoefs,
        [row, col, ..]: &[V; 4],
        param: &V,
        grad: V,
        _: Optional<V, M>,
    ) -> [V; 2] {
        if LOOK == 0 {
            return [grad.clone().square(), grad.square()];
        }
        let multiple = (row.clone() * col.clone()).clamp_max(coefs.cap);
        [(multiple * grad).square(), param.clone().square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &AdafactorCoefs,
        sums: [V; 2],
        size: &Size,
        [row_factor, col_factor, rate, lost]: [V; 4],
        [row, col]: [V; 2],
    ) -> ([V; 4], [V; 2]) {
        if LOOK == 1 {
            let [rate, lost] = coefs.settle(sums, size);
            return ([row_factor, col_factor, rate, lost], [row, col]);
        }
        let mean = |sum: V, count: f64| sum.scale(count.recip()).offset(coefs.statistic);
        let [rows, cols] = sums;
        let row = ema(row, mean(rows, size.row), coefs.beta_2);
        let col = ema(col, mean(cols, size.col), coefs.beta_2);
        let all = row.clone().mean().clamp_min(coefs.mean_floor).sqrt();
        let row_factor = all / row.clone().sqrt();
        let col_factor = col.clone().sqrt().recip();
        ([row_factor, col_factor, rate, lost], [row, col])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &AdafactorCoefs,
        [row, col, rate, lost]: &[V; 4],
        param: &V,
        grad: V,
        first: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let multiple = (row.clone() * col.clone()).clamp_max(coefs.cap);
        coefs.moved([rate, lost], param, multiple * grad, first)
    }
}

/// With a second moment of every element, and `M` first moments.
#[derive(Clone)]
struct Full<const M: usize>(Adafactor);

impl<const M: usize> Numbers for Full<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const M: usize> Full<M> {
    /// The direction, and the second moment.
    #[inline(always)]
    fn aim<V: Value>(coefs: &AdafactorCoefs, grad: V, second: V) -> (V, V) {
        let square = grad.clone().square().offset(coefs.statistic);
        let second = ema(second, square, coefs.beta_2);
        let multiple = second.clone().sqrt().recip().clamp_max(coefs.cap);
        (multiple * grad, second)
    }
}

impl<const M: usize> Look for Full<M> {
    type State<V: Value> = ([V; 1], Optional<V, M>);
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 2];
    type Coefs = AdafactorCoefs;

    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![Slot::zeros("variance")];
        slots.extend([Slot::zeros("exp_avg"); M]);
        slots
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<AdafactorCoefs> {
        self.0.step(clock)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &AdafactorCoefs,
        _: &[V; 2],
        param: &V,
        grad: V,
        ([second], _): ([V; 1], Optional<V, M>),
    ) -> [V; 2] {
        let (direction, _) = Self::aim(coefs, grad, second);
        [direction.square(), param.clone().square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &AdafactorCoefs,
        sums: [V; 2],
        size: &Size,
        _: [V; 2],
        kept: [V; 0],
    ) -> ([V; 2], [V; 0]) {
        (coefs.settle(sums, size), kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &AdafactorCoefs,
        [rate, lost]: &[V; 2],
        param: &V,
        grad: V,
        ([second], first): ([V; 1], Optional<V, M>),
    ) -> (V, ([V; 1], Optional<V, M>)) {
        let (direction, second) = Self::aim(coefs, grad, second);
        let (moved, first) = coefs.moved([rate, lost], param, direction, first);
        (moved, ([second], first))
    }
}
