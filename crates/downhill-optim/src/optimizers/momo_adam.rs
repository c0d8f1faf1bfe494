use downhill_rule::{
    Clock, Field, Look, Numbers, Scope, Size, Slot, Step, Value, bias_correction, ema,
};

use super::momo::{Expected, Polyak};
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// MoMo-Adam: [`Adam`](crate::Adam) that goes as far as the loss that past batches expect is above its lower
    /// bound.
    ///
    /// ```text
    /// f, d, γ as of MoMo, from 0, with beta_1;   v ← beta_2·v + (1 - beta_2)·g²
    /// D = epsilon + sqrt(v/(1 - beta_2^t)),   B = 1 - beta_1^t
    /// L = 1 + lr·weight_decay,   h = L·(f - γ) + ⟨d, p⟩
    /// tau = min(lr/B, max(h - L·B·lower_bound, 0)/Σ d²/D)
    /// p ← (p - tau·d/D)/L
    /// ```
    ///
    /// Where the limit lr/B holds it is Adam. Sums are over the whole model, and the loss is the batch's, so a driver
    /// has to step it and be told the loss of each micro-batch. `adaptive_lower_bound` as of [`Momo`](crate::Momo).
    ///
    /// State: `exp_avg` (d), `exp_avg_sq` (v); of the model `loss_avg` (f), `grad_dot_param` (γ), and `lower_bound`
    /// where it adapts. Source: Schaipp et al., arXiv 2305.07583, as the authors' momo.
    MomoAdam as MomoAdamConfig, "momo_adam" {
        learning_rate: 1e-2,
        paper: "Schaipp et al., arXiv 2305.07583",
        description: "adam that goes as far as the loss is above its bound",
        decay: Decay::own(0.0),
        maximize: false,
        example: ".with_lower_bound(0.1)",
    }
    /// Decay of the means of gradient and loss.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// What the loss is not below.
    lower_bound, with_lower_bound: f64 = 0.0, FINITE;
    /// Whether the bound follows the losses.
    adaptive_lower_bound, with_adaptive_lower_bound: bool = false, ANY;
    => |rule, shared| match rule.adaptive_lower_bound {
        false => shared.look_own(Bounded::<0>(rule)),
        true => shared.look_own(Bounded::<1>(rule)),
    }
}

/// With `A` bounds that adapt.
#[derive(Clone)]
struct Bounded<const A: usize>(MomoAdam);

impl<const A: usize> Numbers for Bounded<A> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

/// The settings, the root of the second moment's bias correction as a factor, and what the losses say.
type Coefs = (MomoAdam, f64, Polyak);

impl<const A: usize> Look for Bounded<A> {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = Expected<V, A>;
    /// Gradient and mean times parameter, and the mean's square over D.
    type Sums<V: Value> = [V; 3];
    type Known<V: Value> = [V; 1];
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn kept(&self) -> Vec<Slot> {
        Polyak::kept::<A>(self.0.lower_bound)
    }

    fn scope(&self) -> Scope {
        Scope::Model
    }

    fn needs_loss(&self) -> bool {
        true
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        let MomoAdam { beta_1, beta_2, lower_bound, .. } = self.0;
        let polyak = Polyak::new(clock, beta_1, bias_correction(beta_1, clock.t()), lower_bound);
        let root = bias_correction(beta_2, clock.t()).sqrt().recip();
        Step::new(1.0, (self.0, root, polyak))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Coefs, _: &[V; 1], param: &V, grad: V, state: [V; 2],
    ) -> [V; 3] {
        let (way, [d, _]) = adam(coefs, grad.clone(), state);
        [grad * param.clone(), d.clone() * param.clone(), d * way]
    }

    fn settle<const LOOK: usize, V: Field>(
        (_, _, polyak): &Coefs, sums: [V; 3], _: &Size, _: [V; 1], kept: Expected<V, A>,
    ) -> ([V; 1], Expected<V, A>) {
        polyak.settle(sums, kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Coefs, [share]: &[V; 1], param: &V, grad: V, state: [V; 2],
    ) -> (V, [V; 2]) {
        let (way, state) = adam(coefs, grad, state);
        (coefs.2.taken(param, way * share.clone()), state)
    }
}

/// `d/D`, and the state.
#[inline(always)]
fn adam<V: Value>((rule, root, _): &Coefs, grad: V, [d, v]: [V; 2]) -> (V, [V; 2]) {
    let d = ema(d, grad.clone(), rule.beta_1);
    let v = ema(v, grad.square(), rule.beta_2);
    let guarded = v.clone().sqrt().scale(*root).offset(rule.epsilon);
    (d.clone() / guarded, [d, v])
}
