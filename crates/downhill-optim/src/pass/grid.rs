//! Rules that look at rows and columns: passes over the rows of a matrix, or of many, in which each element knows
//! what is known of its row and of its column.

use core::cell::Cell;
use core::ops::Range;

use downhill_rule::{Fold, Frame, Look, MAX_KNOWN, MAX_SUMS, Over, Real, Size, Slots, Step};

use super::look::{gather, joined, scattered};
use super::permute::{permuted, restore};
use super::series::{Of, Series};
use super::{Buffers, Element, MAX_SLOTS, Views, dispatch, parts, share};

/// Elements that are computed side by side.
const LANES: usize = 16;

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

    fn size(self) -> Size {
        Size {
            whole: (self.matrices * self.rows * self.cols) as f64,
            row: self.cols as f64,
            col: self.rows as f64,
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
        let of = match over {
            Over::Whole => Of::Whole,
            Over::Rows => Of::Rows,
            Over::Cols => Of::Cols,
        };
        debug_assert_eq!(values.len(), self.count(of));
        Series {
            of,
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
    buffers: Buffers<'_, E>,
) {
    let grid = Grid::new(frame, shape);
    let axes = frame.axes(shape.len());
    if axes.is_sorted() {
        return in_place::<R, E>(step, grid, buffers);
    }
    // Rows and columns that are not the last dimensions: the step is taken on a copy in which they are.
    let own = <R::State<f64> as Slots<f64>>::LEN;
    let kept = <R::Kept<f64> as Slots<f64>>::LEN;
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
    in_place::<R, E>(step, grid, copies);
    restore(&param, buffers.param, shape, &axes);
    for (at, slot) in slots.iter().enumerate().take(own + kept) {
        restore(slot, buffers.slots[at], &shape_of(at), &axes);
    }
}

/// The looks, and the move.
fn in_place<R: Look, E: Element>(step: &Step<R::Coefs>, grid: Grid, mut buffers: Buffers<'_, E>) {
    let own = <R::State<f64> as Slots<f64>>::LEN;
    let size = grid.size();
    let mut kept: R::Kept<Series> = gather(|at| {
        let values = buffers.slots[own + at].iter().map(|value| value.to_f64());
        grid.series(R::KEPT[at], values.collect())
    });
    // Before the first look it means nothing, but of what it is.
    let mut known: R::Known<Series> = gather(|at| {
        let count = match R::KNOWN[at] {
            Over::Whole => 1,
            Over::Rows => grid.count(Of::Rows),
            Over::Cols => grid.count(Of::Cols),
        };
        grid.series(R::KNOWN[at], vec![0.0; count])
    });
    if R::LOOKS > 0 {
        let sums = look::<R, E, 0>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<0, Series>(&step.coefs, sums, &size, known, kept);
    }
    if R::LOOKS > 1 {
        let sums = look::<R, E, 1>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<1, Series>(&step.coefs, sums, &size, known, kept);
    }
    if R::LOOKS > 2 {
        let sums = look::<R, E, 2>(step, grid, &known, buffers.views());
        (known, kept) = R::settle::<2, Series>(&step.coefs, sums, &size, known, kept);
    }
    let mut slots = buffers.slots[own..].iter_mut();
    kept.scatter(&mut |series: Series| {
        let slot = slots.next().expect("one slot for each");
        for (value, number) in slot.iter_mut().zip(series.values) {
            *value = E::Compute::from_f64(number);
        }
    });
    move_by::<R, E>(step, grid, &Known::new(known), buffers);
}

/// What is known, by the number, in the precision of a pass.
struct Known<C>([Vec<C>; MAX_KNOWN]);

impl<C: Real> Known<C> {
    fn new<S: Slots<Series>>(known: S) -> Self {
        let mut series = Vec::new();
        known.scatter(&mut |one: Series| series.push(one.values));
        let mut series = series.into_iter();
        Self(core::array::from_fn(|_| {
            let values = series.next().unwrap_or_default().into_iter();
            values.map(C::from_f64).collect()
        }))
    }

    /// What the elements of a row know, of columns as slices.
    fn of_row<'a>(&'a self, grid: Grid, over: &[Over; MAX_KNOWN], row: usize) -> RowKnown<'a, C> {
        let matrix = row / grid.rows;
        let mut known = RowKnown {
            numbers: [C::default(); MAX_KNOWN],
            cols: [&[]; MAX_KNOWN],
        };
        for (at, values) in self
            .0
            .iter()
            .enumerate()
            .filter(|(_, values)| !values.is_empty())
        {
            match over[at] {
                Over::Whole => known.numbers[at] = values[0],
                Over::Rows => known.numbers[at] = values[row],
                Over::Cols => known.cols[at] = &values[matrix * grid.cols..][..grid.cols],
            }
        }
        known
    }
}

/// What the elements of a row know.
#[derive(Clone, Copy)]
struct RowKnown<'a, C> {
    numbers: [C; MAX_KNOWN],
    cols: [&'a [C]; MAX_KNOWN],
}

