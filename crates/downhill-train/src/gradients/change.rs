//! Changes of gradients before the optimizer sees them.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use downhill_optim::drive::{Coefficient, Measure, state_dtype};

use super::Seen;

/// A change of gradients before the optimizer sees them.
pub(crate) enum Change<'a> {
    /// Drops those of frozen parameters.
    DropFrozen,
    /// What is not finite becomes zero.
    Zero,
    /// Times a factor each.
    Scale(&'a [f64]),
    /// Times a factor that is still on the device.
    ScaleBy(Coefficient),
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
                Change::ScaleBy(coefficient) => coefficient.apply(grad),
                Change::ToNorm(threshold) => match seen {
                    Seen::Gradient(Some(Measure::Device(pair))) => {
                        let pair = pair.clone().into_tensor();
                        Coefficient::to_norm(pair, *threshold).apply(grad)
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

/// In the precision of arithmetic.
pub(crate) fn in_single<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
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
