//! What is not finite.

use super::*;

fn guarded(config: &OptimizerConfig, lr: f64, net: &Net, non_finite: NonFinite) -> Driver {
    let schedule = LinearConfig::new(lr, 0.5 * lr, 5).try_build().unwrap();
    let rate = rate_for(config, lr, schedule);
    Driver::builder(config.try_init().unwrap(), rate)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.5))
        .with_non_finite(non_finite)
        .bind(net)
        .unwrap()
}

#[test]
fn a_gradient_that_is_not_finite_is_as_if_it_had_never_been() {
    for_nan(|on, device, dtype| {
        let inner = &device.device;
        for_rows(device, |label, row, config| {
            for (bad, skips) in BAD.into_iter().flat_map(|bad| [(bad, false), (bad, true)]) {
                let label = format!("{label} on {on}, {bad}");
                let policy = match skips {
                    true => NonFinite::Skip { max_consecutive: 1 },
                    false => NonFinite::Error,
                };
                let net = Net::new(1, inner, dtype);
                let mut spared = guarded(config, row.lr, &net, policy);
                let mut driver = guarded(config, row.lr, &net, policy);
                let straight = train(&mut spared, net.clone(), 0..3, inner, dtype);

                let net = train(&mut driver, net, 0..1, inner, dtype);
                let (values, before) = (net.values(), bytes(&driver, &net));
                let grads = net.grads_from(&spoilt(9, bad), &ALL, inner, dtype);
                let net = match driver.step(net, grads) {
                    Ok((net, report)) => {
                        assert!(skips, "{label}");
                        assert_eq!(report.outcome, Outcome::Skipped);
                        assert_eq!((report.skipped, driver.skipped()), (1, 1));
                        assert_eq!(report.step, 1);
                        let [broken] = &report.non_finite[..] else {
                            panic!("{label}: {report}");
                        };
                        assert_eq!(broken.to_string(), "kernel (1 of 24)");
                        net
                    }
                    Err(error) => {
                        assert!(!skips, "{label}: {error}");
                        let StepCause::NonFinite {
                            gradients,
                            loss: None,
                        } = &error.cause
                        else {
                            panic!("{label}: {error}");
                        };
                        assert_eq!(gradients.len(), 1);
                        assert_eq!(gradients[0].to_string(), "kernel (1 of 24)");
                        let back = error.model.read_grads(&error.grads)[2][5];
                        assert!(back == bad || (back.is_nan() && bad.is_nan()), "{label}");
                        assert!(
                            before == bytes(&driver, &error.model),
                            "{label}: the driver"
                        );
                        error.model
                    }
                };
                assert_eq!(net.values(), values, "{label}: the step");
                assert_eq!(driver.updates(), 1);
                let net = train(&mut driver, net, 1..3, inner, dtype);
                assert_eq!(net.values(), straight.values(), "{label}");
                assert_eq!(state(&driver), state(&spared), "{label}: the state");
                let averages = [(&driver, &net), (&spared, &straight)];
                let [one, two] = averages.map(|(driver, net)| driver.averaged(net).values());
                assert_eq!(one, two, "{label}: the averages");
            }
        });
    });
}

#[test]
fn zero_nan_zeroes_what_is_not_finite_and_nothing_else() {
    for_nan(|on, device, dtype| {
        let inner = &device.device;
        for_rows(device, |label, row, config| {
            for bad in BAD {
                let label = format!("{label} on {on}, {bad}");
                let run = |values: &Values| {
                    let net = Net::new(1, inner, dtype);
                    let mut driver = guarded(config, row.lr, &net, NonFinite::ZeroNan);
                    let grads = net.grads_from(values, &ALL, inner, dtype);
                    let (net, report) = driver.step(net, grads).unwrap();
                    (net.values(), report)
                };
                let (found, report) = run(&spoilt(0, bad));
                let (expected, _) = run(&spoilt(0, 0.0));
                assert_eq!(found, expected, "{label}");
                assert_eq!(report.outcome, Outcome::Updated);
                assert_eq!(report.non_finite[0].to_string(), "kernel (1 of 24)");
                assert_eq!(report.non_finite.len(), 1);
            }
        });
    });
}

#[test]
fn ignore_looks_at_nothing() {
    for_nan(|on, device, dtype| {
        let device = &device.device;
        let ignore = |driver: DriverBuilder| driver.with_non_finite(NonFinite::Ignore);
        let grads = spoilt(0, f64::NAN);
        let (seen, report) = seen(PLAIN[0].1, ignore, &grads, device, dtype);
        assert!(seen[2][5].is_nan(), "{on}");
        assert_eq!(report.outcome, Outcome::Updated);
        assert!(report.grad_norm.is_none(), "nothing asked for it");
        assert!(report.non_finite.is_empty());
    });
}

/// Without a guard, clipping is no worse than none.
#[test]
fn an_infinite_norm_that_is_ignored_scales_nothing() {
    for_all(|on, device, dtype| {
        let inner = &device.device;
        for bad in BAD {
            let with = |driver: DriverBuilder| {
                driver
                    .with_non_finite(NonFinite::Ignore)
                    .with_clipping(Clipping::global_norm(1.0))
            };
            let grads = held(&spoilt(0, bad), inner, dtype);
            let (seen, report) = seen(PLAIN[0].1, with, &grads, inner, dtype);
            assert!(!report.clipped_norm.unwrap().value().is_finite(), "{on}");
            for (seen, grads) in seen[..2].iter().zip(&grads[..2]) {
                assert_same(&format!("{on}, {bad}"), device, seen, grads);
            }
        }
    });
}

