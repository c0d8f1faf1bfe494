//! Which steps go into one launch.

use std::sync::Arc;

use burn::backend::fusion::custom::TensorId;
use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, ir::FloatKind};
use burn_cubecl::tensor::CubeTensor;

use crate::tensors::state::state_dtype;

use super::kernel::{self, Program};

/// One step that is to be launched.
pub(super) struct Job {
    pub program: Program,
    pub scalars: Arc<[f64]>,
    /// What its outputs are called.
    pub written: Vec<TensorId>,
    /// Parameter, gradient and state.
    pub inputs: Vec<CubeTensor>,
    /// Parameter and state, where they do not take the place of the old ones.
    pub outputs: Vec<Option<CubeTensor>>,
}

/// Elements from which a parameter has a launch of its own.
const LARGE: usize = 1 << 18;

/// Parameters of one launch at most, where the device takes as many buffers.
const TOGETHER: usize = 32;

/// Threads of a cube. It is a part of the kernel, so it is the same for all.
const CUBE: u32 = 256;

impl Job {
    fn len(&self) -> usize {
        self.inputs[0].meta.num_elements()
    }

    fn width(&self) -> usize {
        if self.len().is_multiple_of(4) { 4 } else { 1 }
    }

    fn is_large(&self) -> bool {
        self.len() >= LARGE
    }

    /// Buffers that it takes: an output in place of its input takes none.
    fn bindings(&self) -> usize {
        self.inputs.len() + self.outputs.iter().flatten().count()
    }

    /// Whether both can be parts of one launch.
    fn goes_with(&self, other: &Self) -> bool {
        self.program == other.program
            && self.scalars == other.scalars
            && self.width() == other.width()
            && self.inputs[0].dtype == other.inputs[0].dtype
            && !self.is_large()
            && !other.is_large()
    }
}

/// Launches them, as many together as possible.
pub(super) fn all(jobs: Vec<Job>) {
    let mut left = jobs;
    while !left.is_empty() {
        let first = left.remove(0);
        let (fitting, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|job| first.goes_with(job));
        left = others;
        let mut group = vec![first];
        group.extend(fitting);
        some(group);
    }
}

/// Launches steps that can go together: one alone, or as many as a launch takes, so that there are two kernels of a
/// tape and not one for each number of parameters.
fn some(mut jobs: Vec<Job>) {
    let client = jobs[0].inputs[0].client.clone();
    // One is left to the numbers.
    let bindings = client.properties().hardware.max_bindings as usize - 1;
    let most = jobs.iter().map(Job::bindings).max().unwrap_or(1);
    let together = (bindings / most).clamp(1, TOGETHER);
    while !jobs.is_empty() {
        let rest = jobs.split_off(together.min(jobs.len()));
        let count = if jobs.len() == 1 { 1 } else { together };
        launch(&client, &jobs, count);
        jobs = rest;
    }
}

/// One launch of `count` parameters; where there are fewer, the others have no elements.
fn launch(client: &Client, jobs: &[Job], count: usize) {
    let width = jobs[0].width();
    let dtype = jobs[0].inputs[0].dtype;
    let stored = ElemType::Float(kind(dtype));
    let computed = ElemType::Float(kind(state_dtype(dtype).into()));
    let padded = || (0..count).map(|at| (at, jobs.get(at).unwrap_or(&jobs[0])));
    let slots = jobs[0].inputs.len() - 2;
    let input = |tensor: &CubeTensor| tensor.clone().into_buffer_arg();
    // An output that takes no buffer of its own is told which input it is, by its place among all of them.
    let output = |job: &Job, at: usize, place: usize| match &job.outputs[at] {
        Some(output) => input(output),
        None => BufferArg::alias(place, job.len()),
    };
    let lens = padded().map(|(at, job)| match jobs.get(at) {
        Some(_) => job.len() / width,
        None => 0,
    });
    let lens: Vec<usize> = lens.collect();
    let dim = CubeDim::new_1d(CUBE);
    let cubes = match count {
        1 => calculate_cube_count_elemwise(client, lens[0], dim),
        _ => {
            let cubes = lens.iter().map(|len| len.div_ceil(CUBE as usize));
            CubeCount::new_1d(cubes.sum::<usize>() as u32)
        }
    };
    let longest = jobs.iter().map(Job::len).max().unwrap_or_default();
    kernel::step::launch(
        client,
        cubes,
        dim,
        AddressType::from_len(longest),
        width,
        padded().map(|(_, job)| input(&job.inputs[0])).collect(),
        padded().map(|(_, job)| input(&job.inputs[1])).collect(),
        padded()
            .flat_map(|(_, job)| job.inputs[2..].iter().map(input))
            .collect(),
        padded().map(|(at, job)| output(job, 0, at)).collect(),
        padded()
            .flat_map(|(at, job)| {
                let place = 2 * count + at * slots;
                (0..slots).map(move |slot| output(job, slot + 1, place + slot))
            })
            .collect(),
        lens.iter()
            .map(|&len| InputScalar::new(len as u32, u32::elem_type_native()))
            .collect(),
        jobs[0]
            .scalars
            .iter()
            .map(|&number| InputScalar::new(number, computed))
            .collect(),
        jobs[0].program.clone(),
        [stored, computed],
    );
}

fn kind(dtype: DType) -> FloatKind {
    match dtype {
        DType::F64 => FloatKind::F64,
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        _ => FloatKind::F32,
    }
}
