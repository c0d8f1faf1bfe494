//! Eigenvectors and orthogonal factors of matrices in memory.

use core::cmp::Ordering;

use faer::{MatRef, Side};

use super::{Dense, Entry};

/// The eigenvalues of a symmetric matrix from the largest to the smallest, and the eigenvectors as columns. The sign
/// of a column is such that its entry of the largest magnitude is positive. None if the matrix has a number that is not
/// finite, or the algorithm fails.
pub(crate) fn eigen<V: Entry>(matrix: &Dense<V>) -> Option<(Vec<V>, Dense<V>)> {
    if !matrix.is_finite() {
        return None;
    }
    let found = matrix.view().self_adjoint_eigen(Side::Lower).ok()?;
    let (values, vectors) = (found.S().column_vector(), found.U());
    let len = matrix.rows;
    let mut order: Vec<usize> = (0..len).collect();
    let descending = |a: &usize, b: &usize| values[*b].partial_cmp(&values[*a]);
    order.sort_by(|a, b| descending(a, b).unwrap_or(Ordering::Equal));
    let sorted = order.iter().map(|&at| values[at]).collect();
    let vectors = signed(vectors, &order);
    vectors.is_finite().then_some((sorted, vectors))
}

/// The eigenvectors as columns, if there are some.
pub(crate) fn eigenvectors<V: Entry>(matrix: &Dense<V>) -> Option<Dense<V>> {
    eigen(matrix).map(|(_, vectors)| vectors)
}

/// The orthogonal factor of a QR decomposition, with signs as those of [`eigen`].
pub(crate) fn orthogonal<V: Entry>(matrix: &Dense<V>) -> Option<Dense<V>> {
    if !matrix.is_finite() {
        return None;
    }
    let factor = matrix.view().qr().compute_thin_Q();
    let order: Vec<usize> = (0..matrix.cols).collect();
    let factor = signed(factor.as_ref(), &order);
    factor.is_finite().then_some(factor)
}

/// The columns in this order, each with the sign that makes its entry of the largest magnitude positive.
fn signed<V: Entry>(matrix: MatRef<'_, V>, order: &[usize]) -> Dense<V> {
    let (rows, cols) = (matrix.nrows(), order.len());
    let mut signed = Dense::zeros(rows, cols);
    for (to, &from) in order.iter().enumerate() {
        let column = (0..rows).map(|row| matrix[(row, from)]);
        let zero = V::from_f64(0.0);
        let larger = |largest: V, value: V| match value.abs() > largest.abs() {
            true => value,
            false => largest,
        };
        let largest = column.clone().fold(zero, larger);
        let factor = V::from_f64(if largest < zero { -1.0 } else { 1.0 });
        for (row, value) in column.enumerate() {
            signed.values[row * cols + to] = value * factor;
        }
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(rows: usize, values: &[f64]) -> Dense<f64> {
        Dense {
            values: values.to_vec(),
            rows,
            cols: values.len() / rows,
        }
    }

    #[test]
    fn eigenvectors_descend_and_have_signs() {
        let (values, vectors) = eigen(&dense(2, &[2.0, 1.0, 1.0, 2.0])).unwrap();
        let near = |found: &[f64], expected: &[f64]| {
            let mut pairs = found.iter().zip(expected);
            pairs.all(|(a, b)| (a - b).abs() < 1e-14)
        };
        assert!(near(&values, &[3.0, 1.0]), "{values:?}");
        // Of two entries as large as each other rounding decides which is the larger.
        let column = |matrix: &Dense<f64>, at: usize| [matrix.values[at], matrix.values[2 + at]];
        let root = 0.5f64.sqrt();
        assert!(near(&column(&vectors, 0), &[root, root]), "{vectors:?}");
        let factor = orthogonal(&dense(2, &[-3.0, 0.0, -4.0, 5.0])).unwrap();
        assert!(near(&column(&factor, 0), &[0.6, 0.8]), "{factor:?}");
        assert!(near(&column(&factor, 1), &[0.8, -0.6]), "{factor:?}");
    }

    #[test]
    fn what_is_not_finite_has_none() {
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(eigen(&dense(2, &[1.0, bad, bad, 1.0])).is_none());
            assert!(orthogonal(&dense(2, &[1.0, bad, 0.0, 1.0])).is_none());
        }
    }
}
