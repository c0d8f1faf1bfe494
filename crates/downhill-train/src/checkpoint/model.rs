//! A module's tensors as data, and back.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId, Parameter};
use burn::optim::GradientsParams;
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use downhill_optim::drive::detached;

use crate::params::{AutodiffState, keep_path, laid_out};

/// The tensors of a module by their paths, as Burn saves them.
pub(crate) fn data<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    #[derive(Default)]
    struct Read {
        path: Vec<String>,
        data: BTreeMap<String, TensorData>,
    }
    impl Read {
        fn put(&mut self, data: TensorData) {
            self.data.insert(self.path.join("."), data);
        }
    }
    impl ModuleVisitor for Read {
        keep_path!();
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.put(detached(param.transform_for_save().val().into_data()));
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.put(detached(param.transform_for_save().val().into_data()));
        }
        fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
            self.put(detached(param.transform_for_save().val().into_data()));
        }
    }
    // Burn's running statistics take in their last update only when they are asked for: a validation
    // model asks.
    let _ = model.valid();
    let mut read = Read::default();
    model.visit(&mut read);
    read.data
}

/// A checksum of all tensors of a module.
pub(crate) fn checksum<M: Module>(model: &M) -> u32 {
    hashed(&data(model))
}

/// The same of gradients, or of what else there is one of for each parameter.
pub(crate) fn checksum_of<M: Module>(model: &M, grads: &GradientsParams) -> u32 {
    hashed(&gradients(model, grads))
}

fn hashed(data: &BTreeMap<String, TensorData>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    data.values()
        .for_each(|data| hasher.update(data.as_bytes()));
    hasher.finalize()
}

/// What a module's tensors become.
#[derive(Default)]
pub(crate) struct Parts {
    /// The tensors, as Burn saves them, by their paths.
    pub saved: BTreeMap<String, TensorData>,
    /// How they lie in memory, where that is not in the order of their dimensions.
    pub memory_orders: BTreeMap<String, Vec<usize>>,
    /// What float tensors are to have in the place of their saved values, as the module itself has them.
    pub values: BTreeMap<String, TensorData>,
}

/// The module with these tensors, in their own precision; what is not among them stays. Ids stay too.
pub(crate) fn load<M: Module>(model: M, parts: Parts) -> M {
    struct Write {
        path: Vec<String>,
        parts: Parts,
    }
    macro_rules! write {
        ($method:ident, $kind:ty) => {
            fn $method<const D: usize>(
                &mut self,
                param: Param<Tensor<D, $kind>>,
            ) -> Param<Tensor<D, $kind>> {
                let path = self.path.join(".");
                self.saved(&path, param)
            }
        };
    }
    impl Write {
        fn saved<const D: usize, K: Basic>(
            &mut self,
            path: &str,
            param: Param<Tensor<D, K>>,
        ) -> Param<Tensor<D, K>>
        where
            Tensor<D, K>: Parameter,
        {
            let Some(data) = self.parts.saved.remove(path) else {
                return param;
            };
            let (id, device, dtype) = (param.id, param.lazy_device(), data.dtype());
            let mut tensor = Tensor::from_data(data, (&device, dtype));
            if let Some(order) = self.parts.memory_orders.get(path) {
                tensor = laid_out(tensor, order);
            }
            param.transform_for_load(tensor, id)
        }
    }
    impl ModuleMapper for Write {
        keep_path!();
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join(".");
            let param = self.saved(&path, param);
            let Some(data) = self.parts.values.remove(&path) else {
                return param;
            };
            param.map(|own| {
                let (device, dtype) = (own.device().inner(), own.dtype());
                AutodiffState::of(&own).put_on(Tensor::from_data(data, (&device, dtype)))
            })
        }
        write!(map_int, Int);
        write!(map_bool, Bool);
    }
    // Statistics that have not been taken in yet would be put on top of the loaded ones.
    let _ = model.valid();
    model.map(&mut Write {
        path: Vec::new(),
        parts,
    })
}

/// Gradients as data, by the paths of their parameters.
pub(crate) fn gradients<M: Module>(
    model: &M,
    grads: &GradientsParams,
) -> BTreeMap<String, TensorData> {
    struct Read<'a> {
        path: Vec<String>,
        grads: &'a GradientsParams,
        data: BTreeMap<String, TensorData>,
    }
    impl ModuleVisitor for Read<'_> {
        keep_path!();
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                self.data
                    .insert(self.path.join("."), detached(grad.into_data()));
            }
        }
    }
    let mut read = Read {
        path: Vec::new(),
        grads,
        data: BTreeMap::new(),
    };
    model.visit(&mut read);
    read.data
}

/// Gradients from data.
pub(crate) fn to_gradients<M: Module>(
    model: &M,
    data: BTreeMap<String, TensorData>,
) -> GradientsParams {
    struct Write {
        path: Vec<String>,
        data: BTreeMap<String, TensorData>,
        grads: GradientsParams,
    }
    impl Write {
        fn put<const D: usize>(&mut self, id: ParamId, device: &burn::tensor::Device) {
            if let Some(data) = self.data.remove(&self.path.join(".")) {
                let dtype = data.dtype();
                let grad = Tensor::<D>::from_data(data, (device, dtype));
                self.grads.register(id, grad);
            }
        }
    }
    impl ModuleVisitor for Write {
        keep_path!();
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.put::<D>(param.id, &param.lazy_device().inner());
        }
    }
    let mut write = Write {
        path: Vec::new(),
        data,
        grads: GradientsParams::new(),
    };
    model.visit(&mut write);
    write.grads
}
