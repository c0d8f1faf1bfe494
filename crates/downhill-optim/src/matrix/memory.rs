//! A method of matrices over memory: the matrices of a weight, one after the other.

use core::cell::RefCell;

use downhill_rule::{Rule, Step};
use faer::MatRef;
use half::bf16;

use super::dense::{followed, polynomial, product, symmetric};
use super::layout::{Block, Extent};
use super::{Algebra, Blocks, Dense, Draw, Entry, Held, Side, Turn};
use crate::pass::{self, Buffers};

/// The products of matrices in memory, on the threads of the current pool.
pub(crate) struct DenseAlgebra<V> {
    /// Memory of what was discarded.
    spare: RefCell<Vec<Vec<V>>>,
}

impl<V: Entry> DenseAlgebra<V> {
    pub const fn new() -> Self {
        let spare = RefCell::new(Vec::new());
        Self { spare }
    }

    /// A matrix to be written over.
    fn blank(&self, rows: usize, cols: usize) -> Dense<V> {
        let mut spare = self.spare.borrow_mut();
        let fitting = spare.iter().position(|values| values.len() == rows * cols);
        match fitting {
            Some(at) => Dense {
                values: spare.swap_remove(at),
                rows,
                cols,
            },
            None => Dense::zeros(rows, cols),
        }
    }

    fn product_of(&self, a: MatRef<'_, V>, b: MatRef<'_, V>) -> Dense<V> {
        product(a, b, self.blank(a.nrows(), b.ncols()))
    }

    fn symmetric_of(&self, a: MatRef<'_, V>, b: MatRef<'_, V>) -> Dense<V> {
        symmetric(a, b, self.blank(a.nrows(), a.nrows()))
    }
}

impl<V: Entry> Algebra for DenseAlgebra<V> {
    type Matrix = Dense<V>;

    fn size(&self, matrix: &Dense<V>) -> [usize; 2] {
        [matrix.rows, matrix.cols]
    }

    fn product(&self, a: &Dense<V>, b: &Dense<V>) -> Dense<V> {
        self.product_of(a.view(), b.view())
    }

    fn transposed_product(&self, a: &Dense<V>, b: &Dense<V>) -> Dense<V> {
        self.product_of(a.view().transpose(), b.view())
    }

    fn product_transposed(&self, a: &Dense<V>, b: &Dense<V>) -> Dense<V> {
        self.product_of(a.view(), b.view().transpose())
    }

    fn discard(&self, matrix: Dense<V>) {
        self.spare.borrow_mut().push(matrix.values);
    }

    fn transposed(&self, a: Dense<V>) -> Dense<V> {
        a.transposed()
    }

    fn gram(&self, a: &Dense<V>, side: Side) -> Dense<V> {
        let view = a.view();
        match side {
            Side::Rows => self.symmetric_of(view, view.transpose()),
            Side::Cols => self.symmetric_of(view.transpose(), view),
        }
    }

    fn symmetric(&self, a: &Dense<V>, b: &Dense<V>) -> Dense<V> {
        self.symmetric_of(a.view(), b.view())
    }

    fn polynomial(&self, x: &Dense<V>, coefficients: [f64; 3]) -> Dense<V> {
        let blank = self.blank(x.rows, x.rows);
        polynomial(x, coefficients.map(V::from_f64), blank)
    }

    fn added(&self, mut a: Dense<V>, factor: f64, b: &Dense<V>) -> Dense<V> {
        self.follow(&mut a, 1.0, factor, b);
        a
    }

    fn follow(&self, mean: &mut Dense<V>, decay: f64, share: f64, new: &Dense<V>) {
        followed(
            &mut mean.values,
            V::from_f64(decay),
            V::from_f64(share),
            &new.values,
        );
    }

    fn normalized(&self, a: Dense<V>, safety: f64, floor: f64) -> Dense<V> {
        // Not `max`, which would lose a NaN.
        let norm = a.norm() * safety;
        let norm = if norm < floor { floor } else { norm };
        self.scaled(a, norm.recip())
    }

    fn as_long_as(&self, a: Dense<V>, b: &Dense<V>, epsilon: f64) -> Dense<V> {
        let factor = b.norm() / (a.norm() + epsilon);
        self.scaled(a, factor)
    }

    fn scaled(&self, mut a: Dense<V>, factor: f64) -> Dense<V> {
        let factor = V::from_f64(factor);
        pass::dispatch(|| a.map(|value| value * factor));
        a
    }

    fn rounded(&self, mut a: Dense<V>) -> Dense<V> {
        a.map(|value| V::from_f64(bf16::from_f64(value.to_f64()).to_f64()));
        a
    }

    fn zeros(&self, [rows, cols]: [usize; 2], _: &Dense<V>) -> Dense<V> {
        Dense::zeros(rows, cols)
    }

    fn random(&self, draw: Draw, _: &Dense<V>) -> Dense<V> {
        Dense {
            values: draw.numbers().map(V::from_f64).collect(),
            rows: draw.rows,
            cols: draw.cols,
        }
    }

