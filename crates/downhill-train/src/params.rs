//! The parameters of a module: their paths, and what can be wrong with them.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, GradientCheckpointingStrategy, Int, Tensor};
use downhill_optim::drive::memory_order;

use crate::ParamPath;

/// The methods of a visitor or mapper that keep the way to a parameter in `path`.
macro_rules! keep_path {
    () => {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    };
}
pub(crate) use keep_path;

/// Runs a block with a rank that is known only now. Burn has no more than 8.
macro_rules! with_rank {
    ($rank:expr, $d:ident => $body:block) => {
        $crate::params::with_rank!(@ $rank, $d, $body; 1, 2, 3, 4, 5, 6, 7; 8)
    };
    (@ $rank:expr, $d:ident, $body:block; $($known:literal),*; $last:literal) => {
        match $rank {
            $($known => {
                const $d: usize = $known;
                $body
            })*
            _ => {
                const $d: usize = $last;
                $body
            }
        }
    };
}
pub(crate) use with_rank;

/// A parameter, as groups choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamInfo {
    /// The path in the module, as in `encoder.linear.weight`; of a tied parameter the first one.
    pub path: ParamPath,
    /// The other paths of a tied parameter: one that is in several places of the module.
    pub aliases: Vec<ParamPath>,
    /// The shape.
    pub shape: Vec<usize>,
    /// The precision.
    pub dtype: DType,
    /// Whether it takes part in the training: it required gradients when it was looked at. Running
    /// statistics do not.
    pub trainable: bool,
}

impl ParamInfo {
    /// All paths, of which most parameters have one.
    pub fn paths(&self) -> impl Iterator<Item = &ParamPath> {
        core::iter::once(&self.path).chain(&self.aliases)
    }
}

/// A float tensor of a module, in the order of the visit.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub id: ParamId,
    pub info: ParamInfo,
}

/// The float tensors of a module, in the order in which it is visited.
pub(crate) fn floats<M: Module>(module: &M) -> Vec<Found> {
    let mut walk = Walk::default();
    module.visit(&mut walk);
    walk.found
}

#[derive(Default)]
struct Walk {
    path: Vec<String>,
    found: Vec<Found>,
}

impl ModuleVisitor for Walk {
    keep_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let info = ParamInfo {
            path: self.path.join(".").into(),
            aliases: Vec::new(),
            // Not the lazy one: a parameter may turn its value when it is initialised, as Burn's column-major
            // linear layer does.
            shape: param.shape().as_slice().to_vec(),
            dtype: param.dtype(),
            trainable: param.is_require_grad(),
        };
        self.found.push(Found { id: param.id, info });
    }
}

/// The devices of the float tensors, in the same order.
pub(crate) fn devices<M: Module>(module: &M) -> Vec<Device> {
    #[derive(Default)]
    struct Devices(Vec<Device>);
    impl ModuleVisitor for Devices {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.lazy_device());
        }
    }
    let mut devices = Devices::default();
    module.visit(&mut devices);
    devices.0
}

/// What a tensor is to autodiff, for another one that takes its place.
pub(crate) struct AutodiffState {
    on: bool,
    require_grad: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl AutodiffState {
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self {
            on: tensor.is_autodiff(),
            require_grad: tensor.is_require_grad(),
            checkpointing: tensor.gradient_checkpointing_strategy(),
        }
    }

    /// The tensor, which comes without autodiff, in this state.
    pub fn put_on<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        if !self.on {
            return tensor;
        }
        let tensor = Tensor::from_inner(tensor);
        let tensor = match self.checkpointing {
            Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
            None => tensor,
        };
        match self.require_grad {
            true => tensor.require_grad(),
            false => tensor,
        }
    }
}

