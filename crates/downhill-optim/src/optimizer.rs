use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Scalar, Shape, TensorMetadata};
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use downhill_rule::factored::FactoredRule;
use downhill_rule::{Clock, Rule, Slot, Start};

use crate::config::Program;
use crate::drive::{
    self, Directive, Identity, OptimizerKey, Probed, StateMismatch, Task, state_dtype,
};
use crate::engine::Engine;
use crate::fused;
use crate::state::{Layout, RuleState, Tensors};
use crate::tensor::TensorValue;

/// The one [`Optimizer`] of this library: it runs any [`Rule`] on any backend.
///
/// On Flex and NdArray a step is one pass over memory, in place when the parameter's and the
/// state's buffers are not shared (with a module that is moved into
/// [`ModuleOptimizer::step`](burn::optim::ModuleOptimizer::step) they are not). Elsewhere it is a
/// chain of tensor operations.
///
/// ```
/// use burn::optim::ModuleOptimizer;
/// use downhill_optim::rule::Cautious;
/// use downhill_optim::{Adam, RuleOptimizer};
///
/// let optim: ModuleOptimizer = RuleOptimizer::new(Cautious(Adam::default())).into();
/// ```
///
/// # Panics
///
/// [`step`](Optimizer::step) panics, before the parameter is touched, if the learning rate is negative
/// or not finite, if the gradient has not the parameter's shape, or if a loaded state tensor has not
/// the shape that the rule needs. A state that another rule saved is replaced by a fresh one, as
/// Burn does with states that it cannot read.
#[derive(Clone)]
pub struct RuleOptimizer {
    engine: Arc<dyn Engine>,
    identity: Option<Arc<Identity>>,
}

impl core::fmt::Debug for RuleOptimizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let slots = self.engine.slots(&[1]);
        let names: Vec<_> = slots.iter().map(|(slot, _)| slot.name).collect();
        f.debug_struct("RuleOptimizer")
            .field("state", &names)
            .finish()
    }
}

impl RuleOptimizer {
    pub(crate) fn of(program: Program) -> Self {
        Self {
            engine: program.0,
            identity: None,
        }
    }

