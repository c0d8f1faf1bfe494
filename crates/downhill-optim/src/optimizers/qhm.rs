use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// QHM: quasi-hyperbolic momentum, a mix of the gradient and its mean.
    ///
    /// ```text
    /// b ← momentum·b + (1 - momentum)·g
    /// u = (1 - nu)·g + nu·b
    /// ```
    ///
    /// With `nu` 0 it is plain descent, with `nu` 1 momentum in the form of a mean. State:
    /// `momentum_buffer`. Source: Ma & Yarats, arXiv 1810.06801.
    Qhm as QhmConfig, "qhm" {
        learning_rate: 1.0,
        paper: "Ma & Yarats, arXiv 1810.06801",
        description: "a mix of the gradient and its mean",
        decay: Decay::coupled(0.0),
        example: "",
    }
    /// Decay of the mean.
    momentum, with_momentum: f64 = 0.999, DECAY;
    /// Weight of the mean in the step.
    nu, with_nu: f64 = 0.7, SHARE;
}

impl Rule for Qhm {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let buffer = ema(buffer, grad.clone(), coefs.momentum);
        (ema(buffer.clone(), grad, coefs.nu), [buffer])
    }
}

optimizer! {
    /// QHAdam: [`Adam`](crate::Adam) with both means mixed with what they are means of.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = ((1 - nu_1)·g + nu_1·m_hat) / (sqrt((1 - nu_2)·g² + nu_2·v_hat) + epsilon)
    /// ```
    ///
    /// `m_hat = m/(1 - beta_1^t)` and `v_hat = v/(1 - beta_2^t)`; with `nu_1 = nu_2 = 1` it is Adam. State:
    /// `exp_avg`, `exp_avg_sq`. Source: Ma & Yarats, arXiv 1810.06801.
    QhAdam as QhAdamConfig, "qhadam" {
        learning_rate: 1e-3,
        paper: "Ma & Yarats, arXiv 1810.06801",
        description: "adam with the gradient mixed into its means",
        decay: Decay::decoupled(0.0),
        example: ".with_nu_1(0.8)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.995, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Weight of the mean of the gradient.
    nu_1, with_nu_1: f64 = 0.7, SHARE;
    /// Weight of the mean of its square.
    nu_2, with_nu_2: f64 = 1.0, SHARE;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for QhAdam {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, [f64; 2]);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let debias = [self.beta_1, self.beta_2].map(|beta| bias_correction(beta, clock.t()).recip());
        Step::new(clock.lr, (*self, debias))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, [debias_1, debias_2]): &Self::Coefs,
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let square = grad.clone().square();
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, square.clone(), rule.beta_2);
        let ahead = ema(m.clone().scale(*debias_1), grad, rule.nu_1);
        let second = ema(v.clone().scale(*debias_2), square, rule.nu_2);
        (ahead / second.sqrt().offset(rule.epsilon), [m, v])
    }
}
