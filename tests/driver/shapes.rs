//! Shapes, models and ids.

use super::*;

#[derive(Module, Debug)]
struct Shapes {
    empty: Param<Tensor<1>>,
    no_rows: Param<Tensor<2>>,
    no_columns: Param<Tensor<2>>,
    one: Param<Tensor<1>>,
    single: Param<Tensor<2>>,
    column: Param<Tensor<2>>,
    row: Param<Tensor<2>>,
    three: Param<Tensor<3>>,
    four: Param<Tensor<4>>,
    five: Param<Tensor<5>>,
}

impl Shapes {
    fn new(device: &Device, dtype: DType) -> Self {
        fn param<const D: usize>(
            shape: [usize; D],
            device: &Device,
            dtype: DType,
        ) -> Param<Tensor<D>> {
            Param::from_tensor(make(
                7 * D + shape[0],
                &shape,
                &device.clone().autodiff(),
                dtype,
            ))
        }
        Self {
            empty: param([0], device, dtype),
            no_rows: param([0, 3], device, dtype),
            no_columns: param([3, 0], device, dtype),
            one: param([1], device, dtype),
            single: param([1, 1], device, dtype),
            column: param([3, 1], device, dtype),
            row: param([1, 3], device, dtype),
            three: param([2, 1, 3], device, dtype),
            four: param([1, 2, 1, 3], device, dtype),
            five: param([2, 1, 3, 1, 2], device, dtype),
        }
    }
}

#[test]
fn empty_and_odd_shaped_parameters_are_stepped_like_others() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            if !row.is_alone() {
                return;
            }
            let label = format!("{row_label} on {label}");
            let net = Shapes::new(&device.device, dtype);
            let make = || config.try_init().unwrap();
            let mut driver = Driver::builder(make(), row.lr)
                .with_clipping(Clipping::global_norm(1e6))
                .with_averaging(Averaging::ema(0.5))
                .with_update_ratios(1)
                .bind(&net)
                .unwrap();
            let mut optim = make();
            let (mut net, mut other) = (net.clone(), net);
            for t in 0..3 {
                let (grads, expected) = grads_for(&net, t);
                let report;
                (net, report) = driver.step(net, grads).unwrap();
                assert_eq!(report.updated, 10, "{label}");
                let found = report.grad_norm.unwrap().value();
                assert!(
                    is_close(found, expected, 2.0 * device.f32_tolerance),
                    "{label}"
                );
                let (grads, _) = grads_for(&other, t);
                other = optim.step(row.lr, other, grads);
                assert_same(&label, device, &values_of(&net), &values_of(&other));
            }
            let averaged = values_of(&driver.averaged(&net));
            assert_eq!(averaged.len(), values_of(&net).len());
            assert!(averaged.iter().all(|x| x.is_finite()), "{label}");
        });
    });
}

#[test]
fn every_clipping_and_policy_takes_empty_parameters() {
    for_all(|label, device, dtype| {
        for (optim, make) in PLAIN {
            for clipping in [
                Clipping::global_norm(0.5),
                Clipping::tensor_norm(0.5),
                Clipping::value(0.5),
                Clipping::adaptive(0.5),
            ] {
                for policy in [NonFinite::ZeroNan, NonFinite::Ignore] {
                    let mut net = Shapes::new(&device.device, dtype);
                    let mut driver = Driver::builder(make(), 0.1)
                        .with_clipping(clipping.clone())
                        .with_non_finite(policy)
                        .with_accumulation(Accumulation::mean(2))
                        .bind(&net)
                        .unwrap();
                    let before = values_of(&net);
                    for t in 0..2 {
                        let (mut grads, _) = grads_for(&net, t);
                        if policy == NonFinite::ZeroNan && device.exact {
                            let nan = tensor(TensorData::from([f64::NAN]), &device.device, dtype);
                            grads.register::<1>(net.one.id, nan);
                        }
                        (net, _) = driver.step(net, grads).unwrap();
                    }
                    let after = values_of(&net);
                    let label = format!("{clipping} in {optim} on {label}");
                    assert!(after.iter().all(|x| x.is_finite()), "{label}");
                    assert_ne!(after, before, "{label}");
                }
            }
        }
    });
}

/// So many elements that the passes over them are shared between threads.
#[test]
fn large_parameters_are_measured_to_the_last_element() {
    const LEN: usize = 1_000_003;
    for_all(|label, device, dtype| {
        let inner = &device.device;
        let ones = |len: usize| Tensor::<1>::ones([len], (&inner.clone().autodiff(), dtype));
        let pair = Pair {
            first: Param::from_tensor(ones(LEN)),
            second: Param::from_tensor(ones(1)),
        };
        let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
            .with_clipping(Clipping::global_norm(1.0))
            .bind(&pair)
            .unwrap();
        let grads = |last: f64| {
            let mut grads = GradientsParams::new();
            let all = Tensor::<1>::ones([LEN - 1], (inner, dtype)).mul_scalar(0.5);
            let last = tensor::<1>(TensorData::from([last]), inner, dtype);
            grads.register(pair.first.id, Tensor::cat(vec![all, last], 0));
            grads
        };
        let (_, report) = driver.step(pair.clone(), grads(1000.0)).unwrap();
        let expected = (0.25 * (LEN - 1) as f64 + 1e6).sqrt();
        let found = report.grad_norm.unwrap().value();
        assert!(
            is_close(found, expected, 10.0 * device.f32_tolerance),
            "{label}: {found}"
        );
        if device.exact {
            let error = driver.step(pair.clone(), grads(f64::NAN)).unwrap_err();
            let expected = format!("gradients are not finite: first (1 of {LEN})");
            assert_eq!(error.to_string(), expected, "{label}");
        }
    });
}

