use core::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::backend::DispatchTensor;

use super::coefficient::Coefficient;
use super::model::{self, Looked, Seen, ToldOfModel};
use super::place::Place;
use crate::RuleOptimizer;
use crate::program::Driven;
use crate::tensors::memory;
use crate::tensors::optimizer::StateMismatch;

/// What a step of one parameter is told beside Burn's arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    /// Multiplies the gradient, inside the optimizer's own pass.
    pub grad_scale: f64,
    /// Multiplies it as well, where that factor is on the device: nobody waits for it.
    pub coefficient: Option<Coefficient>,
    /// Take the place of settings.
    pub driven: Driven,
    /// The loss from which the gradient is, where that is known.
    pub loss: Option<f64>,
    /// What the optimizers are told that look at the whole model.
    pub of_model: Arc<[ToldOfModel]>,
    /// The parameter that it is for, where that is known: a step of another one passes it by.
    pub place: Option<Place>,
    /// Counts what could not be computed.
    pub failures: Failures,
}

/// How often something could not be computed in a step, such as the eigenvectors of a matrix, so that the last
/// result stands in for it. Clones count together, and are the same.
#[derive(Clone, Debug, Default)]
pub struct Failures(pub(crate) Arc<AtomicU64>);

impl Failures {
    /// How many so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Failures {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Directive {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            grad_scale: 1.0,
            coefficient: None,
            driven: Driven::default(),
            loss: None,
            of_model: Arc::default(),
            place: None,
            failures: Failures::default(),
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

/// What an optimizer of this library says of itself.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The optimizer; it is the [same](RuleOptimizer::is) one.
    pub optimizer: RuleOptimizer,
    /// What is wrong with the state that it was given, if anything is.
    pub mismatch: Option<StateMismatch>,
}

enum Mode {
    Steps,
    /// And what was seen, if it is only looked.
    Directed(Directives, usize, Option<Vec<Looked>>),
    Asking(Vec<Probed>, Option<Place>, Question),
}

/// What a step is asked instead of being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Who makes it.
    Who,
    /// Which parameter to evaluate.
    Evaluated,
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
    follow(directives, None, step).0
}

/// Runs `step`, in which the optimizers of this library move nothing: those that look at the whole model look at
/// their parameters, as they would in a step with these directives, and are told what is [kept](super::ModelState)
/// of it.
///
/// # Panics
///
/// As [`directed`].
pub fn looking<T>(directives: Directives, step: impl FnOnce() -> T) -> (T, Vec<Seen>) {
    let (result, looked) = follow(directives, Some(Vec::new()), step);
    (result, model::read(looked))
}

fn follow<T>(
    directives: Directives,
    looked: Option<Vec<Looked>>,
    step: impl FnOnce() -> T,
) -> (T, Vec<Looked>) {
    let restore = Restore::enter(Mode::Directed(directives, 0, looked));
    let result = step();
    let Mode::Directed(directives, taken, looked) = restore.leave() else {
        return (result, Vec::new());
    };
    if let Directives::Each(each) = directives {
        assert_eq!(taken, each.len(), "one directive for each step");
    }
    (result, looked.unwrap_or_default())
}

/// Runs `step`, in which the optimizers of this library move nothing: each says what it is, and whether
/// the state that it is given fits. Others step as always. Asked is who steps the parameter at `place`, or
/// whoever steps one where that is not known.
pub fn probe<T>(place: Option<Place>, step: impl FnOnce() -> T) -> (T, Vec<Probed>) {
    ask(place, Question::Who, step)
}

/// [`probe`], in which an optimizer of this library returns for a parameter the one to
/// [evaluate](crate::RuleOptimizer::evaluated).
pub fn evaluating<T>(place: Option<Place>, step: impl FnOnce() -> T) -> (T, Vec<Probed>) {
    ask(place, Question::Evaluated, step)
}

fn ask<T>(place: Option<Place>, question: Question, step: impl FnOnce() -> T) -> (T, Vec<Probed>) {
    let restore = Restore::enter(Mode::Asking(Vec::new(), place, question));
    let result = step();
    match restore.leave() {
        Mode::Asking(probed, ..) => (result, probed),
        _ => (result, Vec::new()),
    }
}

/// What a step that begins has to do.
pub(crate) enum Task {
    Step(Directive, Busy),
    /// Of a rule that looks at the whole model.
    Look(Directive, Busy),
    Answer(Question),
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
                memory::memory(param).is_some_and(|memory| memory.address == address)
            })
        };
        let directive = match &mut ambient.mode {
            Mode::Steps => return nothing,
            Mode::Asking(_, place, question) if is_at(place) => return Task::Answer(*question),
            Mode::Asking(..) => return nothing,
            Mode::Directed(Directives::All(directive), ..) => directive.clone(),
            Mode::Directed(Directives::Each(each), taken, _) => match each.get(*taken) {
                Some(directive) if is_at(&directive.place) => {
                    *taken += 1;
                    directive.clone()
                }
                Some(_) => return nothing,
                None if each.iter().any(|told| told.place.is_some()) => return nothing,
                None => panic!("there are {} directives for more steps", each.len()),
            },
        };
        ambient.busy = true;
        match ambient.mode {
            Mode::Directed(_, _, Some(_)) => Task::Look(directive, Busy(true)),
            _ => Task::Step(directive, Busy(true)),
        }
    })
}

pub(crate) fn record(probed: Probed) {
    AMBIENT.with_borrow_mut(|ambient| {
        if let Mode::Asking(list, ..) = &mut ambient.mode {
            list.push(probed);
        }
    });
}

pub(crate) fn record_look(look: Looked) {
    AMBIENT.with_borrow_mut(|ambient| {
        if let Mode::Directed(_, _, Some(looked)) = &mut ambient.mode {
            looked.push(look);
        }
    });
}
