//! What holds for a driver whatever the numbers are.

use crate::common::net::{ALL, Net, SHAPES, Values, zeros};
use crate::common::rows::ROWS;
use crate::common::{TestDevice, devices};
use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device};
use downhill::optim::{SgdConfig, canonical_bytes};
use downhill::train::{
    Accumulation, Averaging, Clipping, Driver, Group, MicroBatch, NonFinite, Outcome, Select,
};
use proptest::prelude::*;
use proptest::sample::select;

fn device_and_dtype() -> impl Strategy<Value = (usize, DType)> {
    let all: Vec<(usize, DType)> = (devices().iter().enumerate())
        .flat_map(|(index, device)| device.dtypes.iter().map(move |dtype| (index, *dtype)))
        .collect();
    select(all)
}

fn device(index: usize) -> TestDevice {
    devices().swap_remove(index)
}

/// Numbers of very different sizes, for all parameters.
fn numbers() -> impl Strategy<Value = Values> {
    let len: usize = SHAPES
        .map(|shape| shape.iter().product::<usize>())
        .iter()
        .sum();
    let number = (-1.0..1.0f64, -12..4i32).prop_map(|(x, exponent)| x * 2f64.powi(exponent));
    prop::collection::vec(number, len).prop_map(|all| {
        let mut all = all.into_iter();
        SHAPES.map(|shape| all.by_ref().take(shape.iter().product()).collect())
    })
}

