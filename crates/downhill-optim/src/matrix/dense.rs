//! Matrices in memory.

use downhill_rule::Real;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};

use super::Side;
use crate::pass::{self, Element};

/// A number that matrices in memory can have.
pub(crate) trait Entry: Real + Element<Compute = Self> + ComplexField {}

impl Entry for f32 {}
impl Entry for f64 {}

/// A matrix, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Dense<V> {
    pub values: Vec<V>,
    pub rows: usize,
    pub cols: usize,
}

impl<V: Entry> Dense<V> {
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            values: vec![V::from_f64(0.0); rows * cols],
            rows,
            cols,
        }
    }

    pub fn view(&self) -> MatRef<'_, V> {
        MatRef::from_row_major_slice(&self.values, self.rows, self.cols)
    }

    fn view_mut(&mut self) -> MatMut<'_, V> {
        MatMut::from_row_major_slice_mut(&mut self.values, self.rows, self.cols)
    }

    pub fn unit(len: usize) -> Self {
        let mut unit = Self::zeros(len, len);
        for at in 0..len {
            unit.values[at * (len + 1)] = V::from_f64(1.0);
        }
        unit
    }

    pub fn product(&self, other: &Self) -> Self {
        let blank = Self::zeros(self.rows, other.cols);
        product(self.view(), other.view(), blank)
    }

    pub fn product_transposed(&self, other: &Self) -> Self {
        let blank = Self::zeros(self.rows, other.rows);
        product(self.view(), other.view().transpose(), blank)
    }

    /// The order of the columns of a basis by their products with those of its image under a matrix, the largest
    /// first.
    pub fn descending(&self, image: &Self) -> Vec<usize> {
        let mut parts = vec![0.0; self.cols];
        for (row, image) in (self.values.chunks(self.cols)).zip(image.values.chunks(self.cols)) {
            for ((part, a), b) in parts.iter_mut().zip(row).zip(image) {
                *part += a.to_f64() * b.to_f64();
            }
        }
        let mut order: Vec<usize> = (0..self.cols).collect();
        order.sort_by(|&a, &b| parts[b].total_cmp(&parts[a]));
        order
    }

    /// Rows or columns in this order.
    pub fn permuted(&self, side: Side, order: &[usize]) -> Self {
        let row = |row: usize| &self.values[row * self.cols..][..self.cols];
        let values = match side {
            Side::Rows => order.iter().flat_map(|&at| row(at)).copied().collect(),
            Side::Cols => (0..self.rows)
                .flat_map(|at| order.iter().map(move |&to| row(at)[to]))
                .collect(),
        };
        Self { values, ..*self }
    }

    /// The first columns.
    pub fn first_columns(&self, count: usize) -> Self {
        let order: Vec<usize> = (0..count).collect();
        Self {
            cols: count,
            ..self.permuted(Side::Cols, &order)
        }
    }

    /// Each column multiplied by its factor.
    pub fn with_columns(&self, factors: &[V]) -> Self {
        let scaled = |row: &[V]| -> Vec<V> {
            let pairs = row.iter().zip(factors);
            pairs.map(|(&value, &factor)| value * factor).collect()
        };
        let values = self.values.chunks(self.cols).flat_map(scaled).collect();
        Self { values, ..*self }
    }

    /// The largest magnitude.
    pub fn largest(&self) -> f64 {
        let values = self.values.iter().map(|value| value.to_f64().abs());
        values.fold(0.0, f64::max)
    }

    /// The sum of squares of each row.
    pub fn squares_of_rows(&self) -> Vec<f64> {
        let square = |value: &V| value.to_f64() * value.to_f64();
        let rows = self.values.chunks(self.cols);
        rows.map(|row| row.iter().map(square).sum()).collect()
    }

    /// With a multiple of another matrix.
    pub fn with_added(&self, factor: V, other: &Self) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        Self {
            values: pairs.map(|(&a, &b)| a + b * factor).collect(),
            ..*self
        }
    }

    /// No more than the largest eigenvalue of a symmetric matrix: one step of the power iteration from the row of the
    /// largest norm.
    pub fn spectral_bound(&self) -> f64 {
        let largest = self.largest();
        if largest == 0.0 {
            return 0.0;
        }
        let mut scaled = self.clone();
        scaled.map(|value| value * V::from_f64(largest.recip()));
        let squares = scaled.squares_of_rows();
        let longest =
            (1..squares.len()).fold(0, |longest, at| match squares[at] > squares[longest] {
                true => at,
                false => longest,
            });
        let column = |values: Vec<V>| Self {
            rows: values.len(),
            cols: 1,
            values,
        };
        let row = scaled.values[longest * scaled.cols..][..scaled.cols].to_vec();
        let image = scaled.product(&column(row));
        let next = scaled.product(&image);
        largest * next.norm() / image.norm()
    }

    pub fn transposed(&self) -> Self {
        let mut transposed = Self::zeros(self.cols, self.rows);
        transposed.view_mut().copy_from(self.view().transpose());
        transposed
    }

    /// `self·other`, where this may be a diagonal, as one column.
    pub fn times(&self, other: &Self) -> Self {
        match self.cols {
            1 => other.with_rows(&self.values),
            _ => self.product(other),
        }
    }

    /// `self^-T·other`, where this is upper triangular, or a diagonal, as one column.
    pub fn divide(&self, other: &Self) -> Self {
        if self.cols == 1 {
            let inverse: Vec<V> = self.values.iter().map(|value| value.recip()).collect();
            return other.with_rows(&inverse);
        }
        let mut divided = other.clone();
        let par = threads(other.rows * other.rows * other.cols);
        solve_lower_triangular_in_place(self.view().transpose(), divided.view_mut(), par);
        divided
    }

    /// Each row multiplied by its factor.
    fn with_rows(&self, factors: &[V]) -> Self {
        let rows = self.values.chunks(self.cols).zip(factors);
        let scaled = rows.flat_map(|(row, &factor)| row.iter().map(move |&value| value * factor));
        Self {
            values: scaled.collect(),
            ..*self
        }
    }

    /// In another precision.
    pub fn cast<W: Entry>(&self) -> Dense<W> {
        let values = self.values.iter();
        Dense {
            values: values.map(|value| W::from_f64(value.to_f64())).collect(),
            rows: self.rows,
            cols: self.cols,
        }
    }

    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.to_f64().is_finite())
    }

    pub fn map(&mut self, change: impl Fn(V) -> V) {
        for value in &mut self.values {
            *value = change(*value);
        }
    }

    /// The Frobenius norm.
    pub fn norm(&self) -> f64 {
        pass::squares(&self.values).norm()
    }

    /// Copies what is below the diagonal to above it.
    fn mirror(&mut self) {
        const TILE: usize = 32;
        let n = self.rows;
        // Columns of a large matrix lie in the same few places of a cache: they are written row by row.
        let mut turned = [[V::from_f64(0.0); TILE]; TILE];
        for top in (0..n).step_by(TILE) {
            let height = TILE.min(n - top);
            for left in (0..top).step_by(TILE) {
                for row in 0..height {
                    let values = &self.values[(top + row) * n + left..][..TILE];
                    for (turned, &value) in turned.iter_mut().zip(values) {
                        turned[row] = value;
                    }
                }
                for (col, values) in turned.iter().enumerate() {
                    self.values[(left + col) * n + top..][..height]
                        .copy_from_slice(&values[..height]);
                }
            }
            for row in top..top + height {
                for col in top..row {
                    self.values[col * n + row] = self.values[row * n + col];
                }
            }
        }
    }
}

