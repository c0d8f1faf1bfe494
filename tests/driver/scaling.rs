//! A factor on the loss changes nothing but what would be lost, or would overflow.

use downhill::train::LossScaling;

use super::*;

/// Gradients of a loss that was multiplied.
fn scaled_grads(net: &Net, t: usize, scale: f64, device: &Device, dtype: DType) -> GradientsParams {
    net.grads_from(&scaled(&grad_values(t), scale), &ALL, device, dtype)
}

/// By a power of two nothing is rounded: parameters, state, norms and averages are those without it, bit for bit, for
/// every optimizer, with windows and clipping.
#[test]
fn a_power_of_two_leaves_every_bit_as_it_is() {
    let device = exact_device().expect("flex is there");
    let all = devices().remove(0);
    for row in rows_alone_on(&all).filter(|row| !row.needs_loss()) {
        let (_, config) = row.configs().next().expect("each has one");
        let built = |scaling: Option<LossScaling>, windows: bool| {
            let net = Net::new(1, &device, DType::F32);
            let mut builder = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_clipping(Clipping::global_norm(0.5));
            if windows {
                builder = builder.with_accumulation(Accumulation::mean(2));
            }
            if let Some(scaling) = scaling {
                builder = builder.with_loss_scaling(scaling);
            }
            let driver = builder.bind(&net).unwrap();
            (net, driver)
        };
        for windows in [false, true] {
            let (mut plain, mut without) = built(None, windows);
            let (mut net, mut with) = built(Some(LossScaling::fixed(1024.0)), windows);
            assert_eq!(with.loss_scale(), 1024.0);
            for t in 0..4 {
                let grads = plain.grads(t, &ALL, &device, DType::F32);
                let (found, expected);
                (plain, expected) = without.step(plain, grads).unwrap();
                let grads = scaled_grads(&net, t, 1024.0, &device, DType::F32);
                (net, found) = with.step(net, grads).unwrap();
                let norm = |report: &StepReport| report.grad_norm.as_ref().map(|norm| norm.value());
                assert_eq!(norm(&found), norm(&expected), "{}, step {t}", row.name);
            }
            assert_eq!(
                net.values(),
                plain.values(),
                "{}, windows {windows}",
                row.name
            );
        }
    }
}

/// What is too small for 16 bits moves them when its loss is scaled.
#[test]
fn small_gradients_of_16_bits_are_not_lost() {
    let device = exact_device().expect("flex is there");
    let moved = |scaling: Option<LossScaling>| {
        let net = Net::new(1, &device, DType::F16);
        let mut builder = Driver::builder(optim::SgdConfig::new().init(), 1e6);
        if let Some(scaling) = scaling {
            builder = builder.with_loss_scaling(scaling);
        }
        let mut driver = builder.bind(&net).unwrap();
        let scale = 1e-8 * driver.loss_scale();
        let before = net.values();
        let grads = scaled_grads(&net, 0, scale, &device, DType::F16);
        let (net, _) = driver.step(net, grads).unwrap();
        (before, net.values())
    };
    let (before, after) = moved(None);
    assert_eq!(before, after, "1e-8 is nothing in f16");
    let (before, after) = moved(Some(LossScaling::fixed(65536.0)));
    for (index, grad) in grad_values(0).into_iter().enumerate() {
        for ((from, to), grad) in before[index].iter().zip(&after[index]).zip(grad) {
            let way = from - to;
            assert!((way - 1e-2 * grad).abs() < 2e-3, "{way} for {grad}");
        }
    }
}

#[test]
fn a_factor_that_is_too_large_is_halved_and_grows_again() {
    for device in devices() {
        let inner = &device.device;
        let mut net = Net::new(1, inner, DType::F32);
        let scaling = LossScaling::dynamic().with_scale(8.0).with_interval(2);
        let builder =
            Driver::builder(optim::AdamConfig::new().init(), 0.1).with_loss_scaling(scaling);
        let mut driver = builder.bind(&net).unwrap();
        let mut report;
        let before = net.values();
        let broken = [vec![f64::INFINITY; 12], vec![1.0; 3], vec![1.0; 24]];
        for expected in [4.0, 2.0, 1.0] {
            let grads = net.grads_from(&broken, &ALL, inner, DType::F32);
            (net, report) = driver.step(net, grads).unwrap();
            assert_eq!(report.outcome, Outcome::Skipped, "{}", device.name);
            assert_eq!(
                (report.loss_scale, driver.loss_scale()),
                (Some(expected), expected)
            );
            assert!(report.to_string().contains("loss scale"), "{report}");
        }
        assert_eq!(net.values(), before);
        assert_eq!((driver.updates(), driver.skipped()), (0, 3));
        // At 1 it is the gradients, and that is an error.
        let grads = net.grads_from(&broken, &ALL, inner, DType::F32);
        net = driver.step(net, grads).unwrap_err().model;
        let mut scales = Vec::new();
        for t in 0..5 {
            let grads = scaled_grads(&net, t, driver.loss_scale(), inner, DType::F32);
            (net, _) = driver.step(net, grads).unwrap();
            scales.push(driver.loss_scale());
        }
        assert_eq!(scales, [1.0, 2.0, 2.0, 4.0, 4.0], "{}", device.name);
    }
}

