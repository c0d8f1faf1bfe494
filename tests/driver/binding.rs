//! Binding.

use super::*;

fn bind_error(with: impl FnOnce(DriverBuilder) -> DriverBuilder) -> BindError {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let builder = Driver::builder(optim::AdamWConfig::new().init(), 0.1);
    with(builder).bind(&net).unwrap_err()
}

#[test]
fn a_model_that_cannot_be_trained_is_refused() {
    let device = &devices()[0].device;
    let frozen = Net::new(1, device, DType::F32).no_grad();
    let inner = Net::new(1, device, DType::F32).valid();
    for net in [frozen, inner] {
        let error = Driver::builder(optim::SgdConfig::new().init(), 0.1)
            .bind(&net)
            .unwrap_err();
        assert_eq!(error, BindError::Module(ModuleError::Untrainable));
    }
}

#[test]
fn groups_that_are_empty_or_contradict_each_other_are_refused() {
    let error = bind_error(|driver| {
        driver.with_group(Group::new("head", Select::path("head.**")).frozen())
    });
    assert_eq!(
        error.to_string(),
        "no parameter is in the group `head` (path `head.**`); the parameters are weight, bias, kernel"
    );
    let two = |one: fn(Group) -> Group, other: fn(Group) -> Group| {
        [
            one(Group::new("one", Select::rank(1..=2))),
            other(Group::new("two", Select::rank(2..=4))),
        ]
    };
    type Claim = fn(Group) -> Group;
    let claims: [(&str, Claim); 5] = [
        ("the learning rate", |group| {
            group.with_learning_rate_factor(0.5)
        }),
        ("the weight decay", |group| group.with_weight_decay(0.5)),
        ("the momentum", |group| group.with_momentum(0.5)),
        ("freezing", Group::frozen),
        ("the optimizer", |group| {
            group.with_optimizer(optim::SgdConfig::new().build())
        }),
    ];
    for (i, (what, one)) in claims.iter().enumerate() {
        for (j, (_, other)) in claims.iter().enumerate() {
            let net = Net::new(1, &devices()[0].device, DType::F32);
            let bound = Driver::builder(optim::AdamWConfig::new().init(), 0.1)
                .with_groups(two(*one, *other))
                .bind(&net);
            match (i == j, bound) {
                (true, Err(error)) => {
                    let expected = GroupError::Overlap {
                        first: "one".into(),
                        second: "two".into(),
                        what: what.to_string(),
                        path: "weight".into(),
                    };
                    assert_eq!(error, BindError::Group(expected));
                }
                (true, Ok(_)) => panic!("two groups that set {what}"),
                // Plain gradient descent has no momentum.
                (false, Err(BindError::NotDriven { .. })) => {}
                (false, Err(error)) => panic!("{error}"),
                (false, Ok(_)) => {}
            }
        }
    }
    let both = |group: Group| group.with_learning_rate_factor(0.5).with_learning_rate(0.1);
    let error =
        bind_error(|driver| driver.with_groups(two(both, |group| group.with_learning_rate(1.0))));
    assert!(
        error.to_string().contains("about the learning rate of"),
        "{error}"
    );
    let error = bind_error(|driver| {
        driver.with_groups([
            Group::new("a", Select::all()),
            Group::new("a", Select::all()),
        ])
    });
    assert_eq!(error.to_string(), "two groups have the name `a`");
}

#[test]
fn settings_outside_their_range_are_refused_when_the_driver_is_bound() {
    let device = &devices()[0].device;
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
    let group = || Group::new("kernel", Select::name("kernel"));
    type With = Box<dyn Fn(DriverBuilder, f64) -> DriverBuilder>;
    let settings: Vec<(&str, With, &[f64])> = vec![
        ("weight decay", Box::new(|d, x| d.with_weight_decay(x)), &[]),
        ("momentum", Box::new(|d, x| d.with_momentum(x)), &[1.0]),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::global_norm(x))),
            &[0.0],
        ),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::tensor_norm(x))),
            &[0.0],
        ),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::value(x))),
            &[0.0],
        ),
        (
            "ratio of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::adaptive(x))),
            &[0.0],
        ),
        (
            "decay of the average",
            Box::new(|d, x| d.with_averaging(Averaging::ema(x))),
            &[1.0],
        ),
        (
            "learning rate factor of a group",
            Box::new(move |d, x| d.with_group(group().with_learning_rate_factor(x))),
            &[],
        ),
        (
            "learning rate of a group",
            Box::new(move |d, x| d.with_group(group().with_learning_rate(x))),
            &[],
        ),
        (
            "weight decay of a group",
            Box::new(move |d, x| d.with_group(group().with_weight_decay(x))),
            &[],
        ),
        (
            "momentum of a group",
            Box::new(move |d, x| d.with_group(group().with_momentum(x))),
            &[1.0],
        ),
    ];
    for (name, with, more) in &settings {
        for &value in odd.iter().chain(*more) {
            let error = bind_error(|driver| with(driver, value)).to_string();
            assert!(error.contains(&format!("`{name}` must be ")), "{error}");
            assert!(error.ends_with(&format!("got {value}")), "{error}");
        }
    }
    for rate in odd {
        let net = Net::new(1, device, DType::F32);
        let builder = Driver::builder(optim::SgdConfig::new().init(), rate);
        let error = builder.bind(&net).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`learning rate` must be finite and at least 0, got {rate}")
        );
    }
    for (name, error) in [
        (
            "micro-batches of an update",
            bind_error(|d| d.with_accumulation(Accumulation::mean(0))),
        ),
        (
            "micro-batches of an update",
            bind_error(|d| d.with_accumulation(Accumulation::sum(0))),
        ),
        (
            "cadence of the update ratios",
            bind_error(|d| d.with_update_ratios(0)),
        ),
        (
            "cadence of the average",
            bind_error(|d| d.with_averaging(Averaging::mean().with_every(0))),
        ),
    ] {
        assert_eq!(
            error.to_string(),
            format!("`{name}` must be finite and above 0, got 0")
        );
    }
}

