//! A rule with its type erased: it is compiled once per carrier, however many ranks and backends there are.

use std::sync::Arc;

use downhill_rule::{
    Clock, Look, Numbers, Rule, Scalar, Scope, Size, Slot, Slots, Step, StepRecording,
};

use crate::declare;
use crate::pass::{self, AnyBuffers, AnyViews, Buffers, Element, Sums, Views};
use crate::patterns::Patterns;
#[cfg(feature = "burn")]
use crate::tensors::{LooksAtTensors, OnTensors};

/// A rule that can be run.
#[derive(Clone)]
pub struct Program(pub(crate) Arc<dyn Engine>);

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let slots = self.0.slots(&[1]);
        f.debug_list()
            .entries(slots.iter().map(|(slot, _)| slot.name))
            .finish()
    }
}

impl Program {
    /// A rule that treats every element alone.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn elementwise(rule: impl Rule) -> Self {
        rule.check_slots();
        Self(Arc::new(Elementwise(rule)))
    }

    /// A rule that looks at its tensor before it moves.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn looking(rule: impl Look) -> Self {
        rule.check_slots();
        Self(Arc::new(Looking(rule)))
    }

    /// Programs for parameters of different shapes: `choose` says which is whose.
    pub(crate) fn by_shape<const N: usize>(
        choose: impl Fn(&[usize]) -> usize + Send + Sync + 'static,
        programs: [Self; N],
    ) -> Self {
        let branches = programs.map(Branch::from).into();
        Self::routed(choose, branches, None)
    }

    /// [`by_shape`](Self::by_shape), with the last of them for the parameters of some paths whatever their shape.
    pub(crate) fn routed(
        choose: impl Fn(&[usize]) -> usize + Send + Sync + 'static,
        branches: Vec<Branch>,
        last_for: impl Into<Option<Patterns>>,
    ) -> Self {
        Self(Arc::new(ByShape {
            choose: Arc::new(choose),
            branches,
            last_for: last_for.into(),
        }))
    }

    /// State tensors of a vector.
    pub(crate) fn tensors(&self) -> usize {
        self.0.slots(&[1]).len()
    }

    /// The same with numbers in the place of its own, if there are any. Those that it has not are passed over.
    pub(crate) fn driven(&self, numbers: &Driven) -> Option<Self> {
        let numbers = numbers.0.as_ref()?;
        Some(Self(self.0.driven(numbers)))
    }
}

/// A number by its name.
pub type Named = (Arc<str>, f64);

/// Numbers in the place of a rule's own, by their [names](downhill_rule::Numbers).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Driven(Option<Arc<[Named]>>);

impl FromIterator<Named> for Driven {
    fn from_iter<I: IntoIterator<Item = Named>>(numbers: I) -> Self {
        let numbers: Arc<[_]> = numbers.into_iter().collect();
        Self((!numbers.is_empty()).then_some(numbers))
    }
}

/// Without tensors there is nothing more to be done.
#[cfg(not(feature = "burn"))]
pub(crate) trait OnTensors {}
#[cfg(not(feature = "burn"))]
impl<T> OnTensors for T {}
#[cfg(not(feature = "burn"))]
pub(crate) trait LooksAtTensors {}
#[cfg(not(feature = "burn"))]
impl<T> LooksAtTensors for T {}

/// An object-safe view of a rule.
pub(crate) trait Engine: OnTensors + Send + Sync {
    /// State tensors for a parameter of this shape, with their own shapes.
    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)>;

    /// Host scalars for a parameter of this shape.
    fn memory(&self, shape: &[usize]) -> Vec<Scalar>;

    /// What it looks at before it moves a parameter of this shape, and how often it goes over it.
    fn sight(&self, shape: &[usize]) -> (declare::Scope, usize);

    /// The optimizer that steps a parameter of this shape, where it is another one than it is called.
    fn name(&self, _shape: &[usize]) -> Option<&'static str> {
        None
    }

    /// The program for parameters that are chosen by their path.
    fn by_name(&self) -> Option<(&Patterns, Program)> {
        None
    }

    /// Whether the learning rate matters.
    fn follows_rate(&self) -> bool;

    /// Whether it has a number of this name.
    fn has_number(&self, name: &str) -> bool;

    /// The same with other numbers.
    fn driven(&self, numbers: &[Named]) -> Arc<dyn Engine>;

    /// Whether [`step_buffers`](Self::step_buffers) takes 16-bit parameters.
    fn half_buffers(&self) -> bool;

    /// One step over memory.
    fn step_buffers(&self, clock: &mut Clock, shape: &[usize], buffers: AnyBuffers<'_>);

    /// One step written down, of a rule that runs as such; none of what is made of several pieces.
    fn record(&self, _clock: &mut Clock, _shape: &[usize]) -> Option<StepRecording> {
        None
    }

    /// Turns a parameter of this shape into the one to evaluate, if that is another.
    fn evaluate_buffers(&self, shape: &[usize], param: &mut [f64], state: &[Vec<f64>]);

    /// Whether it needs the loss of a step.
    fn needs_loss(&self) -> bool {
        false
    }

    /// The view of a rule that looks at the whole model, if it does.
    fn of_model(&self) -> Option<&dyn OfModel> {
        None
    }
}

