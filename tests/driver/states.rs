//! The state of an optimizer: looked at, changed, dropped.

use super::*;

/// What is read is what there is, and set again it changes nothing; whatever the optimizer.
#[test]
fn states_are_read_and_taken_up_again() {
    for device in devices() {
        let inner = &device.device;
        let ours = ["adamw", "rprop", "adafactor", "prodigy"].map(|name| {
            let config = OptimizerConfig::by_name(name).unwrap();
            (name, config.try_init().unwrap())
        });
        let burns = BURN.map(|(name, make)| (name, make()));
        for (name, optim) in ours.into_iter().chain(burns) {
            let mut net = Net::new(1, inner, DType::F32);
            let mut driver = Driver::builder(optim, 0.01).bind(&net).unwrap();
            for t in 0..2 {
                net = step(&mut driver, net, t, inner).0;
            }
            let before = bytes(&driver, &net);
            let states = driver.states().unwrap();
            assert_eq!(states.iter().count(), 3, "{name}");
            driver.set_states(&net, &states).unwrap();
            assert!(bytes(&driver, &net) == before, "{name} on {}", device.name);
        }
    }
}

#[test]
fn a_state_has_torchs_names_and_statistics() {
    let device = devices().remove(0).device;
    let mut net = Net::new(1, &device, DType::F32);
    let adamw = optim::AdamWConfig::new().with_beta_1(0.5).init();
    let mut driver = Driver::builder(adamw, 0.01).bind(&net).unwrap();
    net = step(&mut driver, net, 0, &device).0;
    let states = driver.states().unwrap();
    let state = states.get("bias").unwrap();
    assert_eq!(state.step, Some(1));
    let names: Vec<&String> = state.tensors.keys().collect();
    assert_eq!(names, ["exp_avg", "exp_avg_sq"]);
    let [_, grads, _] = grad_values(0);
    let halves: Vec<f64> = grads.into_iter().map(|x| x / 2.0).collect();
    assert_eq!(floats(state.tensors["exp_avg"].clone()), halves);
    let found = state.statistics("exp_avg").unwrap();
    let largest = halves.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = halves.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!((found.max, found.min), (largest, smallest));
    assert!(is_close(found.norm, norm([&halves]), 1e-12));
    assert_eq!((found.count, found.non_finite), (3, 0));
    assert!(state.statistics("momentum_buffer").is_none());
    let text = states.to_string();
    assert!(
        text.contains("bias, step 1\n  exp_avg  3  F32  norm "),
        "{text}"
    );
    drop(net);
}

/// A state that is changed is the one that the next step goes on from; one that is dropped begins anew.
#[test]
fn what_is_changed_is_what_the_next_step_sees() {
    for device in devices() {
        let inner = &device.device;
        let momentum = optim::SgdConfig::new().with_momentum(0.5).init();
        let mut net = Net::new(1, inner, DType::F32);
        let mut driver = Driver::builder(momentum, 1.0).bind(&net).unwrap();
        net = step(&mut driver, net, 0, inner).0;
        let mut states = driver.states().unwrap();
        assert_eq!(states.remove("kern*"), 1);
        assert_eq!(states.remove("head.**"), 0);
        let buffer = states.get_mut("bias").unwrap();
        let buffer = buffer.tensors.get_mut("momentum_buffer").unwrap();
        *buffer = TensorData::from([4.0_f32, 2.0, 0.0]);
        driver.set_states(&net, &states).unwrap();

        let before = net.values();
        net = step(&mut driver, net, 1, inner).0;
        let [_, bias, kernel] = grad_values(1);
        let way = |at: usize| {
            let pairs = before[at].iter().zip(net.values()[at].clone());
            pairs.map(|(from, to)| from - to).collect::<Vec<f64>>()
        };
        let with_buffer: Vec<f64> = [2.0, 1.0, 0.0]
            .iter()
            .zip(&bias)
            .map(|(b, g)| b + g)
            .collect();
        for (found, expected) in way(1).iter().zip(&with_buffer) {
            assert!((found - expected).abs() < 1e-6, "{}", device.name);
        }
        for (found, expected) in way(2).iter().zip(&kernel) {
            assert!((found - expected).abs() < 1e-6, "{}: anew", device.name);
        }
    }
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() {
    let device = devices().remove(0).device;
    let mut net = Net::new(1, &device, DType::F32);
    let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.01)
        .bind(&net)
        .unwrap();
    net = step(&mut driver, net, 0, &device).0;
    let before = bytes(&driver, &net);
    let states = driver.states().unwrap();
    let mut refused = |change: fn(&mut downhill::train::ParameterState), message: &str| {
        let mut changed = states.clone();
        change(changed.get_mut("bias").unwrap());
        let error = driver.set_states(&net, &changed).unwrap_err().to_string();
        assert!(
            error.contains("`bias`") && error.contains(message),
            "{error}"
        );
        assert!(bytes(&driver, &net) == before, "{message}");
    };
    refused(
        |state| {
            let wrong = TensorData::from([1.0_f32; 4]);
            state.tensors.insert("exp_avg".to_string(), wrong);
        },
        "exp_avg",
    );
    refused(
        |state| {
            let coarse = state.tensors["exp_avg"].clone().convert_dtype(DType::F16);
            state.tensors.insert("exp_avg".to_string(), coarse);
        },
        "F16",
    );
    refused(
        |state| {
            state.tensors.remove("exp_avg");
        },
        "",
    );
    refused(
        |state| {
            let more = TensorData::from([1.0_f32; 3]);
            state.tensors.insert("momentum_buffer".to_string(), more);
        },
        "momentum_buffer",
    );
    let other = Net::new(1, &device, DType::F32);
    assert!(driver.set_states(&other, &states).is_err());
    assert!(bytes(&driver, &net) == before);
}
