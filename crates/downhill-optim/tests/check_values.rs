//! Three steps of each optimizer as its reference implementation takes them in f64: PyTorch 2.15, optax
//! 0.2.8, pytorch_optimizer 4.1.0 or the authors' code, whichever has the optimizer as it was published.
//! The golden files of the facade have sixty steps and every option; these take no tensors.

use downhill_optim::rule::{Adjusted, CautiousDecay, Rule, Trajectory, WeightDecay};
use downhill_optim::*;

/// Two elements under gradients that turn, at a learning rate of 0.1.
fn assert_ends(label: &str, rule: impl Rule, steps: usize, expected: [f64; 2]) {
    const GRADIENTS: [[f64; 2]; 3] = [[0.1, 0.6], [-0.3, -0.1], [0.2, 0.05]];
    let mut param = [0.5, 1.5];
    let mut trajectory = Trajectory::new(rule, 2);
    for t in 0..steps {
        trajectory.step(0.1, &mut param, &GRADIENTS[t % 3]);
    }
    for (found, expected) in param.iter().zip(expected) {
        let difference = (found - expected).abs();
        assert!(
            difference < 2e-9,
            "{label}: {param:?} instead of {expected:?}"
        );
    }
}

fn decayed<R>(rule: R, kind: fn(f64) -> WeightDecay) -> Adjusted<R> {
    Adjusted::new(rule, kind(0.1), false)
}

#[test]
fn three_steps_end_where_the_references_do() {
    use WeightDecay::{Coupled, Decoupled, Proximal};
    let check = |label, rule: &dyn Fn(&str)| rule(label);
    macro_rules! ends {
        ($($label:literal, $rule:expr, $steps:literal, $a:literal, $b:literal;)*) => {
            $(check($label, &|label| assert_ends(label, $rule, $steps, [$a, $b]));)*
        };
    }
    ends! {
        "adam", Adam::default(), 3, 0.4475402218, 1.2994188475;
        "adamw", decayed(Adam::default(), Decoupled), 3, 0.4341855318, 1.2573958850;
        "cautious decay", CautiousDecay::new(Adam::default(), 0.1), 3, 0.4380960319, 1.2573958850;
        "radam", RAdam::default(), 3, 0.5006467275, 1.4003845407;
        "radam, rectified", RAdam::default(), 8, 0.5025591126, 1.3465087884;
        "radamw", decayed(RAdam::default(), Decoupled), 8, 0.4639685542, 1.2386366801;
        "adamax", AdaMax::default(), 3, 0.4354877462, 1.3338806612;
        "adamax, coupled", decayed(AdaMax::default(), Coupled), 3, 0.4068306829, 1.3089311955;
        "rprop", Rprop::default(), 3, 0.35, 1.35;
        "asgd", Asgd { t0: 1.0, lambd: 0.1, ..Asgd::default() }, 3, 0.4852334047, 1.4018569486;
        "adan", Adan::default(), 3, 0.4531845862, 1.4104181105;
        "adan, proximal", decayed(Adan::default(), Proximal), 3, 0.4402927157, 1.3690122141;
        "adopt", Adopt::default(), 3, 0.5071079288, 1.5023332928;
        "adopt, decayed", decayed(Adopt::default(), Decoupled), 8, 0.4273793288, 1.3488128708;
        "laprop", LaProp::default(), 3, 0.4037288063, 1.3374663449;
        "adabelief", AdaBelief::default(), 3, 0.4402126006, 1.2792487075;
        "yogi", Yogi::default(), 3, 0.4526333334, 1.3001834216;
        "lion", Lion::default(), 3, 0.4, 1.4;
        "signum", Signum::default(), 3, 0.4, 1.2;
        "qhm", Qhm::default(), 3, 0.5000070000, 1.4833846190;
        "qhadam", QhAdam::default(), 3, 0.4438705833, 1.3259092676;
        "aggmo", AggMo::default(), 3, 0.5066330000, 1.3776980000;
        "optimistic_gd", OptimisticGd::default(), 3, 0.49, 1.5;
    }
}

/// Adadelta's learning rate is 1 by default.
#[test]
fn adadelta_ends_where_torch_does() {
    let mut param = [0.5, 1.5];
    let mut trajectory = Trajectory::new(Adadelta::default(), 2);
    for grads in [[0.1, 0.6], [-0.3, -0.1], [0.2, 0.05]] {
        trajectory.step(1.0, &mut param, &grads);
    }
    assert!((param[0] - 0.4977089174).abs() < 2e-9, "{param:?}");
    assert!((param[1] - 1.4972095211).abs() < 2e-9, "{param:?}");
}

/// The average of all parameters, from the first step on.
#[test]
fn asgds_average_is_what_to_evaluate() {
    let mut param = [0.5, 1.5];
    let rule = Asgd {
        t0: 0.0,
        ..Asgd::default()
    };
    let mut trajectory = Trajectory::new(rule, 2);
    for grads in [[0.1, 0.6], [-0.3, -0.1], [0.2, 0.05]] {
        trajectory.step(0.1, &mut param, &grads);
    }
    assert!((param[0] - 0.4999849753).abs() < 2e-9, "{param:?}");
    let average = trajectory.evaluated(&param);
    assert!((average[0] - 0.5099874252).abs() < 2e-9, "{average:?}");
}