/// A rule that looks at the whole model. What it keeps of that is [`known`](Clock::known) to the clock of
/// these.
pub(crate) trait OfModel: LooksAtTensors {
    /// What it keeps of the model.
    fn kept(&self) -> Vec<Slot>;

    /// What one tensor adds to the sums.
    fn look(&self, clock: &mut Clock, shape: &[usize], views: AnyViews<'_>) -> Sums;

    /// What the sums over as many elements say, and what is kept from now on.
    fn settle(&self, clock: &mut Clock, sums: &Sums, elements: f64) -> (Vec<f64>, Vec<f64>);
}

/// The rule with other numbers.
fn with_numbers<R: Numbers + Clone>(rule: &R, numbers: &[Named]) -> R {
    let mut rule = rule.clone();
    for (name, number) in numbers {
        if let Some(own) = rule.number_mut(name) {
            *own = *number;
        }
    }
    rule
}

/// A rule that treats every element alone.
pub(crate) struct Elementwise<R>(pub R);

impl<R: Rule> Elementwise<R> {
    pub fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        let grad_scale = clock.grad_scale;
        let mut step = self.0.prepare(clock);
        step.sign *= grad_scale;
        step
    }

    fn run<E: Element>(&self, clock: &mut Clock, buffers: Buffers<'_, E>) {
        pass::elementwise::<R, E>(&self.prepare(clock), buffers);
    }
}

impl<R: Rule> Engine for Elementwise<R> {
    fn sight(&self, _: &[usize]) -> (declare::Scope, usize) {
        (declare::Scope::Element, 1)
    }

    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        let slots = self.0.slots().into_iter();
        slots.map(|slot| (slot, shape.to_vec())).collect()
    }

    fn memory(&self, _: &[usize]) -> Vec<Scalar> {
        self.0.memory()
    }

    fn follows_rate(&self) -> bool {
        self.0.follows_rate()
    }

    fn has_number(&self, name: &str) -> bool {
        self.0.clone().number_mut(name).is_some()
    }

    fn driven(&self, numbers: &[Named]) -> Arc<dyn Engine> {
        Arc::new(Self(with_numbers(&self.0, numbers)))
    }

    fn half_buffers(&self) -> bool {
        true
    }

    fn step_buffers(&self, clock: &mut Clock, _shape: &[usize], buffers: AnyBuffers<'_>) {
        match buffers {
            AnyBuffers::F32(buffers) => self.run(clock, buffers),
            AnyBuffers::F64(buffers) => self.run(clock, buffers),
            AnyBuffers::F16(buffers) => self.run(clock, buffers),
            AnyBuffers::Bf16(buffers) => self.run(clock, buffers),
        }
    }

    fn record(&self, clock: &mut Clock, _: &[usize]) -> Option<StepRecording> {
        Some(StepRecording::of_rule::<R>(&self.prepare(clock)))
    }

    fn evaluate_buffers(&self, _: &[usize], param: &mut [f64], state: &[Vec<f64>]) {
        if !self.0.has_evaluated() {
            return;
        }
        for (i, param) in param.iter_mut().enumerate() {
            let mut slots = state.iter().map(|slot| slot[i]);
            let slots = R::State::gather(&mut || slots.next().expect("one number per slot"));
            *param = self.0.evaluated(*param, slots);
        }
    }
}

/// Whoever runs a rule that looks at the model says what is known of it.
pub(crate) const NO_MODEL: &str = "what is known of the model";

/// A rule that looks before it moves.
pub(crate) struct Looking<R>(pub R);

impl<R: Look> Looking<R> {
    pub fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<R::Coefs> {
        let grad_scale = clock.grad_scale;
        let mut step = self.0.prepare(clock, shape);
        step.sign *= grad_scale;
        step
    }

    pub fn is_of_model(&self) -> bool {
        self.0.scope() == Scope::Model
    }

