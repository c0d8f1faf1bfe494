//! For whoever steps a whole model: what a driver can tell the optimizers of this library for one
//! step, what it can ask them, and the passes over memory that it needs itself.
//!
//! Burn hands an optimizer a rate, a parameter, a gradient and a state, and nothing else. A driver that
//! clips across the model has one more number, the factor on the gradient, and it would cost a pass
//! over every gradient to apply it beforehand. [`directed`] brings it to the pass that there is
//! anyway; optimizers that are not of this library do not see it, and [`probe`] tells them apart.
//!
//! ```
//! use burn::optim::Optimizer;
//! use burn::tensor::{Device, Tensor};
//! use downhill_optim::SgdConfig;
//! use downhill_optim::drive::{Directive, Directives, directed};
//!
//! # let device = Device::default();
//! let (param, grad) = (Tensor::<1>::ones([2], &device), Tensor::ones([2], &device));
//! let half = Directive { grad_scale: 0.5, ..Directive::default() };
//! let (param, _) = directed(Directives::All(half), || {
//!     SgdConfig::new().build().step(1.0, param, grad, None)
//! });
//! assert_eq!(param.into_data().to_vec::<f32>()?, [0.5, 0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::cell::RefCell;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Shape, TensorMetadata};
use burn::tensor::{DType, FloatDType, Slice, Tensor, TensorData};
use downhill_rule::{Clock, Driven, Rule, Slot, Step, Value};

use crate::engine::{Elementwise, Engine};
use crate::fused;
use crate::tensor::TensorValue;

pub use fused::Squares;

/// What a step of one parameter is told beside Burn's arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Directive {
    /// Multiplies the gradient, inside the optimizer's own pass.
    pub grad_scale: f64,
    /// Takes the place of settings.
    pub driven: Driven,
    /// The parameter that it is for, where that is known: a step of another one passes it by.
    pub place: Option<Place>,
}

/// Where the elements of a tensor are, if they are in memory that a pass can get at. No two tensors that are
/// alive have the same place, unless they share their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Place {
    /// The place of a tensor's elements; none on devices.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        let tensor = tensor.without_autodiff().into_dispatch();
        fused::memory(&tensor).map(|memory| Self(memory.address))
    }
}

/// The dimensions of a tensor from the one whose elements lie farthest apart to the one whose elements are
/// neighbours, if that is not their own order: a transposed matrix has `[1, 0]`. None on devices, which do
/// not say.
///
/// Products of matrices take other ways through transposed ones, and round differently.
pub fn memory_order<const D: usize>(tensor: Tensor<D>) -> Option<Vec<usize>> {
    let shape = tensor.shape();
    let tensor = tensor.without_autodiff().into_dispatch();
    let strides = fused::memory(&tensor)?.strides;
    let mut order: Vec<usize> = (0..D).collect();
    // Of equal strides that of a single element is the inner one.
    order.sort_by_key(|&dim| core::cmp::Reverse((strides[dim].unsigned_abs(), shape[dim])));
    (!order.is_sorted()).then_some(order)
}

impl Default for Directive {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            grad_scale: 1.0,
            driven: Driven::default(),
            place: None,
        }
    }
}

/// The directives of a whole step.
#[derive(Clone, Debug, PartialEq)]
pub enum Directives {
    /// The same for every parameter.
    All(Directive),
    /// One for each parameter that a [`RuleOptimizer`](crate::RuleOptimizer) steps, in the order of
    /// the steps.
    Each(Vec<Directive>),
}

/// Name and settings of an optimizer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The name, as in JSON and in lists.
    pub name: String,
    /// The settings, as JSON.
    pub settings: String,
}

impl Identity {
    /// A name with settings.
    pub fn new(name: impl Into<String>, settings: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            settings: settings.into(),
        }
    }
}

/// Which settings an optimizer lets a [`Directive`] give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drives {
    /// Whether it has a weight decay.
    pub weight_decay: bool,
    /// Whether it has a momentum.
    pub momentum: bool,
}

