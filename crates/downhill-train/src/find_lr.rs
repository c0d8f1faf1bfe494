//! The learning rate range test: which rates a model can be trained with.
//!
//! A few updates are made while the rate rises exponentially from one that does nothing to one that
//! is far too high:
//!
//! ```text
//! lr(k) = from·(to/from)^(k/(steps - 1)),  k = 0, ..., steps - 1
//! ```
//!
//! Where the loss falls fastest, a training makes the best progress; from where it rises on, the rate
//! is too high.
//!
//! Source: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3
//! (arXiv:1506.01186). The range, the exponential rise, the end at four times the lowest loss and the two
//! suggestions are those of fastai's `lr_find` (`LRFinder`, `steep` and `minimum` in
//! `fastai/callback/schedule.py`). The smoothing is different: fastai's mean of past losses lags behind, by
//! half the range at its defaults, and falls fastest close to where the loss is lowest, which is too
//! late. Here the mean is of the losses on both sides.
//!
//! [`range_test`] tests any module of Burn's; [`sweep`] is for what trains in another way.

use std::ops::RangeInclusive;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use downhill_schedule::{ExponentialConfig, ScheduleError};
use serde::{Deserialize, Serialize};

/// What a range test does: see the [module](self).
///
/// ```
/// use downhill_train::find_lr::RangeTestConfig;
///
/// let config = RangeTestConfig::new().with_from(1e-4).with_to(1.0).with_steps(41);
/// let rates = config.rates()?;
/// assert_eq!(rates.len(), 41);
/// assert_eq!(rates[0], 1e-4);
/// assert!((rates[10] - 1e-3).abs() < 1e-15);
/// # Ok::<(), downhill_train::find_lr::RangeTestError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RangeTestConfig {
    /// The first rate, above 0. Default: 1e-7.
    pub from: f64,
    /// The last rate, above the first one. Default: 10.
    pub to: f64,
    /// Updates, from 10 to a million. Default: 100.
    pub steps: u64,
    /// The smoothing's time constant as a part of the steps, at least 0: so many steps away, a loss has
    /// `1/e` of the weight. Default: 0.03.
    pub smoothing: f64,
    /// The test ends where the smoothed loss is so many times the lowest one, above 1. Default: 4.
    pub divergence: f64,
}

impl Default for RangeTestConfig {
    fn default() -> Self {
        Self {
            from: 1e-7,
            to: 10.0,
            steps: 100,
            smoothing: 0.03,
            divergence: 4.0,
        }
    }
}

/// What is wrong with a [`RangeTestConfig`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeTestError {
    /// The rates do not rise.
    #[error("the rates must rise: expected 0 < from < to, got from {from} to {to}")]
    Range {
        /// The first one.
        from: f64,
        /// The last one.
        to: f64,
    },
    /// Too few to see anything, or more than anybody waits for.
    #[error("expected 10 to 1000000 steps, got {0}")]
    Steps(u64),
    /// A weight that grows with the distance.
    #[error("the smoothing must be a number of at least 0, got {0}")]
    Smoothing(f64),
    /// The test would end at its lowest loss.
    #[error("the divergence must be a number above 1, got {0}")]
    Divergence(f64),
    /// The rates are beyond what a schedule can be made of.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

impl RangeTestConfig {
    /// How many updates a test may have.
    pub const STEPS: RangeInclusive<u64> = 10..=1_000_000;

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the first rate.
    pub fn with_from(mut self, from: f64) -> Self {
        self.from = from;
        self
    }

    /// Sets the last rate.
    pub fn with_to(mut self, to: f64) -> Self {
        self.to = to;
        self
    }

    /// Sets the number of updates.
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the smoothing's time constant, as a part of the steps.
    pub fn with_smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// Sets how many times the lowest loss is a divergence.
    pub fn with_divergence(mut self, divergence: f64) -> Self {
        self.divergence = divergence;
        self
    }

