//! Carrier of a rule that is a whole tensor, of whatever rank and backend.

use core::ops::{Add, Div, Mul, Sub};

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Scalar, Shape, TensorMetadata};
use burn::tensor::BoolDType;
use downhill_rule::{Field, Value};

/// A float tensor without its rank: Burn's tensors have the rank in their type, and a rule would be
/// compiled once for each.
#[derive(Clone)]
pub(crate) struct TensorValue(pub DispatchTensor);

impl TensorValue {
    /// The mean over `dim`, which stays with length 1.
    pub fn mean_dim(self, dim: usize) -> Self {
        Self(Dispatch::float_mean_dim(self.0, dim))
    }

    /// The sum over `dim`, which stays with length 1.
    pub fn sum_dim(self, dim: usize) -> Self {
        Self(Dispatch::float_sum_dim(self.0, dim))
    }

    /// The largest along `dim`, which stays with length 1.
    pub fn max_dim(self, dim: usize) -> Self {
        Self(Dispatch::float_max_dim(self.0, dim))
    }

    /// The sum over everything, in a shape that broadcasts against this tensor.
    pub fn sum(self) -> Self {
        self.reduced(Dispatch::float_sum)
    }

    /// The largest of all, in such a shape.
    pub fn max(self) -> Self {
        self.reduced(Dispatch::float_max)
    }

    /// Reduced over rows and columns, as far as there are several.
    fn over_both(self, reduce: impl Fn(Self, usize) -> Self) -> Self {
        let shape = self.0.shape();
        let several = [1, 2]
            .into_iter()
            .filter(|&dim| shape.get(dim).is_some_and(|&len| len > 1));
        several.fold(self, reduce)
    }

    fn reduced(self, reduce: impl FnOnce(DispatchTensor) -> DispatchTensor) -> Self {
        let rank = self.0.shape().num_dims();
        Self(Dispatch::float_reshape(
            reduce(self.0),
            Shape::from(vec![1; rank]),
        ))
    }
}

macro_rules! binary {
    ($($trait:ident, $method:ident, $op:ident);*) => {$(
        impl $trait for TensorValue {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(Dispatch::$op(self.0, other.0))
            }
        }
    )*};
}

binary!(Add, add, float_add; Sub, sub, float_sub; Mul, mul, float_mul; Div, div, float_div);

// Factors of 1 and terms of 0 are settings that are off: skipping them keeps kernels out of the
// chain, and leaves a tensor's buffer unshared.
impl Value for TensorValue {
    fn scale(self, factor: f64) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self(Dispatch::float_mul_scalar(self.0, Scalar::Float(factor)))
    }

    fn offset(self, term: f64) -> Self {
        if term == 0.0 {
            return self;
        }
        Self(Dispatch::float_add_scalar(self.0, Scalar::Float(term)))
    }

    fn add_scaled(self, other: &Self, factor: f64) -> Self {
        if factor == 0.0 {
            return self;
        }
        self + other.clone().scale(factor)
    }

    fn recip(self) -> Self {
        Self(Dispatch::float_recip(self.0))
    }
    fn sqrt(self) -> Self {
        Self(Dispatch::float_sqrt(self.0))
    }

    fn abs(self) -> Self {
        Self(Dispatch::float_abs(self.0))
    }

    fn sign(self) -> Self {
        // Backends disagree on the sign of a NaN; only a NaN differs from itself.
        let number = Dispatch::float_equal(self.0.clone(), self.0.clone(), bool_dtype(&self.0));
        let sign = Dispatch::float_sign(self.0.clone());
        Self(Dispatch::float_mask_where(self.0, number, sign))
    }

    fn heaviside(self) -> Self {
        // Not by way of a boolean tensor: its cast to floats would not be fused.
        Self(Dispatch::float_sign(self.0)).clamp_min(0.0)
    }

    fn maximum(self, other: Self) -> Self {
        let bool_dtype = bool_dtype(&self.0);
        let larger = Dispatch::float_greater(self.0.clone(), other.0.clone(), bool_dtype);
        Self(Dispatch::float_mask_where(other.0, larger, self.0))
    }

    fn minimum(self, other: Self) -> Self {
        let bool_dtype = bool_dtype(&self.0);
        let smaller = Dispatch::float_lower(self.0.clone(), other.0.clone(), bool_dtype);
        Self(Dispatch::float_mask_where(other.0, smaller, self.0))
    }

    fn select(self, positive: Self, otherwise: Self) -> Self {
        let bool_dtype = bool_dtype(&self.0);
        let above = Dispatch::float_greater_elem(self.0, Scalar::Float(0.0), bool_dtype);
        Self(Dispatch::float_mask_where(otherwise.0, above, positive.0))
    }

    fn powf(self, exponent: f64) -> Self {
        Self(Dispatch::float_powf_scalar(self.0, Scalar::Float(exponent)))
    }

    fn exp(self) -> Self {
        Self(Dispatch::float_exp(self.0))
    }

    fn cbrt(self) -> Self {
        // A power of a negative number is NaN.
        let root = self.clone().abs().powf(1.0 / 3.0);
        root * self.sign()
    }

    fn clamp_min(self, floor: f64) -> Self {
        Self(Dispatch::float_clamp_min(self.0, Scalar::Float(floor)))
    }

    fn clamp_max(self, ceiling: f64) -> Self {
        if ceiling == f64::INFINITY {
            return self;
        }
        Self(Dispatch::float_clamp_max(self.0, Scalar::Float(ceiling)))
    }
}

// In a grid: matrices, rows and columns.
impl Field for TensorValue {
    fn mean(self) -> Self {
        self.over_both(Self::mean_dim)
    }

    fn largest(self) -> Self {
        self.over_both(Self::max_dim)
    }

    fn filled(self, number: f64) -> Self {
        let (shape, device, dtype) = (self.0.shape(), self.0.device(), self.0.dtype());
        Self(Dispatch::float_full(
            shape,
            Scalar::Float(number),
            &device,
            dtype.into(),
        ))
    }
}

fn bool_dtype(tensor: &DispatchTensor) -> BoolDType {
    burn::backend::get_device_settings::<Dispatch>(&tensor.device()).bool_dtype
}