    fn lengths(&self, a: &Dense<V>, of: Option<Side>) -> Dense<V> {
        let mut squares = match of {
            None => vec![0.0],
            Some(Side::Rows) => vec![0.0; a.rows],
            Some(Side::Cols) => vec![0.0; a.cols],
        };
        for (row, values) in a.values.chunks(a.cols).enumerate() {
            for (col, value) in values.iter().enumerate() {
                let at = match of {
                    None => 0,
                    Some(Side::Rows) => row,
                    Some(Side::Cols) => col,
                };
                squares[at] += value.to_f64() * value.to_f64();
            }
        }
        let (rows, cols) = match of {
            None => (1, 1),
            Some(Side::Rows) => (a.rows, 1),
            Some(Side::Cols) => (1, a.cols),
        };
        Dense {
            values: squares.into_iter().map(|x| V::from_f64(x.sqrt())).collect(),
            rows,
            cols,
        }
    }

    fn stretched(&self, mut a: Dense<V>, factors: &Dense<V>) -> Dense<V> {
        let cols = a.cols;
        for (row, values) in a.values.chunks_mut(cols).enumerate() {
            for (col, value) in values.iter_mut().enumerate() {
                let factor = factors.values[row % factors.rows * factors.cols + col % factors.cols];
                *value *= factor;
            }
        }
        a
    }

    fn pass<R: Rule>(
        &self,
        step: &Step<R::Coefs>,
        mut param: Dense<V>,
        grad: &Dense<V>,
        slots: &mut [Dense<V>],
    ) -> Dense<V> {
        let mut buffers = Buffers {
            param: &mut param.values,
            grad: &grad.values,
            slots: Default::default(),
        };
        for (slot, matrix) in buffers.slots.iter_mut().zip(slots) {
            *slot = &mut matrix.values;
        }
        pass::elementwise::<R, V>(step, buffers);
        param
    }

    fn on_host<W: Entry>(
        &self,
        matrices: &[&Dense<V>],
        work: impl FnOnce(Vec<Dense<W>>) -> Option<Vec<Dense<W>>>,
    ) -> Option<Vec<Dense<V>>> {
        let found = work(matrices.iter().map(|matrix| matrix.cast()).collect())?;
        Some(found.iter().map(Dense::cast).collect())
    }
}

/// The matrices of a weight in memory, each turned with its part of the state.
pub(crate) fn turned<V: Entry>(
    mut values: Vec<V>,
    blocks: &Blocks,
    turn: &impl Turn,
    held: &[Held],
    state: &mut [&mut [V]],
) -> Vec<V> {
    let algebra = DenseAlgebra::new();
    let is_one = blocks.count() == 1;
    for (at, block) in blocks.each().enumerate() {
        let places = held
            .iter()
            .map(|held| Place::new(held.extent, blocks, at, &block));
        let places: Vec<Place> = places.collect();
        let parts = places.iter().zip(&*state);
        let mut parts: Vec<Dense<V>> = parts.map(|(place, whole)| place.read(whole)).collect();
        let place = Place::new(Extent::Elements, blocks, at, &block);
        let [rows, cols] = block.size();
        let matrix = match is_one {
            true => Dense {
                values: core::mem::take(&mut values),
                rows,
                cols,
            },
            false => place.read(&values),
        };
        let matrix = turn.turn(&algebra, matrix, &mut parts);
        match is_one {
            true => values = matrix.values,
            false => place.write(&matrix, &mut values),
        }
        for ((place, part), whole) in places.iter().zip(&parts).zip(&mut *state) {
            place.write(part, whole);
        }
    }
    values
}

/// Where a matrix is in a tensor: rows that lie so far from each other.
struct Place {
    start: usize,
    stride: usize,
    size: [usize; 2],
}

impl Place {
    fn new(extent: Extent, blocks: &Blocks, at: usize, block: &Block) -> Self {
        let (start, stride) = match extent {
            Extent::Elements => {
                let stride = blocks.whole[1];
                (block.rows.start * stride + block.cols.start, stride)
            }
            Extent::Square(side) => {
                let stride = blocks.piece[side as usize];
                (at * stride * stride, stride)
            }
            Extent::Matrix([_, cols]) => (0, cols),
        };
        Self {
            start,
            stride,
            size: extent.size(block),
        }
    }

    fn rows(&self) -> impl Iterator<Item = core::ops::Range<usize>> {
        let [rows, cols] = self.size;
        let starts = (0..rows).map(|row| self.start + row * self.stride);
        starts.map(move |start| start..start + cols)
    }

    fn read<V: Entry>(&self, whole: &[V]) -> Dense<V> {
        let [rows, cols] = self.size;
        let mut values = Vec::with_capacity(rows * cols);
        for row in self.rows() {
            values.extend_from_slice(&whole[row]);
        }
        Dense { values, rows, cols }
    }

    fn write<V: Entry>(&self, matrix: &Dense<V>, whole: &mut [V]) {
        for (row, values) in self.rows().zip(matrix.values.chunks(self.size[1])) {
            whole[row].copy_from_slice(values);
        }
    }
}
