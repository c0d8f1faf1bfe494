//! What one rank refuses, or has otherwise.

use downhill::train::{ExchangeError, Sam};

use super::*;

#[test]
fn what_is_not_finite_on_one_rank_is_judged_by_all() {
    for bad in BAD {
        let start = Net::from_values(&zeros(), &flex(), DType::F32);
        let run = |non_finite| {
            on_each(2, |rank, exchange| {
                let net = start.clone();
                let mut driver = plain(non_finite)
                    .with_exchange(exchange)
                    .bind(&net)
                    .unwrap();
                let grads = match rank {
                    1 => spoilt(0, bad),
                    _ => grad_values(0),
                };
                let grads = net.grads_from(&grads, &ALL, &flex(), DType::F32);
                let stepped = driver.step(net, grads).map_err(|error| error.into_cause());
                let (net, first) = stepped?;
                // They go on together.
                let grads = net.grads(1, &ALL, &flex(), DType::F32);
                let (net, second) = driver.step(net, grads).unwrap();
                Ok((first, second, net.values()))
            })
        };
        let refused: Vec<Result<(StepReport, StepReport, Values), StepCause>> =
            run(NonFinite::Error);
        for cause in refused {
            let cause = cause.unwrap_err();
            let StepCause::NonFinite { gradients, .. } = &cause else {
                panic!("{bad}: {cause}");
            };
            assert_eq!(gradients[0].path.to_string(), "kernel");
            assert_eq!(gradients[0].elements, 1);
        }
        let skipped = run(NonFinite::Skip { max_consecutive: 1 });
        let expected = negated(grad_values(1));
        for rank in &skipped {
            let (first, second, values) = rank.as_ref().unwrap();
            assert_eq!(
                (first.outcome, second.outcome),
                (Outcome::Skipped, Outcome::Updated)
            );
            assert_eq!(first.skipped, 1);
            for (found, expected) in values.iter().zip(&expected) {
                assert_close("after a skipped one", found, expected, 1e-6, 1e-6);
            }
        }
        let zeroed = run(NonFinite::ZeroNan);
        let (first, _, values) = zeroed[0].as_ref().unwrap();
        assert_eq!(first.outcome, Outcome::Updated);
        assert_eq!(first.non_finite.len(), 1);
        assert!(values.iter().flatten().all(|x| x.is_finite()));
        assert_eq!(zeroed[0].as_ref().unwrap().2, zeroed[1].as_ref().unwrap().2);
    }
}

/// A loss that is not finite counts too, and a sum that overflows although every gradient is finite.
#[test]
fn a_loss_or_a_sum_that_is_not_finite_is_refused_by_all() {
    let start = Net::from_values(&zeros(), &flex(), DType::F32);
    let causes = on_each(2, |rank, exchange| {
        let mut driver = plain(NonFinite::Error)
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let grads = start.grads(0, &ALL, &flex(), DType::F32);
        let loss = if rank == 0 { f64::NAN } else { 1.0 };
        let of_loss = driver.step(start.clone(), MicroBatch::new(grads).with_loss(loss));
        let of_loss = of_loss.unwrap_err().into_cause();
        let large = scaled(&grad_values(0), 3e38);
        let grads = start.grads_from(&large, &ALL, &flex(), DType::F32);
        let batch = MicroBatch::new(grads).with_samples(4);
        [
            of_loss,
            driver.step(start.clone(), batch).unwrap_err().into_cause(),
        ]
    });
    for [of_loss, of_sum] in causes {
        assert!(of_loss.to_string().contains("the loss is NaN"), "{of_loss}");
        assert!(matches!(of_sum, StepCause::NonFinite { .. }), "{of_sum}");
    }
}

