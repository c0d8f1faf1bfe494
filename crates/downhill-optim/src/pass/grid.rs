//! Rules that look at rows and columns: passes over the rows of a matrix, or of many, in which each element knows
//! what is known of its row and of its column.

use core::cell::Cell;
use core::ops::Range;

use downhill_rule::{Frame, Look, MAX_KNOWN, MAX_SUMS, Over, Real, Size, Slots, Step};

use super::elementwise::pass;
use super::look::{gather, joined, scattered};
use super::permute::{permuted, restore};
use super::series::{Of, Series};
use super::{Buffers, Element, MAX_SLOTS, Views, dispatch, parts, share};

/// Elements that are added up side by side; and terms of a row that are kept until they are, after which it goes on
/// in f64.
const LANES: usize = 16;
const BUFFER: usize = 256;

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
    let grid = Grid::new(frame, shape);
    let axes = frame.axes(shape.len());
    // What is kept of the whole comes first among the state.
    let own = <R::State<f64> as Slots<f64>>::LEN;
    let kept = <R::Kept<f64> as Slots<f64>>::LEN;
    buffers.slots[..own + kept].rotate_left(kept);
    if axes.is_sorted() {
        return in_place::<R, E>(step, grid, buffers);
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
        let count = grid.count(R::KNOWN[at].into());
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
    move_by::<R, E>(step, grid, &Known::new::<R>(grid, known), buffers);
}

/// What is known, by the number, in the precision of a pass.
struct Known<C>([Vec<C>; MAX_KNOWN]);

impl<C: Real> Known<C> {
    fn new<R: Look>(grid: Grid, known: R::Known<Series>) -> Self {
        let mut all: [Vec<C>; MAX_KNOWN] = Default::default();
        let mut at = 0;
        known.scatter(&mut |one: Series| {
            let count = grid.count(Of::from(R::KNOWN[at]));
            assert_eq!(one.values.len(), count, "a number of {:?}", R::KNOWN[at]);
            all[at] = one.values.into_iter().map(C::from_f64).collect();
            at += 1;
        });
        Self(all)
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
    let known = (
        Known::new::<R>(grid, known.clone()),
        Known::new::<R>(grid, known.clone()),
    );
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

/// Rows whose numbers are added up per column in single precision before it goes on in f64: few enough for the sums
/// to be as exact as the numbers are, many enough to cost nothing.
const BAND: usize = 64;

/// A look at some rows: band by band in the precision of the numbers, and again in f64 where that is not enough.
fn look_at_rows<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &(Known<E::Compute>, Known<f64>),
    views: Views<'_, E>,
    rows: Range<usize>,
) -> Found {
    let mut found = Found {
        whole: [0.0; MAX_SUMS],
        rows: core::array::from_fn(|_| Vec::new()),
        cols: Vec::new(),
    };
    let (mut band, mut in_f64) = (Band::<E::Compute>::new::<R, LOOK>(grid), None);
    let mut row = rows.start;
    while row < rows.end {
        let matrix = row / grid.rows;
        let end = rows.end.min((matrix + 1) * grid.rows).min(row + BAND);
        if found.cols.last().is_none_or(|(last, _)| *last != matrix) {
            let none = band.cols.each_ref().map(|cols| vec![0.0; cols.len()]);
            found.cols.push((matrix, none));
        }
        band.look::<R, E, LOOK>(step, grid, &known.0, views, row..end);
        if band.is_finite() {
            found.take::<R, _, LOOK>(&band);
        } else {
            let band = in_f64.get_or_insert_with(|| Band::new::<R, LOOK>(grid));
            band.look::<R, E, LOOK>(step, grid, &known.1, views, row..end);
            found.take::<R, _, LOOK>(band);
        }
        row = end;
    }
    found
}

impl Found {
    /// Takes the sums of a band of the last matrix.
    fn take<R: Look, C: Real, const LOOK: usize>(&mut self, band: &Band<C>) {
        let (fold, over) = (R::fold(LOOK), R::over(LOOK));
        for at in 0..R::sums(LOOK) {
            match over[at] {
                Over::Whole => {
                    let rows = band.rows[at].iter().copied();
                    self.whole[at] = rows.fold(self.whole[at], |a, b| joined(fold, a, b));
                }
                Over::Rows => self.rows[at].extend(&band.rows[at]),
                Over::Cols => {
                    let (_, cols) = self.cols.last_mut().expect("a matrix was begun");
                    for (sum, band) in cols[at].iter_mut().zip(&band.cols[at]) {
                        *sum = joined(fold, *sum, band.to_f64());
                    }
                }
            }
        }
    }
}

/// The sums over some rows, and over their columns.
struct Band<C> {
    rows: [Vec<f64>; MAX_SUMS],
    cols: [Vec<C>; MAX_SUMS],
}

impl<C: Real> Band<C> {
    fn new<R: Look, const LOOK: usize>(grid: Grid) -> Self {
        let terms = R::sums(LOOK);
        let over = R::over(LOOK);
        Self {
            rows: core::array::from_fn(|_| Vec::new()),
            cols: core::array::from_fn(|at| match over[at] {
                Over::Cols if at < terms => vec![C::default(); grid.cols],
                _ => Vec::new(),
            }),
        }
    }

    fn is_finite(&self) -> bool {
        let rows = self.rows.iter().flatten().all(|sum| sum.is_finite());
        rows && self
            .cols
            .iter()
            .flatten()
            .all(|sum| sum.to_f64().is_finite())
    }

