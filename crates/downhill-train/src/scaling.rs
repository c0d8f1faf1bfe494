//! Loss scaling: gradients of 16 bits that neither vanish nor overflow.

use burn::tensor::Tensor;
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use crate::Driver;
use crate::setting::{OutOfRange, in_range};

/// A factor on the loss, so that gradients of 16 bits are not too small for their precision: the driver divides it out
/// again, in f32 and in the optimizer's own pass, before norms are taken and clipped.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use burn::optim::GradientsParams;
/// # use burn::tensor::Tensor;
/// use downhill_optim::AdamWConfig;
/// use downhill_train::{Driver, LossScaling};
///
/// # fn example(mut model: Linear, x: Tensor<2>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut driver = Driver::builder(AdamWConfig::new().init(), 1e-3)
///     .with_loss_scaling(LossScaling::dynamic())
///     .bind(&model)?;
/// let loss = model.forward(x).square().mean();
/// let grads = GradientsParams::from_grads(driver.scaled(loss).backward(), &model);
/// let report;
/// (model, report) = driver.step(model, grads)?;
/// # let _ = (model, report);
/// # Ok(())
/// # }
/// ```
///
/// A loss that is in f16 itself must not be brought above 65504: begin lower, or compute the loss in f32.
///
/// Scales are powers of two by default, so that nothing is rounded by them. Source: Micikevicius et al., arXiv 1710.03740;
/// the numbers of `dynamic` are those of `torch.amp.GradScaler`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaling {
    scale: f64,
    /// None stays at the scale.
    #[serde(default)]
    interval: Option<u64>,
}

/// Below this a scale does not fall: then the gradients themselves are not finite.
const LEAST: f64 = 1.0;

/// Above this it does not rise.
const MOST: f64 = (1_u64 << 40) as f64;

impl LossScaling {
    /// Always the same factor, above 0.
    pub fn fixed(scale: f64) -> Self {
        Self {
            scale,
            interval: None,
        }
    }

    /// A factor of 65536 at first. Gradients that are not finite halve it, and the update (with its whole window of
    /// micro-batches) is left out; after 2000 updates without one it is doubled. At 1 it is left to
    /// [`NonFinite`](crate::NonFinite) what becomes of such gradients.
    pub fn dynamic() -> Self {
        Self {
            scale: 65536.0,
            interval: Some(2000),
        }
    }

    /// Sets the factor at first.
    #[must_use]
    pub fn with_scale(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// Sets the updates after which a [dynamic](Self::dynamic) factor is doubled.
    #[must_use]
    pub fn with_interval(self, updates: u64) -> Self {
        Self {
            interval: self.interval.map(|_| updates),
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        in_range("scale of the loss", self.scale, Range::POSITIVE)?;
        if let Some(interval) = self.interval {
            in_range(
                "interval of the loss scaling",
                interval as f64,
                Range::AT_LEAST_ONE,
            )?;
        }
        Ok(())
    }
}

/// The factor, as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scaler {
    pub scale: f64,
    /// Updates since it has changed.
    pub updates: u64,
    interval: Option<u64>,
}

impl Scaler {
    pub fn new(scaling: &LossScaling) -> Self {
        Self {
            scale: scaling.scale,
            updates: 0,
            interval: scaling.interval,
        }
    }

    pub fn is_dynamic(&self) -> bool {
        self.interval.is_some()
    }

    /// With these numbers instead.
    pub fn at(self, scale: f64, updates: u64) -> Self {
        Self {
            scale,
            updates,
            ..self
        }
    }

    /// After gradients that are not finite: whether a smaller factor may help.
    pub fn backs_off(&mut self) -> bool {
        let can = self.is_dynamic() && self.scale > LEAST;
        if can {
            *self = self.at((self.scale / 2.0).max(LEAST), 0);
        }
        can
    }

    /// After an update.
    pub fn goes_on(&mut self) {
        self.updates = self.updates.saturating_add(1);
        if self
            .interval
            .is_some_and(|interval| self.updates >= interval)
            && self.scale < MOST
        {
            *self = self.at(self.scale * 2.0, 0);
        }
    }
}

impl Driver {
    /// The factor on the next loss: 1 without [`LossScaling`].
    pub fn loss_scale(&self) -> f64 {
        self.core.scale()
    }

    /// The loss times the factor, to be differentiated. The loss itself is the one to be reported.
    pub fn scaled(&self, loss: Tensor<1>) -> Tensor<1> {
        match self.loss_scale() {
            1.0 => loss,
            scale => loss.mul_scalar(scale),
        }
    }
}
