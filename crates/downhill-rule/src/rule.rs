use core::sync::atomic::AtomicU64;

use crate::Value;

/// How one element of a parameter moves: the whole of an optimizer, written once.
///
/// At each step a driver calls [`prepare`](Self::prepare) once per parameter on the host, then
/// for every element
///
/// ```text
/// g        = sign·grad + l2·param          coupled decay, maximisation: settings of the Step
/// param    = retain·param                  decoupled decay
/// u, state = direction(coefs, param, g, state)
/// param    = param - rate·u                land
/// ```
///
/// so a rule states only its direction `u`; [`advance`](Self::advance) is that element loop's
/// body, and [`go`](Self::go) all of a step. One that ends its step otherwise says so in [`land`](Self::land). Rules compose at compile time:
/// [`Cautious`](crate::Cautious) or [`Adjusted`](crate::Adjusted) around a rule is again a rule, and runs as
/// one pass.
pub trait Rule: Numbers + Clone + Send + Sync + 'static {
    /// State of one element: `[V; N]`, or nested pairs of such.
    type State<V: Value>: Slots<V>;
    /// Host numbers that [`direction`](Self::direction) needs, computed once per step.
    type Coefs: Copy + Send + Sync;

    /// Name and start of each element of [`State`](Self::State), in its order.
    fn slots(&self) -> Vec<Slot>;

    /// Checks that [`slots`](Self::slots) names what [`State`](Self::State) has; whoever runs a rule
    /// calls it first.
    ///
    /// # Panics
    ///
    /// Panics if their numbers differ.
    fn check_slots(&self) {
        let (named, kept) = (self.slots().len(), <Self::State<f64> as Slots<f64>>::LEN);
        assert_eq!(
            named, kept,
            "a rule must name each value of its state: `slots` has {named} names, `State` {kept} values"
        );
    }

    /// Scalars kept per parameter between steps, for what is not a function of the step count.
    fn memory(&self) -> Vec<Scalar> {
        Vec::new()
    }

    /// Whether the learning rate of a step matters to it. A schedule of one that does not matter would do
    /// nothing, and is refused.
    fn follows_rate(&self) -> bool {
        true
    }

    /// What the host computes for one step of one parameter.
    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs>;

    /// The direction of descent, and the new state.
    fn direction<V: Value>(
        coefs: &Self::Coefs,
        param: &V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>);

    /// One step of one element: see the trait's description.
    #[inline(always)]
    fn advance<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        let (param, grad) = step.begin(param, grad);
        let (direction, state) = Self::direction(&step.coefs, &param, grad, state);
        Self::land(step, param, direction, state)
    }

    /// [`advance`](Self::advance) with [cautious decay](Step::cautious): of only those elements that the step does
    /// not move away from zero.
    #[inline(always)]
    fn advance_cautiously<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        let (param, grad) = step.begin(param, grad);
        let (direction, state) = Self::direction(&step.coefs, &param, grad, state);
        let decayed = step.decayed_cautiously(param, &direction);
        Self::land(step, decayed, direction, state)
    }

    /// The step of one element that `step` asks for.
    #[inline(always)]
    fn go<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        match step.cautious {
            0.0 => Self::advance(step, param, grad, state),
            _ => Self::advance_cautiously(step, param, grad, state),
        }
    }

    /// The end of a step: where the parameter comes to along its direction.
    #[inline(always)]
    fn land<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        direction: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        (param - direction.scale(step.rate), state)
    }

    /// Whether the parameter to evaluate is another than the one that is trained: see
    /// [`evaluated`](Self::evaluated).
    fn has_evaluated(&self) -> bool {
        false
    }

    /// The parameter to evaluate, and to save for use, from the one that is trained and its state: an
    /// average, for example. It changes neither.
    fn evaluated<V: Value>(&self, param: V, _state: Self::State<V>) -> V {
        param
    }
}

/// Name and start of one state tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// The name under which it is saved; torch's where torch has it.
    pub name: &'static str,
    /// What it holds before the first step.
    pub start: Start,
}

/// What a state tensor holds before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// One number in every element.
    At(f64),
    /// The parameter as it is then.
    Param,
}

