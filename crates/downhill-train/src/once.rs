//! Tied parameters: one parameter in several places of a model.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::ParamPath;
use crate::params::{self, ModuleError};

/// Makes parameters of one id one again, where they have become several tensors of the same numbers: after
/// [`Module::fork`], [`Module::to_device`], or loading a record. The first place in the model counts.
///
/// A [`Driver`](crate::Driver) keeps tied parameters tied; this is for what happens to the model elsewhere.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use downhill_train::tie;
///
/// #[derive(Module, Debug)]
/// struct Twins {
///     left: Linear,
///     right: Linear,
/// }
///
/// let device = Device::flex().autodiff();
/// let left: Linear = LinearConfig::new(2, 2).init(&device);
/// // What is cloned is tied.
/// let model = Twins { right: left.clone(), left };
/// let model = tie(model.fork(&device));
/// # }
/// ```
#[must_use = "it returns the tied model"]
pub fn tie<M: Module>(model: M) -> M {
    Once::of(model).tied().model
}

/// A place that has what an earlier one has. Places are counted over the float tensors.
#[derive(Clone, Debug)]
struct Again {
    place: usize,
    first: usize,
    /// The paths of both.
    paths: [ParamPath; 2],
}

/// The tied parameters of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ties(Arc<[Again]>);

impl Ties {
    pub fn of<M: Module>(model: &M) -> Self {
        let mut seen: HashMap<ParamId, (usize, ParamPath)> = HashMap::new();
        let mut again = Vec::new();
        for (place, found) in params::floats(model).into_iter().enumerate() {
            let path = found.info.path;
            match seen.get(&found.id) {
                None => {
                    seen.insert(found.id, (place, path));
                }
                Some((first, first_path)) => again.push(Again {
                    place,
                    first: *first,
                    paths: [first_path.clone(), path],
                }),
            }
        }
        Self(again.into())
    }

    /// An error if there are any.
    #[cfg(feature = "learner")]
    pub fn none(&self) -> Result<(), ModuleError> {
        match self.0.first().map(|again| again.paths.clone()) {
            None => Ok(()),
            Some([first, second]) => Err(ModuleError::Tied { first, second }),
        }
    }

    /// The other paths of a parameter.
    pub fn aliases(&self, path: &ParamPath) -> Vec<ParamPath> {
        let of = self.0.iter().filter(|again| again.paths[0] == *path);
        of.map(|again| again.paths[1].clone()).collect()
    }
}

/// A model that shows what is in it several times in the first of its places only, and puts into the others what
/// becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Once<M> {
    pub model: M,
    pub ties: Ties,
}

impl<M: Module> Once<M> {
    pub fn new(model: M, ties: &Ties) -> Self {
        let ties = ties.clone();
        Self { model, ties }
    }

    /// A model of which it is not known what is tied.
    pub fn of(model: M) -> Self {
        let ties = Ties::of(&model);
        Self { model, ties }
    }

    /// With one tensor where there are several.
    pub fn tied(self) -> Self {
        struct Same;
        impl ModuleMapper for Same {}
        self.map(&mut Same)
    }

    /// Whether tied parameters are one tensor for autodiff, so that their gradients are added.
    pub fn check(&self) -> Result<(), ModuleError> {
        let mut check = Check {
            ties: &self.ties,
            place: 0,
            firsts: HashMap::new(),
            parted: None,
        };
        if !self.ties.0.is_empty() {
            self.model.visit(&mut check);
        }
        match check.parted {
            None => Ok(()),
            Some([first, second]) => Err(ModuleError::Parted { first, second }),
        }
    }
}

impl<M: Module> Module for Once<M> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self::new(self.model.fork(device), &self.ties).tied()
    }

    fn to_device(self, device: &Device) -> Self {
        Self::new(self.model.to_device(device), &self.ties).tied()
    }

    fn train(self) -> Self {
        Self::new(self.model.train(), &self.ties).tied()
    }

    fn valid(&self) -> Self {
        Self::new(self.model.valid(), &self.ties)
    }

    fn materialize(self) -> Self {
        Self::new(self.model.materialize(), &self.ties)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        if self.ties.0.is_empty() {
            return self.model.visit(visitor);
        }
        self.model.visit(&mut Visit {
            visitor,
            ties: &self.ties,
            place: 0,
        });
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        if self.ties.0.is_empty() {
            return Self::new(self.model.map(mapper), &self.ties);
        }
        let model = self.model.map(&mut Map {
            mapper,
            ties: &self.ties,
            place: 0,
            firsts: HashMap::new(),
        });
        Self::new(model, &self.ties)
    }
}

struct Visit<'a, V> {
    visitor: &'a mut V,
    ties: &'a Ties,
    place: usize,
}

impl<V: ModuleVisitor> ModuleVisitor for Visit<'_, V> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.visitor.enter_module(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.visitor.exit_module(name, kind);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = self.place;
        self.place += 1;
        if !self.ties.0.iter().any(|again| again.place == place) {
            self.visitor.visit_float(param);
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.visitor.visit_int(param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.visitor.visit_bool(param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.visitor.visit_flag(flag);
    }
}

struct Map<'a, V> {
    mapper: &'a mut V,
    ties: &'a Ties,
    place: usize,
    /// What has become of the parameters that come again, by their first places.
    firsts: HashMap<usize, Box<dyn Any>>,
}

impl<V: ModuleMapper> ModuleMapper for Map<'_, V> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.mapper.enter_module(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.mapper.exit_module(name, kind);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.place;
        self.place += 1;
        if let Some(again) = self.ties.0.iter().find(|again| again.place == place) {
            let first = self.firsts.get(&again.first);
            let first = first.and_then(|first| first.downcast_ref::<Param<Tensor<D>>>());
            return first.expect("one parameter has one rank").clone();
        }
        let mapped = self.mapper.map_float(param);
        if self.ties.0.iter().any(|again| again.first == place) {
            self.firsts.insert(place, Box::new(mapped.clone()));
        }
        mapped
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.mapper.map_int(param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.mapper.map_bool(param)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.mapper.map_flag(flag)
    }
}

struct Check<'a> {
    ties: &'a Ties,
    place: usize,
    firsts: HashMap<usize, Box<dyn Any>>,
    parted: Option<[ParamPath; 2]>,
}

impl ModuleVisitor for Check<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = self.place;
        self.place += 1;
        let requires_grad = param.is_require_grad();
        if requires_grad && self.ties.0.iter().any(|again| again.first == place) {
            self.firsts.insert(place, Box::new(param.val()));
        }
        let again = self.ties.0.iter().find(|again| again.place == place);
        let Some(again) = again.filter(|_| requires_grad) else {
            return;
        };
        let first = self.firsts.get(&again.first);
        let first = first.and_then(|first| first.downcast_ref::<Tensor<D>>());
        // Autodiff does not say whether two tensors are one; a gradient does.
        let is_one = first.is_some_and(|first| {
            let grads = first.clone().sum().backward();
            param.val().grad(&grads).is_some()
        });
        if !is_one && self.parted.is_none() {
            self.parted = Some(again.paths.clone());
        }
    }
}
