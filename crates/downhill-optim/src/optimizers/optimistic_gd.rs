use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Optimistic gradient descent: the gradient, and the way it went since the last step. For games, where
    /// plain descent circles.
    ///
    /// ```text
    /// u = (alpha + beta)·g - beta·previous g   (alpha·g in the first step)
    /// ```
    ///
    /// State: `previous_grad`. Source: Daskalakis et al., arXiv 1711.00141.
    ///
    /// ```
    /// use downhill_optim::OptimisticGdConfig;
    ///
    /// let optim = OptimisticGdConfig::new().init();
    /// ```
    OptimisticGd as OptimisticGdConfig, "optimistic_gd" {
        learning_rate: 1e-2,
        paper: "Daskalakis et al., arXiv 1711.00141",
        description: "the gradient and its last change; for games",
        decay: Decay::coupled(0.0),
    }
    /// Weight of the gradient.
    alpha, with_alpha: f64 = 1.0, NOT_NEGATIVE;
    /// Weight of its change.
    beta, with_beta: f64 = 1.0, NOT_NEGATIVE;
}

impl Rule for OptimisticGd {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("previous_grad")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        let beta = if clock.step == 1 { 0.0 } else { self.beta };
        Step::new(clock.lr, Self { beta, ..*self })
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [previous]: [V; 1]) -> (V, [V; 1]) {
        let now = grad.clone().scale(coefs.alpha + coefs.beta);
        (now - previous.scale(coefs.beta), [grad])
    }
}
