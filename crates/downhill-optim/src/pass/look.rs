//! Rules that look at the whole tensor before it moves: a pass over memory for each look, and one to move.

use downhill_rule::{Fold, Look, MAX_KNOWN, MAX_SUMS, Real, Size, Slots, Step};

use super::elementwise::{over, pass};
use super::slots::{gather, scattered};
use super::{Buffers, Element, MAX_SLOTS, Views, dispatch, parts, share};

/// Lanes of a sum, so that none waits for the one before.
const LANES: usize = 16;

/// Numbers that are added up in single precision before it goes on in f64: few enough for the sum to be as exact
/// as the numbers are.
const STRETCH: usize = 1024;

/// Sums in single precision outside this range may have overflowed, or lost small terms.
const SINGLE: core::ops::Range<f64> = 1e-20..f32::MAX as f64;

/// The sums of a look.
pub(crate) type Sums = [f64; MAX_SUMS];

/// One step: the looks, and the move.
pub(crate) fn looking<R: Look, E: Element>(step: &Step<R::Coefs>, mut buffers: Buffers<'_, E>) {
    let own = <R::State<f64> as Slots<f64>>::LEN;
    // What is kept of the whole comes first among the state.
    let kept_len = <R::Kept<f64> as Slots<f64>>::LEN;
    buffers.slots[..own + kept_len].rotate_left(kept_len);
    let size = Size::flat(&[buffers.param.len()]);
    let mut kept = gather(|at| buffers.slots[own + at][0].to_f64());
    let mut known = gather(|at| match at < kept_len {
        true if R::KNOWN[at] == R::KEPT[at] => buffers.slots[own + at][0].to_f64(),
        _ => 0.0,
    });
    if const { R::LOOKS > 0 } {
        (known, kept) = look::<R, E, 0>(step, &size, known, kept, buffers.views());
    }
    if const { R::LOOKS > 1 } {
        (known, kept) = look::<R, E, 1>(step, &size, known, kept, buffers.views());
    }
    if const { R::LOOKS > 2 } {
        (known, kept) = look::<R, E, 2>(step, &size, known, kept, buffers.views());
    }
    let kept: [f64; MAX_SLOTS] = scattered(kept);
    for (slot, number) in buffers.slots[own..].iter_mut().zip(kept) {
        if let Some(slot) = slot.first_mut() {
            *slot = E::Compute::from_f64(number);
        }
    }
    move_by::<R, E>(step, &scattered(known), buffers);
}

/// What one tensor adds to the sums of a rule that looks at the model; `known` is what it kept.
pub(crate) fn part_of_model<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    known: &[f64],
    views: Views<'_, E>,
) -> Sums {
    sums_of::<R, E, 0>(step, &padded(known), views)
}

/// The move of one tensor, with what is known of the model.
pub(crate) fn knowing<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    known: &[f64],
    buffers: Buffers<'_, E>,
) {
    move_by::<R, E>(step, &padded(known), buffers);
}

/// As many numbers as a pass takes.
fn padded(known: &[f64]) -> [f64; MAX_KNOWN] {
    core::array::from_fn(|at| known.get(at).copied().unwrap_or_default())
}

/// Whether it is less exact than f64.
pub(super) const fn is_single<V>() -> bool {
    size_of::<V>() < size_of::<f64>()
}

/// The sums of a look.
fn sums_of<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, E>,
) -> Sums {
    let coupled = step.is_coupled();
    sums_over(views, R::fold(LOOK), &|views| {
        // What is constantly false is not compiled.
        if const { R::WIDE && is_single::<E::Compute>() } && !coupled {
            vectorised::<R, E::Compute, LOOK>(step, known, views)
        } else {
            plainly::<R, E::Compute, LOOK>(step, known, views)
        }
    })
}

