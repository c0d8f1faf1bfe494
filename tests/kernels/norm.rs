//! Norms on a device: how many kernels they are, and that they are those of f64.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use downhill::optim::OptimizerConfig;
use downhill::optim::drive::{
    Coefficient, Examined, Joined, Measure, examine, join, measure, measure_all,
};
use downhill::train::{Clipping, Driver, NonFinite};

use super::{alone, counted, farthest, gpu, noise, read, tensor};

/// The norms of tensors that are measured together, and the pairs.
fn measured(grads: &[Tensor<2>]) -> (Vec<f64>, Tensor<1>) {
    let waits = grads.iter().map(|grad| {
        let shape = grad.dims();
        match examine(grad.clone(), &shape, true).unwrap() {
            Examined::Waits(unmeasured) => unmeasured,
            other => panic!("{other:?}"),
        }
    });
    let measures = measure_all(waits.collect());
    let Joined::Device(pairs) = join(&measures) else {
        panic!("they are on a device");
    };
    let numbers: Vec<f64> = pairs.clone().into_data().iter().collect();
    let norms = numbers.chunks(2).map(|pair| pair[0] * pair[1].sqrt());
    (norms.collect(), *pairs)
}

fn exact(values: &[f64]) -> f64 {
    let largest = values
        .iter()
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let unit = if largest == 0.0 { 1.0 } else { largest };
    unit * values
        .iter()
        .map(|x| (x / unit).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn assert_close(found: f64, expected: f64, what: &str) {
    let difference = (found - expected).abs();
    assert!(
        difference <= 2e-6 * expected,
        "{what}: {found:e} instead of {expected:e}"
    );
}

#[test]
fn norms_are_those_of_f64() {
    let _alone = alone();
    let device = gpu();
    for size in [1e-37, 1e-30, 1e-15, 1e-3, 1.0, 1e13, 1e25, 3e38] {
        // Enough for two launches; one is of many elements, and each of another length.
        let lens = (0..40).map(|at| if at == 7 { 200_003 } else { 1 + 61 * at });
        let values: Vec<Vec<f64>> = lens
            .enumerate()
            .map(|(at, len)| {
                noise(len, at as u32)
                    .iter()
                    .map(|x| f64::from((x * size) as f32))
                    .collect()
            })
            .collect();
        let grads: Vec<Tensor<2>> = values
            .iter()
            .map(|values| tensor(values, [1, values.len()], &device))
            .collect();
        let (norms, pairs) = measured(&grads);
        for (norm, values) in norms.iter().zip(&values) {
            assert_close(*norm, exact(values), &format!("{} of {size}", values.len()));
        }
        let all = exact(&values.concat());
        let thresholds = [1e-3 * all, 0.5 * all, 2.0 * all];
        for threshold in thresholds.into_iter().filter(|x| *x < f64::from(f32::MAX)) {
            let root: f64 = Coefficient::to_norm(pairs.clone(), threshold)
                .root()
                .into_scalar();
            assert_close(root * root, (threshold / all).min(1.0), &format!("{size}"));
        }
    }
    // Very different sizes in one tensor.
    for values in [
        [1e-30, 1e-3, 3.0, 2e20],
        [1e-30, 2e-30, 1e-14, 1e-16],
        [0.0; 4],
    ] {
        let grad = tensor(&values, [2, 2], &device);
        assert_close(
            measured(&[grad]).0[0],
            exact(&values),
            &format!("{values:?}"),
        );
    }
}

#[test]
fn what_is_not_finite_shows_in_a_norm_and_clips_nothing() {
    let _alone = alone();
    let device = gpu();
    for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let grads = [
            tensor(&[1.0, 2.0], [1, 2], &device),
            tensor(&[1.0, broken], [1, 2], &device),
        ];
        let (norms, pairs) = measured(&grads);
        assert_close(norms[0], 5f64.sqrt(), "the other one");
        assert!(!norms[1].is_finite(), "{broken}: {}", norms[1]);
        let root: f64 = Coefficient::to_norm(pairs, 0.1).root().into_scalar();
        assert_eq!(root, 1.0, "{broken}");
    }
}

#[test]
fn a_view_has_the_norm_of_what_it_shows() {
    let _alone = alone();
    let all: Tensor<2> = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &gpu());
    let views = [
        all.clone().transpose(),
        all.clone().slice([1..2, 0..2]),
        all.clone().slice([0..3, 1..2]),
        all.clone().slice([0..1, 0..2]).expand([5, 2]),
    ];
    let (norms, _) = measured(&views);
    let expected: [f64; 4] = [91.0, 25.0, 56.0, 25.0];
    for (norm, expected) in norms.iter().zip(expected) {
        assert_close(*norm, expected.sqrt(), "a view");
    }
    let Measure::Host(nothing) = measure(Tensor::<1>::zeros([0], &gpu())) else {
        panic!("there is nothing to measure on the device");
    };
    assert_eq!(nothing.norm(), 0.0);
}

