use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value, bias_correction, ema};

use super::radam::rectification;
use super::schedule_free::{Averaged, Averaging};
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Schedule-Free RAdam: [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW) with [`RAdam`](crate::RAdam)'s
    /// rectification in the place of a warmup.
    ///
    /// ```text
    /// lr ← lr·r_t,  d as there                    once the variance is known, from step 5 on
    /// lr ← 0 (or lr, if not silent),  d = g       before
    /// ```
    ///
    /// The rectified rate is what the average goes by. State: `z`, `exp_avg_sq`, and the scalars `weight_sum`,
    /// `lr_max`. Source: the package schedulefree 1.4.1, `RAdamScheduleFree`.
    ScheduleFreeRAdam as ScheduleFreeRAdamConfig, "schedule_free_radam" {
        learning_rate: 2.5e-3,
        paper: "Defazio et al., arXiv 2405.15682",
        description: "schedule-free adamw that needs no warmup either",
        decay: Decay::own(0.0),
        example: "",
    }
    /// Where between `z` and the average gradients are taken.
    beta_1, with_beta_1: f64 = 0.9, SHRINKS at start;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE, shown_with r#"{"beta_2": 0.9}"#;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE, shown_with r#"{"beta_2": 0.9}"#;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE, shown_with r#"{"beta_2": 0.9}"#;
    /// Whether nothing moves before the variance is known.
    silent_sgd_phase, with_silent_sgd_phase: bool = true, ANY;
    /// Times `1 - beta_1`, a factor on each step's share of the average.
    decoupling_c, with_decoupling_c: Option<f64> = None, POSITIVE,
        shown_with r#"{"beta_1": 0.8, "beta_2": 0.9}"#;
    => |rule, shared| shared.run_own(rule)
}

/// `d = g/(sqrt(v)·steep + floor) + weight_decay·y`
#[derive(Clone, Copy, Debug)]
pub struct ScheduleFreeRAdamCoefs {
    beta_2: f64,
    steep: f64,
    floor: f64,
    weight_decay: f64,
    averaged: Averaged,
}

impl Rule for ScheduleFreeRAdam {
    type State<V: Value> = [V; 2];
    type Coefs = ScheduleFreeRAdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaging::memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<ScheduleFreeRAdamCoefs> {
        let &Self { beta_1: momentum, r, weight_lr_power, decoupling_c, .. } = self;
        let averaging = Averaging { momentum, r, weight_lr_power, decoupling_c };
        let (rho, factor) = rectification(self.beta_2, clock.t());
        let (lr, steep, floor) = match (rho > 4.0, self.silent_sgd_phase) {
            (true, _) => {
                let corrected = bias_correction(self.beta_2, clock.t());
                (clock.lr * factor, corrected.sqrt().recip(), self.epsilon)
            }
            (false, true) => (0.0, 0.0, 1.0),
            (false, false) => (clock.lr, 0.0, 1.0),
        };
        let (beta_2, weight_decay) = (self.beta_2, clock.weight_decay);
        let averaged = averaging.step(clock, lr);
        Step::new(1.0, ScheduleFreeRAdamCoefs { beta_2, steep, floor, weight_decay, averaged })
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &ScheduleFreeRAdamCoefs,
        y: &V,
        grad: V,
        [z, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let v = ema(v, grad.clone().square(), coefs.beta_2);
        let root = v.clone().sqrt().scale(coefs.steep).offset(coefs.floor);
        let d = (grad / root).add_scaled(y, coefs.weight_decay);
        let (descent, z) = coefs.averaged.go(y, z, d);
        (descent, [z, v])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, y: V, [z, _]: [V; 2]) -> V {
        Averaging::average(self.beta_1, y, z)
    }
}
