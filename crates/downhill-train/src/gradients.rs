//! What is done to gradients before a step: they are checked, measured, added up and scaled.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use downhill_optim::drive::{Measure, Place, Squares, Unfit, examine, state_dtype};

use crate::bound::Bound;
use crate::error::StepCause;
use crate::params::with_rank;
use crate::report::{Joined, NonFiniteGradient, Norm, join, read_pairs};

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
            Ok(measure) => Ok(Seen::Gradient(measure)),
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

/// A change of gradients before the optimizer sees them.
pub(crate) enum Change<'a> {
    /// Drops those of frozen parameters.
    DropFrozen,
    /// What is not finite becomes zero.
    Zero,
    /// Times a factor each.
    Scale(&'a [f64]),
    /// Times the square of a number that is still on the device.
    ScaleBy(Box<Tensor<1>>),
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
            // Some devices take no operation on tensors without elements.
            if grad.shape().num_elements() == 0 {
                let none = TensorData::new(Vec::<f32>::new(), grad.shape());
                let grad = Tensor::from_data(none, (&grad.device(), param.dtype()));
                return self.grads.register::<D>(param.id, grad);
            }
            // Factors may be out of the range of 16 bits.
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
                Change::Scale(factors) => times(grad, factors[at]),
                Change::ScaleBy(root) => times_squared(grad, (**root).clone()),
                Change::ToNorm(threshold) => match seen {
                    Seen::Gradient(Some(Measure::Device(pair))) => {
                        times_squared(grad, device_coefficient((**pair).clone(), *threshold))
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
    let dtype = state_dtype(tensor.dtype());
    tensor.cast(dtype)
}

/// Whether a factor has all its digits in f32.
pub(crate) fn is_normal(factor: f64) -> bool {
    factor.abs() >= f64::from(f32::MIN_POSITIVE)
}

fn times<const D: usize>(grad: Tensor<D>, factor: f64) -> Tensor<D> {
    if is_normal(factor) || grad.dtype() == DType::F64 {
        return grad.mul_scalar(factor);
    }
    // In two steps, the first of which is exact.
    let first = 2f64.powi(-100);
    grad.mul_scalar(first).mul_scalar(factor / first)
}

fn times_squared<const D: usize>(grad: Tensor<D>, root: Tensor<1>) -> Tensor<D> {
    let root = root
        .to_device(&grad.device())
        .cast(FloatDType::from(grad.dtype()))
        .reshape([1; D]);
    grad * root.clone() * root
}

/// The root of the factor that brings a norm which is still on the device down to `threshold`, at most 1.
/// The factor itself can be too small for an f32, which GPUs take for 0.
pub(crate) fn device_coefficient(pairs: Tensor<1>, threshold: f64) -> Tensor<1> {
    let count = pairs.dims()[0] / 2;
    let pairs = pairs.reshape([count, 2]);
    let units = pairs.clone().slice([0..count, 0..1]);
    let sums = pairs.slice([0..count, 1..2]);
    // In the largest unit nothing overflows.
    let largest = units.clone().max();
    let share = units / largest.clone().reshape([1, 1]);
    let norm = (share.square() * sums).sum().sqrt();
    let root = norm.recip().mul_scalar(threshold).sqrt() / largest.sqrt();
    // A norm that is not finite would wipe out what is.
    let broken = root.clone().is_nan();
    root.clamp_max(1.0).mask_fill(broken, 1.0)
}

/// Brock et al., arXiv 2102.06171, equation 3.
fn adaptive<const D: usize>(
    grad: Tensor<D>,
    param: Tensor<D>,
    ratio: f64,
    epsilon: f64,
) -> Tensor<D> {
    // There is no largest element of none.
    if grad.shape().num_elements() == 0 {
        return grad;
    }
    let (of_param, in_it) = unit_norms(in_single(param));
    let limit = (of_param * in_it).clamp_min(epsilon).mul_scalar(ratio);
    // The norm of finite gradients can be infinite: in the unit of the largest it is not.
    let (largest, norm) = unit_norms(grad.clone());
    let limit = limit / norm;
    let kept = limit.clone().greater_equal(largest.clone());
    let clipped = grad.clone() / largest * limit;
    clipped.mask_where(kept.expand(grad.shape()), grad)
}

/// The largest magnitude in each unit, and its norm divided by it, in a shape that broadcasts against the
/// tensor.
fn unit_norms<const D: usize>(tensor: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
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
    (largest, squares.sqrt())
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

/// Moves the gradients of the marked parameters out.
pub(crate) fn split_off<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    marked: &[bool],
) -> GradientsParams {
    struct Split<'a> {
        from: &'a mut GradientsParams,
        to: GradientsParams,
        marked: &'a [bool],
        next: usize,
    }
    impl ModuleVisitor for Split<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let at = self.next;
            self.next += 1;
            if self.marked[at]
                && let Some(grad) = self.from.remove::<D>(param.id)
            {
                self.to.register(param.id, grad);
            }
        }
    }
    let mut split = Split {
        from: grads,
        to: GradientsParams::new(),
        marked,
        next: 0,
    };
    model.visit(&mut split);
    split.to
}

