//! Reports.

use super::*;

#[test]
fn update_ratios_are_how_far_parameters_moved_by_their_own_norm() {
    for_all(|label, device, dtype| {
        for (optim, make) in PLAIN.into_iter().chain(BURN) {
            let inner = &device.device;
            let mut net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(make(), 0.05)
                .with_update_ratios(3)
                .with_group(Group::new("bias", Select::name("bias")).frozen())
                .bind(&net)
                .unwrap();
            for t in 0..7 {
                let before = net.values();
                let grads = net.grads(t, &ALL, inner, dtype);
                let report;
                (net, report) = driver.step(net, grads).unwrap();
                if (t + 1) % 3 != 0 {
                    assert!(report.update_ratios.is_empty(), "{label}");
                    continue;
                }
                let paths: Vec<&str> = report
                    .update_ratios
                    .iter()
                    .map(|ratio| &*ratio.path)
                    .collect();
                assert_eq!(paths, ["weight", "bias", "kernel"], "{label}");
                for index in ALL {
                    let pairs = net.values()[index].clone().into_iter().zip(&before[index]);
                    let moved: Vec<f64> = pairs.map(|(after, before)| after - before).collect();
                    let expected = norm([&moved]) / norm([&before[index]]);
                    let found = report.update_ratios[index].ratio;
                    let close = is_close(found, expected, 1e-4 + rounding(device, dtype));
                    assert!(close, "{optim} on {label}: {found} instead of {expected}");
                    assert_eq!(found == 0.0, index == 1, "{label}");
                }
            }
        }
    });
}

