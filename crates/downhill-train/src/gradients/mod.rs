//! What is done to gradients before a step: they are checked, measured, added up and changed.

mod change;
mod inspect;
#[cfg(all(test, feature = "flex"))]
mod tests;
mod window;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use downhill_optim::drive::Place;

use crate::bound::Bound;
use crate::params::with_rank;

pub(crate) use change::{Change, change, in_single, is_normal};
pub(crate) use inspect::{Seen, inspect, non_finite, norm, on_device, read};
pub(crate) use window::Window;

/// Moves the gradients of the marked parameters out.
pub(crate) fn split_off<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    marked: &[bool],
) -> GradientsParams {
    struct Split<'a> {
        from: &'a mut GradientsParams,
        to: GradientsParams,
        marked: &'a [bool],
        next: usize,
    }
    impl ModuleVisitor for Split<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let at = self.next;
            self.next += 1;
            if self.marked[at]
                && let Some(grad) = self.from.remove::<D>(param.id)
            {
                self.to.register(param.id, grad);
            }
        }
    }
    let mut split = Split {
        from: grads,
        to: GradientsParams::new(),
        marked,
        next: 0,
    };
    model.visit(&mut split);
    split.to
}

/// Which parameters have a gradient.
pub(crate) fn present<M: Module>(model: &M, grads: &GradientsParams) -> Vec<bool> {
    struct Present<'a> {
        grads: &'a GradientsParams,
        present: Vec<bool>,
    }
    impl ModuleVisitor for Present<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.present.push(self.grads.get::<D>(param.id).is_some());
        }
    }
    let mut present = Present {
        grads,
        present: Vec::new(),
    };
    model.visit(&mut present);
    present.present
}

/// Goes over to the same parameters under other ids.
pub(crate) fn move_to(grads: &mut GradientsParams, bound: &[Bound], to: &[ParamId]) {
    // Ids may have changed places.
    let mut from = core::mem::take(grads);
    for (bound, to) in bound.iter().zip(to) {
        let rank = bound.info().shape.len();
        with_rank!(rank, D => {
            if let Some(grad) = from.remove::<D>(bound.id()) {
                grads.register(*to, grad);
            }
        });
    }
}

/// Where each parameter is, as an optimizer will find it.
pub(crate) fn places<M: Module>(model: &M, grads: &GradientsParams) -> Vec<Option<Place>> {
    struct Places<'a> {
        grads: &'a GradientsParams,
        places: Vec<Option<Place>>,
    }
    impl ModuleVisitor for Places<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // One that has to go over to its gradient's device does not stay where it is.
            let device = param.lazy_device();
            let grad = self.grads.get::<D>(param.id);
            let stays = grad.is_some_and(|grad| grad.device() == device);
            self.places
                .push(stays.then(|| Place::of(param.val())).flatten());
        }
    }
    let mut places = Places {
        grads,
        places: Vec::new(),
    };
    model.visit(&mut places);
    places.places
}

/// The same gradients, sharing their memory.
pub(crate) fn copied<M: Module>(model: &M, grads: &GradientsParams) -> GradientsParams {
    struct Copy<'a> {
        from: &'a GradientsParams,
        to: GradientsParams,
    }
    impl ModuleVisitor for Copy<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.from.get::<D>(param.id) {
                self.to.register(param.id, grad);
            }
        }
    }
    let mut copy = Copy {
        from: grads,
        to: GradientsParams::new(),
    };
    model.visit(&mut copy);
    copy.to
}