    /// The rates of all updates.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn rates(&self) -> Result<Vec<f64>, RangeTestError> {
        let Self { from, to, .. } = *self;
        if !(from > 0.0 && from < to && to.is_finite()) {
            return Err(RangeTestError::Range { from, to });
        }
        if !Self::STEPS.contains(&self.steps) {
            return Err(RangeTestError::Steps(self.steps));
        }
        if !(self.smoothing >= 0.0 && self.smoothing.is_finite()) {
            return Err(RangeTestError::Smoothing(self.smoothing));
        }
        if self.divergence.is_nan() || self.divergence <= 1.0 {
            return Err(RangeTestError::Divergence(self.divergence));
        }
        let rise = ExponentialConfig::new(from, to / from, self.steps - 1).try_build()?;
        Ok((0..self.steps).map(|step| rise.value(step)).collect())
    }

    /// What a loss weighs less for each step that it is away.
    fn decay(&self) -> f64 {
        (-1.0 / (self.smoothing * self.steps as f64)).exp()
    }
}

/// An update of a range test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RangePoint {
    /// Its learning rate.
    pub lr: f64,
    /// The loss before it.
    pub loss: f64,
    /// The mean of the losses around, weighted by `exp(-distance/(smoothing·steps))`. What is beyond the
    /// [end](RangeTestConfig::divergence) counts as if it were there.
    pub smoothed: f64,
}

/// Why a range test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeEnd {
    /// At the last rate.
    Finished,
    /// The loss rose too high.
    Diverged,
    /// The loss was infinite or no number.
    NotFinite,
}

/// What a range test found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangeTest {
    /// One for each update, the rates rising. Its losses are finite.
    pub points: Vec<RangePoint>,
    /// Why there are no more.
    pub end: RangeEnd,
    /// Updates that the rates would have been enough for.
    steps: u64,
}

impl RangeTest {
    /// Where the smoothed loss falls fastest against the logarithm of the rate: the suggestion.
    ///
    /// As in fastai, the first tenth of the rates does not count, where a noisy loss falls by chance.
    /// Nothing if the loss has not fallen.
    pub fn steepest(&self) -> Option<RangePoint> {
        let lowest = self.lowest()?;
        let first = usize::try_from(self.steps / 10).ok()?.max(1);
        let fall = |i: &usize| self.points[i - 1].smoothed - self.points[i + 1].smoothed;
        (first..lowest)
            .filter(|i| fall(i) > 0.0)
            .max_by(|a, b| fall(a).total_cmp(&fall(b)))
            .map(|i| self.points[i])
    }

    /// Where the smoothed loss is lowest. Nothing if that is at the first rate: the loss has not
    /// fallen.
    pub fn minimum(&self) -> Option<RangePoint> {
        self.lowest().map(|i| self.points[i])
    }

    /// A tenth of the rate of the [`minimum`](Self::minimum): the older and often more careful
    /// suggestion.
    pub fn tenth_of_minimum(&self) -> Option<f64> {
        self.minimum().map(|point| point.lr / 10.0)
    }

    /// Whether the loss was still about to fall when the rates were over, so that higher ones should
    /// be tried.
    pub fn ended_too_early(&self) -> bool {
        let last = self.points.len().saturating_sub(3);
        self.end == RangeEnd::Finished && self.lowest().is_some_and(|lowest| lowest >= last)
    }

    fn lowest(&self) -> Option<usize> {
        let smoothed = |i: &usize| self.points[*i].smoothed;
        (0..self.points.len())
            .min_by(|a, b| smoothed(a).total_cmp(&smoothed(b)))
            .filter(|lowest| *lowest > 0)
    }
}

/// Tests a module with an optimizer, both of which stay as they are.
///
/// `loss` gives the loss, of shape `[1]`, of the module for the next batch; its second argument counts
/// the updates from 0. The module has to be on a device with autodiff. What is trained is a copy in
/// training mode ([`Module::train`]) with its own running statistics, those of a batch normalisation
/// for one, which a clone would share; the optimizer's copy starts with the state that it has. An update
/// of running statistics that is still due is made, as by [`Module::valid`].
///
/// # Errors
///
/// Returns the first setting that is outside its range.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig, loss::{MseLoss, Reduction}};
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use downhill_train::find_lr::{RangeTestConfig, range_test};
///
/// let device = Device::flex().autodiff();
/// let model: Linear = LinearConfig::new(3, 1).init(&device);
/// let optimizer = AdamConfig::new().init();
/// let x = Tensor::<2>::random([64, 3], Distribution::Normal(0.0, 1.0), &device);
/// let y = x.clone().sum_dim(1);
///
/// let test = range_test(&RangeTestConfig::new(), &model, &optimizer, |model: &Linear, _| {
///     MseLoss::new().forward(model.forward(x.clone()), y.clone(), Reduction::Mean)
/// })?;
/// let suggested = test.steepest().expect("the loss falls").lr;
/// assert!(1e-3 < suggested && suggested < 1.0);
/// # }
/// # Ok::<(), downhill_train::find_lr::RangeTestError>(())
/// ```
pub fn range_test<M: Module>(
    config: &RangeTestConfig,
    model: &M,
    optimizer: &ModuleOptimizer,
    mut loss: impl FnMut(&M, u64) -> Tensor<1>,
) -> Result<RangeTest, RangeTestError> {
    let mut optimizer = optimizer.clone();
    let mut model = Some(model.valid().train());
    let mut step = 0;
    sweep(config, |lr| {
        let trained = model.take().expect("put back by every update");
        let loss = loss(&trained, step);
        let gradients = GradientsParams::from_grads(loss.backward(), &trained);
        model = Some(optimizer.step(lr, trained, gradients));
        step += 1;
        loss.into_scalar()
    })
}

