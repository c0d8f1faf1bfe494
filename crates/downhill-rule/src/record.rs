//! The number that writes down what is done to it.

use core::cell::RefCell;
use core::ops::{Add, Div, Mul, Sub};

use crate::tape::{Binary, Op, Recording, Register, Tape, Unary, With};
use crate::{Field, Fold, Frame, Look, MAX_SUMS, Over, Rule, Size, Slots, Step, Value};

#[derive(Default)]
struct Notes {
    ops: Vec<Op>,
    scalars: Vec<f64>,
}

/// The result of an operation that is written down.
#[derive(Clone, Copy)]
struct Written<'a> {
    notes: &'a RefCell<Notes>,
    at: Register,
}

impl Written<'_> {
    fn push(self, op: Op) -> Self {
        let mut notes = self.notes.borrow_mut();
        notes.ops.push(op);
        let at = (notes.ops.len() - 1) as Register;
        Self { at, ..self }
    }

    fn scalar(self, number: f64) -> u16 {
        let mut notes = self.notes.borrow_mut();
        notes.scalars.push(number);
        (notes.scalars.len() - 1) as u16
    }

    fn unary(self, op: Unary) -> Self {
        self.push(Op::Unary(op, self.at))
    }

    fn binary(self, op: Binary, other: Self) -> Self {
        self.push(Op::Binary(op, self.at, other.at))
    }

    fn with(self, op: With, number: f64) -> Self {
        let number = self.scalar(number);
        self.push(Op::With(op, self.at, number))
    }
}

macro_rules! arithmetic {
    ($($op:ident $method:ident),*) => {$(
        impl $op for Written<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(Binary::$op, other)
            }
        }
    )*};
}

arithmetic!(Add add, Sub sub, Mul mul, Div div);

impl Value for Written<'_> {
    fn scale(self, factor: f64) -> Self {
        self.with(With::Scale, factor)
    }
    fn offset(self, term: f64) -> Self {
        self.with(With::Offset, term)
    }
    fn recip(self) -> Self {
        self.unary(Unary::Recip)
    }
    fn sqrt(self) -> Self {
        self.unary(Unary::Sqrt)
    }
    fn abs(self) -> Self {
        self.unary(Unary::Abs)
    }
    fn sign(self) -> Self {
        self.unary(Unary::Sign)
    }
    fn heaviside(self) -> Self {
        self.unary(Unary::Heaviside)
    }
    fn maximum(self, other: Self) -> Self {
        self.binary(Binary::Max, other)
    }
    fn minimum(self, other: Self) -> Self {
        self.binary(Binary::Min, other)
    }
    fn select(self, positive: Self, otherwise: Self) -> Self {
        self.push(Op::Select(self.at, positive.at, otherwise.at))
    }
    fn powf(self, exponent: f64) -> Self {
        self.with(With::Pow, exponent)
    }
    fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }
    fn cbrt(self) -> Self {
        self.unary(Unary::Cbrt)
    }
    fn clamp_min(self, floor: f64) -> Self {
        self.with(With::ClampMin, floor)
    }
    fn clamp_max(self, ceiling: f64) -> Self {
        self.with(With::ClampMax, ceiling)
    }
}

impl Field for Written<'_> {
    fn mean(self) -> Self {
        self.unary(Unary::Mean)
    }
    fn largest(self) -> Self {
        self.unary(Unary::Largest)
    }
    fn filled(self, number: f64) -> Self {
        let number = self.scalar(number);
        self.push(Op::Scalar(number))
    }
}

/// Writes down what `work` does to inputs that it takes one after the other.
fn record<'a>(
    notes: &'a RefCell<Notes>,
    work: impl FnOnce(&mut dyn FnMut() -> Written<'a>, &mut dyn FnMut(Written<'a>)),
) -> Recording {
    let (mut inputs, mut outputs) = (0, Vec::new());
    let mut next = || {
        inputs += 1;
        let input = Op::Input(inputs - 1);
        Written { notes, at: 0 }.push(input)
    };
    work(&mut next, &mut |output| outputs.push(output.at));
    let notes = notes.borrow();
    let (tape, scalars) = Tape::new(&notes.ops, &outputs, &notes.scalars);
    Recording { tape, scalars }
}

impl Recording {
    /// One step of a rule. The inputs are parameter, gradient and state, the outputs parameter and state.
    pub fn step<R: Rule>(step: &Step<R::Coefs>) -> Self {
        let notes = RefCell::default();
        record(&notes, |mut next, mut put| {
            let (param, grad) = (next(), next());
            let state = R::State::gather(&mut next);
            let (param, state) = R::go(step, param, grad, state);
            put(param);
            state.scatter(&mut put);
        })
    }
}

