use crate::Value;

/// The exponential moving average `beta·average + (1 - beta)·value`.
///
/// ```
/// assert_eq!(downhill_rule::ema(1.0_f64, 3.0, 0.75), 1.5);
/// ```
#[inline(always)]
pub fn ema<V: Value>(average: V, value: V, beta: f64) -> V {
    average.scale(beta) + value.scale(1.0 - beta)
}

/// `1 - beta^t`, by which an average that started at zero is divided; exact where `beta` is close
/// to 1 and the power close to 1.
///
/// ```
/// assert_eq!(downhill_rule::bias_correction(0.5, 2.0), 0.75);
/// ```
pub fn bias_correction(beta: f64, t: f64) -> f64 {
    -(t * beta.ln()).exp_m1()
}

/// A rule's settings, with the bias corrections of a mean and of a mean square as factors: the coefficients
/// of Adam and its relatives.
///
/// ```
/// use downhill_rule::Debiased;
///
/// let debiased = Debiased::new((), 0.5, 0.75, 1.0);
/// assert_eq!(debiased.mean(3.0_f64), 6.0);
/// assert!((debiased.root(1.0_f64) - 2.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Debiased<R> {
    /// The settings of this step.
    pub rule: R,
    mean: f64,
    root: f64,
}

impl<R> Debiased<R> {
    /// For means with these decays, after `t` steps.
    pub fn new(rule: R, beta_1: f64, beta_2: f64, t: f64) -> Self {
        Self {
            rule,
            mean: bias_correction(beta_1, t).recip(),
            root: bias_correction(beta_2, t).sqrt().recip(),
        }
    }

    /// `m/(1 - beta_1^t)`
    #[inline(always)]
    pub fn mean<V: Value>(&self, m: V) -> V {
        m.scale(self.mean)
    }

    /// `sqrt(v/(1 - beta_2^t))`
    #[inline(always)]
    pub fn root<V: Value>(&self, v: V) -> V {
        v.sqrt().scale(self.root)
    }
}

/// The small number that keeps a root away from zero, and where it stands:
/// `sqrt(x) + outside` or `sqrt(x + inside)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon {
    inside: f64,
    outside: f64,
}

impl Epsilon {
    /// `sqrt(x) + epsilon`, as in PyTorch.
    pub fn outside(epsilon: f64) -> Self {
        Self {
            inside: 0.0,
            outside: epsilon,
        }
    }

    /// `sqrt(x + epsilon)`, as in optax and Keras.
    pub fn inside(epsilon: f64) -> Self {
        Self {
            inside: epsilon,
            outside: 0.0,
        }
    }

    /// Inside or outside the root.
    pub fn placed(epsilon: f64, inside: bool) -> Self {
        match inside {
            true => Self::inside(epsilon),
            false => Self::outside(epsilon),
        }
    }

    /// The guarded root of `x`.
    #[inline(always)]
    pub fn root<V: Value>(&self, x: V) -> V {
        x.offset(self.inside).sqrt().offset(self.outside)
    }
}