/// Multiplications below which threads cost more than they save.
#[cfg(not(target_family = "wasm"))]
const PARALLEL: usize = 1 << 20;

#[cfg(not(target_family = "wasm"))]
fn threads(multiplications: usize) -> Par {
    match multiplications < PARALLEL {
        true => Par::Seq,
        false => Par::rayon(0),
    }
}

#[cfg(target_family = "wasm")]
fn threads(_: usize) -> Par {
    Par::Seq
}

/// `a·b`, in the place of what is in `product`.
pub(super) fn product<V: Entry>(
    a: MatRef<'_, V>,
    b: MatRef<'_, V>,
    mut product: Dense<V>,
) -> Dense<V> {
    let par = threads(a.nrows() * a.ncols() * b.ncols());
    let one = V::from_f64(1.0);
    matmul(product.view_mut(), Accum::Replace, a, b, one, par);
    product
}

/// `a·b`, of which only what is on and below the diagonal is computed, in the place of what is in `product`.
pub(super) fn symmetric<V: Entry>(
    a: MatRef<'_, V>,
    b: MatRef<'_, V>,
    mut product: Dense<V>,
) -> Dense<V> {
    lower(a, b, V::from_f64(1.0), &mut product);
    product.mirror();
    product
}

/// `a·I + b·x + c·x·x` of a symmetric matrix, of which only what is on and below the diagonal is computed, in the place
/// of what is in `sum`.
pub(super) fn polynomial<V: Entry>(x: &Dense<V>, [a, b, c]: [V; 3], mut sum: Dense<V>) -> Dense<V> {
    let n = x.rows;
    lower(x.view(), x.view(), c, &mut sum);
    let rows = sum.values.chunks_mut(n).zip(x.values.chunks(n));
    for (row, (sum, x)) in rows.enumerate() {
        followed(&mut sum[..=row], V::from_f64(1.0), b, &x[..=row]);
        sum[row] += a;
    }
    sum.mirror();
    sum
}

/// `mean ← decay·mean + share·new`.
pub(super) fn followed<V: Entry>(mean: &mut [V], decay: V, share: V, new: &[V]) {
    #[inline(always)]
    fn follow<V: Entry>(mean: &mut [V], decay: V, share: V, new: &[V]) {
        for (mean, &new) in mean.iter_mut().zip(new) {
            *mean = *mean * decay + new * share;
        }
    }
    pass::dispatch(
        #[inline(always)]
        || follow(mean, decay, share, new),
    );
}

/// `factor·a·b`, on and below the diagonal alone.
fn lower<V: Entry>(a: MatRef<'_, V>, b: MatRef<'_, V>, factor: V, product: &mut Dense<V>) {
    let n = a.nrows();
    triangular::matmul(
        product.view_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        a,
        BlockStructure::Rectangular,
        b,
        BlockStructure::Rectangular,
        factor,
        threads(n * n * a.ncols()),
    );
}
