//! One update: what is to happen with a micro-batch, and what follows. All of a driver but optimizer and
//! learning rate, which burn-train keeps itself.

use std::collections::BTreeMap;

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::container::TensorContainer;
use burn::tensor::{DType, Tensor};
use downhill_optim::Identity;
use downhill_optim::drive::{
    Directive, Directives, Drives, Measure, OptimizerKey, Place, Probed, Squares, directed, measure,
};
use downhill_optim::rule::Driven;

use crate::average::{Averages, Averaging};
use crate::batch::{Accumulation, MicroBatch};
use crate::clipping::{Clipping, NonFinite};
use crate::error::{BindError, StepCause};
use crate::gradients::{self, Change, Seen, Window, device_coefficient};
use crate::groups::{self, Group, GroupRate, GroupSettings};
use crate::params::{self, Found, ParamInfo};
use crate::probe;
use crate::report::{NonFiniteGradient, Norm, Outcome, StepReport, UpdateRatio};
use crate::setting::{OutOfRange, Range};
use crate::{ParamPath, Setting};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub clipping: Option<Clipping>,
    pub non_finite: NonFinite,
    pub accumulation: Option<Accumulation>,
    pub weight_decay: Option<Setting>,
    pub momentum: Option<Setting>,
    pub update_ratios_every: Option<u64>,
}

impl Settings {
    /// As far as it can be said before the first update.
    fn check(&self) -> Result<(), OutOfRange> {
        if let Some(clipping) = &self.clipping {
            clipping.check()?;
        }
        for (name, setting, range) in [
            ("weight decay", &self.weight_decay, Range::NOT_NEGATIVE),
            ("momentum", &self.momentum, Range::DECAY),
        ] {
            if let Some(setting) = setting {
                range.check(name, setting.value(0))?;
            }
        }
        let windows = self.accumulation.map(Accumulation::micro_batches);
        for (name, count) in [
            ("micro-batches of an update", windows.map(u64::from)),
            ("cadence of the update ratios", self.update_ratios_every),
        ] {
            if let Some(count) = count {
                Range::POSITIVE.check(name, count as f64)?;
            }
        }
        Ok(())
    }
}

/// The learning rates of one update.
pub(crate) enum Rates {
    Constant(f64),
    Scheduler(ModuleLearningRate, Box<ModuleLrScheduler>),
}

impl Rates {
    pub fn base(&self) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Scheduler(rate, _) => rate.base(),
        }
    }

    fn of(&self, id: ParamId, path: &str) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Scheduler(rate, _) => rate.lr_from_param(id, Some(path)),
        }
    }
}

/// A float tensor of the model that a driver is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub found: Found,
    pub groups: Vec<std::sync::Arc<str>>,
    pub rate: Option<GroupRate>,
    pub weight_decay: Option<Setting>,
    pub momentum: Option<Setting>,
    pub frozen: bool,
    /// What its optimizer lets a driver give, if it is of this library.
    pub drives: Option<Drives>,
    /// Which one that is.
    pub key: Option<OptimizerKey>,
    pub identity: Option<Identity>,
}

impl Bound {
    /// A tensor with its groups, as `probed` found its optimizer (if that is of this library).
    fn new(
        found: Found,
        groups: &[&Group],
        probed: Option<Probed>,
        settings: &Settings,
        identity: Option<&Identity>,
    ) -> Result<Self, BindError> {
        let set = |value: fn(&Group) -> Option<Setting>, all: &Option<Setting>| {
            groups.iter().find_map(|group| value(group)).or(all.clone())
        };
        let mismatch = probed.as_ref().and_then(|probed| probed.mismatch.as_ref());
        if let Some(mismatch) = mismatch {
            return Err(BindError::State {
                path: found.info.path.clone(),
                reason: mismatch.to_string(),
            });
        }
        let drives = probed.as_ref().map(|probed| probed.drives);
        let bound = Self {
            key: probed.as_ref().map(|probed| probed.key),
            groups: groups.iter().map(|group| group.name.clone()).collect(),
            rate: groups.iter().find_map(|group| group.rate.clone()),
            weight_decay: set(|group| group.weight_decay.clone(), &settings.weight_decay),
            momentum: set(|group| group.momentum.clone(), &settings.momentum),
            frozen: groups.iter().any(|group| group.frozen),
            identity: match (found.info.trainable, probed) {
                (false, _) => None,
                (true, Some(probed)) => probed.identity,
                (true, None) => identity.cloned(),
            },
            drives,
            found,
        };
        bound.check_driven()?;
        Ok(bound)
    }

