//! The kernels of a rule that looks before it moves.
//!
//! A step has phases: for each look its sums, and what they come to; then the move. Of a small parameter one cube goes
//! through all of them; of a large one each is a launch.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;
use downhill_rule::tape::{Op, Register, Unary};

use super::kernel::{self, larger};
use super::plan::{Part, Plan};

/// Threads of a cube.
pub(super) const THREADS: usize = 256;

/// Columns that a cube adds up at once, and rows between which it divides its threads.
pub(super) const STRIPE: usize = 32;

/// Stretches in which the sum over all is added up.
pub(super) const STRETCHES: usize = 64;

/// Where the numbers of the sizes are: of matrices, rows and columns, and then the places in the scratch memory.
pub(super) const PLACES: usize = 3;

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
    #[comptime] first: usize,
    #[comptime] last: usize,
    #[define(P, C)] _types: [ElemType; 2],
) {
    let mut shared = Shared::<[Vector<C, N>]>::new_slice(THREADS);
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
            );
        } else if comptime!(phase % 2 == 0) {
            sum::<P, C, N>(
                param,
                grad,
                state,
                scratch,
                &mut shared,
                sizes,
                scalars,
                plan.clone(),
                look,
            );
        } else {
            settle::<C, N>(
                state,
                new_state,
                scratch,
                &mut shared,
                sizes,
                scalars,
                plan.clone(),
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

/// All threads' numbers put together: those of every `keep`-th thread, which are in shared memory then.
#[cube]
fn folded<C: Float, N: Size>(
    shared: &mut Shared<[Vector<C, N>]>,
    value: Vector<C, N>,
    #[comptime] keep: usize,
    #[comptime] largest: bool,
) -> Vector<C, N> {
    let unit = UNIT_POS as usize;
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let mut width = comptime!(THREADS / 2).runtime();
    while width >= keep {
        if unit < width {
            let both = put_together::<C, N>(shared[unit], shared[unit + width], largest);
            shared[unit] = both;
        }
        sync_cube();
        width /= 2;
    }
    shared[unit % keep]
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

/// The sums of a look: over rows a cube for each, over columns one for each stripe of them, over all one for each
/// stretch.
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
    #[comptime] look: usize,
) {
    let matrices = size(sizes, 0usize);
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let unit = UNIT_POS as usize;
    let largest = comptime!(plan.is_largest(look));
    let before = comptime!(PLACES + plan.known.len() + plan.sums_before(look));
    let zero = Vector::<C, N>::from_int(0);

    let part = comptime!(Part::Terms(look, Over::Rows));
    if comptime!(plan.has(look, Over::Rows)) {
        let targets = comptime!(plan.targets(part).len());
        let mut at = CUBE_POS;
        while at < matrices * rows {
            let matrix = at / rows;
            let row = at % rows;
            let mut sums = Sequence::<RuntimeCell<Vector<C, N>>>::new();
            #[unroll]
            for _ in 0..targets {
                sums.push(RuntimeCell::<Vector<C, N>>::new(zero));
            }
            let mut col = unit;
            while col < cols {
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
                #[unroll]
                for target in 0..targets {
                    let sum = sums.index(target);
                    sum.store(put_together::<C, N>(
                        sum.read(),
                        *terms.index(target),
                        largest,
                    ));
                }
                col += THREADS;
            }
            #[unroll]
            for target in 0..targets {
                let sum = folded::<C, N>(shared, sums.index(target).read(), 1usize, largest);
                let index = comptime!(before + plan.targets(part)[target]);
                if unit == 0 {
                    scratch[size(sizes, index) + at] = sum;
                }
            }
            at += CUBE_COUNT;
        }
    }

    let part = comptime!(Part::Terms(look, Over::Cols));
    if comptime!(plan.has(look, Over::Cols)) {
        let targets = comptime!(plan.targets(part).len());
        let stripes = cols.div_ceil(STRIPE);
        let mut at = CUBE_POS;
        while at < matrices * stripes {
            let matrix = at / stripes;
            let col = at % stripes * STRIPE + unit % STRIPE;
            let mut sums = Sequence::<RuntimeCell<Vector<C, N>>>::new();
            #[unroll]
            for _ in 0..targets {
                sums.push(RuntimeCell::<Vector<C, N>>::new(zero));
            }
            let mut row = unit / STRIPE;
            while row < rows {
                if col < cols {
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
                    #[unroll]
                    for target in 0..targets {
                        let sum = sums.index(target);
                        sum.store(put_together::<C, N>(
                            sum.read(),
                            *terms.index(target),
                            largest,
                        ));
                    }
                }
                row += comptime!(THREADS / STRIPE);
            }
            #[unroll]
            for target in 0..targets {
                let sum = folded::<C, N>(shared, sums.index(target).read(), STRIPE, largest);
                let index = comptime!(before + plan.targets(part)[target]);
                if unit < STRIPE && col < cols {
                    scratch[size(sizes, index) + matrix * cols + col] = sum;
                }
            }
            at += CUBE_COUNT;
        }
    }

    let part = comptime!(Part::Terms(look, Over::Whole));
    if comptime!(plan.has(look, Over::Whole)) {
        let targets = comptime!(plan.targets(part).len());
        let len = matrices * rows * cols;
        let mut at = CUBE_POS;
        while at < STRETCHES {
            let mut sums = Sequence::<RuntimeCell<Vector<C, N>>>::new();
            #[unroll]
            for _ in 0..targets {
                sums.push(RuntimeCell::<Vector<C, N>>::new(zero));
            }
            let mut place = at * THREADS + unit;
            while place < len {
                let (matrix, row, col) = whereabouts(sizes, place, comptime!(plan.transposed));
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
                #[unroll]
                for target in 0..targets {
                    let sum = sums.index(target);
                    sum.store(put_together::<C, N>(
                        sum.read(),
                        *terms.index(target),
                        largest,
                    ));
                }
                place += comptime!(STRETCHES * THREADS);
            }
            #[unroll]
            for target in 0..targets {
                let sum = folded::<C, N>(shared, sums.index(target).read(), 1usize, largest);
                let index = comptime!(before + plan.targets(part)[target]);
                if unit == 0 {
                    scratch[size(sizes, index) + at] = sum;
                }
            }
            at += CUBE_COUNT;
        }
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
                for stretch in 0..STRETCHES {
                    let largest = comptime!(plan.is_largest(look));
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
                    part,
                    look,
                );
                let value = run::<C, N>(&inputs, &means, scalars, plan.clone(), part);
                total.store(put_together::<C, N>(total.read(), *value.index(0), largest));
                at += THREADS;
            }
            let all = folded::<C, N>(shared, total.read(), 1usize, largest);
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
            at += THREADS;
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
) {
    let len = size(sizes, 0usize) * size(sizes, 1usize) * size(sizes, 2usize);
    let mut at = ABSOLUTE_POS;
    let step = CUBE_COUNT * THREADS;
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
