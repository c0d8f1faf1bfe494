//! What a kernel of a rule that looks is told while it is compiled.

use std::hash::{DefaultHasher, Hash, Hasher};

use downhill_rule::tape::{Op, Register, Tape, Unary, leading_to};
use downhill_rule::{Fold, Frame, Over, StepRecording};

/// The step of a rule that looks: its tapes, and of what their inputs and outputs are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    key: u64,
    looks: Vec<Look>,
    go: Tape,
    /// Numbers of the host that come before those of the move.
    go_scalars: usize,
    pub known: Vec<Over>,
    pub kept: Vec<Over>,
    /// Whether columns lie before rows.
    pub transposed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Look {
    terms: Tape,
    terms_scalars: usize,
    settle: Tape,
    settle_scalars: usize,
    over: Vec<Over>,
    fold: Fold,
    /// The operations of `settle` that need all rows or columns, and of which.
    means: Vec<(Register, Over)>,
}

impl Hash for Plan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// How a parameter is laid out: matrices, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub matrices: usize,
    pub rows: usize,
    pub cols: usize,
}

impl Grid {
    /// The grid of a shape, and whether its columns lie before its rows; none where they are not one after the other.
    pub fn new(frame: Option<&Frame>, shape: &[usize]) -> Option<(Self, bool)> {
        let len = shape.iter().product();
        let Some(frame) = frame else {
            let grid = Self {
                matrices: 1,
                rows: 1,
                cols: len,
            };
            return Some((grid, false));
        };
        let count = |dims: &[usize]| dims.iter().map(|&dim| shape[dim]).product::<usize>();
        let (rows, cols) = (count(&frame.rows), count(&frame.cols));
        let grid = Self {
            matrices: len / (rows * cols),
            rows,
            cols,
        };
        let back = frame.cols.iter().chain(&frame.rows);
        match frame.axes(shape.len()).is_sorted() {
            true => Some((grid, false)),
            false => (grid.matrices == 1 && back.is_sorted()).then_some((grid, true)),
        }
    }

    pub fn len(self) -> usize {
        self.matrices * self.rows * self.cols
    }

    /// How many numbers there are of this.
    pub fn count(self, over: Over) -> usize {
        match over {
            Over::Whole => 1,
            Over::Rows => self.matrices * self.rows,
            Over::Cols => self.matrices * self.cols,
        }
    }
}

/// A piece of a step: what a thread computes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// What an element adds to the sums of a look over this.
    Terms(usize, Over),
    /// What a mean of the settlement of a look is of.
    Mean(usize, usize),
    /// What a look comes to, of this.
    Settled(usize, Over),
    /// The move.
    Go,
}

impl Plan {
    /// The plan of a step, and the numbers of the host that it needs.
    pub fn new(recorded: StepRecording, transposed: bool) -> (Self, Vec<f64>) {
        let mut scalars = Vec::new();
        let mut after = |numbers: Vec<f64>| {
            let before = scalars.len();
            scalars.extend(numbers);
            before
        };
        let (known, kept) = (recorded.known, recorded.kept);
        let looks = recorded.looks.into_iter().map(|look| {
            let sums = look.terms.tape.outputs().len();
            let over = look.over[..sums].to_vec();
            let of: Vec<Over> = over.iter().chain(&known).chain(&kept).copied().collect();
            Look {
                means: means(&look.settle.tape, &of),
                terms_scalars: after(look.terms.scalars),
                terms: look.terms.tape,
                settle_scalars: after(look.settle.scalars),
                settle: look.settle.tape,
                fold: look.fold,
                over,
            }
        });
        let mut plan = Self {
            key: 0,
            looks: looks.collect(),
            go_scalars: after(recorded.go.scalars),
            go: recorded.go.tape,
            known,
            kept,
            transposed,
        };
        let mut hasher = DefaultHasher::new();
        for look in &plan.looks {
            (look.terms.key(), look.settle.key()).hash(&mut hasher);
        }
        let sides = format!("{:?} {:?} {transposed}", plan.known, plan.kept);
        (plan.go.key(), sides).hash(&mut hasher);
        plan.key = hasher.finish();
        (plan, scalars)
    }

    pub fn key(&self) -> u64 {
        self.key
    }

    pub fn looks(&self) -> usize {
        self.looks.len()
    }

    /// How what belongs to a part is put together: by the largest, or by their sum.
    pub fn is_largest(&self, part: Part) -> bool {
        let (Part::Terms(look, _) | Part::Mean(look, _) | Part::Settled(look, _)) = part else {
            return false;
        };
        self.looks[look].fold == Fold::Max
    }

