//! A model of any type, as a module.

use std::any::Any;
use std::fmt;

use burn::module::{Devices, Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Float, Int, Tensor};

/// A model of any type, as a module: what a list of problems trains with one optimizer, driver or loop.
///
/// It has its model's parameters under their own paths and ids. Tensors have at most 8 dimensions.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use downhill_problems::AnyModel;
///
/// let model = AnyModel::new(LinearConfig::new(3, 2).init(&Device::flex()));
/// assert_eq!(model.num_params(), 8);
/// let linear: &Linear = model.get().unwrap();
/// assert_eq!(linear.weight.dims(), [3, 2]);
/// ```
pub struct AnyModel(Box<dyn Erased>);

impl AnyModel {
    /// A model without its type.
    pub fn new<M: Module + 'static>(model: M) -> Self {
        Self(Box::new(model))
    }

    /// The model, if it is of this type.
    pub fn get<M: Module + 'static>(&self) -> Option<&M> {
        self.0.as_any().downcast_ref()
    }
}

impl Clone for AnyModel {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl fmt::Debug for AnyModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Module for AnyModel {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.forked(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.moved(device))
    }

    fn train(self) -> Self {
        Self(self.0.training())
    }

    fn valid(&self) -> Self {
        Self(self.0.validating())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialized())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visited(&mut Typed(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self(self.0.mapped(&mut Typed(mapper)))
    }
}

/// [`Module`] without what a trait object cannot have.
trait Erased: Send + fmt::Debug {
    fn as_any(&self) -> &dyn Any;
    fn copy(&self) -> Box<dyn Erased>;
    fn devices(&self, devices: Devices) -> Devices;
    fn forked(self: Box<Self>, device: &Device) -> Box<dyn Erased>;
    fn moved(self: Box<Self>, device: &Device) -> Box<dyn Erased>;
    fn training(self: Box<Self>) -> Box<dyn Erased>;
    fn validating(&self) -> Box<dyn Erased>;
    fn materialized(self: Box<Self>) -> Box<dyn Erased>;
    fn visited(&self, visitor: &mut dyn Visitor);
    fn mapped(self: Box<Self>, mapper: &mut dyn Mapper) -> Box<dyn Erased>;
}

impl<M: Module + 'static> Erased for M {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn copy(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn devices(&self, devices: Devices) -> Devices {
        self.collect_devices(devices)
    }

    fn forked(self: Box<Self>, device: &Device) -> Box<dyn Erased> {
        Box::new((*self).fork(device))
    }

    fn moved(self: Box<Self>, device: &Device) -> Box<dyn Erased> {
        Box::new((*self).to_device(device))
    }

    fn training(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).train())
    }

    fn validating(&self) -> Box<dyn Erased> {
        Box::new(self.valid())
    }

    fn materialized(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).materialize())
    }

    fn visited(&self, visitor: &mut dyn Visitor) {
        self.visit(&mut Untyped(visitor));
    }

    fn mapped(self: Box<Self>, mapper: &mut dyn Mapper) -> Box<dyn Erased> {
        Box::new((*self).map(&mut Untyped(mapper)))
    }
}

/// A [`ModuleVisitor`] that is told of parameters as of anything.
trait Visitor {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    fn param(&mut self, param: &dyn Any);
    fn flag(&mut self, flag: &Param<Flag>);
}

/// A [`ModuleMapper`] that is told of parameters as of anything.
trait Mapper {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    fn param(&mut self, param: Box<dyn Any>) -> Box<dyn Any>;
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag>;
}

/// What a model's own visit or map speaks to.
struct Untyped<'a, T: ?Sized>(&'a mut T);

/// What it is passed on to.
struct Typed<'a, T>(&'a mut T);

const TOO_MANY: &str = "a tensor of a problem's model has at most 8 dimensions";

impl ModuleVisitor for Untyped<'_, dyn Visitor + '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.param(param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.param(param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.0.param(param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.0.flag(flag);
    }
}

impl<V: ModuleVisitor> Visitor for Typed<'_, V> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn param(&mut self, param: &dyn Any) {
        macro_rules! visited {
            ($visit:ident, $kind:ty: $($d:literal)*) => {
                $(if let Some(param) = param.downcast_ref::<Param<Tensor<$d, $kind>>>() {
                    return self.0.$visit(param);
                })*
            };
        }
        visited!(visit_float, Float: 1 2 3 4 5 6 7 8);
        visited!(visit_int, Int: 1 2 3 4 5 6 7 8);
        visited!(visit_bool, Bool: 1 2 3 4 5 6 7 8);
        panic!("{TOO_MANY}");
    }

    fn flag(&mut self, flag: &Param<Flag>) {
        self.0.visit_flag(flag);
    }
}