impl<C: Copy> RowKnown<'_, C> {
    /// What those of some columns know.
    fn range(self, cols: Range<usize>) -> Self {
        Self {
            cols: self
                .cols
                .map(|known| known.get(cols.clone()).unwrap_or_default()),
            ..self
        }
    }
}

/// What a part of a look found: the sums over the whole, the rows of the part, and the columns of the matrices that
/// it touched.
struct Found {
    whole: [f64; MAX_SUMS],
    rows: [Vec<f64>; MAX_SUMS],
    cols: Vec<(usize, [Vec<f64>; MAX_SUMS])>,
}

/// One look.
fn look<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &R::Known<Series>,
    views: Views<'_, E>,
) -> R::Sums<Series> {
    let known = Known::new(known.clone());
    let work = |rows: Range<usize>| look_at_rows::<R, E, LOOK>(step, grid, &known, views, rows);
    let parts = grid.parts();
    let found = match parts.len() {
        1 => parts.into_iter().map(work).collect(),
        _ => share(parts, work),
    };
    let fold = R::fold(LOOK);
    let over = R::over(LOOK);
    gather(|at| {
        let values = match over[at] {
            Over::Whole => {
                let parts = found.iter().map(|found| found.whole[at]);
                vec![parts.reduce(|a, b| joined(fold, a, b)).unwrap_or_default()]
            }
            Over::Rows => found
                .iter()
                .flat_map(|found| found.rows[at].iter().copied())
                .collect(),
            Over::Cols => {
                let mut sums = vec![0.0; grid.count(Of::Cols)];
                for (matrix, cols) in found.iter().flat_map(|found| &found.cols) {
                    let sums = sums[matrix * grid.cols..].iter_mut();
                    for (sum, part) in sums.zip(&cols[at]) {
                        *sum = joined(fold, *sum, *part);
                    }
                }
                sums
            }
        };
        grid.series(over[at], values)
    })
}

/// A look at some rows, in f64: its terms are few and cheap, and cannot overflow then.
fn look_at_rows<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &Known<f64>,
    views: Views<'_, E>,
    rows: Range<usize>,
) -> Found {
    let over = R::over(LOOK);
    let terms = <R::Sums<f64> as Slots<f64>>::LEN;
    let fold = R::fold(LOOK);
    let mut found = Found {
        whole: [0.0; MAX_SUMS],
        rows: core::array::from_fn(|_| Vec::new()),
        cols: Vec::new(),
    };
    for row in rows {
        let matrix = row / grid.rows;
        if found.cols.last().is_none_or(|(last, _)| *last != matrix) {
            let fresh = core::array::from_fn(|at| match over[at] {
                Over::Cols if at < terms => vec![0.0; grid.cols],
                _ => Vec::new(),
            });
            found.cols.push((matrix, fresh));
        }
        let (_, cols) = found.cols.last_mut().expect("pushed above");
        let of_row = known.of_row(grid, &R::KNOWN, row);
        let mut sums = [0.0; MAX_SUMS];
        let mut from = 0;
        E::look(
            views.range(row * grid.cols..(row + 1) * grid.cols),
            &mut |views| {
                let to = from + views.param.len();
                let cols = cols
                    .each_mut()
                    .map(|cols| cols.get_mut(from..to).unwrap_or_default());
                let known = of_row.range(from..to);
                row_sums::<R, E::Compute, LOOK>(step, known, views, cols, &mut sums);
                from = to;
            },
        );
        for at in 0..terms {
            match over[at] {
                Over::Whole => found.whole[at] = joined(fold, found.whole[at], sums[at]),
                Over::Rows => found.rows[at].push(sums[at]),
                Over::Cols => {}
            }
        }
    }
    found
}

/// Some elements from `start` on, in another precision; zero behind the last.
#[inline(always)]
fn load<V: Real, C: Real>(values: &[V], start: usize) -> [C; LANES] {
    let mut loaded = [C::default(); LANES];
    match values.get(start..start + LANES) {
        Some(values) => {
            for lane in 0..LANES {
                loaded[lane] = C::from_f64(values[lane].to_f64());
            }
        }
        None => {
            for (loaded, value) in loaded.iter_mut().zip(&values[start..]) {
                *loaded = C::from_f64(value.to_f64());
            }
        }
    }
    loaded
}

/// Elements side by side, with what they know.
struct Side<C> {
    param: [C; LANES],
    grad: [C; LANES],
    state: [[C; LANES]; MAX_SLOTS],
    cols: [[C; LANES]; MAX_KNOWN],
}

impl<C: Real> Side<C> {
    #[inline(always)]
    fn load<R: Look, V: Real + Element<Compute = V>>(
        views: &Views<'_, V>,
        known: &RowKnown<'_, C>,
        start: usize,
    ) -> Self {
        let mut side = Self {
            param: load(views.param, start),
            grad: load(views.grad, start),
            state: [[C::default(); LANES]; MAX_SLOTS],
            cols: [[C::default(); LANES]; MAX_KNOWN],
        };
        let own = <R::State<C> as Slots<C>>::LEN;
        for (state, slot) in side.state[..own].iter_mut().zip(&views.slots) {
            *state = load(slot, start);
        }
        let len = <R::Known<C> as Slots<C>>::LEN;
        for (at, cols) in side.cols[..len].iter_mut().enumerate() {
            if R::KNOWN[at] == Over::Cols {
                *cols = load(known.cols[at], start);
            }
        }
        side
    }