#[test]
fn what_one_rank_refuses_is_an_error_on_each_and_changes_nothing() {
    let start = Net::new(7, &flex(), DType::F32);
    let messages = on_each(3, |rank, exchange| {
        let mut net = start.clone();
        let mut driver = plain(NonFinite::Error)
            .with_accumulation(Accumulation::mean(2))
            .with_exchange(exchange)
            .bind(&net)
            .unwrap();
        let before = bytes(&driver, &net);
        let mut messages = Vec::new();
        let wrong: [&dyn Fn(&Net) -> MicroBatch; 3] = [
            &|net| net.grads(0, &[0, 2], &flex(), DType::F32).into(),
            &|net| {
                let grads = net.grads(0, &ALL, &flex(), DType::F32);
                MicroBatch::new(grads).with_samples(0)
            },
            &|net| {
                let mut grads = net.grads(0, &[0, 2], &flex(), DType::F32);
                grads.register(net.bias.id, make::<1>(0, &[4], &flex(), DType::F32));
                grads.into()
            },
        ];
        for wrong in wrong {
            let good = net.grads(0, &ALL, &flex(), DType::F32).into();
            let batch = if rank == 1 { wrong(&net) } else { good };
            let error = driver.step(net, batch).unwrap_err();
            net = error.model;
            messages.push(error.cause.to_string());
            assert_eq!(bytes(&driver, &net), before);
        }
        // One that flushes where the others step is at another place.
        let grads = net.grads(0, &ALL, &flex(), DType::F32);
        (net, _) = driver.step(net, grads).unwrap();
        let before = bytes(&driver, &net);
        let error = match rank {
            1 => driver.flush(net).map(|_| ()).unwrap_err(),
            _ => {
                let grads = net.grads(1, &ALL, &flex(), DType::F32);
                driver.step(net, grads).map(|_| ()).unwrap_err()
            }
        };
        assert_eq!(bytes(&driver, &error.model), before);
        messages.push(error.cause.to_string());
        messages
    });
    let [first, second, third] = messages.try_into().unwrap();
    assert_eq!(first, third);
    assert_eq!(
        first[0],
        "rank 1 does not make this step: there `bias` has no gradient, and on this rank it has a gradient"
    );
    assert_eq!(
        second[0],
        "rank 0 does not make this step: there `bias` has a gradient, and on this rank it has no gradient"
    );
    assert_eq!(
        first[1],
        format!("rank 1 does not make this step: {}", second[1])
    );
    assert!(second[2].contains("has the shape [4]"), "{}", second[2]);
    assert_eq!(
        first[2],
        format!("rank 1 does not make this step: {}", second[2])
    );
    assert!(first[3].contains("flushing"), "{}", first[3]);
}

#[test]
fn ranks_that_differ_are_told_in_what_before_the_first_step() {
    type Change = fn(DriverBuilder, &mut Net) -> DriverBuilder;
    let changes: [(Change, &str); 5] = [
        (
            |builder, net| {
                let values = net.bias.val().inner().add_scalar(1.0);
                net.bias = Param::from_tensor(values);
                builder
            },
            "`bias`",
        ),
        (
            |builder, _| builder.with_clipping(Clipping::global_norm(2.0)),
            "clipping",
        ),
        (
            |builder, _| builder.with_accumulation(Accumulation::mean(2)),
            "accumulation",
        ),
        (
            |_, _| Driver::builder(optim::SgdConfig::new().with_momentum(0.5).init(), 1.0),
            "`weight`",
        ),
        (
            |_, _| Driver::builder(optim::SgdConfig::new().init(), 0.5),
            "the learning rate",
        ),
    ];
    for (change, what) in changes {
        let start = Net::new(7, &flex(), DType::F32);
        let errors = on_each(3, |rank, exchange| {
            let mut net = start.clone();
            let mut builder = plain(NonFinite::Error);
            if rank == 2 {
                builder = change(builder, &mut net);
            }
            builder
                .with_exchange(exchange)
                .bind(&net)
                .map(|_| ())
                .unwrap_err()
        });
        for (rank, error) in errors.into_iter().enumerate() {
            let other = if rank == 2 { 0 } else { 2 };
            let message = error.to_string();
            let start = format!("rank {other} differs in {what}: it has ");
            assert!(message.starts_with(&start), "{message}");
        }
    }
}

/// What is changed on the way has to be changed on all.
#[test]
fn a_rate_that_is_changed_on_one_rank_is_refused_by_all() {
    let start = Net::new(7, &flex(), DType::F32);
    let messages = on_each(2, |rank, exchange| {
        let mut driver = plain(NonFinite::Error)
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let grads = || start.grads(0, &ALL, &flex(), DType::F32);
        if rank == 1 {
            driver.set_learning_rate(0.5).unwrap();
        }
        let error = driver.step(start.clone(), grads()).unwrap_err();
        assert_eq!(error.model.values(), start.values());
        driver.set_learning_rate(0.25).unwrap();
        driver.step(start.clone(), grads()).unwrap();
        error.cause.to_string()
    });
    assert_eq!(
        messages[0],
        "rank 1 does not make this step: its learning rate is 0.5, and that of this rank 1"
    );
}

#[test]
fn a_rank_that_leaves_is_an_error_and_no_wait() {
    let start = Net::new(7, &flex(), DType::F32);
    let causes = on_each(3, |rank, exchange| {
        let mut driver = plain(NonFinite::Error)
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        if rank == 1 {
            return None;
        }
        let before = bytes(&driver, &start);
        let grads = start.grads(0, &ALL, &flex(), DType::F32);
        let error = driver.step(start.clone(), grads).unwrap_err();
        assert_eq!(bytes(&driver, &error.model), before);
        assert_eq!(start.read_grads(&error.grads), grad_values(0));
        Some(error.into_cause())
    });
    let lost = Some(StepCause::Exchange(ExchangeError::Lost { rank: 1 }));
    assert_eq!(causes, [lost.clone(), None, lost]);
}

#[test]
fn sam_is_refused_with_several_ranks() {
    let start = Net::new(7, &flex(), DType::F32);
    let exchange = Threads::of(1).remove(0);
    let error = plain(NonFinite::Error)
        .with_sam(Sam::new(0.05))
        .with_exchange(exchange)
        .bind(&start)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "SAM cannot be used together with several ranks"
    );
}
