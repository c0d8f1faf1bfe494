//! Gradients checked against the model, and measured.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use downhill_optim::drive::{
    Examined, Joined, Measure, Squares, Unfit, Unmeasured, examine, join, measure_all,
};

use super::change::in_single;
use crate::bound::Bound;
use crate::error::StepCause;
use crate::report::{NonFiniteGradient, Norm, read_pairs};

/// What each parameter's gradient is, in the order of the visit.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// There is one; measured if that was asked for.
    Gradient(Option<Measure>),
    /// There is one, but the parameter is frozen.
    Frozen,
    /// There is none, and the parameter does not require one.
    Still,
    /// There is none.
    Missing,
}

impl Seen {
    /// One for each kind.
    pub fn letter(&self) -> char {
        match self {
            Self::Gradient(_) => 'g',
            Self::Frozen => 'f',
            Self::Still => 's',
            Self::Missing => 'm',
        }
    }

    /// What a parameter with this [letter](Self::letter) has or does.
    pub fn words(letter: char) -> &'static str {
        match letter {
            'g' => "has a gradient",
            'f' => "is frozen",
            's' => "requires none",
            _ => "has no gradient",
        }
    }
}

/// Checks the gradients against the model, and measures them if `measured`. Nothing is changed.
pub(crate) fn inspect<M: Module>(
    model: &M,
    bound: &[Bound],
    grads: &GradientsParams,
    measured: bool,
) -> Result<Vec<Seen>, StepCause> {
    let mut inspect = Inspect {
        bound,
        grads,
        measured,
        seen: Vec::with_capacity(bound.len()),
        waiting: Vec::new(),
        found: 0,
        error: None,
    };
    model.visit(&mut inspect);
    if let Some(error) = inspect.error {
        return Err(error);
    }
    if inspect.seen.len() < bound.len() {
        let path = &bound[inspect.seen.len()].info().path;
        let reason = format!("it has no `{path}`");
        return Err(StepCause::OtherModel { reason });
    }
    if inspect.found < grads.len() {
        let count = grads.len() - inspect.found;
        return Err(StepCause::UnknownGradients { count });
    }
    let (places, waiting): (Vec<usize>, Vec<_>) = inspect.waiting.into_iter().unzip();
    let mut seen = inspect.seen;
    for (at, measure) in places.into_iter().zip(measure_all(waiting)) {
        seen[at] = Seen::Gradient(Some(measure));
    }
    Ok(seen)
}

struct Inspect<'a> {
    bound: &'a [Bound],
    grads: &'a GradientsParams,
    measured: bool,
    seen: Vec<Seen>,
    /// Those that are measured together, and their places among what is seen.
    waiting: Vec<(usize, Unmeasured)>,
    found: usize,
    error: Option<StepCause>,
}

impl Inspect<'_> {
    fn look<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<Seen, StepCause> {
        let other = |reason: String| StepCause::OtherModel { reason };
        let Some(bound) = self.bound.get(self.seen.len()) else {
            let count = self.bound.len();
            return Err(other(format!("it has more than {count} float tensors")));
        };
        let info = bound.info();
        if bound.id() != param.id {
            let path = &info.path;
            return Err(other(format!(
                "its parameter in the place of `{path}` has another id"
            )));
        }
        let frozen = bound.frozen || !param.is_require_grad();
        // A gradient of another rank cannot be asked for without a panic.
        let mut asked = false;
        let examined = catch_unwind(AssertUnwindSafe(|| {
            let grad = self.grads.get::<D>(param.id);
            asked = true;
            grad.map(|grad| examine(grad, &info.shape, self.measured && !frozen))
        }));
        let path = || info.path.clone();
        let examined = match examined {
            Ok(Some(examined)) => examined,
            Ok(None) => {
                return Ok(match frozen {
                    true if bound.frozen || info.trainable => Seen::Frozen,
                    true => Seen::Still,
                    false => Seen::Missing,
                });
            }
            Err(_) if !asked => {
                return Err(StepCause::GradientRank {
                    path: path(),
                    expected: D,
                });
            }
            Err(panic) => resume_unwind(panic),
        };
        self.found += 1;
        match examined {
            Ok(_) if frozen => Ok(Seen::Frozen),
            Ok(_) if !info.trainable => Err(StepCause::Thawed { path: path() }),
            Ok(Examined::Fits) => Ok(Seen::Gradient(None)),
            Ok(Examined::Measured(squares)) => Ok(Seen::Gradient(Some(Measure::Host(squares)))),
            Ok(Examined::Waits(unmeasured)) => {
                self.waiting.push((self.seen.len(), unmeasured));
                Ok(Seen::Gradient(None))
            }
            Err(Unfit::Shape(found)) => Err(StepCause::GradientShape {
                path: path(),
                expected: info.shape.clone(),
                found,
            }),
            Err(_) => Err(StepCause::GradientAutodiff { path: path() }),
        }
    }
}

