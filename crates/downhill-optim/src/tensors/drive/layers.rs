use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// A float parameter of a model, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfLayer {
    /// Its id.
    pub id: ParamId,
    /// The path of the parameter.
    pub path: String,
    /// The type of the layer that it is in, as in `Linear`.
    pub layer: String,
}

/// The float parameters of a model, in their order.
pub fn layers<M: Module>(model: &M) -> Vec<OfLayer> {
    #[derive(Default)]
    struct Walk {
        path: Vec<String>,
        kinds: Vec<String>,
        found: Vec<OfLayer>,
    }

    impl ModuleVisitor for Walk {
        fn enter_module(&mut self, name: &str, kind: &str) {
            self.path.push(name.to_string());
            self.kinds.push(kind.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
            self.kinds.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let kind = self.kinds.last().map_or("", String::as_str);
            self.found.push(OfLayer {
                id: param.id,
                path: self.path.join("."),
                layer: kind.trim_start_matches("Struct:").to_string(),
            });
        }
    }

    let mut walk = Walk::default();
    model.visit(&mut walk);
    walk.found
}
