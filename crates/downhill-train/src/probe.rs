//! Asks the optimizer of each parameter what it is, before anything is stepped.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::tensor::{Device, Tensor};
use downhill_optim::drive::{Place, Probed, probe};

use crate::bound::Bound;
use crate::checkpoint::States;
use crate::params::{self, ParamInfo, keep_path, with_rank};
use crate::{BindError, ParamPath};

/// One parameter at its path, as a module: what an optimizer sees of a model.
#[derive(Clone, Debug)]
struct Alone<const D: usize> {
    path: Vec<String>,
    param: Param<Tensor<D>>,
}

impl<const D: usize> Alone<D> {
    fn with(self, change: impl FnOnce(Param<Tensor<D>>) -> Param<Tensor<D>>) -> Self {
        Self {
            path: self.path,
            param: change(self.param),
        }
    }
}

impl<const D: usize> Module for Alone<D> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.param.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|param| param.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|param| param.to_device(device))
    }

    fn train(self) -> Self {
        self.with(Module::train)
    }

    fn valid(&self) -> Self {
        self.clone().with(|param| param.valid())
    }

    fn materialize(self) -> Self {
        self.with(Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for name in &self.path {
            visitor.enter_module(name, "");
        }
        self.param.visit(visitor);
        for name in self.path.iter().rev() {
            visitor.exit_module(name, "");
        }
    }

    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        for name in &self.path {
            mapper.enter_module(name, "");
        }
        self.param = Module::map(self.param, mapper);
        for name in self.path.iter().rev() {
            mapper.exit_module(name, "");
        }
        self
    }
}

/// An optimizer that refuses a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub path: ParamPath,
    pub reason: String,
}

impl From<Refusal> for BindError {
    fn from(Refusal { path, reason }: Refusal) -> Self {
        Self::Refused { path, reason }
    }
}

/// What the optimizer says of each trainable float parameter, in the order of the visit; none where it is
/// not of this library.
pub(crate) fn all<M: Module>(
    module: &M,
    optim: &ModuleOptimizer,
) -> Result<Vec<Option<Probed>>, Refusal> {
    let mut visitor = Probe {
        path: Vec::new(),
        // With its states, to see whether they fit; others would step on them.
        loaded: optim.clone(),
        blank: optim.clone().load_record(OptimizerRecord::default()),
        probed: Vec::new(),
        refusal: None,
    };
    module.visit(&mut visitor);
    match visitor.refusal {
        Some(refusal) => Err(refusal),
        None => Ok(visitor.probed),
    }
}

struct Probe {
    path: Vec<String>,
    loaded: ModuleOptimizer,
    blank: ModuleOptimizer,
    probed: Vec<Option<Probed>>,
    refusal: Option<Refusal>,
}

/// Steps one parameter, and returns it with what the optimizer said, if it is of this library.
fn ask<const D: usize>(
    optim: &mut ModuleOptimizer,
    path: &[String],
    param: Param<Tensor<D>>,
    grad: Tensor<D>,
    rate: f64,
) -> Result<(Option<Probed>, Param<Tensor<D>>), String> {
    let mut grads = GradientsParams::new();
    grads.register(param.id, grad);
    let path = path.to_vec();
    let place = Place::of(param.val());
    let step = AssertUnwindSafe(|| probe(place, || optim.step(rate, Alone { path, param }, grads)));
    match catch_unwind(step) {
        Ok((stepped, probed)) => {
            let mut probed = probed.into_iter();
            // One that makes several steps of this library's is a user's own: it is told nothing.
            let only = probed.next().filter(|_| probed.next().is_none());
            Ok((only, stepped.param))
        }
        Err(panic) => Err(match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => match panic.downcast::<&str>() {
                Ok(text) => text.to_string(),
                Err(_) => "it panics".to_string(),
            },
        }),
    }
}

