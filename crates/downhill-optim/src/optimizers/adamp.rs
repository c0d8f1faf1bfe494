use core::marker::PhantomData;

use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value,
    bias_correction, ema, over,
};

use super::outputs::{Alone, First, Last, Outputs, by_outputs};
use super::projection::Projection;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdamP: [`AdamW`](crate::AdamW) that does not grow the length of weights whose length has no effect, as those
    /// before a normalisation.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = m·sqrt(1 - beta_2^t)/(sqrt(v) + epsilon)
    /// u ← u - ⟨p, u⟩/(|p| + epsilon)²·p,   of each output, where the gradients of all are across their weights:
    ///     cos(g, p) < delta/sqrt(elements); else of the whole, where that one's is
    /// p ← (1 - lr·weight_decay)·p - lr/(1 - beta_1^t)·u,   with wd_ratio·weight_decay where it was projected
    /// ```
    ///
    /// Outputs are the columns of a matrix (Burn's linear layer) and the first dimension of what has more
    /// (convolutions). Vectors are never projected. State: `exp_avg`, `exp_avg_sq`. Source: Heo et al., arXiv
    /// 2006.08217. epsilon is added before the bias correction, as in pytorch_optimizer; the authors add it after.
    AdamP as AdamPConfig, "adamp" {
        learning_rate: 1e-3,
        paper: "Heo et al., arXiv 2006.08217",
        description: "adamw that does not grow weights whose length has no effect",
        decay: Decay::own(0.0),
        example: ".with_weight_decay(0.01)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root, and to lengths.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Below which cosine a gradient is across its weight, times the root of its elements.
    delta, with_delta: f64 = 0.1, NOT_NEGATIVE;
    /// The share of the weight decay that acts where a step is projected.
    wd_ratio, with_wd_ratio: f64 = 0.1, SHARE, shown_with r#"{"delta": 10.0, "weight_decay": 0.1}"#;
    /// Whether the mean is one step ahead.
    nesterov, with_nesterov: bool = false, ANY;
    => |rule, shared| Ok(by_outputs(
        shared.look_own(Projected::<Alone>(rule, PhantomData))?,
        shared.look_own(Projected::<Last>(rule, PhantomData))?,
        shared.look_own(Projected::<First>(rule, PhantomData))?,
    ))
}

/// With its outputs there.
#[derive(Clone)]
struct Projected<O>(AdamP, PhantomData<O>);

impl<O> Numbers for Projected<O> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

/// The settings, the root of the second moment's bias correction, and what multiplies the parameter for decay.
type Coefs = (AdamP, f64, f64);

impl<O: Outputs> Look for Projected<O> {
    type State<V: Value> = [V; 2];
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
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        let mean = bias_correction(self.0.beta_1, clock.t());
        let root = bias_correction(self.0.beta_2, clock.t()).sqrt();
        Step::new(clock.lr / mean, (self.0, root, clock.weight_decay * mean))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Coefs, _: &[V; 2], param: &V, grad: V, state: [V; 2],
    ) -> [V; 4] {
        let (u, _) = adam(coefs, grad.clone(), state);
        Projection::terms(param, grad, u)
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, ..): &Coefs, sums: [V; 4], size: &Size, _: [V; 2], kept: [V; 0],
    ) -> ([V; 2], [V; 0]) {
        let AdamP { delta, wd_ratio, epsilon, .. } = *rule;
        (Projection { delta, wd_ratio, epsilon }.settle::<O, V>(sums, size), kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Coefs, [radial, share]: &[V; 2], param: &V, grad: V, state: [V; 2],
    ) -> (V, [V; 2]) {
        let (u, state) = adam(coefs, grad, state);
        let (_, _, decay) = coefs;
        if !O::SEVERAL {
            return (u.add_scaled(param, *decay), state);
        }
        let taken = radial.clone() - share.clone().scale(*decay);
        (u - param.clone() * taken, state)
    }
}

#[inline(always)]
fn adam<V: Value>((rule, root, _): &Coefs, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
    let m = ema(m, grad.clone(), rule.beta_1);
    let v = ema(v, grad.clone().square(), rule.beta_2);
    let ahead = f64::from(u8::from(rule.nesterov));
    let mean = m.clone().scale(1.0 - ahead * (1.0 - rule.beta_1));
    let mean = mean.add_scaled(&grad, ahead * (1.0 - rule.beta_1));
    let u = mean.scale(*root) / v.clone().sqrt().offset(rule.epsilon);
    (u, [m, v])
}
