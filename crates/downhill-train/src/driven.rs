//! Settings of an optimizer that follow a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use downhill_optim::RuleOptimizer;
use downhill_optim::drive::Driven;
use downhill_setting::Range;
use serde::{Serialize, Serializer};

use crate::setting::{OutOfRange, in_range};
use crate::{BindError, ParamPath, Setting};

pub(crate) const WEIGHT_DECAY: &str = "weight_decay";
pub(crate) const MOMENTUM: &str = "momentum";

/// What a schedule drives, by the names of the settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DrivenSettings(BTreeMap<Arc<str>, Setting>);

impl DrivenSettings {
    pub fn set(&mut self, name: Arc<str>, setting: Setting) {
        self.0.insert(name, setting);
    }

    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// Those that have no field of their own in reports and checkpoints.
    pub fn others(&self) -> impl Iterator<Item = (&Arc<str>, &Setting)> {
        let known = [WEIGHT_DECAY, MOMENTUM];
        self.0
            .iter()
            .filter(move |(name, _)| !known.contains(&&***name))
    }

    /// As far as it can be said before the first update, and before there is an optimizer.
    pub fn check(&self, of_what: &str) -> Result<(), OutOfRange> {
        for (name, setting) in &self.0 {
            let range = known_range(name).unwrap_or(Range::FINITE);
            in_range(&(label(name) + of_what), setting.value(0), range)?;
        }
        Ok(())
    }

    /// What is driven of a parameter's optimizer: by what the groups that it is in say, or else by these.
    pub fn of_parameter<'a>(
        &'a self,
        groups: impl Iterator<Item = &'a Self>,
        optimizer: Option<&RuleOptimizer>,
        path: &ParamPath,
    ) -> Result<Vec<DrivenNumber>, BindError> {
        let mut settings: BTreeMap<&Arc<str>, (&Setting, &str)> = BTreeMap::new();
        settings.extend(self.0.iter().map(|(name, setting)| (name, (setting, ""))));
        for group in groups {
            let own = group.0.iter();
            settings.extend(own.map(|(name, setting)| (name, (setting, " of a group"))));
        }
        let mut numbers: Vec<DrivenNumber> = Vec::new();
        for (name, (setting, of_what)) in settings {
            let found = optimizer.and_then(|optimizer| number_of(optimizer, name));
            let Some((own_name, range)) = found else {
                let (path, what) = (path.clone(), label(name));
                return Err(BindError::NotDriven { path, what });
            };
            let own_name = own_name.unwrap_or_else(|| name.clone());
            if numbers.iter().any(|number| number.name == own_name) {
                let (path, what) = (path.clone(), label(&own_name));
                return Err(BindError::DrivenTwice { path, what });
            }
            let number = DrivenNumber {
                label: (label(name) + of_what).into(),
                name: own_name,
                setting: setting.clone(),
                range,
            };
            number.value(0)?;
            numbers.push(number);
        }
        Ok(numbers)
    }
}

impl Serialize for DrivenSettings {
    /// None where nothing but weight decay and momentum is driven, as before there was more.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let others: BTreeMap<&str, &Setting> = self
            .others()
            .map(|(name, setting)| (&**name, setting))
            .collect();
        (!others.is_empty()).then_some(others).serialize(serializer)
    }
}

/// A number of an optimizer, and what it follows.
#[derive(Clone, Debug)]
pub(crate) struct DrivenNumber {
    pub name: Arc<str>,
    label: Arc<str>,
    setting: Setting,
    range: Range,
}

impl PartialEq for DrivenNumber {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.setting == other.setting
    }
}

impl DrivenNumber {
    /// Its value for the update `step`, counted from 0.
    pub fn value(&self, step: u64) -> Result<f64, OutOfRange> {
        let value = in_range(&self.label, self.setting.value(step), self.range)?;
        match known_range(&self.name) {
            Some(range) => in_range(&self.label, value, range),
            None => Ok(value),
        }
    }
}

/// The numbers of one parameter for the update `step`.
pub(crate) fn values(numbers: &[DrivenNumber], step: u64) -> Result<Driven, OutOfRange> {
    if numbers.is_empty() {
        return Ok(Driven::default());
    }
    let value = |number: &DrivenNumber| Ok((number.name.clone(), number.value(step)?));
    numbers.iter().map(value).collect()
}

/// The range of a number of this name, and its own name if that is another: the momentum of Adam and its
/// relatives is called `beta_1`.
fn number_of(optimizer: &RuleOptimizer, name: &str) -> Option<(Option<Arc<str>>, Range)> {
    match optimizer.drives(name) {
        Some(range) => Some((None, range)),
        None if name == MOMENTUM => {
            let range = optimizer.drives("beta_1")?;
            Some((Some("beta_1".into()), range))
        }
        None => None,
    }
}

/// Of the two that every optimizer means alike.
fn known_range(name: &str) -> Option<Range> {
    match name {
        WEIGHT_DECAY => Some(Range::NOT_NEGATIVE),
        MOMENTUM => Some(Range::DECAY),
        _ => None,
    }
}

/// A setting's name in a message.
pub(crate) fn label(name: &str) -> String {
    match name {
        WEIGHT_DECAY => "weight decay".to_string(),
        name => name.to_string(),
    }
}
