//! Classification data: where it comes from, how it is split, and its batches as Burn tensors.

mod csv_file;
mod source;

pub use csv_file::csv;
pub use source::{DataSource, UnknownDataSource};

use std::{
    io::{self, Read},
    path::PathBuf,
};

use burn::tensor::{Device, Int, Tensor, TensorData};
use flate2::read::GzDecoder;
use thiserror::Error;

use crate::numpy::RandomState;

/// Samples of numbers, each with the class that it belongs to.
///
/// Features are kept in double precision; tensors made from them have the device's default
/// floating-point type.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    features: Vec<f64>,
    labels: Vec<usize>,
    inputs: usize,
    classes: usize,
}

/// A data set in two parts: one to train on, and one that only measures the trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the model is trained on.
    pub train: Classification,
    /// What it is measured on.
    pub test: Classification,
}

/// Some samples as tensors.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Shape `[samples, inputs]`.
    pub inputs: Tensor<2>,
    /// The class of each sample, shape `[samples]`.
    pub targets: Tensor<1, Int>,
}

/// What can be wrong with data. Lines and columns are counted from 1.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file cannot be read as text separated by commas.
    #[error("{}: {source}", path.display())]
    NotCsv {
        /// The file.
        path: PathBuf,
        /// What the CSV reader says, with the place.
        source: ::csv::Error,
    },
    /// The file holds no data.
    #[error(
        "{}: no rows of data; expected numbers separated by commas, with the class label in the last column",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A row of one field cannot hold both a feature and a label.
    #[error(
        "{}, line {line}: only one field; expected at least one number and then the class label, separated by commas",
        path.display()
    )]
    OneField {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
    },
    /// A row has more or fewer fields than the first one.
    #[error("{}, line {line}: expected {expected} fields as in the first row, found {found}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// Fields of the first row.
        expected: usize,
        /// Fields of this row.
        found: usize,
    },
    /// A field is not what its column asks for.
    #[error("{}, line {line}, column {column}: expected {expected}, found '{text}'", path.display())]
    BadField {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// The field's column.
        column: usize,
        /// What would be right.
        expected: &'static str,
        /// The field, or how it begins.
        text: String,
    },
    /// All samples belong to one class.
    #[error(
        "{}: every row has the label {label}; a classifier needs at least two classes (is the label in the last column?)",
        path.display()
    )]
    OneClass {
        /// The file.
        path: PathBuf,
        /// The only label.
        label: u64,
    },
    /// No class has a second sample, so none can be set aside for the test.
    #[error(
        "{samples} samples of {samples} different classes; at least one class needs two samples, one to train on and one to test (is the label in the last column?)"
    )]
    NothingToTest {
        /// Samples, and classes.
        samples: usize,
    },
    /// The features do not make up the samples.
    #[error(
        "{features} features for {labels} labels; expected {inputs} features for each label, and at least one label and one feature"
    )]
    Shape {
        /// Number of features.
        features: usize,
        /// Number of labels.
        labels: usize,
        /// Features per sample.
        inputs: usize,
    },
}

/// Of each class, one sample in this many is set aside for the test.
const TEST_SHARE: usize = 5;

