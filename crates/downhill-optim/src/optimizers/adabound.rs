use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value, bias_correction, ema};

use super::{AmsGrad, OverSecondMoment};
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaBound: [`Adam`](crate::Adam) whose step size is held between two bounds that close on that of
    /// gradient descent.
    ///
    /// ```text
    /// eta = lr·sqrt(1 - beta_2^t)/(1 - beta_1^t) / (sqrt(v) + epsilon),   f = final_lr·lr/base_learning_rate
    /// p ← p - clip(eta, f·(1 - 1/(gamma·t + 1)), f·(1 + 1/(gamma·t)))·m
    /// ```
    ///
    /// `m` and `v` are Adam's; with AMSBound `v` is the largest seen. State: `exp_avg`, `exp_avg_sq`,
    /// `max_exp_avg_sq` with AMSBound, and the scalar `base_lr`. Source: Luo et al., arXiv 1902.09843.
    AdaBound as AdaBoundConfig, "adabound" {
        learning_rate: 1e-3,
        paper: "Luo et al., arXiv 1902.09843",
        description: "adam whose step size becomes that of gradient descent",
        decay: Decay::coupled(0.0),
        example: ".with_amsbound(true)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// The rate of gradient descent at the end.
    final_lr, with_final_lr: f64 = 0.1, POSITIVE;
    /// How fast the bounds close.
    gamma, with_gamma: f64 = 1e-3, POSITIVE;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// The rate that `final_lr` belongs to. None: the first that is not 0, which with a warmup is too small.
    base_learning_rate, with_base_learning_rate: Option<f64> = None, POSITIVE at start,
        shown_with r#"{"gamma": 0.5}"#;
    /// Whether to divide by the largest second moment seen.
    amsbound, with_amsbound: bool = false, ANY, shown_with r#"{"beta_2": 0.5}"#;
    => |rule, shared| match rule.amsbound {
        true => shared.run(AmsGrad(rule)),
        false => shared.run(rule),
    }
}

/// The settings, and the numbers of the step size.
#[derive(Clone, Copy, Debug)]
pub struct AdaBoundCoefs {
    rule: AdaBound,
    eta: f64,
    lower: f64,
    upper: f64,
}

impl Rule for AdaBound {
    type State<V: Value> = [V; 2];
    type Coefs = AdaBoundCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        vec![Scalar::new("base_lr", self.base_learning_rate.unwrap_or(0.0))]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AdaBoundCoefs> {
        let (lr, t) = (clock.lr, clock.t());
        if clock.memory[0] == 0.0 {
            clock.memory[0] = lr;
        }
        let last = if lr == 0.0 { 0.0 } else { self.final_lr * lr / clock.memory[0] };
        let corrected = bias_correction(self.beta_2, t).sqrt() / bias_correction(self.beta_1, t);
        let closed = self.gamma * t;
        let coefs = AdaBoundCoefs {
            rule: *self,
            eta: lr * corrected,
            lower: last * closed / (closed + 1.0),
            upper: last * (1.0 + closed.recip()),
        };
        Step::new(1.0, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &AdaBoundCoefs, _: &V, grad: V, state: [V; 2]) -> (V, [V; 2]) {
        Self::over_own(coefs, grad, state)
    }
}

impl OverSecondMoment for AdaBound {
    #[inline(always)]
    fn moments<V: Value>(coefs: &AdaBoundCoefs, grad: V, [m, v]: [V; 2]) -> [V; 2] {
        let m = ema(m, grad.clone(), coefs.rule.beta_1);
        [m, ema(v, grad.square(), coefs.rule.beta_2)]
    }

    fn second<V: Value>([_, v]: &[V; 2]) -> &V {
        v
    }

    #[inline(always)]
    fn over<V: Value>(coefs: &AdaBoundCoefs, [m, _]: &[V; 2], second: &V) -> V {
        let root = second.clone().sqrt().offset(coefs.rule.epsilon);
        let eta = root.recip().scale(coefs.eta);
        eta.clamp_min(coefs.lower).clamp_max(coefs.upper) * m.clone()
    }
}
