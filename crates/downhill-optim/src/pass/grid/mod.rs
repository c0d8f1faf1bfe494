//! Rules that look at rows and columns: passes over the rows of a matrix, or of many, in which each element knows
//! what is known of its row and of its column.

mod known;
mod sums;

use core::cell::Cell;
use core::ops::Range;

use downhill_rule::{Frame, Look, MAX_KNOWN, Over, Real, Size, Slots, Step};

use self::known::{Known, RowKnown};
use self::sums::look;
use super::elementwise::pass;
use super::look::is_single;
use super::permute::{permuted, restore};
use super::series::{Of, Series};
use super::slots::gather;
use super::{Buffers, Element, MAX_SLOTS, dispatch, parts, share};

/// How the elements are laid out: as many matrices of as many rows and columns.
#[derive(Clone, Copy, Debug)]
struct Grid {
    matrices: usize,
    rows: usize,
    cols: usize,
}

impl Grid {
    /// How a shape is laid out whose rows and columns come last, in this order.
    fn new(frame: &Frame, shape: &[usize]) -> Self {
        let count = |dims: &[usize]| dims.iter().map(|&dim| shape[dim]).product();
        let (rows, cols): (usize, usize) = (count(&frame.rows), count(&frame.cols));
        let len: usize = shape.iter().product();
        Self {
            matrices: len / (rows * cols),
            rows,
            cols,
        }
    }

    /// How many numbers there are of what.
    fn count(self, of: Of) -> usize {
        match of {
            Of::Whole => 1,
            Of::Matrices => self.matrices,
            Of::Rows => self.matrices * self.rows,
            Of::Cols => self.matrices * self.cols,
        }
    }

    fn series(self, over: Over, values: Vec<f64>) -> Series {
        Series {
            of: over.into(),
            matrices: self.matrices,
            values,
        }
    }

    /// The rows of all matrices, in parts that do not depend on the threads.
    fn parts(self) -> Vec<Range<usize>> {
        let rows = self.matrices * self.rows;
        let size = rows.div_ceil(parts(rows * self.cols)).max(1);
        let starts = (0..rows).step_by(size);
        starts
            .map(|start| start..(start + size).min(rows))
            .collect()
    }
}

/// One step of a rule that looks at rows and columns.
pub(crate) fn gridded<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    frame: &Frame,
    shape: &[usize],
    mut buffers: Buffers<'_, E>,
) {
    let (grid, size) = (Grid::new(frame, shape), frame.size(shape));
    let axes = frame.axes(shape.len());
    // What is kept of the whole comes first among the state.
    let own = <R::State<f64> as Slots<f64>>::LEN;
    let kept = <R::Kept<f64> as Slots<f64>>::LEN;
    buffers.slots[..own + kept].rotate_left(kept);
    if axes.is_sorted() {
        return in_place::<R, E>(step, grid, &size, buffers);
    }
    // Rows and columns that are not the last dimensions: the step is taken on a copy in which they are.
    let shape_of = |at: usize| match at < own {
        true => shape.to_vec(),
        false => frame.kept(shape, R::KEPT[at - own]),
    };
    let mut param = permuted(buffers.param, shape, &axes);
    let grad = permuted(buffers.grad, shape, &axes);
    let mut slots: [Vec<E::Compute>; MAX_SLOTS] =
        core::array::from_fn(|at| match at < own + kept {
            true => permuted(buffers.slots[at], &shape_of(at), &axes),
            false => Vec::new(),
        });
    let copies = Buffers {
        param: &mut param,
        grad: &grad,
        slots: slots.each_mut().map(Vec::as_mut_slice),
    };
    in_place::<R, E>(step, grid, &size, copies);
    restore(&param, buffers.param, shape, &axes);
    for (at, slot) in slots.iter().enumerate().take(own + kept) {
        restore(slot, buffers.slots[at], &shape_of(at), &axes);
    }
}

