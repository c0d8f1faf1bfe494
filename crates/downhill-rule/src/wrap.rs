use crate::{
    Clock, Field, Fold, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Rule, Scalar, Scope, Size,
    Slot, Step, Value,
};

/// What a wrapper without a state of its own says as the rule inside does.
macro_rules! pass_on {
    ($rule:tt) => {
        fn slots(&self) -> Vec<Slot> {
            self.$rule.slots()
        }

        fn memory(&self) -> Vec<Scalar> {
            self.$rule.memory()
        }

        fn follows_rate(&self) -> bool {
            self.$rule.follows_rate()
        }

        fn has_evaluated(&self) -> bool {
            self.$rule.has_evaluated()
        }

        fn evaluated<V: Value>(&self, param: V, state: R::State<V>) -> V {
            self.$rule.evaluated(param, state)
        }
    };
}

/// Masks the elements in which a rule's direction disagrees in sign with the gradient.
///
/// ```text
/// u ← u · [u·g > 0]
/// ```
///
/// Source: Liang et al., *Cautious Optimizers: Improving Training with One Line of Code*, arXiv
/// 2411.16085, Algorithm 1, without its rescaling of the survivors, which needs a count over the whole tensor
/// before the first element can move: [`Masked`](crate::Masked) has it.
///
/// ```
/// use downhill_rule::{Cautious, Descent, HeavyBall, Trajectory, Field, Size};
///
/// let momentum = HeavyBall { rule: Descent, momentum: 0.9 };
/// let mut rule = Trajectory::new(Cautious(momentum), 1);
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

impl<R: Numbers> Numbers for Cautious<R> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<R: Rule> Rule for Cautious<R> {
    type State<V: Value> = R::State<V>;
    type Coefs = R::Coefs;

    pass_on!(0);

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

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<R::Coefs>,
        param: V,
        direction: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::land(step, param, direction, state)
    }
}

/// Where weight decay acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// What the rule makes of it itself: it is the clock's.
    Own(f64),
    /// L2 regularisation: `g ← g + weight_decay·param`, before the rule sees the gradient.
    Coupled(f64),
    /// `param ← (1 - lr·weight_decay)·param`, beside the rule (Loshchilov & Hutter, arXiv
    /// 1711.05101).
    Decoupled(f64),
    /// `param ← (param - rate·u)/(1 + lr·weight_decay)`, after the step (Xie et al., arXiv 2208.06677). Of
    /// rules that [land](Rule::land) as most do.
    Proximal(f64),
    /// `param ← (1 - weight_decay)·param`, whatever the learning rate.
    Independent(f64),
    /// `param ← param - lr·weight_decay·[u·param ≥ 0]·param`, beside the rule: only of elements that the step does
    /// not move away from zero (arXiv 2510.12402).
    Cautious(f64),
    /// `param ← (1 - lr·weight_decay·lr/peak)·param` (Defazio, arXiv 2506.02285).
    Corrected {
        /// The weight decay.
        decay: f64,
        /// The largest learning rate of the schedule.
        peak: f64,
    },
}

impl WeightDecay {
    fn number_mut(&mut self) -> &mut f64 {
        match self {
            Self::Own(decay)
            | Self::Coupled(decay)
            | Self::Decoupled(decay)
            | Self::Proximal(decay)
            | Self::Independent(decay)
            | Self::Cautious(decay)
            | Self::Corrected { decay, .. } => decay,
        }
    }
}

/// A rule with weight decay, and maximised if asked: both are settings of the [`Step`], so they
/// cost nothing.
///
/// ```
/// use downhill_rule::{Adjusted, Descent, Trajectory, WeightDecay};
///
/// let rule = Adjusted::new(Descent, WeightDecay::Decoupled(0.5), false);
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

    /// What decay and direction make of a step.
    fn adjust<C>(&self, clock: &mut Clock, prepare: impl FnOnce(&mut Clock) -> Step<C>) -> Step<C> {
        if let WeightDecay::Own(decay) = self.weight_decay {
            clock.weight_decay = decay;
        }
        let mut step = prepare(clock);
        match self.weight_decay {
            WeightDecay::Own(_) => {}
            WeightDecay::Coupled(decay) => step.l2 += decay,
            // What stands still does not decay either.
            _ if !step.moves => {}
            WeightDecay::Decoupled(decay) => step.retain *= 1.0 - clock.lr * decay,
            WeightDecay::Proximal(decay) => {
                let share = (1.0 + clock.lr * decay).recip();
                step.retain *= share;
                step.rate *= share;
            }
            WeightDecay::Independent(decay) => step.retain *= 1.0 - decay,
            WeightDecay::Cautious(decay) => step.cautious += clock.lr * decay,
            WeightDecay::Corrected { decay, peak } => {
                step.retain *= 1.0 - clock.lr * decay * (clock.lr / peak);
            }
        }
        if self.maximize {
            step.sign = -step.sign;
        }
        step
    }
}