fn norm(values: &Values) -> f64 {
    values.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

fn sgd() -> ModuleOptimizer {
    SgdConfig::new().init()
}

/// From 0, plain gradient descent at the rate 1 goes to the negatives of what it sees.
fn seen(clipping: Clipping, grads: &Values, device: &Device, dtype: DType) -> Values {
    let net = Net::from_values(&zeros(), device, dtype);
    let mut driver = Driver::builder(sgd(), 1.0)
        .with_clipping(clipping)
        .bind(&net)
        .unwrap();
    let grads = net.grads_from(grads, &ALL, device, dtype);
    let (net, _) = driver.step(net, grads).unwrap();
    net.values()
        .map(|values| values.into_iter().map(|x| -x).collect())
}

fn state(driver: &Driver) -> Vec<u8> {
    canonical_bytes(driver.optimizer()).unwrap().to_vec()
}

proptest! {
    #![proptest_config(crate::common::cases(64))]

    #[test]
    fn no_norm_is_above_its_threshold(
        (index, dtype) in device_and_dtype(),
        grads in numbers(),
        threshold in 1e-3..10f64,
    ) {
        let device = device(index);
        let slack = 1.0 + crate::common::rounding(&device, dtype);
        let clipped = seen(Clipping::global_norm(threshold), &grads, &device.device, dtype);
        prop_assert!(norm(&clipped) <= threshold * slack);
        let clipped = seen(Clipping::tensor_norm(threshold), &grads, &device.device, dtype);
        for values in clipped {
            let alone = [values, Vec::new(), Vec::new()];
            prop_assert!(norm(&alone) <= threshold * slack);
        }
        let clipped = seen(Clipping::value(threshold), &grads, &device.device, dtype);
        prop_assert!(clipped.iter().flatten().all(|x| x.abs() <= threshold * slack));
    }

    #[test]
    fn what_is_below_the_threshold_is_not_touched(
        (index, dtype) in device_and_dtype(),
        grads in numbers(),
        above in 1.001..10f64,
    ) {
        let device = device(index);
        let net = Net::from_values(&grads, &device.device, dtype);
        let threshold = norm(&net.values()) * above;
        for clipping in [
            Clipping::global_norm(threshold),
            Clipping::tensor_norm(threshold),
            Clipping::value(threshold),
        ] {
            prop_assert_eq!(&seen(clipping, &grads, &device.device, dtype), &net.values());
        }
    }

    /// Steps, skips, errors and windows in any order: what was left out is as if it had never been.
    #[test]
    fn only_updates_leave_traces(
        (index, dtype) in device_and_dtype(),
        row in 0..ROWS.len(),
        of in 1..3u32,
        events in prop::collection::vec((any::<bool>(), any::<bool>(), 1..9u64), 1..12),
    ) {
        let device = device(index);
        prop_assume!(device.exact && !ROWS[row].needs_loss());
        let (device, row) = (&device.device, &ROWS[row]);
        let net = Net::new(1, device, dtype);
        let bind = || {
            Driver::builder(row.config(&row.configs[0]).try_init().unwrap(), row.lr)
                .with_clipping(Clipping::global_norm(0.5))
                .with_accumulation(Accumulation::mean(of))
                .with_averaging(Averaging::ema(0.5))
                .with_non_finite(NonFinite::Skip { max_consecutive: 12 })
                .with_group(Group::new("bias", Select::name("bias")).with_learning_rate_factor(0.5))
                .bind(&net)
                .unwrap()
        };
        let (mut driver, mut spared) = (bind(), bind());
        let (mut one, mut two) = (net.clone(), net.clone());
        let mut skipped = 0;
        for (t, (bad, wrong, samples)) in events.into_iter().enumerate() {
            let of_model = one.grads(t, &ALL, device, dtype);
            if bad {
                let mut values = one.read_grads(&of_model);
                values[0][3] = f64::NAN;
                let grads = one.grads_from(&values, &ALL, device, dtype);
                let report;
                (one, report) = driver.step(one, MicroBatch::new(grads).with_samples(samples)).unwrap();
                prop_assert_eq!(report.outcome, Outcome::Skipped);
                skipped += 1;
            }
            if wrong {
                let mut grads = one.grads(t, &ALL, device, dtype);
                grads.register(one.bias.id, crate::common::net::make::<1>(0, &[1], device, dtype));
                one = driver.step(one, grads).unwrap_err().model;
            }
            if bad || wrong {
                continue;
            }
            (one, _) = driver.step(one, MicroBatch::new(of_model).with_samples(samples)).unwrap();
            let grads = two.grads(t, &ALL, device, dtype);
            (two, _) = spared.step(two, MicroBatch::new(grads).with_samples(samples)).unwrap();
        }
        prop_assert_eq!(driver.skipped(), skipped);
        prop_assert_eq!(driver.updates(), spared.updates());
        let ((one, _), (two, _)) = (driver.flush(one).unwrap(), spared.flush(two).unwrap());
        prop_assert_eq!(one.values(), two.values());
        prop_assert_eq!(driver.averaged(&one).values(), spared.averaged(&two).values());
        prop_assert!(state(&driver) == state(&spared));
    }

    #[test]
    fn an_average_stays_between_the_smallest_and_the_largest_value(
        (index, dtype) in device_and_dtype(),
        decay in 0.0..0.999f64,
        every in 1..4u64,
        start in 0..4u64,
        corrected in any::<bool>(),
        warm in any::<bool>(),
    ) {
        let device = device(index);
        let inner = &device.device;
        let mut averaging = Averaging::ema(decay).with_every(every).with_start(start);
        if !corrected {
            averaging = averaging.without_bias_correction();
        }
        if warm {
            averaging = averaging.with_warmup();
        }
        let mut net = Net::new(1, inner, dtype);
        let mut driver = Driver::builder(sgd(), 0.5).with_averaging(averaging).bind(&net).unwrap();
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for t in 0..10 {
            let grads = net.grads(t, &ALL, inner, dtype);
            (net, _) = driver.step(net, grads).unwrap();
            let updates = driver.updates();
            if updates > start && (updates - start).is_multiple_of(every) {
                for index in ALL {
                    low[index] = low[index].min(net.values()[index][0]);
                    high[index] = high[index].max(net.values()[index][0]);
                }
            }
        }
        let averaged = driver.averaged(&net).values();
        let slack = 4.0 * crate::common::rounding(&device, dtype);
        for index in ALL {
            let found = averaged[index][0];
            prop_assert!(low[index] - slack <= found && found <= high[index] + slack);
        }
    }
}
