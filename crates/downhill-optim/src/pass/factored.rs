use downhill_rule::Real;
use downhill_rule::factored::{
    FactoredStep, Move, accumulate_full, accumulate_row, direction_row, move_full, move_row,
    square_sum,
};

use super::{Buffers, Element, dispatch, parts, share};

/// Rows whose squares are summed per column in the parameter's own precision before the sum goes on
/// in f64: few enough for f32 to stay accurate, many enough to cost nothing.
const BAND: usize = 64;

/// One step of a factored rule: at most three passes, and no temporary of the parameter's size
/// unless other dimensions than the last two are factored.
pub(crate) fn factored<V: Real + Element<Compute = V>>(
    step: &FactoredStep,
    dims: Option<(usize, usize)>,
    shape: &[usize],
    buffers: Buffers<'_, V>,
) {
    let rank = shape.len();
    match dims {
        None => full(step, buffers),
        Some((rows, cols)) if (rows, cols) == (rank - 2, rank - 1) => {
            let [row, col, first, ..] = buffers.slots;
            let (param, grad) = (buffers.param, buffers.grad);
            matrices(
                step,
                (shape[rows], shape[cols]),
                param,
                grad,
                row,
                col,
                first,
            );
        }
        Some((rows, cols)) => permuted(step, shape, (rows, cols), buffers),
    }
}

/// A run of equal units (elements, rows or matrices) of the parameter, with what belongs to them.
struct Run<'a, V> {
    param: &'a mut [V],
    grad: &'a [V],
    /// One part of the second moment: full, or the rows'.
    second: &'a mut [V],
    /// The columns' part, where a unit has columns of its own.
    cols: &'a mut [V],
    /// Empty without a first moment.
    first: &'a mut [V],
    units: usize,
}

impl<'a, V: Real> Run<'a, V> {
    fn split(self, at: usize) -> (Self, Self) {
        let cut = |len: usize| len / self.units * at;
        let (param, param_far) = self.param.split_at_mut(cut(self.param.len()));
        let (grad, grad_far) = self.grad.split_at(cut(self.grad.len()));
        let (second, second_far) = self.second.split_at_mut(cut(self.second.len()));
        let (cols, cols_far) = self.cols.split_at_mut(cut(self.cols.len()));
        let (first, first_far) = self.first.split_at_mut(cut(self.first.len()));
        let near = Self {
            param,
            grad,
            second,
            cols,
            first,
            units: at,
        };
        let far = Self {
            param: param_far,
            grad: grad_far,
            second: second_far,
            cols: cols_far,
            first: first_far,
            units: self.units - at,
        };
        (near, far)
    }

    fn reborrow(&mut self) -> Run<'_, V> {
        Run {
            param: self.param,
            grad: self.grad,
            second: self.second,
            cols: self.cols,
            first: self.first,
            units: self.units,
        }
    }

    /// This run in `parts` about equal parts, or fewer if it has not as many units.
    fn parts(self, parts: usize) -> Vec<Self> {
        let size = self.units.div_ceil(parts).max(1);
        let mut rest = self;
        let mut list = Vec::with_capacity(parts);
        while rest.units > size {
            let (part, far) = rest.split(size);
            list.push(part);
            rest = far;
        }
        list.push(rest);
        list
    }

    /// The sum of `work` over this run, in `parts` parts.
    fn sum(self, parts: usize, work: impl Fn(Self) -> Sums + Copy + Send + Sync) -> Sums {
        let run = |part| {
            dispatch(
                #[inline(always)]
                || work(part),
            )
        };
        if parts == 1 {
            return run(self);
        }
        let sums = share(self.parts(parts), run);
        sums.iter().fold(Sums::default(), |a, b| Sums {
            param: a.param + b.param,
            direction: a.direction + b.direction,
        })
    }

    fn units(mut self) -> impl Iterator<Item = Self> {
        let mut left = Some(self.units).filter(|&units| units > 0);
        core::iter::from_fn(move || {
            let units = left?;
            left = (units > 1).then_some(units - 1);
            let rest = Run {
                param: core::mem::take(&mut self.param),
                grad: self.grad,
                second: core::mem::take(&mut self.second),
                cols: core::mem::take(&mut self.cols),
                first: core::mem::take(&mut self.first),
                units,
            };
            let (unit, rest) = rest.split(1);
            self = rest;
            Some(unit)
        })
    }
}

/// Sums of squares.
#[derive(Clone, Copy, Default)]
struct Sums {
    param: f64,
    direction: f64,
}

fn first_moment<V>(first: &mut [V]) -> Option<&mut [V]> {
    (!first.is_empty()).then_some(first)
}

#[inline(always)]
fn param_squares<V: Real>(step: &FactoredStep, param: &[V]) -> f64 {
    match step.parameter_scale {
        Some(_) => square_sum(param),
        None => 0.0,
    }
}

