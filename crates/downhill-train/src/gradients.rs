//! What is done to gradients before a step: they are checked, measured, added up and scaled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor};
use downhill_optim::drive::{Measure, Squares, measure};

use crate::driver::Bound;
use crate::error::StepCause;
use crate::params::with_rank;
use crate::report::{Joined, NonFiniteGradient, join, read_pairs};

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
    Ok(inspect.seen)
}

struct Inspect<'a> {
    bound: &'a [Bound],
    grads: &'a GradientsParams,
    measured: bool,
    seen: Vec<Seen>,
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
        // A gradient of another rank cannot be asked for without a panic.
        let grad = catch_unwind(AssertUnwindSafe(|| self.grads.get::<D>(param.id)));
        let Ok(grad) = grad else {
            return Err(StepCause::GradientRank {
                path: info.path.clone(),
                expected: D,
            });
        };
        let Some(grad) = grad else {
            return Ok(match (bound.frozen, param.is_require_grad()) {
                (true, _) => Seen::Frozen,
                (false, true) => Seen::Missing,
                (false, false) if info.trainable => Seen::Frozen,
                (false, false) => Seen::Still,
            });
        };
        self.found += 1;
        let shape = grad.shape();
        if shape.as_slice() != info.shape {
            return Err(StepCause::GradientShape {
                path: info.path.clone(),
                expected: info.shape.clone(),
                found: shape.as_slice().to_vec(),
            });
        }
        if bound.frozen || !param.is_require_grad() {
            return Ok(Seen::Frozen);
        }
        if !info.trainable {
            let path = info.path.clone();
            return Err(StepCause::Thawed { path });
        }
        Ok(Seen::Gradient(self.measured.then(|| measure(&grad))))
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
    let measures = |seen: &mut Seen| match seen {
        Seen::Gradient(Some(measure @ Measure::Device(_))) => Some(measure.clone()),
        _ => None,
    };
    let waiting: Vec<Measure> = seen.iter_mut().filter_map(measures).collect();
    if waiting.is_empty() {
        return;
    }
    let Joined::Device(pairs) = join(&waiting) else {
        return;
    };
    let mut squares = read_pairs(pairs).into_iter();
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

/// A change of gradients before the optimizer sees them.
pub(crate) enum Change<'a> {
    /// Drops those of frozen parameters.
    DropFrozen,
    /// What is not finite becomes zero.
    Zero,
    /// Times a factor each.
    Scale(&'a [f64]),
    /// Times a number that is still on the device.
    ScaleBy(Tensor<1>),
    /// To the norm of a threshold each, by measures that are still on the device.
    ToNorm(f64),
    /// Each element to a range around zero.
    Clamp(f64),
    /// Each unit to a share of the parameter's.
    Adaptive { ratio: f64, epsilon: f64 },
    /// To the precision of the parameter, where asked for.
    Fit(&'a [bool]),
}

/// Changes gradients, in the order of the visit.
pub(crate) fn change<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    seen: &[Seen],
    change: &Change<'_>,
) {
    struct Changing<'a> {
        grads: &'a mut GradientsParams,
        seen: &'a [Seen],
        change: &'a Change<'a>,
        next: usize,
    }
    impl ModuleVisitor for Changing<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let at = self.next;
            self.next += 1;
            let seen = &self.seen[at];
            match (self.change, seen) {
                (Change::DropFrozen, Seen::Frozen) => {
                    let _ = self.grads.remove::<D>(param.id);
                    return;
                }
                (Change::DropFrozen, _) => return,
                (Change::Scale(factors), _) if factors[at] == 1.0 => return,
                (Change::Fit(asked), _) if !asked[at] => return,
                (_, Seen::Gradient(_)) => {}
                _ => return,
            }
            let Some(grad) = self.grads.remove::<D>(param.id) else {
                return;
            };
            // Sums of a window are in single precision until here.
            let dtype = FloatDType::from(param.dtype());
            // Factors may be out of the range of 16 bits.
            let grad = in_single(grad);
            let grad = match self.change {
                Change::Fit(_) => grad,
                _ => in_single(grad),
            };
            let grad = match self.change {
                Change::DropFrozen | Change::Fit(_) => grad,
                Change::Zero => {
                    let broken = grad.clone().is_finite().bool_not();
                    grad.mask_fill(broken, 0.0)
                }
                Change::Scale(factors) => grad.mul_scalar(factors[at]),
                Change::ScaleBy(factor) => scaled(grad, factor.clone()),
                Change::ToNorm(threshold) => match seen {
                    Seen::Gradient(Some(measure @ Measure::Device(_))) => {
                        let factor = device_coefficient(core::slice::from_ref(measure), *threshold);
                        match factor {
                            Some(factor) => scaled(grad, factor),
                            None => grad,
                        }
                    }
                    _ => grad,
                },
                Change::Clamp(limit) => grad.clamp(-*limit, *limit),
                Change::Adaptive { ratio, epsilon } => {
                    adaptive(grad, param.val().without_autodiff(), *ratio, *epsilon)
                }
            };
            self.grads.register(param.id, grad.cast(dtype));
        }
    }
    model.visit(&mut Changing {
        grads,
        seen,
        change,
        next: 0,
    });
}

fn in_single<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F32 | DType::F64 => tensor,
        _ => tensor.cast(FloatDType::F32),
    }
}

