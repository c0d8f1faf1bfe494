use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AccSGD: Nesterov's acceleration for noisy gradients, a short step beside a long average of long ones.
    ///
    /// ```text
    /// beta = small_const²·xi/kappa,   zeta = small_const/(small_const + beta)
    /// b ← b + beta·(p - b) - lr·small_const·xi·g
    /// p ← zeta·(p - lr·g) + (1 - zeta)·b
    /// ```
    ///
    /// State: `momentum_buffer` (b), which starts at the parameter. Source: Kidambi et al., arXiv 1803.05591;
    /// Jain et al., arXiv 1704.08227.
    AccSgd as AccSgdConfig, "accsgd" {
        learning_rate: 1e-2,
        paper: "Kidambi et al., arXiv 1803.05591",
        description: "a short step beside a long average of long ones",
        decay: Decay::coupled(0.0),
        example: ".with_xi(5.0)",
    }
    /// Ratio of the long step to the short one: the condition of the problem.
    kappa, with_kappa: f64 = 1000.0, AT_LEAST_ONE;
    /// How much better than gradient descent noise allows it to be, up to the root of `kappa`.
    xi, with_xi: f64 = 10.0, AT_LEAST_ONE;
    /// A constant of the theory, at most 1.
    small_const, with_small_const: f64 = 0.7, SHRINKS;
}

impl Rule for AccSgd {
    type State<V: Value> = [V; 1];
    type Coefs = [f64; 3];

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<[f64; 3]> {
        let beta = self.small_const.powi(2) * self.xi / self.kappa;
        let long = clock.lr * self.small_const * self.xi;
        let share = beta / (self.small_const + beta);
        Step::new(clock.lr, [beta, long, share])
    }

    #[inline(always)]
    fn direction<V: Value>([beta, long, _]: &[f64; 3], p: &V, grad: V, [b]: [V; 1]) -> (V, [V; 1]) {
        let way = (p.clone() - b.clone()).scale(*beta);
        let b = b + way - grad.clone().scale(*long);
        (grad, [b])
    }

    #[inline(always)]
    fn land<V: Value>(step: &Step<[f64; 3]>, param: V, u: V, [b]: [V; 1]) -> (V, [V; 1]) {
        let short = param - u.scale(step.rate);
        let [.., share] = step.coefs;
        let way = (b.clone() - short.clone()).scale(share);
        (short + way, [b])
    }
}
