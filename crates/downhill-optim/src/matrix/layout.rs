//! Where the inputs and the outputs of a weight are, and which matrices it is.

use core::ops::Range;

use downhill_rule::Slot;

use super::Side;
use crate::settings::choice;

choice! {
    /// Where the inputs and the outputs of a weight are.
    MatrixLayout {
        /// As Burn's layers have them: `[inputs, outputs]` with two dimensions, as a linear layer, `[outputs, inputs,
        /// …]` with more, as a convolution.
        Auto = "auto",
        /// The first dimension is that of the inputs, all others are outputs: a transposed convolution.
        InOut = "in_out",
        /// The first dimension is that of the outputs, all others are inputs.
        OutIn = "out_in",
    }
}

impl MatrixLayout {
    /// The dimension of the matrix that the outputs are: its rows are the first dimension of the weight, its columns
    /// all others.
    pub(crate) fn outputs(self, rank: usize) -> Side {
        match self {
            Self::Auto if rank == 2 => Side::Cols,
            Self::InOut => Side::Cols,
            Self::Auto | Self::OutIn => Side::Rows,
        }
    }
}

/// A weight as matrices: it is cut into pieces, whose rows are of its first dimension and whose columns are of all
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Rows and columns of the whole.
    pub whole: [usize; 2],
    /// Those of a piece; the last ones may be smaller.
    pub piece: [usize; 2],
}

/// Rows and columns of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

impl Blocks {
    /// A weight that is one matrix.
    pub fn one(shape: &[usize]) -> Self {
        let whole = [shape[0], shape[1..].iter().product()];
        Self {
            whole,
            piece: whole,
        }
    }

    /// A weight whose outputs are cut into equal parts. Outputs that cannot be cut so are one.
    pub fn parts(shape: &[usize], outputs: Side, parts: usize) -> Self {
        let mut blocks = Self::one(shape);
        let len = &mut blocks.piece[outputs as usize];
        if len.is_multiple_of(parts) {
            *len /= parts;
        }
        blocks
    }

    /// A weight whose rows and columns are cut into pieces of at most so many.
    pub fn of_at_most(shape: &[usize], len: usize) -> Self {
        let whole = Self::one(shape).whole;
        Self {
            whole,
            piece: whole.map(|side| side.min(len)),
        }
    }

    /// How many there are down and across.
    pub fn counts(&self) -> [usize; 2] {
        [0, 1].map(|side| self.whole[side].div_ceil(self.piece[side]))
    }

    pub fn count(&self) -> usize {
        let [down, across] = self.counts();
        down * across
    }

    /// Each, row by row.
    pub fn each(&self) -> impl Iterator<Item = Block> {
        let cut = |side: usize| {
            let (whole, piece) = (self.whole[side], self.piece[side]);
            (0..whole)
                .step_by(piece)
                .map(move |at| at..(at + piece).min(whole))
        };
        cut(0).flat_map(move |rows| {
            cut(1).map(move |cols| Block {
                rows: rows.clone(),
                cols,
            })
        })
    }
}

/// A tensor of the state of what is done with matrices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub slot: Slot,
    pub extent: Extent,
}

/// How much a tensor of the state is of each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A number for each element.
    Elements,
    /// A square matrix of as many rows as the piece has rows or columns.
    Square(Side),
    /// A matrix of so many rows and columns, of a weight that is one piece.
    Matrix([usize; 2]),
}

impl Held {
    pub fn elements(name: &'static str) -> Self {
        Self {
            slot: Slot::zeros(name),
            extent: Extent::Elements,
        }
    }

    pub fn matrix(name: &'static str, size: [usize; 2]) -> Self {
        Self {
            slot: Slot::zeros(name),
            extent: Extent::Matrix(size),
        }
    }

    pub fn square(name: &'static str, side: Side) -> Self {
        Self {
            slot: Slot::zeros(name),
            extent: Extent::Square(side),
        }
    }
}

impl Extent {
    /// Rows and columns of the part of a block.
    pub fn size(self, block: &Block) -> [usize; 2] {
        match self {
            Self::Elements => block.size(),
            Self::Square(side) => [block.size()[side as usize]; 2],
            Self::Matrix(size) => size,
        }
    }

    /// The shape for a weight of this shape. Those of several pieces are stacked, as large as the largest.
    pub fn shape(self, shape: &[usize], blocks: &Blocks) -> Vec<usize> {
        match self {
            Self::Elements => shape.to_vec(),
            Self::Square(side) => {
                let len = blocks.piece[side as usize];
                match blocks.count() {
                    1 => vec![len, len],
                    count => vec![count, len, len],
                }
            }
            Self::Matrix(size) => size.to_vec(),
        }
    }
}

impl Block {
    pub fn size(&self) -> [usize; 2] {
        [self.rows.len(), self.cols.len()]
    }
}
