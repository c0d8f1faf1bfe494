//! The steps of several parameters in one launch: a fuser in Burn's search for what to run together.

use burn::backend::fusion::custom::OperationIr;
use burn_cubecl::CubeDevice;
use burn_cubecl::fusion::{
    CubeFuser, CubeFusionHandle, FallbackOperation, OptimizationProvider, register,
};
use burn_cubecl_fusion::optim::{CubeOptimization, FusedOperation};
use burn_fusion::stream::Context;
use burn_fusion::{FuserProperties, FuserStatus, OperationFuser};
use std::sync::OnceLock;

use super::limits::Limits;
use super::stream;

/// Registers the fuser, once, and says whether that came in time: streams that are there already know nothing of it.
pub(crate) fn enable() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| register(Provider).is_ok())
}

struct Provider;

impl OptimizationProvider for Provider {
    type Operation = Together;

    fn fuser(&self, device: &CubeDevice) -> CubeFuser {
        CubeFuser::new(Steps {
            device: device.clone(),
            operations: 0,
            steps: 0,
            most: 0,
            status: FuserStatus::Open,
        })
    }
}

/// Steps one after the other, with nothing between them.
#[derive(Clone)]
struct Steps {
    device: CubeDevice,
    operations: usize,
    steps: usize,
    /// After how many steps it is enough, and they are launched: while the next ones are registered.
    most: usize,
    status: FuserStatus,
}

/// Steps that are launched at a time, more or less.
const AT_A_TIME: usize = 32;

impl OperationFuser<CubeOptimization> for Steps {
    fn fuse(&mut self, operation: &OperationIr) {
        if self.status == FuserStatus::Closed {
            return;
        }
        match operation {
            OperationIr::Custom(custom) if custom.id.starts_with(stream::NAME) => {
                if self.steps == 0 {
                    let shared = stream::shared(custom);
                    // But for the link.
                    let bindings = custom.inputs.len() - 1 - shared;
                    let launch = Limits::of(&self.device).together(bindings, shared);
                    self.most = launch * (AT_A_TIME / launch).max(1);
                }
                self.steps += 1;
            }
            // Of what is not needed any more.
            OperationIr::Drop(_) if self.steps > 0 => {}
            _ => {
                self.status = FuserStatus::Closed;
                return;
            }
        }
        self.operations += 1;
        if self.steps == self.most {
            self.status = FuserStatus::Closed;
        }
    }

    fn finish(&mut self) -> CubeOptimization {
        CubeOptimization::new(Together {
            operations: self.operations,
        })
    }

    fn reset(&mut self) {
        self.operations = 0;
        self.steps = 0;
        self.status = FuserStatus::Open;
    }

    fn status(&self) -> FuserStatus {
        self.status
    }

    fn properties(&self) -> FuserProperties {
        FuserProperties {
            score: self.steps as u64,
            ready: self.steps > 0,
        }
    }

    fn len(&self) -> usize {
        self.operations
    }

    fn clone_dyn(&self) -> Box<dyn OperationFuser<CubeOptimization>> {
        Box::new(self.clone())
    }
}

/// So many operations, of which the steps are launched together.
struct Together {
    operations: usize,
}

impl FusedOperation for Together {
    const NAME: &'static str = "downhill.step";
    type State = usize;

    fn num_ops_fused(&self) -> usize {
        self.operations
    }

    fn run(
        &mut self,
        context: &mut Context<CubeFusionHandle>,
        fallback: &dyn Fn(usize) -> Box<dyn FallbackOperation>,
    ) {
        stream::together(|| {
            for at in 0..self.operations {
                fallback(at).run(context);
            }
        });
    }

    fn to_state(&self) -> usize {
        self.operations
    }

    fn from_state(_: &CubeDevice, operations: usize) -> Self {
        Self { operations }
    }
}
