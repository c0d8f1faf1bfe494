//! Local updates: ranks train by themselves for a while, and then meet.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use downhill_optim::drive::state_dtype;
use downhill_optim::{OptimizerConfig, RuleOptimizer, SgdConfig};
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use super::{Apart, Ranks};
use crate::bound::Bound;
use crate::checkpoint;
use crate::error::{BindError, StepCause};
use crate::params::AutodiffState;
use crate::probe;
use crate::report::Outcome;
use crate::setting::{OutOfRange, in_range};
use crate::update::Core;

/// Lets ranks train by themselves, and meet after every so many updates, for less to exchange: local SGD and DiLoCo.
///
/// ```text
/// each rank r:     p_r = p after `every` updates with the gradients of its own data
/// all together:    g = p - mean of p_r over the ranks, each of which counts the same
///                  p = outer optimizer's update of p with the gradient g at the rate `rate`
/// ```
///
/// Every rank keeps its own optimizer's state, guard, clipping and schedules; of these nothing is exchanged. Beside the
/// model it keeps p and the state of the outer optimizer, which are the same on all ranks. What has no gradient (running
/// statistics) stays each rank's own. [Averages](crate::DriverBuilder::with_averaging) are taken when the ranks have met.
///
/// An update that is skipped, or that finds nothing to do, counts as one of the `every`.
///
/// ```
/// use downhill_optim::{OptimizerConfig, SgdConfig};
/// use downhill_train::LocalUpdates;
///
/// let diloco = LocalUpdates::new(500);
/// let local_sgd = LocalUpdates::averaged(20).with_bf16();
/// let heavy = OptimizerConfig::from(SgdConfig::new().with_momentum(0.8));
/// let other = LocalUpdates::new(100).with_outer(heavy, 0.5);
/// ```
///
/// Source: Douillard et al., DiLoCo, arXiv 2311.08105; Stich, local SGD, arXiv 1805.09767.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalUpdates {
    every: u32,
    #[serde(default = "nesterov")]
    outer: OptimizerConfig,
    #[serde(default = "rate")]
    rate: f64,
    #[serde(default)]
    bf16: bool,
}

fn nesterov() -> OptimizerConfig {
    let nesterov = SgdConfig::new().with_momentum(0.9).with_nesterov(true);
    nesterov.into()
}

fn rate() -> f64 {
    0.7
}

impl LocalUpdates {
    /// DiLoCo's: the ranks meet after `every` updates (at least 1; the paper has 500), and SGD with Nesterov's momentum
    /// of 0.9 goes on at the rate 0.7.
    pub fn new(every: u32) -> Self {
        Self {
            every,
            outer: nesterov(),
            rate: rate(),
            bf16: false,
        }
    }

    /// Local SGD's: all go on from the mean of their parameters.
    pub fn averaged(every: u32) -> Self {
        Self::new(every).with_outer(SgdConfig::new().into(), 1.0)
    }

    /// Sets the outer optimizer, any of this library that looks neither at the loss nor at the whole model, and its
    /// rate, at least 0.
    #[must_use]
    pub fn with_outer(mut self, optimizer: OptimizerConfig, rate: f64) -> Self {
        (self.outer, self.rate) = (optimizer, rate);
        self
    }

    /// Lets differences travel in bf16, which halves the bytes once more. Default: in f32.
    #[must_use]
    pub fn with_bf16(mut self) -> Self {
        self.bf16 = true;
        self
    }

    /// After how many updates the ranks meet.
    pub fn every(&self) -> u32 {
        self.every
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        in_range(
            "updates between two meetings",
            self.every.into(),
            Range::POSITIVE,
        )?;
        in_range(
            "rate of the outer optimizer",
            self.rate,
            Range::NOT_NEGATIVE,
        )?;
        Ok(())
    }
}

/// What a rank with local updates keeps.
pub(crate) struct Local {
    pub config: LocalUpdates,
    pub outer: ModuleOptimizer,
    /// Where the parameters were when the ranks met.
    pub start: GradientsParams,
    /// The updates since.
    pub done: u32,
    /// How often they have met.
    pub meetings: u64,
}

impl Local {
    pub fn new<M: Module>(
        config: &LocalUpdates,
        model: &M,
        bound: &[Bound],
    ) -> Result<Self, BindError> {
        let refused = |reason: String| BindError::OuterOptimizer { reason };
        let outer = config.outer.try_init_for(model);
        let outer = outer.map_err(|error| refused(error.to_string()))?;
        let probed = probe::all(model, &outer)?;
        let looks =
            |optimizer: &RuleOptimizer| optimizer.needs_loss() || optimizer.looks_at_model();
        if probed
            .iter()
            .flatten()
            .any(|probed| looks(&probed.optimizer))
        {
            let reason = "it looks at the loss or at the whole model".to_owned();
            return Err(refused(reason));
        }
        let mut local = Self {
            config: config.clone(),
            outer,
            start: GradientsParams::new(),
            done: 0,
            meetings: 0,
        };
        local.begin(model, bound);
        Ok(local)
    }

