use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

/// How the average goes: what all Schedule-Free optimizers have in common.
#[derive(Clone, Copy, Debug)]
pub struct Averaging {
    /// Where between `z` and the average gradients are taken.
    pub momentum: f64,
    /// How much more later steps count.
    pub r: f64,
    /// How much more steps of a larger rate count.
    pub weight_lr_power: f64,
    /// Times `1 - momentum`, a factor on the share of a step.
    pub decoupling_c: Option<f64>,
}

/// The learning rate and the share of the average of one step.
#[derive(Clone, Copy, Debug)]
pub struct Averaged {
    lr: f64,
    momentum: f64,
    pub(super) share: f64,
}

impl Averaging {
    pub(super) fn memory() -> Vec<Scalar> {
        vec![Scalar::new("weight_sum", 0.0), Scalar::new("lr_max", 0.0)]
    }

    /// For a step of the rate `lr`. The memory's numbers go on.
    pub(super) fn step(self, clock: &mut Clock, lr: f64) -> Averaged {
        let largest = clock.memory[1].max(lr);
        let weight = clock.t().powf(self.r) * largest.powf(self.weight_lr_power);
        let sum = clock.memory[0] + weight;
        (clock.memory[0], clock.memory[1]) = (sum, largest);
        let share = if sum == 0.0 { 0.0 } else { weight / sum };
        let refined = |c: f64| (share * (1.0 - self.momentum) * c).min(1.0);
        let share = self.decoupling_c.map_or(share, refined);
        let momentum = self.momentum;
        Averaged { lr, momentum, share }
    }

    /// The average `x`, from what is trained and `z`.
    pub(super) fn average<V: Value>(momentum: f64, y: V, z: V) -> V {
        let way = (z - y.clone()).scale(1.0 - momentum.recip());
        y + way
    }
}

impl Averaged {
    /// `y`'s descent, and `z` after it, under the direction `d` of the rule inside.
    #[inline(always)]
    pub(super) fn go<V: Value>(&self, y: &V, z: V, d: V) -> (V, V) {
        let ahead = self.lr * (1.0 - self.momentum * (1.0 - self.share));
        let descent = (y.clone() - z.clone()).scale(self.share) + d.clone().scale(ahead);
        (descent, z - d.scale(self.lr))
    }
}

/// The rate of a step in a warmup.
pub(super) fn warmed(clock: &Clock, steps: usize) -> f64 {
    clock.lr * (clock.t() / steps as f64).min(1.0)
}

optimizer! {
    /// Schedule-Free SGD: an average of the steps takes the place of a falling learning rate.
    ///
    /// ```text
    /// w = t^r·lr_max^weight_lr_power,   c = w/(sum of all w), or min(1, c·(1 - momentum)·decoupling_c)
    /// y ← y + c·(z - y) + lr·(momentum·(1 - c) - 1)·g,   z ← z - lr·g
    /// x = y + (1 - 1/momentum)·(z - y)
    /// ```
    ///
    /// The model holds `y`, where gradients are taken; `x` is what to evaluate and to keep: see `evaluated`.
    /// Statistics of batch normalisation are those at `y`. The rate needs no schedule but a warmup, and is
    /// larger than that of SGD. Weight decay is taken at `y`. State: `z`, and the scalars `weight_sum`,
    /// `lr_max`. Source: Defazio et al., arXiv 2405.15682; the package schedulefree 1.4.1; `decoupling_c`: arXiv
    /// 2507.09846.
    ScheduleFreeSgd as ScheduleFreeSgdConfig, "schedule_free_sgd" {
        learning_rate: 1.0,
        paper: "Defazio et al., arXiv 2405.15682",
        description: "gradient descent with an average instead of a schedule",
        decay: Decay::coupled(0.0),
        example: ".with_warmup_steps(100)",
    }
    /// Where between `z` and the average gradients are taken.
    momentum, with_momentum: f64 = 0.9, SHRINKS at start;
    /// Steps over which the learning rate grows.
    warmup_steps, with_warmup_steps: usize = 0, ANY;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE,
        shown_with r#"{"warmup_steps": 10}"#;
    /// Times `1 - momentum`, a factor on each step's share of the average: above `1/(1 - momentum)` it
    /// remembers less.
    decoupling_c, with_decoupling_c: Option<f64> = None, POSITIVE,
        shown_with r#"{"momentum": 0.8}"#;
}

impl Rule for ScheduleFreeSgd {
    type State<V: Value> = [V; 1];
    type Coefs = Averaged;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaging::memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Averaged> {
        let &Self { momentum, r, weight_lr_power, decoupling_c, .. } = self;
        let averaging = Averaging { momentum, r, weight_lr_power, decoupling_c };
        let lr = warmed(clock, self.warmup_steps);
        Step::new(1.0, averaging.step(clock, lr))
    }

    #[inline(always)]
    fn direction<V: Value>(averaged: &Averaged, y: &V, grad: V, [z]: [V; 1]) -> (V, [V; 1]) {
        let (descent, z) = averaged.go(y, z, grad);
        (descent, [z])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, y: V, [z]: [V; 1]) -> V {
        Averaging::average(self.momentum, y, z)
    }
}