/// Where each parameter is, as an optimizer will find it.
pub(crate) fn places<M: Module>(model: &M, grads: &GradientsParams) -> Vec<Option<Place>> {
    struct Places<'a> {
        grads: &'a GradientsParams,
        places: Vec<Option<Place>>,
    }
    impl ModuleVisitor for Places<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // One that has to go over to its gradient's device does not stay where it is.
            let device = param.lazy_device();
            let grad = self.grads.get::<D>(param.id);
            let stays = grad.is_some_and(|grad| grad.device() == device);
            self.places
                .push(stays.then(|| Place::of(param.val())).flatten());
        }
    }
    let mut places = Places {
        grads,
        places: Vec::new(),
    };
    model.visit(&mut places);
    places.places
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
        // A sum of 16-bit numbers would lose the later ones, and gradients may come in several precisions.
        let grad = grad.cast(state_dtype(param.dtype()));
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

/// The measures that are still on the device, together with the others; none if there are no such.
pub(crate) fn on_device(seen: &[Seen]) -> Option<Tensor<1>> {
    let waits = |seen: &Seen| matches!(seen, Seen::Gradient(Some(Measure::Device(_))));
    if !seen.iter().any(waits) {
        return None;
    }
    match join(&measures(seen)) {
        Joined::Device(pairs) => Some(*pairs),
        Joined::Host(_) => None,
    }
}

/// The norm of all gradients times `factor`; none if they were not measured.
pub(crate) fn norm(seen: &[Seen], factor: f64) -> Option<Norm> {
    if on_device(seen).is_some() {
        return Some(Norm::of(&measures(seen), factor));
    }
    let mut total = None;
    for seen in seen {
        if let Seen::Gradient(Some(Measure::Host(squares))) = seen {
            total = Some(total.map_or(*squares, |total: Squares| total.plus(*squares)));
        }
    }
    total.map(|squares| Norm::host(squares.times(factor)))
}

