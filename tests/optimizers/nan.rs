//! A NaN is never hidden: it reaches the parameter, and no other element.

use crate::common::behaviour;
use crate::common::rows::ROWS;
use crate::common::{Subject, devices};
use burn::tensor::DType;

#[test]
fn a_nan_gradient_reaches_its_parameter_and_no_other() {
    for device in devices() {
        // The shader language lets a compiler assume that there is no NaN.
        if !device.exact {
            continue;
        }
        let optimizers = ROWS
            .iter()
            // A sum over the whole tensor would carry it everywhere.
            .flat_map(|row| {
                row.configs()
                    .map(move |(label, config)| (label, row, config))
            })
            .filter(|(.., config)| behaviour::is_elementwise(config));
        for (label, row, config) in optimizers {
            let optim = config.try_build().unwrap();
            for as_tensors in [false, true] {
                let mut subject =
                    Subject::new(optim.clone(), &device.device, DType::F32, &[3], &[1.0; 3]);
                if as_tensors {
                    subject = subject.with_tensor_operations();
                }
                // Some do not move in the first step.
                for _ in 0..row.waits + 1 {
                    subject.step(row.lr, &[0.7, f64::NAN, -0.7]);
                }
                let [a, b, c] = subject.param()[..] else {
                    panic!()
                };
                let label = format!("{label} on {}, tensors: {as_tensors}", device.name);
                assert!(b.is_nan(), "{label}: {b}");
                assert!(
                    a.is_finite() && c.is_finite() && a != 1.0 && c != 1.0,
                    "{label}"
                );
            }
        }
    }
}
