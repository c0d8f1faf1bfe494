//! Configurations as optimizers of Burn.

use burn::grad_clipping::{GradientClipping, GradientClippingConfig};
use burn::module::{Module, ParamGroup};
use burn::optim::ModuleOptimizer;
use serde_json::Value;

use super::drive::{OfLayer, layers};
use super::{Identity, RuleOptimizer};
use crate::MatrixLayout;
use crate::config::Config;
use crate::declare::Preset;
use crate::registry::OptimizerConfig;
use crate::settings::ConfigError;

impl<P: Preset> Config<P::Rule, P> {
    /// The bare optimizer, for
    /// [`ModuleOptimizer::with_group`](burn::optim::ModuleOptimizer::with_group).
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range; `grad_clipping` is one too, as a bare optimizer
    /// does not clip.
    pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
        OptimizerConfig::from(self.clone()).try_build()
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
        OptimizerConfig::from(self.clone()).try_init()
    }

    /// The optimizer of this model: see [`OptimizerConfig::try_init_for`].
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init_for<M: Module>(&self, model: &M) -> Result<ModuleOptimizer, ConfigError> {
        OptimizerConfig::from(self.clone()).try_init_for(model)
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
}

impl OptimizerConfig {
    /// The optimizer, whatever it is to be used for.
    fn optimizer(&self) -> Result<RuleOptimizer, ConfigError> {
        let program = self.any().try_program()?;
        // A rate to begin with is none of the training's.
        let settings = Value::Object(self.any().steps());
        let identity = Identity::new(self.name(), settings.to_string());
        let within = core::iter::successors(Some(self), |config| config.inner());
        let known = within.flat_map(Self::settings).collect();
        let optimizer = RuleOptimizer::of(program).with_settings(known);
        Ok(optimizer.with_identity(identity))
    }

    /// The bare optimizer.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range; `grad_clipping` is one too, as a bare optimizer
    /// does not clip.
    pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
        if self.any().grad_clipping().is_some() {
            return Err(ConfigError::Conflict {
                optimizer: self.name(),
                reason: "a bare optimizer has no `grad_clipping`: that is of a whole module's, which `init` \
                         makes"
                    .to_string(),
            });
        }
        self.optimizer()
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
        let optimizer = self.optimizer()?;
        let by_name = optimizer.by_name();
        let clipping = self.clipping();
        let mut optim = ModuleOptimizer::from(optimizer);
        if let Some(clipping) = &clipping {
            optim = optim.with_grad_clipping(clipping.clone());
        }
        if let Some((regexes, optimizer)) = by_name
            && let Some(group) = named(regexes)
        {
            optim = optim.with_group(group, optimizer, clipping);
        }
        Ok(optim)
    }

    /// The optimizer of this model. One of [matrices](crate::Muon) knows Burn's layers then: it leaves embeddings to its
    /// fallback whatever they are called, and transposed convolutions have their layout. All others are as of
    /// [`try_init`](Self::try_init).
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init_for<M: Module>(&self, model: &M) -> Result<ModuleOptimizer, ConfigError> {
        let layers = layers(model);
        let mut optim = self.try_init()?;
        for (paths, optimizer) in self.apart(&layers)? {
            optim = optim.with_group(ParamGroup::from_paths(paths), optimizer, self.clipping());
        }
        Ok(optim)
    }

    /// The optimizer with this one for some parameters, as [`try_init_for`](Self::try_init_for) would make it for a
    /// model of these layers.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_add_to(
        &self,
        optim: ModuleOptimizer,
        paths: &[String],
        layers: &[OfLayer],
    ) -> Result<ModuleOptimizer, ConfigError> {
        let group = ParamGroup::from_paths(paths.to_vec());
        let mut optim = optim.with_group(group, self.optimizer()?, self.clipping());
        for (mut apart, optimizer) in self.apart(layers)? {
            apart.retain(|path| paths.contains(path));
            if !apart.is_empty() {
                optim = optim.with_group(ParamGroup::from_paths(apart), optimizer, self.clipping());
            }
        }
        Ok(optim)
    }

    fn clipping(&self) -> Option<GradientClipping> {
        self.any().grad_clipping().map(GradientClippingConfig::init)
    }

    /// The optimizers of parameters that are not what their shape says, of which the later ones decide.
    fn apart(&self, layers: &[OfLayer]) -> Result<Vec<(Vec<String>, RuleOptimizer)>, ConfigError> {
        let Some((regexes, fallback)) = self.optimizer()?.by_name() else {
            return Ok(Vec::new());
        };
        let of = |is: &dyn Fn(&OfLayer) -> bool| -> Vec<String> {
            let found = layers.iter().filter(|found| is(found));
            found.map(|found| found.path.clone()).collect()
        };
        let mut all = Vec::new();
        let mut settings = self.to_map();
        let auto = serde_json::to_value(MatrixLayout::Auto).ok();
        if settings.get("layout") == auto.as_ref() {
            let layout = serde_json::to_value(MatrixLayout::InOut).unwrap_or_default();
            settings.insert("layout".to_string(), layout);
            let turned = Self::from_value(Value::Object(settings))?.optimizer()?;
            let transposed = of(&|found| found.layer.starts_with("ConvTranspose"));
            all.push((transposed, turned));
        }
        let named = named(regexes);
        let left = of(&|found| {
            let is_named = |group: &ParamGroup| group.matches(&found.id, Some(&found.path));
            found.layer == "Embedding" || named.as_ref().is_some_and(is_named)
        });
        all.push((left, fallback));
        all.retain(|(paths, _)| !paths.is_empty());
        Ok(all)
    }
}

/// The parameters whose paths one of the expressions matches, if there are any.
fn named(regexes: Vec<String>) -> Option<ParamGroup> {
    (!regexes.is_empty())
        .then(|| ParamGroup::from_any_regexes(regexes).expect("what is no letter was escaped"))
}
