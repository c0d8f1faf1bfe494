//! What happens to a micro-batch before an update is made of it: it is refused, skipped, added to a window, or
//! good.

use burn::module::Module;
use burn::optim::GradientsParams;

use crate::batch::Accumulation;
use crate::checkpoint;
use crate::clipping::{Clipping, NonFinite};
use crate::error::StepCause;
use crate::gradients::{self, Change, Seen, Window};
use crate::ranks::{Found, Joined, Place};
use crate::report::{NonFiniteGradient, Outcome, StepReport};
use crate::update::Core;

pub(crate) type Refused = (GradientsParams, StepCause);

/// Gradients that fit the model, and are finite where that was looked at.
pub(crate) struct Good {
    pub grads: GradientsParams,
    pub seen: Vec<Seen>,
    /// As they came, if something in them was made zero.
    pub original: Option<GradientsParams>,
}

/// What an update is made of: the gradients of a window, or of the one micro-batch that there is.
pub(crate) struct Sum {
    pub grads: GradientsParams,
    pub seen: Vec<Seen>,
    /// Makes a mean of them.
    pub factor: f64,
    /// The loss from which they are.
    pub loss: Option<f64>,
    /// Of a window, the gradients that filled it, as they came.
    pub last: Option<GradientsParams>,
}

impl Good {
    fn into_original(self) -> GradientsParams {
        self.original.unwrap_or(self.grads)
    }
}

/// What is said of gradients that are not finite.
enum Verdict {
    Fine,
    Error(StepCause),
    Skip(Vec<NonFiniteGradient>),
    Zero(Vec<NonFiniteGradient>),
}

impl Core {
    pub fn is_guarded(&self) -> bool {
        let scaled = self.scaler.is_some_and(|scaler| scaler.is_dynamic());
        scaled || self.settings.non_finite != NonFinite::Ignore
    }

    fn inspect<M: Module>(
        &self,
        model: &M,
        grads: &GradientsParams,
    ) -> Result<Vec<Seen>, StepCause> {
        let clipping = self.settings.clipping.as_ref();
        let measured = self.is_guarded() || clipping.is_some_and(Clipping::needs_norms);
        let mut seen = gradients::inspect(model, &self.bound, grads, measured)?;
        if self.is_guarded() {
            gradients::read(&mut seen);
        }
        Ok(seen)
    }

    /// What there is in a micro-batch.
    pub fn found<M: Module>(
        &self,
        model: &M,
        grads: &GradientsParams,
        loss: Option<f64>,
    ) -> Result<Found, StepCause> {
        let seen = self.inspect(model, grads)?;
        let guarded = self.is_guarded();
        let broken = match guarded {
            true => gradients::non_finite(model, &self.bound, grads, &seen),
            false => Vec::new(),
        };
        let loss = loss.filter(|loss| guarded && !loss.is_finite());
        Ok(Found { seen, broken, loss })
    }

    /// What all ranks find, where there are several, beside something of this one's. They wait for a word of each, also
    /// of one that refuses.
    pub fn agreed<T>(
        &self,
        model: &impl Module,
        own: Result<(T, Found), StepCause>,
        flush: bool,
        learning_rate: f64,
    ) -> Result<(T, Found), StepCause> {
        let Some(ranks) = self.together() else {
            return own;
        };
        let place = Place {
            updates: self.counters.updates,
            micro_batches: self.window.micro_batches,
            flush,
            rate: learning_rate.to_bits(),
            values: (!self.compared).then(|| checkpoint::checksum(model)),
        };
        ranks.agreed(&self.bound, place, own)
    }

    /// Gradients that fit the model and are finite, or have been made so; none if they are skipped.
    pub fn guard<M: Module>(
        &mut self,
        model: &M,
        grads: GradientsParams,
        found: Found,
        report: &mut StepReport,
    ) -> Result<Option<Good>, Refused> {
        let Found { seen, broken, loss } = found;
        let good = |grads, seen, original| {
            Ok(Some(Good {
                grads,
                seen,
                original,
            }))
        };
        if loss.is_none() && self.backs_off(&broken, report) {
            return Ok(None);
        }
        match self.judge(broken, loss, self.counters.consecutive) {
            Verdict::Fine => good(grads, seen, None),
            Verdict::Error(cause) => Err((grads, cause)),
            Verdict::Skip(broken) => {
                let consecutive = &mut self.counters.consecutive;
                *consecutive = consecutive.saturating_add(1);
                self.skip(report, broken);
                Ok(None)
            }
            Verdict::Zero(broken) => {
                let mut zeroed = gradients::copied(model, &grads);
                gradients::change(model, &mut zeroed, &seen, &Change::Zero);
                report.non_finite = broken;
                match self.inspect(model, &zeroed) {
                    Ok(seen) => good(zeroed, seen, Some(grads)),
                    Err(cause) => Err((grads, cause)),
                }
            }
        }
    }

