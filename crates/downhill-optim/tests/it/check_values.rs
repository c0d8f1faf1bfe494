//! Three steps of each optimizer as its reference implementation takes them in f64: PyTorch 2.15, optax
//! 0.2.8, pytorch_optimizer 4.1.0 or the authors' code, whichever has the optimizer as it was published.
//! The golden files of the facade have sixty steps and every option; these take no tensors.

use downhill_optim::rule::{Adjusted, Rule, Trajectory, WeightDecay};
use downhill_optim::*;

/// Two elements under gradients that turn, and the trajectory that led there.
fn end<R: Rule>(rule: R, lr: f64, steps: usize) -> ([f64; 2], Trajectory<R>) {
    const GRADIENTS: [[f64; 2]; 3] = [[0.1, 0.6], [-0.3, -0.1], [0.2, 0.05]];
    let mut param = [0.5, 1.5];
    let mut trajectory = Trajectory::new(rule, 2);
    for t in 0..steps {
        trajectory.step(lr, &mut param, &GRADIENTS[t % 3]);
    }
    (param, trajectory)
}

fn assert_near(label: &str, found: &[f64], expected: &[f64]) {
    let mut pairs = found.iter().zip(expected);
    let near = pairs.all(|(found, expected)| (found - expected).abs() < 2e-9);
    assert!(near, "{label}: {found:?} instead of {expected:?}");
}

fn decayed<R>(rule: R, kind: fn(f64) -> WeightDecay) -> Adjusted<R> {
    Adjusted::new(rule, kind(0.1), false)
}

#[test]
fn three_steps_end_where_the_references_do() {
    use WeightDecay::{Coupled, Decoupled, Proximal};
    macro_rules! ends {
        ($($label:literal, $rule:expr, $steps:literal, $a:literal, $b:literal;)*) => {
            $(assert_near($label, &end($rule, 0.1, $steps).0, &[$a, $b]);)*
        };
    }
    ends! {
        "adam", Adam::default(), 3, 0.4475402218, 1.2994188475;
        "adamw", decayed(Adam::default(), Decoupled), 3, 0.4341855318, 1.2573958850;
        "cautious decay", Adjusted::new(Adam::default(), WeightDecay::Cautious(0.1), false), 3, 0.4380960319, 1.2573958850;
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
    let (param, _) = end(Adadelta::default(), 1.0, 3);
    assert_near("adadelta", &param, &[0.4977089174, 1.4972095211]);
}

/// The average of all parameters, from the first step on.
#[test]
fn asgds_average_is_what_to_evaluate() {
    let rule = Asgd {
        t0: 0.0,
        ..Asgd::default()
    };
    let (param, trajectory) = end(rule, 0.1, 3);
    assert_near("trained", &param[..1], &[0.4999849753]);
    assert_near(
        "average",
        &trajectory.evaluated(&param)[..1],
        &[0.5099874252],
    );
}

/// Of optimizers that look at the whole tensor: 2 by 3 elements, of which the first and the last are compared.
#[test]
fn three_steps_of_a_tensor_end_where_the_references_do() {
    const GRADIENTS: [[f64; 6]; 3] = [
        [0.1, -0.2, 0.3, 0.4, -0.5, 0.6],
        [-0.3, 0.1, 0.2, 0.5, 0.0, -0.1],
        [0.2, 0.2, -0.4, -0.1, 0.3, 0.05],
    ];
    let ends = [
        (r#"{"name": "lars"}"#, 0.5000785030, 1.4995754165),
        (
            r#"{"name": "lars", "weight_decay": 0.1}"#,
            0.4999721703,
            1.4994374058,
        ),
        (
            r#"{"name": "lars", "variant": "optax", "weight_decay": 0.1}"#,
            0.4999684269,
            1.4993384036,
        ),
        (r#"{"name": "novograd"}"#, 0.5105529353, 1.3358391393),
        (
            r#"{"name": "novograd", "beta_1": 0.9, "beta_2": 0.25, "epsilon": 1e-6}"#,
            0.5179952131,
            1.3476900505,
        ),
        (
            r#"{"name": "stable_adamw", "weight_decay": 0.0}"#,
            0.4474528577,
            1.2990990811,
        ),
        (r#"{"name": "mars"}"#, 0.4517485166, 1.3627378447),
    ];
    for (json, first, last) in ends {
        let config = OptimizerConfig::from_json(json).unwrap();
        let mut trajectory = config.try_trajectory(&[2, 3]).unwrap();
        let mut param = [0.5, -1.0, 2.0, -0.25, 0.75, 1.5];
        for grad in &GRADIENTS {
            trajectory.step(0.1, &mut param, grad);
        }
        assert_near(json, &[param[0], param[5]], &[first, last]);
    }
}