impl Classification {
    /// `labels.len()` samples of `inputs` features each, row by row. There are as many classes as
    /// the largest label asks for, plus one.
    ///
    /// # Errors
    /// [`DataError::Shape`] unless `features` holds `inputs` numbers for each label, and at least one.
    ///
    /// ```
    /// use downhill_problems::data::Classification;
    ///
    /// let xor = Classification::new(2, vec![0., 0., 0., 1., 1., 0., 1., 1.], vec![0, 1, 1, 0])?;
    /// assert_eq!((xor.samples(), xor.inputs(), xor.classes()), (4, 2, 2));
    /// assert!(Classification::new(3, vec![0., 0.], vec![0]).is_err());
    /// # Ok::<(), downhill_problems::data::DataError>(())
    /// ```
    pub fn new(inputs: usize, features: Vec<f64>, labels: Vec<usize>) -> Result<Self, DataError> {
        let largest = labels.iter().copied().max();
        match (largest, labels.len().checked_mul(inputs)) {
            (Some(largest), Some(expected)) if expected > 0 && expected == features.len() => {
                Ok(Self {
                    features,
                    labels,
                    inputs,
                    classes: largest.saturating_add(1),
                })
            }
            _ => Err(DataError::Shape {
                features: features.len(),
                labels: labels.len(),
                inputs,
            }),
        }
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Features per sample.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of classes; labels are below it.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All features, sample by sample.
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// The class of each sample.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Sets aside a fifth of the samples of each class for the test: of those of one class, in their order,
    /// the 2nd, the 7th, the 12th, and so on. Nothing is random: a data set has one split.
    ///
    /// # Errors
    /// [`DataError::NothingToTest`] if no class has two samples.
    ///
    /// ```
    /// use downhill_problems::data;
    ///
    /// let split = data::deck().split()?;
    /// assert_eq!(split.train.samples() + split.test.samples(), 1000);
    /// assert!((195..=205).contains(&split.test.samples()));
    /// # Ok::<(), data::DataError>(())
    /// ```
    pub fn split(&self) -> Result<Split, DataError> {
        let mut seen = vec![0; self.classes];
        let (test, train): (Vec<usize>, Vec<usize>) = (0..self.samples()).partition(|&i| {
            let rank = &mut seen[self.labels[i]];
            *rank += 1;
            *rank % TEST_SHARE == 2
        });
        if test.is_empty() {
            return Err(DataError::NothingToTest {
                samples: self.samples(),
            });
        }
        Ok(Split {
            train: self.subset(&train),
            test: self.subset(&test),
        })
    }

    /// All samples in their order, as one batch.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use downhill_problems::data;
    ///
    /// let batch = data::deck().batch(&Device::flex());
    /// assert_eq!(batch.inputs.dims(), [1000, 20]);
    /// assert_eq!(batch.targets.dims(), [1000]);
    /// ```
    pub fn batch(&self, device: &Device) -> Batch {
        let targets: Vec<i64> = self.labels.iter().map(|&label| label as i64).collect();
        Batch {
            inputs: Tensor::from_data(
                TensorData::new(self.features.clone(), [self.samples(), self.inputs]),
                device,
            ),
            targets: Tensor::from_data(TensorData::new(targets, [self.samples()]), device),
        }
    }

    /// One epoch: every sample once, in a new random order, `batch_size` at a time. The last batch
    /// holds what is left and may be smaller. A `batch_size` of 0 is taken as 1.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use downhill_problems::{data, numpy::RandomState};
    ///
    /// let mut random = RandomState::new(0);
    /// let sizes: Vec<usize> = data::deck()
    ///     .batches(300, &mut random, &Device::flex())
    ///     .map(|batch| batch.inputs.dims()[0])
    ///     .collect();
    /// assert_eq!(sizes, [300, 300, 300, 100]);
    /// ```
    pub fn batches(
        &self,
        batch_size: usize,
        random: &mut RandomState,
        device: &Device,
    ) -> impl Iterator<Item = Batch> {
        let mut order = random.permutation(self.samples());
        let size = batch_size.max(1);
        std::iter::from_fn(move || {
            if order.is_empty() {
                return None;
            }
            let rest = order.split_off(size.min(order.len()));
            let indices = std::mem::replace(&mut order, rest);
            Some(self.subset(&indices).batch(device))
        })
    }

    /// The samples of these numbers, in this order.
    pub(crate) fn subset(&self, indices: &[usize]) -> Self {
        let mut features = Vec::with_capacity(indices.len() * self.inputs);
        for &i in indices {
            features.extend_from_slice(&self.features[i * self.inputs..][..self.inputs]);
        }
        Self {
            features,
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            inputs: self.inputs,
            classes: self.classes,
        }
    }
}

impl Split {
    /// Shifts and scales each feature to mean 0 and variance 1 over the training samples. The test
    /// samples get the same shift and scale, since their own are unknown when training. A feature
    /// that never changes is only shifted.
    ///
    /// ```
    /// use downhill_problems::data::Classification;
    ///
    /// let data = Classification::new(1, vec![10., 99., 30.], vec![0, 0, 1])?;
    /// let mut split = data.split()?;
    /// split.standardize();
    /// assert_eq!(split.train.features(), [-1., 1.]); // was 10 and 30
    /// assert_eq!(split.test.features(), [7.9]); // was 99
    /// # Ok::<(), downhill_problems::data::DataError>(())
    /// ```
    pub fn standardize(&mut self) {
        let inputs = self.train.inputs;
        let n = self.train.samples() as f64;
        for j in 0..inputs {
            let column = || self.train.features.iter().skip(j).step_by(inputs);
            let mean = column().map(|x| x / n).sum::<f64>();
            let deviation = (column().map(|x| (x - mean).powi(2) / n).sum::<f64>()).sqrt();
            let scale = if deviation > 0.0 { deviation } else { 1.0 };
            for part in [&mut self.train, &mut self.test] {
                for x in part.features.iter_mut().skip(j).step_by(inputs) {
                    *x = (*x - mean) / scale;
                }
            }
        }
    }
}

/// Handwritten digits: 1,797 images of 8 x 8 pixels in 10 classes, 1,435 to train on and 362 to test.
///
/// Pixels are scaled from `0..=16` to `0..=1`. The data is the test set of the UCI "Optical
/// Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998, CC BY 4.0), which scikit-learn
/// ships as `load_digits()`; it is embedded in this crate.
///
/// ```
/// use downhill_problems::data;
///
/// let digits = data::digits();
/// assert_eq!(digits.train.inputs(), 64);
/// assert_eq!(digits.train.classes(), 10);
/// assert!(digits.train.features().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
/// ```
pub fn digits() -> Split {
    // The file is part of the crate, and a test reads it, so this cannot fail on a user's machine.
    let compressed = include_bytes!("../data/digits.csv.gz").as_slice();
    let mut text = Vec::new();
    GzDecoder::new(compressed)
        .read_to_end(&mut text)
        .expect("the embedded data is sound");
    let mut data =
        csv_file::parse(&text, "digits.csv".as_ref()).expect("the embedded data is sound");
    data.features.iter_mut().for_each(|pixel| *pixel /= 16.0);
    data.split().expect("the embedded data is sound")
}

/// Pure noise: 1,000 samples of 20 standard normal numbers, with random labels of 3 classes.
///
/// The data of slide 12 of the deck "Understanding Optimizers in Neural Networks", bit for bit:
/// `np.random.seed(42); X = np.random.randn(1000, 20); y = np.random.randint(0, 3, 1000)`.
/// There is nothing to learn: a model can only learn its training samples by heart, and is right about one
/// new sample in three.
///
/// ```
/// use downhill_problems::data;
///
/// let deck = data::deck();
/// assert_eq!(deck.features()[..2], [0.4967141530112327, -0.13826430117118466]);
/// assert_eq!(deck.labels()[..5], [0, 1, 0, 2, 2]);
/// ```
pub fn deck() -> Classification {
    let (samples, inputs, classes) = (1000, 20, 3);
    let mut random = RandomState::new(42);
    let features = random.randn(samples * inputs);
    let labels = random
        .randint(0, classes, samples)
        .expect("three classes are not an empty range");
    Classification {
        features,
        labels: labels.into_iter().map(|label| label as usize).collect(),
        inputs,
        classes: classes as usize,
    }
}

/// Points `(x, y)` to put a line through.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// The inputs.
    pub x: Vec<f64>,
    /// The value that belongs to each.
    pub y: Vec<f64>,
}

