//! Looks: what the terms of all elements come to, over the whole, its rows and its columns.

use core::ops::Range;

use downhill_rule::{Fold, Look, MAX_KNOWN, MAX_SUMS, Over, Real, Step};

use super::Grid;
use super::known::{Known, RowKnown, row};
use crate::pass::look::{is_single, joined};
use crate::pass::series::{Of, Series};
use crate::pass::slots::{gather, scattered};
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

/// The sums over a stretch of a row, in the precision of the numbers or in f64.
type RowSums<'a, V, C> =
    dyn Fn(RowKnown<'_, C>, Views<'_, V>, [&mut [C]; MAX_SUMS], &mut [f64; MAX_SUMS]) + Sync + 'a;

/// A look without its rule, so that all but the loop over a row is compiled once for all rules.
struct Plan<'a, V: Element<Compute = V>> {
    grid: Grid,
    fold: Fold,
    /// Over what each of the sums is taken that there are.
    over: &'a [Over],
    /// What is known, in the precision of the numbers and in f64, and what of.
    known: (Known<V>, Known<f64>),
    known_over: [Over; MAX_KNOWN],
    row: &'a RowSums<'a, V, V>,
    exact: &'a RowSums<'a, V, f64>,
}

/// One look.
pub(super) fn look<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    grid: Grid,
    known: &R::Known<Series>,
    views: Views<'_, E>,
) -> R::Sums<Series> {
    let exact = Known::<f64>::new::<R>(grid, known.clone());
    let over = R::over(LOOK);
    let plan = Plan::<E::Compute> {
        grid,
        fold: R::fold(LOOK),
        over: &over[..R::sums(LOOK)],
        known: (exact.rounded(), exact),
        known_over: R::KNOWN,
        // What is constantly false is not compiled.
        row: if const { R::WIDE && is_single::<E::Compute>() } && !step.is_coupled() {
            &|known, views, cols, sums| {
                vectorised::<R, E::Compute, LOOK>(step, known, views, cols, sums);
            }
        } else {
            &|known, views, cols, sums| {
                plainly::<R, E::Compute, E::Compute, LOOK>(step, known, views, cols, sums);
            }
        },
        exact: &|known, views, cols, sums| {
            plainly::<R, E::Compute, f64, LOOK>(step, known, views, cols, sums);
        },
    };
    let sums = plan.sums(views);
    gather(|at| grid.series(over[at], sums[at].clone()))
}

impl<V: Element<Compute = V> + Real> Plan<'_, V> {
    /// The sums over everything.
    fn sums<E: Element<Compute = V>>(&self, views: Views<'_, E>) -> [Vec<f64>; MAX_SUMS] {
        let work = |rows: Range<usize>| self.look_at_rows(views, rows);
        let parts = self.grid.parts();
        let found = match parts.len() {
            1 => parts.into_iter().map(work).collect(),
            _ => share(parts, work),
        };
        core::array::from_fn(|at| match self.over.get(at) {
            None => vec![0.0],
            Some(Over::Whole) => {
                let parts = found.iter().map(|found: &Found| found.whole[at]);
                let all = parts.reduce(|a, b| joined(self.fold, a, b));
                vec![all.unwrap_or_default()]
            }
            Some(Over::Rows) => found
                .iter()
                .flat_map(|found| found.rows[at].iter().copied())
                .collect(),
            Some(Over::Cols) => {
                let mut sums = vec![0.0; self.grid.count(Of::Cols)];
                for (matrix, cols) in found.iter().flat_map(|found| &found.cols) {
                    let sums = sums[matrix * self.grid.cols..].iter_mut();
                    for (sum, part) in sums.zip(&cols[at]) {
                        *sum = joined(self.fold, *sum, *part);
                    }
                }
                sums
            }
        })
    }

    /// A look at some rows: band by band in the precision of the numbers, and again in f64 where that is not enough.
    fn look_at_rows<E: Element<Compute = V>>(
        &self,
        views: Views<'_, E>,
        rows: Range<usize>,
    ) -> Found {
        let mut found = Found {
            whole: [0.0; MAX_SUMS],
            rows: core::array::from_fn(|_| Vec::new()),
            cols: Vec::new(),
        };
        let (mut band, mut in_f64) = (Band::<V>::new(self.over, self.grid), None);
        let mut row = rows.start;
        while row < rows.end {
            let matrix = row / self.grid.rows;
            let end = rows.end.min((matrix + 1) * self.grid.rows).min(row + BAND);
            if found.cols.last().is_none_or(|(last, _)| *last != matrix) {
                let none = band.cols.each_ref().map(|cols| vec![0.0; cols.len()]);
                found.cols.push((matrix, none));
            }
            let (known, exact) = &self.known;
            let of_row = |row| known.of_row(self.grid, &self.known_over, row);
            band.look(self.row, self.grid, of_row, views, row..end);
            if band.is_finite() {
                found.take(self.fold, self.over, &band);
            } else {
                let band = in_f64.get_or_insert_with(|| Band::new(self.over, self.grid));
                let of_row = |row| exact.of_row(self.grid, &self.known_over, row);
                band.look(self.exact, self.grid, of_row, views, row..end);
                found.take(self.fold, self.over, band);
            }
            row = end;
        }
        found
    }
}

