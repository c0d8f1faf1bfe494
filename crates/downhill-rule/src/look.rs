use crate::{Clock, Numbers, Slot, Slots, Step, Value};

/// A rule that looks at its whole tensor before an element of it moves: at a norm, a mean, a maximum.
///
/// A look is a dry run. Of every element it reads a few [terms](Self::terms), with the gradient, the parameter and
/// the state before the step; they are added up over the tensor, and [`settle`](Self::settle) makes of the sums what
/// the next look, and at last the [direction](Self::direction), know of the whole. Nothing moves before the last look.
///
/// ```text
/// g     = sign·grad + l2·param,   param = retain·param        as of any rule
/// sums  = Σ terms(coefs, known, param, g, state)              for each look
/// known, kept = settle(coefs, sums, known, kept)
/// u, state = direction(coefs, known, param, g, state)
/// param = param - rate·u
/// ```
///
/// A step is one pass over memory for each look, and one to move. As tensor operations nothing is read back: what is
/// known is a tensor of one element, for which `settle` is written over [`Value`] like all else.
///
/// ```
/// use downhill_rule::{Clock, Look, Numbers, Slot, Step, Value};
///
/// /// A step of the length of the learning rate, whatever the gradient.
/// #[derive(Clone)]
/// struct Normalised;
///
/// impl Numbers for Normalised {}
///
/// impl Look for Normalised {
///     type State<V: Value> = [V; 0];
///     type Kept<V: Value> = [V; 0];
///     type Sums<V: Value> = [V; 1];
///     type Known<V: Value> = [V; 1];
///     type Coefs = ();
///
///     fn slots(&self) -> Vec<Slot> {
///         Vec::new()
///     }
///     fn prepare(&self, clock: &mut Clock, _shape: &[usize]) -> Step<()> {
///         Step::new(clock.lr, ())
///     }
///     fn terms<const LOOK: usize, V: Value>(
///         _: &(), _: &[V; 1], _: &V, grad: V, _: [V; 0],
///     ) -> [V; 1] {
///         [grad.square()]
///     }
///     fn settle<const LOOK: usize, V: Value>(
///         _: &(), [squares]: [V; 1], _len: f64, _: [V; 1], kept: [V; 0],
///     ) -> ([V; 1], [V; 0]) {
///         ([squares.sqrt()], kept)
///     }
///     fn direction<V: Value>(
///         _: &(), [norm]: &[V; 1], _: &V, grad: V, state: [V; 0],
///     ) -> (V, [V; 0]) {
///         (grad / norm.clone(), state)
///     }
/// }
/// ```
pub trait Look: Numbers + Clone + Send + Sync + 'static {
    /// State of one element.
    type State<V: Value>: Slots<V>;
    /// State of the tensor as a whole: numbers.
    type Kept<V: Value>: Slots<V>;
    /// What a look adds up, at most [`MAX_SUMS`] numbers.
    type Sums<V: Value>: Slots<V>;
    /// What the looks leave behind.
    type Known<V: Value>: Slots<V> + Clone;
    /// Host numbers, computed once per step.
    type Coefs: Copy + Send + Sync;

    /// How often it looks, at most twice.
    const LOOKS: usize = 1;

    /// Name and start of each element of [`State`](Self::State), in its order.
    fn slots(&self) -> Vec<Slot>;

    /// Name and start of each number of [`Kept`](Self::Kept), in its order.
    fn kept(&self) -> Vec<Slot> {
        Vec::new()
    }

    /// Checks that [`slots`](Self::slots) and [`kept`](Self::kept) name what there is; whoever runs a rule calls it
    /// first.
    ///
    /// # Panics
    ///
    /// Panics if their numbers differ, or if it looks too often or at too much.
    fn check_slots(&self) {
        let named = (self.slots().len(), self.kept().len());
        let state = <Self::State<f64> as Slots<f64>>::LEN;
        let kept = <Self::Kept<f64> as Slots<f64>>::LEN;
        assert_eq!(
            named,
            (state, kept),
            "a rule must name each value of its state: `slots` and `kept` have other numbers of names"
        );
        let sums = <Self::Sums<f64> as Slots<f64>>::LEN;
        assert!(
            sums <= MAX_SUMS,
            "a look has at most {MAX_SUMS} sums, not {sums}"
        );
        let looks = Self::LOOKS;
        assert!(looks <= 2, "a rule looks at most twice, not {looks} times");
    }

    /// How the terms of a look are put together.
    fn fold(_look: usize) -> Fold {
        Fold::Sum
    }

    /// What the host computes for one step of one parameter of this shape.
    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<Self::Coefs>;

    /// What one element adds to the sums of a look. In the first look `known` means nothing yet.
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Self::Coefs,
        known: &Self::Known<V>,
        param: &V,
        grad: V,
        state: Self::State<V>,
    ) -> Self::Sums<V>;

    /// What the sums over `len` elements say, with what is known from the look before, and the new state of the
    /// whole.
    fn settle<const LOOK: usize, V: Value>(
        coefs: &Self::Coefs,
        sums: Self::Sums<V>,
        len: f64,
        known: Self::Known<V>,
        kept: Self::Kept<V>,
    ) -> (Self::Known<V>, Self::Kept<V>);

    /// The direction of descent of one element, and its new state.
    fn direction<V: Value>(
        coefs: &Self::Coefs,
        known: &Self::Known<V>,
        param: &V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>);

    /// What one element adds to the sums of a look under `step`.
    #[inline(always)]
    fn glance<const LOOK: usize, V: Value>(
        step: &Step<Self::Coefs>,
        known: &Self::Known<V>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> Self::Sums<V> {
        let (param, grad) = step.begin(param, grad);
        Self::terms::<LOOK, V>(&step.coefs, known, &param, grad, state)
    }

    /// The step of one element, with all that is known.
    #[inline(always)]
    fn advance<const CAUTIOUS: bool, V: Value>(
        step: &Step<Self::Coefs>,
        known: &Self::Known<V>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        let (param, grad) = step.begin(param, grad);
        let (direction, state) = Self::direction(&step.coefs, known, &param, grad, state);
        let param = match CAUTIOUS {
            true => step.decayed_cautiously(param, &direction),
            false => param,
        };
        (param - direction.scale(step.rate), state)
    }
}

/// More sums than any look has.
pub const MAX_SUMS: usize = 4;

/// How the terms of all elements are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// They are added.
    Sum,
    /// The largest is taken; they are not negative.
    Max,
}
