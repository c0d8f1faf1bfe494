//! Mechanic: a learning rate for any optimizer, found on the way.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use crate::gradients::in_single;
use crate::setting::{OutOfRange, in_range};

/// How many estimates are added up.
pub(crate) const SCALES: usize = 6;

/// Added where something is divided by.
const EPSILON: f64 = 1e-8;

/// Mechanic, around any optimizer: it finds a factor on the whole way from where the training began, so that the
/// learning rate need not be tuned; a schedule still is one.
///
/// ```text
/// u = the optimizer's update at p,   S = Σ s
/// Δ = (p0 - p)/(S + 1e-8)
/// h = ⟨g + lambda·S·|g|/(|p| + 1e-8)·p, Δ⟩
/// for each of six decays b = 0.9, 0.99, …, 0.999999:
///     c = h, at most m as it was from 0 in either direction
///     m ← max(b·m, |h| + 1e-8),   v ← b²·v + h²,   r ← b·r + c·s
///     s ← (s_init/6·m + max(r, 0))/(sqrt(v) + 1e-8)
/// p ← p0 - (Σ s)·(Δ - u)
/// ```
///
/// Products and norms are of the whole model, in f64; what is frozen or has no gradient does not count, and stays. The
/// optimizer's rate is best left at 1, or its usual relation to other optimizers. It keeps a copy of the parameters at
/// the start, and each update needs another one for its time.
///
/// Source: Cutkosky et al., arXiv 2306.00144, in the form of `optax.contrib.mechanize`, whose clipped c and start of m
/// and s differ from the authors' code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mechanic {
    s_init: f64,
    lambda: f64,
}

impl Default for Mechanic {
    fn default() -> Self {
        Self {
            s_init: 1e-6,
            lambda: 0.01,
        }
    }
}

impl Mechanic {
    /// With the first factor 1e-6 and a decay of 0.01.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first factor, above 0.
    #[must_use]
    pub fn with_s_init(mut self, s_init: f64) -> Self {
        self.s_init = s_init;
        self
    }

    /// How much the parameters' length counts against going on, at least 0.
    #[must_use]
    pub fn with_lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        in_range("first factor of Mechanic", self.s_init, Range::POSITIVE)?;
        in_range("decay of Mechanic", self.lambda, Range::NOT_NEGATIVE)?;
        Ok(())
    }
}

/// What Mechanic keeps.
#[derive(Debug, Default)]
pub(crate) struct Tuned {
    /// The parameters at the start, as far as they were moved.
    pub start: GradientsParams,
    /// Factors, and what they come from; none before the first update.
    pub scales: Option<[Scale; SCALES]>,
}

/// One of the factors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scale {
    pub s: f64,
    pub m: f64,
    pub v: f64,
    pub r: f64,
}

impl Scale {
    /// Names and numbers.
    pub fn numbers(&mut self) -> [(&'static str, &mut f64); 4] {
        let Self { s, m, v, r } = self;
        [("s", s), ("m", m), ("v", v), ("r", r)]
    }

    fn next(mut self, decay: f64, h: f64, s_init: f64) -> Self {
        // Not `clamp`, which panics where a gradient that was let through is no number.
        let clipped = h.max(-self.m).min(self.m);
        self.r = decay * self.r + clipped * self.s;
        self.m = (decay * self.m).max(h.abs() + EPSILON);
        self.v = decay * decay * self.v + h * h;
        let reward = s_init / SCALES as f64 * self.m + self.r.max(0.0);
        self.s = reward / (self.v.sqrt() + EPSILON);
        self
    }
}

/// What an update by Mechanic needs of the model before it.
pub(crate) struct Ahead<M> {
    before: M,
    /// The parameters that will have moved.
    moved: HashSet<ParamId>,
    scales: [Scale; SCALES],
    sum: f64,
}

impl Tuned {
    /// Looks at gradients and model before an update.
    pub fn ahead<'a, M: Module>(
        &mut self,
        mechanic: &Mechanic,
        model: &M,
        grads: impl IntoIterator<Item = &'a GradientsParams>,
    ) -> Ahead<M> {
        let first = Scale {
            s: mechanic.s_init,
            ..Scale::default()
        };
        let scales = self.scales.unwrap_or([first; SCALES]);
        let sum: f64 = scales.iter().map(|scale| scale.s).sum();
        let mut products = Products {
            start: &mut self.start,
            moved: HashSet::new(),
            sums: [0.0; 4],
            grads: None,
        };
        for grads in grads {
            products.grads = Some(grads);
            model.visit(&mut products);
        }
        let Products { moved, sums, .. } = products;
        let [grad_way, param_way, grad, param] = sums;
        let share = mechanic.lambda * sum * grad.sqrt() / (param.sqrt() + EPSILON);
        let h = (grad_way + share * param_way) / (sum + EPSILON);
        let mut decay = 1.0;
        let scales = scales.map(|scale| {
            decay *= 0.1;
            scale.next(1.0 - decay, h, mechanic.s_init)
        });
        Ahead {
            before: model.clone(),
            moved,
            scales,
            sum,
        }
    }