    /// What the sums of a part are over.
    pub fn of(&self, part: Part) -> Over {
        match part {
            Part::Terms(_, over) | Part::Settled(_, over) => over,
            Part::Mean(look, mean) => self.means(look)[mean].1,
            Part::Go => Over::Whole,
        }
    }

    /// Over what the sums of a look are.
    pub fn over(&self, look: usize) -> &[Over] {
        &self.looks[look].over
    }

    /// Numbers of all sums before those of a look.
    pub fn sums_before(&self, look: usize) -> usize {
        let before = self.looks[..look].iter();
        before.map(|look| look.over.len()).sum()
    }

    /// Which of the sizes is the place of one of the sums of a part.
    pub fn place(&self, part: Part, target: usize) -> usize {
        let Part::Terms(look, _) = part else {
            return 0;
        };
        let sum = self.sums_before(look) + self.targets(part)[target];
        super::look::PLACES + self.known.len() + sum
    }

    /// Means in the settlement of a look, and of what.
    pub fn means(&self, look: usize) -> &[(Register, Over)] {
        &self.looks[look].means
    }

    /// Which of the means of a part an operation is, if it is one.
    pub fn mean(&self, part: Part, operation: usize) -> Option<usize> {
        let (Part::Mean(look, _) | Part::Settled(look, _)) = part else {
            return None;
        };
        let mut means = self.means(look).iter();
        means.position(|(at, _)| usize::from(*at) == operation)
    }

    /// The tape of a part, and the place of its first number.
    pub fn tape(&self, part: Part) -> (&Tape, usize) {
        match part {
            Part::Terms(look, _) => (&self.looks[look].terms, self.looks[look].terms_scalars),
            Part::Mean(look, _) | Part::Settled(look, _) => {
                (&self.looks[look].settle, self.looks[look].settle_scalars)
            }
            Part::Go => (&self.go, self.go_scalars),
        }
    }

    /// Which outputs of its tape a part computes.
    pub fn targets(&self, part: Part) -> Vec<usize> {
        let of = |all: &mut dyn Iterator<Item = &Over>, over| {
            let found = all.enumerate().filter(|(_, found)| **found == over);
            found.map(|(at, _)| at).collect()
        };
        match part {
            Part::Terms(look, over) => of(&mut self.over(look).iter(), over),
            Part::Settled(_, over) => of(&mut self.known.iter().chain(&self.kept), over),
            Part::Mean(..) => Vec::new(),
            Part::Go => (0..self.go.outputs().len()).collect(),
        }
    }

    /// The results that a part computes.
    pub fn results(&self, part: Part) -> Vec<Register> {
        let (tape, _) = self.tape(part);
        if let Part::Mean(look, mean) = part {
            let (at, _) = self.looks[look].means[mean];
            return tape.ops()[usize::from(at)].operands();
        }
        let targets = self.targets(part).into_iter();
        targets.map(|target| tape.outputs()[target]).collect()
    }

    /// Which operations lead to the results of a part; what comes before a mean does not.
    pub fn needed(&self, part: Part) -> Vec<bool> {
        let (tape, _) = self.tape(part);
        let is_mean = |at| self.mean(part, at).is_some();
        leading_to(tape.ops(), &self.results(part), is_mean)
    }

    /// Whether a part reads an input.
    pub fn reads(&self, part: Part, input: usize) -> bool {
        let (tape, _) = self.tape(part);
        let needed = self.needed(part);
        let mut ops = tape.ops().iter().zip(needed);
        ops.any(|(op, needed)| needed && *op == Op::Input(input as u16))
    }
}

/// The operations that need all rows or all columns. Of one number a mean is the number.
fn means(settle: &Tape, of: &[Over]) -> Vec<(Register, Over)> {
    let mut found = Vec::new();
    let mut sides: Vec<Over> = Vec::new();
    for (at, op) in settle.ops().iter().enumerate() {
        let side = |register: &Register| sides[usize::from(*register)];
        let operands = op.operands();
        let sided = operands.iter().map(side).find(|side| *side != Over::Whole);
        let side = match op {
            Op::Input(input) => of[usize::from(*input)],
            Op::Unary(Unary::Mean | Unary::Largest, _) => {
                if let Some(side) = sided {
                    found.push((at as Register, side));
                }
                Over::Whole
            }
            _ => sided.unwrap_or(Over::Whole),
        };
        sides.push(side);
    }
    found
}