impl<R: Numbers> Numbers for Adjusted<R> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match (&mut self.weight_decay, name) {
            (WeightDecay::Corrected { peak, .. }, "peak_learning_rate") => Some(peak),
            (decay, "weight_decay") => Some(decay.number_mut()),
            _ => self.rule.number_mut(name),
        }
    }
}

impl<R: Rule> Rule for Adjusted<R> {
    type State<V: Value> = R::State<V>;
    type Coefs = R::Coefs;

    pass_on!(rule);

    fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        self.adjust(clock, |clock| self.rule.prepare(clock))
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

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<R::Coefs>,
        param: V,
        direction: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::land(step, param, direction, state)
    }
}

impl<R: Look> Look for Adjusted<R> {
    type State<V: Value> = R::State<V>;
    type Kept<V: Value> = R::Kept<V>;
    type Sums<V: Value> = R::Sums<V>;
    type Known<V: Value> = R::Known<V>;
    type Coefs = R::Coefs;
    const WIDE: bool = R::WIDE;
    const LOOKS: usize = R::LOOKS;
    const KEPT: [Over; MAX_KNOWN] = R::KEPT;
    const KNOWN: [Over; MAX_KNOWN] = R::KNOWN;

    fn frame(&self, shape: &[usize]) -> Frame {
        self.rule.frame(shape)
    }

    fn sums(look: usize) -> usize {
        R::sums(look)
    }

    fn over(look: usize) -> [Over; MAX_SUMS] {
        R::over(look)
    }

    fn slots(&self) -> Vec<Slot> {
        self.rule.slots()
    }

    fn kept(&self) -> Vec<Slot> {
        self.rule.kept()
    }

    fn fold(look: usize) -> Fold {
        R::fold(look)
    }

    fn memory(&self) -> Vec<Scalar> {
        self.rule.memory()
    }

    fn follows_rate(&self) -> bool {
        self.rule.follows_rate()
    }

    fn scope(&self) -> Scope {
        self.rule.scope()
    }

    fn needs_loss(&self) -> bool {
        self.rule.needs_loss()
    }

    fn has_evaluated(&self) -> bool {
        self.rule.has_evaluated()
    }

    fn evaluated<V: Value>(&self, param: V, state: R::State<V>) -> V {
        self.rule.evaluated(param, state)
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<R::Coefs> {
        self.adjust(clock, |clock| self.rule.prepare(clock, shape))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &R::Coefs,
        known: &R::Known<V>,
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> R::Sums<V> {
        R::terms::<LOOK, V>(coefs, known, param, grad, state)
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &R::Coefs,
        sums: R::Sums<V>,
        size: &Size,
        known: R::Known<V>,
        kept: R::Kept<V>,
    ) -> (R::Known<V>, R::Kept<V>) {
        R::settle::<LOOK, V>(coefs, sums, size, known, kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &R::Coefs,
        known: &R::Known<V>,
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::direction(coefs, known, param, grad, state)
    }

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<R::Coefs>,
        param: V,
        direction: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::land(step, param, direction, state)
    }
}

/// Momentum over another rule's direction: `b ← momentum·b + u`, and `b` is the new direction.
///
/// State: the inner rule's, then `momentum_buffer`. This is the momentum of PyTorch's `RMSprop`;
/// around an adaptive rule it is a second momentum.
///
/// ```
/// use downhill_rule::{Descent, HeavyBall, Trajectory};
///
/// let mut rule = Trajectory::new(HeavyBall { rule: Descent, momentum: 0.5 }, 1);
/// let mut x = vec![0.0];
/// rule.step(1.0, &mut x, &[1.0]);
/// rule.step(1.0, &mut x, &[1.0]);
/// assert_eq!(x, [-2.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeavyBall<R> {
    /// The rule inside.
    pub rule: R,
    /// How much of the last direction is kept, in `[0, 1)`.
    pub momentum: f64,
}

impl<R: Numbers> Numbers for HeavyBall<R> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "momentum" => Some(&mut self.momentum),
            _ => self.rule.number_mut(name),
        }
    }
}

impl<R: Rule> Rule for HeavyBall<R> {
    type State<V: Value> = (R::State<V>, [V; 1]);
    type Coefs = (R::Coefs, f64);

    fn slots(&self) -> Vec<Slot> {
        let mut slots = self.rule.slots();
        slots.push(Slot::zeros("momentum_buffer"));
        slots
    }

    fn memory(&self) -> Vec<Scalar> {
        self.rule.memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let step = self.rule.prepare(clock);
        step.map(|coefs| (coefs, self.momentum))
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

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        direction: V,
        (state, buffer): Self::State<V>,
    ) -> (V, Self::State<V>) {
        let step = step.map(|(coefs, _)| coefs);
        let (param, state) = R::land(&step, param, direction, state);
        (param, (state, buffer))
    }

    fn follows_rate(&self) -> bool {
        self.rule.follows_rate()
    }

    fn has_evaluated(&self) -> bool {
        self.rule.has_evaluated()
    }

    fn evaluated<V: Value>(&self, param: V, (state, _): Self::State<V>) -> V {
        self.rule.evaluated(param, state)
    }
}
