use downhill_rule::{Clock, Debiased, Look, Numbers, Optional, Slot, Step, Value, ema, Field, Size};

use crate::decay::Decay;
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// What [`Mars`] makes of the corrected gradient.
    MarsVariant {
        /// AdamW's direction.
        AdamW = "adamw",
        /// The sign of a mean.
        Lion = "lion",
    }
}

optimizer! {
    /// MARS: [`AdamW`](crate::AdamW) on gradients that are corrected by their last change, against the noise of batches.
    ///
    /// ```text
    /// c = g + gamma·beta_1/(1 - beta_1)·(g - g_before),   c ← c/max(1, |c|)
    /// m ← beta_1·m + (1 - beta_1)·c,   v ← beta_2·v + (1 - beta_2)·c²
    /// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon),   or sign(m)
    /// ```
    ///
    /// Before the first step the gradient was 0. Vectors are not corrected, and have decays of their own, unless
    /// `optimize_1d`. State: `exp_avg`, `exp_avg_sq` (not with the sign), `last_grad`. Source: Yuan et al., arXiv
    /// 2411.10438; the authors' code, which has another learning rate for vectors too: give them a group.
    Mars as MarsConfig, "mars" {
        learning_rate: 3e-3,
        state: "3n, 2n in the lion variant",
        paper: "Yuan et al., arXiv 2411.10438",
        description: "adamw on gradients that are corrected by their last change",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.1)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.95, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.99, DECAY;
    /// Weight of the correction.
    gamma, with_gamma: f64 = 0.025, NOT_NEGATIVE;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Which direction.
    variant, with_variant: MarsVariant = MarsVariant::AdamW, ANY;
    /// Whether vectors are corrected too.
    optimize_1d, with_optimize_1d: bool = false, ANY;
    /// Decay of the mean of a vector's gradient.
    beta_1_1d, with_beta_1_1d: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2_1d, with_beta_2_1d: f64 = 0.95, DECAY;
    => |rule, shared| match rule.variant {
        MarsVariant::AdamW => shared.look(Corrected::<1>(rule)),
        MarsVariant::Lion => shared.look(Corrected::<0>(rule)),
    }
}

/// The settings for a shape with bias corrections, the weight of the correction, and whether it is clipped.
type Coefs = (Debiased<Mars>, f64, bool);

impl Mars {
    fn step(&self, clock: &Clock, shape: &[usize]) -> Step<Coefs> {
        let (rule, weight, clips) = match self.optimize_1d || shape.len() > 1 {
            true => (*self, self.gamma * self.beta_1 / (1.0 - self.beta_1), true),
            false => {
                let (beta_1, beta_2) = (self.beta_1_1d, self.beta_2_1d);
                (Self { beta_1, beta_2, ..*self }, 0.0, false)
            }
        };
        let debiased = Debiased::new(rule, rule.beta_1, rule.beta_2, clock.t());
        Step::new(clock.lr, (debiased, weight, clips))
    }

    #[inline(always)]
    fn corrected<V: Value>((_, weight, _): &Coefs, grad: &V, last: V) -> V {
        grad.clone().add_scaled(&(grad.clone() - last), *weight)
    }

    /// The corrected gradient, and shorter where it is clipped. What is known of the whole must not reach a vector
    /// that is not: it can be NaN.
    #[inline(always)]
    fn clipped<V: Value>(coefs: &Coefs, shorter: &V, grad: &V, last: V) -> V {
        let corrected = Self::corrected(coefs, grad, last);
        if coefs.2 { corrected * shorter.clone() } else { corrected }
    }
}

/// With `M` second moments: one, or none and the sign of the mean for a direction.
#[derive(Clone)]
struct Corrected<const M: usize>(Mars);

impl<const M: usize> Numbers for Corrected<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const M: usize> Look for Corrected<M> {
    type State<V: Value> = ([V; 1], (Optional<V, M>, [V; 1]));
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![Slot::zeros("exp_avg")];
        slots.extend([Slot::zeros("exp_avg_sq"); M]);
        slots.push(Slot::zeros("last_grad"));
        slots
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<Coefs> {
        self.0.step(clock, shape)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Coefs,
        _: &[V; 1],
        _: &V,
        grad: V,
        (_, (_, [last])): Self::State<V>,
    ) -> [V; 1] {
        [Mars::corrected(coefs, &grad, last).square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &Coefs,
        [squares]: [V; 1],
        _: &Size,
        _: [V; 1],
        kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([squares.sqrt().clamp_min(1.0).recip()], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Coefs,
        [shorter]: &[V; 1],
        _: &V,
        grad: V,
        ([m], (second, [last])): Self::State<V>,
    ) -> (V, Self::State<V>) {
        let (debiased, ..) = coefs;
        let c = Mars::clipped(coefs, shorter, &grad, last);
        let m = ema(m, c.clone(), debiased.rule.beta_1);
        let second = second.map(|v| ema(v, c.clone().square(), debiased.rule.beta_2));
        let u = match second.get() {
            Some(v) => {
                let root = debiased.root(v.clone()).offset(debiased.rule.epsilon);
                debiased.mean(m.clone()) / root
            }
            None => m.clone().sign(),
        };
        (u, ([m], (second, [grad])))
    }
}
