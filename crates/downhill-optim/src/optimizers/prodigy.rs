use downhill_rule::{Clock, Field, Look, Scope, Size, Slot, Step, Value, bias_correction, ema};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Prodigy: [`Adam`](crate::Adam) that finds its learning rate itself, as the distance `d` to the solution that
    /// the gradients of the whole model make plausible.
    ///
    /// ```text
    /// r = d·lr,   times sqrt(1 - beta_2^t)/(1 - beta_1^t) with use_bias_correction
    /// num ← beta_3·num + d/d0·r·⟨g, p0 - p⟩
    /// s ← beta_3·s + d/d0·r·g,   d/d0·d·g with safeguard_warmup
    /// d' = d_coef·num/Σ|s|,   d_max ← max(d_max, d'),   d ← min(d_max, growth_rate·d) once d > d0
    /// m ← beta_1·m + (1 - beta_1)·d·g,   v ← beta_2·v + (1 - beta_2)·d²·g²     with d as it was
    /// p ← p - r·(m/(sqrt(v) + d·epsilon) + weight_decay·p)                     with the new d in front of epsilon
    /// ```
    ///
    /// Products and sums are over the whole model, so a driver has to step it. Leave `learning_rate` at 1 and let a
    /// schedule multiply it; with a warmup set `safeguard_warmup`. `d` never falls. State: `exp_avg`, `exp_avg_sq`,
    /// `p0`, `s`; of the model `d`, `d_max`, `d_numerator`. Source: Mishchenko & Defazio, arXiv 2306.06101, and the
    /// authors' prodigyopt, without its `slice_p`. With gradients of nothing but zeros from the start it counts
    /// steps, and prodigyopt does not. optax's form is [`optax`](ProdigyConfig::optax).
    Prodigy as ProdigyConfig, "prodigy" {
        learning_rate: 1.0,
        paper: "Mishchenko & Defazio, arXiv 2306.06101",
        description: "adam that finds its learning rate from the whole model",
        decay: Decay::own(0.0),
        example: ".with_safeguard_warmup(true)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Decay of the estimate's sums; none for the root of `beta_2`.
    beta_3, with_beta_3: Option<f64> = None, DECAY;
    /// Added to the root, times `d`.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// The distance to begin with.
    d0, with_d0: f64 = 1e-6, POSITIVE at start;
    /// Multiplies the estimate.
    d_coef, with_d_coef: f64 = 1.0, POSITIVE;
    /// How much `d` can grow in one step, as a factor; none for no limit.
    growth_rate, with_growth_rate: Option<f64> = None, AT_LEAST_ONE;
    /// Whether the means' biases are corrected.
    use_bias_correction, with_use_bias_correction: bool = false, ANY;
    /// Whether the learning rate is left out of `s`, so that a warmup does not make `d` too large.
    safeguard_warmup, with_safeguard_warmup: bool = false, ANY;
    => |rule, shared| shared.look_own(rule)
}

impl Config<Prodigy> {
    /// `optax.contrib.prodigy`: with bias correction.
    pub fn optax() -> Self {
        Self::new().with_use_bias_correction(true)
    }
}

/// The settings, and what the host knows of a step.
#[derive(Clone, Copy, Debug)]
pub struct ProdigyCoefs {
    rule: Prodigy,
    /// `r/d`, and what stands in its place in `s`.
    rate: f64,
    rate_of_s: f64,
    beta_3: f64,
    decay: f64,
}

impl Look for Prodigy {
    type State<V: Value> = [V; 4];
    type Kept<V: Value> = [V; 3];
    type Sums<V: Value> = [V; 2];
    /// `d`, and `d` as it was.
    type Known<V: Value> = [V; 2];
    type Coefs = ProdigyCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq"), Slot::param("p0"), Slot::zeros("s")]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::filled("d", self.d0), Slot::filled("d_max", self.d0), Slot::zeros("d_numerator")]
    }

    fn scope(&self) -> Scope {
        Scope::Model
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<ProdigyCoefs> {
        let correction = match self.use_bias_correction {
            true => {
                let root = bias_correction(self.beta_2, clock.t()).sqrt();
                root / bias_correction(self.beta_1, clock.t())
            }
            false => 1.0,
        };
        let rate = clock.lr * correction;
        let coefs = ProdigyCoefs {
            rule: *self,
            rate,
            rate_of_s: if self.safeguard_warmup { 1.0 } else { rate },
            beta_3: self.beta_3.unwrap_or(self.beta_2.sqrt()),
            decay: clock.weight_decay,
        };
        Step::new(rate, coefs)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &ProdigyCoefs, [d, _]: &[V; 2], param: &V, grad: V, [_, _, p0, s]: [V; 4],
    ) -> [V; 2] {
        let way = grad.clone().scale(coefs.rate) * (p0 - param.clone());
        [way, coefs.sum(s, grad, d).abs()]
    }

    fn settle<const LOOK: usize, V: Field>(
        ProdigyCoefs { rule, beta_3, .. }: &ProdigyCoefs,
        [way, sum]: [V; 2], _: &Size, _: [V; 2], [d, d_max, numerator]: [V; 3],
    ) -> ([V; 2], [V; 3]) {
        let way = way * d.clone().square().scale(rule.d0.recip());
        let numerator = numerator.scale(*beta_3) + way;
        let none = sum.clone().scale(0.0);
        let found = sum.clone().select(numerator.clone().scale(rule.d_coef) / sum, none);
        let d_max = d_max.maximum(found.clone());
        let grown = match rule.growth_rate {
            Some(limit) => {
                // Until it has moved, `d` follows without limit; it is rounded in single precision.
                let moved = d.clone().offset(-rule.d0 * (1.0 + 1e-6));
                let from = moved.select(d.clone(), d.clone().maximum(found));
                d_max.clone().minimum(from.scale(limit))
            }
            None => d_max.clone(),
        };
        ([grown.clone(), d], [grown, d_max, numerator])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &ProdigyCoefs, [d, before]: &[V; 2], param: &V, grad: V, [m, v, p0, s]: [V; 4],
    ) -> (V, [V; 4]) {
        let ProdigyCoefs { rule, decay, .. } = coefs;
        let scaled = grad.clone() * before.clone();
        let m = ema(m, scaled.clone(), rule.beta_1);
        let v = ema(v, scaled.square(), rule.beta_2);
        let root = v.clone().sqrt() + d.clone().scale(rule.epsilon);
        let u = (m.clone() / root).add_scaled(param, *decay);
        (u * before.clone(), [m, v, p0, coefs.sum(s, grad, before)])
    }
}

impl ProdigyCoefs {
    /// `s` after this step.
    #[inline(always)]
    fn sum<V: Value>(&self, s: V, grad: V, d: &V) -> V {
        let share = d.clone().square().scale(self.rate_of_s / self.rule.d0);
        s.scale(self.beta_3) + grad * share
    }
}
