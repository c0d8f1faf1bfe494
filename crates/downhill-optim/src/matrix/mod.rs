//! What treats a weight as a matrix: where rows and columns are, matrix products on every carrier, and what is made
//! of them.

pub(crate) mod basis;
mod decompose;
mod dense;
mod formula;
mod layout;
mod memory;
mod newton_schulz;
mod random;
mod routing;
mod turning;

use downhill_rule::{Rule, Step};

pub(crate) use basis::Bases;
pub(crate) use decompose::{eigen, eigenvectors, orthogonal};
pub(crate) use dense::{Dense, Entry};
pub(crate) use formula::{Formula, Of, computed};
pub use layout::MatrixLayout;
pub(crate) use layout::{Block, Blocks, Extent, Held};
pub(crate) use memory::turned;
pub(crate) use newton_schulz::NewtonSchulz;
pub use newton_schulz::NsCoefficients;
pub(crate) use random::Draw;
pub(crate) use routing::{Routing, is_matrix, no_matrix};
pub(crate) use turning::{Method, Moment};

/// A dimension of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Rows = 0,
    Cols = 1,
}

/// Matrices on some carrier.
pub(crate) trait Algebra {
    type Matrix: Clone;

    /// Rows and columns.
    fn size(&self, matrix: &Self::Matrix) -> [usize; 2];

    /// `a·b`.
    fn product(&self, a: &Self::Matrix, b: &Self::Matrix) -> Self::Matrix;

    /// `aᵀ·b`.
    fn transposed_product(&self, a: &Self::Matrix, b: &Self::Matrix) -> Self::Matrix;

    /// `a·bᵀ`.
    fn product_transposed(&self, a: &Self::Matrix, b: &Self::Matrix) -> Self::Matrix;

    /// A matrix that is not needed any more: the next one as large may take its memory.
    fn discard(&self, _matrix: Self::Matrix) {}

    /// Rows and columns exchanged.
    fn transposed(&self, a: Self::Matrix) -> Self::Matrix;

    /// The products of all rows with each other, `a·aᵀ`, or of all columns, `aᵀ·a`.
    fn gram(&self, a: &Self::Matrix, side: Side) -> Self::Matrix;

    /// `a·b` of symmetric matrices that commute: it is symmetric.
    fn symmetric(&self, a: &Self::Matrix, b: &Self::Matrix) -> Self::Matrix;

    /// `a·I + b·x + c·x·x` of a symmetric matrix.
    fn polynomial(&self, x: &Self::Matrix, coefficients: [f64; 3]) -> Self::Matrix;

    /// `a + factor·b`, in the place of `a`.
    fn added(&self, a: Self::Matrix, factor: f64, b: &Self::Matrix) -> Self::Matrix;

    /// `decay·mean + share·new`, in the place of the mean.
    fn follow(&self, mean: &mut Self::Matrix, decay: f64, share: f64, new: &Self::Matrix);

    /// The product with a square matrix from the side that has as many rows.
    fn applied(&self, square: &Self::Matrix, to: &Self::Matrix, side: Side) -> Self::Matrix {
        match side {
            Side::Rows => self.product(square, to),
            Side::Cols => self.product(to, square),
        }
    }

    /// `a/max(|a|·safety, floor)`, with the Frobenius norm, which does not overflow for finite numbers.
    fn normalized(&self, a: Self::Matrix, safety: f64, floor: f64) -> Self::Matrix;

    /// `a` as long as `b`, in the Frobenius norm, whose own length has `epsilon` added.
    fn as_long_as(&self, a: Self::Matrix, b: &Self::Matrix, epsilon: f64) -> Self::Matrix;

    /// Every number multiplied.
    fn scaled(&self, a: Self::Matrix, factor: f64) -> Self::Matrix;

    /// Every number rounded to 16 bits of bfloat16.
    fn rounded(&self, a: Self::Matrix) -> Self::Matrix;

    /// Zeros, beside another matrix.
    fn zeros(&self, size: [usize; 2], beside: &Self::Matrix) -> Self::Matrix;

    /// Random numbers, beside another matrix.
    fn random(&self, draw: Draw, beside: &Self::Matrix) -> Self::Matrix;

    /// The length of each row, of each column, or of the whole: a matrix of one column, one row, or both.
    fn lengths(&self, a: &Self::Matrix, of: Option<Side>) -> Self::Matrix;

    /// Every number multiplied by the factor of its row, of its column, or of all.
    fn stretched(&self, a: Self::Matrix, factors: &Self::Matrix) -> Self::Matrix;

    /// A step of a rule that treats every element alone.
    fn pass<R: Rule>(
        &self,
        step: &Step<R::Coefs>,
        param: Self::Matrix,
        grad: &Self::Matrix,
        slots: &mut [Self::Matrix],
    ) -> Self::Matrix;

    /// What comes out of a computation in memory, in another precision, if that succeeds.
    fn on_host<V: Entry>(
        &self,
        matrices: &[&Self::Matrix],
        work: impl FnOnce(Vec<Dense<V>>) -> Option<Vec<Dense<V>>>,
    ) -> Option<Vec<Self::Matrix>>;

    /// [`on_host`](Self::on_host), of one matrix.
    fn one_on_host<V: Entry>(
        &self,
        matrix: &Self::Matrix,
        work: impl FnOnce(&Dense<V>) -> Option<Dense<V>>,
    ) -> Option<Self::Matrix> {
        let found = self.on_host::<V>(&[matrix], |found| Some(vec![work(&found[0])?]));
        found?.pop()
    }
}

/// What is done with one matrix, and with its part of the state.
pub(crate) trait Turn {
    fn turn<A: Algebra>(
        &self,
        algebra: &A,
        matrix: A::Matrix,
        state: &mut [A::Matrix],
    ) -> A::Matrix;
}

/// A computation in double or in single precision.
macro_rules! in_precision {
    ($double:expr, $real:ident => $work:expr) => {
        match $double {
            true => {
                type $real = f64;
                $work
            }
            false => {
                type $real = f32;
                $work
            }
        }
    };
}
pub(crate) use in_precision;
