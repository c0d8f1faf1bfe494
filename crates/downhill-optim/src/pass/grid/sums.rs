//! Looks: what the terms of all elements come to, over the whole, its rows and its columns.

use core::ops::Range;

use downhill_rule::{Look, MAX_SUMS, Over, Real, Step};

use super::Grid;
use super::known::{Known, RowKnown, row};
use crate::pass::look::joined;
use crate::pass::series::{Of, Series};
use crate::pass::slots::{gather, scattered, sum_count};
use crate::pass::{Element, Views, dispatch, share};

/// Elements that are added up side by side; and terms of a row that are kept until they are, after which it goes on
/// in f64.
const LANES: usize = 16;
const BUFFER: usize = 256;

/// What a part of a look found: the sums over the whole, the rows of the part, and the columns of the matrices that
/// it touched.
struct Found {
    whole: [f64; MAX_SUMS],
    rows: [Vec<f64>; MAX_SUMS],
    cols: Vec<(usize, [Vec<f64>; MAX_SUMS])>,
}

/// One look.
pub(super) fn look<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &R::Known<Series>,
    views: Views<'_, E>,
) -> R::Sums<Series> {
    let exact = Known::<f64>::new::<R>(grid, known.clone());
    let known = (exact.rounded(), exact);
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
        for at in 0..sum_count::<R>() {
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
        let terms = sum_count::<R>();
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
            let terms = sum_count::<R>();
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
