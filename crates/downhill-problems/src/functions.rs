//! Test functions on R^n, with gradient, domain and minima.
//!
//! | name | formula | dimension | domain | minimum |
//! |---|---|---|---|---|
//! | `quadratic` | `1/2 x' H D H x` | any; 10 | `[-2, 2]` | 0 at 0 |
//! | `rosenbrock` | `sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2` | 2 or more; 2 | `[-2.048, 2.048]` | 0 at (1, ..., 1) |
//! | `beale` | `(1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2` | 2 | `[-4.5, 4.5]` | 0 at (3, 0.5) |
//! | `himmelblau` | `(x^2 + y - 11)^2 + (x + y^2 - 7)^2` | 2 | `[-5, 5]` | 0 at (3, 2) and three more points |
//! | `rastrigin` | `sum 10 + x[i]^2 - 10 cos(2 pi x[i])` | any; 2 | `[-5.12, 5.12]` | 0 at 0 |
//! | `ackley` | `20 + e - 20 exp(-0.2 sqrt(mean x^2)) - exp(mean cos(2 pi x))` | any; 2 | `[-32.768, 32.768]` | 0 at 0 |
//! | `styblinski-tang` | `1/2 sum x[i]^4 - 16 x[i]^2 + 5 x[i]` | any; 2 | `[-5, 5]` | -39.166... n at (-2.9035..., ...) |
//! | `saddle` | `x^2/2 + y^4/4 - y^2/2` | 2 | `[-2, 2]` | -1/4 at (0, 1) and (0, -1) |
//!
//! A name alone means the dimension after the semicolon. Another one follows the name:
//! `rosenbrock-10`, or `quadratic-50-1000` for a condition number of 1,000 in 50 dimensions.
//!
//! ```
//! use downhill_problems::functions::{self, Function};
//!
//! let f = Function::rosenbrock(2)?;
//! assert!((f.value(&f.start()) - 24.2).abs() < 1e-12);
//! assert_eq!(f.gradient(&[1.0, 1.0]), [0.0, 0.0]);
//! assert_eq!(functions::by_name("rosenbrock")?, f);
//! # Ok::<(), functions::FunctionError>(())
//! ```

use std::f64::consts::{E, TAU};

use burn::tensor::{Device, Tensor, TensorData};
use downhill_setting::{nearest, suggestion};
use thiserror::Error;

/// The largest dimension that is accepted: a slip in a name must not exhaust the memory.
const MAX_DIMENSION: usize = 1_000_000;
/// Beyond it the smallest curvature is lost beside the largest one in single precision.
const MAX_CONDITION: f64 = 1e12;

/// A function to minimise, see the [module](self) for all of them.
///
/// Its [`value`](Self::value) and [`gradient`](Self::gradient) are plain double precision;
/// [`value_tensor`](Self::value_tensor) is the same function in Burn's tensor operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    kind: Kind,
    dimension: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Quadratic { condition: f64 },
    Rosenbrock,
    Beale,
    Himmelblau,
    Rastrigin,
    Ackley,
    StyblinskiTang,
    Saddle,
}

/// A point where a function is least.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// The point.
    pub point: Vec<f64>,
    /// The function's value there.
    pub value: f64,
}

/// Why there is no such function.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FunctionError {
    /// No function has the name.
    #[error("unknown function `{name}`{}", suggestion(nearest))]
    UnknownName {
        /// The name as given.
        name: String,
        /// The most similar one, if any is similar.
        nearest: Option<String>,
    },
    /// The function does not exist in the dimension.
    #[error("{function}: expected {expected}, found dimension {found}")]
    Dimension {
        /// The function's name.
        function: &'static str,
        /// What would be right.
        expected: String,
        /// The dimension as given.
        found: usize,
    },
    /// A condition number that no quadratic has.
    #[error(
        "quadratic: expected a condition number from 1 to 1e12, and 1 in one dimension, found {found} in {dimension}"
    )]
    Condition {
        /// The condition number as given.
        found: f64,
        /// The dimension.
        dimension: usize,
    },
}

