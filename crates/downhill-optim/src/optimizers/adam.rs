use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use super::{AmsGrad, OverSecondMoment};
use crate::config::Config;
use crate::decay::Decay;
use crate::declare::{optimizer, preset};

optimizer! {
    /// Adam: `torch.optim.Adam`.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// Weight decay is coupled (added to the gradient); decoupled, it is [`AdamW`]. State:
    /// `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` with AMSGrad. Differs from burn-optim in the
    /// default epsilon, 1e-5 there: see [`burn`](AdamConfig::burn). Source: Kingma & Ba, arXiv 1412.6980,
    /// Algorithm 1.
    Adam as AdamConfig, "adam" {
        learning_rate: 1e-3,
        paper: "Kingma & Ba, arXiv 1412.6980",
        description: "bias-corrected mean of the gradient over the root of the mean of its square",
        decay: Decay::coupled(0.0),
        example: ".with_amsgrad(true)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether to divide by the largest second moment seen (arXiv 1904.09237).
    amsgrad, with_amsgrad: bool = false, ANY, shown_with r#"{"beta_2": 0.5}"#;
    => |adam, shared| match adam.amsgrad {
        true => shared.run(AmsGrad(adam)),
        false => shared.run(adam),
    }
}

preset! {
    /// AdamW: `torch.optim.AdamW`, [`Adam`] with decoupled weight decay.
    ///
    /// ```text
    /// p ← (1 - lr·weight_decay)·p
    /// ```
    ///
    /// before each step. Differs from burn-optim in the defaults, epsilon 1e-5 and weight decay 1e-4
    /// there: see [`burn`](AdamWConfig::burn). Source: Loshchilov & Hutter, arXiv 1711.05101; like torch, and
    /// unlike the paper, decay is multiplied by the learning rate.
    AdamW as AdamWConfig of Adam, "adamw" {
        learning_rate: 1e-3,
        paper: "Loshchilov & Hutter, arXiv 1711.05101",
        description: "adam with decoupled weight decay",
        decay: Decay::decoupled(1e-2),
        example: ".with_weight_decay(0.1)",
    }
}

impl Config<Adam> {
    /// burn-optim's defaults: epsilon 1e-5.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5)
    }
}

impl Config<Adam, AdamW> {
    /// burn-optim's defaults: epsilon 1e-5, weight decay 1e-4.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5).with_weight_decay(1e-4)
    }
}

impl Rule for Adam {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Adam>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Adam>> {
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, debiased)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Adam>, _: &V, grad: V, state: [V; 2]) -> (V, [V; 2]) {
        Self::over_own(coefs, grad, state)
    }
}

impl OverSecondMoment for Adam {
    #[inline(always)]
    fn moments<V: Value>(coefs: &Debiased<Adam>, grad: V, [m, v]: [V; 2]) -> [V; 2] {
        let m = ema(m, grad.clone(), coefs.rule.beta_1);
        [m, ema(v, grad.square(), coefs.rule.beta_2)]
    }

    fn second<V: Value>([_, v]: &[V; 2]) -> &V {
        v
    }

    #[inline(always)]
    fn over<V: Value>(coefs: &Debiased<Adam>, [m, _]: &[V; 2], second: &V) -> V {
        let root = coefs.root(second.clone()).offset(coefs.rule.epsilon);
        coefs.mean(m.clone()) / root
    }
}
