use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value, ema};

use crate::declare::wrapper;
use crate::registry::OptimizerConfig;
use crate::wrapped::{Around, Field, Stage};

wrapper! {
    /// Grokfast: another optimizer sees the gradient with its slow part made larger.
    ///
    /// ```text
    /// h ← alpha·h + (1 - alpha)·g        h = g in the first step
    /// g ← g + lamb·h
    /// ```
    ///
    /// The gradient becomes about `1 + lamb` times as large. State: the optimizer's, then `grad_ema`. Each step
    /// needs a buffer for the gradient. Source: Lee et al., arXiv 2405.20233, Grokfast-EMA.
    ///
    /// ```
    /// use downhill_optim::{AdamWConfig, GrokfastConfig};
    ///
    /// let optim = GrokfastConfig::new().with_optimizer(AdamWConfig::new().into()).init();
    /// ```
    Grokfast as GrokfastConfig, "grokfast" {
        learning_rate: 1e-2,
        state: "n beside the optimizer's",
        paper: "Lee et al., arXiv 2405.20233",
        description: "another optimizer, whose gradient has its slow part made larger",
        decay: None,
        maximize: false,
    }
    /// Decay of the mean of the gradient.
    alpha, with_alpha: f64 = 0.98, DECAY;
    /// How much of the mean is added.
    lamb, with_lamb: f64 = 2.0, NOT_NEGATIVE;
    /// The other optimizer.
    optimizer, with_optimizer: OptimizerConfig = super::SgdConfig::new().with_momentum(0.9).into(), ANY;
    => |grokfast, shared| shared.around(&grokfast.optimizer, grokfast.clone())
}

impl Around for Grokfast {
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("grad_ema")]
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let alpha = if clock.step == 1 { 0.0 } else { self.alpha };
        let scale = clock.grad_scale;
        let step = Step { retain: scale, sign: scale, ..Step::new(self.lamb, alpha) };
        stage.pass::<Filter>(&step, Field::Grad);
        stage.inner(Field::Param);
    }
}

/// Adds the mean to the gradient.
#[derive(Clone)]
struct Filter;

impl Numbers for Filter {}

impl Rule for Filter {
    type State<V: Value> = [V; 1];
    type Coefs = f64;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("grad_ema")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<f64> {
        Step::new(clock.lr, 0.0)
    }

    #[inline(always)]
    fn direction<V: Value>(&alpha: &f64, _: &V, grad: V, [h]: [V; 1]) -> (V, [V; 1]) {
        let h = ema(h, grad, alpha);
        (h.clone(), [h])
    }

    #[inline(always)]
    fn land<V: Value>(step: &Step<f64>, grad: V, h: V, state: [V; 1]) -> (V, [V; 1]) {
        (grad.add_scaled(&h, step.rate), state)
    }
}