/// Why a loaded state is not one that the optimizer would make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateMismatch {
    /// Other tensors or scalars.
    #[error(
        "the state is another optimizer's: it has {}, and should have {}",
        listed(found),
        listed(expected)
    )]
    OtherRule {
        /// The names that the optimizer would use.
        expected: Vec<String>,
        /// The names in the state.
        found: Vec<String>,
    },
    /// A tensor of another shape.
    #[error(
        "the loaded state `{name}` does not fit its parameter: its shape must be {expected:?}, \
         and is {found:?}"
    )]
    Shape {
        /// The tensor's name.
        name: &'static str,
        /// The shape that the optimizer would use.
        expected: Vec<usize>,
        /// The shape of the state.
        found: Vec<usize>,
    },
    /// A tensor that does not hold floating-point numbers.
    #[error("the loaded state `{name}` is in {found:?}, and must be in a floating-point precision")]
    Precision {
        /// The tensor's name.
        name: &'static str,
        /// The precision of the state.
        found: DType,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_string(),
        names => names.join(", "),
    }
}

/// An optimizer of this library; clones are the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptimizerKey(pub(crate) usize);

/// What an optimizer of this library says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Which one it is, as long as it lives.
    pub key: OptimizerKey,
    /// Its name and settings, where they are known.
    pub identity: Option<Identity>,
    /// Which settings can be driven.
    pub drives: Drives,
    /// What is wrong with the state that it was given, if anything is.
    pub mismatch: Option<StateMismatch>,
}

enum Mode {
    Steps,
    Directed(Directives, usize),
    Probing(Vec<Probed>, Option<Place>),
}

/// What is in force on a thread.
struct Ambient {
    mode: Mode,
    /// A step is on its way. While it waits for others in its pass, its thread works off whatever is in the
    /// pool's queue, and a step of somebody else in there must not see the mode.
    busy: bool,
}

impl Ambient {
    const NOTHING: Self = Self {
        mode: Mode::Steps,
        busy: false,
    };
}

thread_local! {
    // A step runs on the thread that calls it; only its passes use others.
    static AMBIENT: RefCell<Ambient> = const { RefCell::new(Ambient::NOTHING) };
}

/// Puts back what was in force, also where `work` panics.
struct Restore(Option<Ambient>);

impl Restore {
    fn enter(mode: Mode) -> Self {
        Self(Some(AMBIENT.replace(Ambient { mode, busy: false })))
    }

    /// The mode that was in force.
    fn leave(mut self) -> Mode {
        let before = self.0.take().unwrap_or(Ambient::NOTHING);
        AMBIENT.replace(before).mode
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            AMBIENT.replace(before);
        }
    }
}

/// Runs `step`, in which every [`RuleOptimizer`](crate::RuleOptimizer) that `step` calls on this thread follows
/// the directives. Whatever else the thread does while one of these waits in its pass does not see them.
///
/// Between two steps it does: if `step` waits in a rayon pool there, an optimizer in a job that the thread takes
/// up would follow a directive that is not for it. Directives that have a [place](Directive::place) are followed
/// by the step of that parameter alone.
///
/// # Panics
///
/// Panics if there are fewer or more directives than steps of this library's optimizers: a wrong
/// parameter would have followed one.
#[inline]
pub fn directed<T>(directives: Directives, step: impl FnOnce() -> T) -> T {
    let restore = Restore::enter(Mode::Directed(directives, 0));
    let result = step();
    if let Mode::Directed(Directives::Each(each), taken) = restore.leave() {
        assert_eq!(taken, each.len(), "one directive for each step");
    }
    result
}

/// Runs `step`, in which the optimizers of this library move nothing: each says what it is, and whether
/// the state that it is given fits. Others step as always. Asked is who steps the parameter at `place`, or
/// whoever steps one where that is not known.
pub fn probe<T>(place: Option<Place>, step: impl FnOnce() -> T) -> (T, Vec<Probed>) {
    let restore = Restore::enter(Mode::Probing(Vec::new(), place));
    let result = step();
    match restore.leave() {
        Mode::Probing(probed, _) => (result, probed),
        _ => (result, Vec::new()),
    }
}

