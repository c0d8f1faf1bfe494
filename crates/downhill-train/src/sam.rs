//! Sharpness-aware minimisation: steps with gradients from beside the parameters.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use crate::batch::MicroBatch;
use crate::error::{StepCause, StepError};
use crate::gradients::{self, Change, Seen, in_single};
use crate::once::Once;
use crate::report::StepReport;
use crate::setting::{OutOfRange, in_range};
use crate::update::Core;
use crate::{Driver, Setting};

/// Below this a length is none.
const TINY: f64 = 1e-12;

/// Sharpness-aware minimisation (SAM), around any optimizer: the step is made with the gradients from where the loss
/// is largest nearby, so that it goes to where it is flat.
///
/// ```text
/// g  = gradients at p
/// e  = rho·g/|g|,        rho·p²·g/|p·g| with `adaptive` (ASAM)
/// h  = gradients at p + e
/// h ← h - alpha·(g without its part along h)            with `surrogate_gap` (GSAM)
/// p ← the optimizer's step with h
/// ```
///
/// Norms and products are of the whole model, in f64; parameters that are frozen or have no gradient do not count,
/// and stay where they are. `p` is never changed to be changed back, so it stays exact. A gradient of zeros leaves
/// `e` at 0. Both gradients are taken by the closure of [`Driver::step_sam`].
///
/// With `look_every` k (LookSAM) only every k-th step takes two gradients. It keeps of each tensor what of h is across
/// g, and the steps between add it to g, at `alpha` times the length of g. These are sums of each tensor.
///
/// Sources: Foret et al., arXiv 2010.01412; Kwon et al., arXiv 2102.11600 (without its eta); Zhuang et al., arXiv
/// 2203.08065; Liu et al., arXiv 2203.02714.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sam {
    rho: Setting,
    #[serde(default)]
    adaptive: bool,
    #[serde(default)]
    surrogate_gap: Option<f64>,
    #[serde(default)]
    look: Option<Look>,
}

/// How LookSAM saves gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    every: u64,
    alpha: f64,
}

impl Sam {
    /// SAM at this distance, or one that follows a schedule; the paper's is 0.05.
    pub fn new(rho: impl Into<Setting>) -> Self {
        Self {
            rho: rho.into(),
            adaptive: false,
            surrogate_gap: None,
            look: None,
        }
    }

    /// ASAM: large parameters go farther. Distances are ten times as large then, 0.5 to 2.
    #[must_use]
    pub fn adaptive(mut self) -> Self {
        self.adaptive = true;
        self
    }

    /// GSAM: also against the gap between the two losses, by as much; the paper's is 0.4.
    #[must_use]
    pub fn surrogate_gap(mut self, alpha: f64) -> Self {
        self.surrogate_gap = Some(alpha);
        self
    }

    /// LookSAM: two gradients every so many steps, and in between `alpha` of what they showed; the paper's are 5 to 10
    /// steps and 0.7.
    #[must_use]
    pub fn look_every(mut self, steps: u64, alpha: f64) -> Self {
        self.look = Some(Look {
            every: steps,
            alpha,
        });
        self
    }

    /// As far as it can be said before the first update.
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        in_range("distance of SAM", self.rho.value(0), Range::NOT_NEGATIVE)?;
        if let Some(alpha) = self.surrogate_gap {
            in_range("weight of the surrogate gap", alpha, Range::NOT_NEGATIVE)?;
        }
        if let Some(Look { every, alpha }) = self.look {
            in_range("cadence of LookSAM", every as f64, Range::AT_LEAST_ONE)?;
            in_range("weight of LookSAM", alpha, Range::NOT_NEGATIVE)?;
        }
        Ok(())
    }
}

/// What LookSAM keeps.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Steps that were made.
    pub steps: u64,
    /// Of each tensor, what of the last perturbed gradient was across the gradient.
    pub across: GradientsParams,
}

