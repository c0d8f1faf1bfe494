//! A rule's settings and what all optimizers share: one configuration type.

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use burn::grad_clipping::GradientClippingConfig;
use burn::optim::ModuleOptimizer;
use downhill_rule::factored::FactoredRule;
use downhill_rule::{Adjusted, CautiousDecay, Rule, WeightDecay};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, from_value};

use crate::engine::{Elementwise, Engine, Factored};
use crate::settings::{
    ANY, ConfigError, NOT_NEGATIVE, POSITIVE, Setting, SettingKind, SettingType, Settings,
    check_range, choice, nearest, to_json,
};
use crate::{Identity, RuleOptimizer};

/// One line about an optimizer, for lists and menus.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerInfo {
    /// The name, as in JSON.
    pub name: &'static str,
    /// The name of its configuration's type.
    pub config: &'static str,
    /// The learning rate that its authors or PyTorch start from.
    pub default_learning_rate: f64,
    /// State for a parameter of n elements (r rows, c columns), in numbers.
    pub state: String,
    /// Where it was published.
    pub paper: &'static str,
    /// What it does.
    pub description: &'static str,
}

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

/// What is fixed about an optimizer.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name, as in JSON.
    pub name: &'static str,
    /// The name of its configuration's type.
    pub config: &'static str,
    /// The learning rate that its authors or PyTorch start from.
    pub default_learning_rate: f64,
    /// State for a parameter of n elements, where counting the rule's tensors does not tell it.
    pub state: Option<&'static str>,
    /// Where it was published.
    pub paper: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether and how it decays weights.
    pub decay: Option<Decay>,
    /// Whether it can climb.
    pub maximize: bool,
}

/// A name for a rule with certain defaults. Every rule with settings has one of its own; AdamW is another
/// of Adam.
pub trait Preset: Send + Sync + 'static {
    /// The rule.
    type Rule: Programs;
    /// What is fixed about it.
    const ABOUT: About;

    /// The rule's default settings.
    fn settings() -> Self::Rule {
        Self::Rule::default()
    }
}

/// Settings from which a program can be made.
pub trait Programs: Settings {
    /// The program for these settings.
    ///
    /// # Errors
    ///
    /// If settings exclude each other.
    fn program(self, shared: &Shared) -> Result<Program, ConfigError>;
}

/// A rule that can be run, with its type erased.
#[derive(Clone)]
pub struct Program(pub(crate) Arc<dyn Engine>);

impl Program {
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub(crate) fn elementwise(rule: impl Rule) -> Self {
        rule.check_slots();
        Self(Arc::new(Elementwise(rule)))
    }

    pub(crate) fn factored(rule: impl FactoredRule) -> Self {
        Self(Arc::new(Factored(rule)))
    }

    /// State tensors of a vector.
    fn tensors(&self) -> usize {
        self.0.slots(&[1]).len()
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
}

impl Shared {
    /// The program that runs `rule`, with weight decay and direction.
    pub(crate) fn run(&self, rule: impl Rule) -> Result<Program, ConfigError> {
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
            WeightDecayKind::Cautious => {
                return self.run_own(CautiousDecay::new(rule, self.weight_decay));
            }
        };
        let rule = Adjusted::new(rule, decay, self.maximize);
        Ok(Program::elementwise(rule))
    }

    /// The program that runs a rule which decays weights itself.
    pub(crate) fn run_own(&self, rule: impl Rule) -> Result<Program, ConfigError> {
        let rule = Adjusted::new(rule, WeightDecay::Own, self.maximize);
        Ok(Program::elementwise(rule))
    }

    /// The program that runs a rule with a factored second moment, which has decay and direction itself.
    pub(crate) fn factored(&self, rule: impl FactoredRule) -> Result<Program, ConfigError> {
        Ok(Program::factored(rule))
    }

    /// The error of settings that exclude each other.
    pub(crate) fn conflict(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Conflict {
            optimizer: self.optimizer,
            reason: reason.into(),
        }
    }
}