/// Whatever goes bad on the way: the step at which it does is an error, and changes nothing.
#[test]
fn a_schedule_that_leaves_its_range_is_an_error_at_that_step() {
    let device = &devices()[0].device;
    let bad = |good: f64, bad: f64| {
        let value = move |step| if step < 2 { good } else { bad };
        ScheduleConfig::custom("turning", value)
            .try_build()
            .unwrap()
    };
    let group = || Group::new("kernel", Select::name("kernel"));
    let rate = |of_rest: f64, of_bias: f64| {
        #[derive(Clone)]
        struct Turning(u32, f64);
        impl LrScheduler for Turning {
            fn step(&mut self) -> f64 {
                self.0 += 1;
                if self.0 > 2 { self.1 } else { 0.1 }
            }
            fn to_record(&self) -> LrSchedulerRecord {
                LrSchedulerRecord::new()
            }
            fn load_record(&mut self, _: LrSchedulerRecord) {}
        }
        let scheduler = ModuleLrScheduler::new(Turning(0, of_rest));
        scheduler.with_group(ParamGroup::from_path("bias"), Turning(0, of_bias))
    };
    let start = || Driver::builder(optim::AdamWConfig::new().init(), 0.1);
    let turning = |rate: Rate| Driver::builder(optim::AdamWConfig::new().init(), rate);
    for value in [f64::NAN, f64::INFINITY, -0.5] {
        let drivers = [
            ("learning rate", turning(bad(0.1, value).into())),
            ("learning rate", turning(rate(value, 0.1).into())),
            ("learning rate", turning(rate(0.1, value).into())),
            ("weight decay", start().with_weight_decay(bad(0.1, value))),
            ("momentum", start().with_momentum(bad(0.1, value))),
            (
                "threshold of the clipping",
                start().with_clipping(Clipping::global_norm(bad(0.1, value))),
            ),
            (
                "ratio of the clipping",
                start().with_clipping(Clipping::adaptive(bad(0.1, value))),
            ),
            (
                "learning rate of a group",
                start().with_group(group().with_learning_rate(bad(0.1, value))),
            ),
            (
                "weight decay of a group",
                start().with_group(group().with_weight_decay(bad(0.1, value))),
            ),
            (
                "momentum of a group",
                start().with_group(group().with_momentum(bad(0.1, value))),
            ),
        ];
        for (name, builder) in drivers {
            let net = Net::new(1, device, DType::F32);
            let mut driver = builder
                .with_averaging(Averaging::ema(0.5))
                .bind(&net)
                .unwrap();
            let net = train(&mut driver, net, 0..2, device, DType::F32);
            let (values, before) = (net.values(), bytes(&driver, &net));
            let grads = net.grads(2, &ALL, device, DType::F32);
            let error = driver.step(net, grads).unwrap_err();
            let StepCause::Setting {
                step: 2,
                error: odd,
            } = &error.cause
            else {
                panic!("{name}: {error}");
            };
            assert_eq!(odd.setting, name);
            assert!(odd.value == value || odd.value.is_nan() && value.is_nan());
            assert_eq!(error.model.values(), values, "{name}");
            assert!(before == bytes(&driver, &error.model), "{name}");
        }
    }
}

