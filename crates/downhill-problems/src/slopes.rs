//! Functions that come with their derivative.
//!
//! Autodiff records every operation, and on the way back computes some a second time: Burn's `tanh`
//! keeps its input and not its result. In the step of a small model that is most of the work. Here the
//! function and its slope are computed without autodiff, which then sees a straight line.

#[cfg(feature = "flex")]
mod flex;

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation::log_softmax};

/// `value`, whose derivative by `x` is `slope`. It has the shape of `x`, or is one number.
pub(crate) fn with_slope<const D: usize, const E: usize>(
    value: Tensor<E>,
    x: Tensor<D>,
    slope: Tensor<D>,
) -> Tensor<E> {
    #[cfg(feature = "flex")]
    if let Some(value) = flex::with_slope(&value, &x, &slope) {
        return value;
    }
    straight_line(value, x, slope)
}

/// [`with_slope`] from Burn's own operations. Where `x` is infinite it gives NaN.
fn straight_line<const D: usize, const E: usize>(
    value: Tensor<E>,
    x: Tensor<D>,
    slope: Tensor<D>,
) -> Tensor<E> {
    let origin = x.clone().without_autodiff();
    let zeros = (x - origin) * slope;
    let is_one_number = value.shape().num_elements() == 1;
    let zeros = match is_one_number {
        true => zeros.sum().reshape(value.dims()),
        false => zeros.reshape(value.dims()),
    };
    zeros + value
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
    with_slope(value, x, slope)
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
    with_slope(value, logits, slope)
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::loss::CrossEntropyLossConfig,
        tensor::{Device, Distribution, Tolerance, activation},
    };

    use super::*;

    #[test]
    fn the_way_without_an_operation_of_its_own_is_the_same() {
        let device = Device::flex();
        let random = || Tensor::<2>::random([3, 4], Distribution::Normal(0.0, 1.0), &device);
        let (x, value, slope) = (random(), random(), random());
        let [own, straight] = [with_slope::<2, 2>, straight_line]
            .map(|f| both(|x| f(value.clone(), x, slope.clone()), &x));
        assert_eq!(own.0.into_data(), straight.0.into_data());
        assert_eq!(own.1.into_data(), straight.1.into_data());
        let [own, straight] = [with_slope::<2, 1>, straight_line]
            .map(|f| both(|x| f(value.clone().mean(), x, slope.clone()), &x));
        assert_eq!(own.0.into_data(), straight.0.into_data());
        assert_eq!(own.1.into_data(), straight.1.into_data());
    }

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

    #[cfg(feature = "flex")]
    #[test]
    fn tanh_of_the_infinite_is_one_and_flat() {
        let x = Tensor::<2>::from_floats([[f32::INFINITY, -f32::INFINITY]], &Device::flex());
        let (y, slope) = both(tanh, &x);
        assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [1.0, -1.0]);
        assert_eq!(slope.into_data().try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
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
