use downhill_rule::{Clock, Field, Look, Numbers, Optional, Size, Slot, Step, Value, ema, bias_correction};

use crate::declare::optimizer;

optimizer! {
    /// Amos: an adaptive method with one second moment for each tensor, that decays weights and rate as its theory
    /// says.
    ///
    /// ```text
    /// v ← beta·v + (1 - beta)·mean of g²,   r = (1 - beta^t)/(v + epsilon)
    /// c = 1/sqrt(1 + c_coef·sqrt(lr)·D),   d = 1/(1 + d_coef·sqrt(lr·scale)·D)
    /// gamma = c·lr²·r·mean of g²
    /// u = d·((gamma/2 + extra_l2)·p + lr·scale·sqrt(r)·g)
    /// D ← D·(1 + gamma) + gamma
    /// m ← momentum·m + (1 - momentum)·u,   p ← p - m;   p - u without momentum
    /// ```
    ///
    /// `scale` is how large the weights are expected to become. By default it is 0.5 for vectors, `sqrt(2/inputs)` for
    /// matrices (Burn's linear layers have `[inputs, outputs]`), and `sqrt(1/inputs)` for what has more dimensions;
    /// groups of a driver can say another one. It needs no weight decay beside it.
    ///
    /// State: `exp_avg_sq` (v) and `decay` (D), one number each; `exp_avg` with momentum. Source: Tian & Parikh, arXiv
    /// 2210.11693. pytorch_optimizer subtracts `extra_l2/2`, which makes weights grow.
    Amos as AmosConfig, "amos" {
        learning_rate: 0.1,
        state: "2, n more with momentum",
        paper: "Tian & Parikh, arXiv 2210.11693",
        description: "one second moment per tensor, with a decay of weights and rate of its own",
        decay: None,
        example: ".with_momentum(0.9)",
    }
    /// Decay of the mean of the squared gradient.
    beta, with_beta: f64 = 0.999, DECAY;
    /// Decay of a mean of the steps; 0 for none.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// A decay of the weights beside its own.
    extra_l2, with_extra_l2: f64 = 0.0, NOT_NEGATIVE;
    /// How fast the decay of the weights falls.
    c_coef, with_c_coef: f64 = 0.25, NOT_NEGATIVE;
    /// How fast the rate falls.
    d_coef, with_d_coef: f64 = 0.25, NOT_NEGATIVE;
    /// Added to the mean of the squared gradient.
    epsilon, with_epsilon: f64 = 1e-18, POSITIVE;
    /// The expected size of the weights; none for what their shape says.
    scale, with_scale: Option<f64> = None, POSITIVE;
    => |rule, shared| match rule.momentum == 0.0 {
        true => shared.look_own(Mean::<0>(rule)),
        false => shared.look_own(Mean::<1>(rule)),
    }
}

/// With `M` means of the steps.
#[derive(Clone)]
struct Mean<const M: usize>(Amos);

impl<const M: usize> Numbers for Mean<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        // Without a momentum there is none to drive.
        let own = M > 0 || name != "momentum";
        own.then(|| self.0.number_mut(name)).flatten()
    }
}

/// What the host knows of a step.
#[derive(Clone, Copy, Debug)]
pub struct AmosCoefs {
    rule: Amos,
    lr: f64,
    scale: f64,
    correction: f64,
}

impl<const M: usize> Look for Mean<M> {
    type State<V: Value> = Optional<V, M>;
    type Kept<V: Value> = [V; 2];
    type Sums<V: Value> = [V; 1];
    /// What multiplies parameter and gradient.
    type Known<V: Value> = [V; 2];
    type Coefs = AmosCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"); M]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg_sq"), Slot::zeros("decay")]
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<AmosCoefs> {
        let by_shape = match shape {
            [] | [_] => 0.5,
            [inputs, _] => (2.0 / *inputs as f64).sqrt(),
            [_, inputs, ..] => (*inputs as f64).recip().sqrt(),
        };
        let scale = self.0.scale.unwrap_or(by_shape);
        let correction = bias_correction(self.0.beta, clock.t());
        Step::new(1.0, AmosCoefs { rule: self.0, lr: clock.lr, scale, correction })
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &AmosCoefs, _: &[V; 2], _: &V, grad: V, _: Optional<V, M>,
    ) -> [V; 1] {
        [grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &AmosCoefs, [sum]: [V; 1], size: &Size, _: [V; 2], [v, decay]: [V; 2],
    ) -> ([V; 2], [V; 2]) {
        let AmosCoefs { rule, lr, scale, correction } = *coefs;
        let mean = sum.scale(size.whole.recip());
        let v = ema(v, mean.clone(), rule.beta);
        let r = v.clone().offset(rule.epsilon).recip().scale(correction);
        let c = decay.clone().scale(rule.c_coef * lr.sqrt()).offset(1.0).sqrt().recip();
        let d = decay.clone().scale(rule.d_coef * (lr * scale).sqrt()).offset(1.0).recip();
        let gamma = c * r.clone() * mean.scale(lr * lr);
        let of_param = d.clone() * gamma.clone().scale(0.5).offset(rule.extra_l2);
        let of_grad = d * r.sqrt().scale(lr * scale);
        let decay = decay * gamma.clone().offset(1.0) + gamma;
        ([of_param, of_grad], [v, decay])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &AmosCoefs, [of_param, of_grad]: &[V; 2], param: &V, grad: V, state: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let u = param.clone() * of_param.clone() + grad * of_grad.clone();
        let state = state.map(|m| ema(m, u.clone(), coefs.rule.momentum));
        (state.get().cloned().unwrap_or(u), state)
    }
}
