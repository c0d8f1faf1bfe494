//! Weight decay and direction: what stands around a rule.

use downhill_rule::{Adjusted, Clock, Look, Masked, Numbers, Rule, Step, WeightDecay};

use crate::program::Program;
use crate::registry::OptimizerConfig;
use crate::settings::{ConfigError, choice};
use crate::wrapped::Around;

choice! {
    /// What weight decay takes from a parameter `p` at each step, of learning rate `lr`.
    WeightDecayKind {
        /// L2 regularisation: `g ← g + weight_decay·p`, before the rule sees the gradient.
        Coupled = "coupled",
        /// `p ← (1 - lr·weight_decay)·p`, beside the rule (Loshchilov & Hutter, arXiv 1711.05101).
        Decoupled = "decoupled",
        /// `p ← (1 - lr²/peak·weight_decay)·p`, with the `peak_learning_rate` of the schedule: under it the
        /// norms of normalised layers stay in balance when the rate falls (Defazio, arXiv 2506.02285).
        Corrected = "corrected",
        /// `p ← (p - lr·u)/(1 + lr·weight_decay)`, for a direction `u` of descent: after the step instead of
        /// before it, and stable for every decay (Adan's, arXiv 2208.06677).
        Proximal = "proximal",
        /// `p ← (1 - weight_decay)·p`, whatever the learning rate.
        Independent = "independent",
        /// Decoupled, and only of elements that the step does not move away from zero: where `u·p ≥ 0`, for a
        /// direction `u` of descent (arXiv 2510.12402).
        Cautious = "cautious",
    }
}

/// How an optimizer decays weights: what its table says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    pub(crate) default: f64,
    /// None where the rule itself says what decay takes.
    pub(crate) kind: Option<WeightDecayKind>,
    /// Whether `decoupled_weight_decay` chooses between two kinds, as PyTorch calls it.
    pub(crate) flag: bool,
}

impl Decay {
    const fn new(kind: WeightDecayKind, default: f64) -> Option<Self> {
        Some(Self {
            default,
            kind: Some(kind),
            flag: false,
        })
    }

    pub(crate) const fn coupled(default: f64) -> Option<Self> {
        Self::new(WeightDecayKind::Coupled, default)
    }

    /// Coupled, and PyTorch has a flag that decouples it.
    pub(crate) const fn flagged(default: f64) -> Option<Self> {
        Some(Self {
            default,
            kind: Some(WeightDecayKind::Coupled),
            flag: true,
        })
    }

    pub(crate) const fn decoupled(default: f64) -> Option<Self> {
        Self::new(WeightDecayKind::Decoupled, default)
    }

    pub(crate) const fn proximal(default: f64) -> Option<Self> {
        Self::new(WeightDecayKind::Proximal, default)
    }

    pub(crate) const fn own(default: f64) -> Option<Self> {
        Some(Self {
            default,
            kind: None,
            flag: false,
        })
    }
}

/// What of the settings around a rule acts on its gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnGradient {
    /// -1 to climb.
    pub sign: f64,
    /// Where it is coupled.
    pub weight_decay: Option<f64>,
}

impl OnGradient {
    /// The step of a rule that makes a direction of the gradient.
    pub fn step<C>(&self, clock: &Clock, coefs: C) -> Step<C> {
        Step {
            sign: self.sign * clock.grad_scale,
            l2: self.weight_decay.unwrap_or_default(),
            ..Step::new(1.0, coefs)
        }
    }
}

impl Numbers for OnGradient {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "weight_decay" => self.weight_decay.as_mut(),
            _ => None,
        }
    }
}

/// The settings that stand around a rule.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    pub(crate) optimizer: &'static str,
    pub(crate) weight_decay: f64,
    pub(crate) kind: WeightDecayKind,
    pub(crate) peak: Option<f64>,
    pub(crate) maximize: bool,
    pub(crate) cautious: bool,
}

impl Shared {
    /// The program that runs `rule`, with weight decay and direction.
    pub(crate) fn run(&self, rule: impl Rule) -> Result<Program, ConfigError> {
        match self.cautious {
            true => Ok(Program::looking(self.decayed(Masked(rule))?)),
            false => Ok(Program::elementwise(self.decayed(rule)?)),
        }
    }

