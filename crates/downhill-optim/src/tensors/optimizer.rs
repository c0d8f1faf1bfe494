use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Scalar, Shape, TensorMetadata};
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use downhill_rule::{Clock, Look, Rule, Slot, Start};

#[cfg(feature = "cube")]
use super::cube;
use super::drive::{self, Directive, Looked, LookedSums, Probed, Question, Task, ToldOfModel};
use super::memory;
use super::state::{Layout, RuleState, Tensors, state_dtype};
use super::value::TensorValue;
use crate::program::Program;
use crate::settings::{Range, Setting};

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

/// The one [`Optimizer`] of this library: it runs any [`Rule`] on any backend.
///
/// On Flex and NdArray a step is one pass over memory, in place when the parameter's and the
/// state's buffers are not shared (with a module that is moved into
/// [`ModuleOptimizer::step`](burn::optim::ModuleOptimizer::step) they are not). On the devices of CubeCL (wgpu, CUDA and
/// others, with the feature `cube`) it is one kernel, made from what the rule does to one element, in place under the
/// same conditions; see [`launch_together`](crate::launch_together) for several parameters. Elsewhere, and of what is
/// made of several pieces (wrappers, methods of matrices), it is a chain of tensor operations.
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
    program: Program,
    identity: Option<Arc<Identity>>,
    /// What is known of its numbers.
    settings: Arc<[&'static Setting]>,
    /// Whether its steps are kernels where they can be.
    #[cfg(feature = "cube")]
    kernels: bool,
}

impl core::fmt::Debug for RuleOptimizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RuleOptimizer")
            .field("state", &self.program)
            .finish()
    }
}

impl RuleOptimizer {
    pub(crate) fn of(program: Program) -> Self {
        #[cfg(feature = "cube")]
        cube::enable();
        Self {
            program,
            identity: None,
            settings: Arc::default(),
            #[cfg(feature = "cube")]
            kernels: true,
        }
    }

    /// The same, whose numbers have the ranges of a table.
    pub(crate) fn with_settings(mut self, settings: Vec<&'static Setting>) -> Self {
        self.settings = settings.into();
        self
    }

    /// The same with steps that are kernels, where device and rule allow it, or with tensor operations everywhere
    /// but on the CPU. They are kernels unless this or the environment (`DOWNHILL_CUBE=0`) says otherwise.
    #[cfg(feature = "cube")]
    #[must_use]
    pub fn with_kernels(mut self, kernels: bool) -> Self {
        self.kernels = kernels;
        self
    }

    /// An optimizer that runs `rule`.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn new<R: Rule>(rule: R) -> Self {
        Self::of(Program::elementwise(rule))
    }

    /// An optimizer that runs a rule which looks at its tensor before it moves.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn looking(rule: impl Look) -> Self {
        Self::of(Program::looking(rule))
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

    /// The optimizer for the parameters that are chosen by their path, and the regular expressions for those.
    pub(crate) fn by_name(&self) -> Option<(Vec<String>, Self)> {
        let (patterns, program) = self.program.0.by_name()?;
        let mut other = self.clone();
        other.program = program;
        Some((patterns.regexes(), other))
    }

    /// The optimizer that steps a parameter of this shape, where it is not the one of the
    /// [name](Self::identity): one for matrices has another one for what is none.
    pub fn name_for(&self, shape: &[usize]) -> Option<&'static str> {
        self.program.0.name(shape)
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
        let evaluated = self.program.0.evaluated(value, tensors);
        Tensor::from_dispatch(evaluated.map_or(param, |value| cast(value.0, dtype)))
    }

    /// What the number of this name may be, if a schedule can drive it: if it acts at every step and does not
    /// decide about the state.
    pub fn drives(&self, name: &str) -> Option<Range> {
        let range = match self.settings.iter().find(|setting| setting.name == name) {
            Some(setting) => setting.range,
            None if self.settings.is_empty() => Range::FINITE,
            None => return None,
        };
        self.program.0.has_number(name).then_some(range)
    }

    /// Whether the learning rate matters to it after the first step.
    pub fn follows_rate(&self) -> bool {
        self.program.0.follows_rate()
    }

    /// Whether both are one: an optimizer is the same as its clones.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program.0, &other.program.0)
    }

    fn probed(&self, shape: &[usize], state: Option<&RuleState>) -> Probed {
        let fits = state.map_or(Ok(()), |state| self.check_state(shape, state));
        Probed {
            optimizer: self.clone(),
            mismatch: fits.err(),
        }
    }

    fn fresh_state(&self, shape: &[usize], param: &DispatchTensor) -> RuleState {
        let slots = self.program.0.slots(shape);
        let memory = self.program.0.memory(shape);
        let dtype = state_dtype(param.dtype());
        let device = param.device();
        let layout = self.layout(shape, &slots);
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
        let slots = self.program.0.slots(shape);
        let layout = self.layout(shape, &slots);
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

    pub(super) fn layout(&self, shape: &[usize], slots: &[(Slot, Vec<usize>)]) -> Layout {
        let memory = self.program.0.memory(shape);
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
        let mut scalars = core::mem::take(&mut state.memory);
        let mut clock = self.clock(lr, state.step, &mut scalars, &directive);
        let driven = self.program.driven(&directive.driven);
        let engine = &*driven.as_ref().unwrap_or(&self.program).0;
        let dtype = param.dtype();
        let working = DType::from(state_dtype(dtype));
        let tensors = state.on_device(&param.device(), working);
        let coefficient = directive.coefficient.as_ref();
        #[cfg(feature = "cube")]
        if self.kernels {
            let planned = cube::Planned::new(engine, &mut clock, (&param, &grad), tensors);
            if let Some(step) = planned {
                let root = coefficient.map(|coefficient| coefficient.root_for(&grad));
                param = step.run(&self.program, param, (grad, root), tensors);
                state.memory = scalars;
                return (param, state);
            }
        }
        let grad = match coefficient {
            Some(coefficient) => coefficient.times(grad),
            None => grad,
        };
        let mut left = memory::step(engine, &mut clock, &mut param, grad, tensors);
        if let Some(grad) = left.take_if(|_| dtype != working) {
            // A pass that takes no 16 bits takes these.
            param = cast(param, working);
            let grad = cast(grad, working);
            left = memory::step(engine, &mut clock, &mut param, grad, tensors);
        }
        if let Some(grad) = left {
            let value = TensorValue(cast(param, working));
            let grad = TensorValue(cast(grad, working));
            param = engine.step_tensors(&mut clock, value, grad, tensors).0;
        }
        param = cast(param, dtype);
        state.memory = scalars;
        (param, state)
    }
}

