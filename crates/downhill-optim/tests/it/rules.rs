//! Rules beside closed forms and published numbers, in f64 and without tensors.

use downhill_optim::rule::{
    Adjusted, Cautious, Clock, Descent, HeavyBall, Numbers, Rule, Slot, Step, Trajectory, Value,
    WeightDecay, bias_correction,
};
use downhill_optim::{
    AdaGrad, Adam, AmsGrad, CenteredRmsProp, NAdam, NAdamVariant, RmsProp, Sgd, slides,
};
use proptest::prelude::*;

/// Gradient descent with a momentum of 0.9.
fn momentum() -> Sgd {
    Sgd {
        momentum: 0.9,
        ..Sgd::default()
    }
}

/// How far one parameter moves at each step under these gradients, in learning rates.
fn moves(rule: impl Rule, grads: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut trajectory = Trajectory::new(rule, 1);
    let mut x = vec![0.0];
    grads
        .into_iter()
        .map(|grad| {
            let before = x[0];
            trajectory.step(1.0, &mut x, &[grad]);
            before - x[0]
        })
        .collect()
}

fn constant(steps: usize) -> impl Iterator<Item = f64> {
    core::iter::repeat_n(1.0, steps)
}

#[track_caller]
fn assert_at(moves: &[f64], expected: &[(usize, f64)], tolerance: f64) {
    for (t, expected) in expected {
        let found = moves[t - 1];
        assert!(
            (found - expected).abs() <= tolerance,
            "step {t} moves by {found} instead of {expected}"
        );
    }
}

#[test]
fn adam_moves_by_the_sign_of_a_constant_gradient() {
    for scale in [1e-4, 1.0, 1e4] {
        let moves = moves(Adam::default(), constant(1000).map(|g| g * scale));
        assert!(moves.iter().all(|x| (x - 1.0).abs() < 1.1e-4), "{scale}");
    }
    // epsilon 1e-8 beside gradients of 1e-8 halves the step.
    assert_at(&moves(Adam::default(), [1e-8]), &[(1, 0.5)], 1e-12);
}

/// A spike of 10, then gradients of 1: the largest second moment remembers it.
#[test]
fn amsgrad_remembers_a_spike() {
    let grads = core::iter::once(10.0).chain(constant(999));
    let moves = moves(AmsGrad::<Adam>::default(), grads);
    let expected = [(2, 0.741), (10, 0.466), (100, 0.718), (1000, 0.972)];
    assert_at(&moves, &expected, 1e-3);
}

#[test]
fn the_nadam_variants_are_different_optimizers() {
    let variant = |variant, momentum_decay| NAdam {
        variant,
        momentum_decay,
        ..NAdam::default()
    };
    let table = [
        (
            variant(NAdamVariant::Torch, 4e-3),
            [1.057, 0.784, 0.746, 0.843],
        ),
        (
            variant(NAdamVariant::Torch, 1.0),
            [1.063, 0.774, 0.710, 0.800],
        ),
        (
            variant(NAdamVariant::Dozat, 4e-3),
            [1.310, 1.085, 1.006, 1.000],
        ),
        (
            variant(NAdamVariant::Optax, 4e-3),
            [1.474, 1.157, 1.031, 1.008],
        ),
    ];
    for (rule, [a, b, c, d]) in table {
        let moves = moves(rule, constant(10));
        assert_at(&moves, &[(1, a), (2, b), (5, c), (10, d)], 1e-3);
    }
}

#[test]
fn the_decks_nadam_starts_ten_times_too_fast() {
    let deck = slides::NAdam {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
    };
    let found = moves(deck, constant(50));
    let expected = [
        (1, 10.0),
        (2, 5.26),
        (3, 3.69),
        (5, 2.44),
        (10, 1.54),
        (20, 1.14),
    ];
    assert_at(&found, &expected, 5e-3);
    assert_at(&found, &[(50, 1.005)], 1e-3);
}