/// Rows whose numbers are added up per column in single precision before it goes on in f64: few enough for the sums
/// to be as exact as the numbers are, many enough to cost nothing.
const BAND: usize = 64;

impl Found {
    /// Takes the sums of a band of the last matrix.
    fn take<C: Real>(&mut self, fold: Fold, over: &[Over], band: &Band<C>) {
        for (at, over) in over.iter().enumerate() {
            match over {
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
    fn new(over: &[Over], grid: Grid) -> Self {
        Self {
            rows: core::array::from_fn(|_| Vec::new()),
            cols: core::array::from_fn(|at| match over.get(at) {
                Some(Over::Cols) => vec![C::default(); grid.cols],
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

    fn look<'a, E: Element>(
        &mut self,
        row_sums: &RowSums<'_, E::Compute, C>,
        grid: Grid,
        known: impl Fn(usize) -> RowKnown<'a, C>,
        views: Views<'_, E>,
        rows: Range<usize>,
    ) {
        self.rows.iter_mut().for_each(Vec::clear);
        self.cols
            .iter_mut()
            .for_each(|cols| cols.fill(C::default()));
        for row in rows {
            let of_row = known(row);
            let mut sums = [0.0; MAX_SUMS];
            let mut from = 0;
            E::look(
                views.range(row * grid.cols..(row + 1) * grid.cols),
                &mut |views| {
                    let to = from + views.param.len();
                    let cols = self.cols.each_mut();
                    let cols = cols.map(|cols| cols.get_mut(from..to).unwrap_or_default());
                    row_sums(of_row.range(from..to), views, cols, &mut sums);
                    from = to;
                },
            );
            for (rows, sum) in self.rows.iter_mut().zip(sums) {
                rows.push(sum);
            }
        }
    }
}

/// The sums over a stretch of a row with the widest instructions of the machine. Not inlined, as the loop of a move.
#[inline(never)]
fn vectorised<R: Look, V: Real + Element<Compute = V>, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, V>,
    views: Views<'_, V>,
    cols: [&mut [V]; MAX_SUMS],
    sums: &mut [f64; MAX_SUMS],
) {
    dispatch(
        #[inline(always)]
        || row_sums::<R, V, V, LOOK, false>(step, known, views, cols, sums),
    );
}

/// The same in f64, or with coupled decay: both are rare with rules that look, and so not compiled for each kind of
/// instruction.
#[inline(never)]
fn plainly<R: Look, V: Real + Element<Compute = V>, C: Real, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: RowKnown<'_, C>,
    views: Views<'_, V>,
    cols: [&mut [C]; MAX_SUMS],
    sums: &mut [f64; MAX_SUMS],
) {
    row_sums::<R, V, C, LOOK, true>(step, known, views, cols, sums);
}

#[inline(always)]
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
    // Here the compiler knows them, and that no store changes them.
    let step = *step;
    let terms = R::sums(LOOK);
    let (fold, over) = (R::fold(LOOK), R::over(LOOK));
    // By way of buffers, so that what makes the terms and what adds them up are loops of their own.
    let mut found = [[C::default(); BUFFER]; MAX_SUMS];
    let mut from = 0;
    for views in views.chunks(BUFFER) {
        let len = views.param.len();
        let one = row::<R, V, C>(&views, &known.range(from..from + len));
        {
            let [a, b, c, d] = found.each_mut().map(|found| &mut found[..len]);
            for i in 0..len {
                let (known, param, grad, state) = one(i);
                let term = R::glance::<LOOK, COUPLED, C>(&step, &known, param, grad, state);
                let term: [C; MAX_SUMS] = scattered(term);
                a[i] = term[0];
                if terms > 1 {
                    b[i] = term[1];
                }
                if terms > 2 {
                    c[i] = term[2];
                }
                if terms > 3 {
                    d[i] = term[3];
                }
            }
        }
        for at in 0..terms {
            let found = &found[at][..len];
            if over[at] == Over::Cols {
                let cols = &mut cols[at][from..from + len];
                for (col, found) in cols.iter_mut().zip(found) {
                    *col = joined(fold, *col, *found);
                }
                continue;
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
}
