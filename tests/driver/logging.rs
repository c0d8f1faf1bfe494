//! What goes wrong without an error is a warning for whoever listens to `log`.

use std::sync::Mutex;

use super::*;

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("downhill_train") {
            SAID.lock()
                .unwrap()
                .push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_skipped_update_is_a_warning() {
    log::set_logger(&Listener).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let builder = Driver::builder(optim::SgdConfig::new().init(), 0.001);
    let skip = NonFinite::Skip { max_consecutive: 5 };
    let mut driver = builder.with_non_finite(skip).bind(&net).unwrap();
    let step = |driver: &mut Driver, net: Net, loss: f64| {
        let grads = net.grads(0, &ALL, device, DType::F32);
        driver
            .step(net, MicroBatch::new(grads).with_loss(loss))
            .unwrap()
    };
    // So many updates that no other test says the same.
    let (mut net, mut report) = step(&mut driver, net, 1.0);
    for _ in 1..37 {
        (net, report) = step(&mut driver, net, 1.0);
    }
    let (_, skipped) = step(&mut driver, net, f64::NAN);
    assert_eq!(skipped.to_string(), "step 37: skipped, loss NaN");
    let said = SAID.lock().unwrap();
    assert!(said.contains(&format!("WARN {skipped}")), "{said:?}");
    assert!(!said.contains(&format!("WARN {report}")), "{said:?}");
}