/// The functions of the [module](self)'s table, and some of them in more dimensions.
///
/// ```
/// use downhill_problems::functions;
///
/// for f in functions::all() {
///     println!("{:20} {:3} {}", f.name(), f.dimension(), f.source());
/// }
/// # assert!(functions::all().len() >= 10);
/// ```
pub fn all() -> Vec<Function> {
    let function = |kind, dimension| Function { kind, dimension };
    vec![
        function(Kind::Quadratic { condition: 100.0 }, 10),
        function(Kind::Quadratic { condition: 1e4 }, 100),
        function(Kind::Rosenbrock, 2),
        function(Kind::Rosenbrock, 10),
        Function::beale(),
        Function::himmelblau(),
        function(Kind::Rastrigin, 2),
        function(Kind::Ackley, 2),
        function(Kind::StyblinskiTang, 2),
        Function::saddle(),
    ]
}

/// A function by its name, with or without a dimension (see the [module](self)).
///
/// # Errors
/// [`FunctionError::UnknownName`] with the nearest name, or what is wrong with the dimension or the
/// condition number.
///
/// ```
/// use downhill_problems::functions;
///
/// assert_eq!(functions::by_name("rastrigin-5")?.dimension(), 5);
/// assert_eq!(
///     functions::by_name("rosenbrok").unwrap_err().to_string(),
///     "unknown function `rosenbrok`; did you mean `rosenbrock`?"
/// );
/// # Ok::<(), functions::FunctionError>(())
/// ```
pub fn by_name(name: &str) -> Result<Function, FunctionError> {
    let unknown = || FunctionError::UnknownName {
        name: name.into(),
        nearest: nearest(name, all().iter().map(Function::name)),
    };
    let (base, numbers) = match name.find(|c: char| c.is_ascii_digit()) {
        Some(digit) => {
            let (base, numbers) = name.split_at(digit);
            (base.strip_suffix('-').ok_or_else(unknown)?, Some(numbers))
        }
        None => (name, None),
    };
    let known = all().into_iter().find(|f| f.kind.name() == base);
    let default = known.ok_or_else(unknown)?;
    let Some(numbers) = numbers else {
        return Ok(default);
    };
    let (dimension, condition) = match (numbers.split_once('-'), default.kind) {
        (Some((dimension, condition)), Kind::Quadratic { .. }) => (dimension, Some(condition)),
        (Some(_), _) => return Err(unknown()),
        (None, _) => (numbers, None),
    };
    let dimension = dimension.parse().map_err(|_| unknown())?;
    match (default.kind, condition) {
        (Kind::Quadratic { condition }, None) => Function::quadratic(dimension, condition),
        (_, Some(condition)) => {
            Function::quadratic(dimension, condition.parse().map_err(|_| unknown())?)
        }
        (kind, None) => Function::new(kind, dimension),
    }
}

impl Function {
    /// `f(x) = 1/2 x' H D H x`, whose Hessian has the given condition number.
    ///
    /// The eigenvalues in `D` go from 1 down to `1 / condition` in a geometric sequence. The
    /// reflection `H = I - 2 v v'`, with `v` proportional to `(1, 2, ..., n)`, turns the ellipsoid out
    /// of the axes, so that methods with a learning rate per coordinate get no present. The start
    /// has the same share of every eigenvector.
    ///
    /// # Errors
    /// [`FunctionError::Dimension`] for 0 or more than a million dimensions,
    /// [`FunctionError::Condition`] for a condition number below 1, above 1e12, or other than 1 in
    /// one dimension.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::quadratic(2, 4.0)?; // eigenvalues 1 and 1/4
    /// assert!((f.value(&[0.6, -0.8]) - 0.5).abs() < 1e-15); // an eigenvector of 1
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn quadratic(dimension: usize, condition: f64) -> Result<Self, FunctionError> {
        let function = Self::new(Kind::Quadratic { condition }, dimension)?;
        let in_range = (1.0..=MAX_CONDITION).contains(&condition);
        if !in_range || (dimension == 1 && condition != 1.0) {
            return Err(FunctionError::Condition {
                found: condition,
                dimension,
            });
        }
        Ok(function)
    }

