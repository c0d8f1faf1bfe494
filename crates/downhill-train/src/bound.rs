//! What a driver knows of each float tensor of the model that it is bound to.

use std::sync::Arc;

use burn::module::ParamId;
use burn::tensor::DType;
use downhill_optim::drive::Probed;
use downhill_optim::{Identity, RuleOptimizer};

use crate::driven::{DrivenNumber, DrivenSettings};
use crate::groups::{Group, GroupRate};
use crate::params::{Found, ParamInfo};
use crate::{BindError, ParamPath};

/// The optimizer that was found for a parameter, if it is of this library, unless its state does not fit.
pub(crate) fn fitting(
    path: &ParamPath,
    probed: Option<Probed>,
) -> Result<Option<RuleOptimizer>, BindError> {
    match probed {
        Some(Probed {
            mismatch: Some(mismatch),
            ..
        }) => Err(BindError::State {
            path: path.clone(),
            reason: mismatch.to_string(),
        }),
        probed => Ok(probed.map(|probed| probed.optimizer)),
    }
}

/// A float tensor of the model.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub found: Found,
    pub groups: Vec<Arc<str>>,
    pub rate: Option<GroupRate>,
    /// What a schedule drives of its optimizer.
    pub driven: Vec<DrivenNumber>,
    pub frozen: bool,
    /// Its optimizer, if that is of this library.
    pub optimizer: Option<RuleOptimizer>,
    pub identity: Option<Identity>,
}

impl Bound {
    /// A tensor with its groups, as `probed` found its optimizer (if that is of this library).
    pub fn new(
        found: Found,
        groups: &[&Group],
        probed: Option<Probed>,
        driven: &DrivenSettings,
        identity: Option<&Identity>,
    ) -> Result<Self, BindError> {
        let optimizer = fitting(&found.info.path, probed)?;
        let frozen = groups.iter().any(|group| group.frozen);
        let mut bound = Self {
            groups: groups.iter().map(|group| group.name.clone()).collect(),
            rate: groups.iter().find_map(|group| group.rate.clone()),
            driven: Vec::new(),
            frozen,
            identity: match (found.info.trainable, &optimizer) {
                (false, _) => None,
                (true, Some(optimizer)) => optimizer.identity().cloned(),
                (true, None) => identity.cloned(),
            },
            optimizer,
            found,
        };
        let of_groups = groups.iter().map(|group| &group.driven);
        bound.set_frozen(frozen, driven, of_groups)?;
        Ok(bound)
    }

    /// Freezes it, or lets it be trained: then the driven numbers are its groups', or else those of all.
    pub fn set_frozen<'a>(
        &mut self,
        frozen: bool,
        driven: &'a DrivenSettings,
        of_groups: impl Iterator<Item = &'a DrivenSettings>,
    ) -> Result<(), BindError> {
        self.driven = match self.info().trainable && !frozen {
            true => driven.of_parameter(of_groups, self.optimizer.as_ref(), &self.info().path)?,
            false => Vec::new(),
        };
        self.frozen = frozen;
        Ok(())
    }

    pub fn id(&self) -> ParamId {
        self.found.id
    }

    pub fn info(&self) -> &ParamInfo {
        &self.found.info
    }

    pub fn is_half(&self) -> bool {
        !matches!(self.info().dtype, DType::F32 | DType::F64)
    }

    /// Whether its optimizer is of this library, and moves it.
    pub fn is_own(&self) -> bool {
        self.optimizer.is_some()
    }
}
