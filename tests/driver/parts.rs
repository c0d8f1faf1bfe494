//! What a driver is made of.

use super::*;

#[test]
fn what_is_not_finite_is_an_error_unless_another_policy_is_chosen() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(PLAIN[0].1(), 0.1).bind(&net).unwrap();
    let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
    let error = driver.step(net, grads).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gradients are not finite: kernel (1 of 24)"
    );
}

#[test]
fn a_choice_of_parameters_is_what_its_operators_say() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let cases = [
        (Select::all(), vec!["weight", "bias", "kernel"]),
        (Select::path("weight"), vec!["weight"]),
        (Select::path("*e*"), vec!["weight", "kernel"]),
        (
            Select::name("bias") | Select::name("kernel"),
            vec!["bias", "kernel"],
        ),
        (!Select::name("bias"), vec!["weight", "kernel"]),
        (!Select::name("bias") & Select::rank(2..=3), vec!["weight"]),
        (
            Select::custom("large", |info| info.shape.iter().product::<usize>() > 20),
            vec!["kernel"],
        ),
    ];
    for (select, expected) in cases {
        let label = select.to_string();
        let driver = Driver::builder(PLAIN[0].1(), 0.1)
            .with_group(Group::new("chosen", select))
            .bind(&net)
            .unwrap();
        let chosen: Vec<String> = driver
            .parameters()
            .filter(|param| !param.groups.is_empty())
            .map(|param| param.info.path.to_string())
            .collect();
        assert_eq!(chosen, expected, "{label}");
    }
}

/// A state that is there when the driver is bound is gone on from, or refused.
#[test]
fn a_driver_goes_on_with_the_state_that_its_optimizer_has() {
    for device in devices() {
        let inner = &device.device;
        for row in rows_alone_on(&device) {
            let label = format!("{} on {}", row.name, device.name);
            let make = || row.config(&row.configs[0]).try_init().unwrap();
            let mut optim = make();
            let mut other = Net::new(1, inner, DType::F32);
            let mut net = other.clone();
            let mut own = make();
            for t in 0..3 {
                let grads = other.grads(t, &ALL, inner, DType::F32);
                other = optim.step(row.lr, other, grads);
                let grads = net.grads(t, &ALL, inner, DType::F32);
                net = own.step(row.lr, net, grads);
            }
            let loaded = make().from_bytes(own.into_bytes().unwrap()).unwrap();
            let mut driver = Driver::builder(loaded, row.lr).bind(&net).unwrap();
            for t in 3..6 {
                let grads = other.grads(t, &ALL, inner, DType::F32);
                other = optim.step(row.lr, other, grads);
            }
            let net = train(&mut driver, net, 3..6, inner, DType::F32);
            for (found, expected) in net.values().iter().zip(&other.values()) {
                assert_same(&label, &device, found, expected);
            }
            let optim = driver.into_optimizer();
            let sgd_has = |names: Vec<String>| ["", "momentum_buffer"].contains(&&*names.join(" "));
            if !row.state_names().into_iter().any(sgd_has) {
                // The state is another rule's.
                let sgd = optim::SgdConfig::new().with_momentum(0.9).init();
                let loaded = sgd.from_bytes(optim.into_bytes().unwrap()).unwrap();
                let error = Driver::builder(loaded, 0.1).bind(&net).unwrap_err();
                assert!(matches!(error, BindError::State { .. }), "{label}: {error}");
            }
        }
    }
}

#[test]
fn drivers_and_what_they_say_can_go_to_another_thread() {
    fn can_be_sent<T: Send + 'static>() {}
    can_be_sent::<Driver>();
    can_be_sent::<DriverBuilder>();
    can_be_sent::<StepReport>();
    can_be_sent::<StepCause>();
    can_be_sent::<BindError>();
}
