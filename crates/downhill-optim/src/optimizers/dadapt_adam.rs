use downhill_rule::{Clock, Field, Look, Scope, Size, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// D-Adaptation of [`Adam`](crate::Adam): the learning rate is the distance `d` to the solution, of which the
    /// gradients of the whole model give a bound from below.
    ///
    /// ```text
    /// r = d·lr,   times sqrt(1 - beta_2^t)/(1 - beta_1^t) with use_bias_correction;   q = sqrt(beta_2)
    /// num ← q·num + (1 - q)·r·⟨g, s/(sqrt(v) + epsilon)⟩
    /// m ← beta_1·m + (1 - beta_1)·r·g,   v ← beta_2·v + (1 - beta_2)·g²,   s ← q·s + (1 - q)·r·g
    /// d ← max(d, min(num/((1 - q)·Σ|s|), growth_rate·d))
    /// p ← p - m/(sqrt(v) + epsilon) - weight_decay·r·p
    /// ```
    ///
    /// Products and sums are over the whole model, so a driver has to step it. Leave `learning_rate` at 1 and let a
    /// schedule multiply it. `d` never falls. State: `exp_avg`, `exp_avg_sq`, `s`; of the model `d` and
    /// `numerator_weighted`. Source: Defazio & Mishchenko, arXiv 2301.07733, Algorithm 5, and the authors'
    /// dadaptation. [`Prodigy`](crate::Prodigy) is theirs too, and finds `d` faster.
    DAdaptAdam as DAdaptAdamConfig, "dadapt_adam" {
        learning_rate: 1.0,
        paper: "Defazio & Mishchenko, arXiv 2301.07733",
        description: "adam whose learning rate is a bound on the distance to go",
        decay: Decay::own(0.0),
        example: ".with_growth_rate(Some(1.02))",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// The distance to begin with.
    d0, with_d0: f64 = 1e-6, POSITIVE at start;
    /// How much `d` can grow in one step, as a factor; none for no limit.
    growth_rate, with_growth_rate: Option<f64> = None, AT_LEAST_ONE;
    /// Whether the means' biases are corrected.
    use_bias_correction, with_use_bias_correction: bool = false, ANY;
    => |rule, shared| shared.look_own(rule)
}

/// The settings, and what the host knows of a step.
#[derive(Clone, Copy, Debug)]
pub struct DAdaptCoefs {
    rule: DAdaptAdam,
    /// `r/d`
    rate: f64,
    q: f64,
    decay: f64,
}

impl Look for DAdaptAdam {
    type State<V: Value> = [V; 3];
    type Kept<V: Value> = [V; 2];
    type Sums<V: Value> = [V; 2];
    /// `d` as it was.
    type Known<V: Value> = [V; 1];
    type Coefs = DAdaptCoefs;

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_sq", "s"].map(Slot::zeros).to_vec()
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::filled("d", self.d0), Slot::zeros("numerator_weighted")]
    }

    fn scope(&self) -> Scope {
        Scope::Model
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<DAdaptCoefs> {
        let correction = match self.use_bias_correction {
            true => {
                let root = bias_correction(self.beta_2, clock.t()).sqrt();
                root / bias_correction(self.beta_1, clock.t())
            }
            false => 1.0,
        };
        let (rule, q, decay) = (*self, self.beta_2.sqrt(), clock.weight_decay);
        Step::new(1.0, DAdaptCoefs { rule, rate: clock.lr * correction, q, decay })
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &DAdaptCoefs, [d]: &[V; 1], _: &V, grad: V, [_, v, s]: [V; 3],
    ) -> [V; 2] {
        let grad = grad.scale(coefs.rate) * d.clone();
        let along = grad.clone() * s.clone() / v.sqrt().offset(coefs.rule.epsilon);
        [along, ema(s, grad, coefs.q).abs()]
    }

    fn settle<const LOOK: usize, V: Field>(
        DAdaptCoefs { rule, q, .. }: &DAdaptCoefs,
        [along, sum]: [V; 2], _: &Size, _: [V; 1], [d, numerator]: [V; 2],
    ) -> ([V; 1], [V; 2]) {
        let numerator = ema(numerator, along, *q);
        let none = sum.clone().scale(0.0);
        let found = sum.clone().select(numerator.clone() / sum.scale(1.0 - q), none);
        let found = match rule.growth_rate {
            Some(limit) => found.minimum(d.clone().scale(limit)),
            None => found,
        };
        let grown = d.clone().maximum(found);
        ([d], [grown, numerator])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &DAdaptCoefs, [d]: &[V; 1], param: &V, grad: V, [m, v, s]: [V; 3],
    ) -> (V, [V; 3]) {
        let DAdaptCoefs { rule, rate, q, decay } = coefs;
        let scaled = grad.clone().scale(*rate) * d.clone();
        let m = ema(m, scaled.clone(), rule.beta_1);
        let v = ema(v, grad.square(), rule.beta_2);
        let s = ema(s, scaled, *q);
        let lost = d.clone().scale(rate * decay) * param.clone();
        let u = m.clone() / v.clone().sqrt().offset(rule.epsilon);
        (u + lost, [m, v, s])
    }
}