    /// Whether its optimizer has what is to be driven.
    fn check_driven(&self) -> Result<(), BindError> {
        if !self.info().trainable || self.frozen {
            return Ok(());
        }
        let drives = self.drives.unwrap_or_default();
        for (what, set, can) in [
            ("weight decay", &self.weight_decay, drives.weight_decay),
            ("momentum", &self.momentum, drives.momentum),
        ] {
            if set.is_some() && !can {
                let path = self.info().path.clone();
                return Err(BindError::NotDriven { path, what });
            }
        }
        Ok(())
    }

    pub fn id(&self) -> ParamId {
        self.found.id
    }

    pub fn info(&self) -> &ParamInfo {
        &self.found.info
    }

    fn is_half(&self) -> bool {
        !matches!(self.info().dtype, DType::F32 | DType::F64)
    }
}

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
    pub averages: Option<Averages>,
    pub notes: BTreeMap<String, String>,
    /// Whether a factor on a parameter's gradient can be left to its optimizer's pass.
    folds: Vec<bool>,
    /// Whether it can for every trainable parameter.
    all_fold: bool,
    /// Whether groups have learning rates of their own.
    own_rates: bool,
    /// Whether all parameters follow the same directive.
    uniform: bool,
    /// Which trainable parameters have optimizers that are not of this library.
    others: Vec<bool>,
    /// Whether Burn computes something of its own between two steps.
    clips_in_burn: bool,
}

/// An update that is ready to be made.
pub(crate) struct Go<M> {
    /// Of the parameters whose optimizers are told something, and what.
    told: (GradientsParams, Directives),
    /// Of the others, which are stepped by themselves: whatever their optimizers wait for, nothing is in force
    /// meanwhile that could reach a step of somebody else on this thread.
    others: GradientsParams,
    /// The model before, where its way is measured.
    pub before: Option<Box<M>>,
}

impl<M: Module> Go<M> {
    /// Sets the gradients apart whose parameters are marked.
    fn apart(mut self, model: &M, others: &[bool]) -> Self {
        if others.contains(&true) {
            self.others = gradients::split_off(model, &mut self.told.0, others);
        }
        self
    }

    /// Makes the update of `what`, in one call of `step` or two; returns that, and the model before.
    pub fn make<T>(
        self,
        mut what: T,
        mut step: impl FnMut(T, GradientsParams) -> T,
    ) -> (T, Option<Box<M>>) {
        let (grads, directives) = self.told;
        if !grads.is_empty() {
            what = directed(directives, || step(what, grads));
        }
        if !self.others.is_empty() {
            what = step(what, self.others);
        }
        (what, self.before)
    }
}

type Refused = (GradientsParams, StepCause);

/// Gradients that fit the model, and are finite where that was looked at.
struct Good {
    grads: GradientsParams,
    seen: Vec<Seen>,
    /// As they came, if something in them was made zero.
    original: Option<GradientsParams>,
}

/// What an update is made of: the gradients of a window, or of the one micro-batch that there is.
struct Sum {
    grads: GradientsParams,
    seen: Vec<Seen>,
    /// Makes a mean of them.
    factor: f64,
    /// Of a window, the gradients that filled it, as they came.
    last: Option<GradientsParams>,
}

impl Good {
    fn into_original(self) -> GradientsParams {
        self.original.unwrap_or(self.grads)
    }
}