impl RuleOptimizer {
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Whether it looks at the whole model before it moves a parameter: then a driver has to step it.
    pub fn looks_at_model(&self) -> bool {
        self.program.0.of_model().is_some()
    }

    /// Whether it needs the loss of each step.
    pub fn needs_loss(&self) -> bool {
        self.program.0.needs_loss()
    }

    /// The clock of one step.
    fn clock<'a>(
        &self,
        lr: LearningRate,
        step: u64,
        memory: &'a mut [f64],
        directive: &'a Directive,
    ) -> Clock<'a> {
        let mut clock = Clock::new(lr, step, memory);
        clock.grad_scale = directive.grad_scale;
        clock.loss = directive.loss;
        clock.failures = Some(&directive.failures.0);
        clock.known = ToldOfModel::find(&directive.of_model, self);
        let name = || {
            self.identity()
                .map_or("this optimizer", |identity| &identity.name)
        };
        assert!(
            clock.known.is_some() || !self.looks_at_model(),
            "{} looks at the whole model, so it is stepped by a driver: \
             `downhill_train::Driver`, or `DrivenStrategy` in burn-train",
            name()
        );
        assert!(
            clock.loss.is_some() || !self.needs_loss(),
            "{} needs the loss of each step: give it to a driver, with `MicroBatch::with_loss`",
            name()
        );
        clock
    }

    /// What one parameter adds to the sums over the model.
    fn look(
        &self,
        lr: LearningRate,
        param: &DispatchTensor,
        grad: DispatchTensor,
        state: Option<&mut RuleState>,
        directive: &Directive,
    ) -> Option<Looked> {
        let shape = param.shape();
        if !self.looks_at_model() || shape.contains(&0) {
            return None;
        }
        let shape = shape.as_slice();
        let state = state.filter(|state| self.fits(shape, state));
        let mut fresh = None;
        let state = match state {
            Some(state) => state,
            None => fresh.insert(self.fresh_state(shape, param)),
        };
        let mut scalars = state.memory.clone();
        let mut clock = self.clock(lr, state.step.saturating_add(1), &mut scalars, directive);
        let driven = self.program.driven(&directive.driven);
        let engine = &*driven.as_ref().unwrap_or(&self.program).0;
        let model = engine.of_model()?;
        let grad = match &directive.coefficient {
            Some(coefficient) => coefficient.times(grad),
            None => grad,
        };
        let working = DType::from(state_dtype(param.dtype()));
        let tensors = state.on_device(&param.device(), working);
        let sums = memory::look(model, &mut clock, param, &grad, tensors).map_or_else(
            || {
                let param = TensorValue(cast(param.clone(), working));
                let grad = TensorValue(cast(grad, working));
                let sums = model.look_at_tensors(&mut clock, param, grad, tensors);
                let flat = |sum: TensorValue| Dispatch::float_reshape(sum.0, Shape::from([1]));
                let sums = sums.into_iter().map(|sum| Tensor::from_dispatch(flat(sum)));
                LookedSums::Device(sums.collect())
            },
            LookedSums::Host,
        );
        Some(Looked {
            optimizer: self.clone(),
            elements: shape.iter().product(),
            sums,
        })
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
            Task::Answer(question) => {
                drive::record(self.probed(param.shape().as_slice(), state.as_ref()));
                let param = Tensor::from_dispatch(param);
                let answer = match (question, &state) {
                    (Question::Evaluated, Some(state)) => self.evaluated(param, state),
                    _ => param,
                };
                (answer, state)
            }
            Task::Look(directive, _busy) => {
                let mut state = state;
                let looked =
                    self.look(lr, &param, grad.into_dispatch(), state.as_mut(), &directive);
                if let Some(looked) = looked {
                    drive::record_look(looked);
                }
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