/// A window is left out as a whole: its gradients have the old factor.
#[test]
fn a_window_goes_with_its_factor() {
    let device = exact_device().expect("flex is there");
    let mut net = Net::new(1, &device, DType::F32);
    let mut driver = Driver::builder(optim::SgdConfig::new().init(), 1.0)
        .with_accumulation(Accumulation::mean(2))
        .with_loss_scaling(LossScaling::dynamic().with_scale(4.0))
        .bind(&net)
        .unwrap();
    let before = net.values();
    let grads = scaled_grads(&net, 7, 4.0, &device, DType::F32);
    (net, _) = driver.step(net, grads).unwrap();
    let broken = [vec![f64::NAN; 12], vec![1.0; 3], vec![1.0; 24]];
    let grads = net.grads_from(&broken, &ALL, &device, DType::F32);
    (net, _) = driver.step(net, grads).unwrap();
    assert_eq!(driver.loss_scale(), 2.0);
    for t in 0..2 {
        let grads = scaled_grads(&net, t, 2.0, &device, DType::F32);
        (net, _) = driver.step(net, grads).unwrap();
    }
    assert_eq!(driver.updates(), 1);
    let (first, second) = (grad_values(0), grad_values(1));
    for index in ALL {
        let pairs = first[index].iter().zip(&second[index]);
        let means: Vec<f64> = pairs.map(|(a, b)| (a + b) / 2.0).collect();
        let after = net.values();
        for ((from, to), mean) in before[index].iter().zip(&after[index]).zip(means) {
            assert!((from - to - mean).abs() < 1e-6);
        }
    }
}

/// The factor, and how long it has been the same, are in a checkpoint.
#[test]
fn a_factor_goes_on_from_a_checkpoint() {
    let device = exact_device().expect("flex is there");
    let bound = |net: &Net| {
        let scaling = LossScaling::dynamic().with_scale(4.0).with_interval(3);
        let builder = Driver::builder(optim::AdamConfig::new().init(), 0.1);
        builder.with_loss_scaling(scaling).bind(net).unwrap()
    };
    let step = |driver: &mut Driver, net: Net, t: usize| {
        let grads = scaled_grads(&net, t, driver.loss_scale(), &device, DType::F32);
        driver.step(net, grads).unwrap().0
    };
    let mut net = Net::new(1, &device, DType::F32);
    let mut driver = bound(&net);
    for t in 0..4 {
        net = step(&mut driver, net, t);
    }
    assert_eq!(driver.loss_scale(), 8.0);
    let fresh = Net::new(2, &device, DType::F32);
    let mut other = bound(&fresh);
    let mut resumed = other
        .resume(fresh, &driver.checkpoint(&net).unwrap())
        .unwrap();
    assert_eq!(other.loss_scale(), 8.0);
    for t in 4..7 {
        net = step(&mut driver, net, t);
        resumed = step(&mut other, resumed, t);
        assert_eq!(driver.loss_scale(), other.loss_scale());
    }
    assert_eq!(driver.loss_scale(), 16.0);
    assert!(bytes(&driver, &net) == bytes(&other, &resumed));
}

#[test]
fn a_loss_is_multiplied() {
    let device = exact_device().expect("flex is there");
    let net = Net::new(1, &device, DType::F32);
    let builder = Driver::builder(optim::SgdConfig::new().init(), 0.1);
    let driver = builder
        .with_loss_scaling(LossScaling::fixed(8.0))
        .bind(&net)
        .unwrap();
    let loss = Tensor::<1>::from_floats([0.5], &device);
    assert_eq!(driver.scaled(loss).into_scalar::<f32>(), 4.0);
    let builder = Driver::builder(optim::SgdConfig::new().init(), 0.1);
    let error = builder
        .with_loss_scaling(LossScaling::fixed(0.0))
        .bind(&net)
        .unwrap_err();
    assert!(error.to_string().contains("scale of the loss"), "{error}");
}
