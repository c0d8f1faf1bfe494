use downhill_rule::{Clock, Start};

use crate::pass::{AnyBuffers, AnyViews, Buffers, MAX_SLOTS};
use crate::program::Program;

/// An optimizer in f64 on plain numbers, without a tensor library: the reference of its own tests, and the
/// quickest way to see what it does.
///
/// ```
/// use downhill_optim::AdamConfig;
///
/// let mut adam = AdamConfig::new().try_trajectory(&[2])?;
/// let mut x = [1.0, -2.0];
/// for _ in 0..10 {
///     let grad = x.map(|x| 2.0 * x);
///     adam.step(0.1, &mut x, &grad);
/// }
/// assert!(x[0] < 0.2 && x[1] > -1.2);
/// assert_eq!(adam.state("exp_avg").unwrap().len(), 2);
/// # Ok::<(), downhill_optim::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trajectory {
    program: Program,
    shape: Vec<usize>,
    step: u64,
    scalars: Vec<f64>,
    state: Vec<Vec<f64>>,
    /// Of a rule that looks at the model, which is this tensor alone: what it keeps of it.
    kept: Vec<f64>,
}

impl Trajectory {
    /// A fresh state for a parameter of this shape.
    pub fn new(program: Program, shape: &[usize]) -> Self {
        let scalars = program
            .0
            .memory(shape)
            .iter()
            .map(|slot| slot.initial)
            .collect();
        let kept = program.0.of_model().map(|model| model.kept());
        let kept = kept.unwrap_or_default().into_iter();
        Self {
            kept: kept
                .map(|slot| slot.start.number().unwrap_or_default())
                .collect(),
            program,
            shape: shape.to_vec(),
            step: 0,
            scalars,
            state: Vec::new(),
        }
    }

    /// Moves `param` by one step; both are in row-major order.
    ///
    /// # Panics
    ///
    /// Panics if `param` or `grad` has not as many elements as the shape, if there are none, if the rule has
    /// more than eight state tensors, or if it needs the loss.
    pub fn step(&mut self, lr: f64, param: &mut [f64], grad: &[f64]) {
        self.step_with_loss(lr, param, grad, None);
    }

    /// [`step`](Self::step), with the loss from which the gradient is.
    ///
    /// # Panics
    ///
    /// As [`step`](Self::step).
    pub fn step_with_loss(
        &mut self,
        lr: f64,
        param: &mut [f64],
        grad: &[f64],
        loss: impl Into<Option<f64>>,
    ) {
        let loss = loss.into();
        assert!(
            loss.is_some() || !self.program.0.needs_loss(),
            "this optimizer needs the loss of each step"
        );
        let len: usize = self.shape.iter().product();
        assert!(
            len > 0,
            "there is nothing to step in a parameter without elements"
        );
        assert_eq!(
            (param.len(), grad.len()),
            (len, len),
            "elements of a shape {:?}",
            self.shape
        );
        if self.step == 0 {
            let slots = self.program.0.slots(&self.shape).into_iter();
            let start = |(slot, shape): (downhill_rule::Slot, Vec<usize>)| match slot.start {
                Start::At(initial) => vec![initial; shape.iter().product()],
                Start::Param => param.to_vec(),
            };
            self.state = slots.map(start).collect();
        }
        assert!(
            self.state.len() <= MAX_SLOTS,
            "more than {MAX_SLOTS} state tensors"
        );
        self.step = self.step.saturating_add(1);
        let before = core::mem::take(&mut self.kept);
        let mut known = Vec::new();
        let mut clock = Clock::new(lr, self.step, &mut self.scalars);
        clock.loss = loss;
        let mut slots: [&mut [f64]; MAX_SLOTS] = Default::default();
        for (slot, values) in slots.iter_mut().zip(&mut self.state) {
            *slot = values;
        }
        let buffers = Buffers { param, grad, slots };
        if let Some(model) = self.program.0.of_model() {
            clock.known = Some(&before);
            let sums = model.look(&mut clock, &self.shape, AnyViews::F64(buffers.views()));
            (known, self.kept) = model.settle(&mut clock, &sums, len as f64);
        }
        clock.known = Some(&known);
        let buffers = AnyBuffers::F64(buffers);
        self.program
            .0
            .step_buffers(&mut clock, &self.shape, buffers);
    }

    /// The parameter to evaluate, for the one that is trained: an average, with some optimizers, and the
    /// parameter itself with all others and before the first step.
    pub fn evaluated(&self, param: &[f64]) -> Vec<f64> {
        let mut param = param.to_vec();
        if self.step > 0 {
            self.program
                .0
                .evaluate_buffers(&self.shape, &mut param, &self.state);
        }
        param
    }

    /// The state tensor called `name`, if there is one and a step was made.
    pub fn state(&self, name: &str) -> Option<&[f64]> {
        let slots = self.program.0.slots(&self.shape);
        if let Some(index) = slots.iter().position(|(slot, _)| slot.name == name) {
            return self.state.get(index).map(Vec::as_slice);
        }
        let kept = self.program.0.of_model()?.kept();
        let index = kept.iter().position(|slot| slot.name == name)?;
        self.kept.get(index).map(core::slice::from_ref)
    }

    /// The host scalar called `name`, if there is one.
    pub fn scalar(&self, name: &str) -> Option<f64> {
        let scalars = self.program.0.memory(&self.shape);
        let index = scalars.iter().position(|scalar| scalar.name == name)?;
        self.scalars.get(index).copied()
    }
}