impl Driver {
    /// [`step`](Self::step) with the gradients that [`Sam`] finds by asking twice: `gradients` computes those of the
    /// model that it is given, first of `model` and then of a copy beside it. The loss and the number of samples are
    /// those of the first. Without [`Sam`] it asks once, and steps.
    ///
    /// The copy costs the memory of the parameters. Statistics that a module keeps of its batches (batch
    /// normalisation) are the first call's alone: those of the copy are dropped with it. For the same dropout in both
    /// calls seed the device in the closure. Each micro-batch of a window is asked twice.
    ///
    /// burn-train hands its models each batch by value, and only once, so its strategy has no such step.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::optim::GradientsParams;
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use downhill_optim::SgdConfig;
    /// use downhill_train::{Driver, MicroBatch, Sam};
    ///
    /// let device = Device::flex().autodiff();
    /// let model: Linear = LinearConfig::new(4, 1).init(&device);
    /// let builder = Driver::builder(SgdConfig::new().init(), 0.1).with_sam(Sam::new(0.05));
    /// let mut driver = builder.bind(&model).unwrap();
    ///
    /// let x = Tensor::<2>::random([16, 4], Distribution::Default, &device);
    /// let (model, report) = driver
    ///     .step_sam(model, |model: &Linear| {
    ///         let loss = model.forward(x.clone()).square().mean();
    ///         GradientsParams::from_grads(loss.backward(), model)
    ///     })
    ///     .unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step), with either of the gradients.
    pub fn step_sam<M: Module, B: Into<MicroBatch>>(
        &mut self,
        model: M,
        mut gradients: impl FnMut(&M) -> B,
    ) -> Result<(M, StepReport), StepError<M>> {
        let first = gradients(&model).into();
        let Some(sam) = self.core.settings.sam.clone() else {
            return self.advance(model, first, false);
        };
        let (loss, samples) = (first.loss, first.samples);
        let model = self.once(model);
        let second = |model: &Once<M>| gradients(&model.model).into().grads;
        let (grads, across) = match self.core.sharpened(&sam, &model, first.grads, second) {
            Ok(sharpened) => sharpened,
            Err((grads, cause)) => {
                return Err(StepError {
                    model: model.model,
                    grads,
                    cause,
                });
            }
        };
        let batch = MicroBatch {
            grads,
            loss,
            samples,
        };
        let result = self.advance(model.model, batch, false)?;
        if sam.look.is_some() {
            let looked = &mut self.core.looked;
            looked.steps = looked.steps.saturating_add(1);
            if let Some(across) = across {
                looked.across = across;
            }
        }
        Ok(result)
    }
}

impl Core {
    /// The gradients to step with, and what LookSAM keeps of them, if it took two.
    #[allow(clippy::type_complexity)]
    fn sharpened<M: Module>(
        &self,
        sam: &Sam,
        model: &M,
        mut grads: GradientsParams,
        second: impl FnOnce(&M) -> GradientsParams,
    ) -> Result<(GradientsParams, Option<GradientsParams>), (GradientsParams, StepCause)> {
        let step = self.counters.updates;
        let setting = sam.rho.value(step);
        let rho = match in_range("distance of SAM", setting, Range::NOT_NEGATIVE) {
            Ok(rho) => rho,
            Err(error) => return Err((grads, StepCause::Setting { step, error })),
        };
        let between = sam
            .look
            .filter(|look| !self.looked.steps.is_multiple_of(look.every));
        let measured = between.is_none() && !sam.adaptive;
        let seen = match gradients::inspect(model, &self.bound, &grads, measured) {
            Ok(seen) => seen,
            Err(cause) => return Err((grads, cause)),
        };
        if let Some(Look { alpha, .. }) = between {
            let across = &self.looked.across;
            return Ok((joined(model, grads, across, &Join::Add { alpha }), None));
        }
        if seen.iter().any(|seen| matches!(seen, Seen::Frozen)) {
            gradients::change(model, &mut grads, &seen, &Change::DropFrozen);
        }
        let norm = match sam.adaptive {
            false => gradients::norm(&seen, 1.0),
            true => {
                let weighted = joined(
                    model,
                    gradients::copied(model, &grads),
                    &grads,
                    &Join::Weighted,
                );
                let seen = gradients::inspect(model, &self.bound, &weighted, true);
                seen.ok().and_then(|seen| gradients::norm(&seen, 1.0))
            }
        };
        let norm = norm.map_or(0.0, |norm| norm.value());
        // What is not finite is the guard's; nothing is nearby where there is no slope.
        if !norm.is_finite() || norm == 0.0 {
            return Ok((grads, None));
        }
        let scale = rho / (norm + TINY);
        let adaptive = sam.adaptive;
        // By way of `valid` the copy has running statistics of its own.
        let beside = model.valid().train().map(&mut Beside {
            grads: &grads,
            scale,
            adaptive,
        });
        let found = second(&beside);
        drop(beside);
        let measured = sam.surrogate_gap.is_some();
        let fits = gradients::inspect(model, &self.bound, &found, measured);
        let seen = match fits {
            Ok(seen) => seen,
            Err(cause) => return Err((found, cause)),
        };
        if let Some(alpha) = sam.surrogate_gap {
            let product = inner_product(model, &grads, &found);
            let squares = gradients::norm(&seen, 1.0).map_or(0.0, |norm| norm.value().powi(2));
            // h - alpha·(g - ⟨g, h⟩/|h|²·h)
            let along = if squares > 0.0 {
                product / squares
            } else {
                0.0
            };
            let (of_found, of_first) = (1.0 + alpha * along, -alpha);
            let mix = Join::Mix { of_found, of_first };
            return Ok((joined(model, found, &grads, &mix), None));
        }
        let across = sam.look.map(|_| {
            let copy = gradients::copied(model, &found);
            joined(model, copy, &grads, &Join::Across)
        });
        Ok((found, across))
    }
}

