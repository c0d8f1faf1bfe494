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
    OptimisticGd as OptimisticGdConfig, "optimistic_gd" {
        learning_rate: 1e-2,
        paper: "Daskalakis et al., arXiv 1711.00141",
        description: "the gradient and its last change; for games",
        decay: Decay::coupled(0.0),
        example: "",
    }
    /// Weight of the gradient.
    alpha, with_alpha: f64 = 1.0, NOT_NEGATIVE;
    /// Weight of its change.
    beta, with_beta: f64 = 1.0, NOT_NEGATIVE;
}

/// `u = now·d - before·d_before`
#[derive(Clone, Copy, Debug)]
pub struct Optimism {
    now: f64,
    before: f64,
}

impl Optimism {
    pub(super) fn new(clock: &Clock, alpha: f64, beta: f64) -> Self {
        let before = if clock.step == 1 { 0.0 } else { beta };
        Self { now: alpha + before, before }
    }

    #[inline(always)]
    pub(super) fn ahead<V: Value>(&self, direction: &V, previous: V) -> V {
        direction.clone().scale(self.now) - previous.scale(self.before)
    }
}

impl Rule for OptimisticGd {
    type State<V: Value> = [V; 1];
    type Coefs = Optimism;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("previous_grad")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Optimism> {
        Step::new(clock.lr, Optimism::new(clock, self.alpha, self.beta))
    }

    #[inline(always)]
    fn direction<V: Value>(optimism: &Optimism, _: &V, grad: V, [previous]: [V; 1]) -> (V, [V; 1]) {
        (optimism.ahead(&grad, previous), [grad])
    }
}
