//! The parts of a step that a thread computes at once: what they read, and what comes of it.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;
use downhill_rule::tape::Register;

use super::place::{element, place, size};
use super::sums::put_together;
use super::{PLACES, stretches};
use crate::tensors::cube::kernel;
use crate::tensors::cube::plan::{Part, Plan};

/// What a part that is about an element reads of it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn of_element<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] plan: Arc<Plan>,
    #[comptime] part: Part,
) -> Sequence<Vector<C, N>> {
    let at = element(sizes, matrix, row, col, comptime!(plan.transposed));
    let zero = Vector::<C, N>::from_int(0);
    let mut inputs = Sequence::<Vector<C, N>>::new();
    if comptime!(plan.reads(part, 0)) {
        inputs.push(Vector::cast_from(param[at]));
    } else {
        inputs.push(zero);
    }
    if comptime!(plan.reads(part, 1)) {
        inputs.push(kernel::gradient::<P, C, N>(grad, at, root));
    } else {
        inputs.push(zero);
    }
    let kept = comptime!(plan.kept.len());
    #[unroll]
    for slot in kept..state.len() {
        if comptime!(plan.reads(part, 2 + slot - kept)) {
            inputs.push(state.index(slot)[at]);
        } else {
            inputs.push(zero);
        }
    }
    let slots = comptime!(state.len() - plan.kept.len());
    #[unroll]
    for known in 0..comptime!(plan.known.len()) {
        let over = comptime!(plan.known[known]);
        if comptime!(plan.reads(part, 2 + slots + known)) {
            let at = place(sizes, matrix, row, col, over);
            // Before the first look that is what was kept, where it is of the same.
            if comptime!(matches!(part, Part::Terms(0, _))) {
                if comptime!(plan.kept.get(known) == Some(&over)) {
                    inputs.push(state.index(known)[at]);
                } else {
                    inputs.push(zero);
                }
            } else {
                inputs.push(scratch[size(sizes, comptime!(PLACES + known)) + at]);
            }
        } else {
            inputs.push(zero);
        }
    }
    inputs
}

/// What a part that is about rows and columns reads.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn of_sums<C: Float, N: Size>(
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
    #[comptime] part: Part,
    #[comptime] look: usize,
) -> Sequence<Vector<C, N>> {
    let zero = Vector::<C, N>::from_int(0);
    let mut inputs = Sequence::<Vector<C, N>>::new();
    let sums = comptime!(plan.over(look).len());
    #[unroll]
    for sum in 0..sums {
        let over = comptime!(plan.over(look)[sum]);
        if comptime!(plan.reads(part, sum)) {
            let from = size(
                sizes,
                comptime!(PLACES + plan.known.len() + plan.sums_before(look) + sum),
            );
            if comptime!(over == Over::Whole) {
                let total = RuntimeCell::<Vector<C, N>>::new(zero);
                for stretch in 0..comptime!(stretches(alone)) {
                    let largest = comptime!(plan.is_largest(part));
                    total.store(put_together::<C, N>(
                        total.read(),
                        scratch[from + stretch],
                        largest,
                    ));
                }
                inputs.push(total.read());
            } else {
                inputs.push(scratch[from + place(sizes, matrix, row, col, over)]);
            }
        } else {
            inputs.push(zero);
        }
    }
    #[unroll]
    for known in 0..comptime!(plan.known.len()) {
        let over = comptime!(plan.known[known]);
        if comptime!(plan.reads(part, sums + known)) {
            let at = place(sizes, matrix, row, col, over);
            if comptime!(look > 0) {
                inputs.push(scratch[size(sizes, comptime!(PLACES + known)) + at]);
            } else if comptime!(plan.kept.get(known) == Some(&over)) {
                inputs.push(state.index(known)[at]);
            } else {
                inputs.push(zero);
            }
        } else {
            inputs.push(zero);
        }
    }
    let before = comptime!(sums + plan.known.len());
    #[unroll]
    for kept in 0..comptime!(plan.kept.len()) {
        let over = comptime!(plan.kept[kept]);
        if comptime!(plan.reads(part, before + kept)) {
            let at = place(sizes, matrix, row, col, over);
            if comptime!(look == 0) {
                inputs.push(state.index(kept)[at]);
            } else {
                inputs.push(new_state.index(kept)[at]);
            }
        } else {
            inputs.push(zero);
        }
    }
    inputs
}

/// What a part computes.
#[cube]
pub(super) fn run<C: Float, N: Size>(
    inputs: &Sequence<Vector<C, N>>,
    means: &Sequence<Vector<C, N>>,
    scalars: &Sequence<InputScalar>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] part: Part,
) -> Sequence<Vector<C, N>> {
    intrinsic!(|scope| {
        let (tape, base) = plan.tape(part);
        let needed = plan.needed(part);
        let mut results: Vec<Option<NativeExpand<Vector<C, N>>>> = Vec::new();
        for (operation, op) in tape.ops().iter().enumerate() {
            if !needed[operation] {
                results.push(None);
                continue;
            }
            let at = |register: Register| results[usize::from(register)].expect("needed");
            let result = match plan.mean(part, operation) {
                Some(mean) => {
                    let mean = means.__expand_index_method(scope, mean.into());
                    mean.read_value(scope).into()
                }
                None => kernel::operation::<C, N>(scope, *op, inputs, &at, scalars, base),
            };
            results.push(Some(result));
        }
        let mut outputs = Sequence::__expand_new(scope);
        for output in plan.results(part) {
            let result = results[usize::from(output)].expect("needed");
            outputs.__expand_push_method(scope, result);
        }
        outputs
    })
}