    /// Puts the parameters where the new factor says, after the update of the optimizer.
    pub fn retuned<M: Module>(&mut self, ahead: Ahead<M>, model: M) -> M {
        struct Read(GradientsParams);
        impl ModuleVisitor for Read {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.register(param.id, param.val().without_autodiff());
            }
        }
        let mut before = Read(GradientsParams::new());
        ahead.before.visit(&mut before);
        drop(ahead.before);
        let sum: f64 = ahead.scales.iter().map(|scale| scale.s).sum();
        self.scales = Some(ahead.scales);
        model.map(&mut Place {
            start: &self.start,
            before: &before.0,
            moved: &ahead.moved,
            of_way: sum / (ahead.sum + EPSILON),
            of_update: sum,
        })
    }
}

/// Sums over all parameters that will move: gradient and parameter times the way from the start, and the squares of
/// both.
struct Products<'a> {
    start: &'a mut GradientsParams,
    /// The parameters that will move.
    moved: HashSet<ParamId>,
    sums: [f64; 4],
    grads: Option<&'a GradientsParams>,
}

impl ModuleVisitor for Products<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grad = self.grads.and_then(|grads| grads.get::<D>(param.id));
        let Some(grad) = grad else {
            return;
        };
        let own = param.val().without_autodiff();
        if own.shape().num_elements() == 0 {
            return;
        }
        let start = self.start.get::<D>(param.id).unwrap_or_else(|| {
            // A buffer of its own: the parameter is moved in place.
            let start = in_single(own.clone()).add_scalar(0.0);
            self.start.register(param.id, start.clone());
            start
        });
        let param_now = in_single(own);
        let grad = in_single(grad).to_device(&param_now.device());
        let way = start.to_device(&param_now.device()) - param_now.clone();
        let products = [
            grad.clone() * way.clone(),
            param_now.clone() * way,
            grad.square(),
            param_now.square(),
        ];
        let sums = Tensor::cat(products.map(|product| product.sum()).to_vec(), 0);
        for (sum, part) in self.sums.iter_mut().zip(sums.into_data().iter::<f64>()) {
            *sum += part;
        }
        self.moved.insert(param.id);
    }
}

/// Puts parameters between their start and where their updates lead.
struct Place<'a> {
    start: &'a GradientsParams,
    before: &'a GradientsParams,
    moved: &'a HashSet<ParamId>,
    of_way: f64,
    of_update: f64,
}

impl ModuleMapper for Place<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (start, before) = (
            self.start.get::<D>(param.id),
            self.before.get::<D>(param.id),
        );
        let (Some(start), Some(before), true) = (start, before, self.moved.contains(&param.id))
        else {
            return param;
        };
        param.map(|after| {
            let (dtype, requires) = (FloatDType::from(after.dtype()), after.is_require_grad());
            let is_autodiff = after.is_autodiff();
            let after = in_single(after.without_autodiff());
            let before = in_single(before).to_device(&after.device());
            let start = start.to_device(&after.device());
            let way = (start.clone() - before.clone()).mul_scalar(self.of_way);
            let update = (after - before).mul_scalar(self.of_update);
            let placed = (start - way + update).cast(dtype);
            match is_autodiff {
                true => Tensor::from_inner(placed).set_require_grad(requires),
                false => placed,
            }
        })
    }
}