    /// The sum of a window that is full (or is to be flushed); none if it is not full yet, or is skipped.
    pub fn accumulate<M: Module>(
        &mut self,
        model: &M,
        mut good: Good,
        (accumulation, weight): (Accumulation, f64),
        flush: bool,
        report: &mut StepReport,
    ) -> Result<Option<Sum>, Refused> {
        let of = accumulation.micro_batches();
        let window = &mut self.window;
        let losses = match report.loss {
            Some(loss) => (window.loss.0 + weight * loss, window.loss.1 + weight),
            None => window.loss,
        };
        if !flush && window.micro_batches + 1 < of {
            gradients::change(model, &mut good.grads, &good.seen, &Change::DropFrozen);
            window.add(model, good.grads, weight);
            window.micro_batches += 1;
            window.weight += weight;
            window.loss = losses;
            self.counters.consecutive = 0;
            let done = window.micro_batches;
            report.outcome = Outcome::Accumulated { done, of };
            return Ok(None);
        }
        let (sum, weights) = match flush {
            true => (gradients::copied(model, &window.grads), window.weight),
            false => (
                window.plus(model, &good.grads, weight),
                window.weight + weight,
            ),
        };
        let mut own = Joined {
            grads: sum,
            weight: weights,
            loss: losses,
        };
        let joined = match self.together() {
            Some(ranks) => {
                // Not every rank need have those.
                gradients::change(model, &mut own.grads, &good.seen, &Change::DropFrozen);
                ranks.joined(model, own)
            }
            None => Ok(own),
        };
        let Joined {
            grads: sum,
            weight: weights,
            loss: losses,
        } = match joined {
            Ok(joined) => joined,
            Err(error) => return Err((good.into_original(), error.into())),
        };
        report.loss = (losses.1 > 0.0).then(|| losses.0 / losses.1);
        let last = good.into_original();
        let seen = match self.judge_sum(model, &sum, report) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(None),
            Err(cause) => return Err((last, cause)),
        };
        let (factor, loss) = match accumulation {
            Accumulation::Mean { .. } => (weights.recip(), report.loss),
            Accumulation::Sum { .. } => (1.0, report.loss.map(|_| losses.0)),
        };
        Ok(Some(Sum {
            loss,
            grads: sum,
            seen,
            factor,
            last: Some(last),
        }))
    }

    /// Looks at the sum of a window, since that of finite gradients can overflow; none if it is skipped,
    /// and the window with it.
    pub fn judge_sum<M: Module>(
        &mut self,
        model: &M,
        sum: &GradientsParams,
        report: &mut StepReport,
    ) -> Result<Option<Vec<Seen>>, StepCause> {
        let seen = self.inspect(model, sum)?;
        if !self.is_guarded() {
            return Ok(Some(seen));
        }
        let broken = gradients::non_finite(model, &self.bound, sum, &seen);
        if self.backs_off(&broken, report) {
            return Ok(None);
        }
        match self.judge(broken, None, self.counters.windows) {
            Verdict::Fine => Ok(Some(seen)),
            Verdict::Error(cause) => Err(cause),
            Verdict::Zero(gradients) => Err(StepCause::NonFinite {
                gradients,
                loss: None,
            }),
            Verdict::Skip(broken) => {
                self.window = Window::default();
                self.counters.windows = self.counters.windows.saturating_add(1);
                self.counters.consecutive = 0;
                self.skip(report, broken);
                Ok(None)
            }
        }
    }

    /// What is to be done about what is not finite, after as many skips in a row.
    fn judge(
        &self,
        broken: Vec<NonFiniteGradient>,
        loss: Option<f64>,
        consecutive: u32,
    ) -> Verdict {
        if broken.is_empty() && loss.is_none() {
            return Verdict::Fine;
        }
        match self.settings.non_finite {
            NonFinite::Error => Verdict::Error(StepCause::NonFinite {
                gradients: broken,
                loss,
            }),
            NonFinite::Skip { max_consecutive } => match consecutive >= max_consecutive {
                true => Verdict::Error(StepCause::TooManySkips {
                    count: consecutive.saturating_add(1),
                    max: max_consecutive,
                    gradients: broken,
                    loss,
                }),
                false => Verdict::Skip(broken),
            },
            NonFinite::ZeroNan if broken.is_empty() => Verdict::Fine,
            NonFinite::ZeroNan => Verdict::Zero(broken),
            NonFinite::Ignore => Verdict::Fine,
        }
    }

    /// Whether a smaller factor on the loss may help against what is not finite: then the update is left out, with the
    /// window, whose gradients have the old one.
    fn backs_off(&mut self, broken: &[NonFiniteGradient], report: &mut StepReport) -> bool {
        let scaler = self.scaler.as_mut().filter(|_| !broken.is_empty());
        let Some(scaler) = scaler else {
            return false;
        };
        if !scaler.backs_off() {
            return false;
        }
        report.loss_scale = Some(scaler.scale);
        self.window = Window::default();
        self.skip(report, broken.to_vec());
        true
    }

    fn skip(&mut self, report: &mut StepReport, broken: Vec<NonFiniteGradient>) {
        self.counters.skipped = self.counters.skipped.saturating_add(1);
        report.skipped = self.counters.skipped;
        report.outcome = Outcome::Skipped;
        report.non_finite = broken;
    }
}
