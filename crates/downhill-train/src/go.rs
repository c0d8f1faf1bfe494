//! An update that is ready: what the optimizers are told, and how it is made.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use downhill_optim::drive::{
    Directive, Directives, Driven, Failures, ModelState, ToldOfModel, directed, looking,
};

use crate::gradients;

/// An update that is ready to be made.
pub(crate) struct Go<M> {
    /// Of the parameters whose optimizers are told something, and what.
    pub told: (GradientsParams, Directives),
    /// Counts what those optimizers cannot compute.
    pub failures: Failures,
    /// Of the others, which are stepped by themselves: whatever their optimizers wait for, nothing is in force
    /// meanwhile that could reach a step of somebody else on this thread.
    pub others: GradientsParams,
    /// What optimizers that look at the whole model do before, if there are some.
    pub look: Option<Look>,
    /// The model before, where its way is measured.
    pub before: Option<Box<M>>,
}

/// A look at the whole model.
pub(crate) struct Look {
    /// The same gradients once more.
    pub grads: GradientsParams,
    /// What is kept of the model, and what is driven of the optimizer that keeps it.
    pub states: Vec<(ModelState, Driven)>,
    pub learning_rate: f64,
    pub loss: Option<f64>,
}

/// What an update leaves behind.
pub(crate) struct Made<M> {
    /// The model before, where its way is measured.
    pub before: Option<Box<M>>,
    /// What is kept of the model from now on.
    pub of_model: Vec<ModelState>,
    /// How much could not be computed.
    pub failures: u64,
}

impl<M: Module> Go<M> {
    /// Sets the gradients apart whose parameters are marked.
    pub fn apart(mut self, model: &M, others: &[bool]) -> Self {
        if others.contains(&true) {
            self.others = gradients::split_off(model, &mut self.told.0, others);
        }
        self
    }

    /// Without the gradients of the parameters that are not marked; and which had one, marked or not.
    pub fn only(mut self, model: &M, marked: &[bool]) -> (Self, Vec<bool>) {
        let others: Vec<bool> = marked.iter().map(|marked| !marked).collect();
        let told = gradients::present(model, &self.told.0);
        let beside = gradients::present(model, &self.others);
        if let Directives::Each(each) = self.told.1 {
            let places = (0..told.len()).filter(|at| told[*at]);
            let kept = each.into_iter().zip(places).filter(|(_, at)| marked[*at]);
            self.told.1 = Directives::Each(kept.map(|(directive, _)| directive).collect());
        }
        gradients::split_off(model, &mut self.told.0, &others);
        gradients::split_off(model, &mut self.others, &others);
        let moved = told.iter().zip(&beside);
        (self, moved.map(|(told, beside)| *told || *beside).collect())
    }

    /// With a look before.
    pub fn after(mut self, model: &M, look: impl FnOnce(GradientsParams) -> Look) -> Self {
        self.look = Some(look(gradients::copied(model, &self.told.0)));
        self
    }

    /// Makes the update of `what`, in one call of `step` or several; returns that, and what is left.
    pub fn make<T>(
        self,
        mut what: T,
        mut step: impl FnMut(T, GradientsParams) -> T,
    ) -> (T, Made<M>) {
        let (grads, mut directives) = self.told;
        let mut of_model = Vec::new();
        if let Some(look) = self.look {
            let kept = look.states.iter().map(|(state, _)| state.told()).collect();
            let ahead = with_model(directives.clone(), kept);
            let seen;
            (what, seen) = looking(ahead, || step(what, look.grads));
            let settled = look
                .states
                .iter()
                .map(|(state, driven)| state.settled(look.learning_rate, look.loss, driven, &seen));
            let told: Vec<ToldOfModel>;
            (told, of_model) = settled.unzip();
            directives = with_model(directives, told);
        }
        if !grads.is_empty() {
            what = directed(directives, || step(what, grads));
        }
        if !self.others.is_empty() {
            what = step(what, self.others);
        }
        let made = Made {
            before: self.before,
            of_model,
            failures: self.failures.count(),
        };
        (what, made)
    }
}

fn with_model(directives: Directives, told: Vec<ToldOfModel>) -> Directives {
    let of_model: Arc<[_]> = told.into();
    let with = |directive| Directive {
        of_model: of_model.clone(),
        ..directive
    };
    match directives {
        Directives::All(directive) => Directives::All(with(directive)),
        Directives::Each(each) => Directives::Each(each.into_iter().map(with).collect()),
    }
}