impl ModuleVisitor for Inspect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.error.is_some() {
            return;
        }
        match self.look(param) {
            Ok(seen) => self.seen.push(seen),
            Err(error) => self.error = Some(error),
        }
    }
}

/// The measures, all read from the device in one go.
pub(crate) fn read(seen: &mut [Seen]) {
    let waiting = measures(seen).filter(|measure| matches!(measure, Measure::Device(_)));
    let Joined::Device(pairs) = join(waiting) else {
        return;
    };
    let mut squares = read_pairs(*pairs).into_iter();
    for seen in seen {
        if let Seen::Gradient(Some(measure @ Measure::Device(_))) = seen {
            *measure = Measure::Host(squares.next().unwrap_or_default());
        }
    }
}

/// The parameters whose measured gradients are not finite, with how much of them is not.
pub(crate) fn non_finite<M: Module>(
    model: &M,
    bound: &[Bound],
    grads: &GradientsParams,
    seen: &[Seen],
) -> Vec<NonFiniteGradient> {
    let broken = |seen: &Seen| matches!(seen, Seen::Gradient(Some(Measure::Host(squares))) if !squares.is_finite());
    if !seen.iter().any(broken) {
        return Vec::new();
    }
    struct Count<'a> {
        grads: &'a GradientsParams,
        broken: Vec<bool>,
        bound: &'a [Bound],
        next: usize,
        list: Vec<NonFiniteGradient>,
    }
    impl ModuleVisitor for Count<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let at = self.next;
            self.next += 1;
            if !self.broken[at] {
                return;
            }
            let Some(grad) = self.grads.get::<D>(param.id) else {
                return;
            };
            let of = grad.shape().num_elements() as u64;
            let finite = in_single(grad).is_finite().int().sum();
            let finite = finite.into_data().iter::<i64>().next().unwrap_or(0);
            self.list.push(NonFiniteGradient {
                path: self.bound[at].info().path.clone(),
                // At least one, or the sum of squares would be finite.
                elements: of.saturating_sub(u64::try_from(finite).unwrap_or(0)).max(1),
                of,
            });
        }
    }
    let mut count = Count {
        grads,
        broken: seen.iter().map(broken).collect(),
        bound,
        next: 0,
        list: Vec::new(),
    };
    model.visit(&mut count);
    count.list
}

/// The measures that are still on the device, together with the others; none if there are no such.
pub(crate) fn on_device(seen: &[Seen]) -> Option<Tensor<1>> {
    let waits = |seen: &Seen| matches!(seen, Seen::Gradient(Some(Measure::Device(_))));
    if !seen.iter().any(waits) {
        return None;
    }
    match join(measures(seen)) {
        Joined::Device(pairs) => Some(*pairs),
        Joined::Host(_) => None,
    }
}

/// The norm of all gradients times `factor`; none if they were not measured.
pub(crate) fn norm(seen: &[Seen], factor: f64) -> Option<Norm> {
    if on_device(seen).is_some() {
        return Some(Norm::of(measures(seen), factor));
    }
    let mut total = None;
    for seen in seen {
        if let Seen::Gradient(Some(Measure::Host(squares))) = seen {
            total = Some(total.map_or(*squares, |total: Squares| total.plus(*squares)));
        }
    }
    total.map(|squares| Norm::host(squares.times(factor)))
}

fn measures(seen: &[Seen]) -> impl Iterator<Item = &Measure> {
    seen.iter().filter_map(|seen| match seen {
        Seen::Gradient(measure) => measure.as_ref(),
        _ => None,
    })
}
