use downhill_rule::{Real, Rule, Slots, Step};
use half::slice::HalfFloatSliceExt;

use super::{Buffers, Element, Views, dispatch, parts, share};

/// Elements of 16 bits that are widened at once: few enough to stay in the fastest cache.
const BLOCK: usize = 1024;

/// One step of an elementwise rule: one pass, over as many threads as the size is worth.
pub(crate) fn elementwise<R: Rule, E: Element>(step: &Step<R::Coefs>, buffers: Buffers<'_, E>) {
    over(buffers, &|buffers| match step.cautious {
        0.0 => vectorised::<R, E::Compute, false>(step, buffers),
        _ => vectorised::<R, E::Compute, true>(step, buffers),
    });
}

/// Runs a pass over buffers. It knows no rule, so that it is compiled once for all of them.
pub(super) fn over<E: Element>(
    buffers: Buffers<'_, E>,
    pass: &(dyn Fn(Buffers<'_, E::Compute>) + Sync),
) {
    let run = |buffers| E::pass(buffers, pass);
    match parts(buffers.param.len()) {
        1 => run(buffers),
        parts => {
            share(buffers.split(parts), run);
        }
    }
}

/// The loop with the widest instructions of the machine. Not inlined: it is the largest part of what a rule
/// compiles to, and is there once for each precision of arithmetic.
#[inline(never)]
fn vectorised<R: Rule, V: Real + Element<Compute = V>, const CAUTIOUS: bool>(
    step: &Step<R::Coefs>,
    buffers: Buffers<'_, V>,
) {
    dispatch(
        #[inline(always)]
        || {
            pass::<R::State<V>, V>(
                buffers,
                #[inline(always)]
                |_, param, grad, state| match CAUTIOUS {
                    false => R::advance(step, param, grad, state),
                    true => R::advance_cautiously(step, param, grad, state),
                },
            );
        },
    );
}

/// A pass over 16-bit numbers, block by block in single precision.
pub(super) fn in_blocks<E: Element<Compute = f32>>(
    buffers: Buffers<'_, E>,
    pass: &dyn Fn(Buffers<'_, f32>),
) where
    [E]: HalfFloatSliceExt,
{
    let (mut wide_param, mut wide_grad) = ([0.0; BLOCK], [0.0; BLOCK]);
    let mut slots = buffers.slots.map(|slot| slot.chunks_mut(BLOCK));
    let elements = buffers
        .param
        .chunks_mut(BLOCK)
        .zip(buffers.grad.chunks(BLOCK));
    for (param, grad) in elements {
        let wide_param = &mut wide_param[..param.len()];
        let wide_grad = &mut wide_grad[..grad.len()];
        param.convert_to_f32_slice(wide_param);
        grad.convert_to_f32_slice(wide_grad);
        pass(Buffers {
            param: wide_param,
            grad: wide_grad,
            slots: slots.each_mut().map(|slot| slot.next().unwrap_or_default()),
        });
        param.convert_from_f32_slice(wide_param);
    }
}

/// A look at 16-bit numbers, block by block in single precision.
pub(super) fn look_in_blocks<E: Element<Compute = f32>>(
    views: Views<'_, E>,
    pass: &mut dyn FnMut(Views<'_, f32>),
) where
    [E]: HalfFloatSliceExt,
{
    let (mut wide_param, mut wide_grad) = ([0.0; BLOCK], [0.0; BLOCK]);
    for views in views.chunks(BLOCK) {
        let wide_param = &mut wide_param[..views.param.len()];
        let wide_grad = &mut wide_grad[..views.grad.len()];
        views.param.convert_to_f32_slice(wide_param);
        views.grad.convert_to_f32_slice(wide_grad);
        pass(Views {
            param: wide_param,
            grad: wide_grad,
            slots: views.slots,
        });
    }
}

/// The loop over the places, with one function per number of slots: only as arguments of a function of their own
/// do the slices tell the compiler that they do not overlap, and only then does it vectorise.
#[inline(always)]
pub(super) fn pass<S: Slots<V>, V: Real + Element<Compute = V>>(
    buffers: Buffers<'_, V>,
    advance: impl Fn(usize, V, V, S) -> (V, S),
) {
    let Buffers { param, grad, slots } = buffers;
    let [a, b, c, d, e, f, g, h] = slots;
    match S::LEN {
        0 => pass_0(advance, param, grad),
        1 => pass_1(advance, param, grad, a),
        2 => pass_2(advance, param, grad, a, b),
        3 => pass_3(advance, param, grad, a, b, c),
        4 => pass_4(advance, param, grad, a, b, c, d),
        5 => pass_5(advance, param, grad, a, b, c, d, e),
        6 => pass_6(advance, param, grad, a, b, c, d, e, f),
        7 => pass_7(advance, param, grad, a, b, c, d, e, f, g),
        8 => pass_8(advance, param, grad, a, b, c, d, e, f, g, h),
        _ => unreachable!("rules with more slots run as tensor operations"),
    }
}

macro_rules! pass {
    ($name:ident, $len:literal; $($slot:ident $index:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments)]
        fn $name<S: Slots<V>, V: Real>(
            advance: impl Fn(usize, V, V, S) -> (V, S),
            param: &mut [V],
            grad: &[V],
            $($slot: &mut [V],)*
        ) {
            let len = param.len();
            let grad = &grad[..len];
            $(let $slot = &mut $slot[..len];)*
            for i in 0..len {
                let mut values: [V; $len] = [$($slot[i]),*];
                let mut at = 0;
                let state = S::gather(&mut || {
                    at += 1;
                    values[at - 1]
                });
                let (moved, state) = advance(i, param[i], grad[i], state);
                param[i] = moved;
                let mut at = 0;
                state.scatter(&mut |value| {
                    values[at] = value;
                    at += 1;
                });
                $($slot[i] = values[$index];)*
            }
        }
    };
}

pass!(pass_0, 0;);
pass!(pass_1, 1; a 0);
pass!(pass_2, 2; a 0, b 1);
pass!(pass_3, 3; a 0, b 1, c 2);
pass!(pass_4, 4; a 0, b 1, c 2, d 3);
pass!(pass_5, 5; a 0, b 1, c 2, d 3, e 4);
pass!(pass_6, 6; a 0, b 1, c 2, d 3, e 4, f 5);
pass!(pass_7, 7; a 0, b 1, c 2, d 3, e 4, f 5, g 6);
pass!(pass_8, 8; a 0, b 1, c 2, d 3, e 4, f 5, g 6, h 7);