    fn look<E: Element>(&self, clock: &mut Clock, shape: &[usize], views: Views<'_, E>) -> Sums {
        let known = clock.known.unwrap_or_default();
        pass::part_of_model::<R, E>(&self.prepare(clock, shape), known, views)
    }

    fn run<E: Element>(&self, clock: &mut Clock, shape: &[usize], buffers: Buffers<'_, E>) {
        let known = clock.known;
        let step = self.prepare(clock, shape);
        if self.is_of_model() {
            return pass::knowing::<R, E>(&step, known.expect(NO_MODEL), buffers);
        }
        // A constant: only one of the two is compiled for a rule.
        match R::FRAMED {
            false => pass::looking::<R, E>(&step, buffers),
            true => pass::gridded::<R, E>(&step, &self.0.frame(shape), shape, buffers),
        }
    }
}

impl<R: Look> Engine for Looking<R> {
    fn sight(&self, _: &[usize]) -> (declare::Scope, usize) {
        let scope = match self.0.scope() {
            Scope::Model => declare::Scope::Model,
            Scope::Tensor if R::FRAMED => declare::Scope::RowsAndColumns,
            Scope::Tensor if R::LOOKS > 0 => declare::Scope::Tensor,
            Scope::Tensor => declare::Scope::Element,
        };
        (scope, 1 + R::LOOKS)
    }

    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        let elements = self.0.slots().into_iter();
        let elements = elements.map(|slot| (slot, shape.to_vec()));
        if self.is_of_model() {
            return elements.collect();
        }
        let frame = self.0.frame(shape);
        let kept = self.0.kept().into_iter().zip(R::KEPT);
        let kept = kept.map(|(slot, over)| (slot, frame.kept(shape, over)));
        kept.chain(elements).collect()
    }

    fn memory(&self, _: &[usize]) -> Vec<Scalar> {
        self.0.memory()
    }

    fn follows_rate(&self) -> bool {
        self.0.follows_rate()
    }

    fn has_number(&self, name: &str) -> bool {
        self.0.clone().number_mut(name).is_some()
    }

    fn driven(&self, numbers: &[Named]) -> Arc<dyn Engine> {
        Arc::new(Self(with_numbers(&self.0, numbers)))
    }

    fn half_buffers(&self) -> bool {
        true
    }

    fn step_buffers(&self, clock: &mut Clock, shape: &[usize], buffers: AnyBuffers<'_>) {
        match buffers {
            AnyBuffers::F32(buffers) => self.run(clock, shape, buffers),
            AnyBuffers::F64(buffers) => self.run(clock, shape, buffers),
            AnyBuffers::F16(buffers) => self.run(clock, shape, buffers),
            AnyBuffers::Bf16(buffers) => self.run(clock, shape, buffers),
        }
    }

    fn record(&self, clock: &mut Clock, shape: &[usize]) -> Option<StepRecording> {
        let known = clock.known;
        let step = self.prepare(clock, shape);
        Some(match self.is_of_model() {
            true => StepRecording::of_known::<R>(&step, known.expect(NO_MODEL)),
            false => {
                let frame = R::FRAMED.then(|| self.0.frame(shape));
                StepRecording::of_look::<R>(&step, frame, shape)
            }
        })
    }

    fn evaluate_buffers(&self, _: &[usize], param: &mut [f64], state: &[Vec<f64>]) {
        if !self.0.has_evaluated() {
            return;
        }
        let own = <R::State<f64> as Slots<f64>>::LEN;
        let own = &state[state.len() - own..];
        for (i, param) in param.iter_mut().enumerate() {
            let mut slots = own.iter().map(|slot| slot[i]);
            let slots = R::State::gather(&mut || slots.next().expect("one number per slot"));
            *param = self.0.evaluated(*param, slots);
        }
    }

    fn needs_loss(&self) -> bool {
        self.0.needs_loss()
    }

    fn of_model(&self) -> Option<&dyn OfModel> {
        self.is_of_model().then_some(self)
    }
}

impl<R: Look> OfModel for Looking<R> {
    fn kept(&self) -> Vec<Slot> {
        self.0.kept()
    }

    fn look(&self, clock: &mut Clock, shape: &[usize], views: AnyViews<'_>) -> Sums {
        match views {
            AnyViews::F32(views) => self.look(clock, shape, views),
            AnyViews::F64(views) => self.look(clock, shape, views),
            AnyViews::F16(views) => self.look(clock, shape, views),
            AnyViews::Bf16(views) => self.look(clock, shape, views),
        }
    }

