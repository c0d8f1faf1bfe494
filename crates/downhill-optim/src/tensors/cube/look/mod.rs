//! The kernels of a rule that looks before it moves.
//!
//! A step has phases: for each look its sums, and what they come to; then the move. Of a small parameter one cube goes
//! through all of them, with a row or a column for each thread; of a large one each is a launch, with a row or some
//! columns for each cube.

mod part;
pub(super) mod place;
mod settlement;
mod sums;

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;

use super::plan::{Part, Plan};
use part::{of_element, run};
use place::{size, whereabouts};
use settlement::settle;
use sums::sum;

/// Threads of a cube: of one that is alone, and of one of many.
pub(super) const fn threads(alone: bool) -> usize {
    if alone { 64 } else { 256 }
}

/// Columns that a cube adds up at once, and rows between which it divides its threads.
pub(super) const STRIPE: usize = 32;

/// Stretches in which the sum over all is added up.
pub(super) const fn stretches(alone: bool) -> usize {
    if alone { 1 } else { 64 }
}

/// Sizes before the places in the scratch memory: of matrices, rows and columns.
pub(super) const PLACES: usize = 3;

/// Numbers that a thread adds up of the other threads'.
const AT_ONCE: usize = 16;

/// Some phases of the step of one parameter, in row-major order.
#[cube(launch, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn step<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_param: &mut [Vector<P, N>],
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
    #[comptime] first: usize,
    #[comptime] last: usize,
    #[define(P, C)] _types: [ElemType; 2],
) {
    let mut shared = Shared::<[Vector<C, N>]>::new_slice(comptime!(threads(alone)));
    #[unroll]
    for phase in first..last {
        if comptime!(phase > first) {
            sync_storage();
            sync_cube();
        }
        let look = comptime!(phase / 2);
        if comptime!(look == plan.looks()) {
            go::<P, C, N>(
                param,
                grad,
                root,
                state,
                new_param,
                new_state,
                scratch,
                sizes,
                scalars,
                plan.clone(),
                alone,
            );
        } else if comptime!(phase % 2 == 0) {
            #[unroll]
            for over in 0..3usize {
                let part = comptime!(Part::Terms(
                    look,
                    [Over::Rows, Over::Cols, Over::Whole][over]
                ));
                if comptime!(!plan.targets(part).is_empty()) {
                    sum::<P, C, N>(
                        param,
                        grad,
                        root,
                        state,
                        scratch,
                        &mut shared,
                        sizes,
                        scalars,
                        plan.clone(),
                        alone,
                        part,
                    );
                }
            }
        } else {
            settle::<C, N>(
                state,
                new_state,
                scratch,
                &mut shared,
                sizes,
                scalars,
                plan.clone(),
                alone,
                look,
            );
        }
    }
}

/// The move, each element by one thread.
#[cube]
#[allow(clippy::too_many_arguments)]
fn go<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_param: &mut [Vector<P, N>],
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    scratch: &mut [Vector<C, N>],
    sizes: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] alone: bool,
) {
    let len = size(sizes, 0usize) * size(sizes, 1usize) * size(sizes, 2usize);
    let mut at = ABSOLUTE_POS;
    let step = CUBE_COUNT * comptime!(threads(alone));
    while at < len {
        let (matrix, row, col) = whereabouts(sizes, at, comptime!(plan.transposed));
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
            Part::Go,
        );
        let none = Sequence::<Vector<C, N>>::new();
        let outputs = run::<C, N>(&inputs, &none, scalars, plan.clone(), Part::Go);
        new_param[at] = Vector::cast_from(*outputs.index(0));
        let kept = comptime!(plan.kept.len());
        #[unroll]
        for slot in kept..new_state.len() {
            new_state.index_mut(slot)[at] = *outputs.index(comptime!(slot + 1 - plan.kept.len()));
        }
        at += step;
    }
}