fn measures(seen: &[Seen]) -> Vec<Measure> {
    let measure = |seen: &Seen| match seen {
        Seen::Gradient(measure) => measure.clone(),
        _ => None,
    };
    seen.iter().filter_map(measure).collect()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::report::Norm;

    /// What a device without a pass of its own would measure.
    fn on_device(values: &[f32]) -> Measure {
        let largest = values
            .iter()
            .fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
        let squares = values.iter().map(|x| (x / largest) * (x / largest)).sum();
        Measure::Device(Box::new(Tensor::from_floats(
            [largest, squares],
            &Device::flex(),
        )))
    }

    fn pairs(measures: &[Measure]) -> Tensor<1> {
        let seen = measures
            .iter()
            .cloned()
            .map(|measure| Seen::Gradient(Some(measure)));
        let seen: Vec<Seen> = seen.collect();
        super::on_device(&seen).expect("one of them is on the device")
    }

    fn norm(values: &[f32]) -> f64 {
        values
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt()
    }

    fn assert_close(found: f64, expected: f64) {
        let difference = (found - expected).abs();
        assert!(
            difference <= 1e-6 * expected.abs(),
            "{found:e}, {expected:e}"
        );
    }

    const GRADS: [&[f32]; 5] = [
        &[3.0, -4.0, 0.0],
        &[1e-30, 2e-30],
        &[3e38, 3e38, -3e38, 3e38],
        &[1e-20, 1e20],
        &[0.0, 0.0],
    ];

    #[test]
    fn a_coefficient_on_the_device_is_the_one_of_the_host() {
        for grads in GRADS {
            for threshold in [1e-3, 1.0, 7.0, 1e30] {
                let measures = [on_device(grads)];
                let root = device_coefficient(pairs(&measures), threshold);
                let root: f64 = root.into_scalar();
                let expected = (threshold / norm(grads)).min(1.0);
                assert_close(root * root, expected);
            }
        }
    }

    #[test]
    fn a_coefficient_is_that_of_all_measures_wherever_they_are() {
        let host = Measure::Host(Squares {
            unit: 2.0,
            sum: 9.0,
        });
        let measures = [
            on_device(&[3.0, 4.0]),
            host,
            on_device(&[0.0]),
            on_device(&[1e-9]),
        ];
        let root = device_coefficient(pairs(&measures), 1.0);
        let root: f64 = root.into_scalar();
        let expected = (25f64 + 36.0).sqrt();
        assert_close(root * root, expected.recip());
        assert_close(Norm::of(&measures, 2.0).value(), 2.0 * expected);
        assert_close(Norm::of(&measures, 2.0).at_most(3.0).value(), 3.0);
        let host = Seen::Gradient(Some(Measure::Host(Squares::default())));
        assert!(super::on_device(&[host]).is_none());
    }

    #[test]
    fn a_norm_on_the_device_that_is_not_finite_scales_nothing() {
        for broken in [[f32::NAN, f32::NAN], [f32::INFINITY, f32::NAN]] {
            let pair = Tensor::from_floats(broken, &Device::flex());
            let measures = [on_device(&[3.0, 4.0]), Measure::Device(Box::new(pair))];
            let root: f64 = device_coefficient(pairs(&measures), 1.0).into_scalar();
            assert_eq!(root, 1.0, "{broken:?}");
        }
    }

    #[test]
    fn a_nan_on_the_host_is_not_lost_beside_a_device() {
        let nan = Squares {
            unit: 1.0,
            sum: f64::NAN,
        };
        let measures = [on_device(&[3.0, 4.0]), Measure::Host(nan)];
        assert!(Norm::of(&measures, 1.0).value().is_nan());
    }

    #[test]
    fn measures_are_read_in_the_order_of_the_parameters() {
        let host = Squares {
            unit: 2.0,
            sum: 9.0,
        };
        let mut seen = [
            Seen::Gradient(Some(on_device(&[3.0, 4.0]))),
            Seen::Missing,
            Seen::Gradient(Some(Measure::Host(host))),
            Seen::Frozen,
            Seen::Gradient(Some(on_device(&[0.0, 2.0]))),
            Seen::Gradient(None),
        ];
        read(&mut seen);
        let norms: Vec<Option<f64>> = seen
            .iter()
            .map(|seen| match seen {
                Seen::Gradient(Some(Measure::Host(squares))) => Some(squares.norm()),
                _ => None,
            })
            .collect();
        assert_eq!(norms, [Some(5.0), None, Some(6.0), None, Some(2.0), None]);
    }

    /// A model whose gradients have these values, with what is seen of them.
    fn model(of_weight: [f32; 2], of_bias: [f32; 1]) -> (Linear, GradientsParams, [Seen; 2]) {
        let device = Device::flex();
        let model: Linear = LinearConfig::new(2, 1).init(&device.clone().autodiff());
        let mut grads = GradientsParams::new();
        let weight = Tensor::<1>::from_floats(of_weight, &device).reshape([2, 1]);
        grads.register(model.weight.id, weight);
        let bias = Tensor::<1>::from_floats(of_bias, &device);
        grads.register(model.bias.as_ref().unwrap().id, bias);
        let seen = [on_device(&of_weight), on_device(&of_bias)];
        (
            model,
            grads,
            seen.map(|measure| Seen::Gradient(Some(measure))),
        )
    }

    fn values(model: &Linear, grads: &GradientsParams) -> [f64; 3] {
        let weight = grads.get::<2>(model.weight.id).unwrap().into_data();
        let bias = grads
            .get::<1>(model.bias.as_ref().unwrap().id)
            .unwrap()
            .into_data();
        let values: Vec<f64> = weight.iter().chain(bias.iter()).collect();
        values.try_into().unwrap()
    }

    #[test]
    fn a_factor_on_the_device_scales_all_gradients() {
        for size in [1.0, 1e20, 1e38] {
            let (model, mut grads, seen) = model([2.0 * size, -size], [2.0 * size]);
            let measures = seen.clone().map(|seen| match seen {
                Seen::Gradient(Some(measure)) => measure,
                _ => unreachable!(),
            });
            let root = device_coefficient(pairs(&measures), 1.5);
            change(&model, &mut grads, &seen, &Change::ScaleBy(Box::new(root)));
            for (found, expected) in values(&model, &grads).into_iter().zip([1.0, -0.5, 1.0]) {
                assert_close(found, expected);
            }
        }
    }

    #[test]
    fn norms_of_single_tensors_come_down_on_the_device() {
        let (model, mut grads, seen) = model([3.0, -4.0], [0.25]);
        change(&model, &mut grads, &seen, &Change::ToNorm(0.5));
        for (found, expected) in values(&model, &grads).into_iter().zip([0.3, -0.4, 0.25]) {
            assert_close(found, expected);
        }
    }

    #[test]
    fn factors_without_all_digits_in_single_lose_none() {
        for factor in [0.5, 1e-37, 1e-40, 3e-45] {
            let (model, mut grads, seen) = model([3e38, -1e38], [2e38]);
            change(&model, &mut grads, &seen, &Change::Scale(&[factor, 1.0]));
            let [first, second, third] = values(&model, &grads);
            assert_close(first, f64::from(3e38f32) * factor);
            assert_close(second, f64::from(-1e38f32) * factor);
            assert_eq!(third, f64::from(2e38f32), "its factor is 1");
        }
    }
}
