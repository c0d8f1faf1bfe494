//! The test functions: gradients against finite differences and autodiff, minima, domains and names.

use burn::tensor::{Device, Tensor, TensorData};
use downhill_problems::functions::{self, Function, FunctionError};
use proptest::prelude::*;

/// Any function, in a dimension of its choice.
fn function() -> impl Strategy<Value = Function> {
    let kinds = (0..8usize, 2..12usize, 0.0..6.0f64);
    kinds.prop_map(|(kind, n, exponent)| match kind {
        0 => Function::quadratic(n, 10f64.powf(exponent)).unwrap(),
        1 => Function::rosenbrock(n).unwrap(),
        2 => Function::beale(),
        3 => Function::himmelblau(),
        4 => Function::rastrigin(n - 1).unwrap(),
        5 => Function::ackley(n - 1).unwrap(),
        6 => Function::styblinski_tang(n - 1).unwrap(),
        _ => Function::saddle(),
    })
}

/// A function and a point of its domain.
fn subject() -> impl Strategy<Value = (Function, Vec<f64>)> {
    function().prop_flat_map(|f| {
        let [low, high] = f.domain();
        let point = prop::collection::vec(low..=high, f.dimension());
        (Just(f), point)
    })
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

/// Central differences, extrapolated from two widths: the error is of the order of `width^4`.
fn difference(f: &Function, x: &[f64], i: usize) -> f64 {
    let central = |width: f64| {
        let at = |offset: f64| {
            let mut x = x.to_vec();
            x[i] += offset;
            f.value(&x)
        };
        (at(width) - at(-width)) / (2.0 * width)
    };
    let width = 1e-3;
    (4.0 * central(width / 2.0) - central(width)) / 3.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn gradients_are_the_differences((f, x) in subject()) {
        // Ackley's kink has no derivative.
        prop_assume!(!f.name().starts_with("ackley") || norm(&x) > 0.3);
        let gradient = f.gradient(&x);
        let tolerance = 1e-9 * (1.0 + f.value(&x).abs() + largest(&gradient));
        for (i, derivative) in gradient.iter().enumerate() {
            let difference = difference(&f, &x, i);
            prop_assert!(
                (derivative - difference).abs() <= tolerance,
                "{} at {x:?}, variable {i}: {derivative} and {difference}", f.name()
            );
        }
    }

    #[test]
    fn no_point_is_below_the_minimum((f, x) in subject()) {
        prop_assert!(f.value(&x) >= f.least() - 1e-12 * f.dimension() as f64);
    }

    #[test]
    fn names_lead_back(f in function()) {
        prop_assert_eq!(functions::by_name(&f.name()), Ok(f));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tensors_compute_the_same((f, x) in subject()) {
        // In single precision the point itself is rounded.
        let x: Vec<f64> = x.into_iter().map(|x| f64::from(x as f32)).collect();
        prop_assume!(!f.name().starts_with("ackley") || norm(&x) > 1e-3);
        let point = Tensor::<1>::from_data(
            TensorData::new(x.clone(), [x.len()]),
            &Device::flex().autodiff(),
        );
        let point = point.require_grad();
        let value = f.value_tensor(point.clone());
        prop_assert_eq!(value.dims(), [1]);
        let gradient = point.grad(&value.clone().backward()).unwrap();
        let gradient = gradient.into_data_as::<f64>().try_into_vec::<f64>().unwrap();
        let expected = f.gradient(&x);
        // Cancellation is bounded by the size of the terms, which the domain bounds.
        let scale = 1.0 + f.value(&x).abs() + largest(&expected) + 100.0 * f.dimension() as f64;
        prop_assert!((value.into_scalar::<f64>() - f.value(&x)).abs() < 2e-6 * scale, "{}", f.name());
        for (ours, expected) in gradient.iter().zip(&expected) {
            prop_assert!((ours - expected).abs() < 4e-6 * scale, "{}: {ours} {expected}", f.name());
        }
    }
}

#[test]
fn minima_are_minima_and_starts_are_in_the_domain() {
    for f in functions::all() {
        let name = f.name();
        let [low, high] = f.domain();
        let inside =
            |x: &[f64]| x.len() == f.dimension() && x.iter().all(|x| (low..=high).contains(x));
        let start = f.start();
        assert!(inside(&start), "{name}");
        assert!(f.value(&start) > f.least() + 0.2, "{name}");
        assert!(largest(&f.gradient(&start)) > 1e-3, "{name}");
        for minimum in f.minima() {
            assert!(inside(&minimum.point), "{name}");
            assert_eq!(minimum.value, f.least(), "{name}");
            let error = f.value(&minimum.point) - minimum.value;
            assert!(error.abs() < 1e-12, "{name}: {error:e}");
            let gradient = f.gradient(&minimum.point);
            assert!(largest(&gradient) < 1e-12, "{name}: {gradient:?}");
        }
    }
}

#[test]
fn published_values() {
    let close = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-12, "{value}");
    // Moré, Garbow and Hillstrom (1981), problems 1 and 5, at their standard starts.
    close(Function::rosenbrock(2).unwrap().value(&[-1.2, 1.0]), 24.2);
    close(Function::beale().value(&[1.0, 1.0]), 14.203_125);
    close(Function::himmelblau().value(&[0.0, 0.0]), 170.0);
    close(Function::rastrigin(3).unwrap().value(&[1.0, 1.0, 1.0]), 3.0);
    close(
        Function::ackley(2).unwrap().value(&[1.0, 1.0]),
        20.0 * (1.0 - (-0.2f64).exp()),
    );
    close(
        Function::styblinski_tang(4).unwrap().value(&[1.0; 4]),
        -20.0,
    );
}

#[test]
fn the_hessian_of_a_quadratic_has_its_condition_number() {
    let f = Function::quadratic(3, 100.0).unwrap();
    let unit = |i: usize| {
        (0..3)
            .map(|j| f64::from(u8::from(i == j)))
            .collect::<Vec<_>>()
    };
    // The gradient is the Hessian times x: its columns are the gradients at the unit vectors.
    let hessian: Vec<Vec<f64>> = (0..3).map(|i| f.gradient(&unit(i))).collect();
    let trace: f64 = (0..3).map(|i| hessian[i][i]).sum();
    let squares: f64 = hessian.iter().flatten().map(|h| h * h).sum();
    assert!((trace - 1.11).abs() < 1e-14);
    assert!((squares - 1.0101).abs() < 1e-14);
    assert!(
        hessian[0][1].abs() > 0.1,
        "the axes are not the eigenvectors"
    );
}

#[test]
fn ackley_has_a_gradient_at_its_kink() {
    let f = Function::ackley(2).unwrap();
    assert_eq!(f.gradient(&[0.0, 0.0]), [0.0, 0.0]);
    let x = Tensor::<1>::zeros([2], &Device::flex().autodiff()).require_grad();
    let gradient = x.grad(&f.value_tensor(x.clone()).backward()).unwrap();
    let gradient = gradient
        .into_data_as::<f64>()
        .try_into_vec::<f64>()
        .unwrap();
    assert!(gradient.iter().all(|g| g.abs() < 1e-5), "{gradient:?}");
}

#[test]
fn bad_names_and_numbers_say_what_would_be_right() {
    let message = |name: &str| functions::by_name(name).unwrap_err().to_string();
    assert_eq!(
        message("rosenbrok"),
        "unknown function `rosenbrok`; did you mean `rosenbrock`?"
    );
    assert_eq!(message("zzz"), "unknown function `zzz`");
    assert_eq!(
        message("rosenbrock-1"),
        "rosenbrock: expected a dimension of 2 to 1000000, found dimension 1"
    );
    assert_eq!(
        message("beale-3"),
        "beale: expected a dimension of 2, found dimension 3"
    );
    assert_eq!(functions::by_name("beale-2"), Ok(Function::beale()));
    for name in [
        "rosenbrock-",
        "rosenbrock10",
        "rosenbrock-2-3",
        "rosenbrock-2x",
        "ackley--2",
        "",
        "-2",
    ] {
        assert!(
            matches!(
                functions::by_name(name),
                Err(FunctionError::UnknownName { .. })
            ),
            "{name}"
        );
    }
    for (n, condition) in [
        (2, 0.5),
        (2, f64::NAN),
        (2, f64::INFINITY),
        (1, 10.0),
        (2, 1e13),
    ] {
        let error = Function::quadratic(n, condition).unwrap_err();
        assert!(matches!(error, FunctionError::Condition { .. }), "{error}");
    }
    assert_eq!(
        message("quadratic-2-0.5"),
        "quadratic: expected a condition number from 1 to 1e12, and 1 in one dimension, found 0.5 in 2"
    );
    for n in [0, usize::MAX] {
        assert!(Function::rastrigin(n).is_err() && Function::quadratic(n, 10.0).is_err());
    }
}