#[test]
fn momentum_reaches_its_limits() {
    let limit = |rule| *moves(rule, constant(400)).last().unwrap();
    let plain = momentum();
    let dampened = Sgd {
        dampening: 0.1,
        ..plain
    };
    let nesterov = Sgd {
        nesterov: true,
        ..plain
    };
    assert!((limit(plain) - 10.0).abs() < 1e-9);
    assert!((limit(dampened) - 9.0).abs() < 1e-9);
    assert!((limit(nesterov) - 10.0).abs() < 1e-9);
    // The first step is not dampened.
    assert_at(&moves(dampened, constant(2)), &[(1, 1.0), (2, 1.8)], 1e-12);
}

#[test]
fn the_velocity_form_is_the_decks_and_differs_when_the_rate_changes() {
    let velocity = Sgd {
        velocity: true,
        ..momentum()
    };
    let mut ours = Trajectory::new(velocity, 1);
    let mut deck = Trajectory::new(slides::Momentum { momentum: 0.9 }, 1);
    let mut torch = Trajectory::new(momentum(), 1);
    let (mut a, mut b, mut c) = (vec![1.0], vec![1.0], vec![1.0]);
    for (step, lr) in [0.1, 0.1, 0.01, 0.01].into_iter().enumerate() {
        ours.step(lr, &mut a, &[1.0]);
        deck.step(lr, &mut b, &[1.0]);
        torch.step(lr, &mut c, &[1.0]);
        assert!((a[0] - b[0]).abs() < 1e-15);
        assert_eq!((a[0] - c[0]).abs() < 1e-15, step < 2, "step {step}");
    }
}

#[test]
fn adagrad_places_epsilon_and_decays_its_rate() {
    let optax = AdaGrad {
        initial_accumulator_value: 0.1,
        epsilon: 1e-7,
        epsilon_inside_root: true,
        ..AdaGrad::default()
    };
    for (grad, expected) in [(1.0, 0.953), (1e-2, 0.0316), (1e-3, 0.0032)] {
        assert_at(&moves(AdaGrad::default(), [grad]), &[(1, 1.0)], 1e-6);
        assert_at(
            &moves(optax, [grad]),
            &[(1, expected)],
            1e-3 * expected.max(0.1),
        );
    }
    let decayed = AdaGrad {
        lr_decay: 0.5,
        ..AdaGrad::default()
    };
    let expected = [
        (1, 1.0),
        (2, 1.0 / 1.5 / 2f64.sqrt()),
        (3, 0.5 / 3f64.sqrt()),
    ];
    assert_at(&moves(decayed, constant(3)), &expected, 1e-9);
}

#[test]
fn rmsprop_starts_ten_times_too_fast_and_centering_never_gives_nan() {
    assert_at(&moves(RmsProp::default(), [1e-4]), &[(1, 9.99)], 1e-2);
    let inside = RmsProp {
        epsilon: 1e-8,
        epsilon_inside_root: true,
        ..RmsProp::default()
    };
    assert_at(&moves(inside, [1e-4]), &[(1, 0.995)], 1e-3);
    let moves = moves(CenteredRmsProp::default(), constant(5000).map(|g| g * 0.3));
    assert!(moves.iter().all(|x| x.is_finite()));
}

#[test]
fn wrappers_compose() {
    // A second momentum around decoupled decay around a cautious Adam.
    let rule = Adjusted::new(
        HeavyBall {
            rule: Cautious(Adam::default()),
            momentum: 0.5,
        },
        WeightDecay::Decoupled(0.1),
        false,
    );
    let mut trajectory = Trajectory::new(rule, 1);
    let mut x = vec![1.0];
    trajectory.step(0.1, &mut x, &[1.0]);
    // Decay takes 1 % of the parameter, Adam's first step is one learning rate.
    assert!((x[0] - (0.99 - 0.1)).abs() < 1e-8);
    let before = x[0];
    // The gradient turns, Adam's mean does not: masked, only the buffer and the decay move it.
    trajectory.step(0.1, &mut x, &[-0.01]);
    assert!((x[0] - (before * 0.99 - 0.05)).abs() < 1e-8, "{}", x[0]);
    let names = ["exp_avg", "exp_avg_sq", "momentum_buffer"];
    assert!(names.iter().all(|name| trajectory.state(name).is_some()));
}

