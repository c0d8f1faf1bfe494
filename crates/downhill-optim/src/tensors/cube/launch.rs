//! Which steps go into one launch.

use std::sync::Arc;

use burn::backend::Shape;
use burn::backend::fusion::custom::TensorId;
use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, ir::FloatKind};
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use downhill_rule::Over;
use downhill_rule::tape::Tape;

use crate::tensors::state::state_dtype;

use super::limits::Limits;
use super::plan::{Grid, Plan};
use super::{kernel, look};

/// What a step computes.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// A tape for each element.
    Each(Arc<Tape>),
    /// A rule that looks, at a parameter of this layout.
    Looking(Arc<Plan>, Grid),
}

impl Program {
    /// A number that tells programs apart.
    pub fn key(&self) -> u64 {
        match self {
            Self::Each(tape) => tape.key(),
            Self::Looking(plan, _) => plan.key(),
        }
    }
}

/// One step that is to be launched.
pub(super) struct Job {
    pub program: Program,
    pub scalars: Arc<[f64]>,
    /// What its outputs are called.
    pub written: Vec<TensorId>,
    /// Parameter, gradient and state; of what is kept before that of elements.
    pub inputs: Vec<CubeTensor>,
    /// The root of a factor on the gradient, and what it is called.
    pub root: Option<(TensorId, CubeTensor)>,
    /// Parameter and state, where they do not take the place of the old ones.
    pub outputs: Vec<Option<CubeTensor>>,
}

/// Elements from which four are taken at a time, where that is possible.
const WIDE: usize = 1 << 12;

/// Threads of a cube. It is a part of the kernel, so there are few of them: for large parameters, and for many that
/// are small.
const CUBES: [u32; 2] = [256, 64];

impl Job {
    fn len(&self) -> usize {
        self.inputs[0].meta.num_elements()
    }

    fn width(&self) -> usize {
        // Small ones are more alike without.
        let wide = self.len() >= WIDE && self.len().is_multiple_of(4);
        if wide { 4 } else { 1 }
    }

    fn scaled_by(&self) -> Option<TensorId> {
        self.root.as_ref().map(|(id, _)| *id)
    }

    fn root<C: CubePrimitive>(&self) -> SequenceArg<Box<[C]>> {
        self.root.iter().map(|(_, root)| input(root)).collect()
    }

    /// Buffers that it has in common with what goes with it.
    fn shared(&self) -> usize {
        usize::from(self.root.is_some())
    }

    /// Buffers that it alone takes: an output in place of its input takes none.
    fn bindings(&self) -> usize {
        self.inputs.len() + self.outputs.iter().flatten().count()
    }

    /// Whether both can be parts of one launch.
    fn goes_with(&self, other: &Self, limits: Limits) -> bool {
        self.len().max(other.len()) < limits.large
            && self.scalars == other.scalars
            && self.scaled_by() == other.scaled_by()
            && self.width() == other.width()
            && self.inputs[0].dtype == other.inputs[0].dtype
    }

    /// The precision of parameter and gradient, and that of everything else.
    fn precisions(&self) -> [ElemType; 2] {
        let dtype = self.inputs[0].dtype;
        [dtype, state_dtype(dtype).into()].map(element)
    }

    /// An output, as what a kernel is given: one that has no buffer of its own is told which input it is.
    fn output(&self, at: usize, place: usize) -> BufferArg {
        match &self.outputs[at] {
            Some(output) => input(output),
            None => BufferArg::alias(
                place,
                self.inputs[at + usize::from(at > 0)].meta.num_elements(),
            ),
        }
    }
}

/// A tensor beside another one, with nothing in it yet.
pub(super) fn empty(beside: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_dtype(beside.client.clone(), beside.device.clone(), shape, dtype)
}

pub(super) fn input(tensor: &CubeTensor) -> BufferArg {
    tensor.clone().into_buffer_arg()
}

pub(super) fn count(number: usize) -> InputScalar {
    InputScalar::new(number as u32, u32::elem_type_native())
}

/// Launches them, as many together as possible.
pub(super) fn all(jobs: Vec<Job>) {
    let Some(job) = jobs.first() else {
        return;
    };
    let limits = Limits::of(&job.inputs[0].device);
    let mut left = Vec::new();
    for job in jobs {
        match &job.program {
            Program::Each(tape) => left.push((tape.clone(), job)),
            Program::Looking(plan, grid) => looking(&job, plan, *grid, limits),
        }
    }
    while !left.is_empty() {
        let (tape, first) = left.remove(0);
        let fits = |(other, job): &(Arc<Tape>, Job)| *other == tape && first.goes_with(job, limits);
        let (fitting, others): (Vec<_>, Vec<_>) = left.into_iter().partition(fits);
        left = others;
        let mut group = vec![first];
        group.extend(fitting.into_iter().map(|(_, job)| job));
        some(&tape, group, limits);
    }
}

/// Cubes of a launch at most: they go on where they end.
const MOST: usize = 1 << 14;