/// One look: what is known after it, and the new state of the whole.
fn look<R: Look, E: Element, const LOOK: usize>(
    step: &Step<R::Coefs>,
    size: &Size,
    known: R::Known<f64>,
    kept: R::Kept<f64>,
    views: Views<'_, E>,
) -> (R::Known<f64>, R::Kept<f64>) {
    let sums = sums_of::<R, E, LOOK>(step, &scattered(known.clone()), views);
    R::settle::<LOOK, f64>(&step.coefs, gather(|at| sums[at]), size, known, kept)
}

/// Puts together what a pass finds in all parts. It knows no rule, so that it is compiled once for all of them.
fn sums_over<E: Element>(
    views: Views<'_, E>,
    fold: Fold,
    pass: &(dyn Fn(Views<'_, E::Compute>) -> Sums + Sync),
) -> Sums {
    let run = |views: Views<'_, E>| {
        let mut sums = Sums::default();
        E::look(views, &mut |views| join(fold, &mut sums, &pass(views)));
        sums
    };
    match parts(views.param.len()) {
        1 => run(views),
        parts => {
            let mut sums = Sums::default();
            for part in share(views.split(parts), run) {
                join(fold, &mut sums, &part);
            }
            sums
        }
    }
}

fn join(fold: Fold, sums: &mut Sums, more: &Sums) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = joined(fold, *sum, *more);
    }
}

#[inline(always)]
pub(super) fn joined<V: Real>(fold: Fold, a: V, b: V) -> V {
    match fold {
        Fold::Sum => a + b,
        // A NaN stays, on either side.
        Fold::Max if a >= b || a.partial_cmp(&a).is_none() => a,
        Fold::Max => b,
    }
}

/// A look with the widest instructions of the machine. Not inlined, as the loop of a move.
#[inline(never)]
fn vectorised<R: Look, V: Real + Element<Compute = V>, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, V>,
) -> Sums {
    dispatch(
        #[inline(always)]
        || looked::<R, V, LOOK, false>(step, known, views),
    )
}

/// A look in f64, or with coupled decay: both are rare with rules that look, and so not compiled for each kind of
/// instruction.
#[inline(never)]
fn plainly<R: Look, V: Real + Element<Compute = V>, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, V>,
) -> Sums {
    looked::<R, V, LOOK, true>(step, known, views)
}

/// A look, stretch by stretch.
#[inline(always)]
fn looked<R: Look, V: Real + Element<Compute = V>, const LOOK: usize, const COUPLED: bool>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, V>,
) -> Sums {
    let fold = R::fold(LOOK);
    let mut sums = Sums::default();
    for views in views.chunks(STRETCH) {
        let mut part = stretch::<R, V, V, LOOK, COUPLED>(step, known, views);
        if const { is_single::<V>() } {
            let exact = |sum: &f64| SINGLE.contains(&sum.abs());
            if fold == Fold::Sum && !part[..R::sums(LOOK)].iter().all(exact) {
                part = exactly::<R, V, LOOK>(step, known, views);
            }
        }
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum = joined(fold, *sum, part);
        }
    }
    sums
}

/// A stretch once more, in f64. It is rare, and so not compiled for each kind of instruction.
#[cold]
#[inline(never)]
fn exactly<R: Look, V: Real + Element<Compute = V>, const LOOK: usize>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, V>,
) -> Sums {
    stretch::<R, V, f64, LOOK, true>(step, known, views)
}

/// What the elements of a stretch come to, computed in `C`.
#[inline(always)]
fn stretch<
    R: Look,
    V: Real + Element<Compute = V>,
    C: Real,
    const LOOK: usize,
    const COUPLED: bool,
