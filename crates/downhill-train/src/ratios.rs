use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;
use downhill_optim::drive::measure;

use crate::ParamPath;
use crate::bound::Bound;
use crate::report::{Norm, UpdateRatio};

/// How far each parameter has moved, as a share of its norm before.
pub(crate) fn ratios<M: Module>(bound: &[Bound], before: &M, after: &M) -> Vec<UpdateRatio> {
    #[derive(Default)]
    struct Values(TensorContainer<ParamId>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().without_autodiff());
        }
    }
    struct Compare<'a> {
        before: Values,
        bound: &'a [Bound],
        next: usize,
        pairs: Vec<(ParamPath, Norm, Norm)>,
    }
    impl ModuleVisitor for Compare<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let info = self.bound[self.next].info();
            self.next += 1;
            let before = self.before.0.remove::<Tensor<D>>(&param.id);
            let compared = info.trainable && !info.shape.contains(&0);
            let Some(before) = before.filter(|_| compared) else {
                return;
            };
            let moved = param.val().without_autodiff() - before.clone();
            let norm = |tensor: Tensor<D>| Norm::of([&measure(tensor)], 1.0);
            self.pairs
                .push((info.path.clone(), norm(moved), norm(before)));
        }
    }
    let mut values = Values::default();
    before.visit(&mut values);
    let mut compare = Compare {
        before: values,
        bound,
        next: 0,
        pairs: Vec::new(),
    };
    after.visit(&mut compare);
    let pairs = compare.pairs.into_iter();
    pairs
        .map(|(path, moved, before)| {
            let (moved, before) = (moved.value(), before.value());
            let ratio = if moved == 0.0 { 0.0 } else { moved / before };
            UpdateRatio { path, ratio }
        })
        .collect()
}