#[test]
fn coupled_and_decoupled_decay_differ_under_adam() {
    let step = |decay| {
        let mut x = vec![1.0];
        Trajectory::new(Adjusted::new(Adam::default(), decay, false), 1).step(0.1, &mut x, &[0.0]);
        x[0]
    };
    // Coupled, the decay is a gradient like any other, and Adam makes a full step of it.
    assert!((step(WeightDecay::Coupled(1e-3)) - 0.9).abs() < 1e-5);
    assert!((step(WeightDecay::Decoupled(1e-3)) - (1.0 - 1e-4)).abs() < 1e-12);
}

/// A rule that names one slot of its two.
#[derive(Clone)]
struct Misnamed;

impl Numbers for Misnamed {}

impl Rule for Misnamed {
    type State<V: Value> = [V; 2];
    type Coefs = ();
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("one")]
    }
    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr, ())
    }
    fn direction<V: Value>(_: &(), _: &V, grad: V, state: [V; 2]) -> (V, [V; 2]) {
        (grad, state)
    }
}

#[test]
#[should_panic(expected = "`slots` has 1 names, `State` 2 values")]
fn a_rule_that_misnames_its_state_is_refused() {
    Trajectory::new(Misnamed, 1);
}

/// The deck's velocity has the other sign than the direction, which is what a mask must see.
#[test]
fn caution_masks_the_decks_momentum_where_it_should() {
    let moves = moves(Cautious(slides::Momentum { momentum: 0.9 }), [1.0, -0.5]);
    assert_eq!(moves, [1.0, 0.0]);
}

#[test]
fn bias_corrections_do_not_cancel() {
    let beta = 1.0 - 1e-12;
    assert!((bias_correction(beta, 1.0) / 1e-12 - 1.0).abs() < 1e-3);
    assert_eq!(bias_correction(0.0, 1.0), 1.0);
    assert_eq!(bias_correction(0.9, 1e18), 1.0);
}

proptest! {
    /// Whatever the gradients, no rule leaves the finite numbers, and turning all gradients turns
    /// the path.
    #[test]
    fn paths_are_finite_and_odd(grads in prop::collection::vec(-1e6..1e6_f64, 1..40)) {
        fn check(rule: impl Rule, grads: &[f64]) -> Result<(), TestCaseError> {
            let forth = moves(rule.clone(), grads.iter().copied());
            let back = moves(rule, grads.iter().map(|g| -g));
            for (a, b) in forth.iter().zip(&back) {
                prop_assert!(a.is_finite());
                prop_assert_eq!(*a, -*b);
            }
            Ok(())
        }
        check(Descent, &grads)?;
        check(Sgd { nesterov: true, ..momentum() }, &grads)?;
        check(AdaGrad::default(), &grads)?;
        check(RmsProp::default(), &grads)?;
        check(CenteredRmsProp::default(), &grads)?;
        check(Adam::default(), &grads)?;
        check(AmsGrad::<Adam>::default(), &grads)?;
        check(NAdam::default(), &grads)?;
        check(Cautious(Adam::default()), &grads)?;
    }

    /// Adam's step is never longer than a few learning rates.
    #[test]
    fn adam_is_bounded(grads in prop::collection::vec(-1e6..1e6_f64, 1..40)) {
        let bound = (1.0 - 0.9) / (1.0_f64 - 0.999).sqrt() + 1.0;
        for step in moves(Adam::default(), grads) {
            prop_assert!(step.abs() <= bound);
        }
    }
}
