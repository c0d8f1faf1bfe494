use downhill_rule::{Clock, Field, Look, Numbers, Optional, Scope, Size, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// MoMo: momentum whose rate is Polyak's: it goes as far as the loss that past batches expect is above its lower
    /// bound.
    ///
    /// ```text
    /// f ← beta·f + (1 - beta)·loss,   d ← beta·d + (1 - beta)·g,   γ ← beta·γ + (1 - beta)·⟨g, p⟩
    /// L = 1 + lr·weight_decay,   h = L·(f - γ) + ⟨d, p⟩
    /// tau = min(lr, max(h - L·lower_bound, 0)/|d|²)
    /// p ← (p - tau·d)/L
    /// ```
    ///
    /// In the first step beta is 0. Products and norms are of the whole model, and the loss is the batch's, so a
    /// driver has to step it and be told the loss of each micro-batch. With `adaptive_lower_bound`, `lower_bound` is
    /// where the bound begins and what it cannot be below: where h is below it, it becomes h/(2L), and after each
    /// step f - γ + ⟨d, p⟩ - tau·|d|²/2.
    ///
    /// State: `exp_avg` (d); of the model `loss_avg` (f), `grad_dot_param` (γ), and `lower_bound` where it adapts.
    /// Source: Schaipp et al., arXiv 2305.07583, as the authors' momo; optax decays the parameter alone.
    Momo as MomoConfig, "momo" {
        learning_rate: 1.0,
        paper: "Schaipp et al., arXiv 2305.07583",
        description: "momentum that goes as far as the loss is above its bound",
        decay: Decay::own(0.0),
        maximize: false,
        example: ".with_lower_bound(0.1)",
    }
    /// Decay of the means.
    beta, with_beta: f64 = 0.9, DECAY;
    /// What the loss is not below.
    lower_bound, with_lower_bound: f64 = 0.0, FINITE;
    /// Whether the bound follows the losses.
    adaptive_lower_bound, with_adaptive_lower_bound: bool = false, ANY;
    => |rule, shared| match rule.adaptive_lower_bound {
        false => shared.look_own(Bounded::<0>(rule)),
        true => shared.look_own(Bounded::<1>(rule)),
    }
}

/// What the losses say about how far to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polyak {
    /// The loss, and its weight in the mean.
    pub loss: f64,
    pub weight: f64,
    /// The largest step.
    pub limit: f64,
    /// What a mean of ones would be.
    pub correction: f64,
    /// `1 + lr·weight_decay`
    pub growth: f64,
    pub lower_bound: f64,
}

/// The means of the loss and of gradient times parameter, and a bound that adapts.
pub(super) type Expected<V, const A: usize> = ([V; 2], Optional<V, A>);

impl Polyak {
    /// For a step of this clock.
    pub fn new(clock: &Clock, beta: f64, correction: f64, lower_bound: f64) -> Self {
        Self {
            loss: clock.loss.unwrap_or_default(),
            weight: 1.0 - beta,
            limit: clock.lr / correction,
            correction,
            growth: 1.0 + clock.lr * clock.weight_decay,
            lower_bound,
        }
    }

    /// The step as a share of the limit, from the sums of gradient and direction times parameter, and of the
    /// direction's square.
    pub fn settle<V: Field, const A: usize>(
        &self, [now, along, norm]: [V; 3], ([loss, product], bound): Expected<V, A>,
    ) -> ([V; 1], Expected<V, A>) {
        let beta = 1.0 - self.weight;
        let loss = loss.scale(beta).offset(self.weight * self.loss);
        let product = ema(product, now, beta);
        let over = loss.clone() - product.clone();
        let expected = over.clone().scale(self.growth) + along.clone();
        let unit = self.growth * self.correction;
        let bound = bound.map(|bound| {
            let lower = expected.clone().scale(0.5 / unit).clamp_min(self.lower_bound);
            (bound.clone().scale(unit) - expected.clone()).select(lower, bound)
        });
        let fixed = expected.clone().filled(self.lower_bound);
        let floor = bound.get().cloned().unwrap_or(fixed).scale(unit);
        let none = norm.clone().scale(0.0);
        let length = norm.clone().select((expected - floor).clamp_min(0.0) / norm.clone(), none);
        // A rate of 0 makes a share of nothing.
        let share = length.scale(self.limit.max(f64::MIN_POSITIVE).recip()).clamp_max(1.0);
        let gone = norm * share.clone().scale(0.5 * self.limit);
        let after = (over + along - gone).scale(self.correction.recip()).clamp_min(self.lower_bound);
        ([share], ([loss, product], bound.map(|_| after.clone())))
    }

    /// What a step of `way` takes from a parameter that is decayed after it.
    #[inline(always)]
    pub fn taken<V: Value>(&self, param: &V, way: V) -> V {
        let share = self.growth.recip();
        way.scale(share * self.limit).add_scaled(param, 1.0 - share)
    }

    /// What is kept of the model.
    pub fn kept<const A: usize>(lower_bound: f64) -> Vec<Slot> {
        let mut kept = vec![Slot::zeros("loss_avg"), Slot::zeros("grad_dot_param")];
        kept.extend([Slot::filled("lower_bound", lower_bound); A]);
        kept
    }
}

/// With `A` bounds that adapt.
#[derive(Clone)]
struct Bounded<const A: usize>(Momo);

impl<const A: usize> Numbers for Bounded<A> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const A: usize> Look for Bounded<A> {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = Expected<V, A>;
    /// Gradient and mean times parameter, and the mean's square.
    type Sums<V: Value> = [V; 3];
    type Known<V: Value> = [V; 1];
    type Coefs = Polyak;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
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

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Polyak> {
        let beta = if clock.step == 1 { 0.0 } else { self.0.beta };
        Step::new(1.0, Polyak::new(clock, beta, 1.0, self.0.lower_bound))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Polyak, _: &[V; 1], param: &V, grad: V, [d]: [V; 1],
    ) -> [V; 3] {
        let d = ema(d, grad.clone(), 1.0 - coefs.weight);
        [grad * param.clone(), d.clone() * param.clone(), d.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &Polyak, sums: [V; 3], _: &Size, _: [V; 1], kept: Expected<V, A>,
    ) -> ([V; 1], Expected<V, A>) {
        coefs.settle(sums, kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Polyak, [share]: &[V; 1], param: &V, grad: V, [d]: [V; 1],
    ) -> (V, [V; 1]) {
        let d = ema(d, grad, 1.0 - coefs.weight);
        (coefs.taken(param, d.clone() * share.clone()), [d])
    }
}