#[test]
fn gradients_that_are_views_give_the_same_bits() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            let run = |views: bool| {
                let inner = &device.device;
                let mut net = Net::new(1, inner, dtype);
                let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                    .with_clipping(Clipping::global_norm(1.0))
                    .with_accumulation(Accumulation::mean(2))
                    .bind(&net)
                    .unwrap();
                for t in 0..4 {
                    let mut grads = GradientsParams::new();
                    let weight = make::<2>(t, &[3, 4], inner, dtype).swap_dims(0, 1);
                    let bias = make::<1>(t, &[6], inner, dtype).slice([2..5]);
                    let kernel = make::<4>(t, &[2, 3, 2, 2], inner, dtype).permute([3, 0, 1, 2]);
                    if views {
                        grads.register(net.weight.id, weight);
                        grads.register(net.bias.id, bias);
                        grads.register(net.kernel.id, kernel);
                    } else {
                        grads
                            .register(net.weight.id, tensor::<2>(weight.into_data(), inner, dtype));
                        grads.register(net.bias.id, tensor::<1>(bias.into_data(), inner, dtype));
                        grads
                            .register(net.kernel.id, tensor::<4>(kernel.into_data(), inner, dtype));
                    }
                    (net, _) = driver.step(net, grads).unwrap();
                }
                net.values()
            };
            let (views, dense) = (run(true), run(false));
            for (views, dense) in views.iter().zip(&dense) {
                assert_same(&format!("{row_label} on {label}"), device, views, dense);
            }
        });
    });
}

fn rebindable(make: Make, net: &Net) -> Driver {
    Driver::builder(make(), 0.01)
        .with_averaging(Averaging::ema(0.5))
        .with_accumulation(Accumulation::mean(2))
        .bind(net)
        .unwrap()
}

const STATEFUL: [(&str, Make); 4] = [
    ("adamw", || optim::AdamWConfig::new().init()),
    ("adafactor", || optim::AdafactorConfig::new().init()),
    BURN[0],
    BURN[2],
];

#[test]
fn a_driver_goes_on_with_a_model_that_has_got_other_ids() {
    for_all(|label, device, dtype| {
        for (optim, make) in STATEFUL {
            let label = format!("{optim} on {label}");
            let inner = &device.device;
            let net = Net::new(1, inner, dtype);
            if optim.starts_with("burn") && dtype != DType::F32 {
                // Its states would come back in single precision.
                let mut driver = rebindable(make, &net);
                let net = train(&mut driver, net, 0..3, inner, dtype);
                let before = bytes(&driver, &net);
                let error = driver.rebind(&Net::new(1, inner, dtype)).unwrap_err();
                assert!(matches!(error, BindError::State { .. }), "{label}: {error}");
                assert!(before == bytes(&driver, &net), "{label}");
                continue;
            }
            let (mut straight, mut moved) = (rebindable(make, &net), rebindable(make, &net));
            let other = train(&mut straight, net.clone(), 0..3, inner, dtype);
            let net = train(&mut moved, net, 0..3, inner, dtype);
            let net = Net::from_values(&net.values(), inner, dtype);
            moved.rebind(&net).unwrap();
            let other = train(&mut straight, other, 3..8, inner, dtype);
            let net = train(&mut moved, net, 3..8, inner, dtype);
            assert_eq!(net.values(), other.values(), "{label}");
            assert!(bytes(&moved, &net) == bytes(&straight, &other), "{label}");
            let averages = [(&moved, &net), (&straight, &other)];
            let [one, two] = averages.map(|(driver, net)| driver.averaged(net).values());
            assert_eq!(one, two, "{label}: the averages");
        }
    });
}

