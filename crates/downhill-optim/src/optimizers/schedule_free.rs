use downhill_rule::{Clock, Debiased, Numbers, Rule, Scalar, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

/// The learning rate and the share of the average of one step.
#[derive(Clone, Copy, Debug)]
struct Averaged {
    lr: f64,
    share: f64,
}

impl Averaged {
    fn memory() -> Vec<Scalar> {
        vec![Scalar::new("weight_sum", 0.0), Scalar::new("lr_max", 0.0)]
    }

    /// A step counts by its number to the power of `r`, times the largest rate to that of `power`.
    fn new(clock: &mut Clock, warmup: usize, r: f64, power: f64) -> Self {
        let lr = clock.lr * (clock.t() / warmup as f64).min(1.0);
        let largest = clock.memory[1].max(lr);
        let weight = clock.t().powf(r) * largest.powf(power);
        let sum = clock.memory[0] + weight;
        (clock.memory[0], clock.memory[1]) = (sum, largest);
        let share = if sum == 0.0 { 0.0 } else { weight / sum };
        Self { lr, share }
    }

    /// `y`'s descent, and `z` after it, under the direction `d` of the rule inside.
    #[inline(always)]
    fn go<V: Value>(&self, momentum: f64, y: &V, z: V, d: V) -> (V, V) {
        let ahead = self.lr * (1.0 - momentum * (1.0 - self.share));
        let descent = (y.clone() - z.clone()).scale(self.share) + d.clone().scale(ahead);
        (descent, z - d.scale(self.lr))
    }
}

/// The average `x`, from what is trained and `z`.
fn average<V: Value>(momentum: f64, y: V, z: V) -> V {
    let way = (z - y.clone()).scale(1.0 - momentum.recip());
    y + way
}

optimizer! {
    /// Schedule-Free SGD: an average of the steps takes the place of a falling learning rate.
    ///
    /// ```text
    /// w = t^r·lr_max^weight_lr_power,   c = w/(sum of all w)
    /// y ← y + c·(z - y) + lr·(momentum·(1 - c) - 1)·g,   z ← z - lr·g
    /// x = y + (1 - 1/momentum)·(z - y)
    /// ```
    ///
    /// The model holds `y`, where gradients are taken; `x` is what to evaluate and to keep: see `evaluated`.
    /// Statistics of batch normalisation are those at `y`. The rate needs no schedule but a warmup, and is
    /// larger than that of SGD. Weight decay is taken at `y`. State: `z`, and the scalars `weight_sum`,
    /// `lr_max`. Source: Defazio et al., arXiv 2405.15682; the package schedulefree 1.4.1.
    ///
    /// ```
    /// use downhill_optim::ScheduleFreeSgdConfig;
    ///
    /// let optim = ScheduleFreeSgdConfig::new().with_warmup_steps(100).init();
    /// ```
    ScheduleFreeSgd as ScheduleFreeSgdConfig, "schedule_free_sgd" {
        learning_rate: 1.0,
        paper: "Defazio et al., arXiv 2405.15682",
        description: "gradient descent with an average instead of a schedule",
        decay: Decay::coupled(0.0),
    }
    /// Where between `z` and the average gradients are taken.
    momentum, with_momentum: f64 = 0.9, SHRINKS;
    /// Steps over which the learning rate grows.
    warmup_steps, with_warmup_steps: usize = 0, ANY;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE,
        shown_with r#"{"warmup_steps": 10}"#;
}

/// The momentum and the step's share.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleFreeSgdCoefs {
    momentum: f64,
    averaged: Averaged,
}

