//! Something for each part of a problem's data.

use crate::problem::Part;

/// Something for each [`Part`].
#[derive(Clone, Debug)]
pub(crate) struct Parts<T> {
    pub train: T,
    pub validation: T,
    pub test: T,
}

impl<T> Parts<T> {
    pub fn of(&self, part: Part) -> &T {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }
}
