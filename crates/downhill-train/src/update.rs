//! One update: what is to happen with a micro-batch, and what follows. All of a driver but optimizer and
//! learning rate, which burn-train keeps itself.

use std::collections::BTreeMap;

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use downhill_optim::drive::{Directive, Directives, Driven, ModelState, Place};
use downhill_setting::Range;

use crate::average::Averages;
use crate::batch::{Accumulation, MicroBatch};
use crate::bound::Bound;
use crate::clipping::{Clip, Clipping, Scale, clip};
use crate::driven::{self, MOMENTUM, WEIGHT_DECAY};
use crate::error::StepCause;
use crate::go::{Go, Look, Made};
use crate::gradients::{self, Change, Seen, Window};
use crate::groups::{GroupRate, GroupSettings};
use crate::guard::{Refused, Sum};
use crate::mechanic::Tuned;
use crate::once::Ties;
use crate::ranks::{Local, Ranks, Shares};
use crate::ratios::ratios;
use crate::report::{Outcome, StepReport};
use crate::sam::Looked;
use crate::scaling::Scaler;
use crate::setting::{OutOfRange, in_range};
use crate::settings::Settings;

/// What counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub updates: u64,
    pub skipped: u64,
    /// Skips in a row since the last micro-batch that was good.
    pub consecutive: u32,
    /// Whole windows that were lost in a row, whose micro-batches were all good.
    pub windows: u32,
}

/// All of a driver but optimizer and learning rate, which burn-train keeps itself.
pub(crate) struct Core {
    pub settings: Settings,
    pub groups: Vec<GroupSettings>,
    pub bound: Vec<Bound>,
    pub counters: Counters,
    pub window: Window,
    /// The others of a data-parallel training.
    pub ranks: Option<Ranks>,
    /// Whether their parameters are known to have the same values as here.
    pub compared: bool,
    /// Whose state is where, if it is not all here.
    pub shares: Option<Shares>,
    /// What is kept between two meetings of ranks that train by themselves.
    pub local: Option<Local>,
    pub averages: Option<Averages>,
    pub notes: BTreeMap<String, String>,
    /// What LookSAM keeps.
    pub looked: Looked,
    /// What Mechanic keeps.
    pub tuned: Tuned,
    /// The factor on the loss.
    pub scaler: Option<Scaler>,
    /// What optimizers keep that look at the whole model.
    pub of_model: Vec<ModelState>,
    /// Whether an optimizer needs the loss.
    pub needs_loss: bool,
    /// Whether a factor on a parameter's gradient can be left to its optimizer's pass.
    pub folds: Vec<bool>,
    /// Whether it can for every trainable parameter.
    pub all_fold: bool,
    /// Whether groups have learning rates of their own.
    pub own_rates: bool,
    /// The places of tied parameters.
    pub ties: Ties,
    /// Whether all parameters follow the same directive.
    pub uniform: bool,
    /// Which trainable parameters have optimizers that are not of this library.
    pub others: Vec<bool>,
    /// Whether Burn computes something of its own between two steps.
    pub clips_in_burn: bool,
}

impl Core {
    /// The other ranks, where each step of all is one update.
    pub fn together(&self) -> Option<&Ranks> {
        self.ranks.as_ref().filter(|_| self.local.is_none())
    }

    /// The factor that is in the gradients.
    pub fn scale(&self) -> f64 {
        self.scaler.map_or(1.0, |scaler| scaler.scale)
    }

    /// The groups that a parameter is in.
    pub fn groups_of<'a>(&'a self, bound: &'a Bound) -> impl Iterator<Item = &'a GroupSettings> {
        let groups = self.groups.iter();
        groups.filter(|group| bound.groups.contains(&group.name))
    }

    /// Which parameters are stepped by this library's optimizers.
    pub fn own(&self) -> Vec<bool> {
        self.bound.iter().map(Bound::is_own).collect()
    }

    /// Goes over to the same parameters under other ids.
    pub fn move_to(&mut self, ids: &[ParamId]) {
        let averages = self.averages.take();
        self.averages = averages.map(|averages| averages.moved(&self.bound, ids));
        for grads in [
            &mut self.window.grads,
            &mut self.looked.across,
            &mut self.tuned.start,
        ] {
            gradients::move_to(grads, &self.bound, ids);
        }
        if let Some(local) = &mut self.local {
            gradients::move_to(&mut local.start, &self.bound, ids);
        }
        for (bound, id) in self.bound.iter_mut().zip(ids) {
            bound.found.id = *id;
        }
    }