impl Start {
    /// The number in every element, if it is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::At(number) => Some(number),
            Self::Param => None,
        }
    }
}

impl Slot {
    /// A slot that starts at zero.
    pub fn zeros(name: &'static str) -> Self {
        Self::filled(name, 0.0)
    }

    /// A slot that starts at `initial`.
    pub fn filled(name: &'static str, initial: f64) -> Self {
        let start = Start::At(initial);
        Self { name, start }
    }

    /// A slot that starts as a copy of the parameter.
    pub fn param(name: &'static str) -> Self {
        let start = Start::Param;
        Self { name, start }
    }
}

/// Name and first value of a scalar that a rule keeps per parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalar {
    /// The name under which it is saved.
    pub name: &'static str,
    /// Its value before the first step.
    pub initial: f64,
}

impl Scalar {
    /// A scalar that starts at `initial`.
    pub fn new(name: &'static str, initial: f64) -> Self {
        Self { name, initial }
    }
}

/// What a rule is told at each step of one parameter.
#[derive(Debug)]
pub struct Clock<'a> {
    /// The learning rate.
    pub lr: f64,
    /// The number of this step; the first is 1.
    pub step: u64,
    /// The scalars that [`Rule::memory`] named.
    pub memory: &'a mut [f64],
    /// Multiplies the gradient: the factor of a driver that clips, otherwise 1. Whoever runs a rule puts it
    /// into the [`Step`].
    pub grad_scale: f64,
    /// The weight decay, for a rule that takes it itself, in its own way.
    pub weight_decay: f64,
    /// The loss of this step, for a rule that asks for it.
    pub loss: Option<f64>,
    /// What is known of the whole model, for a rule that [looks](crate::Scope::Model) at it.
    pub known: Option<&'a [f64]>,
    /// Counts what could not be computed in this step, such as the eigenvectors of a matrix, for which the last
    /// result stands in; where somebody asks.
    pub failures: Option<&'a AtomicU64>,
}

impl<'a> Clock<'a> {
    /// The clock of a step of the gradient as it is.
    pub fn new(lr: f64, step: u64, memory: &'a mut [f64]) -> Self {
        Self {
            lr,
            step,
            memory,
            grad_scale: 1.0,
            weight_decay: 0.0,
            loss: None,
            known: None,
            failures: None,
        }
    }

    /// The number of this step as a float.
    pub fn t(&self) -> f64 {
        self.step as f64
    }
}

/// The numbers of a rule by their names. A schedule can drive them: for one step another number stands in the
/// place of one.
///
/// ```
/// use downhill_rule::{Descent, HeavyBall, Numbers};
///
/// let mut rule = HeavyBall { rule: Descent, momentum: 0.9 };
/// *rule.number_mut("momentum").unwrap() = 0.5;
/// assert_eq!(rule.momentum, 0.5);
/// assert_eq!(rule.number_mut("beta_1"), None);
/// ```
pub trait Numbers {
    /// The number of this name, where there is one that acts at every step and does not decide about the
    /// state.
    fn number_mut(&mut self, _name: &str) -> Option<&mut f64> {
        None
    }
}

/// The host's part of one step; see [`Rule`] for how it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<C> {
    /// Multiplies the direction: the learning rate, unless the rule keeps it inside its state.
    pub rate: f64,
    /// Multiplies the parameter before it moves: `1 - lr·weight_decay` for decoupled decay.
    pub retain: f64,
    /// Multiplies the parameter that is added to the gradient: coupled (L2) decay.
    pub l2: f64,
    /// Multiplies the gradient: 1 to minimise, -1 to maximise, times the factor of a driver that
    /// clips.
    pub sign: f64,
    /// Whether the parameter moves at all; one that does not is not decayed either.
    pub moves: bool,
    /// Taken from a parameter before it moves, as a share of it, where the step does not move it away from zero.
    pub cautious: f64,
    /// The rule's own numbers.
    pub coefs: C,
}

impl<C> Step<C> {
    /// A step without decay, minimising.
    pub fn new(rate: f64, coefs: C) -> Self {
        Self {
            rate,
            retain: 1.0,
            l2: 0.0,
            sign: 1.0,
            moves: true,
            cautious: 0.0,
            coefs,
        }
    }

