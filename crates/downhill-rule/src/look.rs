use crate::{Clock, Numbers, Scalar, Slot, Slots, Step, Value};

/// A rule that looks at its whole tensor before an element of it moves: at a norm, a mean, a maximum.
///
/// A look is a dry run. Of every element it reads a few [terms](Self::terms), with the gradient, the parameter and
/// the state before the step; they are added up over the tensor, its rows or its columns, and
/// [`settle`](Self::settle) makes of the sums what the next look, and at last the [direction](Self::direction), know.
/// Nothing moves before the last look.
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
/// known is a tensor of one element, or of one for each row, for which `settle` is written over an abstract
/// [`Field`] as all else is over a [`Value`].
///
/// ```
/// use downhill_rule::{Clock, Field, Look, Numbers, Size, Slot, Step, Value};
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
///     fn settle<const LOOK: usize, V: Field>(
///         _: &(), [squares]: [V; 1], _: &Size, _: [V; 1], kept: [V; 0],
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
    /// State of the tensor as a whole, of its rows and its columns, saved before that of the elements;
    /// [`KEPT`](Self::KEPT) says which is what.
    type Kept<V: Value>: Slots<V>;
    /// What a look adds up, at most [`MAX_SUMS`] numbers; [`over`](Self::over) says over what.
    type Sums<V: Value>: Slots<V>;
    /// What the looks leave behind, at most [`MAX_KNOWN`] numbers; [`KNOWN`](Self::KNOWN) says of what.
    type Known<V: Value>: Slots<V> + Clone;
    /// Host numbers, computed once per step.
    type Coefs: Copy + Send + Sync;

    /// Whether its loops are compiled for the widest instructions of a machine too, which takes as long again.
    const WIDE: bool = true;
    /// How often it looks, at most three times.
    const LOOKS: usize = 1;
    /// Of what each value of [`Kept`](Self::Kept) is.
    const KEPT: [Over; MAX_KNOWN] = [Over::Whole; MAX_KNOWN];
    /// Of what each value of [`Known`](Self::Known) is.
    const KNOWN: [Over; MAX_KNOWN] = [Over::Whole; MAX_KNOWN];

    /// Whether anything that it keeps or knows is of rows or columns.
    const FRAMED: bool = has_sides(&Self::KEPT) || has_sides(&Self::KNOWN);

    /// What the rows and the columns of a parameter of this shape are, for a rule that [has](Self::FRAMED) some.
    fn frame(&self, _shape: &[usize]) -> Frame {
        Frame::default()
    }

    /// How many of the sums a look takes; what comes after them means nothing then.
    fn sums(_look: usize) -> usize {
        <Self::Sums<f64> as Slots<f64>>::LEN
    }

    /// Over what each sum of a look is taken.
    fn over(_look: usize) -> [Over; MAX_SUMS] {
        [Over::Whole; MAX_SUMS]
    }

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
    /// Panics if their numbers differ, or if it looks too often or at too much, or more than once at a model.
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
        assert!(looks <= 3, "a rule looks at most three times, not {looks}");
        assert!(
            self.scope() == Scope::Tensor || looks == 1,
            "a rule looks once at a model, not {looks} times"
        );
    }

    /// How the terms of a look are put together.
    fn fold(_look: usize) -> Fold {
        Fold::Sum
    }

    /// Scalars kept per parameter between steps, as of a [`Rule`](crate::Rule::memory).
    fn memory(&self) -> Vec<Scalar> {
        Vec::new()
    }

    /// Whether the learning rate of a step matters to it.
    fn follows_rate(&self) -> bool {
        true
    }

    /// What it looks at.
    fn scope(&self) -> Scope {
        Scope::Tensor
    }

    /// Whether it needs the loss of the step, as [`Clock::loss`].
    fn needs_loss(&self) -> bool {
        false
    }

    /// What the host computes for one step of one parameter of this shape.
    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<Self::Coefs>;

    /// What one element adds to the sums of a look. In the first look `known` is what was [kept](Self::Kept), number
    /// for number, where both are of the same, and means nothing where they are not.
    fn terms<const LOOK: usize, V: Value>(
        coefs: &Self::Coefs,
        known: &Self::Known<V>,
        param: &V,
        grad: V,
        state: Self::State<V>,
    ) -> Self::Sums<V>;

    /// What the sums say, with what is known from the look before, and the new state of the whole. It may not mix
    /// values of rows with those of columns.
    fn settle<const LOOK: usize, V: Field>(
        coefs: &Self::Coefs,
        sums: Self::Sums<V>,
        size: &Size,
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

    /// What one element adds to the sums of a look under `step`, with decay that is
    /// [coupled](Step::is_coupled) or without: then a look that does not ask for the parameter does not read it.
    #[inline(always)]
    fn glance<const LOOK: usize, const COUPLED: bool, V: Value>(
        step: &Step<Self::Coefs>,
        known: &Self::Known<V>,
        param: V,
        grad: V,
        state: Self::State<V>,
    ) -> Self::Sums<V> {
        let (param, grad) = match COUPLED {
            true => step.begin(param, grad),
            false => (param.scale(step.retain), grad.scale(step.sign)),
        };
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
        Self::land(step, param, direction, state)
    }

    /// The end of a step, as of a [`Rule`](crate::Rule::land).
    #[inline(always)]
    fn land<V: Value>(
        step: &Step<Self::Coefs>,
        param: V,
        direction: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        (param - direction.scale(step.rate), state)
    }

    /// Whether the parameter to evaluate is another than the one that is trained.
    fn has_evaluated(&self) -> bool {
        false
    }

    /// The parameter to evaluate, as of a [`Rule`](crate::Rule::evaluated).
    fn evaluated<V: Value>(&self, param: V, _state: Self::State<V>) -> V {
        param
    }
}