/// An optimizer's configuration: the settings of its rule `R`, and what all optimizers share. The preset
/// `P` has its name and its defaults.
///
/// In JSON it is one object of all settings; those that are left out have their default, and an unknown
/// one is an error that suggests the nearest.
///
/// ```
/// use downhill_optim::{AdamWConfig, WeightDecayKind};
///
/// let config = AdamWConfig::new()
///     .with_beta_1(0.95)
///     .with_weight_decay(0.1)
///     .with_weight_decay_kind(WeightDecayKind::Cautious);
/// let optim = config.init();
/// let json = serde_json::to_string(&config)?;
/// assert_eq!(serde_json::from_str::<AdamWConfig>(&json)?, config);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct Config<R, P = R> {
    /// The rule with its settings.
    pub rule: R,
    /// Weight decay, at least 0; 0 is none. Of the optimizers that have it.
    pub weight_decay: f64,
    /// What weight decay takes from a parameter.
    pub weight_decay_kind: WeightDecayKind,
    /// The largest learning rate of the schedule, above 0: corrected weight decay needs it.
    pub peak_learning_rate: Option<f64>,
    /// Whether to climb instead.
    pub maximize: bool,
    /// Clipping of each parameter's gradient, by Burn.
    pub grad_clipping: Option<GradientClippingConfig>,
    preset: PhantomData<fn() -> P>,
}

const WEIGHT_DECAY: Setting = Setting {
    name: "weight_decay",
    doc: "Weight decay; 0 is none.",
    kind: SettingKind::Number,
    range: NOT_NEGATIVE,
    needs: None,
    shown_with: "{}",
};
const WEIGHT_DECAY_KIND: Setting = Setting {
    name: "weight_decay_kind",
    doc: "What weight decay takes from a parameter.",
    kind: WeightDecayKind::KIND,
    range: ANY,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1}"#,
};
const DECOUPLED: Setting = Setting {
    name: "decoupled_weight_decay",
    doc: "Whether weight decay stands beside the rule instead of in the gradient.",
    kind: SettingKind::Flag,
    range: ANY,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1}"#,
};
const PEAK: Setting = Setting {
    name: "peak_learning_rate",
    doc: "The largest learning rate of the schedule, for corrected weight decay.",
    kind: SettingKind::OptionalNumber,
    range: POSITIVE,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1, "weight_decay_kind": "corrected"}"#,
};
const MAXIMIZE: Setting = Setting {
    name: "maximize",
    doc: "Whether to climb instead.",
    kind: SettingKind::Flag,
    range: ANY,
    needs: None,
    shown_with: "{}",
};
const GRAD_CLIPPING: Setting = Setting {
    name: "grad_clipping",
    doc: "Clipping of each parameter's gradient, by Burn.",
    kind: SettingKind::Object,
    range: POSITIVE,
    needs: None,
    shown_with: "{}",
};

impl<P: Preset> Config<P::Rule, P> {
    /// The name in JSON and in lists.
    pub const NAME: &'static str = P::ABOUT.name;

    /// The default settings.
    pub fn new() -> Self {
        let decay = P::ABOUT.decay;
        Self {
            rule: P::settings(),
            weight_decay: decay.map_or(0.0, |decay| decay.default),
            weight_decay_kind: Self::default_kind(),
            peak_learning_rate: None,
            maximize: false,
            grad_clipping: None,
            preset: PhantomData,
        }
    }

    fn default_kind() -> WeightDecayKind {
        let kind = P::ABOUT.decay.and_then(|decay| decay.kind);
        kind.unwrap_or(WeightDecayKind::Coupled)
    }

    /// Whether the kind of decay can be chosen.
    fn has_kinds() -> bool {
        P::ABOUT.decay.is_some_and(|decay| decay.kind.is_some())
    }

    fn has_flag() -> bool {
        P::ABOUT.decay.is_some_and(|decay| decay.flag)
    }

