use core::f64::consts::PI;

use downhill_rule::{Clock, Field, Fold, Look, Size, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Stable-SPAM: [`Adam`](crate::Adam) for training in few bits: spikes of the gradient are clipped, its norm is
    /// brought to what it usually is, and the moments begin anew from time to time.
    ///
    /// ```text
    /// M ← theta·M + (1 - theta)·max|g|,   L = M/(1 - theta^t)
    /// g ← g·L/max|g|   where |g| > L
    /// a ← gamma_1·a + (1 - gamma_1)·|g|,   b ← gamma_2·b + (1 - gamma_2)·|g|²
    /// g ← g/|g|·a/(1 - gamma_1^t)/(sqrt(b/(1 - gamma_2^t)) + epsilon)
    /// u = m/(1 - beta_1^k)/(sqrt(v/(1 - beta_2^k)) + epsilon),   m, v of this g
    /// ```
    ///
    /// Every `reset_every` steps m and v become 0 and k 1. With `t_max`, `beta_1` and `gamma_1` fall on a cosine to
    /// `eta_min` times themselves. A gradient of zeros moves and changes nothing but M. State: `exp_avg`,
    /// `exp_avg_sq`, and `m_norm` (a), `v_norm` (b), `m_max` (M), one number each. Source: Huang et al., arXiv
    /// 2502.17055, as pytorch_optimizer; the authors' code corrects the norms' biases by k.
    StableSpam as StableSpamConfig, "stable_spam" {
        learning_rate: 1e-3,
        state: "2n + 3",
        paper: "Huang et al., arXiv 2502.17055",
        description: "adam with clipped spikes, a steady norm and moments that begin anew",
        decay: Decay::decoupled(0.0),
        example: ".with_reset_every(500)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the roots.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Decay of the mean of the norm.
    gamma_1, with_gamma_1: f64 = 0.7, DECAY;
    /// Decay of the mean of its square.
    gamma_2, with_gamma_2: f64 = 0.9, DECAY;
    /// Decay of the mean of the largest element.
    theta, with_theta: f64 = 0.999, DECAY;
    /// Steps over which `beta_1` and `gamma_1` fall; none for never.
    t_max, with_t_max: Option<f64> = None, AT_LEAST_ONE;
    /// What is left of them.
    eta_min, with_eta_min: f64 = 0.5, SHARE, needs t_max;
    /// Steps after which the moments begin anew.
    reset_every, with_reset_every: usize = 1000, AT_LEAST_ONE;
    => |rule, shared| shared.look(rule)
}

/// What the host knows of a step.
#[derive(Clone, Copy, Debug)]
pub struct StableSpamCoefs {
    rule: StableSpam,
    beta_1: f64,
    gamma_1: f64,
    /// Bias corrections of the largest element, the norm and its square.
    corrections: [f64; 3],
    root: f64,
    /// Whether the moments stay.
    keep: f64,
}

impl StableSpam {
    /// What is left of `beta_1` and `gamma_1`.
    fn share(&self, t: f64) -> f64 {
        match self.t_max {
            None => 1.0,
            Some(t_max) if t >= t_max => self.eta_min,
            Some(t_max) => {
                let at = |t: f64| 1.0 + (PI * t / (t_max + 1.0)).cos();
                self.eta_min + (1.0 - self.eta_min) * at(t + 1.0) / at(1.0)
            }
        }
    }
}

impl Look for StableSpam {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 3];
    type Sums<V: Value> = [V; 1];
    /// The limit L, L/max|g|, what the clipped gradient is multiplied by, and whether there is one.
    type Known<V: Value> = [V; 4];
    type Coefs = StableSpamCoefs;
    const LOOKS: usize = 2;

    fn fold(look: usize) -> Fold {
        if look == 0 { Fold::Max } else { Fold::Sum }
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn kept(&self) -> Vec<Slot> {
        ["m_norm", "v_norm", "m_max"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<StableSpamCoefs> {
        let (t, share, every) = (clock.t(), self.share(clock.t()), self.reset_every as u64);
        let since = clock.step % every;
        let k = if clock.step < every { t } else { since as f64 + 1.0 };
        let (beta_1, gamma_1) = (self.beta_1 * share, self.gamma_1 * share);
        let coefs = StableSpamCoefs {
            rule: *self,
            beta_1,
            gamma_1,
            corrections: [self.theta, gamma_1, self.gamma_2].map(|decay| bias_correction(decay, t)),
            root: bias_correction(self.beta_2, k).sqrt().recip(),
            keep: if since == 0 { 0.0 } else { 1.0 },
        };
        Step::new(clock.lr / bias_correction(beta_1, k), coefs)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &StableSpamCoefs, known: &[V; 4], _: &V, grad: V, _: [V; 2],
    ) -> [V; 1] {
        match LOOK {
            0 => [grad.abs()],
            _ => [clipped(known, grad).square()],
        }
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &StableSpamCoefs, [sum]: [V; 1], _: &Size, [limit, shrink, ..]: [V; 4], [a, b, max]: [V; 3],
    ) -> ([V; 4], [V; 3]) {
        let StableSpamCoefs { rule, gamma_1, corrections, .. } = coefs;
        let one = sum.clone().filled(1.0);
        if LOOK == 0 {
            let max = ema(max, sum.clone(), rule.theta);
            let limit = max.clone().scale(corrections[0].recip());
            let shrink = sum.clone().select(limit.clone() / sum, one.clone());
            return ([limit, shrink, one.clone(), one], [a, b, max]);
        }
        let norm = sum.clone().sqrt();
        let a = norm.clone().select(ema(a.clone(), norm.clone(), *gamma_1), a);
        let b = norm.clone().select(ema(b.clone(), sum, rule.gamma_2), b);
        let usual = b.clone().scale(corrections[2].recip()).sqrt().offset(rule.epsilon);
        let target = a.clone().scale(corrections[1].recip()) / usual;
        let there = norm.clone().heaviside();
        let factor = norm.clone().select(target / norm, one.scale(0.0));
        ([limit, shrink, factor, there], [a, b, max])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &StableSpamCoefs, known: &[V; 4], _: &V, grad: V, [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let [.., factor, there] = known;
        let grad = clipped(known, grad) * factor.clone();
        let (m, v) = (m.scale(coefs.keep), v.scale(coefs.keep));
        // Means, and what they were where there is no gradient.
        let mean = |mean: V, value: V, beta: f64| {
            let weight = there.clone().scale(1.0 - beta);
            mean * weight.clone().scale(-1.0).offset(1.0) + value * weight
        };
        let m = mean(m, grad.clone(), coefs.beta_1);
        let v = mean(v, grad.square(), coefs.rule.beta_2);
        let root = v.clone().sqrt().scale(coefs.root).offset(coefs.rule.epsilon);
        (m.clone() / root * there.clone(), [m, v])
    }
}

/// The gradient, with its spikes at the limit.
#[inline(always)]
fn clipped<V: Value>([limit, shrink, ..]: &[V; 4], grad: V) -> V {
    let above = (grad.clone().abs() - limit.clone()).heaviside();
    // Times the shrinkage above the limit, and 1 below.
    let less = shrink.clone().offset(-1.0) * above;
    grad * less.offset(1.0)
}