/// What a step that begins has to do.
pub(crate) enum Task {
    Step(Directive, Busy),
    Probe,
}

/// Ends with the step that it was made for.
pub(crate) struct Busy(bool);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0 {
            AMBIENT.with_borrow_mut(|ambient| ambient.busy = false);
        }
    }
}

/// What the step of a parameter that begins has to do; until it ends, no other one on this thread is told
/// anything.
pub(crate) fn begin(param: &DispatchTensor) -> Task {
    AMBIENT.with_borrow_mut(|ambient| {
        let nothing = Task::Step(Directive::default(), Busy(false));
        if ambient.busy {
            return nothing;
        }
        let is_at = |place: &Option<Place>| {
            place.is_none_or(|Place(address)| {
                fused::memory(param).is_some_and(|memory| memory.address == address)
            })
        };
        let directive = match &mut ambient.mode {
            Mode::Steps => return nothing,
            Mode::Probing(_, place) if is_at(place) => return Task::Probe,
            Mode::Probing(..) => return nothing,
            Mode::Directed(Directives::All(directive), _) => *directive,
            Mode::Directed(Directives::Each(each), taken) => match each.get(*taken) {
                Some(directive) if is_at(&directive.place) => {
                    *taken += 1;
                    *directive
                }
                Some(_) => return nothing,
                None if each.iter().any(|told| told.place.is_some()) => return nothing,
                None => panic!("there are {} directives for more steps", each.len()),
            },
        };
        ambient.busy = true;
        Task::Step(directive, Busy(true))
    })
}

pub(crate) fn record(probed: Probed) {
    AMBIENT.with_borrow_mut(|ambient| {
        if let Mode::Probing(list, _) = &mut ambient.mode {
            list.push(probed);
        }
    });
}

/// The precision of arithmetic, of state, and of sums over a training, beside a tensor of this one: 16 bits are
/// too coarse for them.
pub fn state_dtype(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// The sum of squares of a tensor, or where it will be.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Known.
    Host(Squares),
    /// Still on the device: the largest magnitude, and the sum of the squares of the elements divided by
    /// it.
    Device(Box<Tensor<1>>),
}

/// Measures a tensor: in one pass over memory on Flex and NdArray, elsewhere in tensor operations
/// that nothing waits for.
///
/// No finite tensor overflows, whatever its precision. A NaN or an infinity makes the sum a NaN.
pub fn measure<const D: usize>(tensor: Tensor<D>) -> Measure {
    let tensor = tensor.without_autodiff().into_dispatch();
    if let Some(squares) = fused::squares(&tensor) {
        return Measure::Host(squares);
    }
    if tensor.shape().num_elements() == 0 {
        return Measure::Host(Squares::default());
    }
    let dtype = state_dtype(tensor.dtype());
    let tiny = match dtype {
        FloatDType::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    };
    let tensor = match tensor.dtype() == dtype.into() {
        true => tensor,
        false => Dispatch::float_cast(tensor, dtype),
    };
    let flat = Shape::from(vec![tensor.shape().num_elements()]);
    let values = TensorValue(Dispatch::float_reshape(tensor, flat));
    let largest = in_stretches(values.clone().abs(), Dispatch::float_max_dim);
    let largest = largest.clamp_min(tiny);
    let share = values / largest.clone();
    let squares = in_stretches(share.square(), Dispatch::float_sum_dim);
    let pair = Dispatch::float_cat(vec![largest.0, squares.0], 0);
    Measure::Device(Box::new(Tensor::from_dispatch(pair)))
}

/// What is wrong with a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It has this shape, and not its parameter's.
    Shape(Vec<usize>),
    /// It is on an autodiff device.
    Autodiff,
}

