use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// PNM: the difference of two momenta that take turns, which has the noise of larger steps.
    ///
    /// ```text
    /// a ← beta_1²·a + (1 - beta_1²)·g          a is pos at odd steps and neg at even ones, b the other
    /// u = ((1 + beta_2)·a - beta_2·b) / sqrt((1 + beta_2)² + beta_2²)
    /// ```
    ///
    /// State: `pos_momentum`, `neg_momentum`. Source: Xie et al., arXiv 2103.17182, Algorithm 1.
    Pnm as PnmConfig, "pnm" {
        learning_rate: 1e-3,
        paper: "Xie et al., arXiv 2103.17182",
        description: "the difference of two momenta that take turns",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(5e-4)",
    }
    /// Its square is the decay of each momentum.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Weight of the older momentum, which is taken away.
    beta_2, with_beta_2: f64 = 1.0, NOT_NEGATIVE;
}

/// What both momenta keep, take in of the gradient, and count in the direction, at this step.
#[derive(Clone, Copy, Debug)]
pub struct Turns([[f64; 3]; 2]);

impl Turns {
    pub(super) fn new(clock: &Clock, beta_1: f64, weight: f64) -> Self {
        let (keep, noise) = (beta_1.powi(2), (1.0 + weight).hypot(weight));
        let current = [keep, 1.0 - keep, (1.0 + weight) / noise];
        let other = [1.0, 0.0, -weight / noise];
        Self(if clock.step % 2 == 1 { [current, other] } else { [other, current] })
    }

    #[inline(always)]
    pub(super) fn take<V: Value>(&self, grad: &V, [a, b]: [V; 2]) -> [V; 2] {
        let [[keep_a, take_a, _], [keep_b, take_b, _]] = self.0;
        let a = a.scale(keep_a).add_scaled(grad, take_a);
        [a, b.scale(keep_b).add_scaled(grad, take_b)]
    }

    #[inline(always)]
    pub(super) fn difference<V: Value>(&self, [a, b]: [&V; 2]) -> V {
        let [[.., count_a], [.., count_b]] = self.0;
        a.clone().scale(count_a) + b.clone().scale(count_b)
    }
}

impl Rule for Pnm {
    type State<V: Value> = [V; 2];
    type Coefs = Turns;

    fn slots(&self) -> Vec<Slot> {
        ["pos_momentum", "neg_momentum"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Turns> {
        Step::new(clock.lr, Turns::new(clock, self.beta_1, self.beta_2))
    }

    #[inline(always)]
    fn direction<V: Value>(turns: &Turns, _: &V, grad: V, momenta: [V; 2]) -> (V, [V; 2]) {
        let [a, b] = turns.take(&grad, momenta);
        (turns.difference([&a, &b]), [a, b])
    }
}
