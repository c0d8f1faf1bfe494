//! How many kernels a step takes on a CubeCL device: burn-fusion's own inspector counts them.
#![cfg(feature = "inspect-fusion")]

mod common;

use burn::optim::Optimizer;
use burn::tensor::{DType, DeviceKind, StreamId, Tensor, TensorData};
use burn_fusion::inspect::{BlockKind, FusionInspector};
use common::rows::ROWS;
use downhill::optim::Adam;
use downhill::optim::RuleOptimizer;
use downhill::rule::{Adjusted, Cautious, HeavyBall, WeightDecay};

/// Kernels of one step after the first, which also makes the state.
fn kernels(optim: &RuleOptimizer) -> Vec<String> {
    let device = burn::tensor::Device::wgpu(DeviceKind::DefaultDevice);
    let make = |value: f64| {
        let data = TensorData::new(vec![value; 12], [4, 3]);
        common::tensor::<2>(data, &device, DType::F32)
    };
    let inspector = FusionInspector::install(StreamId::current());
    let mut param: Tensor<2> = make(1.0);
    let mut state = None;
    let mut kernels = Vec::new();
    for _ in 0..3 {
        let grad = make(0.5);
        device.sync().unwrap();
        inspector.drain();
        (param, state) = optim.step(0.01, param, grad, state);
        device.sync().unwrap();
        kernels = inspector
            .drain()
            .into_iter()
            .flat_map(|report| report.blocks)
            .flat_map(|block| match block.kind {
                BlockKind::Fused { name, .. } => {
                    vec![format!("{name} of {} operations", block.operations.len())]
                }
                BlockKind::Unfused => block
                    .operations
                    .iter()
                    .map(|operation| format!("{operation:?}").chars().take(60).collect())
                    .collect(),
            })
            .collect();
    }
    drop((param, state));
    kernels
}

/// Run with `--nocapture` to see the table.
#[test]
fn an_elementwise_step_is_one_kernel() {
    // What looks at the whole model is told by a driver what it knows.
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        for (label, optim) in row.optimizers() {
            let kernels = kernels(&optim);
            println!("{label}: {}", kernels.len());
            for kernel in &kernels {
                println!("    {kernel}");
            }
            if common::behaviour::is_elementwise(&row.config("{}")) {
                assert_eq!(kernels.len(), 1, "{label}: {kernels:#?}");
            }
        }
    }
    let adamw = Adjusted::new(Adam::default(), WeightDecay::Decoupled(1e-2), false);
    let composites = [
        ("cautious AdamW", RuleOptimizer::new(Cautious(adamw))),
        (
            "a second momentum around cautious AdamW",
            RuleOptimizer::new(HeavyBall {
                rule: Cautious(adamw),
                momentum: 0.9,
            }),
        ),
    ];
    for (label, optim) in composites {
        let kernels = kernels(&optim);
        println!("{label}: {}", kernels.len());
        assert_eq!(kernels.len(), 1, "{label}: {kernels:#?}");
    }
}
