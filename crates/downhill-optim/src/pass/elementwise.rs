use downhill_rule::{Rule, Slots, Step};

use super::{Buffers, Element, dispatch, parts, share};

/// One step of an elementwise rule: one pass, over as many threads as the size is worth.
pub(crate) fn elementwise<R: Rule, E: Element>(step: &Step<R::Coefs>, buffers: Buffers<'_, E>) {
    let run = |buffers| {
        dispatch(
            #[inline(always)]
            || pass::<R, E>(step, buffers),
        )
    };
    match parts(buffers.param.len()) {
        1 => run(buffers),
        parts => {
            share(split(buffers, parts), run);
        }
    }
}

fn split<E: Element>(buffers: Buffers<'_, E>, parts: usize) -> Vec<Buffers<'_, E>> {
    // Every part starts on a cache line if the buffers do.
    let size = buffers.param.len().div_ceil(parts).next_multiple_of(64);
    let mut slots = buffers.slots.map(|slot| slot.chunks_mut(size));
    let elements = buffers
        .param
        .chunks_mut(size)
        .zip(buffers.grad.chunks(size));
    elements
        .map(|(param, grad)| Buffers {
            param,
            grad,
            slots: slots.each_mut().map(|slot| slot.next().unwrap_or_default()),
        })
        .collect()
}

/// The loop, with one function per number of slots: only as arguments of a function of their own
/// do the slices tell the compiler that they do not overlap, and only then does it vectorise.
#[inline(always)]
fn pass<R: Rule, E: Element>(step: &Step<R::Coefs>, buffers: Buffers<'_, E>) {
    let Buffers { param, grad, slots } = buffers;
    let [a, b, c, d, e, f] = slots;
    match <R::State<E::Compute> as Slots<E::Compute>>::LEN {
        0 => pass_0::<R, E>(step, param, grad),
        1 => pass_1::<R, E>(step, param, grad, a),
        2 => pass_2::<R, E>(step, param, grad, a, b),
        3 => pass_3::<R, E>(step, param, grad, a, b, c),
        4 => pass_4::<R, E>(step, param, grad, a, b, c, d),
        5 => pass_5::<R, E>(step, param, grad, a, b, c, d, e),
        6 => pass_6::<R, E>(step, param, grad, a, b, c, d, e, f),
        _ => unreachable!("rules with more slots run as tensor operations"),
    }
}

macro_rules! pass {
    ($name:ident, $len:literal; $($slot:ident $index:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments)]
        fn $name<R: Rule, E: Element>(
            step: &Step<R::Coefs>,
            param: &mut [E],
            grad: &[E],
            $($slot: &mut [E::Compute],)*
        ) {
            let len = param.len();
            let grad = &grad[..len];
            $(let $slot = &mut $slot[..len];)*
            for i in 0..len {
                let mut values: [E::Compute; $len] = [$($slot[i]),*];
                let mut at = 0;
                let state = R::State::gather(&mut || {
                    at += 1;
                    values[at - 1]
                });
                let (moved, state) = R::advance(step, param[i].load(), grad[i].load(), state);
                param[i] = E::store(moved);
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