    /// Rosenbrock's curved valley, in `dimension` dimensions. Starts at (-1.2, 1, -1.2, 1, ...).
    ///
    /// From 4 dimensions on it has a local minimum besides the global one.
    ///
    /// # Errors
    /// [`FunctionError::Dimension`] for fewer than 2 or more than a million dimensions.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::rosenbrock(3)?;
    /// assert_eq!(f.value(&[1.0, 1.0, 2.0]), 100.0); // off the valley of the last pair
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn rosenbrock(dimension: usize) -> Result<Self, FunctionError> {
        Self::new(Kind::Rosenbrock, dimension)
    }

    /// Beale's function: a plateau and steep walls. Starts at (1, 1).
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::beale().value(&[3.0, 0.5]), 0.0);
    /// ```
    pub fn beale() -> Self {
        Self {
            kind: Kind::Beale,
            dimension: 2,
        }
    }

    /// Himmelblau's function, with four minima of the same value. Starts at (-1, -1).
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::himmelblau().value(&[3.0, 2.0]), 0.0);
    /// ```
    pub fn himmelblau() -> Self {
        Self {
            kind: Kind::Himmelblau,
            dimension: 2,
        }
    }

    /// Rastrigin's function: a parabola with a local minimum near every integer point. Starts at
    /// (1.8, -1.3, 1.8, -1.3, ...).
    ///
    /// # Errors
    /// [`FunctionError::Dimension`] for 0 or more than a million dimensions.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::rastrigin(3)?;
    /// assert!((f.value(&[1.0, 0.0, 2.0]) - 5.0).abs() < 1e-12); // near two local minima
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn rastrigin(dimension: usize) -> Result<Self, FunctionError> {
        Self::new(Kind::Rastrigin, dimension)
    }

    /// Ackley's function: a funnel with many local minima. Starts at (2.6, -1.7, 2.6, -1.7, ...).
    ///
    /// It has a kink at its minimum, where [`gradient`](Self::gradient) is zero by convention.
    ///
    /// # Errors
    /// [`FunctionError::Dimension`] for 0 or more than a million dimensions.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::ackley(2)?;
    /// assert!(f.value(&[0.0, 0.0]).abs() < 1e-12);
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn ackley(dimension: usize) -> Result<Self, FunctionError> {
        Self::new(Kind::Ackley, dimension)
    }

    /// The function of Styblinski and Tang: two minima per coordinate, one of them better. Starts
    /// at (0.1, 0.1, ...), close to the maximum between them and on the better one's side.
    ///
    /// # Errors
    /// [`FunctionError::Dimension`] for 0 or more than a million dimensions.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::styblinski_tang(2)?;
    /// assert!((f.least() + 78.332331).abs() < 1e-6);
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn styblinski_tang(dimension: usize) -> Result<Self, FunctionError> {
        Self::new(Kind::StyblinskiTang, dimension)
    }

    /// A saddle at the origin between two minima. Close to the saddle it is `(x^2 - y^2) / 2`;
    /// `y^4 / 4` bounds it from below. Starts at (1, 0.001), from where the way down leads past the
    /// saddle.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::saddle();
    /// assert_eq!(f.gradient(&[0.0, 0.0]), [0.0, 0.0]);
    /// assert!(f.least() < f.value(&[0.0, 0.0]));
    /// ```
    pub fn saddle() -> Self {
        Self {
            kind: Kind::Saddle,
            dimension: 2,
        }
    }

    fn new(kind: Kind, dimension: usize) -> Result<Self, FunctionError> {
        let least = if kind == Kind::Rosenbrock { 2 } else { 1 };
        let expected = match kind {
            Kind::Beale | Kind::Himmelblau | Kind::Saddle => (dimension != 2).then(|| "2".into()),
            _ if !(least..=MAX_DIMENSION).contains(&dimension) => {
                Some(format!("{least} to {MAX_DIMENSION}"))
            }
            _ => None,
        };
        match expected {
            None => Ok(Self { kind, dimension }),
            Some(expected) => Err(FunctionError::Dimension {
                function: kind.name(),
                expected: format!("a dimension of {expected}"),
                found: dimension,
            }),
        }
    }

    /// The name, as [`by_name`] takes it.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::rosenbrock(2)?.name(), "rosenbrock");
    /// assert_eq!(Function::rosenbrock(10)?.name(), "rosenbrock-10");
    /// assert_eq!(Function::quadratic(50, 1000.0)?.name(), "quadratic-50-1000");
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn name(&self) -> String {
        let base = self.kind.name();
        match self.kind {
            Kind::Quadratic { condition } => match (self.dimension, condition) {
                (10, 100.0) => base.into(),
                (n, 100.0) => format!("{base}-{n}"),
                (n, condition) => format!("{base}-{n}-{condition}"),
            },
            _ if self.dimension == 2 => base.into(),
            _ => format!("{base}-{}", self.dimension),
        }
    }

    /// What is hard about it, in a few words.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::beale().about(), "a plateau and steep walls");
    /// ```
    pub fn about(&self) -> &'static str {
        match self.kind {
            Kind::Quadratic { .. } => "an ellipsoid out of the axes",
            Kind::Rosenbrock => "a long curved valley",
            Kind::Beale => "a plateau and steep walls",
            Kind::Himmelblau => "four minima of the same value",
            Kind::Rastrigin => "a local minimum near every integer point",
            Kind::Ackley => "a funnel with many local minima and a kink at the bottom",
            Kind::StyblinskiTang => "two minima per coordinate, one of them better",
            Kind::Saddle => "a saddle on the way to either of two minima",
        }
    }

    /// Where it was published.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert!(Function::himmelblau().source().contains("1972"));
    /// ```
    pub fn source(&self) -> &'static str {
        match self.kind {
            Kind::Quadratic { .. } => {
                "J. Nocedal and S. Wright, Numerical Optimization, Springer, 2006, section 3.3"
            }
            Kind::Rosenbrock => {
                "H. H. Rosenbrock, An automatic method for finding the greatest or least value of a function, \
                 The Computer Journal 3, 1960"
            }
            Kind::Beale => {
                "E. M. L. Beale, On an iterative method for finding a local minimum of a function of more than \
                 one variable, Princeton University, 1958"
            }
            Kind::Himmelblau => {
                "D. M. Himmelblau, Applied Nonlinear Programming, McGraw-Hill, 1972"
            }
            Kind::Rastrigin => "L. A. Rastrigin, Systems of Extremal Control, Nauka, 1974",
            Kind::Ackley => {
                "D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing, Kluwer, 1987"
            }
            Kind::StyblinskiTang => {
                "M. A. Styblinski and T.-S. Tang, Experiments in nonconvex optimization, Neural Networks 3, 1990"
            }
            Kind::Saddle => {
                "Yu. Nesterov, Introductory Lectures on Convex Optimization, Kluwer, 2004, section 1.2.3"
            }
        }
    }

    /// The number of variables, n.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The range of every variable that the function is usually looked at in. It is defined
    /// everywhere, and has no minimum outside.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::beale().domain(), [-4.5, 4.5]);
    /// ```
    pub fn domain(&self) -> [f64; 2] {
        let bound = match self.kind {
            Kind::Quadratic { .. } | Kind::Saddle => 2.0,
            Kind::Rosenbrock => 2.048,
            Kind::Beale => 4.5,
            Kind::Himmelblau | Kind::StyblinskiTang => 5.0,
            Kind::Rastrigin => 5.12,
            Kind::Ackley => 32.768,
        };
        [-bound, bound]
    }

    /// Where a minimisation starts, in the domain.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::rosenbrock(3)?.start(), [-1.2, 1.0, -1.2]);
    /// # Ok::<(), downhill_problems::functions::FunctionError>(())
    /// ```
    pub fn start(&self) -> Vec<f64> {
        let alternating = |a: f64, b: f64| {
            let pair = [a, b].into_iter().cycle();
            pair.take(self.dimension).collect()
        };
        match self.kind {
            Kind::Quadratic { .. } => {
                let mut start = self.reflect(&vec![1.0; self.dimension]);
                let largest = start.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                start.iter_mut().for_each(|x| *x /= largest);
                start
            }
            Kind::Rosenbrock => alternating(-1.2, 1.0),
            Kind::Beale => vec![1.0, 1.0],
            Kind::Himmelblau => vec![-1.0, -1.0],
            Kind::Rastrigin => alternating(1.8, -1.3),
            Kind::Ackley => alternating(2.6, -1.7),
            Kind::StyblinskiTang => alternating(0.1, 0.1),
            Kind::Saddle => vec![1.0, 0.001],
        }
    }

    /// All global minima; local ones are not among them.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// let f = Function::himmelblau();
    /// assert_eq!(f.minima().len(), 4);
    /// for minimum in f.minima() {
    ///     assert!((f.value(&minimum.point) - minimum.value).abs() < 1e-12);
    /// }
    /// ```
    pub fn minima(&self) -> Vec<Minimum> {
        let n = self.dimension;
        let (points, value) = match self.kind {
            Kind::Quadratic { .. } | Kind::Rastrigin | Kind::Ackley => (vec![vec![0.0; n]], 0.0),
            Kind::Rosenbrock => (vec![vec![1.0; n]], 0.0),
            Kind::Beale => (vec![vec![3.0, 0.5]], 0.0),
            Kind::Himmelblau => (
                vec![
                    vec![3.0, 2.0],
                    vec![-2.805_118_086_952_745, 3.131_312_518_250_573],
                    vec![-3.779_310_253_377_747, -3.283_185_991_286_17],
                    vec![3.584_428_340_330_492, -1.848_126_526_964_404],
                ],
                0.0,
            ),
            Kind::StyblinskiTang => (
                vec![vec![-2.903_534_027_771_177; n]],
                -39.166_165_703_771_42 * n as f64,
            ),
            Kind::Saddle => (vec![vec![0.0, 1.0], vec![0.0, -1.0]], -0.25),
        };
        let minimum = |point| Minimum { point, value };
        points.into_iter().map(minimum).collect()
    }

    /// The least value.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::saddle().least(), -0.25);
    /// ```
    pub fn least(&self) -> f64 {
        self.minima()[0].value
    }

    /// The value at `x`.
    ///
    /// # Panics
    /// If `x` has not [`dimension`](Self::dimension) elements.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::beale().value(&[0.0, 0.0]), 14.203125);
    /// ```
    pub fn value(&self, x: &[f64]) -> f64 {
        self.check(x);
        let n = x.len() as f64;
        match self.kind {
            Kind::Quadratic { .. } => {
                let y = self.reflect(x);
                let terms = self.eigenvalues().into_iter().zip(y);
                terms.map(|(d, y)| 0.5 * d * y * y).sum()
            }
            Kind::Rosenbrock => {
                let pairs = x.windows(2);
                pairs
                    .map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2))
                    .sum()
            }
            Kind::Beale => {
                let [u, v, w] = beale_residuals(x[0], x[1]);
                u * u + v * v + w * w
            }
            Kind::Himmelblau => {
                let [u, v] = himmelblau_residuals(x[0], x[1]);
                u * u + v * v
            }
            Kind::Rastrigin => x
                .iter()
                .map(|x| 10.0 + x * x - 10.0 * (TAU * x).cos())
                .sum(),
            Kind::Ackley => {
                let square = x.iter().map(|x| x * x).sum::<f64>() / n;
                let cosine = x.iter().map(|x| (TAU * x).cos()).sum::<f64>() / n;
                20.0 - 20.0 * (-0.2 * square.sqrt()).exp() + (E - cosine.exp())
            }
            Kind::StyblinskiTang => x
                .iter()
                .map(|x| 0.5 * (x.powi(4) - 16.0 * x * x + 5.0 * x))
                .sum(),
            Kind::Saddle => {
                let [x, y] = [x[0], x[1]];
                0.5 * x * x + 0.25 * y.powi(4) - 0.5 * y * y
            }
        }
    }

    /// The partial derivatives at `x`.
    ///
    /// # Panics
    /// If `x` has not [`dimension`](Self::dimension) elements.
    ///
    /// ```
    /// use downhill_problems::functions::Function;
    ///
    /// assert_eq!(Function::saddle().gradient(&[1.0, 2.0]), [1.0, 6.0]);
    /// ```
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        self.check(x);
        let n = x.len() as f64;
        match self.kind {
            Kind::Quadratic { .. } => {
                let y = self.reflect(x);
                let scaled: Vec<f64> = self
                    .eigenvalues()
                    .iter()
                    .zip(y)
                    .map(|(d, y)| d * y)
                    .collect();
                self.reflect(&scaled)
            }
            Kind::Rosenbrock => {
                let mut gradient = vec![0.0; x.len()];
                for (i, p) in x.windows(2).enumerate() {
                    let residual = p[1] - p[0] * p[0];
                    gradient[i] += -400.0 * p[0] * residual - 2.0 * (1.0 - p[0]);
                    gradient[i + 1] += 200.0 * residual;
                }
                gradient
            }
            Kind::Beale => {
                let [x, y] = [x[0], x[1]];
                let [u, v, w] = beale_residuals(x, y);
                vec![
                    -2.0 * (u * (1.0 - y) + v * (1.0 - y * y) + w * (1.0 - y.powi(3))),
                    2.0 * x * (u + 2.0 * y * v + 3.0 * y * y * w),
                ]
            }
            Kind::Himmelblau => {
                let [x, y] = [x[0], x[1]];
                let [u, v] = himmelblau_residuals(x, y);
                vec![4.0 * x * u + 2.0 * v, 2.0 * u + 4.0 * y * v]
            }
            Kind::Rastrigin => x
                .iter()
                .map(|x| 2.0 * x + 10.0 * TAU * (TAU * x).sin())
                .collect(),
            Kind::Ackley => {
                let root = (x.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
                let cosine = x.iter().map(|x| (TAU * x).cos()).sum::<f64>() / n;
                let funnel = if root > 0.0 {
                    4.0 * (-0.2 * root).exp() / (n * root)
                } else {
                    0.0
                };
                let wave = cosine.exp() * TAU / n;
                x.iter()
                    .map(|x| funnel * x + wave * (TAU * x).sin())
                    .collect()
            }
            Kind::StyblinskiTang => x.iter().map(|x| 2.0 * x.powi(3) - 16.0 * x + 2.5).collect(),
            Kind::Saddle => vec![x[0], x[1].powi(3) - x[1]],
        }
    }

    /// The value at `x` of shape `[n]` in tensor operations, shape `[1]`: differentiable on an
    /// autodiff device.
    ///
    /// # Panics
    /// If `x` has not [`dimension`](Self::dimension) elements.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use downhill_problems::functions::Function;
    ///
    /// let x = Tensor::<1>::from_floats([3.0, 0.0], &Device::flex().autodiff()).require_grad();
    /// let value = Function::himmelblau().value_tensor(x.clone());
    /// assert_eq!(value.clone().into_scalar::<f64>(), 20.0);
    /// let gradient = x.grad(&value.backward()).unwrap();
    /// assert_eq!(gradient.try_into_data().unwrap().try_into_vec::<f32>().unwrap(), [-32.0, -4.0]);
    /// ```
    pub fn value_tensor(&self, x: Tensor<1>) -> Tensor<1> {
        let [n] = x.dims();
        assert_eq!(
            n,
            self.dimension,
            "{} has {} variables",
            self.name(),
            self.dimension
        );
        let coordinates = |x: &Tensor<1>| (x.clone().slice(0..1), x.clone().slice(1..2));
        let square = |x: Tensor<1>| x.clone() * x;
        match self.kind {
            Kind::Quadratic { .. } => {
                let constant = |values: Vec<f64>, device: &Device| {
                    Tensor::<1>::from_data(TensorData::new(values, [n]), device)
                };
                let device = x.device();
                let axis = constant(self.axis(), &device);
                let eigenvalues = constant(self.eigenvalues(), &device);
                let along = (axis.clone() * x.clone()).sum();
                (square(x - axis * along * 2.0) * eigenvalues).sum() * 0.5
            }
            Kind::Rosenbrock => {
                let left = x.clone().slice(0..n - 1);
                let right = x.slice(1..n);
                let valley = square(right - square(left.clone())) * 100.0;
                (valley + square(left.neg() + 1.0)).sum()
            }
            Kind::Beale => {
                let (x, y) = coordinates(&x);
                let residual =
                    |constant: f64, power: Tensor<1>| square(x.clone() * (power - 1.0) + constant);
                let y2 = square(y.clone());
                residual(1.5, y.clone()) + residual(2.25, y2.clone()) + residual(2.625, y2 * y)
            }
            Kind::Himmelblau => {
                let (x, y) = coordinates(&x);
                square(square(x.clone()) + y.clone() - 11.0) + square(x + square(y) - 7.0)
            }
            Kind::Rastrigin => {
                let wave = (x.clone() * TAU).cos() * -10.0 + 10.0;
                (square(x) + wave).sum()
            }
            Kind::Ackley => {
                let wave = (x.clone() * TAU).cos().mean().exp();
                // The square root has no derivative at 0; beside this it has, and it is 0.
                let root = (square(x).mean() + 1e-30).sqrt();
                (root * -0.2).exp() * -20.0 - wave + (20.0 + E)
            }
            Kind::StyblinskiTang => {
                let x2 = square(x.clone());
                ((square(x2.clone()) - x2 * 16.0 + x * 5.0) * 0.5).sum()
            }
            Kind::Saddle => {
                let (x, y) = coordinates(&x);
                let y2 = square(y);
                square(x) * 0.5 + square(y2.clone()) * 0.25 - y2 * 0.5
            }
        }
    }

    /// How many updates a training takes, and how close to the least value it is to come: see the
    /// table of the crate's front page.
    pub(crate) fn budget_and_gap(&self) -> (usize, f64) {
        match self.kind {
            Kind::Quadratic { .. } => (1000, 1e-5),
            Kind::Rosenbrock => (2000, 1e-4),
            Kind::Beale | Kind::Himmelblau => (500, 1e-6),
            // The local minimum at (2, -1), next to the start, is at 4.975.
            Kind::Rastrigin => (500, 5.0),
            // A constant learning rate cannot settle in the kink.
            Kind::Ackley => (500, 0.1),
            Kind::StyblinskiTang | Kind::Saddle => (300, 1e-6),
        }
    }

    /// Independent numbers of variance 1 as numbers whose covariance is a quadratic's Hessian.
    pub(crate) fn color(&self, z: &[f64]) -> Vec<f64> {
        let eigenvalues = self.eigenvalues();
        let scaled: Vec<f64> = eigenvalues
            .iter()
            .zip(z)
            .map(|(d, z)| d.sqrt() * z)
            .collect();
        self.reflect(&scaled)
    }

    fn check(&self, x: &[f64]) {
        assert_eq!(
            x.len(),
            self.dimension,
            "{} has {} variables",
            self.name(),
            self.dimension
        );
    }

    /// The eigenvalues of a quadratic, from 1 down to the reciprocal of the condition number.
    fn eigenvalues(&self) -> Vec<f64> {
        let Kind::Quadratic { condition } = self.kind else {
            return Vec::new();
        };
        let last = (self.dimension - 1).max(1) as f64;
        (0..self.dimension)
            .map(|i| condition.powf(-(i as f64) / last))
            .collect()
    }

    /// The unit vector of a quadratic's reflection.
    fn axis(&self) -> Vec<f64> {
        let axis = (1..=self.dimension).map(|i| i as f64);
        let norm = axis.clone().map(|v| v * v).sum::<f64>().sqrt();
        axis.map(|v| v / norm).collect()
    }

    fn reflect(&self, x: &[f64]) -> Vec<f64> {
        let axis = self.axis();
        let along: f64 = axis.iter().zip(x).map(|(v, x)| v * x).sum();
        let reflected = x.iter().zip(axis);
        reflected.map(|(x, v)| x - 2.0 * v * along).collect()
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Quadratic { .. } => "quadratic",
            Self::Rosenbrock => "rosenbrock",
            Self::Beale => "beale",
            Self::Himmelblau => "himmelblau",
            Self::Rastrigin => "rastrigin",
            Self::Ackley => "ackley",
            Self::StyblinskiTang => "styblinski-tang",
            Self::Saddle => "saddle",
        }
    }
}

fn beale_residuals(x: f64, y: f64) -> [f64; 3] {
    [
        1.5 - x * (1.0 - y),
        2.25 - x * (1.0 - y * y),
        2.625 - x * (1.0 - y.powi(3)),
    ]
}

fn himmelblau_residuals(x: f64, y: f64) -> [f64; 2] {
    [x * x + y - 11.0, x + y * y - 7.0]
}