    /// What can be said before a micro-batch is looked at.
    pub fn report(&self, learning_rate: f64) -> StepReport {
        StepReport {
            step: self.counters.updates,
            outcome: Outcome::Updated,
            learning_rate,
            weight_decay: None,
            momentum: None,
            driven: BTreeMap::new(),
            loss: None,
            loss_scale: self.scaler.map(|scaler| scaler.scale),
            grad_norm: None,
            clipped_norm: None,
            updated: 0,
            missing: Vec::new(),
            frozen: Vec::new(),
            non_finite: Vec::new(),
            update_ratios: Vec::new(),
            failed_decompositions: 0,
            skipped: self.counters.skipped,
        }
    }

    /// Looks at a micro-batch: the update that is to be made, if one is. Nothing but the report, counters and the
    /// window has changed afterwards, and the last two only if there is no error.
    pub fn plan<M: Module>(
        &mut self,
        model: &M,
        batch: MicroBatch,
        flush: bool,
        report: &mut StepReport,
    ) -> Result<Option<Go<M>>, Refused> {
        let MicroBatch {
            grads,
            loss,
            samples,
        } = batch;
        let step = self.counters.updates;
        let checked = self.checked(report.learning_rate, loss, samples, flush);
        let own = checked.and_then(|own| Ok((own, self.found(model, &grads, loss)?)));
        let ((numbers, weight), found) = match self.agreed(model, own, flush, report.learning_rate)
        {
            Ok(agreed) => agreed,
            Err(cause) => return Err((grads, cause)),
        };
        self.compared |= self.local.is_none();
        let driven = &self.settings.driven;
        let value = |name| driven.get(name).map(|setting| setting.value(step));
        (report.weight_decay, report.momentum) = (value(WEIGHT_DECAY), value(MOMENTUM));
        let others = driven
            .others()
            .map(|(name, setting)| (name.to_string(), setting.value(step)));
        report.driven = others.collect();
        report.loss = loss;
        let Some(good) = self.guard(model, grads, found, report)? else {
            return Ok(None);
        };
        // What several ranks have is a mean as well.
        let of_ranks = self.together().map(|_| Accumulation::mean(1));
        let sum = match self.settings.accumulation.or(of_ranks) {
            None => Some(Sum {
                grads: good.grads,
                seen: good.seen,
                factor: 1.0,
                loss,
                last: None,
            }),
            Some(accumulation) => {
                let weight = match accumulation {
                    Accumulation::Mean { .. } => weight,
                    Accumulation::Sum { .. } => 1.0,
                };
                self.accumulate(model, good, (accumulation, weight), flush, report)?
            }
        };
        let Some(sum) = sum else {
            return Ok(None);
        };
        let seen = &sum.seen;
        let updated = seen.iter().filter(|seen| matches!(seen, Seen::Gradient(_)));
        let updated = updated.count();
        if updated == 0 {
            self.window = Window::default();
            self.name_others(seen, report);
            report.outcome = Outcome::Nothing;
            return Ok(None);
        }
        let loss = sum.loss;
        let factor = sum.factor / self.scale();
        let go = self.shape(model, sum.grads, seen, (factor, loss), &numbers, report);
        if let Some(last) = sum.last {
            // A sum that f32 holds can be too large for the parameter's precision.
            let mut trainable = self.bound.iter().filter(|bound| bound.info().trainable);
            if trainable.any(Bound::is_half) {
                match self.judge_sum(model, &go.told.0, report) {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(None),
                    Err(cause) => return Err((last, cause)),
                }
            }
            self.window = Window::default();
        }
        report.updated = updated;
        if updated < seen.len() {
            self.name_others(seen, report);
        }
        let go = go.apart(model, &self.others);
        if self.of_model.is_empty() {
            return Ok(Some(go));
        }
        let learning_rate = report.learning_rate;
        Ok(Some(go.after(model, |grads| Look {
            grads,
            states: self.states_of_model(&numbers),
            learning_rate,
            loss,
        })))
    }