    /// The program that runs a rule which decays weights itself.
    pub(crate) fn run_own(&self, rule: impl Rule) -> Result<Program, ConfigError> {
        match self.cautious {
            true => Ok(Program::looking(self.decaying(Masked(rule)))),
            false => Ok(Program::elementwise(self.decaying(rule))),
        }
    }

    /// [`run`](Self::run), of a rule that looks.
    pub(crate) fn look(&self, rule: impl Look) -> Result<Program, ConfigError> {
        self.check_look()?;
        Ok(Program::looking(self.decayed(rule)?))
    }

    /// [`run_own`](Self::run_own), of a rule that looks.
    pub(crate) fn look_own(&self, rule: impl Look) -> Result<Program, ConfigError> {
        self.check_look()?;
        Ok(Program::looking(self.decaying(rule)))
    }

    fn check_look(&self) -> Result<(), ConfigError> {
        match self.cautious {
            true => {
                Err(self.conflict("it looks at its tensor already, so it cannot be `cautious`"))
            }
            false => Ok(()),
        }
    }

    /// A rule with decay of its own, and with its direction.
    fn decaying<R>(&self, rule: R) -> Adjusted<R> {
        Adjusted::new(rule, WeightDecay::Own(self.weight_decay), self.maximize)
    }

    /// A rule with weight decay around it, and with its direction.
    fn decayed<R>(&self, rule: R) -> Result<Adjusted<R>, ConfigError> {
        let decay = match self.kind {
            WeightDecayKind::Coupled => WeightDecay::Coupled(self.weight_decay),
            WeightDecayKind::Decoupled => WeightDecay::Decoupled(self.weight_decay),
            WeightDecayKind::Independent => WeightDecay::Independent(self.weight_decay),
            WeightDecayKind::Proximal => WeightDecay::Proximal(self.weight_decay),
            WeightDecayKind::Corrected => WeightDecay::Corrected {
                decay: self.weight_decay,
                peak: self.peak.ok_or_else(|| {
                    self.conflict("a corrected weight decay needs a `peak_learning_rate`")
                })?,
            },
            WeightDecayKind::Cautious => WeightDecay::Cautious(self.weight_decay),
        };
        Ok(Adjusted::new(rule, decay, self.maximize))
    }

    /// The same with a decay that the optimizer decides.
    pub(crate) fn with_decay(&self, kind: WeightDecayKind, weight_decay: f64) -> Self {
        let mut shared = *self;
        (shared.kind, shared.weight_decay) = (kind, weight_decay);
        shared
    }

    /// What acts on the gradient, and what acts on the step, for an optimizer that makes another direction in
    /// between.
    pub(crate) fn split(&self) -> Result<(OnGradient, Self), ConfigError> {
        self.check_look()?;
        let coupled = self.kind == WeightDecayKind::Coupled;
        let on_gradient = OnGradient {
            sign: if self.maximize { -1.0 } else { 1.0 },
            weight_decay: coupled.then_some(self.weight_decay),
        };
        let mut on_step = *self;
        on_step.maximize = false;
        if coupled {
            on_step.weight_decay = 0.0;
            on_step.kind = WeightDecayKind::Decoupled;
        }
        Ok((on_gradient, on_step))
    }

    /// The program that runs an optimizer with a wrapper around it.
    pub(crate) fn around(
        &self,
        inner: &OptimizerConfig,
        wrapper: impl Around,
    ) -> Result<Program, ConfigError> {
        if self.cautious {
            return Err(self.conflict("`cautious` belongs to the `optimizer` inside"));
        }
        if inner.any().grad_clipping().is_some() {
            return Err(self.conflict(
                "the `optimizer` inside has a `grad_clipping`, which belongs to the whole",
            ));
        }
        let inner = inner.any().try_program()?;
        if inner.0.of_model().is_some() {
            return Err(self.conflict(
                "the `optimizer` inside looks at the whole model, which it cannot do in here",
            ));
        }
        Ok(Program::wrapped(wrapper, inner))
    }

    /// The error of settings that exclude each other.
    pub(crate) fn conflict(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Conflict {
            optimizer: self.optimizer,
            reason: reason.into(),
        }
    }
}