/// A line with noise: 100 points, `y = 4 + 3 x + z` for `x` uniform in `[0, 2)` and standard normal
/// `z`.
///
/// The data of slide 7 of the deck, bit for bit, if `random` is new and has the seed 42:
/// `X = 2 * np.random.rand(100, 1); y = 4 + 3 * X + np.random.randn(100, 1)`. The deck draws the
/// initial weights of its models from what follows in the stream.
///
/// ```
/// use downhill_problems::{data, numpy::RandomState};
///
/// let mut random = RandomState::new(42);
/// let points = data::deck_line(&mut random);
/// assert_eq!((points.x.len(), points.y.len()), (100, 100));
/// assert_eq!((points.x[0], points.y[0]), (0.749080237694725, 6.334287781322346));
/// let weights = random.randn(2); // np.random.randn(2, 1)
/// assert!((weights[0] - 0.0130018918779).abs() < 1e-12);
/// ```
pub fn deck_line(random: &mut RandomState) -> Points {
    let samples = 100;
    let x: Vec<f64> = random.rand(samples).iter().map(|u| 2.0 * u).collect();
    let noise = random.randn(samples);
    let y = x
        .iter()
        .zip(noise)
        .map(|(x, z)| 4.0 + 3.0 * x + z)
        .collect();
    Points { x, y }
}

impl Points {
    /// The line `b + w x` with the smallest mean squared error, as `(w, b)`:
    /// `w = cov(x, y) / var(x)` and `b = mean(y) - w mean(x)`.
    ///
    /// Not a number if there are no two different `x`.
    ///
    /// ```
    /// use downhill_problems::data::Points;
    ///
    /// let points = Points { x: vec![0., 1., 2.], y: vec![1., 3., 5.] };
    /// assert_eq!(points.least_squares(), (2., 1.)); // y = 1 + 2 x
    /// ```
    pub fn least_squares(&self) -> (f64, f64) {
        let n = self.x.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
        let (x_mean, y_mean) = (mean(&self.x), mean(&self.y));
        let centered = || self.x.iter().map(|x| x - x_mean);
        let covariance: f64 = centered()
            .zip(&self.y)
            .map(|(dx, y)| dx * (y - y_mean))
            .sum();
        let variance: f64 = centered().map(|dx| dx * dx).sum();
        let w = covariance / variance;
        (w, y_mean - w * x_mean)
    }

    /// The mean of `(b + w x - y)²` over all points.
    ///
    /// ```
    /// use downhill_problems::data::Points;
    ///
    /// let points = Points { x: vec![0., 1., 2.], y: vec![1., 3., 5.] };
    /// assert_eq!(points.mean_squared_error(2., 1.), 0.);
    /// assert_eq!(points.mean_squared_error(2., 0.), 1.);
    /// ```
    pub fn mean_squared_error(&self, w: f64, b: f64) -> f64 {
        let errors = self.x.iter().zip(&self.y).map(|(x, y)| b + w * x - y);
        errors.map(|error| error * error).sum::<f64>() / self.x.len() as f64
    }
}
