use downhill_rule::{Clock, Epsilon, Rule, Slot, Step, Value};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaGrad: each element's rate falls with the sum of its squared gradients. `torch.optim.Adagrad`;
    /// [`optax`](AdaGradConfig::optax) for the form of optax and Keras.
    ///
    /// ```text
    /// s ← s + g²
    /// u = g / (sqrt(s) + epsilon),   or   g / sqrt(s + epsilon)
    /// rate = lr / (1 + (t - 1)·lr_decay)
    /// ```
    ///
    /// State: `sum`. Source: Duchi, Hazan & Singer, JMLR 12 (2011).
    AdaGrad as AdaGradConfig, "adagrad" {
        learning_rate: 1e-2,
        paper: "Duchi, Hazan & Singer, JMLR 12 (2011)",
        description: "each element's rate falls with the sum of its squared gradients",
        decay: Decay::coupled(0.0),
        example: ".with_lr_decay(1e-3)",
    }
    /// How fast the learning rate falls with the step count.
    lr_decay, with_lr_decay: f64 = 0.0, NOT_NEGATIVE;
    /// The sum before the first step.
    initial_accumulator_value, with_initial_accumulator_value: f64 = 0.0, NOT_NEGATIVE at start;
    /// Keeps the root away from zero.
    epsilon, with_epsilon: f64 = 1e-10, POSITIVE;
    /// Whether `epsilon` is added under the root, as in optax and Keras.
    epsilon_inside_root, with_epsilon_inside_root: bool = false, ANY, shown_with r#"{"epsilon": 0.1}"#;
}

impl Config<AdaGrad> {
    /// burn-optim's defaults: epsilon 1e-5.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5)
    }

    /// optax's and Keras's form and defaults: the sum starts at 0.1, epsilon 1e-7 under the root.
    pub fn optax() -> Self {
        Self::new()
            .with_initial_accumulator_value(0.1)
            .with_epsilon(1e-7)
            .with_epsilon_inside_root(true)
    }
}

impl Rule for AdaGrad {
    type State<V: Value> = [V; 1];
    type Coefs = Epsilon;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::filled("sum", self.initial_accumulator_value)]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Epsilon> {
        let rate = clock.lr / (1.0 + (clock.t() - 1.0) * self.lr_decay);
        Step::new(rate, Epsilon::placed(self.epsilon, self.epsilon_inside_root))
    }

    #[inline(always)]
    fn direction<V: Value>(epsilon: &Epsilon, _: &V, grad: V, [sum]: [V; 1]) -> (V, [V; 1]) {
        let sum = sum + grad.clone().square();
        (grad / epsilon.root(sum.clone()), [sum])
    }
}
