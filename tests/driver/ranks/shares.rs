//! Ranks that each keep the optimizer's state of a share of the parameters.

use burn::nn::LinearLayout;
use downhill::train::exchange::Message;
use downhill::train::{ExchangeError, OptimizerStates};

use super::*;

/// Some steps of each rank: the net, its bits and the driver's, the reports, and the rank's own states.
struct End {
    values: Values,
    bytes: Vec<u8>,
    reports: Vec<String>,
    evaluated: Values,
    states: OptimizerStates,
}

fn train(
    size: usize,
    dtype: DType,
    of: &[usize],
    build: impl Fn() -> DriverBuilder + Sync,
) -> Vec<End> {
    let start = Net::new(7, &flex(), dtype);
    on_each(size, |rank, exchange| {
        let mut net = start.clone();
        let mut driver = build().with_exchange(exchange).bind(&net).unwrap();
        let mut reports = Vec::new();
        for t in 0..4 {
            let of = if t == 1 { of } else { &ALL };
            let grads = net.grads_from(&gradient(t, rank), of, &flex(), dtype);
            let batch = MicroBatch::new(grads)
                .with_samples(samples(t, rank))
                .with_loss(loss(t, rank));
            let report;
            (net, report) = driver.step(net, batch).unwrap();
            reports.push(report.to_string());
        }
        End {
            values: net.values(),
            bytes: bytes(&driver, &net),
            reports,
            evaluated: driver.evaluated(&net).values(),
            states: driver.states().unwrap(),
        }
    })
}

/// The same with shares and without: bit for bit, on each rank.
fn compare(
    label: &str,
    size: usize,
    dtype: DType,
    build: impl Fn() -> DriverBuilder + Sync,
) -> Vec<End> {
    // At one of the steps a parameter has no gradient.
    let whole = train(size, dtype, &[0, 2], &build);
    let shared = train(size, dtype, &[0, 2], || build().with_sharded_state());
    for shared in &shared {
        assert_eq!(shared.values, whole[0].values, "{label}");
        assert_eq!(shared.reports, whole[0].reports, "{label}");
        assert_eq!(shared.evaluated, whole[0].evaluated, "{label}");
        assert!(
            shared.bytes == whole[0].bytes,
            "{label}: another checkpoint"
        );
    }
    // Each state is on one rank, and is that of before.
    let mut joined: Vec<_> = shared.iter().flat_map(|end| end.states.iter()).collect();
    joined.sort_by_key(|(path, _)| path.to_string());
    let all: Vec<_> = whole[0].states.iter().collect();
    assert_eq!(joined, all, "{label}");
    shared
}

#[test]
fn shares_come_to_the_same_bits_as_wholes() {
    let configs = CONFIGS.iter().filter(|json| !json.contains("prodigy"));
    let others = [
        r#"{"name": "schedule_free_adamw"}"#,
        r#"{"name": "asgd"}"#,
        r#"{"name": "shampoo"}"#,
    ];
    for json in configs.chain(&others).filter(|json| !json.contains("momo")) {
        for (size, windows) in [(2, None), (3, Some(2))] {
            compare(json, size, DType::F32, || clipped(json, windows));
        }
    }
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        compare(&format!("{dtype:?}"), 2, dtype, || {
            clipped(CONFIGS[1], None)
        });
    }
}

#[test]
fn shares_follow_groups_driven_settings_and_optimizers_of_burns() {
    let decays = LinearConfig::new(0.2, 0.0, 4).try_build().unwrap();
    compare("groups", 2, DType::F32, || {
        Driver::builder(optimizer(CONFIGS[1]), 0.02)
            .with_weight_decay(decays.clone())
            .with_update_ratios(1)
            .with_group(
                Group::new("bias", Select::path("bias"))
                    .with_weight_decay(0.0)
                    .with_learning_rate(0.1),
            )
            .with_group(Group::new("kernel", Select::path("kernel")).with_driven("beta_1", 0.5))
    });
    for (name, make) in BURN {
        compare(name, 2, DType::F32, || {
            Driver::builder(make(), 0.02).with_clipping(Clipping::global_norm(1.0))
        });
    }
    let mechanic = downhill::train::Mechanic::new;
    compare("mechanic", 2, DType::F32, || {
        Driver::builder(optim::AdamConfig::new().init(), 1.0).with_mechanic(mechanic())
    });
}

/// The kernel has 24 elements, the weight 12 and the bias 3.
#[test]
fn the_largest_comes_first_and_the_rank_with_least_gets_the_next() {
    let paths = |size| -> Vec<Vec<String>> {
        let ends = compare("paths", size, DType::F32, || clipped(CONFIGS[1], None));
        let paths = |end: &End| {
            end.states
                .iter()
                .map(|(path, _)| path.to_string())
                .collect()
        };
        ends.iter().map(paths).collect()
    };
    assert_eq!(paths(2), [vec!["kernel"], vec!["bias", "weight"]]);
    assert_eq!(paths(3), [["kernel"], ["weight"], ["bias"]]);
    let [one, two, three, none] = <[_; 4]>::try_from(paths(4)).unwrap();
    assert_eq!([one, two, three], [["kernel"], ["weight"], ["bias"]]);
    assert!(none.is_empty());
}