/// The looks, and the move.
fn in_place<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    grid: Grid,
    size: &Size,
    mut buffers: Buffers<'_, E>,
) {
    let own = <R::State<f64> as Slots<f64>>::LEN;
    let kept_len = <R::Kept<f64> as Slots<f64>>::LEN;
    let before = |at: usize| {
        let values = buffers.slots[own + at].iter().map(|value| value.to_f64());
        grid.series(R::KEPT[at], values.collect())
    };
    let mut kept: R::Kept<Series> = gather(before);
    let mut known: R::Known<Series> = gather(|at| match R::KNOWN[at] {
        over if at < kept_len && over == R::KEPT[at] => before(at),
        // It means nothing, but of what it is.
        over => grid.series(over, vec![0.0; grid.count(over.into())]),
    });
    if const { R::LOOKS > 0 } {
        let sums = look::<R, E, 0>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<0, Series>(&step.coefs, sums, size, known, kept);
    }
    if const { R::LOOKS > 1 } {
        let sums = look::<R, E, 1>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<1, Series>(&step.coefs, sums, size, known, kept);
    }
    if const { R::LOOKS > 2 } {
        let sums = look::<R, E, 2>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<2, Series>(&step.coefs, sums, size, known, kept);
    }
    let mut slots = buffers.slots[own..].iter_mut();
    kept.scatter(&mut |series: Series| {
        let slot = slots.next().expect("one slot for each");
        for (value, number) in slot.iter_mut().zip(series.values) {
            *value = E::Compute::from_f64(number);
        }
    });
    let known = Known::new::<R>(grid, known);
    // What is constantly false is not compiled.
    if const { R::WIDE && is_single::<E::Compute>() } && step.cautious == 0.0 {
        move_by(grid, &known, &R::KNOWN, buffers, &|known, buffers| {
            vectorised::<R, E::Compute>(step, known, buffers);
        });
    } else {
        move_by(grid, &known, &R::KNOWN, buffers, &|known, buffers| {
            plainly::<R, E::Compute>(step, known, buffers);
        });
    }
}

/// The move of a stretch of a row.
type MoveRow<'a, V> = dyn Fn(RowKnown<'_, V>, Buffers<'_, V>) + Sync + 'a;

/// The move, compiled once for all rules.
fn move_by<E: Element>(
    grid: Grid,
    known: &Known<E::Compute>,
    over: &[Over; MAX_KNOWN],
    buffers: Buffers<'_, E>,
    move_row: &MoveRow<'_, E::Compute>,
) {
    let parts = grid.parts();
    let work = |(rows, buffers): (Range<usize>, Buffers<'_, E>)| {
        let each = buffers.chunks(grid.cols);
        for (row, buffers) in rows.zip(each) {
            let of_row = known.of_row(grid, over, row);
            let from = Cell::new(0);
            E::pass(buffers, &|buffers| {
                let to = from.get() + buffers.param.len();
                move_row(of_row.range(from.get()..to), buffers);
                from.set(to);
            });
        }
    };
    let size = parts[0].len() * grid.cols;
    let split: Vec<_> = parts.into_iter().zip(buffers.chunks(size)).collect();
    if split.len() == 1 {
        split.into_iter().for_each(work);
    } else {
        share(split, work);
    }
}

/// The move of a stretch of a row with the widest instructions of the machine.
#[inline(never)]
fn vectorised<R: Look, V: Real + Element<Compute = V>>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, V>,
    buffers: Buffers<'_, V>,
) {
    dispatch(
        #[inline(always)]
        || move_row::<R, V, false>(step, known, buffers),
    );
}

/// The same in f64, or with cautious decay.
#[inline(never)]
fn plainly<R: Look, V: Real + Element<Compute = V>>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, V>,
    buffers: Buffers<'_, V>,
) {
    match step.cautious {
        0.0 => move_row::<R, V, false>(step, known, buffers),
        _ => move_row::<R, V, true>(step, known, buffers),
    }
}

#[inline(always)]
fn move_row<R: Look, V: Real + Element<Compute = V>, const CAUTIOUS: bool>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, V>,
    buffers: Buffers<'_, V>,
) {
    let step = &{ *step };
    let known = known.of_length::<R>(buffers.param.len());
    pass::<R::State<V>, V>(
        buffers,
        #[inline(always)]
        |i, param, grad, state| {
            let known = known.element::<R>(i);
            R::advance::<CAUTIOUS, V>(step, &known, param, grad, state)
        },
    );
}