    /// The numbers of this update, and the weight of a micro-batch.
    fn checked(
        &self,
        learning_rate: f64,
        loss: Option<f64>,
        samples: Option<u64>,
        flush: bool,
    ) -> Result<(Numbers, f64), StepCause> {
        let step = self.counters.updates;
        let numbers = self.numbers(learning_rate);
        let numbers = numbers.map_err(|error| StepCause::Setting { step, error })?;
        if self.needs_loss && loss.is_none() && !flush {
            return Err(StepCause::NoLoss);
        }
        let weight = samples.map_or(1.0, |samples| samples as f64);
        in_range("samples of a micro-batch", weight, Range::POSITIVE).map_err(StepCause::Weight)?;
        Ok((numbers, weight))
    }

    /// What is kept of the model, with what is driven of the optimizers that keep it.
    fn states_of_model(&self, numbers: &Numbers) -> Vec<(ModelState, Driven)> {
        let states = self.of_model.iter().map(|state| {
            let is_of = |bound: &Bound| {
                let optimizer = bound.optimizer.as_ref();
                optimizer.is_some_and(|optimizer| optimizer.is(state.optimizer()))
            };
            let first = self.bound.iter().position(is_of);
            let driven = first.map(|at| numbers.driven_of(at));
            (state.clone(), driven.unwrap_or_default())
        });
        states.collect()
    }

    /// Clips, and decides what the optimizer's own pass does.
    fn shape<M: Module>(
        &self,
        model: &M,
        mut grads: GradientsParams,
        seen: &[Seen],
        (factor, loss): (f64, Option<f64>),
        numbers: &Numbers,
        report: &mut StepReport,
    ) -> Go<M> {
        if seen.iter().any(|seen| matches!(seen, Seen::Frozen)) {
            gradients::change(model, &mut grads, seen, &Change::DropFrozen);
        }
        report.grad_norm = gradients::norm(seen, factor);
        let Clip {
            scale,
            change,
            clipped_norm,
        } = clip(
            numbers.clipping(&self.settings),
            seen,
            factor,
            report.grad_norm.as_ref(),
        );
        report.clipped_norm = clipped_norm;
        // What the optimizer's pass does not apply, or what has to come before a change that is not linear,
        // is applied here.
        let elementwise = matches!(change, Some(Change::Clamp(_) | Change::Adaptive { .. }));
        let fits = |factor: f64| !elementwise && gradients::is_normal(factor);
        let inside = match &scale {
            Scale::All(factor) if self.all_fold && fits(*factor) => scale,
            scale => {
                let each = self.folds.iter().enumerate().map(|(at, folds)| {
                    let factor = scale.of(at);
                    match *folds && fits(factor) {
                        true => (1.0, factor),
                        false => (factor, 1.0),
                    }
                });
                let (beforehand, inside): (Vec<f64>, Vec<f64>) = each.unzip();
                if beforehand.iter().any(|factor| *factor != 1.0) {
                    gradients::change(model, &mut grads, seen, &Change::Scale(&beforehand));
                }
                Scale::Each(inside)
            }
        };
        let mut coefficient = None;
        match change {
            // The optimizer's kernel reads it, and nobody waits.
            Some(Change::ScaleBy(on_device)) if self.all_fold => coefficient = Some(on_device),
            Some(change) => gradients::change(model, &mut grads, seen, &change),
            None => {}
        }
        // These may not take another precision than their parameter's.
        if self.others.contains(&true) {
            gradients::change(model, &mut grads, seen, &Change::Fit(&self.others));
        }
        if elementwise && report.grad_norm.is_some() {
            let after = gradients::inspect(model, &self.bound, &grads, true).unwrap_or_default();
            report.clipped_norm = gradients::norm(&after, 1.0);
        }
        let update = self.counters.updates.saturating_add(1);
        let sampled = |every: u64| update.is_multiple_of(every);
        let sampled = self.settings.update_ratios_every.is_some_and(sampled);
        let places = self.clips_in_burn.then(|| gradients::places(model, &grads));
        let told = Directive {
            coefficient,
            loss,
            ..Directive::default()
        };
        let failures = told.failures.clone();
        let directives = self.directives(seen, &inside, numbers, places.as_deref(), told);
        Go {
            look: None,
            told: (grads, directives),
            failures,
            others: GradientsParams::new(),
            before: sampled.then(|| Box::new(model.clone())),
        }
    }

