use downhill_rule::{Clock, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Adadelta: the gradient over its root mean square, times that of the last updates, so that the unit of
    /// the step is the parameter's. `torch.optim.Adadelta`.
    ///
    /// ```text
    /// v ← rho·v + (1 - rho)·g²
    /// u = g·sqrt(a + epsilon)/sqrt(v + epsilon)
    /// a ← rho·a + (1 - rho)·u²
    /// ```
    ///
    /// The first step is `sqrt(epsilon/(1 - rho))`, 0.003, whatever the gradient is: it starts slowly. The
    /// learning rate is outside both means. State: `square_avg` (v), `acc_delta` (a). Source: Zeiler, arXiv
    /// 1212.5701.
    Adadelta as AdadeltaConfig, "adadelta" {
        learning_rate: 1.0,
        paper: "Zeiler, arXiv 1212.5701",
        description: "rmsprop whose rate is the root mean square of the last updates",
        decay: Decay::coupled(0.0),
        example: ".with_rho(0.95)",
    }
    /// Decay of both means.
    rho, with_rho: f64 = 0.9, DECAY;
    /// Added under both roots.
    epsilon, with_epsilon: f64 = 1e-6, POSITIVE;
}

impl Rule for Adadelta {
    type State<V: Value> = [V; 2];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("square_avg"), Slot::zeros("acc_delta")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [v, a]: [V; 2]) -> (V, [V; 2]) {
        let v = ema(v, grad.clone().square(), coefs.rho);
        let size = a.clone().offset(coefs.epsilon).sqrt();
        let direction = size / v.clone().offset(coefs.epsilon).sqrt() * grad;
        let a = ema(a, direction.clone().square(), coefs.rho);
        (direction, [v, a])
    }
}