    fn look<R: Look, E: Element, const LOOK: usize>(
        &mut self,
        step: &Step<R::Coefs>,
        grid: Grid,
        known: &Known<C>,
        views: Views<'_, E>,
        rows: Range<usize>,
    ) {
        self.rows.iter_mut().for_each(Vec::clear);
        self.cols
            .iter_mut()
            .for_each(|cols| cols.fill(C::default()));
        for row in rows {
            let of_row = known.of_row(grid, &R::KNOWN, row);
            let mut sums = [0.0; MAX_SUMS];
            let mut from = 0;
            E::look(
                views.range(row * grid.cols..(row + 1) * grid.cols),
                &mut |views| {
                    let to = from + views.param.len();
                    let cols = self.cols.each_mut();
                    let cols = cols.map(|cols| cols.get_mut(from..to).unwrap_or_default());
                    let known = of_row.range(from..to);
                    match step.is_coupled() {
                        false => row_sums::<R, E::Compute, C, LOOK, false>(
                            step, known, views, cols, &mut sums,
                        ),
                        true => row_sums::<R, E::Compute, C, LOOK, true>(
                            step, known, views, cols, &mut sums,
                        ),
                    }
                    from = to;
                },
            );
            for (rows, sum) in self.rows.iter_mut().zip(sums) {
                rows.push(sum);
            }
        }
    }
}

/// The sums over a stretch of a row. Not inlined, as the loop of a move.
#[inline(never)]
fn row_sums<
    R: Look,
    V: Real + Element<Compute = V>,
    C: Real,
    const LOOK: usize,
    const COUPLED: bool,
>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, C>,
    views: Views<'_, V>,
    cols: [&mut [C]; MAX_SUMS],
    sums: &mut [f64; MAX_SUMS],
) {
    dispatch(
        #[inline(always)]
        || {
            // Inside of the closure, where the compiler knows them, and that no store changes them.
            let step = *step;
            let terms = R::sums(LOOK);
            let (fold, over) = (R::fold(LOOK), R::over(LOOK));
            let len = views.param.len();
            let one = row::<R, V, C>(&views, &known);
            for at in 0..terms {
                if over[at] == Over::Cols {
                    let cols = &mut cols[at][..len];
                    for (i, col) in cols.iter_mut().enumerate() {
                        let (known, param, grad, state) = one(i);
                        let term = R::glance::<LOOK, COUPLED, C>(&step, &known, param, grad, state);
                        *col = joined(fold, *col, scattered::<C, _, MAX_SUMS>(term)[at]);
                    }
                }
            }
            if over[..terms].iter().all(|over| *over == Over::Cols) {
                return;
            }
            // By way of a buffer, so that what makes the terms and what adds them up are loops of their own.
            let mut found = [C::default(); BUFFER];
            let mut from = 0;
            for views in views.chunks(BUFFER) {
                let len = views.param.len();
                let found = &mut found[..len];
                let one = row::<R, V, C>(&views, &known.range(from..from + len));
                for at in 0..terms {
                    if over[at] == Over::Cols {
                        continue;
                    }
                    for (i, found) in found.iter_mut().enumerate() {
                        let (known, param, grad, state) = one(i);
                        let term = R::glance::<LOOK, COUPLED, C>(&step, &known, param, grad, state);
                        *found = scattered::<C, _, MAX_SUMS>(term)[at];
                    }
                    let mut lanes = [C::default(); LANES];
                    let (whole, rest) = found.as_chunks::<LANES>();
                    for found in whole {
                        for lane in 0..LANES {
                            lanes[lane] = joined(fold, lanes[lane], found[lane]);
                        }
                    }
                    let lanes = lanes.iter().chain(rest).map(|term| term.to_f64());
                    sums[at] = lanes.fold(sums[at], |a, b| joined(fold, a, b));
                }
                from += len;
            }
        },
    );
}

/// What the elements of a row know and are, by their place.
#[inline(always)]
fn row<'a, R: Look, V: Real + Element<Compute = V>, C: Real>(
    views: &Views<'a, V>,
    known: &RowKnown<'a, C>,
) -> impl Fn(usize) -> (R::Known<C>, C, C, R::State<C>) + use<'a, R, V, C> {
    let len = views.param.len();
    let own = <R::State<V> as Slots<V>>::LEN;
    // All of one length, so that no place has to be checked against it.
    let (param, grad) = (&views.param[..len], &views.grad[..len]);
    let mut slots = views.slots;
    for slot in &mut slots[..own] {
        *slot = &slot[..len];
    }
    let numbers = known.numbers;
    let mut cols = known.cols;
    for (cols, over) in cols.iter_mut().zip(R::KNOWN) {
        if over == Over::Cols {
            *cols = &cols[..len];
        }
    }
    #[inline(always)]
    move |i| {
        let known = gather(|at| match R::KNOWN[at] {
            Over::Cols => cols[at][i],
            Over::Whole | Over::Rows => numbers[at],
        });
        let state = gather(|at| C::from_f64(slots[at][i].to_f64()));
        let (param, grad) = (
            C::from_f64(param[i].to_f64()),
            C::from_f64(grad[i].to_f64()),
        );
        (known, param, grad, state)
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
            let step = &{ *step };
            let len = buffers.param.len();
            let mut cols = known.cols;
            for (cols, over) in cols.iter_mut().zip(R::KNOWN) {
                if over == Over::Cols {
                    *cols = &cols[..len];
                }
            }
            pass::<R::State<V>, V>(
                buffers,
                #[inline(always)]
                |i, param, grad, state| {
                    let known = gather(|at| match R::KNOWN[at] {
                        Over::Cols => cols[at][i],
                        Over::Whole | Over::Rows => known.numbers[at],
                    });
                    R::advance::<CAUTIOUS, V>(step, &known, param, grad, state)
                },
            );
        },
    );
}