/// What becomes of a gradient `a` and another tensor `b` of the same parameter.
enum Join {
    /// `of_found·a + of_first·b`
    Mix { of_found: f64, of_first: f64 },
    /// `a + alpha·|a|/|b|·b`
    Add { alpha: f64 },
    /// `a` without its part along `b`
    Across,
    /// `a` times the parameter.
    Weighted,
}

/// `a` joined with `b`; where there is no `b` it stays.
fn joined<M: Module>(
    model: &M,
    a: GradientsParams,
    b: &GradientsParams,
    join: &Join,
) -> GradientsParams {
    struct Joining<'a> {
        a: GradientsParams,
        b: &'a GradientsParams,
        join: &'a Join,
    }
    impl ModuleVisitor for Joining<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(b) = self.b.get::<D>(param.id) else {
                return;
            };
            let Some(a) = self.a.remove::<D>(param.id) else {
                return;
            };
            if a.shape().num_elements() == 0 {
                return self.a.register::<D>(param.id, a);
            }
            let (dtype, device) = (FloatDType::from(a.dtype()), a.device());
            let (a, b) = (in_single(a), in_single(b).to_device(&device));
            let norm = |tensor: &Tensor<D>| tensor.clone().square().sum().sqrt().reshape([1; D]);
            let joined = match self.join {
                Join::Mix { of_found, of_first } => {
                    a.mul_scalar(*of_found) + b.mul_scalar(*of_first)
                }
                Join::Add { alpha } => {
                    let share = norm(&a) / norm(&b).add_scalar(1e-8);
                    a + b * share.mul_scalar(*alpha)
                }
                Join::Across => {
                    let unit = b.clone() / norm(&b).clamp_min(TINY);
                    let along = (a.clone() * unit.clone()).sum().reshape([1; D]);
                    a - unit * along
                }
                Join::Weighted => a * in_single(param.val().without_autodiff()).to_device(&device),
            };
            self.a.register(param.id, joined.cast(dtype));
        }
    }
    let mut joining = Joining { a, b, join };
    model.visit(&mut joining);
    joining.a
}

/// The sum over all parameters of the products of what both have.
fn inner_product<M: Module>(model: &M, a: &GradientsParams, b: &GradientsParams) -> f64 {
    struct Product<'a> {
        a: &'a GradientsParams,
        b: &'a GradientsParams,
        sum: f64,
    }
    impl ModuleVisitor for Product<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let pair = (self.a.get::<D>(param.id), self.b.get::<D>(param.id));
            let (Some(a), Some(b)) = pair else {
                return;
            };
            if a.shape().num_elements() == 0 {
                return;
            }
            let b = in_single(b).to_device(&a.device());
            let product = (in_single(a) * b).sum();
            self.sum += product.into_data().iter::<f64>().sum::<f64>();
        }
    }
    let mut product = Product { a, b, sum: 0.0 };
    model.visit(&mut product);
    product.sum
}

/// Moves a copy uphill.
struct Beside<'a> {
    grads: &'a GradientsParams,
    scale: f64,
    adaptive: bool,
}

impl ModuleMapper for Beside<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return param;
        };
        if grad.shape().num_elements() == 0 {
            return param;
        }
        param.map(|tensor| {
            let dtype = FloatDType::from(tensor.dtype());
            let param = in_single(tensor.without_autodiff());
            let grad = in_single(grad).to_device(&param.device());
            let way = match self.adaptive {
                true => param.clone().square() * grad,
                false => grad,
            };
            let moved = (param + way.mul_scalar(self.scale)).cast(dtype);
            Tensor::from_inner(moved).require_grad()
        })
    }
}
