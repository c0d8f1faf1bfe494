//! What the sums of a look come to.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;
use downhill_rule::tape::{Op, Unary};

use super::part::{of_sums, run};
use super::place::{place, size};
use super::sums::{folded, put_together};
use super::{PLACES, threads};
use crate::tensors::cube::plan::{Part, Plan};

/// What the sums of a look come to: what is known and kept from now on. One cube does it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn settle<C: Float, N: Size>(
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    shared: &mut Shared<[Vector<C, N>]>,
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
    #[comptime] look: usize,
) {
    let unit = UNIT_POS as usize;
    let zero = Vector::<C, N>::from_int(0);
    let matrices = size(sizes, 0usize);
    let mut matrix = 0usize.runtime();
    while matrix < matrices {
        let mut means = Sequence::<Vector<C, N>>::new();
        #[unroll]
        for mean in 0..comptime!(plan.means(look).len()) {
            let part = comptime!(Part::Mean(look, mean));
            let (operation, over) = comptime!(plan.means(look)[mean]);
            let largest = comptime!({
                let (tape, _) = plan.tape(part);
                matches!(
                    tape.ops()[usize::from(operation)],
                    Op::Unary(Unary::Largest, _)
                )
            });
            let side = comptime!(if over == Over::Rows { 1usize } else { 2usize });
            let count = size(sizes, side);
            let total = RuntimeCell::<Vector<C, N>>::new(zero);
            let mut at = unit;
            while at < count {
                let inputs = of_sums::<C, N>(
                    state,
                    new_state,
                    scratch,
                    sizes,
                    matrix,
                    at,
                    at,
                    plan.clone(),
                    alone,
                    part,
                    look,
                );
                let value = run::<C, N>(&inputs, &means, scalars, plan.clone(), part);
                total.store(put_together::<C, N>(total.read(), *value.index(0), largest));
                at += comptime!(threads(alone));
            }
            let all = folded::<C, N>(
                shared,
                total.read(),
                comptime!(threads(alone)),
                1usize,
                largest,
            );
            if comptime!(largest) {
                means.push(all);
            } else {
                means.push(all / Vector::cast_from(count as u32));
            }
        }
        settled::<C, N>(
            state,
            new_state,
            scratch,
            sizes,
            scalars,
            &means,
            matrix,
            unit,
            size(sizes, 1usize),
            plan.clone(),
            alone,
            look,
            Over::Rows,
        );
        settled::<C, N>(
            state,
            new_state,
            scratch,
            sizes,
            scalars,
            &means,
            matrix,
            unit,
            size(sizes, 2usize),
            plan.clone(),
            alone,
            look,
            Over::Cols,
        );
        // What is of the whole may still be read by another thread, which has not come here.
        sync_cube();
        if matrix + 1 == matrices && unit == 0 {
            settled::<C, N>(
                state,
                new_state,
                scratch,
                sizes,
                scalars,
                &means,
                matrix,
                unit,
                1usize.runtime(),
                plan.clone(),
                alone,
                look,
                Over::Whole,
            );
        }
        matrix += 1;
    }
}

/// What there is one of for each row, for each column, or for the whole.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn settled<C: Float, N: Size>(
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    means: &Sequence<Vector<C, N>>,
    matrix: usize,
    first: usize,
    count: usize,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
    #[comptime] look: usize,
    #[comptime] over: Over,
) {
    let part = comptime!(Part::Settled(look, over));
    let targets = comptime!(plan.targets(part).len());
    if comptime!(targets > 0) {
        let mut at = first;
        while at < count {
            let inputs = of_sums::<C, N>(
                state,
                new_state,
                scratch,
                sizes,
                matrix,
                at,
                at,
                plan.clone(),
                alone,
                part,
                look,
            );
            let values = run::<C, N>(&inputs, means, scalars, plan.clone(), part);
            let to = place(sizes, matrix, at, at, over);
            #[unroll]
            for target in 0..targets {
                let output = comptime!(plan.targets(part)[target]);
                let known = comptime!(plan.known.len());
                if comptime!(output < known) {
                    let from = size(sizes, comptime!(PLACES + output));
                    scratch[from + to] = *values.index(target);
                } else {
                    new_state.index_mut(comptime!(output - known))[to] = *values.index(target);
                }
            }
            at += comptime!(threads(alone));
        }
    }
}
