//! What the elements of a row know.

use core::ops::Range;

use downhill_rule::{Look, MAX_KNOWN, Over, Real, Slots};

use super::Grid;
use crate::pass::series::{Of, Series};
use crate::pass::slots::gather;
use crate::pass::{Element, Views};

/// What is known, by the number, in the precision of a pass.
pub(super) struct Known<C>([Vec<C>; MAX_KNOWN]);

impl<C: Real> Known<C> {
    pub fn new<R: Look>(grid: Grid, known: R::Known<Series>) -> Self {
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

    /// The same in another precision.
    pub fn rounded<D: Real>(&self) -> Known<D> {
        let round = |values: &Vec<C>| values.iter().map(|x| D::from_f64(x.to_f64())).collect();
        Known(self.0.each_ref().map(round))
    }

    /// What the elements of a row know, of columns as slices.
    pub fn of_row<'a>(
        &'a self,
        grid: Grid,
        over: &[Over; MAX_KNOWN],
        row: usize,
    ) -> RowKnown<'a, C> {
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
pub(super) struct RowKnown<'a, C> {
    pub numbers: [C; MAX_KNOWN],
    pub cols: [&'a [C]; MAX_KNOWN],
}

impl<C: Real> RowKnown<'_, C> {
    /// The same, of as many columns as the compiler knows to be there, so that no place has to be checked.
    #[inline(always)]
    pub fn of_length<R: Look>(mut self, len: usize) -> Self {
        for (cols, over) in self.cols.iter_mut().zip(R::KNOWN) {
            if over == Over::Cols {
                *cols = &cols[..len];
            }
        }
        self
    }

    /// What one element knows.
    #[inline(always)]
    pub fn element<R: Look>(&self, i: usize) -> R::Known<C> {
        gather(|at| match R::KNOWN[at] {
            Over::Cols => self.cols[at][i],
            Over::Whole | Over::Rows => self.numbers[at],
        })
    }

    /// What those of some columns know.
    pub fn range(self, cols: Range<usize>) -> Self {
        Self {
            cols: self
                .cols
                .map(|known| known.get(cols.clone()).unwrap_or_default()),
            ..self
        }
    }
}

/// What the elements of a row know and are, by their place.
#[inline(always)]
pub(super) fn row<'a, R: Look, V: Real + Element<Compute = V>, C: Real>(
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
    let row_known = known.of_length::<R>(len);
    #[inline(always)]
    move |i| {
        let known = row_known.element::<R>(i);
        let state = gather(|at| C::from_f64(slots[at][i].to_f64()));
        let (param, grad) = (
            C::from_f64(param[i].to_f64()),
            C::from_f64(grad[i].to_f64()),
        );
        (known, param, grad, state)
    }
}
