use downhill_rule::{Clock, Numbers, Rule, Scalar, Slot, Step, Value};

use super::schedule_free::Averaging;
use crate::declare::wrapper;
use crate::registry::OptimizerConfig;
use crate::wrapped::{Around, Field, Stage};

wrapper! {
    /// Schedule-Free around another optimizer, which has to be without momentum: an average takes the place of
    /// a falling learning rate.
    ///
    /// ```text
    /// x = y + (1 - 1/momentum)·(z - y),   z ← z - lr·weight_decay_at_y·y
    /// z ← the optimizer's step from z, with the gradient at y
    /// x ← x + c·(z - x),   y = x + (1 - momentum)·(z - x)
    /// ```
    ///
    /// The model holds `y`; `x` is what to evaluate and to keep: see `evaluated`. `c` is
    /// [`ScheduleFreeSgd`](crate::ScheduleFreeSgd)'s, which this is around gradient descent. State: the
    /// optimizer's, then `z`, and the scalars `weight_sum`, `lr_max`. Source: Defazio et al., arXiv 2405.15682; the
    /// package schedulefree 1.4.1, `ScheduleFreeWrapper`.
    ///
    /// ```
    /// use downhill_optim::{RmsPropConfig, ScheduleFreeConfig};
    ///
    /// let optim = ScheduleFreeConfig::new().with_optimizer(RmsPropConfig::new().into()).init();
    /// ```
    ScheduleFree as ScheduleFreeConfig, "schedule_free" {
        learning_rate: 1.0,
        state: "n beside the optimizer's",
        paper: "Defazio et al., arXiv 2405.15682",
        description: "an average around another optimizer instead of a schedule",
        decay: None,
        maximize: false,
    }
    /// Where between `z` and the average gradients are taken.
    momentum, with_momentum: f64 = 0.9, SHRINKS at start;
    /// Weight decay at `y`; that of the optimizer acts at `z`.
    weight_decay_at_y, with_weight_decay_at_y: f64 = 0.0, NOT_NEGATIVE;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE;
    /// The other optimizer.
    optimizer, with_optimizer: OptimizerConfig = super::SgdConfig::new().into(), ANY;
    => |rule, shared| {
        let inner = rule.optimizer.any().to_map();
        for momentum in ["momentum", "beta_1"] {
            let is_set = inner.get(momentum).and_then(serde_json::Value::as_f64);
            if is_set.is_some_and(|momentum| momentum != 0.0) {
                let reason = format!("the `optimizer` inside must have a `{momentum}` of 0");
                return Err(shared.conflict(reason));
            }
        }
        shared.around(&rule.optimizer, rule.clone())
    }
}

impl Around for ScheduleFree {
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaging::memory()
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let (momentum, lr) = (self.momentum, clock.lr);
        let way = Way { of_param: momentum.recip() - 1.0, decay: lr * self.weight_decay_at_y };
        stage.pass::<Way>(&Step::new(1.0, way), Field::Param);
        stage.inner(Field::Own);
        let (r, weight_lr_power) = (self.r, self.weight_lr_power);
        let averaging = Averaging { momentum, r, weight_lr_power, decoupling_c: None };
        let share = averaging.step(clock, lr).share;
        // First to the new average, and from there towards `z`.
        let share = share + (1.0 - momentum) * (1.0 - share);
        let way = Way { of_param: -share, decay: 0.0 };
        stage.pass::<Way>(&Step::new(1.0, way), Field::Param);
    }

    fn evaluated<V: Value>(&self, y: &V, own: &[V]) -> Option<V> {
        Some(Averaging::average(self.momentum, y.clone(), own[0].clone()))
    }
}

/// `p ← p - of_param·(z - p)`,  `z ← z - decay·p`
#[derive(Clone, Copy, Debug)]
struct Way {
    of_param: f64,
    decay: f64,
}

impl Numbers for Way {}

impl Rule for Way {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z")]
    }

    fn prepare(&self, _: &mut Clock) -> Step<Self> {
        Step::new(1.0, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(way: &Self, param: &V, _: V, [z]: [V; 1]) -> (V, [V; 1]) {
        let direction = (z.clone() - param.clone()).scale(way.of_param);
        (direction, [z.add_scaled(param, -way.decay)])
    }
}