/// What a rule looks at before it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The tensor that it moves.
    Tensor,
    /// The whole model: its sums are those over all tensors that move, and what it keeps is the model's. It looks
    /// once, at no rows or columns.
    Model,
}

/// More sums than any look has.
pub const MAX_SUMS: usize = 4;

/// More numbers than any rule knows, or keeps, of its tensor.
pub const MAX_KNOWN: usize = 8;

/// What a sum is taken over, and what a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// The tensor: one number.
    Whole,
    /// A row: as many numbers as there are rows.
    Rows,
    /// A column: as many numbers as there are columns.
    Cols,
}

const fn has_sides(over: &[Over; MAX_KNOWN]) -> bool {
    let mut at = 0;
    while at < MAX_KNOWN {
        if !matches!(over[at], Over::Whole) {
            return true;
        }
        at += 1;
    }
    false
}

/// What the first of some numbers are of; the others are of the whole.
pub const fn over<const N: usize, const M: usize>(first: [Over; M]) -> [Over; N] {
    let mut all = [Over::Whole; N];
    let mut at = 0;
    while at < M {
        all[at] = first[at];
        at += 1;
    }
    all
}

/// Which dimensions of a parameter make its rows, and which its columns. What is left over counts matrices, each
/// with rows and columns of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The dimensions that count rows.
    pub rows: Vec<usize>,
    /// The dimensions that count columns.
    pub cols: Vec<usize>,
}

impl Frame {
    /// The last two dimensions.
    pub fn last_two(rank: usize) -> Self {
        Self {
            rows: vec![rank - 2],
            cols: vec![rank - 1],
        }
    }

    /// The first dimension against all others.
    pub fn first(rank: usize) -> Self {
        Self {
            rows: vec![0],
            cols: (1..rank).collect(),
        }
    }

    /// All dimensions: those that count matrices, then those of rows, then those of columns.
    pub fn axes(&self, rank: usize) -> Vec<usize> {
        let of_matrices = |dim: &usize| !self.rows.contains(dim) && !self.cols.contains(dim);
        let matrices = (0..rank).filter(of_matrices);
        let framed = self.rows.iter().chain(&self.cols).copied();
        matrices.chain(framed).collect()
    }

    /// How many elements there are in a parameter of this shape, in a row of it and in a column.
    pub fn size(&self, shape: &[usize]) -> Size {
        let count = |dims: &[usize]| dims.iter().map(|&dim| shape[dim]).product::<usize>() as f64;
        Size {
            row: count(&self.cols),
            col: count(&self.rows),
            ..Size::flat(shape)
        }
    }

    /// The shape of what there is one number of for the whole, for each row or for each column.
    pub fn kept(&self, shape: &[usize], over: Over) -> Vec<usize> {
        let mut kept = match over {
            Over::Whole => vec![1; shape.len()],
            Over::Rows | Over::Cols => shape.to_vec(),
        };
        let gone = match over {
            Over::Whole => &[][..],
            Over::Rows => &self.cols,
            Over::Cols => &self.rows,
        };
        for &dim in gone {
            kept[dim] = 1;
        }
        kept
    }
}

/// How many elements there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// In the tensor.
    pub whole: f64,
    /// In a row.
    pub row: f64,
    /// In a column.
    pub col: f64,
}

impl Size {
    /// Of a parameter without rows and columns.
    pub fn flat(shape: &[usize]) -> Self {
        let len = shape.iter().product::<usize>() as f64;
        Self {
            whole: len,
            row: len,
            col: 1.0,
        }
    }
}

/// A [`Value`] that is one number for the tensor, or one for each of its rows or columns.
pub trait Field: Value {
    /// Of one for each row, the mean over the rows of each matrix; of one for each column, that over its columns.
    #[must_use]
    fn mean(self) -> Self;

    /// The largest in the place of the mean; a NaN stays.
    #[must_use]
    fn largest(self) -> Self;

    /// A number, of whatever this is of.
    #[must_use]
    fn filled(self, number: f64) -> Self;
}

impl Field for f64 {
    fn mean(self) -> Self {
        self
    }

    fn largest(self) -> Self {
        self
    }

    fn filled(self, number: f64) -> Self {
        number
    }
}

/// How the terms of all elements are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// They are added.
    Sum,
    /// The largest is taken; they are not negative.
    Max,
}
