use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use super::pnm::Turns;
use super::{AmsGrad, OverSecondMoment};
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaPNM: [`Pnm`](crate::Pnm) over Adam's root mean square.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·g²,   w ← max(w, v)
    /// u = pnm's, with beta_3 for its beta_2 / (1 - beta_1^t) / (sqrt(w/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// State: `pos_momentum`, `neg_momentum`, `exp_avg_sq`, and `max_exp_avg_sq` with AMSGrad. Source: Xie et
    /// al., arXiv 2103.17182, Algorithm 2.
    AdaPnm as AdaPnmConfig, "adapnm" {
        learning_rate: 1e-3,
        paper: "Xie et al., arXiv 2103.17182",
        description: "pnm over adam's root mean square",
        decay: Decay::decoupled(0.0),
        example: ".with_amsgrad(false)",
    }
    /// Its square is the decay of each momentum.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Weight of the older momentum, which is taken away.
    beta_3, with_beta_3: f64 = 1.0, NOT_NEGATIVE;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether to divide by the largest second moment seen.
    amsgrad, with_amsgrad: bool = true, ANY, shown_with r#"{"beta_2": 0.5}"#;
    => |rule, shared| match rule.amsgrad {
        true => shared.run(AmsGrad(rule)),
        false => shared.run(rule),
    }
}

impl Rule for AdaPnm {
    type State<V: Value> = [V; 3];
    type Coefs = (Debiased<Self>, Turns);

    fn slots(&self) -> Vec<Slot> {
        ["pos_momentum", "neg_momentum", "exp_avg_sq"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let turns = Turns::new(clock, self.beta_1, self.beta_3);
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, (debiased, turns))
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self::Coefs, _: &V, grad: V, state: [V; 3]) -> (V, [V; 3]) {
        Self::over_own(coefs, grad, state)
    }
}

impl OverSecondMoment for AdaPnm {
    #[inline(always)]
    fn moments<V: Value>((debiased, turns): &Self::Coefs, grad: V, [a, b, v]: [V; 3]) -> [V; 3] {
        let [a, b] = turns.take(&grad, [a, b]);
        [a, b, ema(v, grad.square(), debiased.rule.beta_2)]
    }

    fn second<V: Value>([_, _, v]: &[V; 3]) -> &V {
        v
    }

    #[inline(always)]
    fn over<V: Value>((debiased, turns): &Self::Coefs, [a, b, _]: &[V; 3], second: &V) -> V {
        let root = debiased.root(second.clone());
        debiased.mean(turns.difference([a, b])) / root.offset(debiased.rule.epsilon)
    }
}
