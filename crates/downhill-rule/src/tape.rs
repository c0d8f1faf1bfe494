//! A rule written down: the list of operations that it applies to an element.

use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use crate::Real;

/// The number of an operation, by which a later one names its result.
pub type Register = u16;

/// One operation of a [`Tape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// One of the inputs.
    Input(u16),
    /// A number of the host's.
    Scalar(u16),
    /// An operation on one value.
    Unary(Unary, Register),
    /// An operation on two values.
    Binary(Binary, Register, Register),
    /// An operation on a value and a number of the host's.
    With(With, Register, u16),
    /// The second where the first is above zero, and the third elsewhere.
    Select(Register, Register, Register),
}

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `1 / x`
    Recip,
    /// The square root.
    Sqrt,
    /// The absolute value.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// 1 above zero, 0 otherwise.
    Heaviside,
    /// `e` to the power of the value.
    Exp,
    /// The cube root.
    Cbrt,
    /// The mean over what there is a value of; the value itself where there is one.
    Mean,
    /// The largest of them.
    Largest,
}

/// Operations on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a · b`
    Mul,
    /// `a / b`
    Div,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

/// Operations on a value and a number of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum With {
    /// `x · number`
    Scale,
    /// `x + number`
    Offset,
    /// `x` to the power of the number.
    Pow,
    /// `max(x, number)`
    ClampMin,
    /// `min(x, number)`
    ClampMax,
}

/// The operations of a rule, in order: what it computes, without the numbers that it computes with.
///
/// Two steps of a rule have the same tape and other [numbers](Recording::scalars), as long as the rule does not
/// decide by its coefficients what to compute. So a tape can be compiled once.
///
/// ```
/// use downhill_rule::tape::Recording;
/// use downhill_rule::{Clock, Descent, Rule};
///
/// let step = Descent.prepare(&mut Clock::new(0.5, 1, &mut []));
/// let recording = Recording::step::<Descent>(&step);
/// let moved = recording.run(&[1.0_f64, 3.0]);
/// assert_eq!(moved, [-0.5]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tape {
    ops: Vec<Op>,
    outputs: Vec<Register>,
    key: u64,
}

impl Hash for Tape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Tape {
    /// What of the operations leads to the outputs, and which of the numbers it needs.
    pub(crate) fn new(ops: &[Op], outputs: &[Register], scalars: &[f64]) -> (Self, Vec<f64>) {
        let needed = leading_to(ops, outputs, |_| false);
        let mut place = vec![0; ops.len()];
        let mut kept = Vec::with_capacity(ops.len());
        let mut numbers = Vec::with_capacity(scalars.len());
        for (at, op) in ops.iter().enumerate().filter(|(at, _)| needed[*at]) {
            place[at] = kept.len() as Register;
            let op = op.moved(
                |register| place[usize::from(register)],
                |scalar| {
                    numbers.push(scalars[usize::from(scalar)]);
                    (numbers.len() - 1) as u16
                },
            );
            kept.push(op);
        }
        let outputs = outputs.iter().map(|&at| place[usize::from(at)]).collect();
        let mut tape = Self {
            ops: kept,
            outputs,
            key: 0,
        };
        let mut hasher = DefaultHasher::new();
        (&tape.ops, &tape.outputs).hash(&mut hasher);
        tape.key = hasher.finish();
        (tape, numbers)
    }

    /// The operations; each names by its place the results of those before it.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The operations whose results come out.
    pub fn outputs(&self) -> &[Register] {
        &self.outputs
    }

    /// A number that tells tapes apart.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whether an input is used.
    pub fn reads(&self, input: usize) -> bool {
        let is_it = |op: &Op| matches!(op, Op::Input(at) if usize::from(*at) == input);
        self.ops.iter().any(is_it)
    }
}

/// Which operations lead to some results; what comes before one that is `given` does not.
pub fn leading_to(ops: &[Op], results: &[Register], given: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut needed = vec![false; ops.len()];
    for &result in results {
        needed[usize::from(result)] = true;
    }
    for (at, op) in ops.iter().enumerate().rev() {
        if needed[at] && !given(at) {
            op.each_operand(|operand| needed[usize::from(operand)] = true);
        }
    }
    needed
}

impl Op {
    fn each_operand(self, mut each: impl FnMut(Register)) {
        match self {
            Self::Input(_) | Self::Scalar(_) => {}
            Self::Unary(_, a) | Self::With(_, a, _) => each(a),
            Self::Binary(_, a, b) => {
                each(a);
                each(b);
            }
            Self::Select(a, b, c) => {
                each(a);
                each(b);
                each(c);
            }
        }
    }

    /// The operations that it works on.
    pub fn operands(self) -> Vec<Register> {
        let mut operands = Vec::new();
        self.each_operand(|operand| operands.push(operand));
        operands
    }

    fn moved(
        self,
        register: impl Fn(Register) -> Register,
        mut scalar: impl FnMut(u16) -> u16,
    ) -> Self {
        match self {
            Self::Input(at) => Self::Input(at),
            Self::Scalar(at) => Self::Scalar(scalar(at)),
            Self::Unary(op, a) => Self::Unary(op, register(a)),
            Self::Binary(op, a, b) => Self::Binary(op, register(a), register(b)),
            Self::With(op, a, at) => Self::With(op, register(a), scalar(at)),
            Self::Select(a, b, c) => Self::Select(register(a), register(b), register(c)),
        }
    }
}

/// A tape with the numbers of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// What is computed.
    pub tape: Tape,
    /// The host's numbers, as the tape counts them.
    pub scalars: Vec<f64>,
}

impl Recording {
    /// What comes out of these inputs, in their precision: the same as from the rule itself, bit for bit.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer inputs than the tape reads.
    pub fn run<R: Real>(&self, inputs: &[R]) -> Vec<R> {
        let mut results: Vec<R> = Vec::with_capacity(self.tape.ops.len());
        for op in &self.tape.ops {
            let at = |register: Register| results[usize::from(register)];
            let number = |scalar: u16| self.scalars[usize::from(scalar)];
            let result = match *op {
                Op::Input(input) => inputs[usize::from(input)],
                Op::Scalar(scalar) => R::from_f64(number(scalar)),
                Op::Unary(op, a) => unary(op, at(a)),
                Op::Binary(op, a, b) => binary(op, at(a), at(b)),
                Op::With(op, a, scalar) => with(op, at(a), number(scalar)),
                Op::Select(a, b, c) => at(a).select(at(b), at(c)),
            };
            results.push(result);
        }
        let outputs = self.tape.outputs.iter();
        outputs.map(|&at| results[usize::from(at)]).collect()
    }
}

fn unary<R: Real>(op: Unary, a: R) -> R {
    match op {
        Unary::Recip => a.recip(),
        Unary::Sqrt => a.sqrt(),
        Unary::Abs => a.abs(),
        Unary::Sign => a.sign(),
        Unary::Heaviside => a.heaviside(),
        Unary::Exp => a.exp(),
        Unary::Cbrt => a.cbrt(),
        Unary::Mean | Unary::Largest => a,
    }
}

fn binary<R: Real>(op: Binary, a: R, b: R) -> R {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => a.maximum(b),
        Binary::Min => a.minimum(b),
    }
}

fn with<R: Real>(op: With, a: R, number: f64) -> R {
    match op {
        With::Scale => a.scale(number),
        With::Offset => a.offset(number),
        With::Pow => a.powf(number),
        With::ClampMin => a.clamp_min(number),
        With::ClampMax => a.clamp_max(number),
    }
}