    /// Whether the parameter is added to the gradient.
    pub fn is_coupled(&self) -> bool {
        self.l2 != 0.0
    }

    /// What every step begins with: the parameter after its decay, and the gradient with its sign and decay.
    #[inline(always)]
    pub(crate) fn begin<V: Value>(&self, param: V, grad: V) -> (V, V) {
        let grad = grad.scale(self.sign).add_scaled(&param, self.l2);
        (param.scale(self.retain), grad)
    }

    /// The parameter after [cautious decay](Self::cautious).
    #[inline(always)]
    pub(crate) fn decayed_cautiously<V: Value>(&self, param: V, direction: &V) -> V {
        let away = (direction.clone() * param.clone()).scale(-1.0).heaviside();
        let share = away.scale(-self.cautious).offset(self.cautious);
        param.clone() - param * share
    }

    /// The same step with other coefficients.
    pub fn map<D>(self, f: impl FnOnce(C) -> D) -> Step<D> {
        Step {
            rate: self.rate,
            retain: self.retain,
            l2: self.l2,
            sign: self.sign,
            moves: self.moves,
            cautious: self.cautious,
            coefs: f(self.coefs),
        }
    }
}

/// A fixed number of state values: an array of at most 8, [`Optional`], or nested pairs of such.
pub trait Slots<V>: Sized {
    /// How many values there are.
    const LEN: usize;
    /// Builds the state from its values, in order.
    fn gather(next: &mut impl FnMut() -> V) -> Self;
    /// Hands out the values, in the same order.
    fn scatter(self, put: &mut impl FnMut(V));
}

// One by one: the standard library's functions over arrays are many to compile for each rule.
macro_rules! slots {
    ($($len:literal: $($value:ident)*;)*) => {$(
        impl<V> Slots<V> for [V; $len] {
            const LEN: usize = $len;

            #[inline(always)]
            fn gather(next: &mut impl FnMut() -> V) -> Self {
                $(let $value = next();)*
                [$($value),*]
            }

            #[inline(always)]
            fn scatter(self, put: &mut impl FnMut(V)) {
                let [$($value),*] = self;
                $(put($value);)*
            }
        }
    )*};
}

slots! {
    1: a;
    2: a b;
    3: a b c;
    4: a b c d;
    5: a b c d e;
    6: a b c d e f;
    7: a b c d e f g;
    8: a b c d e f g h;
}

impl<V> Slots<V> for [V; 0] {
    const LEN: usize = 0;

    #[inline(always)]
    fn gather(_: &mut impl FnMut() -> V) -> Self {
        []
    }

    #[inline(always)]
    fn scatter(self, _: &mut impl FnMut(V)) {}
}

/// One value, or none: `N` is 1 or 0, which a rule decides by its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optional<V, const N: usize>([V; N]);

impl<V, const N: usize> Optional<V, N> {
    /// The same of another value.
    #[inline(always)]
    pub fn map<W>(self, other: impl FnMut(V) -> W) -> Optional<W, N> {
        Optional(self.0.map(other))
    }

    /// The value, if there is one.
    #[inline(always)]
    pub fn get(&self) -> Option<&V> {
        self.0.first()
    }

    /// The value itself.
    #[inline(always)]
    pub fn into_option(self) -> Option<V> {
        self.0.into_iter().next()
    }
}

impl<V, const N: usize> Slots<V> for Optional<V, N> {
    const LEN: usize = N;

    #[inline(always)]
    fn gather(next: &mut impl FnMut() -> V) -> Self {
        Self(core::array::from_fn(|_| next()))
    }

    #[inline(always)]
    fn scatter(self, put: &mut impl FnMut(V)) {
        for value in self.0 {
            put(value);
        }
    }
}

impl<V, A: Slots<V>, B: Slots<V>> Slots<V> for (A, B) {
    const LEN: usize = A::LEN + B::LEN;

    #[inline(always)]
    fn gather(next: &mut impl FnMut() -> V) -> Self {
        let first = A::gather(next);
        (first, B::gather(next))
    }

    #[inline(always)]
    fn scatter(self, put: &mut impl FnMut(V)) {
        self.0.scatter(put);
        self.1.scatter(put);
    }
}
