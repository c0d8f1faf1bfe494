//! A step as one operation in Burn's stream of operations: nothing waits for it.

use std::cell::RefCell;
use std::sync::Arc;

use burn::backend::ExecutionError;
use burn::backend::fusion::FusionTensor;
use burn::backend::fusion::custom::{
    CustomOpIr, HandleContainer, Operation, OperationIr, StreamId, TensorIr,
};
use burn_cubecl::CubeBackend;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;

use super::kernel::Program;
use super::launch::{self, Job};

/// What the names of all steps begin with; a fuser knows them by it.
pub(super) const NAME: &str = "downhill.step.";

/// The gradient's place among the inputs.
const GRAD: usize = 1;

/// Registers one step: from parameter, gradient and state to parameter and state.
pub(super) fn register(
    program: Program,
    scalars: Vec<f64>,
    tensors: Vec<FusionTensor<FusionCubeRuntime>>,
) -> Vec<FusionTensor<FusionCubeRuntime>> {
    let client = tensors[0].client.clone();
    let inputs: Vec<TensorIr> = tensors.into_iter().map(FusionTensor::into_ir).collect();
    let outputs = inputs.iter().enumerate().filter(|(at, _)| *at != GRAD);
    let outputs = outputs.map(|(_, tensor)| {
        TensorIr::uninit(
            client.create_empty_handle(),
            tensor.shape.clone(),
            tensor.dtype,
        )
    });
    let outputs = outputs.collect();
    // Plans of execution are found by what is registered, and that says nothing of the tape but its name.
    let id = format!("{NAME}{:016x}", program.key());
    let ir = Arc::new(CustomOpIr {
        id,
        inputs,
        outputs,
        scalars: Vec::new(),
    });
    let step = StepOperation {
        ir: ir.clone(),
        program,
        scalars: scalars.into(),
    };
    client.register(
        StreamId::current(),
        OperationIr::Custom((*ir).clone()),
        step,
    )
}

#[derive(Debug)]
struct StepOperation {
    ir: Arc<CustomOpIr>,
    program: Program,
    scalars: Arc<[f64]>,
}

impl Operation<FusionCubeRuntime> for StepOperation {
    fn execute(
        &self,
        handles: &mut HandleContainer<CubeFusionHandle>,
    ) -> Result<(), ExecutionError> {
        if waits_for_another(&self.ir) {
            launch::all(
                GATHERED
                    .with_borrow_mut(|jobs| jobs.as_mut().map(core::mem::take))
                    .unwrap_or_default(),
            );
        }
        let inputs: Vec<CubeTensor> = self
            .ir
            .inputs
            .iter()
            .map(|tensor| into_contiguous(handles.get_float_tensor::<CubeBackend>(tensor)))
            .collect();
        let outputs: Vec<Option<CubeTensor>> = inputs
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != GRAD)
            .map(|(_, input)| {
                (!input.can_mut()).then(|| {
                    let (client, device) = (input.client.clone(), input.device.clone());
                    empty_device_dtype(client, device, input.meta.shape().clone(), input.dtype)
                })
            })
            .collect();
        let olds = inputs
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != GRAD)
            .map(|(_, input)| input);
        for (ir, (old, new)) in self.ir.outputs.iter().zip(olds.zip(&outputs)) {
            let output = new.as_ref().unwrap_or(old).clone();
            handles.register_float_tensor::<CubeBackend>(&ir.id, output);
        }
        let job = Job {
            written: self.ir.outputs.iter().map(|output| output.id).collect(),
            program: self.program.clone(),
            scalars: self.scalars.clone(),
            inputs,
            outputs,
        };
        if let Some(job) = gather(job) {
            launch::all(vec![job]);
        }
        Ok(())
    }
}

thread_local! {
    /// Steps that are launched together, while some are gathered.
    static GATHERED: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
}

/// Whether a step reads what one that is gathered has not written yet.
fn waits_for_another(ir: &CustomOpIr) -> bool {
    GATHERED.with_borrow(|gathered| {
        let mut written = gathered.iter().flatten().flat_map(|job| &job.written);
        written.any(|id| ir.inputs.iter().any(|input| input.id == *id))
    })
}

/// Puts a job to the others, if some are gathered on this thread; hands it back otherwise.
fn gather(job: Job) -> Option<Job> {
    GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(jobs) => {
            jobs.push(job);
            None
        }
        None => Some(job),
    })
}

/// Launches together the steps that `run` executes.
pub(super) fn together(run: impl FnOnce()) {
    struct Gathering;
    // Also where one panics: the next step on this thread would wait for ever.
    impl Drop for Gathering {
        fn drop(&mut self) {
            GATHERED.set(None);
        }
    }
    GATHERED.set(Some(Vec::new()));
    let gathering = Gathering;
    run();
    let jobs = GATHERED.take().unwrap_or_default();
    drop(gathering);
    launch::all(jobs);
}