    /// An optimizer that runs `rule`.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn new<R: Rule>(rule: R) -> Self {
        Self::of(Program::elementwise(rule))
    }

    /// An optimizer that runs a rule with a factored second moment.
    pub fn factored(rule: impl FactoredRule) -> Self {
        Self::of(Program::factored(rule))
    }

    /// The same optimizer with a name and settings, which a checkpoint keeps and compares. The configs
    /// of this library give their own.
    ///
    /// ```
    /// use downhill_optim::rule::{Descent, HeavyBall};
    /// use downhill_optim::{Identity, RuleOptimizer};
    ///
    /// let identity = Identity::new("heavy_ball", r#"{"momentum": 0.9}"#);
    /// let rule = HeavyBall { rule: Descent, momentum: 0.9 };
    /// let optim = RuleOptimizer::new(rule).with_identity(identity);
    /// assert_eq!(optim.identity().unwrap().name, "heavy_ball");
    /// ```
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(Arc::new(identity));
        self
    }

    /// Name and settings, if they are known.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// The parameter to evaluate, and to keep after a training, for one that is trained: an average, with
    /// some optimizers ([`Asgd`](crate::Asgd), [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW)), and the
    /// parameter itself with all others. Neither it nor the state is changed.
    ///
    /// # Panics
    ///
    /// Panics if the state is one of another rule, or of a parameter of another shape.
    pub fn evaluated<const D: usize>(&self, param: Tensor<D>, state: &RuleState) -> Tensor<D> {
        let param = param.into_dispatch();
        let shape = param.shape();
        let checked = self.check_state(shape.as_slice(), state);
        checked.unwrap_or_else(|error| panic!("{error}"));
        let dtype = param.dtype();
        let working = DType::from(state_dtype(dtype));
        let mut state = state.clone();
        let tensors = state.on_device(&param.device(), working);
        let value = TensorValue(cast(param.clone(), working));
        let evaluated = self.engine.evaluated(value, tensors);
        Tensor::from_dispatch(evaluated.map_or(param, |value| cast(value.0, dtype)))
    }

    fn probed(&self, shape: &[usize], state: Option<&RuleState>) -> Probed {
        let fits = state.map_or(Ok(()), |state| self.check_state(shape, state));
        Probed {
            key: OptimizerKey(Arc::as_ptr(&self.engine).addr()),
            identity: self.identity.as_deref().cloned(),
            drives: self.engine.drives(),
            mismatch: fits.err(),
        }
    }

    fn fresh_state(&self, shape: &[usize], param: &DispatchTensor) -> RuleState {
        let slots = self.engine.slots(shape);
        let memory = self.engine.memory();
        let dtype = state_dtype(param.dtype());
        let device = param.device();
        let layout = self.layout(&slots);
        let tensors = slots.into_iter().map(|(slot, shape)| {
            let shape = Shape::from(shape);
            match slot.start {
                _ if shape.num_elements() == 0 => {
                    let none = TensorData::new(Vec::<f32>::new(), shape);
                    Dispatch::float_from_data(none.convert_dtype(dtype.into()), &device)
                }
                Start::At(0.0) => Dispatch::float_zeros(shape, &device, dtype),
                Start::At(initial) => {
                    Dispatch::float_full(shape, Scalar::Float(initial), &device, dtype)
                }
                // A buffer of its own: the parameter is changed in place.
                Start::Param => {
                    let zeros = Dispatch::float_zeros(shape, &device, dtype);
                    Dispatch::float_add(zeros, Dispatch::float_cast(param.clone(), dtype))
                }
            }
        });
        RuleState {
            layout: Arc::new(layout),
            step: 0,
            memory: memory.iter().map(|slot| slot.initial).collect(),
            tensors: Tensors::Device(tensors.collect()),
        }
    }

    /// Whether `state` is what this rule would have made; a loaded state adopts no names, so they
    /// are compared once, after loading.
    fn fits(&self, shape: &[usize], state: &RuleState) -> bool {
        match self.check_state(shape, state) {
            Ok(()) => true,
            Err(StateMismatch::OtherRule { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Compares a state with what this rule would make for a parameter of this shape.
    ///
    /// Only one that was loaded can differ: the optimizer makes the others itself.
    pub(crate) fn check_state(
        &self,
        shape: &[usize],
        state: &RuleState,
    ) -> Result<(), StateMismatch> {
        let Tensors::Host(data) = &state.tensors else {
            return Ok(());
        };
        let slots = self.engine.slots(shape);
        let layout = self.layout(&slots);
        if layout != *state.layout {
            return Err(StateMismatch::OtherRule {
                expected: layout.names(),
                found: state.layout.names(),
            });
        }
        for ((slot, shape), data) in slots.iter().zip(data) {
            if data.shape().as_slice() != shape.as_slice() {
                return Err(StateMismatch::Shape {
                    name: slot.name,
                    expected: shape.clone(),
                    found: data.shape().as_slice().to_vec(),
                });
            }
            if !data.dtype().is_float() {
                return Err(StateMismatch::Precision {
                    name: slot.name,
                    found: data.dtype(),
                });
            }
        }
        Ok(())
    }

    fn layout(&self, slots: &[(Slot, Vec<usize>)]) -> Layout {
        let memory = self.engine.memory();
        Layout {
            tensors: unique(slots.iter().map(|(slot, _)| slot.name)),
            scalars: unique(memory.iter().map(|slot| slot.name)),
        }
    }

    /// The step, without the parameter's rank.
    fn advance(
        &self,
        lr: LearningRate,
        mut param: DispatchTensor,
        grad: DispatchTensor,
        state: Option<RuleState>,
        directive: Directive,
    ) -> (DispatchTensor, RuleState) {
        assert!(
            lr.is_finite() && lr >= 0.0,
            "the learning rate must be finite and at least 0, got {lr}"
        );
        let shape = param.shape();
        assert_eq!(
            shape,
            grad.shape(),
            "a gradient must have its parameter's shape"
        );
        let shape = shape.as_slice();
        let mut state = state
            .filter(|state| self.fits(shape, state))
            .unwrap_or_else(|| self.fresh_state(shape, &param));
        state.step = state.step.saturating_add(1);
        // Not every device takes tensors without elements.
        if shape.contains(&0) {
            return (param, state);
        }
        let mut memory = core::mem::take(&mut state.memory);
        let mut clock = Clock::new(lr, state.step, &mut memory);
        clock.driven = directive.driven;
        let grad_scale = directive.grad_scale;
        let dtype = param.dtype();
        let working = DType::from(state_dtype(dtype));
        let tensors = state.on_device(&param.device(), working);
        let left = fused::step(
            &*self.engine,
            &mut clock,
            grad_scale,
            &mut param,
            grad,
            tensors,
        );
        if let Some(grad) = left {
            let value = TensorValue(cast(param, working));
            let grad = TensorValue(cast(grad, working));
            let engine = &self.engine;
            let moved = engine.step_tensors(&mut clock, grad_scale, value, grad, tensors);
            param = cast(moved.0, dtype);
        }
        state.memory = memory;
        (param, state)
    }
}

fn cast(tensor: DispatchTensor, to: DType) -> DispatchTensor {
    match tensor.dtype() == to {
        true => tensor,
        false => Dispatch::float_cast(tensor, to.into()),
    }
}

/// Names with a number after each repetition, as nested rules of one kind give.
fn unique(names: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        let mut candidate = name.to_string();
        let mut count = 1;
        while unique.contains(&candidate) {
            count += 1;
            candidate = format!("{name}_{count}");
        }
        unique.push(candidate);
    }
    unique
}

impl Optimizer for RuleOptimizer {
    type State<const D: usize> = RuleState;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<RuleState>,
    ) -> (Tensor<D>, Option<RuleState>) {
        let param = tensor.into_dispatch();
        match drive::begin(&param) {
            Task::Probe => {
                drive::record(self.probed(param.shape().as_slice(), state.as_ref()));
                (Tensor::from_dispatch(param), state)
            }
            Task::Step(directive, _busy) => {
                let grad = grad.into_dispatch();
                let (param, state) = self.advance(lr, param, grad, state, directive);
                (Tensor::from_dispatch(param), Some(state))
            }
        }
    }

    fn to_device<const D: usize>(state: RuleState, device: &Device) -> RuleState {
        state.moved_to(device)
    }
}
