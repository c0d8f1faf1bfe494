//! The kernels of a rule that looks before it moves.
//!
//! A step has phases: for each look its sums, and what they come to; then the move. Of a small parameter one cube goes
//! through all of them, with a row or a column for each thread; of a large one each is a launch, with a row or some
//! columns for each cube.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;
use downhill_rule::tape::{Op, Register, Unary};

use super::kernel::{self, larger};
use super::plan::{Part, Plan};

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

#[cube]
fn size(sizes: &Sequence<InputScalar>, #[comptime] at: usize) -> usize {
    sizes.index(at).get::<u32>() as usize
}

/// Where one of the numbers of this kind is.
#[cube]
fn place(
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] over: Over,
) -> usize {
    let mut at = 0usize.runtime();
    if comptime!(over == Over::Rows) {
        at = matrix * size(sizes, 1usize) + row;
    }
    if comptime!(over == Over::Cols) {
        at = matrix * size(sizes, 2usize) + col;
    }
    at
}

/// Where an element is.
#[cube]
fn element(
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] transposed: bool,
) -> usize {
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let mut at = row * cols + col;
    if comptime!(transposed) {
        at = col * rows + row;
    }
    matrix * rows * cols + at
}

/// What a part that is about an element reads of it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn of_element<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
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
        inputs.push(Vector::cast_from(grad[at]));
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

/// All threads' numbers put together, of which those of every `keep`-th thread are one.
#[cube]
fn folded<C: Float, N: Size>(
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
fn added<C: Float, N: Size>(
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
fn put_together<C: Float, N: Size>(
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
fn add<P: Float, C: Float, N: Size>(
    sums: &Sequence<RuntimeCell<Vector<C, N>>>,
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
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
fn nothing<C: Float, N: Size>(
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
fn sum<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
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
    let lanes = comptime!(threads / keep);
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
                if comptime!(over == Over::Whole) {
                    let (matrix, row, col) = whereabouts(sizes, at, comptime!(plan.transposed));
                    add::<P, C, N>(
                        &sums,
                        param,
                        grad,
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
                    at += comptime!(stretches(alone) * threads);
                } else if comptime!(over == Over::Rows) {
                    add::<P, C, N>(
                        &sums,
                        param,
                        grad,
                        state,
                        scratch,
                        sizes,
                        scalars,
                        which / rows,
                        which % rows,
                        at,
                        plan.clone(),
                        part,
                    );
                    at += lanes;
                } else {
                    add::<P, C, N>(
                        &sums,
                        param,
                        grad,
                        state,
                        scratch,
                        sizes,
                        scalars,
                        which / cols,
                        at,
                        which % cols,
                        plan.clone(),
                        part,
                    );
                    at += lanes;
                }
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

/// Matrix, row and column of an element.
#[cube]
fn whereabouts(
    sizes: &Sequence<InputScalar>,
    at: usize,
    #[comptime] transposed: bool,
) -> (usize, usize, usize) {
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let matrix = at / (rows * cols);
    let within = at % (rows * cols);
    let mut row = within / cols;
    let mut col = within % cols;
    if comptime!(transposed) {
        row = within % rows;
        col = within / rows;
    }
    (matrix, row, col)
}

/// What a part that is about rows and columns reads.
#[cube]
#[allow(clippy::too_many_arguments)]
fn of_sums<C: Float, N: Size>(
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

/// What the sums of a look come to: what is known and kept from now on. One cube does it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn settle<C: Float, N: Size>(
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
fn settled<C: Float, N: Size>(
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

/// The move, each element by one thread.
#[cube]
#[allow(clippy::too_many_arguments)]
fn go<P: Float, C: Float, N: Size>(
    param: &[Vector<P, N>],
    grad: &[Vector<P, N>],
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

/// What a part computes.
#[cube]
fn run<C: Float, N: Size>(
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
            let is_mean = matches!(op, Op::Unary(Unary::Mean | Unary::Largest, _));
            let of_sides = match part {
                Part::Mean(look, _) | Part::Settled(look, _) => plan
                    .means(look)
                    .iter()
                    .any(|(mean, _)| usize::from(*mean) == operation),
                Part::Terms(..) | Part::Go => false,
            };
            let result = if is_mean && of_sides {
                let mean = plan.mean(part, operation);
                let mean = means.__expand_index_method(scope, mean.into());
                mean.read_value(scope).into()
            } else {
                kernel::operation::<C, N>(scope, *op, inputs, &at, scalars, base)
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