impl Core {
    pub fn bind<M: Module>(
        mut optim: ModuleOptimizer,
        settings: Settings,
        groups: &[Group],
        averaging: Option<Averaging>,
        identity: Option<Identity>,
        model: &M,
    ) -> Result<(ModuleOptimizer, Self), BindError> {
        settings.check()?;
        if let Some(averaging) = &averaging {
            averaging.check()?;
        }
        let found = params::floats(model);
        params::check(model, &found)?;
        let trainable: Vec<&ParamInfo> = (found.iter().map(|found| &found.info))
            .filter(|info| info.trainable)
            .collect();
        let resolved = groups::resolve(groups, &trainable)?;
        for (index, group) in groups.iter().enumerate() {
            if let Some(with_group) = &group.optimizer {
                let members = trainable.iter().zip(&resolved);
                let members = members.filter(|(_, of_param)| of_param.contains(&index));
                let paths: Vec<String> = members.map(|(info, _)| info.path.to_string()).collect();
                optim = with_group(optim, ParamGroup::from_paths(paths));
            }
        }
        let probed = probe::all(model, &optim).map_err(|refusal| BindError::Refused {
            path: refusal.path,
            reason: refusal.reason,
        })?;
        let mut resolved = resolved.into_iter();
        let bound = found.into_iter().zip(probed).map(|(found, probed)| {
            let own = match found.info.trainable {
                true => resolved.next().unwrap_or_default(),
                false => Vec::new(),
            };
            let own: Vec<&Group> = own.into_iter().map(|index| &groups[index]).collect();
            Bound::new(found, &own, probed, &settings, identity.as_ref())
        });
        let bound: Vec<Bound> = bound.collect::<Result<_, _>>()?;
        let uniform = bound.iter().all(|bound| {
            !bound.info().trainable
                || (bound.weight_decay == settings.weight_decay
                    && bound.momentum == settings.momentum)
        });
        let others = bound
            .iter()
            .map(|bound| bound.info().trainable && bound.drives.is_none());
        // Not if Burn clips in between. And a pass over memory takes gradients of the parameter's precision
        // only, which a factor beforehand brings a sum back to.
        let folds = bound.iter().map(|bound| {
            let sums_in_single = settings.accumulation.is_some() && bound.is_half();
            !optim.has_gradient_clipping() && bound.drives.is_some() && !sums_in_single
        });
        let folds: Vec<bool> = folds.collect();
        let mut all = bound.iter().zip(&folds);
        let core = Self {
            others: others.collect(),
            clips_in_burn: optim.has_gradient_clipping(),
            all_fold: all.all(|(bound, folds)| *folds || !bound.info().trainable),
            folds,
            own_rates: bound.iter().any(|bound| bound.rate.is_some()),
            uniform,
            settings,
            groups: groups.iter().map(Group::settings).collect(),
            bound,
            counters: Counters::default(),
            window: Window::default(),
            averages: averaging.map(Averages::new),
            notes: BTreeMap::new(),
        };
        Ok((optim, core))
    }

