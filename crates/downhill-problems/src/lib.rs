//! Things to optimise: test functions, data sets and models to train and compare optimizers on.
//!
//! - [`Problem`]: a model with its data, a target and a budget, and [`AnyProblem`], which holds any of
//!   them, those below as well as your own, and trains it with any of Burn's optimizers.
//! - [`functions`](mod@functions): test functions on R^n with gradient, domain and minima.
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
//! use burn::{optim::AdamConfig, tensor::Device};
//! use downhill_problems::{Part, by_name};
//!
//! let problem = by_name("digits-mlp")?;
//! let mut training = problem.start(0, &Device::flex()); // 0 is the seed
//! let mut optimizer = AdamConfig::new().init();
//! while training.updates() < 5 * problem.info().updates_per_epoch() {
//!     training.step(&mut optimizer, 1e-2);
//! }
//! let test = training.evaluate(Part::Test);
//! assert!(test.metric.unwrap() > 0.9); // accuracy after five epochs
//! # Ok::<(), downhill_problems::ProblemError>(())
//! ```
//!
//! # Problems
//!
//! | name | model | samples | batch | epochs | target | Adam | time |
//! |---|---|---|---|---|---|---|---|
//! | `quadratic` | 10 variables, condition number 100 | 1 | 1 | 1000 | gap 1e-5 | 1e-1: 100 | 0.1 s |
//! | `quadratic-100-10000` | 100 variables, condition number 10,000 | 1 | 1 | 1000 | gap 1e-5 | 3e-1: 110 to 120 | 0.1 s |
//! | `rosenbrock` | 2 variables | 1 | 1 | 2000 | gap 1e-4 | 1e-1: 780 to 930 | 0.1 s |
//! | `rosenbrock-10` | 10 variables | 1 | 1 | 2000 | gap 1e-4 | 1e-1: 1520 to 1590 | 0.1 s |
//! | `beale` | 2 variables | 1 | 1 | 500 | gap 1e-6 | 1e-1: 200 to 230 | 0.1 s |
//! | `himmelblau` | 2 variables | 1 | 1 | 500 | gap 1e-6 | 1e-1: 150 to 180 | 0.1 s |
//! | `rastrigin` | 2 variables | 1 | 1 | 500 | gap 5 | 3e-2: 50 to 60 | 0.1 s |
//! | `ackley` | 2 variables | 1 | 1 | 500 | gap 0.1 | 5e-1: 60 to 100 | 0.1 s |
//! | `styblinski-tang` | 2 variables | 1 | 1 | 300 | gap 1e-6 | 1e-1: 170 | 0.1 s |
//! | `saddle` | 2 variables | 1 | 1 | 300 | gap 1e-6 | 1e-1: 130 | 0.1 s |
//! | `linear-regression` | 20 weights, condition number 100 | 256 | 32 | 50 | training loss 0.0105 | 1e-1: 128 | 0.1 s |
//! | `least-squares` | 50 weights, condition number 10,000 | 256 | 256 | 1500 | training loss 0.0101 | 1e-1: 540 to 570 | 0.3 s |
//! | `matrix-factorization` | two factors of rank 4, 100 x 80 | 4,000 | 100 | 25 | validation error 0.12 | 1e-2: 360 to 560 | 0.1 s |
//! | `pinn` | perceptron, 1-32-32-1, and two derivatives | 128 | 32 | 500 | validation error 0.01 | 1e-2: 330 to 550 | 1 s |
//! | `digits-logistic` | linear, 64-10 | 1,147 | 32 | 20 | training loss 0.1 | 3e-2: 324 to 360 | 0.1 s |
//! | `deck-mlp` | perceptron, 20-64-3 | 639 | 32 | 60 | training loss 0.5 | 1e-2: 360 to 380 | 0.3 s |
//! | `digits-mlp` | perceptron, 64-64-10 | 1,147 | 32 | 20 | validation accuracy 0.965 | 1e-2: 144 to 396 | 0.3 s |
//! | `digits-conv` | two convolutions and a linear layer | 1,147 | 32 | 12 | validation accuracy 0.97 | 1e-2: 180 to 216 | 2 s |
//! | `digits-resnet` | two residual blocks and a linear layer | 1,147 | 32 | 8 | validation accuracy 0.965 | 3e-3: 72 to 144 | 2 s |
//! | `digits-autoencoder` | perceptron, 64-48-24-8-24-48-64 | 1,147 | 32 | 30 | validation loss 0.025 | 1e-2: 252 to 360 | 0.5 s |
//! | `digits-bandit` | perceptron, 64-64-10, that guesses | 1,147 | 32 | 40 | validation accuracy 0.9 | 3e-3: 288 to 684 | 0.3 s |
//! | `char-rnn` | 48 recurrent units, context 32 | 3,706 | 32 | 2 | 3.15 validation bits per character | 3e-2: 116 | 2 s |
//! | `char-transformer-small` | one layer of width 32, context 16 | 7,413 | 32 | 2 | 3.15 validation bits per character | 3e-3: 464 | 3 s |
//! | `char-transformer` | two layers of width 64, context 32 | 3,706 | 16 | 2 | 2.95 validation bits per character | 3e-3: 464 | 10 s |
//!
//! A problem of one sample has no data: its *gap* is how far the value is above the least one. The
//! column *Adam* has a constant learning rate and the updates that it takes to the target, for
//! the seeds 0, 1 and 2, measured every epoch, or every 10 updates if an epoch has fewer; *time* is a whole
//! training with Flex on two cores, in the development profile of this repository. Formulas, shapes and
//! sources are in [`functions`](mod@functions), [`FunctionProblem`], [`LinearRegression`],
//! [`MatrixFactorization`], [`Pinn`], [`SoftmaxRegression`], [`Mlp`](mlp::Mlp), [`ConvNet`], [`ResNet`],
//! [`Autoencoder`], [`Bandit`], [`CharRnn`] and [`CharTransformer`].
//!
//! The targets were chosen by training with Adam and with SGD at a momentum of 0.9, at constant rates
//! a factor of about three apart: each is a value that Adam reaches with room to spare at a good rate, from
//! every seed, and misses at one that is much too small. SGD with momentum reaches them, too, if often
//! later, and on `rosenbrock-10` and `quadratic-100-10000` just at the end of the budget. Two functions with
//! many local minima are different: on `rastrigin` the target is the local minimum next to the start, from
//! which only a jump leads on; and `ackley` takes a rate that jumps over local minima, but not
//! over the global one, which SGD with momentum hardly ever has. On `digits-bandit` a rate that is a little
//! too large ends, from some seeds, in a policy that no longer tries some classes. `deck-mlp` has nothing to
//! generalise, so its target is to learn by heart.
//!
//! Targets are on the training or the validation part. Choose settings by these as you like, and report
//! the test part.
//!
//! # Data sets and models by themselves
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
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

mod any_model;
pub mod data;
pub mod functions;
pub mod mlp;
pub mod numpy;
mod parts;
mod problem;
mod problems;
mod slopes;
mod weights;

pub use any_model::AnyModel;
pub use problem::{
    AnyProblem, Evaluation, Info, Measure, Metric, NextBatch, Part, Problem, ProblemError, Target,
    Training,
};
pub use problems::{
    Architecture, Autoencoder, Bandit, CharRnn, CharTransformer, Classifier, ConvNet,
    FunctionProblem, LinearRegression, MatrixFactorization, Pinn, ResNet, SoftmaxRegression,
    TransformerSizes, all, by_name,
};