/// A report, as it is written and read back.
fn again(report: &StepReport) -> StepReport {
    let json = serde_json::to_string(report).unwrap();
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn assert_reports(report: &StepReport, expected: &str) {
    assert_eq!(report.to_string(), expected);
    assert_eq!(again(report).to_string(), expected);
    let json = |report: &StepReport| serde_json::to_string(report).unwrap();
    assert_eq!(json(&again(report)), json(report));
}

#[test]
fn a_report_is_one_line_and_the_same_when_it_is_read_back() {
    let Some(device) = &exact_device() else {
        return;
    };
    let ones = |net: &Net, of: &[usize]| {
        let grads = zeros().map(|zeros| vec![1.0; zeros.len()]);
        net.grads_from(&grads, of, device, DType::F32)
    };
    let start = || Net::from_values(&zeros().map(|x| vec![2.0; x.len()]), device, DType::F32);
    let step = |net: Net, with: &dyn Fn(DriverBuilder) -> DriverBuilder, batch: MicroBatch| {
        let builder = Driver::builder(optim::AdamWConfig::new().init(), 0.5);
        let mut driver = with(builder).bind(&net).unwrap();
        driver.step(net, batch).unwrap().1
    };
    let net = start();
    let grads = ones(&net, &ALL);
    assert_reports(
        &step(net, &|driver| driver, grads.into()),
        "step 1: lr 0.5, gradient norm 6.245, 3 parameters updated",
    );
    let net = start();
    let batch = MicroBatch::new(ones(&net, &[0])).with_loss(0.123_456);
    let all = |driver: DriverBuilder| {
        driver
            .with_clipping(Clipping::global_norm(1e-6))
            .with_weight_decay(0.1)
            .with_momentum(0.85)
            .with_update_ratios(1)
            .with_group(Group::new("bias", Select::name("bias")).frozen())
    };
    assert_reports(
        &step(net, &all, batch),
        "step 1: lr 0.5, loss 0.1235, weight decay 0.1, momentum 0.85, gradient norm 3.464, clipped to \
         1e-6, 1 parameter updated, missing: kernel, frozen: bias, largest update 0.2916 of weight",
    );
    let net = start();
    let mut bad = grad_values(0);
    bad[0][0] = f64::NAN;
    bad[0][1] = f64::INFINITY;
    bad[1][0] = f64::NEG_INFINITY;
    let spoil = |net: &Net| net.grads_from(&bad, &ALL, device, DType::F32);
    let skip =
        |driver: DriverBuilder| driver.with_non_finite(NonFinite::Skip { max_consecutive: 1 });
    let batch = MicroBatch::new(spoil(&net)).with_loss(1e-9);
    assert_reports(
        &step(net, &skip, batch),
        "step 0: skipped, loss 1e-9, not finite: weight (2 of 12), bias (1 of 3)",
    );
    let net = start();
    let batch = spoil(&net).into();
    let zero = |driver: DriverBuilder| driver.with_non_finite(NonFinite::ZeroNan);
    let report = step(net, &zero, batch);
    assert!(
        report
            .to_string()
            .ends_with("updated, zeroed: weight (2 of 12), bias (1 of 3)"),
        "{report}"
    );
    assert_reports(&report, &report.to_string());
    let net = start();
    let grads = ones(&net, &ALL);
    let window = |driver: DriverBuilder| driver.with_accumulation(Accumulation::mean(4));
    assert_reports(
        &step(net, &window, grads.into()),
        "step 0: 1 of 4 micro-batches",
    );
}

/// A bias that begins at 0 has no norm to be measured by.
#[test]
fn a_report_about_parameters_of_0_can_be_read_back() {
    let device = &devices()[0].device;
    let ratios = |driver: DriverBuilder| driver.with_update_ratios(1);
    let (_, report) = seen(PLAIN[0].1, ratios, &grad_values(1), device, DType::F32);
    assert_eq!(report.update_ratios[0].ratio, f64::INFINITY);
    assert_reports(&report, &report.to_string());
}

/// A number of 16 bits stays where it is if the next one is more than twice as far as it is to go.
#[test]
fn an_update_that_16_bits_are_too_coarse_for_shows_as_a_ratio_of_0() {
    let ratios = |device: &Device, dtype| {
        let ones = zeros().map(|zeros| vec![1.0; zeros.len()]);
        let mut net = Net::from_values(&ones, device, dtype);
        let mut driver = Driver::builder(PLAIN[0].1(), 1e-4)
            .with_update_ratios(1)
            .bind(&net)
            .unwrap();
        let mut last = Vec::new();
        for _ in 0..5 {
            let grads = net.grads_from(&ones, &ALL, device, dtype);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            last = report.update_ratios.iter().map(|of| of.ratio).collect();
        }
        last
    };
    for dtype in [DType::F16, DType::BF16] {
        for device in common::devices_with(dtype) {
            assert_eq!(ratios(&device.device, dtype), [0.0; 3], "{dtype:?}");
            let single = ratios(&device.device, DType::F32);
            assert!(single.iter().all(|ratio| is_close(*ratio, 1e-4, 1e-2)));
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_the_same_when_they_are_read_back() {
    let Some(device) = exact_device() else {
        return;
    };
    for bad in BAD {
        let net = Net::new(1, &device, DType::F32);
        let grads = |t| net.grads_from(&spoilt(t, bad), &ALL, &device, DType::F32);
        let read = |report: &StepReport| {
            let json = serde_json::to_string(report).unwrap();
            let back: StepReport = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), json);
            assert_eq!(back.to_string(), report.to_string());
            back
        };
        let skip = NonFinite::Skip { max_consecutive: 9 };
        let driver = Driver::builder(optim::SgdConfig::new().init(), 0.1);
        let mut driver = driver.with_non_finite(skip).bind(&net).unwrap();
        let batch = MicroBatch::new(grads(0)).with_loss(bad);
        let (_, report) = driver.step(net.clone(), batch).unwrap();
        let loss = read(&report).loss.expect("it was told");
        assert_eq!(loss.to_bits() & !(1 << 63), bad.to_bits() & !(1 << 63));

        let driver = Driver::builder(optim::SgdConfig::new().init(), 0.1);
        let driver = driver.with_non_finite(NonFinite::Ignore);
        let mut driver = driver
            .with_clipping(Clipping::global_norm(1.0))
            .with_update_ratios(1)
            .bind(&net)
            .unwrap();
        let (_, report) = driver.step(net.clone(), grads(1)).unwrap();
        let norm = read(&report).grad_norm.expect("it was measured").value();
        assert!(!norm.is_finite());
    }
    // As infinite ratios were written once.
    let old = r#"{"path": "weight", "ratio": null}"#;
    let old: downhill::train::UpdateRatio = serde_json::from_str(old).unwrap();
    assert_eq!(old.ratio, f64::INFINITY);
}
