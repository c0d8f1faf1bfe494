//! How a driver is bound to a model.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use downhill_optim::drive::{ModelState, layers};
use downhill_optim::{Identity, RuleOptimizer};

use crate::average::{Averages, Averaging};
use crate::bound::Bound;
use crate::error::BindError;
use crate::gradients::Window;
use crate::groups::{self, Group};
use crate::mechanic::Tuned;
use crate::once::Once;
use crate::params::{self, ParamInfo};
use crate::probe;
use crate::ranks::{Local, Ranks, Shares};
use crate::sam::Looked;
use crate::scaling::Scaler;
use crate::settings::Settings;
use crate::update::{Core, Counters};

impl Core {
    pub fn bind<M: Module>(
        mut optim: ModuleOptimizer,
        settings: Settings,
        groups: &[Group],
        averaging: Option<Averaging>,
        identity: Option<Identity>,
        ranks: Option<Ranks>,
        model: &Once<M>,
    ) -> Result<(ModuleOptimizer, Self), BindError> {
        settings.check()?;
        settings.check_ranks(ranks.is_some())?;
        if let Some(averaging) = &averaging {
            averaging.check()?;
        }
        let mut found = params::floats(model);
        params::check(model, &found)?;
        model.check()?;
        for params::Found { info, .. } in &mut found {
            info.aliases = model.ties.aliases(&info.path);
        }
        let trainable: Vec<&ParamInfo> = (found.iter().map(|found| &found.info))
            .filter(|info| info.trainable)
            .collect();
        let resolved = groups::resolve(groups, &trainable)?;
        let layers = layers(model);
        for (index, group) in groups.iter().enumerate() {
            if let Some(with_group) = &group.optimizer {
                let members = trainable.iter().zip(&resolved);
                let members = members.filter(|(_, of_param)| of_param.contains(&index));
                let paths: Vec<String> = members.map(|(info, _)| info.path.to_string()).collect();
                optim = with_group(optim, &paths, &layers);
            }
        }
        let probed = probe::all(model, &optim)?;
        let mut resolved = resolved.into_iter();
        let bound = found.into_iter().zip(probed).map(|(found, probed)| {
            let own = match found.info.trainable {
                true => resolved.next().unwrap_or_default(),
                false => Vec::new(),
            };
            let own: Vec<&Group> = own.into_iter().map(|index| &groups[index]).collect();
            Bound::new(found, &own, probed, &settings.driven, identity.as_ref())
        });
        let bound: Vec<Bound> = bound.collect::<Result<_, _>>()?;
        let others = bound
            .iter()
            .map(|bound| bound.info().trainable && !bound.is_own());
        // Not if Burn clips in between. And a pass over memory takes gradients of the parameter's precision
        // only, which a factor beforehand brings a sum back to.
        let folds = bound.iter().map(|bound| {
            let joined = ranks.is_some() && settings.local_updates.is_none();
            let summed = settings.accumulation.is_some() || joined;
            let sums_in_single = summed && bound.is_half();
            // Mechanic looks at the gradients as they are stepped with.
            let looked_at = settings.mechanic.is_some();
            !optim.has_gradient_clipping() && bound.is_own() && !sums_in_single && !looked_at
        });
        let folds: Vec<bool> = folds.collect();
        let mut all = bound.iter().zip(&folds);
        let mut of_model: Vec<ModelState> = Vec::new();
        for optimizer in bound.iter().filter_map(|bound| bound.optimizer.as_ref()) {
            if !of_model.iter().any(|state| state.optimizer().is(optimizer)) {
                of_model.extend(ModelState::new(optimizer));
            }
        }
        let mut shares = None;
        if let (true, Some(ranks)) = (settings.sharded_state, &ranks) {
            if !of_model.is_empty() {
                return Err(BindError::Together {
                    first: "sharded states",
                    second: "an optimizer that looks at the whole model",
                });
            }
            let (rank, size) = ranks.with(|exchange| (exchange.rank(), exchange.size()));
            shares = Some(Shares::new(&bound, rank, size));
        }
        let local = settings.local_updates.as_ref();
        let local = local.map(|config| Local::new(config, model, &bound));
        let needs_loss = bound.iter().filter_map(|bound| bound.optimizer.as_ref());
        let core = Self {
            looked: Looked::default(),
            tuned: Tuned::default(),
            scaler: settings.loss_scaling.as_ref().map(Scaler::new),
            of_model,
            needs_loss: needs_loss.into_iter().any(RuleOptimizer::needs_loss),
            others: others.collect(),
            clips_in_burn: optim.has_gradient_clipping(),
            all_fold: all.all(|(bound, folds)| *folds || !bound.info().trainable),
            folds,
            own_rates: bound.iter().any(|bound| bound.rate.is_some()),
            uniform: uniform(&bound),
            settings,
            groups: groups.iter().map(Group::settings).collect(),
            bound,
            counters: Counters::default(),
            window: Window::default(),
            ranks,
            compared: false,
            shares,
            local: local.transpose()?,
            averages: averaging.map(Averages::new),
            notes: BTreeMap::new(),
            ties: model.ties.clone(),
        };
        Ok((optim, core))
    }
}

/// Whether what is stepped has the same numbers driven.
pub(crate) fn uniform(bound: &[Bound]) -> bool {
    let mut stepped = bound
        .iter()
        .filter(|bound| bound.info().trainable && !bound.frozen);
    let first = stepped.next();
    stepped.all(|bound| first.is_none_or(|first| bound.driven == first.driven))
}
