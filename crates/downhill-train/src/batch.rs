use burn::optim::GradientsParams;

/// How gradients of several micro-batches become one update.
///
/// The window's length counts micro-batches; schedules count updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Accumulation {
    /// Their mean, weighted by the [samples](MicroBatch::with_samples) where these are given: micro-batches
    /// with mean losses then equal one batch of all of them.
    Mean {
        /// Micro-batches of an update, at least 1.
        micro_batches: u32,
    },
    /// Their sum, for losses that are sums (and what Burn's `GradientsAccumulator` does).
    Sum {
        /// Micro-batches of an update, at least 1.
        micro_batches: u32,
    },
}

impl Accumulation {
    /// The mean of so many micro-batches.
    pub fn mean(micro_batches: u32) -> Self {
        Self::Mean { micro_batches }
    }

    /// The sum of so many micro-batches.
    pub fn sum(micro_batches: u32) -> Self {
        Self::Sum { micro_batches }
    }

    pub(crate) fn micro_batches(self) -> u32 {
        match self {
            Self::Mean { micro_batches } | Self::Sum { micro_batches } => micro_batches,
        }
    }
}

/// What a driver takes: gradients, and what is known about them.
///
/// ```no_run
/// # use burn::optim::GradientsParams;
/// use downhill_train::MicroBatch;
///
/// # let grads = GradientsParams::new();
/// let batch = MicroBatch::new(grads).with_loss(0.25).with_samples(32);
/// ```
#[derive(Debug)]
pub struct MicroBatch {
    pub(crate) grads: GradientsParams,
    pub(crate) loss: Option<f64>,
    pub(crate) samples: Option<u64>,
}

impl MicroBatch {
    /// Gradients of a model.
    pub fn new(grads: GradientsParams) -> Self {
        Self {
            grads,
            loss: None,
            samples: None,
        }
    }

    /// The loss they come from: it is looked at as gradients are, and is part of the report. Reading it
    /// from a GPU means to wait for it.
    #[must_use]
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.loss = Some(loss);
        self
    }

    /// How many samples the micro-batch had: its weight in a [mean](Accumulation::Mean).
    #[must_use]
    pub fn with_samples(mut self, samples: u64) -> Self {
        self.samples = Some(samples);
        self
    }

    /// The gradients alone.
    pub fn into_grads(self) -> GradientsParams {
        self.grads
    }
}

impl From<GradientsParams> for MicroBatch {
    fn from(grads: GradientsParams) -> Self {
        Self::new(grads)
    }
}
