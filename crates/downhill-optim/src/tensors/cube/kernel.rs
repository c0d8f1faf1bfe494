//! The kernel of a tape.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::tape::{Binary, Op, Register, Tape, Unary, With};

/// One step of several parameters by one tape, each element by one thread: as many cubes after each other as each
/// parameter needs. What is read is in registers before anything is written, so an output may be its input.
#[cube(launch, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn step<P: Float, C: Float, N: Size>(
    params: &Sequence<Box<[Vector<P, N>]>>,
    grads: &Sequence<Box<[Vector<P, N>]>>,
    root: &Sequence<Box<[C]>>,
    state: &Sequence<Box<[Vector<C, N>]>>,
    new_params: &mut Sequence<Box<[Vector<P, N>]>>,
    new_state: &mut Sequence<Box<[Vector<C, N>]>>,
    lens: &Sequence<InputScalar>,
    scalars: &Sequence<InputScalar>,
    #[comptime] tape: Arc<Tape>,
    #[define(P, C)] _types: [ElemType; 2],
) {
    let slots = comptime!(state.len() / params.len());
    if comptime!(params.len() == 1) {
        let at = ABSOLUTE_POS;
        if at >= lens.index(0).get::<u32>() as usize {
            terminate!();
        }
        let mut inputs = Sequence::<Vector<C, N>>::new();
        inputs.push(Vector::cast_from(params.index(0)[at]));
        inputs.push(gradient::<P, C, N>(grads.index(0), at, root));
        #[unroll]
        for slot in 0..slots {
            inputs.push(state.index(slot)[at]);
        }
        let outputs = run::<C, N>(&inputs, scalars, tape);
        new_params.index_mut(0)[at] = Vector::cast_from(*outputs.index(0));
        #[unroll]
        for slot in 0..slots {
            new_state.index_mut(slot)[at] = *outputs.index(slot + 1);
        }
    } else {
        let cube = CUBE_POS_X as usize;
        let size = CUBE_DIM_X as usize;
        let zero = Vector::<C, N>::from_int(0);
        let mut cells = Sequence::<RuntimeCell<Vector<C, N>>>::new();
        #[unroll]
        for _ in 0..slots + 2 {
            cells.push(RuntimeCell::<Vector<C, N>>::new(zero));
        }
        let found = RuntimeCell::<u32>::new(comptime!(params.len() as u32));
        let place = RuntimeCell::<usize>::new(0);
        let first = RuntimeCell::<usize>::new(0);
        #[unroll]
        for param in 0..params.len() {
            let len = lens.index(param).get::<u32>() as usize;
            let cubes = len.div_ceil(size);
            let from = first.read();
            if cube >= from && cube < from + cubes {
                let at = (cube - from) * size + UNIT_POS_X as usize;
                if at < len {
                    found.store(comptime!(param as u32));
                    place.store(at);
                    cells
                        .index(0)
                        .store(Vector::cast_from(params.index(param)[at]));
                    let grad = gradient::<P, C, N>(grads.index(param), at, root);
                    cells.index(1).store(grad);
                    #[unroll]
                    for slot in 0..slots {
                        cells
                            .index(slot + 2)
                            .store(state.index(param * slots + slot)[at]);
                    }
                }
            }
            first.store(from + cubes);
        }
        let mut inputs = Sequence::<Vector<C, N>>::new();
        #[unroll]
        for at in 0..slots + 2 {
            inputs.push(cells.index(at).read());
        }
        let outputs = run::<C, N>(&inputs, scalars, tape);
        let found = found.read();
        let at = place.read();
        #[unroll]
        for param in 0..params.len() {
            if found == comptime!(param as u32) {
                new_params.index_mut(param)[at] = Vector::cast_from(*outputs.index(0));
                #[unroll]
                for slot in 0..slots {
                    new_state.index_mut(param * slots + slot)[at] = *outputs.index(slot + 1);
                }
            }
        }
    }
}

/// An element of a gradient, times the factor of which there may be the root.
#[cube]
pub(super) fn gradient<P: Float, C: Float, N: Size>(
    grad: &[Vector<P, N>],
    at: usize,
    root: &Sequence<Box<[C]>>,
) -> Vector<C, N> {
    let grad = Vector::<C, N>::cast_from(grad[at]);
    let mut scaled = grad;
    if comptime!(root.len() == 1) {
        let root = Vector::<C, N>::new(root.index(0)[0]);
        scaled = grad * root * root;
    }
    scaled
}

/// The operations of a tape, one after the other.
#[cube]
fn run<C: Float, N: Size>(
    inputs: &Sequence<Vector<C, N>>,
    scalars: &Sequence<InputScalar>,
    #[comptime] tape: Arc<Tape>,
) -> Sequence<Vector<C, N>> {
    intrinsic!(|scope| {
        let mut results: Vec<NativeExpand<Vector<C, N>>> = Vec::new();
        for op in tape.ops() {
            let at = |register: Register| results[usize::from(register)];
            let result = operation::<C, N>(scope, *op, inputs, &at, scalars, 0);
            results.push(result);
        }
        let mut outputs = Sequence::__expand_new(scope);
        for &output in tape.outputs() {
            outputs.__expand_push_method(scope, results[usize::from(output)]);
        }
        outputs
    })
}