    /// Goes over to the same parameters under other ids.
    pub fn move_to(&mut self, ids: &[ParamId]) {
        let averages = self.averages.take();
        self.averages = averages.map(|averages| averages.moved(&self.bound, ids));
        self.window.move_to(&self.bound, ids);
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
            loss: None,
            grad_norm: None,
            clipped_norm: None,
            updated: 0,
            missing: Vec::new(),
            frozen: Vec::new(),
            non_finite: Vec::new(),
            update_ratios: Vec::new(),
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
        let numbers = match self.numbers(report.learning_rate) {
            Ok(numbers) => numbers,
            Err(error) => return Err((grads, StepCause::Setting { step, error })),
        };
        let weight = samples.map_or(1.0, |samples| samples as f64);
        if let Err(error) = Range::POSITIVE.check("samples of a micro-batch", weight) {
            return Err((grads, StepCause::Weight(error)));
        }
        report.weight_decay = numbers.weight_decay;
        report.momentum = numbers.momentum;
        report.loss = loss;
        let Some(good) = self.guard(model, grads, loss, report)? else {
            return Ok(None);
        };
        let sum = match self.settings.accumulation {
            None => Some(Sum {
                grads: good.grads,
                seen: good.seen,
                factor: 1.0,
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
        let go = self.shape(model, sum.grads, seen, sum.factor, &numbers, report);
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
        Ok(Some(go.apart(model, &self.others)))
    }

    fn is_guarded(&self) -> bool {
        self.settings.non_finite != NonFinite::Ignore
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

    /// Gradients that fit the model and are finite, or have been made so; none if they are skipped.
    fn guard<M: Module>(
        &mut self,
        model: &M,
        grads: GradientsParams,
        loss: Option<f64>,
        report: &mut StepReport,
    ) -> Result<Option<Good>, Refused> {
        let seen = match self.inspect(model, &grads) {
            Ok(seen) => seen,
            Err(cause) => return Err((grads, cause)),
        };
        let good = |grads, seen, original| {
            Ok(Some(Good {
                grads,
                seen,
                original,
            }))
        };
        if !self.is_guarded() {
            return good(grads, seen, None);
        }
        let broken = gradients::non_finite(model, &self.bound, &grads, &seen);
        let loss = loss.filter(|loss| !loss.is_finite());
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
    fn accumulate<M: Module>(
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
        report.loss = (losses.1 > 0.0).then(|| losses.0 / losses.1);
        let last = good.into_original();
        let seen = match self.judge_sum(model, &sum, report) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(None),
            Err(cause) => return Err((last, cause)),
        };
        let factor = match accumulation {
            Accumulation::Mean { .. } => weights.recip(),
            Accumulation::Sum { .. } => 1.0,
        };
        Ok(Some(Sum {
            grads: sum,
            seen,
            factor,
            last: Some(last),
        }))
    }

    /// Looks at the sum of a window, since that of finite gradients can overflow; none if it is skipped,
    /// and the window with it.
    fn judge_sum<M: Module>(
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

    /// Clips, and decides what the optimizer's own pass does.
    fn shape<M: Module>(
        &self,
        model: &M,
        mut grads: GradientsParams,
        seen: &[Seen],
        factor: f64,
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
        } = self.clip(seen, factor, numbers, report.grad_norm.as_ref());
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
        if let Some(change) = &change {
            gradients::change(model, &mut grads, seen, change);
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
        let directives = self.directives(seen, &inside, numbers, places.as_deref());
        Go {
            told: (grads, directives),
            others: GradientsParams::new(),
            before: sampled.then(|| Box::new(model.clone())),
        }
    }

    /// What clipping comes to: factors, a change that is more than a factor, and the norm afterwards where it
    /// is known.
    fn clip(&self, seen: &[Seen], factor: f64, numbers: &Numbers, norm: Option<&Norm>) -> Clip {
        let mut clip = Clip {
            scale: Scale::All(factor),
            change: None,
            clipped_norm: None,
        };
        let (Some(clipping), Some(threshold)) = (&self.settings.clipping, numbers.threshold) else {
            return clip;
        };
        match clipping {
            Clipping::GlobalNorm { .. } => {
                match gradients::on_device(seen) {
                    Some(pairs) => {
                        let coefficient = device_coefficient(pairs, threshold / factor);
                        clip.change = Some(Change::ScaleBy(Box::new(coefficient)));
                    }
                    None => {
                        let squares = norm.map(Norm::squares).unwrap_or_default();
                        let coefficient = coefficient(squares.unit, squares.sum, threshold);
                        clip.scale = Scale::All(factor * coefficient);
                    }
                }
                clip.clipped_norm = norm.map(|norm| norm.at_most(threshold));
            }
            Clipping::TensorNorm { .. } => {
                let mut clipped = Squares::default();
                let factors = seen.iter().map(|seen| match seen {
                    Seen::Gradient(Some(Measure::Host(squares))) => {
                        let unit = squares.unit * factor;
                        let factor = factor * coefficient(unit, squares.sum, threshold);
                        clipped = clipped.plus(squares.times(factor));
                        factor
                    }
                    _ => factor,
                });
                clip.scale = Scale::Each(factors.collect());
                match gradients::on_device(seen) {
                    Some(_) => clip.change = Some(Change::ToNorm(threshold / factor)),
                    // On the device it is not known without another measurement.
                    None => clip.clipped_norm = norm.map(|_| Norm::host(clipped)),
                }
            }
            Clipping::Value { .. } => clip.change = Some(Change::Clamp(threshold)),
            Clipping::Adaptive { epsilon, .. } => {
                clip.change = Some(Change::Adaptive {
                    ratio: threshold,
                    epsilon: *epsilon,
                });
            }
        }
        clip
    }

    /// What the optimizers' passes are told, with the factors that go into them.
    fn directives(
        &self,
        seen: &[Seen],
        inside: &Scale,
        numbers: &Numbers,
        places: Option<&[Option<Place>]>,
    ) -> Directives {
        if let Scale::All(factor) = inside
            && self.uniform
            && places.is_none()
        {
            return Directives::All(Directive {
                grad_scale: *factor,
                driven: Driven {
                    weight_decay: numbers.weight_decay,
                    momentum: numbers.momentum,
                },
                place: None,
            });
        }
        let takes =
            |at: &usize| self.bound[*at].drives.is_some() && matches!(seen[*at], Seen::Gradient(_));
        let step = self.counters.updates;
        let each = (0..seen.len()).filter(takes).map(|at| {
            let value =
                |setting: &Option<Setting>| setting.as_ref().map(|setting| setting.value(step));
            let bound = &self.bound[at];
            Directive {
                grad_scale: inside.of(at),
                driven: Driven {
                    weight_decay: value(&bound.weight_decay),
                    momentum: value(&bound.momentum),
                },
                place: places.and_then(|places| places[at]),
            }
        });
        Directives::Each(each.collect())
    }

    /// The settings of this update, all checked.
    fn numbers(&self, rate: f64) -> Result<Numbers, OutOfRange> {
        let step = self.counters.updates;
        Range::NOT_NEGATIVE.check("learning rate", rate)?;
        let value = |name, setting: &Option<Setting>, range: Range| {
            let value = setting.as_ref().map(|setting| setting.value(step));
            value.map(|value| range.check(name, value)).transpose()
        };
        if !self.uniform {
            for bound in &self.bound {
                let of_group = "weight decay of a group";
                value(of_group, &bound.weight_decay, Range::NOT_NEGATIVE)?;
                value("momentum of a group", &bound.momentum, Range::DECAY)?;
            }
        }
        if self.own_rates {
            for bound in &self.bound {
                if let Some(GroupRate::Setting(setting)) = &bound.rate {
                    Range::NOT_NEGATIVE.check("learning rate of a group", setting.value(step))?;
                }
            }
        }
        let clipping = self.settings.clipping.as_ref();
        Ok(Numbers {
            weight_decay: value(
                "weight decay",
                &self.settings.weight_decay,
                Range::NOT_NEGATIVE,
            )?,
            momentum: value("momentum", &self.settings.momentum, Range::DECAY)?,
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

    fn skip(&mut self, report: &mut StepReport, broken: Vec<NonFiniteGradient>) {
        self.counters.skipped = self.counters.skipped.saturating_add(1);
        report.skipped = self.counters.skipped;
        report.outcome = Outcome::Skipped;
        report.non_finite = broken;
    }

    /// What follows an update.
    pub fn finish<M: Module>(
        &mut self,
        model: &M,
        report: &mut StepReport,
        before: Option<Box<M>>,
    ) {
        self.counters.updates = self.counters.updates.saturating_add(1);
        self.counters.consecutive = 0;
        self.counters.windows = 0;
        report.step = self.counters.updates;
        if let Some(before) = before {
            report.update_ratios = self.ratios(&*before, model);
        }
        if let Some(averages) = &mut self.averages {
            averages.update(model, &self.bound, self.counters.updates);
        }
    }

    fn ratios<M: Module>(&self, before: &M, after: &M) -> Vec<UpdateRatio> {
        #[derive(Default)]
        struct Values(TensorContainer<ParamId>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.register(param.id, param.val().without_autodiff());
            }
        }
        struct Compare<'a> {
            before: Values,
            bound: &'a [Bound],
            next: usize,
            pairs: Vec<(ParamPath, Norm, Norm)>,
        }
        impl ModuleVisitor for Compare<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let info = self.bound[self.next].info();
                self.next += 1;
                let before = self.before.0.remove::<Tensor<D>>(&param.id);
                let compared = info.trainable && !info.shape.contains(&0);
                let Some(before) = before.filter(|_| compared) else {
                    return;
                };
                let moved = param.val().without_autodiff() - before.clone();
                let norm = |tensor: Tensor<D>| Norm::of(&[measure(tensor)], 1.0);
                self.pairs
                    .push((info.path.clone(), norm(moved), norm(before)));
            }
        }
        let mut values = Values::default();
        before.visit(&mut values);
        let mut compare = Compare {
            before: values,
            bound: &self.bound,
            next: 0,
            pairs: Vec::new(),
        };
        after.visit(&mut compare);
        let pairs = compare.pairs.into_iter();
        pairs
            .map(|(path, moved, before)| {
                let (moved, before) = (moved.value(), before.value());
                let ratio = if moved == 0.0 { 0.0 } else { moved / before };
                UpdateRatio { path, ratio }
            })
            .collect()
    }

    /// The rates of single parameters; that of all is among the settings of the update.
    pub fn check_rates(&self, rates: &Rates) -> Result<(), OutOfRange> {
        if !self.own_rates && matches!(rates, Rates::Constant(_)) {
            return Ok(());
        }
        for bound in self.bound.iter().filter(|bound| bound.info().trainable) {
            let base = || rates.of(bound.id(), &bound.info().path);
            match (&bound.rate, rates) {
                (None, Rates::Scheduler(..)) => {
                    Range::NOT_NEGATIVE.check("learning rate", base())?;
                }
                (Some(GroupRate::Factor(factor)), _) => {
                    let base = Range::NOT_NEGATIVE.check("learning rate", base())?;
                    Range::NOT_NEGATIVE.check("learning rate of a group", base * factor)?;
                }
                (None, Rates::Constant(_)) | (Some(GroupRate::Setting(_)), _) => {}
            }
        }
        Ok(())
    }

    /// The rates of all parameters, as Burn takes them.
    pub fn module_rate(&self, rates: &mut Rates) -> ModuleLearningRate {
        if !self.own_rates {
            return match rates {
                Rates::Constant(rate) => (*rate).into(),
                Rates::Scheduler(rate, _) => rate.clone(),
            };
        }
        let step = self.counters.updates;
        let mut of_rates: Vec<(f64, Vec<ParamId>)> = Vec::new();
        for bound in self.bound.iter().filter(|bound| bound.info().trainable) {
            let base = rates.of(bound.id(), &bound.info().path);
            let rate = match &bound.rate {
                None => base,
                Some(GroupRate::Factor(factor)) => base * factor,
                Some(GroupRate::Setting(setting)) => setting.value(step),
            };
            match of_rates.iter_mut().find(|(other, _)| *other == rate) {
                Some((_, ids)) => ids.push(bound.id()),
                None => of_rates.push((rate, vec![bound.id()])),
            }
        }
        // Burn makes rates per group only in a scheduler.
        let scheduler = ModuleLrScheduler::new(rates.base());
        let add = |scheduler: ModuleLrScheduler, (rate, ids): (f64, Vec<ParamId>)| {
            scheduler.with_group(ParamGroup::from_ids(ids), rate)
        };
        of_rates.into_iter().fold(scheduler, add).step()
    }
}

/// What is said of gradients that are not finite.
enum Verdict {
    Fine,
    Error(StepCause),
    Skip(Vec<NonFiniteGradient>),
    Zero(Vec<NonFiniteGradient>),
}

/// What clipping comes to.
struct Clip {
    scale: Scale,
    change: Option<Change<'static>>,
    clipped_norm: Option<Norm>,
}

/// The factors of the parameters' gradients.
enum Scale {
    All(f64),
    Each(Vec<f64>),
}

impl Scale {
    fn of(&self, at: usize) -> f64 {
        match self {
            Self::All(factor) => *factor,
            Self::Each(factors) => factors[at],
        }
    }
}

/// The settings of one update.
struct Numbers {
    weight_decay: Option<f64>,
    momentum: Option<f64>,
    threshold: Option<f64>,
}

/// The factor that brings `unit·sqrt(sum)` down to `threshold`, at most 1. The norm itself may be more
/// than an f64 can hold.
fn coefficient(unit: f64, sum: f64, threshold: f64) -> f64 {
    let factor = threshold / unit / sum.sqrt();
    // Also where there is no norm at all, or an infinite one: it would wipe out what is finite.
    if sum.is_finite() && factor < 1.0 {
        factor
    } else {
        1.0
    }
}
