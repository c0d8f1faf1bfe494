//! A rule's settings and what all optimizers share: one configuration type.

use core::fmt;
use core::marker::PhantomData;

#[cfg(feature = "burn")]
pub use burn::grad_clipping::GradientClippingConfig;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, from_value};

use crate::decay::{Shared, WeightDecayKind};
use crate::declare::{OptimizerInfo, Preset, Programs, Scope};
use crate::names;
use crate::program::Program;
use crate::settings::{
    ConfigError, Range, Setting, SettingKind, SettingType, Settings, check_range, nearest, to_json,
};
use crate::trajectory::Trajectory;

/// Burn's, to be read and written where there is no Burn.
#[cfg(not(feature = "burn"))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum GradientClippingConfig {
    /// Each element to a range around zero.
    Value(f32),
    /// Each parameter's gradient to a norm.
    Norm(f32),
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
/// # #[cfg(feature = "burn")]
/// let optim = config.init();
/// let json = serde_json::to_string(&config)?;
/// assert_eq!(serde_json::from_str::<AdamWConfig>(&json)?, config);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct Config<R, P = R> {
    /// The rule with its settings.
    pub rule: R,
    /// The learning rate to begin with, above 0, where nothing else says one: the rate of a step belongs to a
    /// schedule, or to whoever makes the step. None is the optimizer's [default](OptimizerInfo::default_learning_rate).
    pub learning_rate: Option<f64>,
    /// Weight decay, at least 0; 0 is none. Of the optimizers that have it.
    pub weight_decay: f64,
    /// What weight decay takes from a parameter.
    pub weight_decay_kind: WeightDecayKind,
    /// The largest learning rate of the schedule, above 0: corrected weight decay needs it.
    pub peak_learning_rate: Option<f64>,
    /// Whether to climb instead.
    pub maximize: bool,
    /// Whether elements stand still in which the direction disagrees with the gradient, and the others go as much
    /// farther: see [`Masked`](downhill_rule::Masked). Of the optimizers that treat every element alone.
    pub cautious: bool,
    /// Clipping of each parameter's gradient, by Burn.
    pub grad_clipping: Option<GradientClippingConfig>,
    preset: PhantomData<fn() -> P>,
}

const LEARNING_RATE: Setting = Setting {
    name: "learning_rate",
    doc: "The learning rate to begin with, where nothing else says one.",
    kind: SettingKind::OptionalNumber,
    range: Range::POSITIVE,
    needs: None,
    shown_with: "{}",
};
const WEIGHT_DECAY: Setting = Setting {
    name: "weight_decay",
    doc: "Weight decay; 0 is none.",
    kind: SettingKind::Number,
    range: Range::NOT_NEGATIVE,
    needs: None,
    shown_with: "{}",
};
const WEIGHT_DECAY_KIND: Setting = Setting {
    name: "weight_decay_kind",
    doc: "What weight decay takes from a parameter.",
    kind: WeightDecayKind::KIND,
    range: Range::ANY,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1}"#,
};
const DECOUPLED: Setting = Setting {
    name: "decoupled_weight_decay",
    doc: "Whether weight decay stands beside the rule instead of in the gradient.",
    kind: SettingKind::Flag,
    range: Range::ANY,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1}"#,
};
const PEAK: Setting = Setting {
    name: "peak_learning_rate",
    doc: "The largest learning rate of the schedule, for corrected weight decay.",
    kind: SettingKind::OptionalNumber,
    range: Range::POSITIVE,
    needs: None,
    shown_with: r#"{"weight_decay": 0.1, "weight_decay_kind": "corrected"}"#,
};
const MAXIMIZE: Setting = Setting {
    name: "maximize",
    doc: "Whether to climb instead.",
    kind: SettingKind::Flag,
    range: Range::ANY,
    needs: None,
    shown_with: "{}",
};
const CAUTIOUS: Setting = Setting {
    name: "cautious",
    doc: "Whether elements stand still in which the direction disagrees with the gradient.",
    kind: SettingKind::Flag,
    range: Range::ANY,
    needs: None,
    shown_with: "{}",
};
const GRAD_CLIPPING: Setting = Setting {
    name: "grad_clipping",
    doc: "Clipping of each parameter's gradient, by Burn.",
    kind: SettingKind::Object,
    range: Range::POSITIVE,
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
            learning_rate: None,
            weight_decay: decay.map_or(0.0, |decay| decay.default),
            weight_decay_kind: Self::default_kind(),
            peak_learning_rate: None,
            maximize: false,
            cautious: false,
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
        let program = Self::new().try_program();
        let of_matrix = |program: &Program| program.0.sight(&[2, 2]);
        let (scope, passes) = program.as_ref().map_or((Scope::Element, 1), of_matrix);
        OptimizerInfo {
            scope,
            passes,
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
        if Self::can_be_cautious() {
            settings.push(&CAUTIOUS);
        }
        settings.extend([&GRAD_CLIPPING, &LEARNING_RATE]);
        settings
    }

    /// Whether it treats every element alone.
    fn can_be_cautious() -> bool {
        Self::new().with_cautious(true).try_program().is_ok()
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

    /// Sets [`learning_rate`](Self::learning_rate).
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = Some(learning_rate);
        self
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

    /// Sets [`cautious`](Self::cautious).
    #[must_use]
    pub fn with_cautious(mut self, cautious: bool) -> Self {
        self.cautious = cautious;
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
        check_range(Self::NAME, &LEARNING_RATE, self.learning_rate)?;
        let inner = self.rule.inner().map(|inner| inner.any().to_map());
        if inner.is_some_and(|inner| inner.contains_key(LEARNING_RATE.name)) {
            return Err(Self::conflict(
                "the optimizer in it has a `learning_rate`, which belongs to the whole",
            ));
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
            cautious: self.cautious,
        })
    }

    /// The optimizer in f64 on plain numbers, for a parameter of this shape.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_trajectory(&self, shape: &[usize]) -> Result<Trajectory, ConfigError> {
        Ok(Trajectory::new(self.try_program()?, shape))
    }

    /// All settings as JSON, with the learning rate if there is one.
    pub(crate) fn to_map(&self) -> Map<String, Value> {
        let mut map = self.steps();
        if let Some(rate) = self.learning_rate {
            map.insert(LEARNING_RATE.name.to_string(), to_json(&rate));
        }
        map
    }

    /// The settings that a step depends on, as JSON. A kind of decay that is the optimizer's own is left out, so that
    /// configurations of before there was a choice are what they were.
    pub(crate) fn steps(&self) -> Map<String, Value> {
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
        if self.cautious {
            put(&CAUTIOUS, to_json(&true));
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
        for (key, value) in names::of_settings(Self::NAME, &settings, map)? {
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
                "cautious" => from_value(value).map(|x| config.cautious = x),
                "learning_rate" => from_value(value).map(|x| config.learning_rate = x),
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
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            weight_decay_kind: self.weight_decay_kind,
            peak_learning_rate: self.peak_learning_rate,
            maximize: self.maximize,
            cautious: self.cautious,
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
