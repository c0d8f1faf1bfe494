use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaMax: [`Adam`](crate::Adam) with a slowly fading maximum of the gradient in the place of its root
    /// mean square. `torch.optim.Adamax`; with decoupled weight decay, AdamaxW.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// w ← max(beta_2·w, |g| + epsilon)
    /// u = m / ((1 - beta_1^t)·w)
    /// ```
    ///
    /// State: `exp_avg`, `exp_inf`. Source: Kingma & Ba, arXiv 1412.6980, Algorithm 2.
    AdaMax as AdaMaxConfig, "adamax" {
        learning_rate: 2e-3,
        paper: "Kingma & Ba, arXiv 1412.6980",
        description: "adam over a slowly fading maximum of the gradient",
        decay: Decay::coupled(0.0),
        example: ".with_decoupled_weight_decay(true).with_weight_decay(1e-4)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the maximum.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the gradient's magnitude.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for AdaMax {
    type State<V: Value> = [V; 2];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_inf")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        let rate = clock.lr / bias_correction(self.beta_1, clock.t());
        Step::new(rate, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [m, w]: [V; 2]) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), coefs.beta_1);
        let size = grad.abs().offset(coefs.epsilon);
        let w = w.scale(coefs.beta_2).maximum(size);
        (m.clone() / w.clone(), [m, w])
    }
}
