use core::ops::{Add, Div, Mul, Sub};

/// The abstract number that a [`Rule`](crate::Rule) computes with: a scalar, one lane of a fused
/// pass, or a whole tensor.
///
/// Host scalars (learning rate, decay factors, bias corrections) are `f64`; an implementation
/// rounds them to its own precision when it applies them. Arithmetic keeps a NaN, and so do the other
/// operations where they say so; on a GPU the shader compiler may assume that there is none.
///
/// ```
/// use downhill_rule::Value;
///
/// fn clipped<V: Value>(grad: V, limit: f64) -> V {
///     grad.scale(1.0 / limit).clamp_min(-1.0).scale(limit)
/// }
/// assert_eq!(clipped(-8.0_f64, 2.0), -2.0);
/// ```
pub trait Value:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// `self * factor`
    fn scale(self, factor: f64) -> Self;
    /// `self + term`
    fn offset(self, term: f64) -> Self;
    /// `self + other * factor`; an implementation may skip the work when `factor` is 0.
    fn add_scaled(self, other: &Self, factor: f64) -> Self {
        self + other.clone().scale(factor)
    }
    /// `self²`
    fn square(self) -> Self {
        self.clone() * self
    }
    /// `1 / self`
    fn recip(self) -> Self;
    /// The square root; NaN below zero.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// -1, 0 or 1; NaN stays NaN, so that a broken gradient never looks like a still one.
    fn sign(self) -> Self;
    /// 1 above zero, 0 otherwise; of a NaN either 0 or NaN.
    fn heaviside(self) -> Self;
    /// The larger of the two; NaN when `other` is NaN, `other` when `self` is NaN.
    fn maximum(self, other: Self) -> Self;
    /// The smaller of the two; NaN when `other` is NaN, `other` when `self` is NaN.
    fn minimum(self, other: Self) -> Self;
    /// `positive` where `self` is above zero, and `otherwise` elsewhere, at a NaN too: what is chosen has to
    /// carry it on.
    fn select(self, positive: Self, otherwise: Self) -> Self;
    /// `self` to the power of a number; NaN below zero, unless the exponent is whole.
    fn powf(self, exponent: f64) -> Self;
    /// `e` to the power of `self`; NaN stays NaN.
    fn exp(self) -> Self;
    /// The cube root, of the sign of `self`; NaN stays NaN.
    fn cbrt(self) -> Self;
    /// `max(self, floor)`; NaN stays NaN.
    fn clamp_min(self, floor: f64) -> Self;
    /// `min(self, ceiling)`; NaN stays NaN.
    fn clamp_max(self, ceiling: f64) -> Self;
}

/// A [`Value`] that is a single floating-point number: what the loops over memory run on.
pub trait Real: Value + Copy + Default + PartialOrd + Send + Sync + 'static {
    /// Rounds to this precision.
    fn from_f64(value: f64) -> Self;
    /// Widens without loss.
    fn to_f64(self) -> f64;
}

macro_rules! scalar {
    ($($real:ident),*) => {$(
        impl Value for $real {
            #[inline(always)]
            fn scale(self, factor: f64) -> Self {
                self * factor as $real
            }
            #[inline(always)]
            fn offset(self, term: f64) -> Self {
                self + term as $real
            }
            #[inline(always)]
            fn recip(self) -> Self {
                $real::recip(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $real::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $real::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    self
                }
            }
            #[inline(always)]
            fn heaviside(self) -> Self {
                if self > 0.0 { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            #[inline(always)]
            fn select(self, positive: Self, otherwise: Self) -> Self {
                if self > 0.0 { positive } else { otherwise }
            }
            #[inline(always)]
            fn powf(self, exponent: f64) -> Self {
                $real::powf(self, exponent as $real)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $real::exp(self)
            }
            #[inline(always)]
            fn cbrt(self) -> Self {
                $real::cbrt(self)
            }
            #[inline(always)]
            fn clamp_min(self, floor: f64) -> Self {
                let floor = floor as $real;
                if self < floor { floor } else { self }
            }
            #[inline(always)]
            fn clamp_max(self, ceiling: f64) -> Self {
                let ceiling = ceiling as $real;
                if self > ceiling { ceiling } else { self }
            }
        }

        impl Real for $real {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $real
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

scalar!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_hides_a_nan() {
        assert!(Value::sign(f32::NAN).is_nan());
        assert!(f64::NAN.clamp_min(0.0).is_nan());
        assert!(f64::NAN.clamp_max(0.0).is_nan());
        assert!(Value::maximum(1.0_f32, f32::NAN).is_nan());
        assert!(Value::minimum(1.0_f32, f32::NAN).is_nan());
        assert!(Value::powf(f32::NAN, 0.5).is_nan() && Value::exp(f32::NAN).is_nan());
        assert!(Value::cbrt(f64::NAN).is_nan());
        assert!(Value::select(f64::NAN, 1.0, f64::NAN).is_nan());
        assert!((f32::NAN * f32::NAN.heaviside()).is_nan());
    }
}