/// Whether each parameter of a model is stepped by the optimizer that the driver found for it under another id.
pub(crate) fn check_by_path<M: Module>(
    module: &M,
    optim: &ModuleOptimizer,
    bound: &[Bound],
) -> Result<(), BindError> {
    let probed = all(module, optim)?;
    let devices = params::devices(module);
    let blank = optim.clone().load_record(OptimizerRecord::default());
    for (((probed, bound), found), device) in
        (probed.iter().zip(bound).zip(params::floats(module))).zip(devices)
    {
        if !bound.info().trainable || !found.info.trainable {
            continue;
        }
        let same = match (probed, &bound.optimizer) {
            (None, None) => {
                let one = |id| footprint(&blank, id, bound.info(), &device);
                one(bound.id()) == one(found.id)
            }
            (Some(probed), Some(own)) => probed.optimizer.is(own),
            _ => false,
        };
        if !same {
            let (path, what) = (bound.info().path.clone(), "optimizer");
            return Err(BindError::ChosenById { path, what });
        }
    }
    Ok(())
}

/// What an optimizer that cannot be asked makes of one element: where it ends, and the state that it keeps.
fn footprint(
    blank: &ModuleOptimizer,
    id: ParamId,
    info: &ParamInfo,
    device: &Device,
) -> Result<(Vec<u8>, States), String> {
    let mut optim = blank.clone();
    let path: Vec<String> = info.path.split('.').map(str::to_string).collect();
    with_rank!(info.shape.len(), D => {
        let one = Tensor::<D>::ones([1; D], (device, info.dtype)).require_grad();
        let grad = one.clone().without_autodiff();
        let param = Param::initialized(id, one);
        let (_, param) = ask(&mut optim, &path, param, grad, 0.1)?;
        let states = optim.into_bytes().and_then(|bytes| {
            States::from_record(burn_pack::Reader::from_bytes(bytes)?, |_| Some(String::new()))
        });
        let states = states.map_err(|error| error.to_string())?;
        Ok((param.val().into_data().as_bytes().to_vec(), states))
    })
}

/// Whether optimizers that cannot be asked take the states that they have, of the parameters at `paths`: each
/// is stepped once on a copy, without a gradient.
pub(crate) fn step_copies<M: Module>(
    module: &M,
    optim: &ModuleOptimizer,
    paths: &BTreeSet<&str>,
) -> Result<(), Refusal> {
    struct Steps<'a> {
        path: Vec<String>,
        optim: ModuleOptimizer,
        paths: &'a BTreeSet<&'a str>,
        refusal: Option<Refusal>,
    }
    impl ModuleVisitor for Steps<'_> {
        keep_path!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            if self.refusal.is_some() || !self.paths.contains(path.as_str()) {
                return;
            }
            let grad = param.val().without_autodiff().zeros_like();
            let shape = param.lazy_shape();
            let stepped = ask(&mut self.optim, &self.path, param.clone(), grad, 0.0);
            let reason = match stepped {
                Err(reason) => reason,
                Ok((_, stepped)) if stepped.lazy_shape() != shape => {
                    "it gives the parameter another shape".to_string()
                }
                Ok(_) => return,
            };
            let path = path.into();
            self.refusal = Some(Refusal { path, reason });
        }
    }
    let mut steps = Steps {
        path: Vec::new(),
        optim: optim.clone(),
        paths,
        refusal: None,
    };
    module.visit(&mut steps);
    steps.refusal.map_or(Ok(()), Err)
}

impl ModuleVisitor for Probe {
    keep_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.refusal.is_some() {
            return;
        }
        if !param.is_require_grad() {
            return self.probed.push(None);
        }
        // Others really step, so they get one of one element.
        let device = param.lazy_device();
        let one = Tensor::<D>::ones([1; D], (&device, param.dtype())).require_grad();
        let grad = one.clone().without_autodiff();
        let one = Param::initialized(param.id, one);
        let own = || param.val().without_autodiff();
        let probed = match ask(&mut self.blank, &self.path, one, grad, 0.0) {
            Ok((Some(_), _)) => ask(&mut self.loaded, &self.path, param.clone(), own(), 0.0),
            other => other,
        };
        match probed {
            Ok((probed, _)) => self.probed.push(probed),
            Err(reason) => {
                let path = self.path.join(".").into();
                self.refusal = Some(Refusal { path, reason });
            }
        }
    }
}
