use downhill_rule::{Clock, Look, Numbers, Optional, Slot, Step, Value, Field, Size};

use super::lamb::trust;
use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// Which of the algorithms called LARS; see [`Lars`].
    LarsVariant {
        /// The paper's and pytorch_optimizer's.
        Paper = "paper",
        /// `optax.lars`: one norm of the gradient with its decay, and the learning rate inside the momentum.
        Optax = "optax",
    }
}

optimizer! {
    /// LARS: momentum, where every layer moves by the same share of its norm. For large batches.
    ///
    /// ```text
    /// r = trust_coefficient·|p| / (|g| + weight_decay·|p| + epsilon),   1 where p or what is below is 0
    /// d = r·(g + weight_decay·p)
    /// b ← momentum·b + (1 - dampening)·d,   u = b,   or d + momentum·b with Nesterov
    /// ```
    ///
    /// In optax's form the norm below is `|g + weight_decay·p|`, and `lr·d` goes into the momentum. Vectors (biases,
    /// norms) are not adapted and do not decay, unless `adapt_vectors`. State: `momentum_buffer`. Source: You,
    /// Gitman & Ginsburg, arXiv 1708.03888, Algorithm 1.
    Lars as LarsConfig, "lars" {
        learning_rate: 1.0,
        state: "n, 0 without momentum",
        paper: "You, Gitman & Ginsburg, arXiv 1708.03888",
        description: "momentum, where every layer moves by the same share; for large batches",
        decay: Decay::own(0.0),
        example: ".with_weight_decay(1e-4)",
    }
    /// Share of the momentum that is kept.
    momentum, with_momentum: f64 = 0.9, DECAY;
    /// Share of the direction that is left out of the momentum.
    dampening, with_dampening: f64 = 0.0, DECAY;
    /// Whether to look ahead.
    nesterov, with_nesterov: bool = false, ANY;
    /// How much of its norm a layer moves by, before the learning rate.
    trust_coefficient, with_trust_coefficient: f64 = 1e-3, POSITIVE;
    /// Added below the ratio.
    epsilon, with_epsilon: f64 = 0.0, NOT_NEGATIVE;
    /// Whether vectors are adapted and decay too.
    adapt_vectors, with_adapt_vectors: bool = false, ANY;
    /// Which algorithm.
    variant, with_variant: LarsVariant = LarsVariant::Paper, ANY,
        shown_with r#"{"weight_decay": 0.1}"#;
    => |lars, shared| match lars.momentum {
        0.0 => shared.look_own(Trusting::<0>(lars)),
        _ => shared.look_own(Trusting::<1>(lars)),
    }
}

impl Config<Lars> {
    /// optax's form, for vectors too.
    pub fn optax() -> Self {
        Self::new().with_variant(LarsVariant::Optax).with_adapt_vectors(true)
    }
}

/// `d = unit·r·(g + decay·p)` with `r = trust_coefficient·|p| / (|g + inside·p| + outside·|p| + epsilon)`
#[derive(Clone, Copy, Debug)]
pub struct LarsCoefs {
    rule: Lars,
    adapts: bool,
    decay: f64,
    inside: f64,
    outside: f64,
    unit: f64,
}

impl Lars {
    fn step(&self, clock: &Clock, shape: &[usize]) -> Step<LarsCoefs> {
        let adapts = self.adapt_vectors || shape.len() > 1;
        let decay = if adapts { clock.weight_decay } else { 0.0 };
        let (rate, unit, inside, outside) = match self.variant {
            LarsVariant::Paper => (clock.lr, 1.0, 0.0, decay),
            LarsVariant::Optax => (1.0, clock.lr, decay, 0.0),
        };
        Step::new(rate, LarsCoefs { rule: *self, adapts, decay, inside, outside, unit })
    }
}

impl LarsCoefs {
    #[inline(always)]
    fn squares<V: Value>(&self, param: &V, grad: V) -> [V; 2] {
        let below = grad.add_scaled(param, self.inside);
        [param.clone().square(), below.square()]
    }

    fn ratio<V: Value>(&self, [param, below]: [V; 2]) -> V {
        let norm = param.sqrt();
        let below = below.sqrt().add_scaled(&norm, self.outside);
        let own = norm.scale(self.rule.trust_coefficient);
        trust(own, below, self.rule.epsilon)
    }

    #[inline(always)]
    fn direction<V: Value>(&self, ratio: &V, param: &V, grad: V) -> V {
        let d = grad.add_scaled(param, self.decay).scale(self.unit);
        // What is known of the whole must not reach a vector that is not adapted: it can be NaN.
        if self.adapts { d * ratio.clone() } else { d }
    }
}

/// With `M` momenta: one or none.
#[derive(Clone)]
struct Trusting<const M: usize>(Lars);

impl<const M: usize> Numbers for Trusting<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const M: usize> Look for Trusting<M> {
    type State<V: Value> = Optional<V, M>;
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 1];
    type Coefs = LarsCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer"); M]
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<LarsCoefs> {
        self.0.step(clock, shape)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &LarsCoefs,
        _: &[V; 1],
        param: &V,
        grad: V,
        _: Optional<V, M>,
    ) -> [V; 2] {
        coefs.squares(param, grad)
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &LarsCoefs,
        squares: [V; 2],
        _: &Size,
        _: [V; 1],
        kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([coefs.ratio(squares)], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &LarsCoefs,
        [ratio]: &[V; 1],
        param: &V,
        grad: V,
        momenta: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let Lars { momentum, dampening, nesterov, .. } = coefs.rule;
        let d = coefs.direction(ratio, param, grad);
        let momenta = momenta.map(|b| b.scale(momentum).add_scaled(&d, 1.0 - dampening));
        let u = match momenta.get() {
            Some(b) if nesterov => d.add_scaled(b, momentum),
            Some(b) => b.clone(),
            None => d,
        };
        (u, momenta)
    }
}