>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    views: Views<'_, V>,
) -> Sums {
    let fold = R::fold(LOOK);
    let known: R::Known<C> = gather(|at| C::from_f64(known[at]));
    let convert = |value: V| C::from_f64(value.to_f64());
    let glance = |param: V, grad: V, state: [V; MAX_SLOTS]| -> [C; MAX_SUMS] {
        let state = gather(|at| convert(state[at]));
        scattered(R::glance::<LOOK, COUPLED, C>(
            step,
            &known,
            convert(param),
            convert(grad),
            state,
        ))
    };
    let mut lanes = [[C::default(); LANES]; MAX_SUMS];
    let (param, param_rest) = views.param.as_chunks::<LANES>();
    let (grad, grad_rest) = views.grad.as_chunks::<LANES>();
    let own = <R::State<V> as Slots<V>>::LEN;
    let slots = views.slots.map(|slot| slot.as_chunks::<LANES>());
    let none = [V::default(); LANES];
    for (at, (param, grad)) in param.iter().zip(grad).enumerate() {
        let mut state = [&none; MAX_SLOTS];
        for (chunk, slot) in state.iter_mut().zip(&slots[..own]) {
            *chunk = &slot.0[at];
        }
        for lane in 0..LANES {
            let mut of_lane = [V::default(); MAX_SLOTS];
            for (value, chunk) in of_lane.iter_mut().zip(&state) {
                *value = chunk[lane];
            }
            let found = glance(param[lane], grad[lane], of_lane);
            for (sums, term) in lanes.iter_mut().zip(found).take(R::sums(LOOK)) {
                sums[lane] = joined(fold, sums[lane], term);
            }
        }
    }
    let mut sums = Sums::default();
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = of_lanes(fold, lanes);
    }
    for (at, (param, grad)) in param_rest.iter().zip(grad_rest).enumerate() {
        let mut state = [V::default(); MAX_SLOTS];
        for (value, slot) in state.iter_mut().zip(&slots[..own]) {
            *value = slot.1[at];
        }
        let found = glance(*param, *grad, state);
        for (sum, term) in sums.iter_mut().zip(found) {
            *sum = joined(fold, *sum, term.to_f64());
        }
    }
    sums
}

/// It knows no rule, so that it is compiled once for each precision.
#[inline(never)]
fn of_lanes<C: Real>(fold: Fold, lanes: &[C; LANES]) -> f64 {
    let lanes = lanes.iter().map(|lane| lane.to_f64());
    lanes.reduce(|a, b| joined(fold, a, b)).unwrap_or_default()
}

/// The move of a rule that has looked, with what is known from it.
fn move_by<R: Look, E: Element>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    buffers: Buffers<'_, E>,
) {
    let cautious = step.cautious != 0.0;
    over(buffers, &|buffers| {
        if const { R::WIDE && is_single::<E::Compute>() } && !cautious {
            vectorised_move::<R, E::Compute>(step, known, buffers);
        } else {
            plain_move::<R, E::Compute>(step, known, buffers);
        }
    });
}

/// The loop of a move, as that of an elementwise rule.
#[inline(never)]
fn vectorised_move<R: Look, V: Real + Element<Compute = V>>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    buffers: Buffers<'_, V>,
) {
    dispatch(
        #[inline(always)]
        || moved::<R, V, false>(step, known, buffers),
    );
}

/// A move in f64, or with cautious decay.
#[inline(never)]
fn plain_move<R: Look, V: Real + Element<Compute = V>>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    buffers: Buffers<'_, V>,
) {
    match step.cautious {
        0.0 => moved::<R, V, false>(step, known, buffers),
        _ => moved::<R, V, true>(step, known, buffers),
    }
}

#[inline(always)]
fn moved<R: Look, V: Real + Element<Compute = V>, const CAUTIOUS: bool>(
    step: &Step<R::Coefs>,
    known: &[f64; MAX_KNOWN],
    buffers: Buffers<'_, V>,
) {
    let known: R::Known<V> = gather(|at| V::from_f64(known[at]));
    pass::<R::State<V>, V>(
        buffers,
        #[inline(always)]
        |_, param, grad, state| R::advance::<CAUTIOUS, V>(step, &known, param, grad, state),
    );
}
