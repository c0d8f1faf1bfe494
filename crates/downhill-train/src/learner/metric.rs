//! Numbers of the reports as burn-train's metrics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::lock;
use crate::{Norm, Outcome, StepReport};

type Letters = Mutex<VecDeque<Arc<StepReport>>>;

/// Where the reports go: one queue for each metric that is there.
#[derive(Debug, Default)]
pub(super) struct Outlets(Mutex<Vec<Weak<Letters>>>);

impl Outlets {
    fn each(&self, mut work: impl FnMut(&Letters)) {
        lock(&self.0).retain(|letters| {
            let letters = letters.upgrade();
            letters.as_deref().map(&mut work).is_some()
        });
    }

    /// Sends the report of an item that burn-train's metrics are about to see.
    pub fn send(&self, report: &Arc<StepReport>) {
        self.each(|letters| lock(letters).push_back(Arc::clone(report)));
    }

    /// Forgets what nobody has taken: a metric that is not registered takes nothing.
    pub fn clear(&self) {
        self.each(|letters| lock(letters).clear());
    }
}

/// Reports that wait for a metric. burn-train updates metrics on a thread of its own, once for each item
/// and in their order, so they are taken one by one; a clone is another metric with a queue of its own.
#[derive(Debug)]
pub(super) struct Mailbox {
    letters: Arc<Letters>,
    outlets: Arc<Outlets>,
}

impl Mailbox {
    pub fn new(outlets: Arc<Outlets>) -> Self {
        let letters = Arc::new(Letters::default());
        lock(&outlets.0).push(Arc::downgrade(&letters));
        Self { letters, outlets }
    }

    fn take(&self) -> Option<Arc<StepReport>> {
        lock(&self.letters).pop_front()
    }
}

impl Clone for Mailbox {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.outlets))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    GradNorm,
    Skipped,
    UpdateRatio,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::GradNorm => "Gradient Norm",
            Self::Skipped => "Skipped",
            Self::UpdateRatio => "Update Ratio",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::GradNorm => "The norm of all gradients together, before clipping",
            Self::Skipped => "The share of updates that were left out, being not finite",
            Self::UpdateRatio => "The largest norm of an update over that of its parameter",
        }
    }

    fn of(self, report: &StepReport) -> Option<f64> {
        match self {
            Self::GradNorm => report.grad_norm.as_ref().map(Norm::value),
            Self::Skipped => Some(f64::from(u8::from(report.outcome == Outcome::Skipped))),
            Self::UpdateRatio => {
                let ratios = report.update_ratios.iter().map(|ratio| ratio.ratio);
                ratios.max_by(f64::total_cmp)
            }
        }
    }
}

/// A number of the reports as one of burn-train's metrics: see
/// [`grad_norm_metric`](crate::DrivenStrategy::grad_norm_metric) and its like.
///
/// Register it with `metric_train_numeric` or `metric_train`. On the validation split, and for items whose
/// report does not have the number, it has no value. A norm that is still on the device is read on the
/// thread of the metrics.
#[derive(Clone)]
pub struct ReportMetric {
    what: What,
    name: MetricName,
    mailbox: Mailbox,
    state: NumericMetricState,
    /// Whether the last item had the number, and whether any has.
    had: (bool, bool),
}

impl core::fmt::Debug for ReportMetric {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReportMetric")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ReportMetric {
    pub(super) fn new(what: What, mailbox: Mailbox) -> Self {
        Self {
            what,
            name: Arc::new(what.name().to_string()),
            mailbox,
            state: NumericMetricState::new(),
            had: (false, false),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(3)
    }
}

impl Metric for ReportMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn description(&self) -> Option<String> {
        Some(self.what.description().to_string())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: false,
        }
        .into()
    }

    fn update(
        &mut self,
        _: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        // Only what is trained on has a learning rate, and a report.
        let report = metadata.lr.as_ref().and_then(|_| self.mailbox.take());
        let value = report.and_then(|report| self.what.of(&report));
        self.had = (value.is_some(), self.had.1 || value.is_some());
        Ok(match value {
            Some(value) => {
                self.state.update(value, 1);
                self.state.compute_update(self.format())
            }
            None => SerializedEntry::not_available(None),
        })
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(match self.had.1 {
            true => self.state.compute_final(self.format()),
            false => SerializedEntry::not_available(None),
        })
    }

    fn clear(&mut self) {
        self.state.reset();
        self.had = (false, false);
    }
}

impl Numeric for ReportMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.had.0.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.had.1.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
