use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// MADGRAD: dual averaging over the cube root of the sum of squared gradients, with momentum.
    ///
    /// ```text
    /// lambda = (lr + epsilon)·sqrt(t)
    /// n ← n + lambda·g²,   s ← s + lambda·g
    /// z = x0 - s/(cbrt(n) + epsilon)
    /// p ← momentum·p + (1 - momentum)·z
    /// ```
    ///
    /// Coupled weight decay hurts more than elsewhere: take far less. State: `grad_sum_sq` (n), `s`, and
    /// `x0`, the parameter at the start. Source: Defazio & Jelassi, arXiv 2101.11075.
    Madgrad as MadgradConfig, "madgrad" {
        learning_rate: 1e-2,
        paper: "Defazio & Jelassi, arXiv 2101.11075",
        description: "dual averaging over the cube root of the sum of squared gradients",
        decay: Decay::coupled(0.0),
        example: "",
    }
    /// Share of the parameter that is kept.
    momentum, with_momentum: f64 = 0.9, DECAY;
    /// Added to the root, and to the learning rate.
    epsilon, with_epsilon: f64 = 1e-6, POSITIVE;
}

impl Rule for Madgrad {
    type State<V: Value> = [V; 3];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("grad_sum_sq"), Slot::zeros("s"), Slot::param("x0")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let lambda = (clock.lr + self.epsilon) * clock.t().sqrt();
        Step::new(1.0 - self.momentum, (*self, lambda))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, lambda): &(Self, f64),
        param: &V,
        grad: V,
        [n, s, x0]: [V; 3],
    ) -> (V, [V; 3]) {
        let n = n + grad.clone().square().scale(*lambda);
        let s = s + grad.scale(*lambda);
        let z = x0.clone() - s.clone() / n.clone().cbrt().offset(rule.epsilon);
        (param.clone() - z, [n, s, x0])
    }
}
