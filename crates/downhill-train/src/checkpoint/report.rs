//! How the tensors of a file compare with those that should be there.

use core::fmt;
use std::collections::BTreeSet;

use burn::tensor::DType;
use serde::Serialize;

use super::CheckpointError;
use super::format::Contents;
use crate::ParamPath;
use crate::report::listed;

/// A tensor that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// Its name in the file.
    pub name: String,
    /// The shape that the model has.
    pub expected: Vec<usize>,
    /// The model's precision.
    pub expected_dtype: DType,
    /// The shape in the file.
    pub found: Vec<usize>,
    /// The file's precision.
    pub found_dtype: DType,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` has the shape {:?} in {:?}, and here it is {:?} in {:?}",
            self.name, self.found, self.found_dtype, self.expected, self.expected_dtype
        )
    }
}

/// What was taken from a checkpoint, and what not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Paths of the model's tensors that were taken.
    pub restored: Vec<ParamPath>,
    /// Paths whose optimizer state was taken.
    pub states: Vec<ParamPath>,
    /// Paths of the model that the file has nothing for.
    pub missing: Vec<ParamPath>,
    /// Names of tensors in the file that nothing was taken for.
    pub unexpected: Vec<String>,
    /// Tensors of another shape or precision.
    pub mismatched: Vec<Mismatch>,
    /// Settings that the file was made with and the driver does not have, in words.
    pub differences: Vec<String>,
}

impl LoadReport {
    /// Whether everything was taken.
    pub fn is_complete(&self) -> bool {
        let partial = Self {
            restored: self.restored.clone(),
            states: self.states.clone(),
            ..Self::default()
        };
        *self == partial
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (restored, states) = (self.restored.len(), self.states.len());
        write!(
            f,
            "{restored} tensors and {states} optimizer states restored"
        )?;
        if !self.missing.is_empty() {
            write!(f, "; missing: {}", listed(self.missing.iter()))?;
        }
        if !self.unexpected.is_empty() {
            write!(f, "; not used: {}", listed(self.unexpected.iter()))?;
        }
        for mismatch in &self.mismatched {
            write!(f, "; {mismatch}")?;
        }
        for difference in &self.differences {
            write!(f, "; {difference}")?;
        }
        Ok(())
    }
}

/// Compares the tensors under a prefix with those that should be there.
pub(super) fn compare(
    contents: &Contents,
    prefix: &str,
    expected: impl IntoIterator<Item = (ParamPath, Vec<usize>, DType)>,
) -> LoadReport {
    let mut report = LoadReport::default();
    let tensors = contents.tensors.keys();
    let mut left: BTreeSet<&str> = tensors
        .filter_map(|name| name.strip_prefix(prefix))
        .collect();
    for (path, shape, dtype) in expected {
        left.remove(&*path);
        let name = format!("{prefix}{path}");
        match contents.tensors.get(&name) {
            None => report.missing.push(path),
            Some(data) if *data.shape().as_slice() != shape || data.dtype() != dtype => {
                report.mismatched.push(Mismatch {
                    name,
                    expected: shape,
                    expected_dtype: dtype,
                    found: data.shape().as_slice().to_vec(),
                    found_dtype: data.dtype(),
                });
            }
            Some(_) => report.restored.push(path),
        }
    }
    let unexpected = left.into_iter().map(|path| format!("{prefix}{path}"));
    report.unexpected.extend(unexpected);
    report
}

pub(super) fn first_error(report: &LoadReport) -> Result<(), CheckpointError> {
    if let Some(mismatch) = report.mismatched.first() {
        return Err(CheckpointError::Mismatch(Box::new(mismatch.clone())));
    }
    if !report.missing.is_empty() {
        let paths = report.missing.clone();
        return Err(CheckpointError::Missing { paths });
    }
    if !report.unexpected.is_empty() {
        let names = report.unexpected.clone();
        return Err(CheckpointError::Unexpected { names });
    }
    Ok(())
}