impl Untyped<'_, dyn Mapper + '_> {
    /// What has become of a parameter, whose type is the same.
    fn param<P: 'static>(&mut self, param: P) -> P {
        let mapped = self.0.param(Box::new(param));
        *mapped.downcast().expect("a mapper keeps the type")
    }
}

impl ModuleMapper for Untyped<'_, dyn Mapper + '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.param(param)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.param(param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.param(param)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.flag(flag)
    }
}

impl<M: ModuleMapper> Mapper for Typed<'_, M> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn param(&mut self, param: Box<dyn Any>) -> Box<dyn Any> {
        macro_rules! mapped {
            ($map:ident, $kind:ty: $($d:literal)*) => {
                $(if param.is::<Param<Tensor<$d, $kind>>>() {
                    let param = param.downcast::<Param<Tensor<$d, $kind>>>();
                    return Box::new(self.0.$map(*param.expect("it is of this type")));
                })*
            };
        }
        mapped!(map_float, Float: 1 2 3 4 5 6 7 8);
        mapped!(map_int, Int: 1 2 3 4 5 6 7 8);
        mapped!(map_bool, Bool: 1 2 3 4 5 6 7 8);
        panic!("{TOO_MANY}");
    }

    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.map_flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;
    use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        linear: Linear,
        norm: LayerNorm,
        dropout: Dropout,
        counts: Param<Tensor<2, Int>>,
        mask: Param<Tensor<1, Bool>>,
    }

    fn net() -> Net {
        let device = Device::flex().autodiff();
        Net {
            linear: LinearConfig::new(3, 2).init(&device),
            norm: LayerNormConfig::new(2).init(&device),
            dropout: DropoutConfig::new(0.5).init(),
            counts: Param::initialized(ParamId::new(), Tensor::zeros([2, 2], &device)),
            mask: Param::initialized(ParamId::new(), Tensor::full([2], true, &device)),
        }
    }

    /// Everything that a visitor or a mapper is told, in words.
    #[derive(Default, Debug, PartialEq)]
    struct Told(Vec<String>);

    impl ModuleVisitor for Told {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.push(format!("into {name} {container}"));
        }
        fn exit_module(&mut self, name: &str, container: &str) {
            self.0.push(format!("out of {name} {container}"));
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0
                .push(format!("float {D} {:?} {}", param.id, param.val()));
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.0
                .push(format!("int {D} {:?} {}", param.id, param.val()));
        }
        fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
            self.0
                .push(format!("bool {D} {:?} {}", param.id, param.val()));
        }
        fn visit_flag(&mut self, flag: &Param<Flag>) {
            self.0.push(format!("flag {:?}", flag.id));
        }
    }

    fn told(model: &impl Module) -> Told {
        let mut told = Told::default();
        model.visit(&mut told);
        told
    }

    /// Something else for every parameter.
    struct Other;

    impl ModuleMapper for Other {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor + 1.0)
        }
        fn map_int<const D: usize>(
            &mut self,
            param: Param<Tensor<D, Int>>,
        ) -> Param<Tensor<D, Int>> {
            param.map(|tensor| tensor + 1)
        }
        fn map_bool<const D: usize>(
            &mut self,
            param: Param<Tensor<D, Bool>>,
        ) -> Param<Tensor<D, Bool>> {
            param.map(|tensor| tensor.bool_not())
        }
    }

    #[test]
    fn it_is_visited_and_mapped_as_the_model_is() {
        let net = net();
        let any = AnyModel::new(net.clone());
        let before = told(&net);
        assert!(before.0.len() > 8, "{before:?}");
        assert_eq!(told(&any), before);
        assert_eq!(told(&any.clone()), before);
        assert_eq!(any.num_params(), net.num_params());
        assert_eq!(Module::devices(&any), Module::devices(&net));

        let mapped = told(&net.clone().map(&mut Other));
        assert_ne!(mapped, before);
        assert_eq!(told(&any.map(&mut Other)), mapped);
    }

    #[test]
    fn it_goes_into_validation_and_back() {
        let any = AnyModel::new(net());
        let is_training = |any: &AnyModel| {
            let net: &Net = any.get().unwrap();
            net.linear.weight.val().is_require_grad()
        };
        assert!(is_training(&any));
        assert!(!is_training(&any.valid()));
        assert!(is_training(&any.valid().train()));
        assert!(any.get::<Linear>().is_none());
    }
}
