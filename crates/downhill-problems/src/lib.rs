//! Data sets and models to train and compare optimizers on.
//!
//! - [`data`]: classification data (handwritten digits, random numbers, any CSV file) and its
//!   batches as Burn tensors.
//! - [`mlp`]: the two-layer perceptron that is trained on them.
//! - [`numpy`]: NumPy's legacy random numbers, bit for bit, for experiments that were published
//!   with `np.random.seed`.
//!
//! Everything random comes from a seed through [`numpy::RandomState`] on the host, so the same
//! seed gives the same data, batches and initial weights on every backend.
//!
//! ```
//! use burn::{optim::{AdamConfig, GradientsParams}, tensor::Device};
//! use downhill_problems::{data, mlp::MlpConfig, numpy::RandomState};
//!
//! let device = Device::flex().autodiff();
//! let digits = data::digits();
//! let mut model = MlpConfig::new(digits.train.inputs(), 32, digits.train.classes()).init(0, &device);
//! let mut optimizer = AdamConfig::new().init();
//! let mut random = RandomState::new(0);
//!
//! for batch in digits.train.batches(64, &mut random, &device) {
//!     let grads = GradientsParams::from_grads(model.loss(&batch).backward(), &model);
//!     model = optimizer.step(1e-2, model, grads);
//! }
//! assert!(model.evaluate(&digits.test).accuracy > 0.7); // after one epoch
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod data;
pub mod mlp;
pub mod numpy;
