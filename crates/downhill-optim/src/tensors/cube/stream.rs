//! A step as one operation in Burn's stream of operations: nothing waits for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use burn::backend::ExecutionError;
use burn::backend::fusion::custom::{
    CustomOpIr, HandleContainer, Operation, OperationIr, StreamId, TensorIr,
};
use burn::backend::fusion::{Client, FusionTensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{self, Job, Program};
use super::together;
use crate::program as optim;

/// What the names of all steps begin with; a fuser knows them by it.
pub(super) const NAME: &str = "downhill.step.";

/// The gradient's place among the inputs.
const GRAD: usize = 1;

/// A float tensor of a device of CubeCL.
pub(super) type Float = FusionTensor<FusionCubeRuntime>;

/// Registers one step of an optimizer: from parameter, gradient and state to parameter and state. The root of a factor
/// on the gradient comes after them.
///
/// The steps of an optimizer on a thread hang together by a link, a tensor that each takes over from the one before:
/// Burn looks only at operations that have a tensor in common as parts of one.
pub(super) fn register(
    optimizer: &optim::Program,
    (program, scalars): (Program, Vec<f64>),
    (tensors, root): (Vec<Float>, Option<Float>),
    first_link: impl FnOnce() -> Option<Float>,
) -> Vec<Float> {
    let changed = tensors.len();
    let client = tensors[0].client.clone();
    let link = match together::enable() {
        true => Link::take(optimizer, &client).or_else(first_link),
        false => None,
    };
    let (links, scaled) = (link.is_some(), root.is_some());
    let inputs = tensors.into_iter().chain(root).chain(link);
    let inputs: Vec<TensorIr> = inputs.map(FusionTensor::into_ir).collect();
    let stays = |at: usize| at == GRAD || (scaled && at == changed);
    let outputs = inputs.iter().enumerate().filter(|(at, _)| !stays(*at));
    let outputs = outputs.map(|(_, tensor)| {
        let id = client.create_empty_handle();
        TensorIr::uninit(id, tensor.shape.clone(), tensor.dtype)
    });
    // Plans of execution are found by what is registered, and that says nothing of the tape but its name.
    let ir = Arc::new(CustomOpIr {
        id: format!("{NAME}{:016x}", program.key()),
        outputs: outputs.collect(),
        inputs,
        scalars: Vec::new(),
    });
    let step = StepOperation {
        ir: ir.clone(),
        links,
        program,
        scalars: scalars.into(),
    };
    let operation = OperationIr::Custom((*ir).clone());
    let mut moved = client.register(StreamId::current(), operation, step);
    if links {
        moved
            .pop()
            .into_iter()
            .for_each(|link| Link::put(optimizer, link));
    }
    moved
}

/// Inputs that the steps of an update have in common: beside the gradient, what does not come out changed.
pub(super) fn shared(step: &CustomOpIr) -> usize {
    step.inputs.len() - step.outputs.len() - 1
}

/// The last link of an optimizer on a device.
struct Link {
    /// Each optimizer has its own: what failed in one training goes on along its link, and not into the next.
    optimizer: optim::Program,
    /// It stays when a thread ends, where there may be nobody left to tell of it.
    tensor: ManuallyDrop<Float>,
}

/// Links of a thread at most.
const LINKS: usize = 32;

thread_local! {
    static LAST: RefCell<VecDeque<Link>> = const { RefCell::new(VecDeque::new()) };
}

impl Link {
    fn take(optimizer: &optim::Program, client: &Client<FusionCubeRuntime>) -> Option<Float> {
        LAST.with_borrow_mut(|links| {
            let at = links.iter().position(|link| {
                Arc::ptr_eq(&link.optimizer.0, &optimizer.0)
                    && link.tensor.client.device() == client.device()
            });
            links.remove(at?).map(Self::into_tensor)
        })
    }

    fn put(optimizer: &optim::Program, tensor: Float) {
        let link = Self {
            optimizer: optimizer.clone(),
            tensor: ManuallyDrop::new(tensor),
        };
        let oldest = LAST.with_borrow_mut(|links| {
            links.push_back(link);
            (links.len() > LINKS).then(|| links.pop_front()).flatten()
        });
        drop(oldest.map(Self::into_tensor));
    }

    fn into_tensor(self) -> Float {
        ManuallyDrop::into_inner(self.tensor)
    }
}

#[derive(Debug)]
struct StepOperation {
    ir: Arc<CustomOpIr>,
    /// Whether the last of inputs and outputs is a link.
    links: bool,
    program: Program,
    scalars: Arc<[f64]>,
}

impl Operation<FusionCubeRuntime> for StepOperation {
    fn execute(
        &self,
        handles: &mut HandleContainer<CubeFusionHandle>,
    ) -> Result<(), ExecutionError> {
        launch_what_is_waited_for(&self.ir);
        let mut input = |tensor| handles.get_float_tensor::<CubeBackend>(tensor);
        let mut inputs: Vec<CubeTensor> = self.ir.inputs.iter().map(&mut input).collect();
        let link = inputs.pop_if(|_| self.links);
        let root = inputs.pop_if(|_| shared(&self.ir) == 1);
        let root = root.map(|root| (self.ir.inputs[inputs.len()].id, root));
        let inputs: Vec<CubeTensor> = inputs.into_iter().map(into_contiguous).collect();
        let changed = || {
            inputs
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != GRAD)
                .map(|(_, input)| input)
        };
        let outputs = changed().map(|input| {
            (!input.can_mut())
                .then(|| launch::empty(input, input.meta.shape().clone(), input.dtype))
        });
        let outputs: Vec<Option<CubeTensor>> = outputs.collect();
        let results = changed()
            .zip(&outputs)
            .map(|(old, new)| new.as_ref().unwrap_or(old).clone());
        for (output, result) in self.ir.outputs.iter().zip(results.chain(link)) {
            handles.register_float_tensor::<CubeBackend>(&output.id, result);
        }
        let written = self.ir.outputs.iter().take(outputs.len());
        let job = Job {
            program: self.program.clone(),
            scalars: self.scalars.clone(),
            written: written.map(|output| output.id).collect(),
            inputs,
            root,
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

/// Launches what is gathered, if a step reads what another of them has not written yet.
fn launch_what_is_waited_for(ir: &CustomOpIr) {
    let waited_for = GATHERED.with_borrow_mut(|gathered| {
        let jobs = gathered.as_mut()?;
        let mut written = jobs.iter().flat_map(|job| &job.written);
        let waits = written.any(|id| ir.inputs.iter().any(|input| input.id == *id));
        waits.then(|| core::mem::take(jobs))
    });
    launch::all(waited_for.unwrap_or_default());
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