#[derive(Module, Debug)]
struct Layers {
    layers: Vec<Linear>,
}

const LAYERS: usize = 50;

impl Layers {
    fn new(device: &Device) -> Self {
        let layer = |at: usize| {
            let mut layer = LinearConfig::new(3 + at % 5, 4).init(&device.clone().autodiff());
            let shape = layer.weight.dims();
            let weight: Tensor<2> = tensor(&noise(shape[0] * shape[1], at as u32), shape, device);
            layer.weight = layer
                .weight
                .map(|_| Tensor::from_inner(weight).require_grad());
            layer
        };
        Self {
            layers: (0..LAYERS).map(layer).collect(),
        }
    }

    fn grads(&self, device: &Device, seed: u32) -> GradientsParams {
        let mut grads = GradientsParams::new();
        for (at, layer) in self.layers.iter().enumerate() {
            let shape = layer.weight.dims();
            let values = noise(shape[0] * shape[1], seed + at as u32);
            grads.register(layer.weight.id, tensor(&values, shape, device));
            if let Some(bias) = &layer.bias {
                let values = noise(4, seed + 100 + at as u32);
                grads.register(bias.id, tensor(&values, [4], device));
            }
        }
        grads
    }
}

/// What a clipped update launches, and the weights after some.
fn clipped(name: &str, non_finite: NonFinite, device: &Device) -> (usize, Vec<f32>) {
    let optim = OptimizerConfig::by_name(name).unwrap().try_init().unwrap();
    let mut model = Layers::new(device);
    let mut driver = Driver::builder(optim, 0.05)
        .with_clipping(Clipping::GlobalNorm {
            threshold: 0.5.into(),
        })
        .with_non_finite(non_finite)
        .bind(&model)
        .unwrap();
    let mut count = 0;
    for update in 0..4 {
        let grads = model.grads(device, 1000 * update);
        device.sync().unwrap();
        let report;
        (count, (model, report)) = counted(|| {
            let stepped = driver.step(model, grads).unwrap();
            device.sync().unwrap();
            stepped
        });
        let norm = report.grad_norm.unwrap().value();
        assert!(norm > 5.0, "{norm}");
    }
    let weights = model
        .layers
        .iter()
        .flat_map(|layer| read(layer.weight.val().inner()));
    (count, weights.collect())
}

#[test]
fn a_clipped_update_measures_in_a_kernel_for_each_group_and_two_more() {
    let _alone = alone();
    let flex = Device::flex();
    for (name, step) in [
        ("sgd", LAYERS * 2 / 14 + 2),
        ("adamw", LAYERS * 2 / 7 + 2),
        ("lamb", LAYERS * 2),
    ] {
        for non_finite in [NonFinite::Ignore, NonFinite::Error] {
            let (count, found) = clipped(name, non_finite, &gpu());
            let (_, expected) = clipped(name, non_finite, &flex);
            println!(
                "{name}, {non_finite:?}: {count} kernels for {} parameters",
                2 * LAYERS
            );
            let apart = farthest(&found, &expected);
            assert!(apart <= 512.0, "{name}, {non_finite:?}: {apart} units");
            let groups = (2 * LAYERS).div_ceil(29);
            assert!(
                count <= step + groups + 2,
                "{name}, {non_finite:?}: {count}"
            );
        }
    }
}

#[test]
fn a_tensor_is_measured_alone_as_with_others() {
    let _alone = alone();
    let values = noise(5000, 3);
    let grad: Tensor<1> = tensor(&values, [5000], &gpu());
    let alone = measure(grad.clone());
    let Joined::Device(pair) = join([&alone]) else {
        panic!("it is on a device");
    };
    let (together, _) = measured(&[grad.clone().reshape([50, 100]), grad.reshape([1, 5000])]);
    let pair: Vec<f64> = pair.into_data().iter().collect();
    assert_eq!(pair[0] * pair[1].sqrt(), together[0]);
    assert_eq!(together[0], together[1]);
}

/// Of what is no kernel, the factor is applied before: methods of matrices, wrappers, and what looks at the model.
#[test]
fn every_optimizer_follows_a_factor_that_is_on_the_device() {
    let _alone = alone();
    let flex = Device::flex();
    for name in [
        "muon",
        "lookahead",
        "grokfast",
        "orthograd",
        "dowg",
        "prodigy",
        "adafactor",
    ] {
        let (_, found) = clipped(name, NonFinite::Ignore, &gpu());
        let (_, expected) = clipped(name, NonFinite::Ignore, &flex);
        let apart = farthest(&found, &expected);
        assert!(apart <= 4096.0, "{name}: {apart} units");
    }
}