    /// What lists say of it.
    pub fn info() -> OptimizerInfo {
        let about = P::ABOUT;
        OptimizerInfo {
            name: about.name,
            config: about.config,
            default_learning_rate: about.default_learning_rate,
            state: about.state.map_or_else(Self::state, str::to_string),
            paper: about.paper,
            description: about.description,
        }
    }

    /// Every setting, in the order of the table: the rule's, then those that all optimizers share.
    pub fn settings() -> Vec<&'static Setting> {
        let mut settings: Vec<_> = P::Rule::SETTINGS.iter().collect();
        if P::ABOUT.decay.is_some() {
            settings.push(&WEIGHT_DECAY);
        }
        if Self::has_flag() {
            settings.push(&DECOUPLED);
        }
        if Self::has_kinds() {
            settings.extend([&WEIGHT_DECAY_KIND, &PEAK]);
        }
        if P::ABOUT.maximize {
            settings.push(&MAXIMIZE);
        }
        settings.push(&GRAD_CLIPPING);
        settings
    }

    /// Counts the state tensors by default and with each flag or number that brings more.
    fn state() -> String {
        let count = |config: Self| config.try_program().ok().map(|program| program.tensors());
        let named = |tensors: usize| match tensors {
            0 => "0".to_string(),
            1 => "n".to_string(),
            more => format!("{more}n"),
        };
        let own = count(Self::new()).unwrap_or_default();
        let mut text = named(own);
        for (index, setting) in P::Rule::SETTINGS.iter().enumerate() {
            let mut config = Self::new();
            let changed = match config.rule.get(index) {
                Value::Bool(flag) => Value::Bool(!flag),
                Value::Number(_) if config.rule.number(index) == Some(0.0) => Value::from(0.5),
                _ => continue,
            };
            if config.rule.set(index, changed).is_ok()
                && let Some(more) = count(config).filter(|more| *more != own)
            {
                text += &format!(", {} with {}", named(more), setting.name);
            }
        }
        text
    }

    /// Sets [`weight_decay`](Self::weight_decay).
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Sets [`weight_decay_kind`](Self::weight_decay_kind).
    #[must_use]
    pub fn with_weight_decay_kind(mut self, weight_decay_kind: WeightDecayKind) -> Self {
        self.weight_decay_kind = weight_decay_kind;
        self
    }

    /// Decouples the weight decay, or couples it: PyTorch's name for two of the
    /// [kinds](Self::weight_decay_kind).
    #[must_use]
    pub fn with_decoupled_weight_decay(self, decoupled: bool) -> Self {
        self.with_weight_decay_kind(match decoupled {
            true => WeightDecayKind::Decoupled,
            false => WeightDecayKind::Coupled,
        })
    }

    /// Sets [`peak_learning_rate`](Self::peak_learning_rate).
    #[must_use]
    pub fn with_peak_learning_rate(mut self, peak_learning_rate: Option<f64>) -> Self {
        self.peak_learning_rate = peak_learning_rate;
        self
    }

    /// Sets [`maximize`](Self::maximize).
    #[must_use]
    pub fn with_maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// Sets [`grad_clipping`](Self::grad_clipping).
    #[must_use]
    pub fn with_grad_clipping(mut self, grad_clipping: Option<GradientClippingConfig>) -> Self {
        self.grad_clipping = grad_clipping;
        self
    }

    fn conflict(reason: impl Into<String>) -> ConfigError {
        ConfigError::Conflict {
            optimizer: Self::NAME,
            reason: reason.into(),
        }
    }

    /// Compares every setting with its range, and with those that it needs.
    fn check(&self) -> Result<(), ConfigError> {
        let defaults = P::settings();
        let names: Vec<_> = P::Rule::SETTINGS
            .iter()
            .map(|setting| setting.name)
            .collect();
        for (index, setting) in P::Rule::SETTINGS.iter().enumerate() {
            check_range(Self::NAME, setting, self.rule.number(index))?;
            let needed = setting.needs.and_then(|needed| {
                let place = names.iter().position(|name| *name == needed)?;
                let is_default = self.rule.get(place) == defaults.get(place);
                is_default.then_some(needed)
            });
            if let Some(needed) = needed
                && self.rule.get(index) != defaults.get(index)
            {
                let name = setting.name;
                return Err(Self::conflict(format!("`{name}` needs a `{needed}`")));
            }
        }
        check_range(Self::NAME, &WEIGHT_DECAY, Some(self.weight_decay))?;
        if P::ABOUT.decay.is_none() && self.weight_decay != 0.0 {
            return Err(Self::conflict("it has no weight decay"));
        }
        if !Self::has_kinds() && self.weight_decay_kind != Self::default_kind() {
            return Err(Self::conflict("its weight decay has one kind only"));
        }
        check_range(Self::NAME, &PEAK, self.peak_learning_rate)?;
        let corrected = self.weight_decay_kind == WeightDecayKind::Corrected;
        if self.peak_learning_rate.is_some() && !corrected {
            return Err(Self::conflict(
                "`peak_learning_rate` is for a corrected weight decay",
            ));
        }
        if self.maximize && !P::ABOUT.maximize {
            return Err(Self::conflict("it has no `maximize`"));
        }
        let threshold = self.grad_clipping.as_ref().map(|clipping| match clipping {
            GradientClippingConfig::Value(threshold) | GradientClippingConfig::Norm(threshold) => {
                f64::from(*threshold)
            }
        });
        check_range(Self::NAME, &GRAD_CLIPPING, threshold)
    }

    /// Checks all settings, and makes the program.
    pub(crate) fn try_program(&self) -> Result<Program, ConfigError> {
        self.check()?;
        self.rule.clone().program(&Shared {
            optimizer: Self::NAME,
            weight_decay: self.weight_decay,
            kind: self.weight_decay_kind,
            peak: self.peak_learning_rate,
            maximize: self.maximize,
        })
    }

    fn optimizer(&self) -> Result<RuleOptimizer, ConfigError> {
        let program = self.try_program()?;
        let settings = Value::Object(self.to_map());
        let identity = Identity::new(Self::NAME, settings.to_string());
        Ok(RuleOptimizer::of(program).with_identity(identity))
    }

    /// The bare optimizer, for
    /// [`ModuleOptimizer::with_group`](burn::optim::ModuleOptimizer::with_group).
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range; `grad_clipping` is one too, as a bare optimizer
    /// does not clip.
    pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
        if self.grad_clipping.is_some() {
            return Err(Self::conflict(
                "a bare optimizer has no `grad_clipping`: that is of a whole module's, which `init` makes",
            ));
        }
        self.optimizer()
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
        let optim = ModuleOptimizer::from(self.optimizer()?);
        Ok(match &self.grad_clipping {
            Some(clipping) => optim.with_grad_clipping(clipping.init()),
            None => optim,
        })
    }

    /// [`try_build`](Self::try_build), as burn-optim's configs have it.
    ///
    /// # Panics
    ///
    /// Panics if a setting is outside its range, or if there is a `grad_clipping`.
    pub fn build(&self) -> RuleOptimizer {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`try_init`](Self::try_init), as burn-optim's configs have it.
    ///
    /// # Panics
    ///
    /// Panics if a setting is outside its range.
    pub fn init(&self) -> ModuleOptimizer {
        self.try_init().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The settings as JSON. A kind of decay that is the optimizer's own is left out, so that configurations
    /// of before there was a choice are what they were.
    pub(crate) fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (index, setting) in P::Rule::SETTINGS.iter().enumerate() {
            map.insert(setting.name.to_string(), self.rule.get(index));
        }
        let mut put = |setting: &Setting, value: Value| map.insert(setting.name.to_string(), value);
        let kind = self.weight_decay_kind;
        if P::ABOUT.decay.is_some() {
            put(&WEIGHT_DECAY, to_json(&self.weight_decay));
        }
        let flagged = Self::has_flag() && kind == WeightDecayKind::Decoupled;
        if Self::has_flag() {
            put(&DECOUPLED, to_json(&flagged));
        }
        if kind != Self::default_kind() && !flagged {
            put(&WEIGHT_DECAY_KIND, to_json(&kind));
        }
        if let Some(peak) = self.peak_learning_rate {
            put(&PEAK, to_json(&peak));
        }
        if P::ABOUT.maximize {
            put(&MAXIMIZE, to_json(&self.maximize));
        }
        let clipping = serde_json::to_value(&self.grad_clipping);
        put(&GRAD_CLIPPING, clipping.unwrap_or(Value::Null));
        map
    }

    /// The defaults with some settings replaced.
    pub(crate) fn from_map(map: Map<String, Value>) -> Result<Self, ConfigError> {
        let wrong =
            |error: serde_json::Error| ConfigError::Json(format!("{}: {error}", Self::NAME));
        let settings = Self::settings();
        let mut config = Self::new();
        let mut kind = None;
        for (key, value) in map {
            let index = settings.iter().position(|setting| setting.name == key);
            let Some(index) = index else {
                return Err(ConfigError::UnknownField {
                    optimizer: Self::NAME,
                    nearest: nearest(&key, settings.iter().map(|setting| setting.name)),
                    field: key,
                });
            };
            if index < P::Rule::SETTINGS.len() {
                config.rule.set(index, value).map_err(wrong)?;
                continue;
            }
            let read = match key.as_str() {
                "weight_decay" => from_value(value).map(|x| config.weight_decay = x),
                "weight_decay_kind" => from_value(value).map(|x| kind = Some(x)),
                "decoupled_weight_decay" => from_value(value)
                    .map(|x| config = config.clone().with_decoupled_weight_decay(x)),
                "peak_learning_rate" => from_value(value).map(|x| config.peak_learning_rate = x),
                "maximize" => from_value(value).map(|x| config.maximize = x),
                _ => from_value(value).map(|x| config.grad_clipping = x),
            };
            read.map_err(wrong)?;
        }
        // It says more than the flag, wherever in the object it stands.
        config.weight_decay_kind = kind.unwrap_or(config.weight_decay_kind);
        Ok(config)
    }
}

