//! The sums of a look.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;

use super::part::{of_element, run};
use super::place::{of_sum, size};
use super::{AT_ONCE, STRIPE, stretches, threads};
use crate::tensors::cube::kernel::larger;
use crate::tensors::cube::plan::{Part, Plan};

/// All threads' numbers put together, of which those of every `keep`-th thread are one.
#[cube]
pub(super) fn folded<C: Float, N: Size>(
    shared: &mut Shared<[Vector<C, N>]>,
    value: Vector<C, N>,
    #[comptime] threads: usize,
    #[comptime] keep: usize,
    #[comptime] largest: bool,
) -> Vector<C, N> {
    let unit = UNIT_POS as usize;
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let lanes = RuntimeCell::<usize>::new(comptime!(threads / keep).runtime());
    if comptime!(threads / keep > AT_ONCE) {
        if unit < comptime!(keep * AT_ONCE) {
            let step = comptime!(keep * AT_ONCE);
            let sum = added::<C, N>(shared, unit, step, comptime!(threads / step), largest);
            shared[unit] = sum;
        }
        sync_cube();
        lanes.store(AT_ONCE.runtime());
    }
    added::<C, N>(shared, unit % keep, keep, lanes.read(), largest)
}

/// So many numbers of other threads put together.
#[cube]
pub(super) fn added<C: Float, N: Size>(
    shared: &mut Shared<[Vector<C, N>]>,
    first: usize,
    step: usize,
    count: usize,
    #[comptime] largest: bool,
) -> Vector<C, N> {
    let sum = RuntimeCell::<Vector<C, N>>::new(shared[first]);
    let mut at = 1usize.runtime();
    while at < count {
        let next = shared[first + at * step];
        sum.store(put_together::<C, N>(sum.read(), next, largest));
        at += 1;
    }
    sum.read()
}

#[cube]
pub(super) fn put_together<C: Float, N: Size>(
    sum: Vector<C, N>,
    term: Vector<C, N>,
    #[comptime] largest: bool,
) -> Vector<C, N> {
    let mut both = sum + term;
    if comptime!(largest) {
        both = larger::<C, N>(sum, term);
    }
    both
}

/// What an element adds to the sums of a part.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn add<P: Float, C: Float, N: Size>(
    sums: &Sequence<RuntimeCell<Vector<C, N>>>,
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] plan: Arc<Plan>,
    #[comptime] part: Part,
) {
    let inputs = of_element::<P, C, N>(
        param,
        grad,
        root,
        state,
        scratch,
        sizes,
        matrix,
        row,
        col,
        plan.clone(),
        part,
    );
    let none = Sequence::<Vector<C, N>>::new();
    let terms = run::<C, N>(&inputs, &none, scalars, plan.clone(), part);
    let largest = comptime!(plan.is_largest(part));
    #[unroll]
    for target in 0..sums.len() {
        let sum = sums.index(target);
        sum.store(put_together::<C, N>(
            sum.read(),
            *terms.index(target),
            largest,
        ));
    }
}

/// As many sums as a part has.
#[cube]
pub(super) fn nothing<C: Float, N: Size>(
    #[comptime] plan: Arc<Plan>,
    #[comptime] part: Part,
) -> Sequence<RuntimeCell<Vector<C, N>>> {
    let zero = Vector::<C, N>::from_int(0);
    let mut sums = Sequence::<RuntimeCell<Vector<C, N>>>::new();
    #[unroll]
    for _ in 0..comptime!(plan.targets(part).len()) {
        sums.push(RuntimeCell::<Vector<C, N>>::new(zero));
    }
    sums
}

/// The sums of a look over rows, columns or all.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn sum<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    shared: &mut Shared<[Vector<C, N>]>,
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
    #[comptime] part: Part,
) {
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let matrices = size(sizes, 0usize);
    let unit = UNIT_POS as usize;
    let threads = comptime!(threads(alone));
    let largest = comptime!(plan.is_largest(part));
    let over = comptime!(plan.of(part));
    // Threads that work on one sum, and sums that a cube works on.
    let keep = comptime!(match (over, alone) {
        (Over::Whole, _) => 1,
        (_, true) => threads,
        (Over::Rows, false) => 1,
        (Over::Cols, false) => STRIPE,
    });
    // From one element of a sum to the next that a thread adds to it.
    let step = comptime!(match over {
        Over::Whole => stretches(alone) * threads,
        Over::Rows | Over::Cols => threads / keep,
    });
    let all = RuntimeCell::<usize>::new(comptime!(stretches(alone)).runtime());
    let length = RuntimeCell::<usize>::new(matrices * rows * cols);
    if comptime!(over == Over::Rows) {
        all.store(matrices * rows);
        length.store(cols);
    }
    if comptime!(over == Over::Cols) {
        all.store(matrices * cols);
        length.store(rows);
    }
    let all = all.read();
    let length = length.read();
    let mut first = CUBE_POS * keep;
    while first < all {
        let which = first + unit % keep;
        let sums = nothing::<C, N>(plan.clone(), part);
        if which < all {
            let mut at = unit / keep;
            if comptime!(over == Over::Whole) {
                at += first * threads;
            }
            while at < length {
                let (matrix, row, col) = of_sum(sizes, which, at, over, comptime!(plan.transposed));
                add::<P, C, N>(
                    &sums,
                    param,
                    grad,
                    root,
                    state,
                    scratch,
                    sizes,
                    scalars,
                    matrix,
                    row,
                    col,
                    plan.clone(),
                    part,
                );
                at += step;
            }
        }
        #[unroll]
        for target in 0..sums.len() {
            let sum = RuntimeCell::<Vector<C, N>>::new(sums.index(target).read());
            if comptime!(keep < threads) {
                sum.store(folded::<C, N>(shared, sum.read(), threads, keep, largest));
            }
            if unit < keep && which < all {
                let index = comptime!(plan.place(part, target));
                scratch[size(sizes, index) + which] = sum.read();
            }
        }
        first += CUBE_COUNT * keep;
    }
}
