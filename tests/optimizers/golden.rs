//! Every optimizer against the numbers of PyTorch, optax and the papers: parameters and every state
//! tensor over 60 steps, in f64 and f32, on every backend that is compiled in.

use std::collections::BTreeSet;

use crate::common::golden::{Case, cases, files};
use crate::common::{TestDevice, devices, devices_with};
use burn::tensor::DType;
use downhill::optim::{OptimizerConfig, Scope};

/// Steps on a GPU interface cost a hundred times what they cost on the CPU, and its code does not
/// depend on the values: there, of each optimizer the default and everything at once, at unit scale. The other
/// cases run through the same tensor operations on the CPU, and so do all those of matrices, whose products a GPU
/// adds up in another order.
fn runs_on(device: &str, case: &Case) -> bool {
    let asked = ["default", "everything"].contains(&case.case.as_str());
    let of_matrices = || case.parsed().info().scope == Scope::Matrix;
    let fits = asked && case.grad_scale == 1.0 && case.shape.len() < 3;
    device != "wgpu" || (fits && !of_matrices())
}

/// On devices that know one precision, in another one.
fn check(dtype: DType, precision: DType, check: impl Fn(&Case, &TestDevice) -> Result<(), String>) {
    let mut failures = Vec::new();
    let mut checked = 0;
    for file in files() {
        let cases = cases(&file);
        for device in devices_with(dtype) {
            let cases = cases.iter().filter(|case| case.is_for(precision));
            for case in cases.filter(|case| runs_on(device.name, case)) {
                checked += 1;
                failures.extend(check(case, &device).err());
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn in_f64() {
    check(DType::F64, DType::F64, |case, device| {
        case.check(case.optimizer(), device, DType::F64)
    });
}

#[test]
fn in_f32() {
    check(DType::F32, DType::F32, |case, device| {
        case.check(case.optimizer(), device, DType::F32)
    });
}

/// Without tensors.
#[test]
fn as_plain_numbers() {
    let device = devices_with(DType::F64)
        .next()
        .or(devices().into_iter().next());
    let device = device.expect("a backend is compiled in");
    let all = files().into_iter().flat_map(|file| cases(&file));
    let failures: Vec<_> = all
        .filter_map(|case| case.check_numbers(&case.parsed(), &device).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The CPU backends through the tensor operations that every other backend takes.
#[test]
fn as_tensors() {
    // A backend without f64 has no pass over memory either.
    check(DType::F64, DType::F32, |case, device| {
        case.check_tensor_operations(case.optimizer(), device)
    });
}

#[test]
fn every_optimizer_has_golden_numbers() {
    let named = |file: &String| cases(file).iter().map(Case::name).collect::<Vec<_>>();
    let found: BTreeSet<String> = files().iter().flat_map(named).collect();
    let known = OptimizerConfig::all().into_iter();
    let known = known.chain(OptimizerConfig::slides());
    let known: BTreeSet<String> = known.map(|info| info.name.to_string()).collect();
    assert_eq!(found, known);
}
