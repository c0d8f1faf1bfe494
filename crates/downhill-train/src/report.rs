use core::fmt;
use std::collections::BTreeMap;

use burn::tensor::Tensor;
use downhill_optim::drive::{Joined, Measure, Squares, join};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ParamPath;

/// What an update did.
///
/// In one line with `Display`, and in JSON for logs: lists that are empty and numbers that are not known
/// are left out.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use downhill_optim::SgdConfig;
/// use downhill_train::{Clipping, Driver};
///
/// let device = Device::flex().autodiff();
/// let model: Linear = LinearConfig::new(2, 1).with_bias(false).init(&device);
/// let mut driver = Driver::builder(SgdConfig::new().init(), 0.1)
///     .with_clipping(Clipping::global_norm(1.0))
///     .bind(&model)
///     .unwrap();
/// let loss = model.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device)).sum();
/// let grads = GradientsParams::from_grads(loss.backward(), &model);
/// let (model, report) = driver.step(model, grads).unwrap();
/// assert_eq!(report.to_string(), "step 1: lr 0.1, gradient norm 5, clipped to 1, 1 parameter updated");
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Updates made so far, this one included.
    pub step: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// The learning rate, before the factors of groups.
    pub learning_rate: f64,
    /// The weight decay, where a schedule drives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// The momentum, where a schedule drives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Other settings of the optimizer that a schedule drives, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driven: BTreeMap<String, f64>,
    /// The loss, where the driver was told it: the mean of a window of micro-batches.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "any_number::option"
    )]
    pub loss: Option<f64>,
    /// The factor on the next loss, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// The norm of all gradients together, before clipping; where something asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<Norm>,
    /// The norm after clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clipped_norm: Option<Norm>,
    /// How many parameters were updated.
    pub updated: usize,
    /// Parameters that take part in the training and had no gradient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<ParamPath>,
    /// Parameters that are frozen, by a group or in the module, since the driver was bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<ParamPath>,
    /// Parameters whose gradients were not finite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_finite: Vec<NonFiniteGradient>,
    /// How far parameters moved, measured by their own norm; at updates that are sampled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub update_ratios: Vec<UpdateRatio>,
    /// Decompositions of matrices that failed in this update, such as eigenvectors of what is not finite: those of
    /// the last time stand in for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_decompositions: u64,
    /// Updates left out so far because of what was not finite.
    pub skipped: u64,
}

/// What came of a call of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The model was updated.
    Updated,
    /// The gradients were added to those of the window; the model is as it was.
    Accumulated {
        /// Micro-batches in the window so far.
        done: u32,
        /// Micro-batches of a whole window.
        of: u32,
    },
    /// The update (or the micro-batch) was left out; nothing has changed.
    Skipped,
    /// No parameter had a gradient; nothing has changed.
    Nothing,
}

/// A parameter whose gradient was not finite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NonFiniteGradient {
    /// The parameter's path.
    pub path: ParamPath,
    /// How many elements of its gradient were NaN or infinite.
    pub elements: u64,
    /// How many it has.
    pub of: u64,
}

impl fmt::Display for NonFiniteGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} of {})", self.path, self.elements, self.of)
    }
}

/// The norm of a parameter's update over the norm that the parameter had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UpdateRatio {
    /// The parameter's path.
    pub path: ParamPath,
    /// The ratio; about 1e-3 in a healthy training. Infinite where the parameter was 0.
    #[serde(with = "any_number")]
    pub ratio: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Numbers in JSON, which has none that are not finite: those are the texts `NaN`, `inf` and `-inf`.
mod any_number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match number.is_finite() {
            true => number.serialize(serializer),
            false => number.to_string().serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
            /// As infinity was written once.
            Nothing,
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
            Written::Nothing => Ok(f64::INFINITY),
        }
    }

    /// The same for a number that may be missing.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Any(#[serde(with = "super")] f64);

        pub fn serialize<S: Serializer>(
            number: &Option<f64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            number.map(Any).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<f64>, D::Error> {
            let number = Option::<Any>::deserialize(deserializer)?;
            Ok(number.map(|Any(number)| number))
        }
    }
}

/// A norm that is read from the device when it is asked for, and not before.
#[derive(Clone, Debug)]
pub struct Norm {
    reading: Reading,
    ceiling: f64,
}

#[derive(Clone, Debug)]
enum Reading {
    Host(Squares),
    /// For each tensor its largest magnitude and the squares over it, one after the other; the factor on
    /// all of them.
    Device(Box<(Tensor<1>, f64)>),
}

impl Norm {
    /// The norm. Waits for the device if it has not been read before, and is no more than an f64 can be.
    pub fn value(&self) -> f64 {
        let squares = self.squares();
        let norm = squares.norm();
        // What is not finite was not clipped.
        match squares.is_finite() && norm > self.ceiling {
            true => self.ceiling,
            false => norm,
        }
    }