    #[inline(always)]
    fn known<R: Look>(&self, known: &RowKnown<'_, C>, lane: usize) -> R::Known<C> {
        gather(|at| match R::KNOWN[at] {
            Over::Cols => self.cols[at][lane],
            Over::Whole | Over::Rows => known.numbers[at],
        })
    }

    #[inline(always)]
    fn state<R: Look>(&self, lane: usize) -> R::State<C> {
        gather(|at| self.state[at][lane])
    }
}

/// The sums over a stretch of a row. Not inlined, as the loop of a move.
#[inline(never)]
fn row_sums<R: Look, V: Real + Element<Compute = V>, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, f64>,
    views: Views<'_, V>,
    cols: [&mut [f64]; MAX_SUMS],
    sums: &mut [f64; MAX_SUMS],
) {
    let terms = <R::Sums<f64> as Slots<f64>>::LEN;
    let (fold, over) = (R::fold(LOOK), R::over(LOOK));
    dispatch(
        #[inline(always)]
        || {
            let mut lanes = [[0.0; LANES]; MAX_SUMS];
            let len = views.param.len();
            for start in (0..len).step_by(LANES) {
                let side = Side::<f64>::load::<R, V>(&views, &known, start);
                let mut found = [[0.0; LANES]; MAX_SUMS];
                for lane in 0..LANES {
                    let known = side.known::<R>(&known, lane);
                    let (param, grad) = (side.param[lane], side.grad[lane]);
                    let state = side.state::<R>(lane);
                    let of_one: [f64; MAX_SUMS] =
                        scattered(R::glance::<LOOK, f64>(step, &known, param, grad, state));
                    for at in 0..terms {
                        found[at][lane] = of_one[at];
                    }
                }
                let whole = start + LANES <= len;
                for at in 0..terms {
                    match (over[at], whole) {
                        (Over::Cols, true) => {
                            fold_into(fold, &mut cols[at][start..start + LANES], &found[at])
                        }
                        (Over::Cols, false) => fold_into(fold, &mut cols[at][start..], &found[at]),
                        (_, true) => fold_into(fold, &mut lanes[at], &found[at]),
                        (_, false) => fold_into(fold, &mut lanes[at][..len - start], &found[at]),
                    }
                }
            }
            for at in 0..terms {
                let lanes = lanes[at].into_iter().chain([sums[at]]);
                sums[at] = lanes.reduce(|a, b| joined(fold, a, b)).unwrap_or_default();
            }
        },
    );
}

#[inline(always)]
fn fold_into(fold: Fold, sums: &mut [f64], terms: &[f64; LANES]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum = joined(fold, *sum, *term);
    }
}

/// The move.
fn move_by<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &Known<E::Compute>,
    buffers: Buffers<'_, E>,
) {
    let parts = grid.parts();
    let work = |(rows, buffers): (Range<usize>, Buffers<'_, E>)| {
        let each = buffers.chunks(grid.cols);
        for (row, buffers) in rows.zip(each) {
            let of_row = known.of_row(grid, &R::KNOWN, row);
            let from = Cell::new(0);
            E::pass(buffers, &|buffers| {
                let to = from.get() + buffers.param.len();
                let known = of_row.range(from.get()..to);
                match step.cautious {
                    0.0 => move_row::<R, E::Compute, false>(step, known, buffers),
                    _ => move_row::<R, E::Compute, true>(step, known, buffers),
                }
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

/// The move of a stretch of a row.
#[inline(never)]
fn move_row<R: Look, V: Real + Element<Compute = V>, const CAUTIOUS: bool>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, V>,
    buffers: Buffers<'_, V>,
) {
    dispatch(
        #[inline(always)]
        || {
            let own = <R::State<V> as Slots<V>>::LEN;
            let len = buffers.param.len();
            for start in (0..len).step_by(LANES) {
                let mut side = Side::<V>::load::<R, V>(&buffers.views(), &known, start);
                for lane in 0..LANES {
                    let known = side.known::<R>(&known, lane);
                    let (param, grad) = (side.param[lane], side.grad[lane]);
                    let state = side.state::<R>(lane);
                    let (param, state) =
                        R::advance::<CAUTIOUS, V>(step, &known, param, grad, state);
                    side.param[lane] = param;
                    let state: [V; MAX_SLOTS] = scattered(state);
                    for at in 0..own {
                        side.state[at][lane] = state[at];
                    }
                }
                store(buffers.param, start, &side.param);
                for at in 0..own {
                    store(buffers.slots[at], start, &side.state[at]);
                }
            }
        },
    );
}

#[inline(always)]
fn store<V: Real>(values: &mut [V], start: usize, stored: &[V; LANES]) {
    if let Some(values) = values.get_mut(start..start + LANES) {
        values.copy_from_slice(stored);
        return;
    }
    for (value, stored) in values[start..].iter_mut().zip(stored) {
        *value = *stored;
    }
}
