//! What is changed about a driver in the middle.

use super::*;

fn bound(net: &Net) -> Driver {
    let builder = Driver::builder(optim::AdamConfig::new().init(), 0.1);
    let clipped = builder.with_clipping(Clipping::global_norm(0.5));
    clipped.bind(net).unwrap()
}

fn start(device: &Device) -> (Net, Driver) {
    let net = Net::new(1, device, DType::F32);
    let driver = bound(&net);
    (net, driver)
}

/// The way of a driver in which something changes before the third step is that of one whose settings say so.
#[test]
fn a_rate_and_a_clipping_that_are_changed_are_those_of_the_next_step() {
    for device in devices() {
        let inner = &device.device;
        let (mut net, mut driver) = start(inner);
        for t in 0..2 {
            net = step(&mut driver, net, t, inner).0;
        }
        let (mut other, mut expected) = (net.clone(), bound(&net));
        let file = driver.checkpoint(&net).unwrap();
        other = expected.resume(other, &file).unwrap();

        driver.set_learning_rate(0.01).unwrap();
        driver.set_clipping(Some(Clipping::value(0.25))).unwrap();
        let report;
        (net, report) = step(&mut driver, net, 2, inner);
        assert_eq!(report.learning_rate, 0.01);

        // By hand: Adam's own state, another rate, and gradients that were clipped.
        let mut optim = expected.optimizer().clone();
        let values = grad_values(2).map(|values| {
            let clipped = values.into_iter().map(|x| x.clamp(-0.25, 0.25));
            clipped.collect::<Vec<f64>>()
        });
        let grads = other.grads_from(&values, &ALL, inner, DType::F32);
        other = optim.step(0.01, other, grads);
        for (found, expected) in net.values().iter().zip(&other.values()) {
            assert_same(device.name, &device, found, expected);
        }
        driver.set_clipping(None).unwrap();
        let (_, report) = step(&mut driver, net, 3, inner);
        assert!(report.clipped_norm.is_none(), "{report}");
    }
}

#[test]
fn what_is_frozen_stays_with_its_state_until_it_is_thawed() {
    for device in devices() {
        let inner = &device.device;
        let (mut net, mut driver) = start(inner);
        (net, _) = step(&mut driver, net, 0, inner);
        assert_eq!(driver.freeze(&Select::path("weight")).unwrap(), 1);
        assert_eq!(driver.freeze(&Select::path("*")).unwrap(), 2);
        assert_eq!(driver.thaw(&!Select::path("weight")).unwrap(), 2);
        let before = net.values();
        let report;
        (net, report) = step(&mut driver, net, 1, inner);
        assert_eq!(report.frozen, ["weight"]);
        assert_eq!(net.values()[0], before[0], "{}", device.name);
        assert_ne!(net.values()[1], before[1]);
        assert!(
            driver.plan().to_string().contains("frozen"),
            "{}",
            driver.plan()
        );

        // A checkpoint goes on where the same is frozen.
        let file = || driver.checkpoint(&net).unwrap();
        let (fresh, mut other) = start(inner);
        let error = other.resume(fresh, &file()).unwrap_err().to_string();
        assert!(
            error.contains("freezing of `weight`") && error.contains("frozen"),
            "{error}"
        );
        let (fresh, mut other) = start(inner);
        other.freeze(&Select::name("weight")).unwrap();
        let mut resumed = other.resume(fresh, &file()).unwrap();
        assert_eq!(bytes(&driver, &net), bytes(&other, &resumed));

        for (driver, net) in [(&mut driver, &mut net), (&mut other, &mut resumed)] {
            driver.thaw(&Select::all()).unwrap();
            let report;
            (*net, report) = step(driver, net.clone(), 2, inner);
            assert!(report.frozen.is_empty() && report.updated == 3, "{report}");
        }
        assert_ne!(net.values()[0], before[0]);
        assert_eq!(net.values(), resumed.values());
    }
}

/// What a group has frozen is stepped with the group's numbers once it is thawed.
#[test]
fn a_frozen_group_can_be_thawed() {
    let device = devices().remove(0);
    let inner = &device.device;
    let built = |frozen: bool| {
        let mut group = Group::new("weights", Select::name("weight")).with_weight_decay(0.5);
        if frozen {
            group = group.frozen();
        }
        let net = Net::new(1, inner, DType::F32);
        let builder = Driver::builder(optim::AdamWConfig::new().init(), 0.1).with_group(group);
        let driver = builder.bind(&net).unwrap();
        (net, driver)
    };
    let (net, mut thawed) = built(true);
    assert_eq!(thawed.thaw(&Select::name("weight")).unwrap(), 1);
    let (other, mut never) = built(false);
    let (net, _) = step(&mut thawed, net, 0, inner);
    let (other, _) = step(&mut never, other, 0, inner);
    assert_eq!(net.values(), other.values());
}

/// What a clipping is before the next update does not matter.
#[test]
fn a_clipping_that_begins_later_is_taken() {
    let device = devices().remove(0);
    let (net, mut driver) = start(&device.device);
    let rising = || Clipping::global_norm(LinearConfig::new(0.0, 1.0, 1).try_build().unwrap());
    driver.set_clipping(Some(rising())).unwrap_err();
    step(&mut driver, net, 0, &device.device);
    driver.set_clipping(Some(rising())).unwrap();
}

#[test]
fn what_is_refused_changes_nothing() {
    let device = devices().remove(0);
    let (net, mut driver) = start(&device.device);
    let before = bytes(&driver, &net);
    let error = driver.set_learning_rate(-1.0).unwrap_err().to_string();
    assert!(error.contains("`learning rate` must be"), "{error}");
    let falling = LinearConfig::new(1.0, 0.0, 0).try_build().unwrap();
    let error = driver.set_clipping(Some(Clipping::global_norm(falling)));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("threshold of the clipping"), "{error}");
    let error = driver
        .freeze(&Select::path("head.**"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "path `head.**` chooses no parameter; the parameters are weight, bias, kernel"
    );
    assert_eq!(bytes(&driver, &net), before);

    let net = Net::new(1, &device.device, DType::F32);
    let rprop = optim::RpropConfig::new().init();
    let mut driver = Driver::builder(rprop, 0.1).bind(&net).unwrap();
    let falling = LinearConfig::new(1.0, 0.0, 5).try_build().unwrap();
    assert!(driver.set_learning_rate(falling).is_err());
    assert_eq!(driver.learning_rate(), Some(0.1));
}
