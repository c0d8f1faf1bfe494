use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value, bias_correction, ema};

use crate::config::{Decay, optimizer};

optimizer! {
    /// LaProp: the gradient is normalised first and averaged then, where [`Adam`](crate::Adam) does it the
    /// other way round; momentum and adaptivity do not disturb each other.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·g²
    /// m ← beta_1·m + (1 - beta_1)·lr·g/(sqrt(v/(1 - beta_2^t)) + epsilon)
    /// c ← beta_1·c + (1 - beta_1)·lr
    /// p ← p - lr/c·m
    /// ```
    ///
    /// The learning rate is inside `m`, and `c` corrects its bias when it changes too. State: `exp_avg`,
    /// `exp_avg_sq`, and the scalar `exp_avg_lr_1` (c). Source: Ziyin, Wang & Ueda, arXiv 2002.04839.
    ///
    /// ```
    /// use downhill_optim::LaPropConfig;
    ///
    /// let optim = LaPropConfig::new().init();
    /// ```
    LaProp as LaPropConfig, "laprop" {
        learning_rate: 4e-4,
        paper: "Ziyin, Wang & Ueda, arXiv 2002.04839",
        description: "a mean of the normalised gradient",
        decay: Decay::decoupled(0.0),
    }
    /// Decay of the mean of the normalised gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-15, POSITIVE;
}

/// The settings, the learning rate, and a bias correction as a factor.
#[derive(Clone, Copy, Debug)]
pub struct LaPropCoefs {
    rule: LaProp,
    lr: f64,
    debias_2_root: f64,
}

impl Rule for LaProp {
    type State<V: Value> = [V; 2];
    type Coefs = LaPropCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        let name = "exp_avg_lr_1";
        vec![Scalar { name, initial: 0.0 }]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<LaPropCoefs> {
        let (lr, beta_1) = (clock.lr, clock.momentum(self.beta_1));
        clock.memory[0] = ema(clock.memory[0], lr, beta_1);
        let coefs = LaPropCoefs {
            rule: Self { beta_1, ..*self },
            lr,
            debias_2_root: bias_correction(self.beta_2, clock.t()).sqrt().recip(),
        };
        // A rate of 0 moves nothing, also while all were 0.
        let rate = if lr == 0.0 { 0.0 } else { lr / clock.memory[0] };
        Step::new(rate, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &LaPropCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let root = v.clone().sqrt().scale(coefs.debias_2_root).offset(rule.epsilon);
        let m = ema(m, (grad / root).scale(coefs.lr), rule.beta_1);
        (m.clone(), [m, v])
    }
}