/// Parameters that change places keep what belongs to their places.
#[test]
fn a_driver_goes_on_with_ids_that_have_changed_places() {
    let device = &devices()[0].device;
    let pair = |swapped: bool| {
        let net = Net::new(1, device, DType::F32);
        let (first, second) = (net.bias, Net::new(9, device, DType::F32).bias);
        match swapped {
            true => Pair {
                first: second,
                second: first,
            },
            false => Pair { first, second },
        }
    };
    let bind = |pair: &Pair| {
        Driver::builder(optim::AdamWConfig::new().init(), 0.1)
            .with_averaging(Averaging::ema(0.5))
            .with_accumulation(Accumulation::mean(2))
            .bind(pair)
            .unwrap()
    };
    let run = |driver: &mut Driver, mut pair: Pair, steps: core::ops::Range<usize>| {
        for t in steps {
            let grads = grads_for(&pair, t).0;
            (pair, _) = driver.step(pair, grads).unwrap();
        }
        pair
    };
    let net = pair(false);
    let (mut straight, mut moved) = (bind(&net), bind(&net));
    let other = run(&mut straight, net.clone(), 0..3);
    let Pair { first, second } = run(&mut moved, net, 0..3);
    // The values stay where they are, and the ids change places.
    let with =
        |id: &Param<Tensor<1>>, value: Param<Tensor<1>>| Param::initialized(id.id, value.val());
    let net = Pair {
        first: with(&second, first.clone()),
        second: with(&first, second.clone()),
    };
    moved.rebind(&net).unwrap();
    let (net, other) = (run(&mut moved, net, 3..8), run(&mut straight, other, 3..8));
    assert_eq!(values_of(&net), values_of(&other));
    assert!(bytes(&moved, &net) == bytes(&straight, &other));
}

#[derive(Module, Debug)]
struct Longer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    kernel: Param<Tensor<4>>,
    more: Param<Tensor<1>>,
}

#[test]
fn a_driver_does_not_go_over_to_a_model_of_another_structure() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = rebindable(STATEFUL[0].1, &net);
    let net = train(&mut driver, net, 0..3, device, DType::F32);
    let before = bytes(&driver, &net);

    let mut reshaped = Net::new(1, device, DType::F32);
    reshaped.bias = Param::from_tensor(make(1, &[4], &device.clone().autodiff(), DType::F32));
    assert_eq!(
        driver.rebind(&reshaped).unwrap_err().to_string(),
        "`bias` is [4] in F32, and the driver was bound to [3] in F32"
    );
    let double = Net::new(1, device, DType::F64);
    assert_eq!(
        driver.rebind(&double).unwrap_err().to_string(),
        "`weight` is [4, 3] in F64, and the driver was bound to [4, 3] in F32"
    );
    let Net {
        weight,
        bias,
        kernel,
    } = Net::new(1, device, DType::F32);
    let more = Net::new(2, device, DType::F32).bias;
    let longer = Longer {
        weight,
        bias,
        kernel,
        more,
    };
    assert_eq!(
        driver.rebind(&longer).unwrap_err().to_string(),
        "the driver was bound to a model without `more`"
    );
    let short = Pair {
        first: longer.bias,
        second: longer.more,
    };
    assert_eq!(
        driver.rebind(&short).unwrap_err().to_string(),
        "the model has no parameter `weight`, which the driver was bound to"
    );
    assert!(before == bytes(&driver, &net));
}

#[test]
fn a_step_on_a_clone_does_not_touch_the_original() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            let label = format!("{row_label} on {label}");
            let inner = &device.device;
            let net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_averaging(Averaging::ema(0.5))
                .with_update_ratios(1)
                .bind(&net)
                .unwrap();
            let values = net.values();
            let grads = net.grads(0, &ALL, inner, dtype);
            let kept = [
                grads.get::<2>(net.weight.id).unwrap(),
                grads.get::<2>(net.weight.id).unwrap(),
            ];
            let (stepped, _) = driver.step(net.clone(), grads).unwrap();
            assert_eq!(net.values(), values, "{label}");
            if row.waits == 0 {
                assert_ne!(stepped.values(), values, "{label}");
            }
            // Nor are gradients that are held elsewhere.
            let expected = &held(&grad_values(0), inner, dtype)[0];
            for kept in kept {
                assert_eq!(&floats(kept.into_data()), expected, "{label}");
            }
        });
    });
}

/// Burn's column-major layer turns its weight when it is initialised, and until then says another shape.
#[test]
fn a_layer_that_turns_its_weight_is_trained_from_the_beginning() {
    for_all(|label, device, dtype| {
        if dtype != DType::F32 {
            return;
        }
        let on = device.device.clone().autodiff();
        let fresh = || -> nn::Linear {
            let config = nn::LinearConfig::new(4, 2).with_layout(nn::LinearLayout::Col);
            config.init(&on)
        };
        let mut model = fresh();
        let driver = Driver::builder(optim::AdamConfig::new().init(), 0.1);
        let mut driver = driver.bind(&model).unwrap();
        for t in 0..3 {
            let (grads, _) = grads_for(&model, t);
            let before = values_of(&model);
            let report;
            (model, report) = driver.step(model, grads).unwrap();
            assert_eq!(report.updated, 2, "{label}");
            assert_eq!(model.weight.dims(), [4, 2]);
            assert_ne!(values_of(&model), before);
        }
        // Before anybody has looked at it.
        let followed = polyak_update(fresh(), &model, 1.0).unwrap();
        assert_eq!(values_of(&followed), values_of(&model), "{label}");
        driver.rebind(&fresh()).unwrap();
    });
}