/// One operation, whose numbers come after `base` others.
pub(super) fn operation<C: Float, N: Size>(
    scope: &Scope,
    op: Op,
    inputs: &SequenceExpand<Vector<C, N>>,
    at: &dyn Fn(Register) -> Lane<C, N>,
    scalars: &SequenceExpand<InputScalar>,
    base: usize,
) -> Lane<C, N> {
    let number = |scalar: u16| {
        let number = scalars.__expand_index_method(scope, (base + usize::from(scalar)).into());
        Vector::<C, N>::__expand_new(scope, number.__expand_get_method::<C>(scope))
    };
    match op {
        // An element of a buffer may still be a place, which is overwritten in the end.
        Op::Input(input) => {
            let input = inputs.__expand_index_method(scope, usize::from(input).into());
            input.read_value(scope).into()
        }
        Op::Scalar(scalar) => number(scalar),
        Op::Unary(op, a) => unary::<C, N>(scope, op, at(a)),
        Op::Binary(op, a, b) => binary::<C, N>(scope, op, at(a), at(b)),
        Op::With(op, a, scalar) => with::<C, N>(scope, op, at(a), number(scalar)),
        Op::Select(a, b, c) => choose::expand::<C, N>(scope, at(a), at(b), at(c)),
    }
}

type Lane<C, N> = NativeExpand<Vector<C, N>>;

fn unary<C: Float, N: Size>(scope: &Scope, op: Unary, a: Lane<C, N>) -> Lane<C, N> {
    match op {
        Unary::Recip => recip::expand::<C, N>(scope, a),
        Unary::Sqrt => a.__expand_sqrt_method(scope),
        Unary::Abs => a.__expand_abs_method(scope),
        Unary::Sign => sign::expand::<C, N>(scope, a),
        Unary::Heaviside => heaviside::expand::<C, N>(scope, a),
        Unary::Exp => a.__expand_exp_method(scope),
        Unary::Cbrt => cbrt::expand::<C, N>(scope, a),
        // Of one number.
        Unary::Mean | Unary::Largest => a,
    }
}

fn binary<C: Float, N: Size>(
    scope: &Scope,
    op: Binary,
    a: Lane<C, N>,
    b: Lane<C, N>,
) -> Lane<C, N> {
    match op {
        Binary::Add => a.__expand_add_method(scope, b),
        Binary::Sub => a.__expand_sub_method(scope, b),
        Binary::Mul => a.__expand_mul_method(scope, b),
        Binary::Div => a.__expand_div_method(scope, b),
        Binary::Max => larger::expand::<C, N>(scope, a, b),
        Binary::Min => smaller::expand::<C, N>(scope, a, b),
    }
}

fn with<C: Float, N: Size>(
    scope: &Scope,
    op: With,
    a: Lane<C, N>,
    number: Lane<C, N>,
) -> Lane<C, N> {
    match op {
        With::Scale => a.__expand_mul_method(scope, number),
        With::Offset => a.__expand_add_method(scope, number),
        With::Pow => a.__expand_powf_method(scope, number),
        // The number where it is on the wrong side: a NaN is on neither.
        With::ClampMin => larger::expand::<C, N>(scope, number, a),
        With::ClampMax => smaller::expand::<C, N>(scope, number, a),
    }
}

// By comparisons, as the scalar `Value` does it, so that a NaN goes the same way.

#[cube]
pub(super) fn larger<C: Float, N: Size>(a: Vector<C, N>, b: Vector<C, N>) -> Vector<C, N> {
    select_many(a.greater_than(&b), a, b)
}

#[cube]
fn smaller<C: Float, N: Size>(a: Vector<C, N>, b: Vector<C, N>) -> Vector<C, N> {
    select_many(a.less_than(&b), a, b)
}

#[cube]
fn choose<C: Float, N: Size>(
    a: Vector<C, N>,
    positive: Vector<C, N>,
    otherwise: Vector<C, N>,
) -> Vector<C, N> {
    select_many(a.greater_than(&Vector::from_int(0)), positive, otherwise)
}

#[cube]
fn heaviside<C: Float, N: Size>(a: Vector<C, N>) -> Vector<C, N> {
    choose::<C, N>(a, Vector::from_int(1), Vector::from_int(0))
}

#[cube]
fn sign<C: Float, N: Size>(a: Vector<C, N>) -> Vector<C, N> {
    let zero = Vector::<C, N>::from_int(0);
    let not_above = select_many(a.less_than(&zero), Vector::from_int(-1), a);
    select_many(a.greater_than(&zero), Vector::from_int(1), not_above)
}

#[cube]
fn recip<C: Float, N: Size>(a: Vector<C, N>) -> Vector<C, N> {
    Vector::<C, N>::from_int(1) / a
}

#[cube]
fn cbrt<C: Float, N: Size>(a: Vector<C, N>) -> Vector<C, N> {
    let third = Vector::<C, N>::from_int(1) / Vector::<C, N>::from_int(3);
    a.abs().powf(third) * sign::<C, N>(a)
}