/// What lies in memory in another way goes on doing so on the ranks that are told, or products would round otherwise.
#[test]
fn a_column_major_layer_lies_as_it_did() {
    let device = flex().autodiff();
    let linear = nn::LinearConfig::new(5, 3).with_layout(LinearLayout::Col);
    let start: nn::Linear = linear.init(&device);
    let start = &start;
    let run = |sharded: bool| {
        on_each(2, |rank, exchange| {
            let mut model = start.clone();
            let mut builder = Driver::builder(optim::AdamWConfig::new().init(), 0.1);
            if sharded {
                builder = builder.with_sharded_state();
            }
            let mut driver = builder.with_exchange(exchange).bind(&model).unwrap();
            for t in 0..3 {
                let input = make::<2>(10 * t + rank, &[4, 5], &model.weight.device(), DType::F32);
                let loss = model.forward(input).square().mean();
                let grads = GradientsParams::from_grads(loss.backward(), &model);
                (model, _) = driver.step(model, grads).unwrap();
            }
            let checkpoint = driver.checkpoint(&model).unwrap();
            let orders = checkpoint.header().parameters.iter();
            let orders: Vec<_> = orders.map(|entry| entry.memory_order.clone()).collect();
            (
                orders,
                model.weight.val().into_data(),
                checkpoint.to_bytes().unwrap(),
            )
        })
    };
    let (whole, shared) = (run(false), run(true));
    for shared in &shared {
        assert_eq!(shared.0, whole[0].0);
        assert_eq!(shared.1, whole[0].1);
        assert!(shared.2 == whole[0].2);
    }
}

#[test]
fn ranks_go_on_from_one_checkpoint_however_many_they_are() {
    let start = Net::new(7, &flex(), DType::F32);
    let train = |saved: Option<&Vec<u8>>, size, sharded| {
        on_each(size, |rank, exchange| {
            let mut builder = clipped(CONFIGS[1], None).with_exchange(exchange);
            if sharded {
                builder = builder.with_sharded_state();
            }
            let mut net = start.clone();
            let mut driver = builder.bind(&net).unwrap();
            if let Some(saved) = saved {
                let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();
                net = driver.resume(net, &checkpoint).unwrap();
            }
            for t in 0..3 {
                let batch = batch(&net, t, rank, DType::F32);
                (net, _) = driver.step(net, batch).unwrap();
            }
            bytes(&driver, &net)
        })
    };
    let saved = train(None, 2, true);
    for size in 1..=4 {
        let shared = train(Some(&saved[0]), size, true);
        let whole = train(Some(&saved[0]), size, false);
        assert!(
            shared.iter().chain(&whole).all(|end| *end == shared[0]),
            "{size} ranks"
        );
    }
}

#[test]
fn what_does_not_go_with_shares_is_refused() {
    let start = Net::new(7, &flex(), DType::F32);
    let error = |builder: DriverBuilder| {
        let bound = builder.with_sharded_state().bind(&start);
        bound.map(|_| ()).unwrap_err().to_string()
    };
    let exchange = || Threads::of(1).remove(0);
    assert_eq!(
        error(clipped(CONFIGS[1], None)),
        "sharded states are for several ranks: see `with_exchange`"
    );
    let prodigy = clipped(r#"{"name": "prodigy"}"#, None);
    assert_eq!(
        error(prodigy.with_exchange(exchange())),
        "sharded states cannot be used together with an optimizer that looks at the whole model"
    );
    let local = clipped(CONFIGS[1], None).with_local_updates(LocalUpdates::new(3));
    assert_eq!(
        error(local.with_exchange(exchange())),
        "sharded states cannot be used together with local updates"
    );
    let differ = on_each(2, |rank, exchange| {
        let mut builder = clipped(CONFIGS[1], None).with_exchange(exchange);
        if rank == 1 {
            builder = builder.with_sharded_state();
        }
        builder.bind(&start).map(|_| ()).unwrap_err().to_string()
    });
    assert_eq!(
        differ[0],
        "rank 1 differs in whether states are sharded: it has true, and this rank false"
    );
}

/// A rank that leaves between the gradients and the parameters. The others keep their part of the step, and say so.
#[test]
fn a_rank_that_leaves_before_it_tells_its_share_is_an_error() {
    /// Gives up after so many rounds.
    struct Short(Option<Threads>, usize);
    impl Exchange for Short {
        fn rank(&self) -> usize {
            1
        }
        fn size(&self) -> usize {
            2
        }
        fn sent(&self) -> u64 {
            0
        }
        fn all_to_all(&mut self, messages: Vec<Message>) -> Result<Vec<Message>, ExchangeError> {
            if self.1 == 0 {
                self.0 = None;
                return Err(ExchangeError::Lost { rank: 0 });
            }
            self.1 -= 1;
            self.0.as_mut().unwrap().all_to_all(messages)
        }
    }
    let start = Net::new(7, &flex(), DType::F32);
    // What binding and the gradients of a step take.
    let rounds = 1 + 4;
    let causes = on_each(2, |rank, exchange| {
        let builder = clipped(CONFIGS[1], None).with_sharded_state();
        let builder = match rank {
            1 => builder.with_exchange(Short(Some(exchange), rounds)),
            _ => builder.with_exchange(exchange),
        };
        let mut driver = builder.bind(&start).unwrap();
        let batch = batch(&start, 0, rank, DType::F32);
        let error = driver.step(start.clone(), batch).unwrap_err();
        // Rank 0 has the kernel.
        let moved: Vec<bool> = (error.model.values().iter())
            .zip(&start.values())
            .map(|(now, before)| now != before)
            .collect();
        assert_eq!(driver.updates(), 0);
        (error.cause, moved)
    });
    let lost = |rank| StepCause::Exchange(ExchangeError::Lost { rank });
    assert_eq!(causes[0], (lost(1), vec![false, false, true]));
    assert_eq!(causes[1], (lost(0), vec![true, true, false]));
}