/// What a look takes down, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LookRecording {
    /// From parameter, gradient, state and what is known to a term for each sum.
    pub terms: Recording,
    /// How the terms are put together.
    pub fold: Fold,
    /// Over what, for each sum.
    pub over: [Over; MAX_SUMS],
    /// From the sums, what is known and what is kept to what is known and kept from now on.
    pub settle: Recording,
}

/// All of one step: its looks, and the move. A rule that treats every element alone has no looks.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecording {
    /// In their order.
    pub looks: Vec<LookRecording>,
    /// From parameter, gradient, state and what is known to parameter and state.
    pub go: Recording,
    /// Of what each number is that is known.
    pub known: Vec<Over>,
    /// Of what each number is that is kept, beside the state.
    pub kept: Vec<Over>,
    /// What the rows and columns are, of a rule that looks at some.
    pub frame: Option<Frame>,
}

impl StepRecording {
    /// One step of a rule.
    pub fn of_rule<R: Rule>(step: &Step<R::Coefs>) -> Self {
        Self::without_looks(Recording::step::<R>(step))
    }

    /// One step of a rule that has looked, at a model, of which it knows these numbers.
    pub fn of_known<R: Look>(step: &Step<R::Coefs>, known: &[f64]) -> Self {
        let mut known = known.iter();
        let go = move_along::<R>(step, |next| {
            let place = next();
            let number = place.scalar(known.next().copied().unwrap_or_default());
            place.push(Op::Scalar(number))
        });
        Self::without_looks(go)
    }

    fn without_looks(go: Recording) -> Self {
        Self {
            looks: Vec::new(),
            go,
            known: Vec::new(),
            kept: Vec::new(),
            frame: None,
        }
    }

    /// One step of a rule that looks at a parameter of this shape.
    pub fn of_look<R: Look>(step: &Step<R::Coefs>, frame: Option<Frame>, shape: &[usize]) -> Self {
        let size = match &frame {
            Some(frame) => frame.size(shape),
            None => Size::flat(shape),
        };
        let mut looks = Vec::new();
        if R::LOOKS > 0 {
            looks.push(look::<R, 0>(step, &size));
        }
        if R::LOOKS > 1 {
            looks.push(look::<R, 1>(step, &size));
        }
        if R::LOOKS > 2 {
            looks.push(look::<R, 2>(step, &size));
        }
        let (known, kept) = (
            <R::Known<f64> as Slots<f64>>::LEN,
            <R::Kept<f64> as Slots<f64>>::LEN,
        );
        Self {
            looks,
            go: move_along::<R>(step, |next| next()),
            known: R::KNOWN[..known].to_vec(),
            kept: R::KEPT[..kept].to_vec(),
            frame,
        }
    }
}

/// The move of a rule that has looked; `known` gives what it knows.
fn move_along<R: Look>(
    step: &Step<R::Coefs>,
    mut known: impl for<'a> FnMut(&mut dyn FnMut() -> Written<'a>) -> Written<'a>,
) -> Recording {
    let notes = RefCell::default();
    record(&notes, |mut next, mut put| {
        let (param, grad) = (next(), next());
        let state = R::State::gather(&mut next);
        let known = R::Known::gather(&mut || known(next));
        let (param, state) = match step.cautious {
            0.0 => R::advance::<false, _>(step, &known, param, grad, state),
            _ => R::advance::<true, _>(step, &known, param, grad, state),
        };
        put(param);
        state.scatter(&mut put);
    })
}

fn look<R: Look, const LOOK: usize>(step: &Step<R::Coefs>, size: &Size) -> LookRecording {
    let notes = RefCell::default();
    let terms = record(&notes, |mut next, put| {
        let (param, grad) = (next(), next());
        let state = R::State::gather(&mut next);
        let known = R::Known::gather(&mut next);
        let terms = R::glance::<LOOK, true, _>(step, &known, param, grad, state);
        let mut left = R::sums(LOOK);
        terms.scatter(&mut |term| {
            if left > 0 {
                left -= 1;
                put(term);
            }
        });
    });
    let notes = RefCell::default();
    let settle = record(&notes, |mut next, mut put| {
        let (mut left, mut first) = (R::sums(LOOK), None);
        let sums = R::Sums::gather(&mut || match (left, first) {
            // It means nothing.
            (0, Some(first)) => first,
            _ => {
                left = left.saturating_sub(1);
                *first.insert(next())
            }
        });
        let known = R::Known::gather(&mut next);
        let kept = R::Kept::gather(&mut next);
        let (known, kept) = R::settle::<LOOK, _>(&step.coefs, sums, size, known, kept);
        known.scatter(&mut put);
        kept.scatter(&mut put);
    });
    LookRecording {
        terms,
        fold: R::fold(LOOK),
        over: R::over(LOOK),
        settle,
    }
}
