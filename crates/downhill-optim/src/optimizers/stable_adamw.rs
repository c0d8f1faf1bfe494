use downhill_rule::{Clock, Look, Slot, Step, Value, bias_correction, ema, Field, Size};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// StableAdamW: [`AdamW`](crate::AdamW) that slows down while gradients are larger than their history.
    ///
    /// ```text
    /// b(beta) = (beta^t - beta)/(beta^t - 1)
    /// m ← b(beta_1)·m + (1 - b(beta_1))·g,   v ← b(beta_2)·v + (1 - b(beta_2))·g²
    /// rate = lr / max(1, sqrt(mean(g²/max(v, epsilon²))))
    /// p ← p - rate·(m/(sqrt(v) + epsilon) + weight_decay·p)
    /// ```
    ///
    /// The mean is over the tensor, as in [`Adafactor`](crate::Adafactor)'s clipping. State: `exp_avg`,
    /// `exp_avg_sq`. Source: Wortsman et al., arXiv 2304.13013, Algorithm 2.
    StableAdamW as StableAdamWConfig, "stable_adamw" {
        learning_rate: 1e-3,
        paper: "Wortsman et al., arXiv 2304.13013",
        description: "adamw that slows down while gradients are larger than their history",
        decay: Decay::own(1e-2),
        example: "",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.99, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    => |rule, shared| shared.look_own(rule)
}

/// The settings with the decays of this step, and the weight decay.
type Coefs = (StableAdamW, f64);

impl StableAdamW {
    #[inline(always)]
    fn second<V: Value>(&self, v: V, grad: V) -> V {
        ema(v, grad.square(), self.beta_2)
    }
}

impl Look for StableAdamW {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        let debiased = |beta: f64| 1.0 - (1.0 - beta) / bias_correction(beta, clock.t());
        let (beta_1, beta_2) = (debiased(self.beta_1), debiased(self.beta_2));
        Step::new(clock.lr, (Self { beta_1, beta_2, ..*self }, clock.weight_decay))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        (rule, _): &Coefs,
        _: &[V; 1],
        _: &V,
        grad: V,
        [_, v]: [V; 2],
    ) -> [V; 1] {
        let v = rule.second(v, grad.clone());
        // The root first: the square of a small epsilon would be 0 in single precision.
        [(grad / v.sqrt().clamp_min(rule.epsilon)).square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &Coefs,
        [squares]: [V; 1],
        size: &Size,
        _: [V; 1],
        kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([squares.scale(size.whole.recip()).sqrt().clamp_min(1.0).recip()], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, decay): &Coefs,
        [slower]: &[V; 1],
        param: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = rule.second(v, grad);
        let d = m.clone() / v.clone().sqrt().offset(rule.epsilon);
        (d.add_scaled(param, *decay) * slower.clone(), [m, v])
    }
}
