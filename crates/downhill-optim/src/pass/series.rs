//! What a rule that looks at rows and columns computes between its passes: a number for the whole, or one for each
//! matrix, row or column.

use core::ops::{Add, Div, Mul, Sub};

use downhill_rule::{Field, Fold, Over, Value};

use super::look::joined;

/// What the numbers of a series are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    Whole,
    Matrices,
    Rows,
    Cols,
}

impl From<Over> for Of {
    fn from(over: Over) -> Self {
        match over {
            Over::Whole => Self::Whole,
            Over::Rows => Self::Rows,
            Over::Cols => Self::Cols,
        }
    }
}

/// Numbers in f64.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub of: Of,
    /// How many matrices there are.
    pub matrices: usize,
    pub values: Vec<f64>,
}

impl Series {
    fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        for value in &mut self.values {
            *value = f(*value);
        }
        self
    }

    /// One number for all rows, or all columns, of each matrix.
    fn of_matrices(self, one: impl Fn(&[f64]) -> f64) -> Self {
        if self.of <= Of::Matrices {
            return self;
        }
        let each = self.values.len() / self.matrices;
        Self {
            of: Of::Matrices,
            matrices: self.matrices,
            values: self.values.chunks(each).map(one).collect(),
        }
    }

    /// Each with what belongs to it of the other.
    fn with(self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert!(
            self.of == other.of || self.of.min(other.of) <= Of::Matrices,
            "rows and columns do not mix"
        );
        if self.of >= other.of {
            let each = self.values.len() / other.values.len();
            let values = self.values.iter().enumerate();
            let values = values.map(|(at, value)| f(*value, other.values[at / each]));
            return Self {
                values: values.collect(),
                ..self
            };
        }
        let each = other.values.len() / self.values.len();
        let values = other.values.iter().enumerate();
        let values = values.map(|(at, value)| f(self.values[at / each], *value));
        Self {
            of: other.of,
            matrices: self.matrices,
            values: values.collect(),
        }
    }
}

impl Field for Series {
    fn filled(self, number: f64) -> Self {
        self.map(|_| number)
    }

    fn mean(self) -> Self {
        self.of_matrices(|all| all.iter().sum::<f64>() / all.len() as f64)
    }

    fn largest(self) -> Self {
        let larger = |a, b| joined(Fold::Max, a, b);
        self.of_matrices(|all| all.iter().copied().reduce(larger).unwrap_or_default())
    }
}

macro_rules! binary {
    ($($trait:ident, $method:ident);*) => {$(
        impl $trait for Series {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.with(&other, $trait::$method)
            }
        }
    )*};
}

binary!(Add, add; Sub, sub; Mul, mul; Div, div);

impl Value for Series {
    fn scale(self, factor: f64) -> Self {
        self.map(|x| x * factor)
    }
    fn offset(self, term: f64) -> Self {
        self.map(|x| x + term)
    }
    fn recip(self) -> Self {
        self.map(f64::recip)
    }
    fn sqrt(self) -> Self {
        self.map(f64::sqrt)
    }
    fn abs(self) -> Self {
        self.map(f64::abs)
    }
    fn sign(self) -> Self {
        self.map(Value::sign)
    }
    fn heaviside(self) -> Self {
        self.map(Value::heaviside)
    }
    fn maximum(self, other: Self) -> Self {
        self.with(&other, Value::maximum)
    }
    fn minimum(self, other: Self) -> Self {
        self.with(&other, Value::minimum)
    }
    fn select(self, positive: Self, otherwise: Self) -> Self {
        // As a sum, so that each of the three can be of something else.
        let chosen = self
            .clone()
            .with(&positive, |x, a| if x > 0.0 { a } else { 0.0 });
        let rest = self.with(&otherwise, |x, b| if x > 0.0 { 0.0 } else { b });
        chosen + rest
    }
    fn powf(self, exponent: f64) -> Self {
        self.map(|x| x.powf(exponent))
    }
    fn exp(self) -> Self {
        self.map(f64::exp)
    }
    fn cbrt(self) -> Self {
        self.map(f64::cbrt)
    }
    fn clamp_min(self, floor: f64) -> Self {
        self.map(|x| x.clamp_min(floor))
    }
    fn clamp_max(self, ceiling: f64) -> Self {
        self.map(|x| x.clamp_max(ceiling))
    }
}