fn scaled<const D: usize>(grad: Tensor<D>, factor: Tensor<1>) -> Tensor<D> {
    let factor = factor
        .to_device(&grad.device())
        .cast(FloatDType::from(grad.dtype()));
    grad * factor.reshape([1; D])
}

/// The factor that brings a norm which is still on the device down to `threshold`, at most 1; none where
/// everything is on the host.
pub(crate) fn device_coefficient(measures: &[Measure], threshold: f64) -> Option<Tensor<1>> {
    let Joined::Device(pairs) = join(measures) else {
        return None;
    };
    let count = pairs.dims()[0] / 2;
    let pairs = pairs.reshape([count, 2]);
    let units = pairs.clone().slice([0..count, 0..1]);
    let sums = pairs.slice([0..count, 1..2]);
    // In the largest unit nothing overflows.
    let largest = units.clone().max();
    let share = units / largest.clone().reshape([1, 1]);
    let norm = (share.square() * sums).sum().sqrt();
    let factor = largest.recip().mul_scalar(threshold) / norm;
    Some(factor.clamp_max(1.0))
}

/// Brock et al., arXiv 2102.06171, equation 3.
fn adaptive<const D: usize>(
    grad: Tensor<D>,
    param: Tensor<D>,
    ratio: f64,
    epsilon: f64,
) -> Tensor<D> {
    let param = in_single(param);
    let limit = unit_norms(param).clamp_min(epsilon).mul_scalar(ratio);
    let norms = unit_norms(grad.clone());
    // A unit without a gradient has no norm to be divided by.
    let factor = (limit / norms.clamp_min(f64::from(f32::MIN_POSITIVE))).clamp_max(1.0);
    grad * factor
}

/// The norm of each unit, in a shape that broadcasts against the tensor.
fn unit_norms<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let over: Vec<usize> = match D {
        1 => vec![0],
        // Burn's `Linear` has its outputs last.
        2 => vec![0],
        _ => (1..D).collect(),
    };
    // Divided by the largest magnitude first, so that no square overflows.
    let largest = over
        .iter()
        .fold(tensor.clone().abs(), |tensor, &dim| tensor.max_dim(dim));
    let largest = largest.clamp_min(f64::from(f32::MIN_POSITIVE));
    let share = (tensor / largest.clone()).square();
    let squares = over.iter().fold(share, |tensor, &dim| tensor.sum_dim(dim));
    squares.sqrt() * largest
}

/// Gradients of a window of micro-batches, added up.
#[derive(Default, Debug)]
pub(crate) struct Window {
    pub grads: GradientsParams,
    pub micro_batches: u32,
    /// Sum of the weights.
    pub weight: f64,
    /// Sum of the losses times their weights, and of these weights.
    pub loss: (f64, f64),
}

impl Window {
    /// Adds a micro-batch in place.
    pub fn add<M: Module>(&mut self, model: &M, grads: GradientsParams, weight: f64) {
        let mut add = Add {
            sum: core::mem::take(&mut self.grads),
            grads,
            weight,
        };
        model.visit(&mut add);
        self.grads = add.sum;
    }

    /// Goes over to the same parameters under other ids.
    pub fn move_to(&mut self, bound: &[Bound], to: &[ParamId]) {
        // Ids may have changed places.
        let mut from = core::mem::take(&mut self.grads);
        for (bound, to) in bound.iter().zip(to) {
            let rank = bound.info().shape.len();
            with_rank!(rank, D => {
                if let Some(grad) = from.remove::<D>(bound.id()) {
                    self.grads.register(*to, grad);
                }
            });
        }
    }

    /// The sum of the window and one more micro-batch; both stay as they are.
    pub fn plus<M: Module>(
        &self,
        model: &M,
        grads: &GradientsParams,
        weight: f64,
    ) -> GradientsParams {
        let mut add = Add {
            sum: copied(model, &self.grads),
            grads: copied(model, grads),
            weight,
        };
        model.visit(&mut add);
        add.sum
    }
}

/// The same gradients, sharing their memory.
pub(crate) fn copied<M: Module>(model: &M, grads: &GradientsParams) -> GradientsParams {
    struct Copy<'a> {
        from: &'a GradientsParams,
        to: GradientsParams,
    }
    impl ModuleVisitor for Copy<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.from.get::<D>(param.id) {
                self.to.register(param.id, grad);
            }
        }
    }
    let mut copy = Copy {
        from: grads,
        to: GradientsParams::new(),
    };
    model.visit(&mut copy);
    copy.to
}

struct Add {
    sum: GradientsParams,
    grads: GradientsParams,
    weight: f64,
}

impl ModuleVisitor for Add {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else {
            return;
        };
        // A sum of 16-bit numbers would lose the later ones.
        let grad = in_single(grad);
        let grad = match self.weight {
            1.0 => grad,
            weight => grad.mul_scalar(weight),
        };
        let sum = match self.sum.remove::<D>(param.id) {
            Some(sum) => sum + grad,
            None => grad,
        };
        self.sum.register(param.id, sum);
    }
}

/// The sum over all measures.
pub(crate) fn total(measures: impl Iterator<Item = Squares>) -> Squares {
    measures.fold(Squares::default(), Squares::plus)
}