impl Rule for ScheduleFreeSgd {
    type State<V: Value> = [V; 1];
    type Coefs = ScheduleFreeSgdCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaged::memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<ScheduleFreeSgdCoefs> {
        let averaged = Averaged::new(clock, self.warmup_steps, self.r, self.weight_lr_power);
        Step::new(1.0, ScheduleFreeSgdCoefs { momentum: self.momentum, averaged })
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &ScheduleFreeSgdCoefs,
        param: &V,
        grad: V,
        [z]: [V; 1],
    ) -> (V, [V; 1]) {
        let (descent, z) = coefs.averaged.go(coefs.momentum, param, z, grad);
        (descent, [z])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, param: V, [z]: [V; 1]) -> V {
        average(self.momentum, param, z)
    }
}

optimizer! {
    /// Schedule-Free AdamW: [`ScheduleFreeSgd`] along the gradient over its root mean square.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·g²
    /// d = g/(sqrt(v/(1 - beta_2^t)) + epsilon) + weight_decay·y
    /// y ← y + c·(z - y) + lr·(beta_1·(1 - c) - 1)·d,   z ← z - lr·d
    /// ```
    ///
    /// The rest is as there. State: `z`, `exp_avg_sq`, and the scalars `weight_sum`, `lr_max`. Source: Defazio
    /// et al., arXiv 2405.15682; the package schedulefree 1.4.1.
    ///
    /// ```
    /// use downhill_optim::ScheduleFreeAdamWConfig;
    ///
    /// let optim = ScheduleFreeAdamWConfig::new().with_warmup_steps(1000).init();
    /// ```
    ScheduleFreeAdamW as ScheduleFreeAdamWConfig, "schedule_free_adamw" {
        learning_rate: 2.5e-3,
        paper: "Defazio et al., arXiv 2405.15682",
        description: "adamw with an average instead of a schedule",
        decay: Decay::own(0.0),
    }
    /// Where between `z` and the average gradients are taken.
    beta_1, with_beta_1: f64 = 0.9, SHRINKS;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Steps over which the learning rate grows.
    warmup_steps, with_warmup_steps: usize = 0, ANY;
    /// How much more later steps count in the average.
    r, with_r: f64 = 0.0, NOT_NEGATIVE;
    /// How much more steps of a larger rate count.
    weight_lr_power, with_weight_lr_power: f64 = 2.0, NOT_NEGATIVE,
        shown_with r#"{"warmup_steps": 10}"#;
    => |rule, shared| shared.run_own(AtY { rule, weight_decay: shared.weight_decay })
}

/// The rule with its decay, which is taken after the gradient is normalised.
#[derive(Clone, Copy, Debug)]
struct AtY {
    rule: ScheduleFreeAdamW,
    weight_decay: f64,
}

/// The settings with a bias correction, the decay and the step's share.
#[derive(Clone, Copy, Debug)]
struct AtYCoefs {
    debiased: Debiased<ScheduleFreeAdamW>,
    weight_decay: f64,
    averaged: Averaged,
}

impl Numbers for AtY {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "weight_decay" => Some(&mut self.weight_decay),
            _ => self.rule.number_mut(name),
        }
    }
}

impl Rule for AtY {
    type State<V: Value> = [V; 2];
    type Coefs = AtYCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        Averaged::memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AtYCoefs> {
        let rule = self.rule;
        let coefs = AtYCoefs {
            debiased: Debiased::new(rule, rule.beta_1, rule.beta_2, clock.t()),
            weight_decay: self.weight_decay,
            averaged: Averaged::new(clock, rule.warmup_steps, rule.r, rule.weight_lr_power),
        };
        Step::new(1.0, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &AtYCoefs, param: &V, grad: V, [z, v]: [V; 2]) -> (V, [V; 2]) {
        let rule = &coefs.debiased.rule;
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let root = coefs.debiased.root(v.clone()).offset(rule.epsilon);
        let normal = (grad / root).add_scaled(param, coefs.weight_decay);
        let (descent, z) = coefs.averaged.go(rule.beta_1, param, z, normal);
        (descent, [z, v])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, param: V, [z, _]: [V; 2]) -> V {
        average(self.rule.beta_1, param, z)
    }
}