#[test]
fn an_optimizer_that_cannot_step_a_parameter_is_refused_with_its_path() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let muon = || burn::optim::MuonConfig::new().init();
    let error = Driver::builder(muon(), 0.1).bind(&net).unwrap_err();
    let BindError::Refused { path, reason } = &error else {
        panic!("{error}");
    };
    assert_eq!(*path, "bias");
    assert!(!reason.is_empty());
    // In a group of matrices it is welcome.
    let group = Group::new("matrices", Select::rank(2..=2))
        .with_optimizer(burn::optim::MuonConfig::new().build());
    let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.01)
        .with_group(group)
        .bind(&net)
        .unwrap();
    train(&mut driver, net, 0..2, device, DType::F32);
    let names: Vec<Option<&str>> = driver
        .parameters()
        .map(|param| param.optimizer.map(|identity| identity.name.as_str()))
        .collect();
    assert_eq!(names, [None, Some("adamw"), Some("adamw")]);
}

#[test]
fn a_setting_that_an_optimizer_does_not_have_cannot_be_driven() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    type With = fn(DriverBuilder) -> DriverBuilder;
    type Case<'a> = (&'a str, &'a str, Make, With);
    let cases: [Case; 4] = [
        ("weight decay", "weight", BURN[0].1, |driver| {
            driver.with_weight_decay(0.1)
        }),
        ("momentum", "weight", BURN[0].1, |driver| {
            driver.with_momentum(0.1)
        }),
        ("momentum", "weight", PLAIN[0].1, |driver| {
            driver.with_momentum(0.1)
        }),
        ("weight decay", "bias", BURN[0].1, |driver| {
            driver.with_group(Group::no_decay())
        }),
    ];
    for (what, path, make, with) in cases {
        let error = with(Driver::builder(make(), 0.1)).bind(&net).unwrap_err();
        let (path, what) = (path.into(), what.to_string());
        assert_eq!(error, BindError::NotDriven { path, what });
    }
    // What stays as it is needs no setting: only the bias has an optimizer with a momentum.
    let momentum = optim::SgdConfig::new().with_momentum(0.9).build();
    let momentum = Group::new("bias", Select::name("bias")).with_optimizer(momentum);
    let rest = || Group::new("rest", !Select::name("bias"));
    let driven = |rest: Group| {
        let driver = Driver::builder(PLAIN[0].1(), 0.1).with_momentum(0.5);
        driver
            .with_group(momentum.clone())
            .with_group(rest)
            .bind(&net)
    };
    assert!(driven(rest()).is_err());
    assert!(driven(rest().frozen()).is_ok());
}

#[test]
fn a_name_that_is_given_is_that_of_optimizers_without_one() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let driver = Driver::builder(burn::optim::SgdConfig::new().init(), 0.1)
        .with_identity(Identity::new("burn_sgd", "{}"))
        .with_group(
            Group::new("bias", Select::name("bias"))
                .with_optimizer(optim::SgdConfig::new().build()),
        )
        .bind(&net)
        .unwrap();
    let names: Vec<&str> = driver
        .parameters()
        .map(|param| param.optimizer.unwrap().name.as_str())
        .collect();
    assert_eq!(names, ["burn_sgd", "sgd", "burn_sgd"]);
    let groups: Vec<usize> = driver
        .parameters()
        .map(|param| param.groups.len())
        .collect();
    assert_eq!(groups, [0, 1, 0]);
}

/// An optimizer of a user's own that steps one of this library's so many times.
#[derive(Clone)]
struct Times(optim::RuleOptimizer, usize);

impl burn::optim::Optimizer for Times {
    type State<const D: usize> = optim::RuleState;

    fn step<const D: usize>(
        &self,
        lr: f64,
        mut tensor: Tensor<D>,
        grad: Tensor<D>,
        mut state: Option<optim::RuleState>,
    ) -> (Tensor<D>, Option<optim::RuleState>) {
        for _ in 0..self.1 {
            (tensor, state) = self.0.step(lr, tensor, grad.clone(), state);
        }
        (tensor, state)
    }

    fn to_device<const D: usize>(state: optim::RuleState, device: &Device) -> optim::RuleState {
        <optim::RuleOptimizer as burn::optim::Optimizer>::to_device::<D>(state, device)
    }
}