/// Compares a gradient with the shape of its parameter, and [measures](measure) it if `measured`.
///
/// # Errors
///
/// If it has another shape, or is on an autodiff device.
#[inline]
pub fn examine<const D: usize>(
    grad: Tensor<D>,
    expected: &[usize],
    measured: bool,
) -> Result<Option<Measure>, Unfit> {
    let grad = grad.into_bridge();
    // What can be read as plain memory has no autodiff, and to ask costs as much as a small one's sum.
    if let Some(examined) = fused::examine(grad.as_parts().1, expected, measured) {
        return examined;
    }
    let grad = Tensor::<D>::from_bridge(grad);
    let found = grad.shape();
    if found.as_slice() != expected {
        return Err(Unfit::Shape(found.as_slice().to_vec()));
    }
    match grad.is_autodiff() {
        true => Err(Unfit::Autodiff),
        false => Ok(measured.then(|| measure(grad))),
    }
}

/// Elements that are reduced in one go.
const STRETCH: usize = 1024;

/// Reduces a vector to one number, stretch by stretch.
///
/// Over one long row Burn's reductions come out wrong on some drivers: on Mesa's lavapipe a maximum passes over
/// what is behind the 65,536th element.
fn in_stretches(
    mut values: TensorValue,
    reduce: impl Fn(DispatchTensor, usize) -> DispatchTensor,
) -> TensorValue {
    loop {
        let len = values.0.shape().num_elements();
        if len <= STRETCH {
            return TensorValue(reduce(values.0, 0));
        }
        let rows = len / STRETCH;
        let slice = |from: usize, to: usize| {
            let range = Slice::new(from as isize, Some(to as isize), 1);
            Dispatch::float_slice(values.0.clone(), &[range])
        };
        let whole = slice(0, rows * STRETCH);
        let whole = Dispatch::float_reshape(whole, Shape::from(vec![rows, STRETCH]));
        let whole = Dispatch::float_reshape(reduce(whole, 1), Shape::from(vec![rows]));
        values = TensorValue(match rows * STRETCH == len {
            true => whole,
            false => Dispatch::float_cat(vec![whole, slice(rows * STRETCH, len)], 0),
        });
    }
}

/// What was read from a device, in memory of its own.
///
/// On wgpu it is a view of a staging buffer that is used again while the view is still held.
pub fn detached(data: TensorData) -> TensorData {
    let (shape, dtype) = (data.shape().clone(), data.dtype());
    TensorData::from_bytes_vec(data.as_bytes().to_vec(), shape, dtype)
}

/// The way from one tensor to another.
#[derive(Clone)]
struct Towards(f64);

impl Rule for Towards {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, _: &mut Clock) -> Step<()> {
        Step::new(self.0, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), from: &V, to: V, state: [V; 0]) -> (V, [V; 0]) {
        (from.clone() - to, state)
    }
}

/// `from + weight·(to - from)`, in place of `from` where its buffer is not shared, in its precision, and
/// on the device of `to`.
///
/// # Panics
///
/// Panics if the shapes differ.
pub fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f64) -> Tensor<D> {
    assert_eq!(from.shape(), to.shape(), "both ends must have one shape");
    if from.shape().num_elements() == 0 {
        return from;
    }
    let mut from = from.into_dispatch();
    let to = to.without_autodiff().into_dispatch();
    let engine = Elementwise(Towards(weight));
    let mut clock = Clock::new(0.0, 1, &mut []);
    if let Some(to) = fused::step(&engine, &mut clock, 1.0, &mut from, to, &mut []) {
        let to = match to.dtype() == from.dtype() {
            true => to,
            false => Dispatch::float_cast(to, FloatDType::from(from.dtype())),
        };
        if from.device() != to.device() {
            from = Dispatch::float_to_device(from, &to.device());
        }
        let moved = engine.step_tensors(
            &mut clock,
            1.0,
            TensorValue(from),
            TensorValue(to),
            &mut Vec::new(),
        );
        from = moved.0;
    }
    Tensor::from_dispatch(from)
}
