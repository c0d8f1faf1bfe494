use downhill_rule::{Clock, Debiased, Rule, Scalar, Slot, Step, Value, ema};

use super::schedule_free::{Averaged, Averaging, warmed};
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Schedule-Free AdamW: [`ScheduleFreeSgd`](crate::ScheduleFreeSgd) along the gradient over its root mean
    /// square.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·g²
    /// d = g/(sqrt(v/(1 - beta_2^t)) + epsilon) + weight_decay·y
    /// y ← y + c·(z - y) + lr·(beta_1·(1 - c) - 1)·d,   z ← z - lr·d
    /// ```
    ///
    /// The rest is as there, with `beta_1` for its momentum. State: `z`, `exp_avg_sq`, and the scalars
    /// `weight_sum`, `lr_max`. Source: Defazio et al., arXiv 2405.15682; the package schedulefree 1.4.1.
    ScheduleFreeAdamW as ScheduleFreeAdamWConfig, "schedule_free_adamw" {
        learning_rate: 2.5e-3,
        paper: "Defazio et al., arXiv 2405.15682",
        description: "adamw with an average instead of a schedule",
        decay: Decay::own(0.0),
        example: ".with_warmup_steps(1000)",
    }
    /// Where between `z` and the average gradients are taken.
    beta_1, with_beta_1: f64 = 0.9, SHRINKS at start;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Steps over which the learning rate grows.
    warmup_steps, with_warmup_steps: usize = 0, ANY;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE,
        shown_with r#"{"warmup_steps": 10}"#;
    /// Times `1 - beta_1`, a factor on each step's share of the average.
    decoupling_c, with_decoupling_c: Option<f64> = None, POSITIVE,
        shown_with r#"{"beta_1": 0.8}"#;
    => |rule, shared| shared.run_own(rule)
}

impl Rule for ScheduleFreeAdamW {
    type State<V: Value> = [V; 2];
    type Coefs = (Debiased<Self>, f64, Averaged);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaging::memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let &Self { beta_1: momentum, r, weight_lr_power, decoupling_c, .. } = self;
        let averaging = Averaging { momentum, r, weight_lr_power, decoupling_c };
        let averaged = averaging.step(clock, warmed(clock, self.warmup_steps));
        let debiased = Debiased::new(*self, momentum, self.beta_2, clock.t());
        Step::new(1.0, (debiased, clock.weight_decay, averaged))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (debiased, weight_decay, averaged): &Self::Coefs,
        y: &V,
        grad: V,
        [z, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let rule = &debiased.rule;
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let root = debiased.root(v.clone()).offset(rule.epsilon);
        let normal = (grad / root).add_scaled(y, *weight_decay);
        let (descent, z) = averaged.go(y, z, normal);
        (descent, [z, v])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, y: V, [z, _]: [V; 2]) -> V {
        Averaging::average(self.beta_1, y, z)
    }
}