/// The test of anything that is trained by updates: `update` makes one at a rate, and returns the loss
/// before it.
///
/// The test ends early where the loss is not finite, or where a mean of the losses so far is
/// [so many times](RangeTestConfig::divergence) the lowest one and above the first loss: losses close to
/// zero multiply without a divergence.
///
/// # Errors
///
/// Returns the first setting that is outside its range.
///
/// Gradient descent on `x^2 / 2`, which diverges at rates above 2:
///
/// ```
/// use downhill_train::find_lr::{RangeEnd, RangeTestConfig, sweep};
///
/// let mut x = 1.0;
/// let test = sweep(&RangeTestConfig::new().with_to(1000.0), |lr| {
///     let loss = x * x / 2.0;
///     x -= lr * x;
///     loss
/// })?;
/// assert_eq!(test.end, RangeEnd::Diverged);
/// let suggested = test.steepest().expect("the loss falls").lr;
/// assert!(0.01 < suggested && suggested < 1.0);
/// # Ok::<(), downhill_train::find_lr::RangeTestError>(())
/// ```
pub fn sweep(
    config: &RangeTestConfig,
    mut update: impl FnMut(f64) -> f64,
) -> Result<RangeTest, RangeTestError> {
    let decay = config.decay();
    let (mut sum, mut weights) = (0.0, 0.0);
    let mut lowest = f64::INFINITY;
    let mut losses: Vec<(f64, f64)> = Vec::new();
    let mut end = RangeEnd::Finished;
    for lr in config.rates()? {
        let loss = update(lr);
        if !loss.is_finite() {
            end = RangeEnd::NotFinite;
            break;
        }
        losses.push((lr, loss));
        sum = decay * sum + loss;
        weights = decay * weights + 1.0;
        let mean = sum / weights;
        lowest = lowest.min(mean);
        if mean > bound(config, lowest, losses[0].1) {
            end = RangeEnd::Diverged;
            break;
        }
    }
    let bound = losses
        .first()
        .map_or(f64::INFINITY, |(_, first)| bound(config, lowest, *first));
    let bounded: Vec<f64> = losses.iter().map(|(_, loss)| loss.min(bound)).collect();
    let points = losses
        .into_iter()
        .zip(smooth(&bounded, decay))
        .map(|((lr, loss), smoothed)| RangePoint { lr, loss, smoothed })
        .collect();
    Ok(RangeTest {
        points,
        end,
        steps: config.steps,
    })
}

/// Where a divergence begins. A negative loss has no multiples that are higher, so it is the distance
/// that counts.
fn bound(config: &RangeTestConfig, lowest: f64, first: f64) -> f64 {
    (lowest + (config.divergence - 1.0) * lowest.abs()).max(first)
}

/// The mean of each value and the others, whose weights fall by `decay` for each place.
fn smooth(values: &[f64], decay: f64) -> Vec<f64> {
    let mut means: Vec<(f64, f64)> = values.iter().map(|x| (-x, -1.0)).collect();
    let mut add = |i: usize, sum: &mut (f64, f64)| {
        *sum = (decay * sum.0 + values[i], decay * sum.1 + 1.0);
        means[i].0 += sum.0;
        means[i].1 += sum.1;
    };
    let (mut before, mut after) = ((0.0, 0.0), (0.0, 0.0));
    for i in 0..values.len() {
        add(i, &mut before);
        add(values.len() - 1 - i, &mut after);
    }
    means
        .into_iter()
        .map(|(sum, weight)| sum / weight)
        .collect()
}
