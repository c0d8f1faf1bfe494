use crate::{Clock, Rule, Slot, Step, Value};

/// Masks the elements in which a rule's direction disagrees in sign with the gradient.
///
/// ```text
/// u ← u · [u·g > 0]
/// ```
///
/// Source: Liang et al., *Cautious Optimizers: Improving Training with One Line of Code*, arXiv
/// 2411.16085, Algorithm 1. The paper's rescaling of the survivors by `numel / (count + 1)` is left
/// out: it would need a count over the whole tensor before the first element can move, and it acts
/// as a factor on the learning rate.
///
/// ```
/// use downhill_rule::{Cautious, Momentum, Trajectory};
///
/// let mut rule = Trajectory::new(Cautious(Momentum::new(0.9)), 1);
/// let mut x = vec![0.0];
/// rule.step(1.0, &mut x, &[1.0]);
/// assert_eq!(x, [-1.0]);
/// // The momentum still points down while the gradient has turned: no move.
/// rule.step(1.0, &mut x, &[-0.5]);
/// assert_eq!(x, [-1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cautious<R>(
    /// The rule inside.
    pub R,
);

impl<R: Rule> Rule for Cautious<R> {
    type State<V: Value> = R::State<V>;
    type Coefs = R::Coefs;

    fn slots(&self) -> Vec<Slot> {
        self.0.slots()
    }

    fn memory(&self) -> Vec<Slot> {
        self.0.memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &R::Coefs,
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        let (direction, state) = R::direction(coefs, param, grad.clone(), state);
        let agrees = (direction.clone() * grad).heaviside();
        (direction * agrees, state)
    }
}

/// Where weight decay acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// L2 regularisation: `g ← g + weight_decay·param`, before the rule sees the gradient.
    Coupled(f64),
    /// `param ← (1 - lr·weight_decay)·param`, beside the rule (Loshchilov & Hutter, arXiv
    /// 1711.05101).
    Decoupled(f64),
}

/// A rule with weight decay, and maximised if asked: both are settings of the [`Step`], so they
/// cost nothing.
///
/// ```
/// use downhill_rule::{Adjusted, Sgd, Trajectory, WeightDecay};
///
/// let rule = Adjusted::new(Sgd, WeightDecay::Decoupled(0.5), false);
/// let mut x = vec![1.0];
/// Trajectory::new(rule, 1).step(0.1, &mut x, &[0.0]);
/// assert_eq!(x, [0.95]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjusted<R> {
    rule: R,
    weight_decay: WeightDecay,
    maximize: bool,
}

impl<R> Adjusted<R> {
    /// Puts decay around `rule`, and turns it uphill if `maximize`.
    pub fn new(rule: R, weight_decay: WeightDecay, maximize: bool) -> Self {
        Self {
            rule,
            weight_decay,
            maximize,
        }
    }
}

impl<R: Rule> Rule for Adjusted<R> {
    type State<V: Value> = R::State<V>;
    type Coefs = R::Coefs;

    fn slots(&self) -> Vec<Slot> {
        self.rule.slots()
    }

    fn memory(&self) -> Vec<Slot> {
        self.rule.memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        let own = match self.weight_decay {
            WeightDecay::Coupled(decay) | WeightDecay::Decoupled(decay) => decay,
        };
        let decay = clock.weight_decay(own);
        let mut step = self.rule.prepare(clock);
        match self.weight_decay {
            WeightDecay::Coupled(_) => step.l2 += decay,
            WeightDecay::Decoupled(_) => step.retain *= 1.0 - clock.lr * decay,
        }
        if self.maximize {
            step.sign = -step.sign;
        }
        step
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &R::Coefs,
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::direction(coefs, param, grad, state)
    }
}

/// Momentum over another rule's direction: `b ← momentum·b + u`, and `b` is the new direction.
///
/// State: the inner rule's, then `momentum_buffer`. This is the momentum of PyTorch's `RMSprop`;
/// around an adaptive rule it is a second momentum.
///
/// ```
/// use downhill_rule::{HeavyBall, RmsProp, Rule};
///
/// let rule = HeavyBall { rule: RmsProp::default(), momentum: 0.9 };
/// let names: Vec<_> = rule.slots().iter().map(|slot| slot.name).collect();
/// assert_eq!(names, ["square_avg", "momentum_buffer"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeavyBall<R> {
    /// The rule inside.
    pub rule: R,
    /// How much of the last direction is kept, in `[0, 1)`.
    pub momentum: f64,
}

impl<R: Rule> Rule for HeavyBall<R> {
    type State<V: Value> = (R::State<V>, [V; 1]);
    type Coefs = (R::Coefs, f64);

    fn slots(&self) -> Vec<Slot> {
        let mut slots = self.rule.slots();
        slots.push(Slot::zeros("momentum_buffer"));
        slots
    }

    fn memory(&self) -> Vec<Slot> {
        self.rule.memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let momentum = clock.momentum(self.momentum);
        self.rule.prepare(clock).map(|coefs| (coefs, momentum))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (coefs, momentum): &Self::Coefs,
        param: &V,
        grad: V,
        (state, [buffer]): Self::State<V>,
    ) -> (V, Self::State<V>) {
        let (direction, state) = R::direction(coefs, param, grad, state);
        let buffer = buffer.scale(*momentum) + direction;
        (buffer.clone(), (state, [buffer]))
    }
}
