use downhill_rule::{Clock, Look, Slot, Step, Value, ema, Field, Size};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// NovoGrad: momentum of gradients over one running norm per tensor.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·|g|²,   |g|² while it is 0
    /// d = g/(sqrt(v) + epsilon) + weight_decay·p
    /// m ← beta_1·m + d,   (1 - beta_1)·d with grad_averaging but in the first step;   u = m
    /// ```
    ///
    /// State: `exp_avg` (m), and `grads_ema` (v), one number. Source: Ginsburg et al., arXiv 1905.11286. A
    /// first gradient of zero does not count as a norm, as in timm; pytorch_optimizer's next step is 7 times as
    /// long.
    NovoGrad as NovoGradConfig, "novograd" {
        learning_rate: 1e-3,
        state: "n + 1",
        paper: "Ginsburg et al., arXiv 1905.11286",
        description: "momentum of gradients over one running norm per tensor",
        decay: Decay::own(0.0),
        example: ".with_weight_decay(1e-3)",
    }
    /// Decay of the momentum.
    beta_1, with_beta_1: f64 = 0.95, DECAY;
    /// Decay of the mean of the squared norm.
    beta_2, with_beta_2: f64 = 0.98, DECAY;
    /// Added to the norm.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether the momentum is a mean.
    grad_averaging, with_grad_averaging: bool = false, ANY;
    => |rule, shared| shared.look_own(rule)
}

impl Config<NovoGrad> {
    /// optax's defaults: decays 0.9 and 0.25, epsilon 1e-6.
    pub fn optax() -> Self {
        Self::new().with_beta_1(0.9).with_beta_2(0.25).with_epsilon(1e-6)
    }
}

/// The settings, the weight of this step in the momentum, and the weight decay.
type Coefs = (NovoGrad, f64, f64);

impl Look for NovoGrad {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 1];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("grads_ema")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        let averages = self.grad_averaging && clock.step > 1;
        let weight = if averages { 1.0 - self.beta_1 } else { 1.0 };
        Step::new(clock.lr, (*self, weight, clock.weight_decay))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Coefs,
        _: &[V; 1],
        _: &V,
        grad: V,
        _: [V; 1],
    ) -> [V; 1] {
        [grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, ..): &Coefs,
        [squares]: [V; 1],
        _: &Size,
        _: [V; 1],
        [v]: [V; 1],
    ) -> ([V; 1], [V; 1]) {
        let mean = ema(v.clone(), squares.clone(), rule.beta_2);
        let v = v.select(mean, squares);
        ([v.clone().sqrt().offset(rule.epsilon)], [v])
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, weight, decay): &Coefs,
        [norm]: &[V; 1],
        param: &V,
        grad: V,
        [m]: [V; 1],
    ) -> (V, [V; 1]) {
        let d = (grad / norm.clone()).add_scaled(param, *decay);
        let m = m.scale(rule.beta_1).add_scaled(&d, *weight);
        (m.clone(), [m])
    }
}