/// Launches the step of a rule that looks.
fn looking(job: &Job, plan: &Arc<Plan>, grid: Grid, limits: Limits) {
    let client = job.inputs[0].client.clone();
    let precisions = job.precisions();
    let alone = grid.len() <= limits.alone;
    let mut sizes = vec![grid.matrices, grid.rows, grid.cols];
    let mut end = 0;
    let mut place = |len: usize| {
        sizes.push(end);
        end += len;
    };
    plan.known.iter().for_each(|&over| place(grid.count(over)));
    for look in 0..plan.looks() {
        plan.over(look).iter().for_each(|&over| match over {
            Over::Whole => place(look::stretches(alone)),
            sides => place(grid.count(sides)),
        });
    }
    let dtype = state_dtype(job.inputs[0].dtype).into();
    let scratch = empty(&job.inputs[0], Shape::from([end.max(1)]), dtype);
    let phases = 2 * plan.looks() + 1;
    let launches = match alone {
        true => vec![(0, phases, 1)],
        false => (0..phases)
            .map(|phase| {
                let cubes = match (phase == phases - 1, phase % 2) {
                    (true, _) => grid.len().div_ceil(look::threads(alone)),
                    (_, 0) => cubes_of_sums(plan, phase / 2, grid),
                    _ => 1,
                };
                (phase, phase + 1, cubes.min(MOST))
            })
            .collect(),
    };
    let slots = job.inputs.len() - 2;
    let first = 2 + job.shared();
    for (from, to, cubes) in launches {
        look::step::launch(
            &client,
            CubeCount::new_1d(cubes as u32),
            CubeDim::new_1d(look::threads(alone) as u32),
            AddressType::from_len(grid.len()),
            1,
            input(&job.inputs[0]),
            input(&job.inputs[1]),
            job.root(),
            job.inputs[2..].iter().map(input).collect(),
            job.output(0, 0),
            (0..slots)
                .map(|slot| job.output(slot + 1, first + slot))
                .collect(),
            input(&scratch),
            sizes.iter().copied().map(count).collect(),
            numbers(&job.scalars, precisions),
            plan.clone(),
            alone,
            from,
            to,
            precisions,
        );
    }
}

/// Cubes that the sums of a look keep at work, of a large parameter.
fn cubes_of_sums(plan: &Plan, look: usize, grid: Grid) -> usize {
    let cubes = plan.over(look).iter().map(|&over| match over {
        Over::Whole => look::stretches(false),
        Over::Rows => grid.count(Over::Rows),
        Over::Cols => grid.count(Over::Cols).div_ceil(look::STRIPE),
    });
    cubes.max().unwrap_or(1)
}

fn numbers(numbers: &[f64], [_, computed]: [ElemType; 2]) -> SequenceArg<InputScalar> {
    let numbers = numbers.iter();
    numbers
        .map(|&number| InputScalar::new(number, computed))
        .collect()
}

/// Launches steps that can go together: one alone, or as many as a launch takes, so that there are two kernels of a
/// tape and not one for each number of parameters.
fn some(tape: &Arc<Tape>, mut jobs: Vec<Job>, limits: Limits) {
    let client = jobs[0].inputs[0].client.clone();
    let bindings = jobs.iter().map(Job::bindings).max().unwrap_or_default();
    let together = limits.together(bindings, jobs[0].shared());
    while !jobs.is_empty() {
        let rest = jobs.split_off(together.min(jobs.len()));
        let count = if jobs.len() == 1 { 1 } else { together };
        launch(&client, tape, &jobs, count);
        jobs = rest;
    }
}

/// One launch of `count` parameters; where there are fewer, the others have no elements.
fn launch(client: &Client, tape: &Arc<Tape>, jobs: &[Job], count: usize) {
    let width = jobs[0].width();
    let precisions = jobs[0].precisions();
    let padded = || (0..count).map(|at| (at, jobs.get(at).unwrap_or(&jobs[0])));
    let slots = jobs[0].inputs.len() - 2;
    let lens = (0..count).map(|at| jobs.get(at).map_or(0, |job| job.len() / width));
    let lens: Vec<usize> = lens.collect();
    let longest = jobs.iter().map(Job::len).max().unwrap_or_default();
    let dim = CubeDim::new_1d(CUBES[usize::from(count > 1 && longest < WIDE)]);
    let cubes = match count {
        1 => calculate_cube_count_elemwise(client, lens[0], dim),
        _ => {
            let cubes = lens.iter().map(|len| len.div_ceil(dim.x as usize));
            CubeCount::new_1d(cubes.sum::<usize>() as u32)
        }
    };
    let states = padded().flat_map(|(_, job)| &job.inputs[2..]);
    let new_states = padded().flat_map(|(at, job)| {
        let first = 2 * count + jobs[0].shared() + at * slots;
        (0..slots).map(move |slot| job.output(slot + 1, first + slot))
    });
    kernel::step::launch(
        client,
        cubes,
        dim,
        AddressType::from_len(longest),
        width,
        padded().map(|(_, job)| input(&job.inputs[0])).collect(),
        padded().map(|(_, job)| input(&job.inputs[1])).collect(),
        jobs[0].root(),
        states.map(input).collect(),
        padded().map(|(at, job)| job.output(0, at)).collect(),
        new_states.collect(),
        lens.iter().copied().map(self::count).collect(),
        numbers(&jobs[0].scalars, precisions),
        tape.clone(),
        precisions,
    );
}

/// The elements of a precision.
pub(super) fn element(dtype: DType) -> ElemType {
    ElemType::Float(match dtype {
        DType::F64 => FloatKind::F64,
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        _ => FloatKind::F32,
    })
}
