//! The model to evaluate, where that is not the one that is trained.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use downhill_optim::drive::evaluating;

use crate::bound::fitting;
use crate::once::Once;
use crate::{BindError, params, probe};

/// The model to evaluate, and to keep after a training, for one that an optimizer trains: with ASGD and the
/// Schedule-Free optimizers it has averages in the place of the parameters. Without autodiff, as
/// [`Module::valid`] returns it; neither model nor optimizer is changed.
///
/// Parameters whose optimizers are not of this library, or have no such view, are the model's own, and so are
/// all of them before the first step. A driver has the same as [`Driver::evaluated`](crate::Driver::evaluated).
///
/// # Errors
///
/// If an optimizer refuses a parameter, or its state does not fit one.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use downhill_optim::ScheduleFreeAdamWConfig;
/// use downhill_train::evaluated;
///
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(2, 1).init(&device);
/// let mut optim = ScheduleFreeAdamWConfig::new().init();
/// for _ in 0..3 {
///     let x = Tensor::<2>::random([8, 2], Distribution::Default, &device);
///     let loss = model.forward(x).square().mean();
///     let grads = GradientsParams::from_grads(loss.backward(), &model);
///     model = optim.step(1e-2, model, grads);
/// }
/// let average = evaluated(&optim, &model).unwrap();
/// assert_ne!(average.weight.to_data(), model.weight.to_data());
/// # }
/// ```
pub fn evaluated<M: Module>(optim: &ModuleOptimizer, model: &M) -> Result<M, BindError> {
    let model = &Once::of(model.clone());
    let probed = params::floats(model)
        .into_iter()
        .zip(probe::all(model, optim)?);
    let own = probed.map(|(found, probed)| {
        let optimizer = fitting(&found.info.path, probed)?;
        Ok(optimizer.is_some())
    });
    let own = own.collect::<Result<Vec<bool>, BindError>>()?;
    let step = |model, grads| optim.clone().step(0.0, model, grads);
    Ok(asked(model, &own, step).model)
}

/// The model to evaluate, which `step` answers with when it is asked about the parameters that are marked: those
/// of this library's optimizers.
pub(crate) fn asked<M: Module>(
    model: &M,
    own: &[bool],
    step: impl FnOnce(M, GradientsParams) -> M,
) -> M {
    struct Ask<'a> {
        own: &'a [bool],
        next: usize,
        grads: GradientsParams,
    }
    impl ModuleVisitor for Ask<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let own = self.own[self.next];
            self.next += 1;
            if own {
                // Burn steps what has a gradient, whichever.
                self.grads
                    .register(param.id, param.val().without_autodiff());
            }
        }
    }
    let mut ask = Ask {
        own,
        next: 0,
        grads: GradientsParams::new(),
    };
    model.visit(&mut ask);
    if ask.grads.is_empty() {
        return model.valid();
    }
    let (answer, _) = evaluating(None, || step(model.clone(), ask.grads));
    answer.valid()
}
