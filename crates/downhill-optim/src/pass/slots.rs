//! Slots by their places.

use downhill_rule::{Real, Slots};

/// Slots whose values are found by their place.
#[inline(always)]
pub(crate) fn gather<V, S: Slots<V>>(value: impl Fn(usize) -> V) -> S {
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

/// Slots as a list.
pub(crate) fn listed<S: Slots<f64>>(slots: S) -> Vec<f64> {
    let mut values = Vec::with_capacity(S::LEN);
    slots.scatter(&mut |value| values.push(value));
    values
}
