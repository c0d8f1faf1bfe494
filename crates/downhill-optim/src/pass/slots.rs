//! Slots by their places.

use downhill_rule::{Look, Real, Slots};

/// How many sums a look has.
pub(super) const fn sum_count<R: Look>() -> usize {
    <R::Sums<f64> as Slots<f64>>::LEN
}

/// Slots whose values are found by their place.
#[inline(always)]
pub(super) fn gather<V, S: Slots<V>>(value: impl Fn(usize) -> V) -> S {
    let mut at = 0;
    S::gather(&mut || {
        at += 1;
        value(at - 1)
    })
}

/// Slots as an array, zero where there are no more.
#[inline(always)]
pub(super) fn scattered<V: Real, S: Slots<V>, const N: usize>(slots: S) -> [V; N] {
    let mut values = [V::default(); N];
    let mut at = 0;
    slots.scatter(&mut |value| {
        values[at] = value;
        at += 1;
    });
    values
}
