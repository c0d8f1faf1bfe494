//! Every optimizer against the numbers of PyTorch, optax and the papers: parameters and every state
//! tensor over 60 steps, in f64 and f32, on every backend that is compiled in.

mod common;

use burn::tensor::DType;
use common::golden::{Case, FILES, cases};
use common::{TestDevice, devices_with};

/// Steps on a GPU interface cost a hundred times what they cost on the CPU, and its code does not
/// depend on the values: there, only the cases of unit scale.
fn runs_on(device: &str, case: &Case) -> bool {
    device != "wgpu" || (case.grad_scale == 1.0 && case.shape.len() < 3)
}

fn check(file: &str, dtype: DType) {
    check_by(file, dtype, |case, device| {
        case.check(case.optimizer(), device, dtype)
    });
}

/// The CPU backends through the tensor operations that every other backend takes.
fn check_tensor_operations(file: &str) {
    // A backend without f64 has no pass over memory either.
    check_by(file, DType::F64, |case, device| {
        case.check_tensor_operations(case.optimizer(), device)
    });
}

fn check_by(file: &str, dtype: DType, check: impl Fn(&Case, &TestDevice) -> Result<(), String>) {
    let mut failures = Vec::new();
    let mut checked = 0;
    for device in devices_with(dtype) {
        for case in cases(file).iter().filter(|case| runs_on(device.name, case)) {
            checked += 1;
            failures.extend(check(case, &device).err());
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

macro_rules! golden {
    ($($file:ident: $in_f64:ident, $in_f32:ident, $as_tensors:ident;)*) => {
        $(
            #[test]
            fn $in_f64() {
                check(stringify!($file), DType::F64);
            }
            #[test]
            fn $in_f32() {
                check(stringify!($file), DType::F32);
            }
            #[test]
            fn $as_tensors() {
                check_tensor_operations(stringify!($file));
            }
        )*

        #[test]
        fn every_golden_file_is_tested() {
            assert_eq!(FILES, [$(stringify!($file)),*]);
            let mut found: Vec<String> = std::fs::read_dir(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/golden"
            ))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
            found.sort();
            let mut expected = FILES.map(|file| format!("{file}.json"));
            expected.sort();
            assert_eq!(found, expected);
        }
    };
}

golden! {
    sgd: sgd_in_f64, sgd_in_f32, sgd_as_tensors;
    adagrad: adagrad_in_f64, adagrad_in_f32, adagrad_as_tensors;
    rmsprop: rmsprop_in_f64, rmsprop_in_f32, rmsprop_as_tensors;
    adam: adam_in_f64, adam_in_f32, adam_as_tensors;
    adamw: adamw_in_f64, adamw_in_f32, adamw_as_tensors;
    nadam: nadam_in_f64, nadam_in_f32, nadam_as_tensors;
    adafactor: adafactor_in_f64, adafactor_in_f32, adafactor_as_tensors;
    slides: slides_in_f64, slides_in_f32, slides_as_tensors;
}
