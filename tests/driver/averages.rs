//! Averages.

use super::*;

/// Values after each of 50 updates, and the averages after the last.
fn averaged_run(averaging: &Averaging, device: &Device, dtype: DType) -> (Vec<Values>, Values) {
    let mut net = Net::new(1, device, dtype);
    let mut driver = Driver::builder(optim::AdamConfig::new().init(), 0.05)
        .with_averaging(averaging.clone())
        .bind(&net)
        .unwrap();
    let mut history = Vec::new();
    for t in 0..50 {
        let grads = net.grads(t, &ALL, device, dtype);
        (net, _) = driver.step(net, grads).unwrap();
        history.push(net.values());
    }
    let averaged = driver.averaged(&net);
    assert_eq!(net.values(), history[49], "the model stays");
    (history, averaged.values())
}

/// The weights of the values that are taken in.
type Weights = fn(usize) -> Vec<f64>;

fn ema_weights(count: usize, decay: impl Fn(usize) -> f64, corrected: bool) -> Vec<f64> {
    let mut weights: Vec<f64> = Vec::new();
    for t in 0..count {
        let decay = decay(t);
        for weight in &mut weights {
            *weight *= decay;
        }
        weights.push(if t == 0 && !corrected {
            1.0
        } else {
            1.0 - decay
        });
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn averages_follow_their_formulas() {
    fn warm(decay: f64) -> impl Fn(usize) -> f64 {
        move |t| decay.min((1.0 + t as f64) / (10.0 + t as f64))
    }
    let cases: [(&str, Averaging, usize, usize, Weights); 7] = [
        ("ema", Averaging::ema(0.9), 0, 1, |n| {
            ema_weights(n, |_| 0.9, true)
        }),
        (
            "ema without correction",
            Averaging::ema(0.9).without_bias_correction(),
            0,
            1,
            |n| ema_weights(n, |_| 0.9, false),
        ),
        (
            "ema with warmup",
            Averaging::ema(0.99).with_warmup(),
            0,
            1,
            |n| ema_weights(n, warm(0.99), true),
        ),
        (
            "warmup without correction",
            Averaging::ema(0.7).with_warmup().without_bias_correction(),
            0,
            1,
            |n| ema_weights(n, warm(0.7), false),
        ),
        ("mean", Averaging::mean(), 0, 1, |n| vec![1.0 / n as f64; n]),
        (
            "late mean",
            Averaging::mean().with_start(20).with_every(7),
            20,
            7,
            |n| vec![1.0 / n as f64; n],
        ),
        ("no decay", Averaging::ema(0.0), 0, 1, |n| {
            ema_weights(n, |_| 0.0, true)
        }),
    ];
    for_all(|label, device, dtype| {
        for (name, averaging, start, every, weights) in &cases {
            let label = format!("{name} on {label}");
            let (history, averaged) = averaged_run(averaging, &device.device, dtype);
            let taken: Vec<&Values> = history[*start..]
                .iter()
                .skip(every - 1)
                .step_by(*every)
                .collect();
            let weights = weights(taken.len());
            for index in ALL {
                let mut expected = vec![0.0; history[0][index].len()];
                for (values, weight) in taken.iter().zip(&weights) {
                    for (sum, value) in expected.iter_mut().zip(&values[index]) {
                        *sum += weight * value;
                    }
                }
                let rounding = rounding(device, dtype);
                // Of 16 bits only the way back is rounded; there were 50 roundings in f32.
                let absolute = if dtype == DType::F64 { 1e-13 } else { 4e-6 };
                assert_close(
                    &label,
                    &averaged[index],
                    &expected,
                    rounding / 2.0,
                    absolute,
                );
            }
        }
    });
}

#[test]
fn averages_of_16_bit_parameters_are_in_single() {
    for dtype in [DType::BF16, DType::F16, DType::F64] {
        for device in common::devices_with(dtype) {
            let net = Net::new(1, &device.device, dtype);
            let mut driver = Driver::builder(PLAIN[0].1(), 0.1)
                .with_averaging(Averaging::ema(0.9))
                .bind(&net)
                .unwrap();
            let net = train(&mut driver, net, 0..2, &device.device, dtype);
            let checkpoint = driver.checkpoint(&net).unwrap();
            let averages: Vec<DType> = checkpoint
                .tensors()
                .filter(|(name, ..)| name.starts_with("average/"))
                .map(|(_, _, dtype, _)| dtype)
                .collect();
            let expected = if dtype == DType::F64 {
                DType::F64
            } else {
                DType::F32
            };
            assert_eq!(averages, [expected; 3]);
            assert_eq!(driver.averaged(&net).weight.val().dtype(), dtype);
        }
    }
}

/// Running statistics, integers and booleans beside parameters.
#[derive(Module, Debug)]
struct Buffers {
    norm: BatchNorm,
    weight: Param<Tensor<2>>,
    count: Param<Tensor<1, Int>>,
    mask: Param<Tensor<1, Bool>>,
}

impl Buffers {
    fn new(device: &Device) -> Self {
        let autodiff = &device.clone().autodiff();
        let count = Tensor::from_data(TensorData::from([1i32, 2]), autodiff);
        let mask = Tensor::from_data(TensorData::from([true, false]), autodiff);
        Self {
            norm: BatchNormConfig::new(3).init(autodiff),
            weight: Param::from_tensor(make(1, SHAPES[0], autodiff, DType::F32)),
            count: Param::initialized(ParamId::new(), count),
            mask: Param::initialized(ParamId::new(), mask),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.norm.forward(x.matmul(self.weight.val()))
    }

    /// Trains on a batch, and counts it.
    fn grads(&mut self, t: usize, device: &Device) -> GradientsParams {
        let x = make::<2>(t, &[5, 4], &device.clone().autodiff(), DType::F32);
        let loss = self.forward(x).powi_scalar(3).sum();
        let grads = GradientsParams::from_grads(loss.backward(), self);
        let (id, count, mapper) = self.count.clone().consume();
        self.count = Param::from_mapped_value(id, count + 1, mapper);
        grads
    }

    fn statistics(&self) -> [Vec<f64>; 2] {
        let data = [&self.norm.running_mean, &self.norm.running_var];
        data.map(|state| floats(state.value_sync().into_data()))
    }

    fn others(&self) -> (Vec<i64>, Vec<bool>) {
        let count = self.count.val().into_data().iter::<i64>().collect();
        (count, self.mask.val().into_data().iter::<bool>().collect())
    }
}

#[test]
fn running_statistics_are_averaged_or_the_models_and_the_rest_is_the_models() {
    for device in devices() {
        for of_the_model in [false, true] {
            let label = format!("{}, the model's: {of_the_model}", device.name);
            let averaging = match of_the_model {
                true => Averaging::mean().with_buffers_of_the_model(),
                false => Averaging::mean(),
            };
            let mut model = Buffers::new(&device.device);
            let mut driver = Driver::builder(PLAIN[0].1(), 0.01)
                .with_averaging(averaging)
                .bind(&model)
                .unwrap();
            let fresh = driver.averaged(&model);
            assert_eq!(
                values_of(&fresh),
                values_of(&model),
                "{label}: before the first update"
            );
            let (mut gammas, mut means) = (Vec::new(), Vec::new());
            for t in 0..4 {
                let grads = model.grads(t, &device.device);
                // The driver is the first to ask for the statistics of this batch.
                (model, _) = driver.step(model, grads).unwrap();
                gammas.push(floats(model.norm.gamma.val().into_data()));
                means.push(model.statistics()[0].clone());
            }
            let statistics = model.statistics();
            let values = values_of(&model);
            let averaged = driver.averaged(&model);
            let mean = |values: &[Vec<f64>]| {
                let element = |i| values.iter().map(|values| values[i]).sum::<f64>() / 4.0;
                [0, 1, 2].map(element)
            };
            let tolerance = device.f32_tolerance;
            let gamma = floats(averaged.norm.gamma.val().into_data());
            assert_close(&label, &gamma, &mean(&gammas), tolerance, tolerance);
            match of_the_model {
                true => assert_eq!(averaged.statistics(), statistics, "{label}"),
                false => {
                    let found = &averaged.statistics()[0];
                    assert_close(&label, found, &mean(&means), tolerance, tolerance);
                    assert_ne!(averaged.statistics(), statistics, "{label}");
                }
            }
            assert_eq!(
                averaged.others(),
                (vec![5, 6], vec![true, false]),
                "{label}"
            );

            // It is a model for evaluation: it neither learns nor counts.
            assert!(!averaged.weight.val().is_autodiff(), "{label}");
            let x = make::<2>(9, &[5, 4], &device.device, DType::F32);
            let before = averaged.statistics();
            let one = averaged.forward(x.clone().slice([0..1, 0..4])).into_data();
            let all = averaged.forward(x).slice([0..1, 0..4]).into_data();
            assert_close(&label, &floats(one), &floats(all), tolerance, tolerance);
            assert_eq!(averaged.statistics(), before, "{label}");
            assert_eq!(values_of(&model), values, "{label}: the model stays");
            assert_eq!(model.statistics(), statistics, "{label}: the model stays");

            // Nor does training move what was taken out.
            let taken = values_of(&averaged);
            let grads = model.grads(5, &device.device);
            driver.step(model, grads).unwrap();
            assert_eq!(
                values_of(&averaged),
                taken,
                "{label}: the averages taken out"
            );
        }
    }
}

#[test]
fn a_polyak_update_is_a_step_towards_the_source() {
    for_all(|label, device, dtype| {
        let source = Net::new(5, &device.device, dtype);
        for tau in [0.0, 0.005, 0.5, 1.0] {
            let target = Net::new(1, &device.device, dtype);
            let ids = [target.weight.id, target.bias.id, target.kernel.id];
            let before = target.values();
            let target = polyak_update(target, &source, tau).unwrap();
            for index in ALL {
                let to = &source.values()[index];
                let pairs = before[index].iter().zip(to);
                let expected: Vec<f64> = pairs.map(|(from, to)| from + tau * (to - from)).collect();
                let rounding = rounding(device, dtype);
                assert_close(
                    label,
                    &target.values()[index],
                    &expected,
                    rounding,
                    rounding,
                );
            }
            if tau == 1.0 {
                assert_eq!(target.values(), source.values(), "{label}");
            }
            assert_eq!([target.weight.id, target.bias.id, target.kernel.id], ids);
            assert!(target.weight.is_require_grad(), "{label}");
            assert_eq!(
                source.values(),
                Net::new(5, &device.device, dtype).values(),
                "{label}"
            );
        }
    });
}

#[test]
fn running_statistics_follow_a_polyak_update_too() {
    for device in devices() {
        let (mut source, mut target) = (Buffers::new(&device.device), Buffers::new(&device.device));
        source.grads(1, &device.device);
        target.grads(2, &device.device);
        let target = polyak_update(target, &source, 0.25).unwrap();
        let mut other = Buffers::new(&device.device);
        other.grads(2, &device.device);
        let pairs = other.statistics().into_iter().zip(source.statistics());
        for ((from, to), found) in pairs.zip(target.statistics()) {
            let steps = from
                .iter()
                .zip(&to)
                .map(|(from, to)| from + 0.25 * (to - from));
            let expected: Vec<f64> = steps.collect();
            let tolerance = device.f32_tolerance;
            assert_close(device.name, &found, &expected, tolerance, tolerance);
        }
    }
}

#[test]
fn a_polyak_update_that_does_not_fit_hands_the_target_back() {
    let device = &devices()[0].device;
    let source = Net::new(5, device, DType::F32);
    for tau in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let target = Net::new(1, device, DType::F32);
        let rejected = polyak_update(target, &source, tau).unwrap_err();
        assert_eq!(
            rejected.to_string(),
            format!("`tau` must be at least 0 and at most 1, got {tau}")
        );
        assert_eq!(
            rejected.model.values(),
            Net::new(1, device, DType::F32).values()
        );
    }
    let mut other = Net::new(5, device, DType::F32);
    other.bias = Param::from_tensor(make(1, &[4], device, DType::F32));
    let rejected = polyak_update(Net::new(1, device, DType::F32), &other, 0.5).unwrap_err();
    let expected = PolyakError::Structure {
        path: "bias".into(),
        reason: "the shapes differ",
    };
    assert_eq!(rejected.cause, expected);
    assert_eq!(
        rejected.model.values(),
        Net::new(1, device, DType::F32).values()
    );
}

#[cfg(feature = "flex")]
#[test]
fn quantised_parameters_have_no_average_and_follow_only_as_a_whole() {
    use burn::module::{Lora, QLora, Quantizer};
    use burn::tensor::quantization::{Calibration, QuantScheme};

    let device = Device::flex().autodiff();
    let packed = |seed: usize| {
        let mut base: nn::Linear = nn::LinearConfig::new(32, 32).init(&device);
        let weight = make::<2>(seed, &[32, 32], &Device::flex(), DType::F32);
        base.weight = base.weight.map(|_| Tensor::from_inner(weight));
        let quantizer = Quantizer::new(Calibration::MinMax, QuantScheme::default());
        base.apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer))
    };
    let output = |model: &nn::Linear| {
        let device = model.bias.as_ref().unwrap().val().device();
        let input = make::<2>(3, &[2, 32], &device, DType::F32);
        floats(model.forward(input).into_data())
    };
    let mut model = packed(1);
    let driver = Driver::builder(optim::AdamConfig::new().init(), 0.1);
    let driver = driver
        .with_averaging(Averaging::mean())
        .with_update_ratios(1);
    let mut driver = driver.bind(&model).unwrap();
    for t in 0..3 {
        let input = make::<2>(t, &[2, 32], &device, DType::F32);
        let loss = model.forward(input).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let report;
        (model, report) = driver.step(model, grads).unwrap();
        assert_eq!(report.updated, 2);
    }
    let averaged = driver.averaged(&model);
    assert!(averaged.weight.adapter().is_some());
    assert_ne!(output(&averaged), output(&model));

    // The packed weights are the same, and only the adapters part.
    let target = model.clone();
    let (grads, _) = grads_for(&model.weight.adapter().unwrap().clone(), 1);
    let (model, _) = driver.step(model, grads).unwrap();
    let followed = polyak_update(target.clone(), &model, 0.5).unwrap();
    assert_ne!(output(&followed), output(&target));
    assert_ne!(output(&followed), output(&model));
    // Other packed weights have nothing between them and these.
    let other = packed(2);
    let error = polyak_update(other.clone(), &model, 0.5).unwrap_err();
    assert_eq!(
        error.cause.to_string(),
        "target and source differ at `weight`: they are quantised and not the same: there is nothing between \
         them, so `tau` must be 1"
    );
    assert_eq!(output(&error.model), output(&other));
    let copied = polyak_update(other, &model, 1.0).unwrap();
    assert_eq!(output(&copied), output(&model));
}

#[test]
fn a_training_goes_on_from_the_average() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        let net = Net::new(1, inner, dtype);
        let make = |net: &Net| {
            Driver::builder(optim::AdamConfig::new().init(), 0.1)
                .with_averaging(Averaging::ema(0.9))
                .bind(net)
                .unwrap()
        };
        let mut driver = make(&net);
        let same = driver.switch_to_average(net.clone());
        assert_eq!(same.values(), net.values(), "{label}");
        let trained = train(&mut driver, net, 0..4, inner, dtype);
        let averaged = driver.averaged(&trained).values();
        let state_before = state(&driver);
        let switched = driver.switch_to_average(trained);
        assert_eq!(switched.values(), averaged, "{label}");
        assert_eq!(state(&driver), state_before, "{label}");
        assert!(switched.weight.is_require_grad(), "{label}");
        // The average is not moved with the parameters that begin where it is.
        let kept = driver.averaged(&switched).values();
        let went_on = train(&mut driver, switched, 4..5, inner, dtype);
        assert_ne!(went_on.values(), averaged, "{label}");
        assert_ne!(
            driver.averaged(&went_on).values(),
            went_on.values(),
            "{label}"
        );
        assert_eq!(kept, averaged, "{label}");
    });
}