    /// Goes on from where the parameters are.
    pub fn begin<M: Module>(&mut self, model: &M, bound: &[Bound]) {
        let mut start = Start {
            bound,
            next: 0,
            start: GradientsParams::new(),
        };
        model.visit(&mut start);
        self.start = start.start;
        self.done = 0;
    }

    /// Whether the ranks meet now.
    pub fn is_due(&self) -> bool {
        self.done >= self.config.every
    }

    /// What is to be the same on all ranks that meet; with the values of where they come from if these are not `known` to
    /// be.
    fn place<M: Module>(&self, model: &M, bound: &[Bound], known: bool) -> Vec<(String, String)> {
        let frozen = bound.iter().filter(|bound| bound.frozen);
        let frozen: Vec<&str> = frozen.map(|bound| &*bound.info().path).collect();
        let mut place = vec![
            (
                "the number of meetings".to_owned(),
                self.meetings.to_string(),
            ),
            (
                "what is frozen".to_owned(),
                format!("[{}]", frozen.join(", ")),
            ),
        ];
        if !known {
            let values = checkpoint::checksum_of(model, &self.start);
            let what =
                "the parameters that it began with (let all ranks resume from the same checkpoint)";
            place.push((
                what.to_owned(),
                format!("values with the checksum {values:08x}"),
            ));
        }
        place
    }

    /// Brings the parameters of all ranks together.
    pub fn meet<M: Module>(
        &mut self,
        ranks: &Ranks,
        model: M,
        bound: &[Bound],
        known: bool,
    ) -> Result<M, (M, Apart)> {
        if let Err(apart) = ranks.compare(&self.place(&model, bound, known)) {
            return Err((model, apart));
        }
        let mut way = Way {
            start: &self.start,
            way: GradientsParams::new(),
        };
        model.visit(&mut way);
        let sum = match ranks.summed(&model, way.way, self.config.bf16) {
            Ok(sum) => sum,
            Err(error) => return Err((model, error.into())),
        };
        let size = ranks.with(|exchange| exchange.size());
        let mut back = Back {
            bound,
            next: 0,
            start: &self.start,
            sum,
            factor: 1.0 / size as f64,
            mean: GradientsParams::new(),
        };
        let model = model.map(&mut back);
        let model = self.outer.step(self.config.rate, model, back.mean);
        self.meetings += 1;
        self.begin(&model, bound);
        Ok(model)
    }
}

impl Core {
    /// What follows a call that came to its end: ranks that train by themselves meet if it is time to.
    pub fn meet<M: Module>(&mut self, model: M, outcome: Outcome) -> Result<M, (M, StepCause)> {
        let (Some(local), Some(ranks)) = (&mut self.local, &self.ranks) else {
            return Ok(model);
        };
        // A micro-batch that is skipped is one that its window still waits for.
        let counts = match outcome {
            Outcome::Updated | Outcome::Nothing => true,
            Outcome::Skipped => self.settings.accumulation.is_none(),
            Outcome::Accumulated { .. } => false,
        };
        local.done = local.done.saturating_add(counts.into());
        if !counts || !local.is_due() {
            return Ok(model);
        }
        match local.meet(ranks, model, &self.bound, self.compared) {
            Ok(model) => {
                self.compared = true;
                self.average(&model);
                Ok(model)
            }
            Err((model, apart)) => Err((model, apart.into())),
        }
    }
}

/// The parameters that are trained, as they are.
struct Start<'a> {
    bound: &'a [Bound],
    next: usize,
    start: GradientsParams,
}

impl ModuleVisitor for Start<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let bound = &self.bound[self.next];
        self.next += 1;
        if bound.info().trainable {
            self.start
                .register(param.id, param.val().without_autodiff());
        }
    }
}

/// How far each parameter has come, in the precision of arithmetic.
struct Way<'a> {
    start: &'a GradientsParams,
    way: GradientsParams,
}

impl ModuleVisitor for Way<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(start) = self.start.get::<D>(param.id) {
            let own = param.val().without_autodiff();
            let precision = state_dtype(own.dtype());
            let way = start.to_device(&own.device()).cast(precision) - own.cast(precision);
            self.way.register(param.id, way);
        }
    }
}

/// Puts the parameters back where they were, and makes the means of the ways from there gradients. What is frozen is not
/// stepped from there: it goes to its mean.
struct Back<'a> {
    bound: &'a [Bound],
    next: usize,
    start: &'a GradientsParams,
    sum: GradientsParams,
    factor: f64,
    mean: GradientsParams,
}

impl ModuleMapper for Back<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_frozen = self.bound[self.next].frozen;
        self.next += 1;
        let both = (
            self.start.get::<D>(param.id),
            self.sum.remove::<D>(param.id),
        );
        let (Some(start), Some(sum)) = both else {
            return param;
        };
        let mean = sum.mul_scalar(self.factor).cast(start.dtype());
        let to = match is_frozen {
            true => start - mean,
            false => {
                self.mean.register(param.id, mean);
                start
            }
        };
        param.map(|own| {
            let device = own.device().inner();
            AutodiffState::of(&own).put_on(to.to_device(&device))
        })
    }
}
