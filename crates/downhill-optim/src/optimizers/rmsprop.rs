use downhill_rule::{Clock, Epsilon, HeavyBall, Numbers, Rule, Slot, Step, Value, ema};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// RMSprop: the gradient over a running root mean square of itself, `torch.optim.RMSprop`.
    ///
    /// ```text
    /// v ← alpha·v + (1 - alpha)·g²
    /// u = g / (sqrt(v) + epsilon),   or   g / sqrt(v + epsilon)
    /// centered: v - m² for v under the root, at least 0;   m ← alpha·m + (1 - alpha)·g
    /// b ← momentum·b + u,   and b is the direction
    /// ```
    ///
    /// State: `square_avg`, `grad_avg` if centered, `momentum_buffer` with momentum. The variance is never
    /// negative in exact arithmetic but can be after rounding, so it is clamped: a constant gradient gives a
    /// large step, never a NaN. Differs from burn-optim, whose default has momentum 0.9: see
    /// [`burn`](RmsPropConfig::burn). Source: Tieleman & Hinton, Coursera lecture 6.5 (2012); Graves, arXiv
    /// 1308.0850.
    RmsProp as RmsPropConfig, "rmsprop" {
        learning_rate: 1e-2,
        state: "n, 2n centered, n more with momentum",
        paper: "Tieleman & Hinton 2012; Graves, arXiv 1308.0850",
        description: "the gradient over a running root mean square of itself",
        decay: Decay::coupled(0.0),
        example: ".with_centered(true)",
    }
    /// Decay of the mean square.
    alpha, with_alpha: f64 = 0.99, DECAY;
    /// Keeps the root away from zero.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether `epsilon` is added under the root, as in optax and Keras.
    epsilon_inside_root, with_epsilon_inside_root: bool = false, ANY, shown_with r#"{"epsilon": 0.1}"#;
    /// Whether to divide by the standard deviation instead of the root mean square.
    centered, with_centered: bool = false, ANY;
    /// Share of the last update that is kept.
    momentum, with_momentum: f64 = 0.0, DECAY at start;
    => |rule, shared| match (rule.centered, rule.momentum) {
        (false, 0.0) => shared.run(rule),
        (true, 0.0) => shared.run(CenteredRmsProp(rule)),
        (false, momentum) => shared.run(HeavyBall { rule, momentum }),
        (true, momentum) => shared.run(HeavyBall { rule: CenteredRmsProp(rule), momentum }),
    }
}

impl Config<RmsProp> {
    /// burn-optim's defaults: epsilon 1e-5, momentum 0.9.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5).with_momentum(0.9)
    }
}

/// Decay and guard.
#[derive(Clone, Copy, Debug)]
pub struct RmsPropCoefs {
    alpha: f64,
    epsilon: Epsilon,
}

impl Rule for RmsProp {
    type State<V: Value> = [V; 1];
    type Coefs = RmsPropCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("square_avg")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<RmsPropCoefs> {
        let coefs = RmsPropCoefs {
            alpha: self.alpha,
            epsilon: Epsilon::placed(self.epsilon, self.epsilon_inside_root),
        };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &RmsPropCoefs,
        _: &V,
        grad: V,
        [square_avg]: [V; 1],
    ) -> (V, [V; 1]) {
        let square_avg = ema(square_avg, grad.clone().square(), coefs.alpha);
        (grad / coefs.epsilon.root(square_avg.clone()), [square_avg])
    }
}

/// RMSprop over the variance of the gradient instead of its mean square.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CenteredRmsProp(
    /// Decay and guard.
    pub RmsProp,
);

impl Numbers for CenteredRmsProp {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl Rule for CenteredRmsProp {
    type State<V: Value> = [V; 2];
    type Coefs = RmsPropCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("square_avg"), Slot::zeros("grad_avg")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<RmsPropCoefs> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &RmsPropCoefs,
        _: &V,
        grad: V,
        [square_avg, grad_avg]: [V; 2],
    ) -> (V, [V; 2]) {
        let square_avg = ema(square_avg, grad.clone().square(), coefs.alpha);
        let grad_avg = ema(grad_avg, grad.clone(), coefs.alpha);
        let variance = (square_avg.clone() - grad_avg.clone().square()).clamp_min(0.0);
        (grad / coefs.epsilon.root(variance), [square_avg, grad_avg])
    }
}