#[test]
fn a_loss_that_is_not_finite_is_judged_like_a_gradient() {
    let Some(device) = &exact_device() else {
        return;
    };
    for bad in BAD {
        let step = |non_finite: NonFinite| {
            let net = Net::new(1, device, DType::F32);
            let mut driver = Driver::builder(optim::SgdConfig::new().init(), 0.1)
                .with_non_finite(non_finite)
                .bind(&net)
                .unwrap();
            let grads = net.grads(0, &ALL, device, DType::F32);
            driver.step(net, MicroBatch::new(grads).with_loss(bad))
        };
        let error = step(NonFinite::Error).unwrap_err();
        assert_eq!(error.to_string(), format!("the loss is {bad}"));
        let (_, report) = step(NonFinite::Skip { max_consecutive: 1 }).unwrap();
        assert_eq!(report.outcome, Outcome::Skipped);
        let error = step(NonFinite::Skip { max_consecutive: 0 }).unwrap_err();
        let expected =
            format!("1 updates in a row were not finite (0 may be skipped): the loss is {bad}");
        assert_eq!(error.to_string(), expected);
        for policy in [NonFinite::ZeroNan, NonFinite::Ignore] {
            let (_, report) = step(policy).unwrap();
            assert_eq!(report.outcome, Outcome::Updated);
            let loss = report.loss.unwrap();
            assert!(loss == bad || loss.is_nan() && bad.is_nan());
        }
    }
}

#[test]
fn skips_in_a_row_are_counted_and_a_good_update_starts_over() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let halving = LinearConfig::new(1.0, 0.0, 10).try_build().unwrap();
    let mut driver = Driver::builder(optim::SgdConfig::new().init(), halving)
        .with_non_finite(NonFinite::Skip { max_consecutive: 2 })
        .bind(&net)
        .unwrap();
    let mut net = net;
    for round in 0..3 {
        for skip in 1..=2 {
            let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            assert_eq!(report.outcome, Outcome::Skipped);
            assert_eq!(report.skipped, 2 * round + skip);
        }
        let values = net.values();
        let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
        let error = driver.step(net, grads).unwrap_err();
        assert_eq!(
            error.to_string(),
            "3 updates in a row were not finite (2 may be skipped): gradients are not finite: \
             kernel (1 of 24)"
        );
        net = error.model;
        assert_eq!(net.values(), values);
        let grads = net.grads(0, &ALL, device, DType::F32);
        let report;
        (net, report) = driver.step(net, grads).unwrap();
        assert_eq!(report.outcome, Outcome::Updated);
        // The schedule counts updates.
        assert_eq!(report.learning_rate, 1.0 - 0.1 * round as f64);
        assert_eq!(driver.updates(), round + 1);
    }
    assert_eq!(driver.skipped(), 6);
}

#[test]
fn a_scheduler_of_burns_moves_on_with_updates_only() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(
        optim::SgdConfig::new().init(),
        Rate::scheduler(Counting(0.0)),
    )
    .with_non_finite(NonFinite::Skip { max_consecutive: 9 })
    .with_accumulation(Accumulation::mean(2))
    .bind(&net)
    .unwrap();
    let mut net = net;
    for update in 1..4 {
        for (grads, outcome) in [
            (grad_values(0), Outcome::Accumulated { done: 1, of: 2 }),
            (spoilt(0, f64::NAN), Outcome::Skipped),
            (grad_values(0), Outcome::Updated),
        ] {
            let grads = net.grads_from(&grads, &ALL, device, DType::F32);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            assert_eq!(report.outcome, outcome);
            assert_eq!(report.learning_rate, f64::from(update));
        }
    }
}

/// Each micro-batch is good, and no window's sum is: as many are skipped as may be.
#[test]
fn windows_that_are_lost_in_a_row_are_counted() {
    let Some(device) = exact_device() else {
        return;
    };
    let allowed = 2;
    let mut net = Net::new(1, &device, DType::F32);
    let mut driver = Driver::builder(optim::SgdConfig::new().init(), 1e-3)
        .with_non_finite(NonFinite::Skip {
            max_consecutive: allowed,
        })
        .with_accumulation(Accumulation::sum(2))
        .bind(&net)
        .unwrap();
    let micro_batch = |net: &Net, size: f64| {
        let values = SHAPES.map(|shape| vec![size; shape.iter().product()]);
        net.grads_from(&values, &ALL, &device, DType::F32)
    };
    // A good window in between begins the count anew; a resumed training goes on with it.
    for round in 0..2 {
        for lost in 0..u64::from(allowed) {
            for _ in 0..2 {
                let grads = micro_batch(&net, 3e38);
                (net, _) = driver.step(net, grads).unwrap();
            }
            assert_eq!(driver.skipped(), round * u64::from(allowed) + lost + 1);
        }
        let saved = driver.checkpoint(&net).unwrap();
        net = driver.resume(net, &saved).unwrap();
        let grads = micro_batch(&net, 3e38);
        (net, _) = driver.step(net, grads).unwrap();
        let grads = micro_batch(&net, 3e38);
        let error = driver.step(net, grads).unwrap_err();
        assert!(
            matches!(
                error.cause,
                StepCause::TooManySkips {
                    count: 3,
                    max: 2,
                    ..
                }
            ),
            "{}",
            error.cause
        );
        net = error.model;
        driver.discard_window();
        for _ in 0..2 {
            let grads = micro_batch(&net, 1.0);
            (net, _) = driver.step(net, grads).unwrap();
        }
        assert_eq!(driver.updates(), round + 1);
    }
}