impl<P: Preset> Default for Config<P::Rule, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Clone, P> Clone for Config<R, P> {
    fn clone(&self) -> Self {
        Self {
            rule: self.rule.clone(),
            weight_decay: self.weight_decay,
            weight_decay_kind: self.weight_decay_kind,
            peak_learning_rate: self.peak_learning_rate,
            maximize: self.maximize,
            grad_clipping: self.grad_clipping.clone(),
            preset: PhantomData,
        }
    }
}

impl<P: Preset> PartialEq for Config<P::Rule, P> {
    fn eq(&self, other: &Self) -> bool {
        self.to_map() == other.to_map()
    }
}

impl<P: Preset> fmt::Debug for Config<P::Rule, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Self::NAME, Value::Object(self.to_map()))
    }
}

impl<P: Preset> Serialize for Config<P::Rule, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_map().serialize(serializer)
    }
}

impl<'de, P: Preset> Deserialize<'de> for Config<P::Rule, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_map(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Declares an optimizer: a rule with its settings, each with type, default and range, and what is fixed
/// about it. From that come the struct, its default, the builder methods of its configuration and JSON.
///
/// A last part says which program runs for which settings, where it is not always the rule itself.
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $rule:ident as $config:ident, $name:literal {
            learning_rate: $lr:literal,
            $(state: $state:literal,)?
            paper: $paper:literal,
            description: $description:literal,
            decay: $decay:expr,
            $(maximize: $maximize:literal,)?
        }
        $(
            $(#[doc = $field_doc:literal])*
            $field:ident, $with:ident: $type:ty = $default:expr, $range:ident
            $(, needs $needs:ident)? $(, shown_with $shown:literal)?;
        )*
        $(=> |$self:ident, $shared:ident| $program:expr)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $rule {
            $(
                $(#[doc = $field_doc])*
                #[doc = concat!(
                    "\n\nDefault: `", stringify!($default), "`. Range: ",
                    $crate::settings::allowed!($range), "."
                )]
                pub $field: $type,
            )*
        }

        #[doc = concat!("The configuration of [`", stringify!($rule), "`].")]
        pub type $config = $crate::config::Config<$rule>;

        impl Default for $rule {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::settings::Settings for $rule {
            const SETTINGS: &'static [$crate::settings::Setting] = &[$(
                $crate::settings::Setting {
                    name: stringify!($field),
                    doc: concat!($($field_doc, "\n",)*),
                    kind: <$type as $crate::settings::SettingType>::KIND,
                    range: $crate::settings::$range,
                    needs: $crate::config::given!($(Some(stringify!($needs)))?, None),
                    shown_with: $crate::config::given!($($shown)?, "{}"),
                },
            )*];

            fn get(&self, index: usize) -> serde_json::Value {
                let fields: &[fn(&Self) -> serde_json::Value] =
                    &[$(|rule| $crate::settings::to_json(&rule.$field),)*];
                fields[index](self)
            }

            fn set(
                &mut self,
                index: usize,
                value: serde_json::Value,
            ) -> Result<(), serde_json::Error> {
                type Set = fn(&mut $rule, serde_json::Value) -> Result<(), serde_json::Error>;
                let fields: &[Set] = &[$(|rule, value| {
                    rule.$field = serde_json::from_value(value)?;
                    Ok(())
                },)*];
                fields[index](self, value)
            }

            fn number(&self, index: usize) -> Option<f64> {
                let fields: &[fn(&Self) -> Option<f64>] =
                    &[$(|rule| $crate::settings::SettingType::number(&rule.$field),)*];
                fields[index](self)
            }
        }

        impl<P: $crate::config::Preset<Rule = $rule>> $crate::config::Config<$rule, P> {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($field), "`](", stringify!($rule), "::",
                    stringify!($field), ")."
                )]
                #[must_use]
                pub fn $with(mut self, $field: $type) -> Self {
                    self.rule.$field = $field;
                    self
                }
            )*
        }

        impl $crate::config::Preset for $rule {
            type Rule = Self;
            const ABOUT: $crate::config::About = $crate::config::About {
                name: $name,
                config: stringify!($config),
                default_learning_rate: $lr,
                state: $crate::config::given!($(Some($state))?, None),
                paper: $paper,
                description: $description,
                decay: $decay,
                maximize: $crate::config::given!($($maximize)?, true),
            };
        }

        impl $crate::config::Programs for $rule {
            fn program(
                self,
                shared: &$crate::config::Shared,
            ) -> Result<$crate::config::Program, $crate::settings::ConfigError> {
                $crate::config::given!(
                    $({
                        let ($self, $shared) = (self, shared);
                        $program
                    })?,
                    shared.run(self)
                )
            }
        }
    };
}
pub(crate) use optimizer;

/// The first of the two if it is there.
macro_rules! given {
    (, $default:expr) => {
        $default
    };
    ($value:expr, $default:expr) => {
        $value
    };
}
pub(crate) use given;

/// Declares another name for a rule, with other defaults.
macro_rules! preset {
    (
        $(#[$doc:meta])*
        $preset:ident as $config:ident of $rule:ident, $name:literal {
            learning_rate: $lr:literal,
            paper: $paper:literal,
            description: $description:literal,
            decay: $decay:expr,
            $(settings: $settings:expr,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $preset;

        #[doc = concat!("The configuration of [`", stringify!($preset), "`].")]
        pub type $config = $crate::config::Config<$rule, $preset>;

        impl $crate::config::Preset for $preset {
            type Rule = $rule;
            const ABOUT: $crate::config::About = $crate::config::About {
                name: $name,
                config: stringify!($config),
                default_learning_rate: $lr,
                state: None,
                paper: $paper,
                description: $description,
                decay: $decay,
                maximize: true,
            };
            $(
                fn settings() -> $rule {
                    $settings
                }
            )?
        }
    };
}
pub(crate) use preset;
