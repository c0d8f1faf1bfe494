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

use super::stream;

/// Registers the fuser, once, and says whether that came in time: streams that are there already know nothing of it.
pub(crate) fn enable() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| register(Provider).is_ok())
}

struct Provider;

impl OptimizationProvider for Provider {
    type Operation = Together;

    fn fuser(&self, _: &CubeDevice) -> CubeFuser {
        CubeFuser::new(Steps::default())
    }
}

/// Steps one after the other, with nothing between them.
#[derive(Clone)]
struct Steps {
    steps: usize,
    status: FuserStatus,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            steps: 0,
            status: FuserStatus::Open,
        }
    }
}

impl OperationFuser<CubeOptimization> for Steps {
    fn fuse(&mut self, operation: &OperationIr) {
        if self.status == FuserStatus::Closed {
            return;
        }
        match operation {
            OperationIr::Custom(custom) if custom.id.starts_with(stream::NAME) => self.steps += 1,
            _ => self.status = FuserStatus::Closed,
        }
    }

    fn finish(&mut self) -> CubeOptimization {
        CubeOptimization::new(Together { steps: self.steps })
    }

    fn reset(&mut self) {
        *self = Self::default();
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
        self.steps
    }

    fn clone_dyn(&self) -> Box<dyn OperationFuser<CubeOptimization>> {
        Box::new(self.clone())
    }
}

/// So many steps, that are launched together.
struct Together {
    steps: usize,
}

impl FusedOperation for Together {
    const NAME: &'static str = "downhill.step";
    type State = usize;

    fn num_ops_fused(&self) -> usize {
        self.steps
    }

    fn run(
        &mut self,
        context: &mut Context<CubeFusionHandle>,
        fallback: &dyn Fn(usize) -> Box<dyn FallbackOperation>,
    ) {
        stream::together(|| {
            for at in 0..self.steps {
                fallback(at).run(context);
            }
        });
    }

    fn to_state(&self) -> usize {
        self.steps
    }

    fn from_state(_: &CubeDevice, steps: usize) -> Self {
        Self { steps }
    }
}
