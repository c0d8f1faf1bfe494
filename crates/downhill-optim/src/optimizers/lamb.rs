use downhill_rule::{Clock, Look, Slot, Step, Value, bias_correction, ema, Field, Size};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// Which of the algorithms called LAMB; see [`Lamb`].
    LambVariant {
        /// `optax.lamb` and burn-optim's: the paper's.
        Optax = "optax",
        /// `pytorch_optimizer.Lamb`, which corrects the second moment's bias nowhere and the first's after the
        /// norm, decays weights before the step, and adds epsilon to the norm too.
        PytorchOptimizer = "pytorch_optimizer",
    }
}

optimizer! {
    /// LAMB: [`Adam`](crate::Adam)'s direction, as long as the parameter is. For large batches.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// d = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon) + weight_decay·p
    /// u = min(|p|, clamp)/|d|·d,   or d where one of the norms is 0
    /// ```
    ///
    /// The norms are those of the whole tensor, so that every layer moves by the same share of itself. State:
    /// `exp_avg`, `exp_avg_sq`. Source: You et al., arXiv 1904.00962, Algorithm 2.
    Lamb as LambConfig, "lamb" {
        learning_rate: 1e-3,
        paper: "You et al., arXiv 1904.00962",
        description: "adam's direction, as long as the parameter is; for large batches",
        decay: Decay::own(0.0),
        example: ".with_weight_decay(0.01).with_clamp(Some(10.0))",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-6, POSITIVE;
    /// The largest norm of a parameter that counts; none for no limit.
    clamp, with_clamp: Option<f64> = None, POSITIVE;
    /// Which algorithm.
    variant, with_variant: LambVariant = LambVariant::Optax, ANY;
    => |rule, shared| shared.look_own(rule)
}

impl Config<Lamb> {
    /// pytorch_optimizer's form, where the norm of a parameter counts up to 10.
    pub fn pytorch_optimizer() -> Self {
        Self::new().with_variant(LambVariant::PytorchOptimizer).with_clamp(Some(10.0))
    }
}

/// `d = mean·m/(root·sqrt(v) + epsilon) + decay·p`, and what is added to its norm.
#[derive(Clone, Copy, Debug)]
pub struct LambCoefs {
    rule: Lamb,
    mean: f64,
    root: f64,
    decay: f64,
    guard: f64,
}

impl Look for Lamb {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 1];
    type Coefs = LambCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<LambCoefs> {
        let (rule, decay) = (*self, clock.weight_decay);
        let mean = bias_correction(self.beta_1, clock.t()).recip();
        let root = bias_correction(self.beta_2, clock.t()).sqrt().recip();
        match self.variant {
            LambVariant::Optax => {
                Step::new(clock.lr, LambCoefs { rule, mean, root, decay, guard: 0.0 })
            }
            LambVariant::PytorchOptimizer => {
                let guard = self.epsilon;
                let coefs = LambCoefs { rule, mean: 1.0, root: 1.0, decay: 0.0, guard };
                Step { retain: 1.0 - clock.lr * decay, ..Step::new(clock.lr * mean, coefs) }
            }
        }
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &LambCoefs,
        _: &[V; 1],
        param: &V,
        grad: V,
        state: [V; 2],
    ) -> [V; 2] {
        let (d, _) = coefs.direction(param, grad, state);
        [param.clone().square(), d.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &LambCoefs,
        [param, direction]: [V; 2],
        _: &Size,
        _: [V; 1],
        kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        let limit = coefs.rule.clamp.unwrap_or(f64::INFINITY);
        ([trust(param.sqrt().clamp_max(limit), direction.sqrt(), coefs.guard)], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &LambCoefs,
        [trust]: &[V; 1],
        param: &V,
        grad: V,
        state: [V; 2],
    ) -> (V, [V; 2]) {
        let (d, state) = coefs.direction(param, grad, state);
        (d * trust.clone(), state)
    }
}

impl LambCoefs {
    #[inline(always)]
    fn direction<V: Value>(&self, param: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), self.rule.beta_1);
        let v = ema(v, grad.square(), self.rule.beta_2);
        let root = v.clone().sqrt().scale(self.root).offset(self.rule.epsilon);
        let d = m.clone().scale(self.mean) / root;
        (d.add_scaled(param, self.decay), [m, v])
    }
}

/// `own / (other + guard)`, or 1 where one of them is 0.
pub(super) fn trust<V: Value>(own: V, other: V, guard: f64) -> V {
    let one = (own.clone() + other.clone()).scale(0.0).offset(1.0);
    let ratio = own.clone() / other.clone().offset(guard);
    other.select(own.select(ratio, one.clone()), one)
}