/// The tensor with its elements in another order in memory, where that can be chosen.
pub(crate) fn laid_out<const D: usize, K: Basic>(
    tensor: Tensor<D, K>,
    order: &[usize],
) -> Tensor<D, K> {
    let Ok(axes) = <[usize; D]>::try_from(order) else {
        return tensor;
    };
    let outermost_first = tensor.permute(axes.map(|axis| axis as isize));
    let shape = outermost_first.shape();
    let count = shape.num_elements();
    // A view that does not lie in the order of its dimensions is copied when it becomes a vector.
    let dense = outermost_first.reshape([count]).reshape(shape);
    let mut back = [0; D];
    for (at, axis) in axes.into_iter().enumerate() {
        back[axis] = at as isize;
    }
    dense.permute(back)
}

/// The ids in the order in which a mapper meets them.
pub(crate) fn map_order<M: Module>(module: &M) -> Vec<ParamId> {
    #[derive(Default)]
    struct Ids(Vec<ParamId>);

    impl ModuleMapper for Ids {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0.push(param.id);
            param
        }
    }

    let mut ids = Ids::default();
    let _ = module.clone().map(&mut ids);
    ids.0
}

/// What makes a module one that cannot be trained parameter by parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// One parameter in two places, of a model that is trained by burn-train.
    #[error(
        "`{first}` and `{second}` are one parameter, which burn-train would update in one of the two places; \
         keep it in one place and use it twice"
    )]
    Tied {
        /// Where it is.
        first: ParamPath,
        /// And where else.
        second: ParamPath,
    },
    /// One parameter in two places, as two tensors.
    #[error(
        "`{first}` and `{second}` are one parameter but two tensors, as after loading a record, and only one of \
         their gradients would count; `tie` makes them one"
    )]
    Parted {
        /// Where it is.
        first: ParamPath,
        /// And where else.
        second: ParamPath,
    },
    /// Two parameters that a path does not tell apart.
    #[error("two parameters have the path `{path}`, by which groups and checkpoints find them")]
    SamePath {
        /// The path.
        path: ParamPath,
    },
    /// A module that visits and maps its parameters in different orders.
    #[error("the module maps its parameters in another order than it visits them")]
    Order,
    /// Nothing to train.
    #[error(
        "the module has no parameter that requires gradients; is it on an autodiff device \
         (`device.autodiff()`)?"
    )]
    Untrainable,
}

/// Looks for what would go wrong later.
pub(crate) fn check<M: Module>(module: &M, found: &[Found]) -> Result<(), ModuleError> {
    let mut paths: HashSet<&str> = HashSet::new();
    for Found { info, .. } in found {
        if !paths.insert(&info.path) {
            let path = info.path.clone();
            return Err(ModuleError::SamePath { path });
        }
    }
    let visited: Vec<ParamId> = found.iter().map(|found| found.id).collect();
    if map_order(module) != visited {
        return Err(ModuleError::Order);
    }
    if !found.iter().any(|found| found.info.trainable) {
        return Err(ModuleError::Untrainable);
    }
    Ok(())
}

/// A tensor of a module, as it is saved.
pub(crate) struct Saved {
    pub path: ParamPath,
    pub shape: Vec<usize>,
    pub dtype: DType,
    /// See [`memory_order`]; of floats alone, which matrices are made of.
    pub memory_order: Option<Vec<usize>>,
}

/// Every tensor of a module, in the order of the visit.
pub(crate) fn tensors<M: Module>(module: &M) -> Vec<Saved> {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        tensors: Vec<Saved>,
    }

    impl All {
        fn push(&mut self, shape: &[usize], dtype: DType) {
            self.tensors.push(Saved {
                path: self.path.join(".").into(),
                shape: shape.to_vec(),
                dtype,
                memory_order: None,
            });
        }
    }

    impl ModuleVisitor for All {
        keep_path!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let saved = param.transform_for_save();
            self.push(saved.shape().as_slice(), saved.dtype());
            if let Some(last) = self.tensors.last_mut() {
                last.memory_order = memory_order(saved.val());
            }
        }

        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            let saved = param.transform_for_save();
            self.push(saved.shape().as_slice(), saved.dtype());
        }

        fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
            let saved = param.transform_for_save();
            self.push(saved.shape().as_slice(), saved.dtype());
        }
    }

    let mut all = All::default();
    module.visit(&mut all);
    all.tensors
}
