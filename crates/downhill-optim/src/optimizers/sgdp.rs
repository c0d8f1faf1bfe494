use core::marker::PhantomData;

use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Optional, Over, Size, Slot, Step, Value, over,
};

use super::outputs::{Alone, First, Last, Outputs, by_outputs};
use super::projection::Projection;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// SGDP: gradient descent with momentum that does not grow the length of weights whose length has no effect.
    ///
    /// ```text
    /// b ← momentum·b + (1 - dampening)·g
    /// u = b,   momentum·b + g with nesterov
    /// u ← projected as by AdamP
    /// p ← (1 - lr·weight_decay/(1 - momentum))·p - lr·u,   with wd_ratio·weight_decay where it was projected
    /// ```
    ///
    /// See [`AdamP`](crate::AdamP) for when a step is projected. State: `momentum_buffer`. Source: Heo et al., arXiv
    /// 2006.08217. Dampening acts from the first step on. Without `nesterov` the authors' code keeps the projected
    /// step as momentum.
    Sgdp as SgdpConfig, "sgdp" {
        learning_rate: 0.1,
        paper: "Heo et al., arXiv 2006.08217",
        description: "momentum that does not grow weights whose length has no effect",
        decay: Decay::own(0.0),
        example: ".with_momentum(0.9)",
    }
    /// How much of the last steps is kept.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// How much less of a gradient goes into the momentum.
    dampening, with_dampening: f64 = 0.0, SHARE;
    /// Whether the momentum is one step ahead.
    nesterov, with_nesterov: bool = false, ANY, needs momentum;
    /// Added to lengths.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE, shown_with r#"{"delta": 10.0}"#;
    /// Below which cosine a gradient is across its weight, times the root of its elements.
    delta, with_delta: f64 = 0.1, NOT_NEGATIVE;
    /// The share of the weight decay that acts where a step is projected.
    wd_ratio, with_wd_ratio: f64 = 0.1, SHARE, shown_with r#"{"delta": 10.0, "weight_decay": 0.1}"#;
    => |rule, shared| match rule.momentum == 0.0 {
        true => Ok(by_outputs(
            shared.look_own(Projected::<Alone, 0>(rule, PhantomData))?,
            shared.look_own(Projected::<Last, 0>(rule, PhantomData))?,
            shared.look_own(Projected::<First, 0>(rule, PhantomData))?,
        )),
        false => Ok(by_outputs(
            shared.look_own(Projected::<Alone, 1>(rule, PhantomData))?,
            shared.look_own(Projected::<Last, 1>(rule, PhantomData))?,
            shared.look_own(Projected::<First, 1>(rule, PhantomData))?,
        )),
    }
}

/// With its outputs there, and `M` momenta.
#[derive(Clone)]
struct Projected<O, const M: usize>(Sgdp, PhantomData<O>);

impl<O, const M: usize> Numbers for Projected<O, M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        // Without a momentum there is none to drive.
        let own = M > 0 || name != "momentum";
        own.then(|| self.0.number_mut(name)).flatten()
    }
}

/// The settings, and the decay as a share of the rate.
type Coefs = (Sgdp, f64);

impl<O: Outputs, const M: usize> Look for Projected<O, M> {
    type State<V: Value> = Optional<V, M>;
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 4];
    /// How much of the parameter is taken, and the share of the decay.
    type Known<V: Value> = [V; 2];
    type Coefs = Coefs;
    const LOOKS: usize = O::SEVERAL as usize;
    const KNOWN: [Over; MAX_KNOWN] = over([O::OVER]);

    fn frame(&self, shape: &[usize]) -> Frame {
        O::frame(shape.len())
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        [O::OVER; MAX_SUMS]
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer"); M]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        Step::new(clock.lr, (self.0, clock.weight_decay / (1.0 - self.0.momentum)))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        (rule, _): &Coefs, _: &[V; 2], param: &V, grad: V, state: Optional<V, M>,
    ) -> [V; 4] {
        let (u, _) = rule.aim(grad.clone(), state);
        Projection::terms(param, grad, u)
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, _): &Coefs, sums: [V; 4], size: &Size, _: [V; 2], kept: [V; 0],
    ) -> ([V; 2], [V; 0]) {
        let Sgdp { delta, wd_ratio, epsilon, .. } = *rule;
        (Projection { delta, wd_ratio, epsilon }.settle::<O, V>(sums, size), kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, decay): &Coefs, [radial, share]: &[V; 2], param: &V, grad: V, state: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let (u, state) = rule.aim(grad, state);
        if !O::SEVERAL {
            return (u.add_scaled(param, *decay), state);
        }
        let taken = radial.clone() - share.clone().scale(*decay);
        (u - param.clone() * taken, state)
    }
}

impl Sgdp {
    #[inline(always)]
    fn aim<V: Value, const M: usize>(&self, grad: V, state: Optional<V, M>) -> (V, Optional<V, M>) {
        let damped = grad.clone().scale(1.0 - self.dampening);
        let state = state.map(|b| b.scale(self.momentum) + damped.clone());
        let b = state.get().cloned().unwrap_or(damped);
        let ahead = f64::from(u8::from(self.nesterov));
        let kept = 1.0 - ahead * (1.0 - self.momentum);
        (b.scale(kept).add_scaled(&grad, ahead), state)
    }
}