    /// What the optimizers' passes are told, with the factors that go into them.
    fn directives(
        &self,
        seen: &[Seen],
        inside: &Scale,
        numbers: &Numbers,
        places: Option<&[Option<Place>]>,
        all: Directive,
    ) -> Directives {
        if let Scale::All(factor) = inside
            && self.uniform
            && places.is_none()
        {
            return Directives::All(Directive {
                grad_scale: *factor,
                driven: numbers.driven.first().cloned().unwrap_or_default(),
                ..all
            });
        }
        let takes = |at: &usize| self.bound[*at].is_own() && matches!(seen[*at], Seen::Gradient(_));
        let each = (0..seen.len()).filter(takes).map(|at| Directive {
            grad_scale: inside.of(at),
            driven: numbers.driven_of(at),
            place: places.and_then(|places| places[at]),
            ..all.clone()
        });
        Directives::Each(each.collect())
    }

    /// The settings of this update, all checked.
    fn numbers(&self, rate: f64) -> Result<Numbers, OutOfRange> {
        let step = self.counters.updates;
        in_range("learning rate", rate, Range::NOT_NEGATIVE)?;
        let driven = match self.uniform {
            // What is not stepped has none.
            true => {
                let driven = self.bound.iter().find(|bound| !bound.driven.is_empty());
                let driven = driven.map(|bound| driven::values(&bound.driven, step));
                driven.into_iter().collect::<Result<_, _>>()?
            }
            false => {
                let each = self
                    .bound
                    .iter()
                    .map(|bound| driven::values(&bound.driven, step));
                each.collect::<Result<_, _>>()?
            }
        };
        if self.own_rates {
            for bound in &self.bound {
                if let Some(GroupRate::Setting(setting)) = &bound.rate {
                    in_range(
                        "learning rate of a group",
                        setting.value(step),
                        Range::NOT_NEGATIVE,
                    )?;
                }
            }
        }
        let clipping = self.settings.clipping.as_ref();
        Ok(Numbers {
            driven,
            threshold: clipping
                .map(|clipping| clipping.threshold(step))
                .transpose()?,
        })
    }

    /// Names the parameters that are not updated.
    fn name_others(&self, seen: &[Seen], report: &mut StepReport) {
        for (bound, seen) in self.bound.iter().zip(seen) {
            let path = || bound.info().path.clone();
            match seen {
                Seen::Frozen => report.frozen.push(path()),
                Seen::Missing => report.missing.push(path()),
                Seen::Gradient(_) | Seen::Still => {}
            }
        }
    }

    /// What follows an update.
    pub fn finish<M: Module>(&mut self, model: &M, report: &mut StepReport, made: Made<M>) {
        self.counters.updates = self.counters.updates.saturating_add(1);
        self.counters.consecutive = 0;
        self.counters.windows = 0;
        report.step = self.counters.updates;
        report.failed_decompositions = made.failures;
        if let Some(scaler) = &mut self.scaler {
            scaler.goes_on();
            report.loss_scale = Some(scaler.scale);
        }
        if !made.of_model.is_empty() {
            self.of_model = made.of_model;
        }
        if let Some(before) = made.before {
            report.update_ratios = ratios(&self.bound, &*before, model);
        }
        if self.local.is_none() {
            self.average(model);
        }
    }

    pub fn average<M: Module>(&mut self, model: &M) {
        if let Some(averages) = &mut self.averages {
            averages.update(model, &self.bound, self.counters.updates);
        }
    }
}

/// The settings of one update.
struct Numbers {
    /// Of each parameter; one where all are the same, and none where nothing is driven.
    driven: Vec<Driven>,
    threshold: Option<f64>,
}

impl Numbers {
    fn driven_of(&self, at: usize) -> Driven {
        let driven = self.driven.get(at).or(self.driven.first());
        driven.cloned().unwrap_or_default()
    }

    fn clipping<'a>(&self, settings: &'a Settings) -> Option<(&'a Clipping, f64)> {
        settings.clipping.as_ref().zip(self.threshold)
    }
}