/// A parameter that keeps a full second moment.
fn full<V: Real + Element<Compute = V>>(step: &FactoredStep, buffers: Buffers<'_, V>) {
    let [second, first, ..] = buffers.slots;
    let len = buffers.param.len();
    let parts = parts(len);
    let mut run = Run {
        param: buffers.param,
        grad: buffers.grad,
        second,
        cols: &mut [],
        first,
        units: len,
    };
    let sums = run.reborrow().sum(
        parts,
        #[inline(always)]
        |run| Sums {
            param: param_squares(step, run.param),
            direction: accumulate_full(step, run.grad, run.second),
        },
    );
    let by = step.resolve(sums.param / len as f64, sums.direction / len as f64);
    run.sum(
        parts,
        #[inline(always)]
        |run| {
            let first = first_moment(run.first);
            move_full(step, run.param, run.grad, run.second, &by, first);
            Sums::default()
        },
    );
}

/// A batch of matrices, each factored alone; the clipping and the scale are those of the whole.
fn matrices<V: Real + Element<Compute = V>>(
    step: &FactoredStep,
    (rows, cols): (usize, usize),
    param: &mut [V],
    grad: &[V],
    row: &mut [V],
    col: &mut [V],
    first: &mut [V],
) {
    let len = param.len();
    let batch = len / (rows * cols);
    let parts = parts(len);
    // Many matrices are shared out whole, few are split by rows.
    let (across, within) = match batch >= parts {
        true => (parts, 1),
        false => (1, parts),
    };
    let run = Run {
        param: &mut *param,
        grad,
        second: &mut *row,
        cols: &mut *col,
        first: &mut [],
        units: batch,
    };
    let param_squares = run.sum(across, |run: Run<'_, V>| {
        let mut columns = Columns::new(cols);
        let mut sums = Sums::default();
        for matrix in run.units() {
            columns.sums.fill(0.0);
            let means = matrix.cols;
            let matrix = Run {
                cols: &mut [],
                units: rows,
                ..matrix
            };
            sums.param += statistics(step, matrix, &mut columns, within);
            for (mean, sum) in means.iter_mut().zip(&columns.sums) {
                *mean = step.blend(*mean, *sum, rows);
            }
        }
        sums
    });

    // O(rows + columns), like the state.
    let mut row_factors = Vec::with_capacity(row.len());
    let mut col_factors = Vec::with_capacity(col.len());
    let mut factors = Vec::new();
    for (row, col) in row.chunks(rows).zip(col.chunks(cols)) {
        step.row_factors(row, &mut factors);
        row_factors.append(&mut factors);
        step.col_factors(col, &mut factors);
        col_factors.append(&mut factors);
    }
    let cap = V::from_f64(step.cap);
    let scale = V::from_f64(step.grad_scale);
    let mut run = Run {
        param,
        grad,
        second: &mut row_factors,
        cols: &mut col_factors,
        first,
        units: batch,
    };
    let split = Split {
        rows,
        across,
        within,
    };
    let direction = match step.needs_direction_rms() {
        true => split.sum(
            run.reborrow(),
            #[inline(always)]
            |rows: Run<'_, V>, factors: &[V]| {
                let grads = rows.grad.chunks_exact(cols);
                let rows = grads.zip(&*rows.second);
                rows.map(|(grad, row)| direction_row(scale, grad, *row, factors, cap))
                    .sum()
            },
        ),
        false => 0.0,
    };
    let by = step.resolve(param_squares.param / len as f64, direction / len as f64);
    split.sum(
        run,
        #[inline(always)]
        |rows: Run<'_, V>, factors: &[V]| {
            move_rows(scale, rows, cols, factors, cap, &by);
            0.0
        },
    );
}

/// How a batch of matrices is shared out: in this many parts, and each matrix in that many.
struct Split {
    rows: usize,
    across: usize,
    within: usize,
}

impl Split {
    /// The sum of `work` over the rows of every matrix, which is given the matrix's column factors.
    fn sum<V: Real>(
        &self,
        run: Run<'_, V>,
        work: impl Fn(Run<'_, V>, &[V]) -> f64 + Copy + Send + Sync,
    ) -> f64 {
        let sums = run.sum(
            self.across,
            #[inline(always)]
            |run: Run<'_, V>| {
                let mut sums = Sums::default();
                for matrix in run.units() {
                    let factors: &[V] = matrix.cols;
                    let matrix = Run {
                        cols: &mut [],
                        units: self.rows,
                        ..matrix
                    };
                    let matrix = matrix.sum(
                        self.within,
                        #[inline(always)]
                        |matrix: Run<'_, V>| Sums {
                            param: 0.0,
                            direction: work(matrix, factors),
                        },
                    );
                    sums.direction += matrix.direction;
                }
                sums
            },
        );
        sums.direction
    }
}