#[test]
fn an_optimizer_around_one_of_this_library_is_stepped_as_often_as_it_steps() {
    for_all(|label, device, dtype| {
        let net = Net::new(1, &device.device, dtype);
        let grads = || net.grads(0, &ALL, &device.device, dtype);
        for times in 0..4 {
            for clipped in [false, true] {
                for grouped in [false, true] {
                    let inner = optim::SgdConfig::new().build();
                    let mut driver = Driver::builder(Times(inner.clone(), times), 0.25);
                    if clipped {
                        driver = driver.with_clipping(Clipping::global_norm(0.5));
                    }
                    if grouped {
                        // The same optimizer directly, beside it.
                        let group = Group::new("bias", Select::name("bias"));
                        let group = group.with_optimizer(inner).with_weight_decay(0.5);
                        driver = driver.with_group(group);
                    }
                    let mut driver = driver.bind(&net).unwrap();
                    let (stepped, report) = driver.step(net.clone(), grads()).unwrap();
                    assert_eq!(report.updated, 3);

                    // The same by hand.
                    let mut expected = net.clone();
                    let norm = report.grad_norm.as_ref().map_or(1.0, |norm| norm.value());
                    let factor = if clipped { (0.5 / norm).min(1.0) } else { 1.0 };
                    for _ in 0..times {
                        let values = scaled(&grad_values(0), factor);
                        let grads = expected.grads_from(&values, &ALL, &device.device, dtype);
                        expected = optim::SgdConfig::new().init().step(0.25, expected, grads);
                    }
                    let indices: &[usize] = if grouped { &[0, 2] } else { &ALL };
                    for &index in indices {
                        let (found, expected) =
                            (&stepped.values()[index], &expected.values()[index]);
                        let tolerance = 8.0 * rounding(device, dtype);
                        assert_close(label, found, expected, tolerance, tolerance);
                    }
                    // And nothing is left over for the next driver.
                    let mut plain = Driver::builder(optim::SgdConfig::new().init(), 0.25);
                    plain = plain.with_non_finite(NonFinite::Ignore);
                    let (moved, _) = plain
                        .bind(&net)
                        .unwrap()
                        .step(net.clone(), grads())
                        .unwrap();
                    assert_ne!(moved.values(), net.values(), "{label}");
                }
            }
        }
    });
}

#[test]
fn what_burn_chooses_by_id_is_not_lost_when_the_ids_change() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let same = Net::new(2, device, DType::F32);
    let by_id = || ParamGroup::from_ids(vec![net.weight.id]);
    let by_path = || ParamGroup::from_path("weight");
    let momentum = optim::SgdConfig::new().with_momentum(0.9).build();
    let nameless = || {
        optim::RuleOptimizer::new(optim::Sgd {
            momentum: 0.5,
            ..optim::Sgd::default()
        })
    };
    let theirs = || burn::optim::SgdConfig::new().init();
    type Build<'a> = Box<dyn Fn(ParamGroup) -> DriverBuilder + 'a>;
    let builds: [(&str, Build); 5] = [
        (
            "learning rate",
            Box::new(|group| {
                let rates = ModuleLrScheduler::new(0.1).with_group(group, 0.0);
                Driver::builder(optim::SgdConfig::new().init(), rates)
            }),
        ),
        (
            "optimizer",
            Box::new(|group| {
                let plain = optim::SgdConfig::new().init();
                Driver::builder(plain.with_group(group, momentum.clone(), None), 0.1)
            }),
        ),
        (
            "optimizer",
            Box::new(|group| {
                let base: ModuleOptimizer = nameless().into();
                Driver::builder(base.with_group(group, nameless(), None), 0.1)
            }),
        ),
        (
            "optimizer",
            Box::new(|group| {
                Driver::builder(theirs().with_group(group, momentum.clone(), None), 0.1)
            }),
        ),
        (
            "optimizer",
            Box::new(|group| Driver::builder(theirs().with_group(group, Twice, None), 0.1)),
        ),
    ];
    for (at, (what, build)) in builds.iter().enumerate() {
        for steps in [0, 2] {
            let mut driver = build(by_id()).bind(&net).unwrap();
            let mut trained = net.clone();
            for t in 0..steps {
                let grads = trained.grads(t, &ALL, device, DType::F32);
                (trained, _) = driver.step(trained, grads).unwrap();
            }
            let before = bytes(&driver, &trained);
            let error = driver.rebind(&same).unwrap_err();
            let lost = match error {
                BindError::ChosenById { ref path, what } => Some((&**path, what)),
                // A state says so too.
                BindError::State { ref path, .. } if steps > 0 => Some((&**path, "optimizer")),
                _ => None,
            };
            assert_eq!(lost, Some(("weight", *what)), "{at}: {error}");
            assert!(before == bytes(&driver, &trained), "{at}");

            let mut driver = build(by_path()).bind(&net).unwrap();
            let mut trained = net.clone();
            for t in 0..steps {
                let grads = trained.grads(t, &ALL, device, DType::F32);
                (trained, _) = driver.step(trained, grads).unwrap();
            }
            driver.rebind(&same).unwrap();
        }
    }
}

/// Gradient descent of a user's own.
#[derive(Clone)]
struct Twice;

impl burn::optim::Optimizer for Twice {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        _: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        (tensor - grad * (2.0 * lr), None)
    }

    fn to_device<const D: usize>(_: (), _: &Device) {}
}
