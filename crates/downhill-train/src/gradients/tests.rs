use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use downhill_optim::drive::{Coefficient, Measure, Pair, Squares};

use super::*;
use crate::report::Norm;

/// What a device without a pass of its own would measure.
fn on_device(values: &[f32]) -> Measure {
    let largest = values
        .iter()
        .fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
    let squares = values.iter().map(|x| (x / largest) * (x / largest)).sum();
    let pair = Tensor::from_floats([largest, squares], &Device::flex());
    Measure::Device(Pair::new(pair))
}

fn pairs(measures: &[Measure]) -> Tensor<1> {
    let seen = measures
        .iter()
        .cloned()
        .map(|measure| Seen::Gradient(Some(measure)));
    let seen: Vec<Seen> = seen.collect();
    super::on_device(&seen).expect("one of them is on the device")
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn assert_close(found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(
        difference <= 1e-6 * expected.abs(),
        "{found:e}, {expected:e}"
    );
}

const GRADS: [&[f32]; 5] = [
    &[3.0, -4.0, 0.0],
    &[1e-30, 2e-30],
    &[3e38, 3e38, -3e38, 3e38],
    &[1e-20, 1e20],
    &[0.0, 0.0],
];

#[test]
fn a_coefficient_on_the_device_is_the_one_of_the_host() {
    for grads in GRADS {
        for threshold in [1e-3, 1.0, 7.0, 1e30] {
            let measures = [on_device(grads)];
            let root = Coefficient::to_norm(pairs(&measures), threshold).root();
            let root: f64 = root.into_scalar();
            let expected = (threshold / norm(grads)).min(1.0);
            assert_close(root * root, expected);
        }
    }
}

#[test]
fn a_coefficient_is_that_of_all_measures_wherever_they_are() {
    let host = Measure::Host(Squares {
        unit: 2.0,
        sum: 9.0,
    });
    let measures = [
        on_device(&[3.0, 4.0]),
        host,
        on_device(&[0.0]),
        on_device(&[1e-9]),
    ];
    let root = Coefficient::to_norm(pairs(&measures), 1.0).root();
    let root: f64 = root.into_scalar();
    let expected = (25f64 + 36.0).sqrt();
    assert_close(root * root, expected.recip());
    assert_close(Norm::of(&measures, 2.0).value(), 2.0 * expected);
    assert_close(Norm::of(&measures, 2.0).at_most(3.0).value(), 3.0);
    let host = Seen::Gradient(Some(Measure::Host(Squares::default())));
    assert!(super::on_device(&[host]).is_none());
}

#[test]
fn a_norm_on_the_device_that_is_not_finite_scales_nothing() {
    for broken in [[f32::NAN, f32::NAN], [f32::INFINITY, f32::NAN]] {
        let pair = Tensor::from_floats(broken, &Device::flex());
        let measures = [on_device(&[3.0, 4.0]), Measure::Device(Pair::new(pair))];
        let root: f64 = Coefficient::to_norm(pairs(&measures), 1.0)
            .root()
            .into_scalar();
        assert_eq!(root, 1.0, "{broken:?}");
    }
}

#[test]
fn a_nan_on_the_host_is_not_lost_beside_a_device() {
    let nan = Squares {
        unit: 1.0,
        sum: f64::NAN,
    };
    let measures = [on_device(&[3.0, 4.0]), Measure::Host(nan)];
    assert!(Norm::of(&measures, 1.0).value().is_nan());
}

#[test]
fn measures_are_read_in_the_order_of_the_parameters() {
    let host = Squares {
        unit: 2.0,
        sum: 9.0,
    };
    let mut seen = [
        Seen::Gradient(Some(on_device(&[3.0, 4.0]))),
        Seen::Missing,
        Seen::Gradient(Some(Measure::Host(host))),
        Seen::Frozen,
        Seen::Gradient(Some(on_device(&[0.0, 2.0]))),
        Seen::Gradient(None),
    ];
    read(&mut seen);
    let norms: Vec<Option<f64>> = seen
        .iter()
        .map(|seen| match seen {
            Seen::Gradient(Some(Measure::Host(squares))) => Some(squares.norm()),
            _ => None,
        })
        .collect();
    assert_eq!(norms, [Some(5.0), None, Some(6.0), None, Some(2.0), None]);
}

/// A model whose gradients have these values, with what is seen of them.
fn model(of_weight: [f32; 2], of_bias: [f32; 1]) -> (Linear, GradientsParams, [Seen; 2]) {
    let device = Device::flex();
    let model: Linear = LinearConfig::new(2, 1).init(&device.clone().autodiff());
    let mut grads = GradientsParams::new();
    let weight = Tensor::<1>::from_floats(of_weight, &device).reshape([2, 1]);
    grads.register(model.weight.id, weight);
    let bias = Tensor::<1>::from_floats(of_bias, &device);
    grads.register(model.bias.as_ref().unwrap().id, bias);
    let seen = [on_device(&of_weight), on_device(&of_bias)];
    (
        model,
        grads,
        seen.map(|measure| Seen::Gradient(Some(measure))),
    )
}

fn values(model: &Linear, grads: &GradientsParams) -> [f64; 3] {
    let weight = grads.get::<2>(model.weight.id).unwrap().into_data();
    let bias = grads
        .get::<1>(model.bias.as_ref().unwrap().id)
        .unwrap()
        .into_data();
    let values: Vec<f64> = weight.iter().chain(bias.iter()).collect();
    values.try_into().unwrap()
}

#[test]
fn a_factor_on_the_device_scales_all_gradients() {
    for size in [1.0, 1e20, 1e38] {
        let (model, mut grads, seen) = model([2.0 * size, -size], [2.0 * size]);
        let measures = seen.clone().map(|seen| match seen {
            Seen::Gradient(Some(measure)) => measure,
            _ => unreachable!(),
        });
        let coefficient = Coefficient::to_norm(pairs(&measures), 1.5);
        change(&model, &mut grads, &seen, &Change::ScaleBy(coefficient));
        for (found, expected) in values(&model, &grads).into_iter().zip([1.0, -0.5, 1.0]) {
            assert_close(found, expected);
        }
    }
}

#[test]
fn norms_of_single_tensors_come_down_on_the_device() {
    let (model, mut grads, seen) = model([3.0, -4.0], [0.25]);
    change(&model, &mut grads, &seen, &Change::ToNorm(0.5));
    for (found, expected) in values(&model, &grads).into_iter().zip([0.3, -0.4, 0.25]) {
        assert_close(found, expected);
    }
}

#[test]
fn factors_without_all_digits_in_single_lose_none() {
    for factor in [0.5, 1e-37, 1e-40, 3e-45] {
        let (model, mut grads, seen) = model([3e38, -1e38], [2e38]);
        change(&model, &mut grads, &seen, &Change::Scale(&[factor, 1.0]));
        let [first, second, third] = values(&model, &grads);
        assert_close(first, f64::from(3e38f32) * factor);
        assert_close(second, f64::from(-1e38f32) * factor);
        assert_eq!(third, f64::from(2e38f32), "its factor is 1");
    }
}