#[inline(always)]
fn move_rows<V: Real>(scale: V, run: Run<'_, V>, cols: usize, factors: &[V], cap: V, by: &Move) {
    let mut first = run.first.chunks_exact_mut(cols);
    let params = run.param.chunks_exact_mut(cols);
    for ((param, grad), row) in params.zip(run.grad.chunks_exact(cols)).zip(&*run.second) {
        move_row(scale, param, grad, *row, factors, cap, by, first.next());
    }
}

/// Sums of squares per column: of the rows so far, and of the band at hand.
struct Columns<V> {
    sums: Vec<f64>,
    band: Vec<V>,
}

impl<V: Real> Columns<V> {
    fn new(cols: usize) -> Self {
        Self {
            sums: vec![0.0; cols],
            band: vec![V::default(); cols],
        }
    }
}

/// First pass over the rows of one matrix: moves the row means, adds up the columns, and returns
/// the parameter's sum of squares.
fn statistics<V: Real>(
    step: &FactoredStep,
    run: Run<'_, V>,
    columns: &mut Columns<V>,
    parts: usize,
) -> f64 {
    if parts == 1 {
        return dispatch(
            #[inline(always)]
            || row_statistics(step, run, columns),
        );
    }
    let cols = columns.sums.len();
    let results = share(run.parts(parts), |part| {
        let mut columns = Columns::new(cols);
        let param = statistics(step, part, &mut columns, 1);
        (param, columns.sums)
    });
    let mut param = 0.0;
    for (part, sums) in results {
        param += part;
        for (sum, part) in columns.sums.iter_mut().zip(sums) {
            *sum += part;
        }
    }
    param
}

#[inline(always)]
fn row_statistics<V: Real>(step: &FactoredStep, run: Run<'_, V>, columns: &mut Columns<V>) -> f64 {
    let cols = columns.sums.len();
    let scale = V::from_f64(step.grad_scale);
    let bands = run
        .grad
        .chunks(cols * BAND)
        .zip(run.second.chunks_mut(BAND));
    for (grads, means) in bands {
        columns.band.fill(V::default());
        for (grad, mean) in grads.chunks_exact(cols).zip(means) {
            let sum = accumulate_row(scale, grad, &mut columns.band);
            *mean = step.blend(*mean, sum, cols);
        }
        for (sum, band) in columns.sums.iter_mut().zip(&columns.band) {
            *sum += band.to_f64();
        }
    }
    param_squares(step, run.param)
}

/// Dimensions other than the last two (optax factors the two largest): the step is taken on a copy
/// in which they are the last.
fn permuted<V: Real + Element<Compute = V>>(
    step: &FactoredStep,
    shape: &[usize],
    (rows, cols): (usize, usize),
    buffers: Buffers<'_, V>,
) {
    let mut axes: Vec<usize> = (0..shape.len())
        .filter(|&d| d != rows && d != cols)
        .collect();
    axes.extend([rows, cols]);
    let reduced = |dim: usize| {
        let mut shape = shape.to_vec();
        shape[dim] = 1;
        shape
    };
    let (row_shape, col_shape) = (reduced(cols), reduced(rows));
    let [row, col, first, ..] = buffers.slots;
    let mut copies = [
        permute(buffers.param, shape, &axes),
        permute(row, &row_shape, &axes),
        permute(col, &col_shape, &axes),
        match first.is_empty() {
            true => Vec::new(),
            false => permute(first, shape, &axes),
        },
    ];
    let grad = permute(buffers.grad, shape, &axes);
    let [param_copy, row_copy, col_copy, first_copy] = &mut copies;
    let size = (shape[rows], shape[cols]);
    matrices(
        step, size, param_copy, &grad, row_copy, col_copy, first_copy,
    );
    restore(param_copy, buffers.param, shape, &axes);
    restore(row_copy, row, &row_shape, &axes);
    restore(col_copy, col, &col_shape, &axes);
    if !first.is_empty() {
        restore(first_copy, first, shape, &axes);
    }
}

/// For each element in the order of the permuted axes, its place in row-major order.
fn places(shape: &[usize], axes: &[usize]) -> impl Iterator<Item = usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    let axes: Vec<(usize, usize)> = axes.iter().map(|&dim| (shape[dim], strides[dim])).collect();
    let len = shape.iter().product();
    (0..len).map(move |mut index| {
        let mut place = 0;
        for &(size, stride) in axes.iter().rev() {
            place += index % size * stride;
            index /= size;
        }
        place
    })
}

fn permute<V: Real>(values: &[V], shape: &[usize], axes: &[usize]) -> Vec<V> {
    places(shape, axes).map(|place| values[place]).collect()
}

fn restore<V: Real>(from: &[V], to: &mut [V], shape: &[usize], axes: &[usize]) {
    for (value, place) in from.iter().zip(places(shape, axes)) {
        to[place] = *value;
    }
}
