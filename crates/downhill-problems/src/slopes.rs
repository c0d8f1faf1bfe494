//! Functions that come with their derivative.
//!
//! Autodiff records every operation, and on the way back computes some a second time: Burn's `tanh`
//! keeps its input and not its result. In the step of a small model that is most of the work. Here the
//! function and its slope are computed without autodiff, which then sees a straight line.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation::log_softmax};

/// Zeros, whose derivative by `x` is `slope`: the straight line through `x`.
fn line<const D: usize>(x: Tensor<D>, slope: Tensor<D>) -> Tensor<D> {
    let origin = x.clone().without_autodiff();
    (x - origin) * slope
}

/// The hyperbolic tangent, as `1 - 2 / (exp(2 x) + 1)`.
///
/// That is exact to the rounding of numbers near 1. A `tanh` of the C library, which CPUs call element
/// by element, has all digits near 0 as well, and can take ten times as long as an `exp`.
pub(crate) fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let powers = (x.clone().without_autodiff() * 2).exp();
    let value = (powers + 1).recip() * -2 + 1;
    if !x.is_autodiff() {
        return value;
    }
    let slope = -value.clone().square() + 1;
    line(x, slope) + value
}

/// Mean cross-entropy in nats, shape `[1]`, of logits of shape `[samples, classes]`. Its slope is the
/// softmax, less 1 at each sample's own class, over the number of samples.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let plain = logits.clone().without_autodiff();
    let own = targets.without_autodiff().unsqueeze_dim(1);
    let logs = log_softmax(plain.clone(), 1);
    let value = -logs.clone().gather(1, own.clone()).mean();
    if !logits.is_autodiff() {
        return value;
    }
    let samples = plain.dims()[0];
    let minus_one = Tensor::full([samples, 1], -1, &plain.device());
    let slope = logs.exp().scatter(1, own, minus_one, IndexingUpdateOp::Add) / samples as f64;
    line(logits, slope).sum() + value
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::loss::CrossEntropyLossConfig,
        tensor::{Device, Distribution, Tolerance, activation},
    };

    use super::*;

    /// What a function gives, and its gradient.
    fn both<const D: usize>(
        f: impl Fn(Tensor<2>) -> Tensor<D>,
        x: &Tensor<2>,
    ) -> (Tensor<D>, Tensor<2>) {
        let x = x.clone().autodiff().require_grad();
        let y = f(x.clone());
        // Unequal weights, so that no two elements are taken for each other.
        let weights = y.clone().without_autodiff() + 2;
        let gradients = (y.clone() * weights).sum().backward();
        let gradient = x.grad(&gradients).expect("x requires one");
        (y.without_autodiff(), gradient)
    }

    #[test]
    fn value_and_gradient_of_tanh_are_burns() {
        let ends = [
            -1e4, -100.0, -44.5, -9.5, -1.0, -1e-4, 0.0, 0.3, 2.0, 20.0, 89.0, 1e30,
        ];
        let x = Tensor::<2>::from_floats([ends], &Device::flex());
        let ((y, slope), (y_burn, slope_burn)) = (both(tanh, &x), both(activation::tanh, &x));
        let near = Tolerance::<f32>::absolute(3e-7);
        y.clone()
            .into_data()
            .assert_approx_eq(&y_burn.into_data(), near);
        let near = Tolerance::<f32>::absolute(2e-6);
        slope
            .into_data()
            .assert_approx_eq(&slope_burn.into_data(), near);
        assert_eq!(tanh(x).into_data(), y.into_data(), "without autodiff");
    }

    #[test]
    fn value_and_gradient_of_the_cross_entropy_are_burns() {
        let device = Device::flex();
        let logits = Tensor::random([5, 3], Distribution::Normal(0.0, 10.0), &device);
        let targets = Tensor::<1, Int>::from_ints([0, 2, 1, 1, 0], &device);
        let burn = CrossEntropyLossConfig::new().init(&device);
        let ours = |logits| cross_entropy(logits, targets.clone());
        let theirs = |logits| burn.forward(logits, targets.clone());
        let ((y, slope), (y_burn, slope_burn)) = (both(ours, &logits), both(theirs, &logits));
        let near = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
        y.clone()
            .into_data()
            .assert_approx_eq(&y_burn.into_data(), near);
        slope
            .into_data()
            .assert_approx_eq(&slope_burn.into_data(), near);
        assert_eq!(ours(logits).into_data(), y.into_data(), "without autodiff");
    }
}