    pub(crate) fn squares(&self) -> Squares {
        match &self.reading {
            Reading::Host(squares) => *squares,
            Reading::Device(reading) => {
                let (pairs, factor) = &**reading;
                let pairs = read_pairs(pairs.clone()).into_iter();
                pairs.fold(Squares::default(), Squares::plus).times(*factor)
            }
        }
    }

    pub(crate) fn host(squares: Squares) -> Self {
        Self {
            reading: Reading::Host(squares),
            ceiling: f64::INFINITY,
        }
    }

    /// The norm of what was measured, times `factor`.
    pub(crate) fn of<'a>(measures: impl IntoIterator<Item = &'a Measure>, factor: f64) -> Self {
        match join(measures) {
            Joined::Host(squares) => Self::host(squares.times(factor)),
            Joined::Device(pairs) => Self {
                reading: Reading::Device(Box::new((*pairs, factor))),
                ceiling: f64::INFINITY,
            },
        }
    }

    /// The same norm, or `ceiling` if that is less.
    pub(crate) fn at_most(&self, ceiling: f64) -> Self {
        Self {
            reading: self.reading.clone(),
            ceiling: self.ceiling.min(ceiling),
        }
    }
}

pub(crate) fn read_pairs(pairs: Tensor<1>) -> Vec<Squares> {
    let numbers: Vec<f64> = pairs.into_data().iter::<f64>().collect();
    let pairs = numbers.as_chunks::<2>().0.iter();
    pairs.map(|&[unit, sum]| Squares { unit, sum }).collect()
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        number(self.value()).fmt(f)
    }
}

impl Serialize for Norm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        any_number::serialize(&self.value(), serializer)
    }
}

impl<'de> Deserialize<'de> for Norm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unit = any_number::deserialize(deserializer)?;
        Ok(Self::host(Squares { unit, sum: 1.0 }))
    }
}

/// Four significant digits at most.
fn number(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    if rounded == 0.0 || (1e-4..1e5).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// A few names, and how many more there are.
pub(crate) fn listed(names: impl ExactSizeIterator<Item = impl fmt::Display>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| name.to_string()).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl StepReport {
    fn write_absent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, paths) in [("missing", &self.missing), ("frozen", &self.frozen)] {
            if !paths.is_empty() {
                write!(f, ", {what}: {}", listed(paths.iter()))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Accumulated { done, of } => {
                return write!(f, "step {}: {done} of {of} micro-batches", self.step);
            }
            Outcome::Skipped => {
                write!(f, "step {}: skipped", self.step)?;
                if let Some(loss) = self.loss {
                    write!(f, ", loss {}", number(loss))?;
                }
                if let Some(scale) = self.loss_scale {
                    write!(f, ", loss scale {}", number(scale))?;
                }
                return match self.non_finite.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", not finite: {}", listed(self.non_finite.iter())),
                };
            }
            Outcome::Nothing => {
                write!(f, "step {}: no gradients", self.step)?;
                return self.write_absent(f);
            }
            Outcome::Updated => {}
        }
        write!(f, "step {}: lr {}", self.step, number(self.learning_rate))?;
        for (name, value) in [
            ("loss", self.loss),
            ("loss scale", self.loss_scale),
            ("weight decay", self.weight_decay),
            ("momentum", self.momentum),
        ] {
            if let Some(value) = value {
                write!(f, ", {name} {}", number(value))?;
            }
        }
        for (name, value) in &self.driven {
            write!(f, ", {name} {}", number(*value))?;
        }
        if let Some(norm) = &self.grad_norm {
            let before = norm.value();
            write!(f, ", gradient norm {}", number(before))?;
            if let Some(after) = self.clipped_norm.as_ref().map(Norm::value)
                && after < before
            {
                write!(f, ", clipped to {}", number(after))?;
            }
        }
        let s = if self.updated == 1 { "" } else { "s" };
        write!(f, ", {} parameter{s} updated", self.updated)?;
        self.write_absent(f)?;
        if !self.non_finite.is_empty() {
            write!(f, ", zeroed: {}", listed(self.non_finite.iter()))?;
        }
        if self.failed_decompositions > 0 {
            write!(f, ", {} decompositions failed", self.failed_decompositions)?;
        }
        let by_ratio = |a: &&UpdateRatio, b: &&UpdateRatio| a.ratio.total_cmp(&b.ratio);
        if let Some(largest) = self.update_ratios.iter().max_by(by_ratio) {
            let ratio = number(largest.ratio);
            write!(f, ", largest update {ratio} of {}", largest.path)?;
        }
        Ok(())
    }
}