    fn settle(&self, clock: &mut Clock, sums: &Sums, elements: f64) -> (Vec<f64>, Vec<f64>) {
        let before = clock.known.unwrap_or_default();
        let step = self.prepare(clock, &[]);
        let number = |numbers: &[f64], at: usize| numbers.get(at).copied().unwrap_or_default();
        let size = Size {
            whole: elements,
            row: elements,
            col: 1.0,
        };
        let (known, kept) = R::settle::<0, f64>(
            &step.coefs,
            pass::gather(|at| sums[at]),
            &size,
            pass::gather(|at| number(before, at)),
            pass::gather(|at| number(before, at)),
        );
        (pass::listed(known), pass::listed(kept))
    }
}

/// Which of some programs is that of a shape.
type Choose = dyn Fn(&[usize]) -> usize + Send + Sync;

/// One of several programs.
#[derive(Clone)]
pub(crate) struct Branch {
    pub program: Program,
    /// Multiplies the learning rate.
    pub rate: f64,
    /// Multiplies the gradient: -1 to climb.
    pub sign: f64,
    /// The optimizer that it is, where it is not the one that it belongs to. Numbers of that one's name are not its.
    pub name: Option<&'static str>,
}

impl From<Program> for Branch {
    fn from(program: Program) -> Self {
        Self {
            program,
            rate: 1.0,
            sign: 1.0,
            name: None,
        }
    }
}

/// Programs for parameters of different shapes.
#[derive(Clone)]
pub(crate) struct ByShape {
    pub choose: Arc<Choose>,
    pub branches: Vec<Branch>,
    /// Parameters that go to the last one whatever their shape, if some may.
    pub last_for: Option<Patterns>,
}

impl ByShape {
    fn branch(&self, shape: &[usize]) -> &Branch {
        &self.branches[(self.choose)(shape)]
    }

    /// The engine for a shape, which goes by the clock from here on.
    pub fn of(&self, clock: &mut Clock, shape: &[usize]) -> &dyn Engine {
        let branch = self.branch(shape);
        clock.lr *= branch.rate;
        clock.grad_scale *= branch.sign;
        &*branch.program.0
    }

    /// The engine for a shape.
    pub fn engine(&self, shape: &[usize]) -> &dyn Engine {
        &*self.branch(shape).program.0
    }

    fn engines(&self) -> impl Iterator<Item = &dyn Engine> {
        self.branches.iter().map(|branch| &*branch.program.0)
    }
}

impl Engine for ByShape {
    fn sight(&self, shape: &[usize]) -> (declare::Scope, usize) {
        self.engine(shape).sight(shape)
    }

    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        self.engine(shape).slots(shape)
    }

    fn memory(&self, shape: &[usize]) -> Vec<Scalar> {
        self.engine(shape).memory(shape)
    }

    fn name(&self, shape: &[usize]) -> Option<&'static str> {
        let branch = self.branch(shape);
        branch.name.or_else(|| branch.program.0.name(shape))
    }

    fn by_name(&self) -> Option<(&Patterns, Program)> {
        let last = self.branches.len() - 1;
        // With the others, whose numbers are not its.
        let program = Program::routed(move |_| last, self.branches.clone(), None);
        Some((self.last_for.as_ref()?, program))
    }

    fn follows_rate(&self) -> bool {
        self.engines().any(Engine::follows_rate)
    }

    fn has_number(&self, name: &str) -> bool {
        self.engines().any(|engine| engine.has_number(name))
    }

    fn driven(&self, numbers: &[Named]) -> Arc<dyn Engine> {
        let mut driven = self.clone();
        let of_own = |name: &str| {
            let mut own = self.branches.iter().filter(|branch| branch.name.is_none());
            own.any(|branch| branch.program.0.has_number(name))
        };
        let mut others = numbers.to_vec();
        others.retain(|(name, _)| !of_own(name));
        for branch in &mut driven.branches {
            let numbers = if branch.name.is_some() {
                &others
            } else {
                numbers
            };
            branch.program = Program(branch.program.0.driven(numbers));
        }
        Arc::new(driven)
    }

    fn half_buffers(&self) -> bool {
        self.engines().all(Engine::half_buffers)
    }

    fn step_buffers(&self, clock: &mut Clock, shape: &[usize], buffers: AnyBuffers<'_>) {
        self.of(clock, shape).step_buffers(clock, shape, buffers);
    }

    fn record(&self, clock: &mut Clock, shape: &[usize]) -> Option<StepRecording> {
        self.of(clock, shape).record(clock, shape)
    }

    fn evaluate_buffers(&self, shape: &[usize], param: &mut [f64], state: &[Vec<f64>]) {
        self.engine(shape).evaluate_buffers(shape, param, state);
    }

    fn needs_loss(&self) -> bool {
        self.engines().any(Engine::needs_loss)
    }
}
