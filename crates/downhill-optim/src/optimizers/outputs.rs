//! Where the outputs of a weight are.

use downhill_rule::{Frame, Over, Size};

use crate::program::Program;

/// Where the outputs of a weight are: a linear layer of Burn's has `[inputs, outputs]`, and a convolution
/// `[outputs, inputs, …]`.
pub trait Outputs: Copy + Send + Sync + 'static {
    /// What one output is.
    const OVER: Over;

    /// Its rows and columns.
    fn frame(rank: usize) -> Frame;

    /// Whether there are several.
    const SEVERAL: bool = !matches!(Self::OVER, Over::Whole);

    /// How many elements an output has.
    fn elements(size: &Size) -> f64 {
        match Self::OVER {
            Over::Whole => size.whole,
            Over::Rows => size.row,
            Over::Cols => size.col,
        }
    }
}

/// A vector, that is all of one.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

/// A matrix.
#[derive(Clone, Copy, Debug)]
pub struct Last;

/// What has more dimensions.
#[derive(Clone, Copy, Debug)]
pub struct First;

impl Outputs for Alone {
    const OVER: Over = Over::Whole;

    fn frame(_: usize) -> Frame {
        Frame::default()
    }
}

impl Outputs for Last {
    const OVER: Over = Over::Cols;

    fn frame(rank: usize) -> Frame {
        Frame::last_two(rank)
    }
}

impl Outputs for First {
    const OVER: Over = Over::Rows;

    fn frame(rank: usize) -> Frame {
        Frame::first(rank)
    }
}

/// The programs of the three, for parameters of any shape.
pub(super) fn by_outputs(alone: Program, last: Program, first: Program) -> Program {
    let route = |shape: &[usize]| shape.len().clamp(1, 3) - 1;
    Program::by_shape(route, [alone, last, first])
}
