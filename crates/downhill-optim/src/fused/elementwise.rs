use downhill_rule::{Rule, Slots, Step};

use super::{Buffers, Element, MAX_SLOTS, PARALLEL, dispatch};

/// One step of an elementwise rule: one pass, over as many threads as the size is worth.
pub(crate) fn elementwise<R: Rule, E: Element>(
    step: &Step<R::Coefs>,
    buffers: Buffers<'_, E>,
) {
    let tasks = match buffers.param.len() {
        0..PARALLEL => 1,
        len => rayon::current_num_threads().min(len / (PARALLEL / 2)),
    };
    split::<R, E>(step, buffers, tasks);
}

fn split<R: Rule, E: Element>(step: &Step<R::Coefs>, buffers: Buffers<'_, E>, tasks: usize) {
    if tasks < 2 {
        return dispatch(
            #[inline(always)]
            || pass::<R, E>(step, buffers),
        );
    }
    let near = tasks / 2;
    // Both halves start on a cache line if the buffers do.
    let middle = (buffers.param.len() / tasks * near).next_multiple_of(64);
    let (param, param_far) = buffers.param.split_at_mut(middle);
    let (grad, grad_far) = buffers.grad.split_at(middle);
    let mut slots_far: [&mut [E::Compute]; MAX_SLOTS] = Default::default();
    let mut slots_far_iter = slots_far.iter_mut();
    let slots = buffers.slots.map(|slot| {
        let (slot, far) = slot.split_at_mut(middle.min(slot.len()));
        if let Some(place) = slots_far_iter.next() {
            *place = far;
        }
        slot
    });
    let head = Buffers { param, grad, slots };
    let tail = Buffers {
        param: param_far,
        grad: grad_far,
        slots: slots_far,
    };
    rayon::join(
        || split::<R, E>(step, head, near),
        || split::<R, E>(step, tail, tasks - near),
    );
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
