//! What burn-train's records do not hold of a training, in one more file for each epoch.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::train::{Learner, LearnerModel};

use crate::checkpoint::{self, CheckpointError};
use crate::update::Core;

const PREFIX: &str = "driver-";
const SUFFIX: &str = ".ckpt";
/// How burn-train ends the names of its records, after the epoch.
const RECORD: &str = ".bpk";

fn file(folder: &Path, epoch: usize) -> PathBuf {
    folder.join(format!("{PREFIX}{epoch}{SUFFIX}"))
}

/// The learning rates of the updates to come.
fn rates<M: LearnerModel>(learner: &Learner<M>) -> impl FnMut() -> ModuleLearningRate {
    // A learner's scheduler can be stepped, and not asked.
    let mut ahead = learner.clone();
    move || {
        ahead.lr_step();
        ahead.lr_current()
    }
}

/// Writes the file of an epoch.
pub(super) fn save<M: LearnerModel>(
    folder: &Path,
    core: &Core,
    learner: &Learner<M>,
    epoch: usize,
) -> Result<(), CheckpointError> {
    fs::create_dir_all(folder).map_err(|error| failed(folder, "made", &error))?;
    let path = file(folder, epoch);
    checkpoint::save_core(core, &learner.model(), rates(learner), &path)
}

/// Goes on from the file of an epoch.
pub(super) fn load<M: LearnerModel>(
    folder: &Path,
    core: &mut Core,
    learner: &Learner<M>,
    epoch: usize,
) -> Result<(), StateError> {
    let path = file(folder, epoch);
    match path.exists() {
        true => checkpoint::load_core(core, &learner.model(), rates(learner), &path)
            .map_err(|error| StateError::Refused { path, error }),
        false => Err(StateError::Missing { path, epoch }),
    }
}

/// Why a training does not go on from a driver's state.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error(
        "the driver's state of epoch {epoch} is not there: {} is missing, without which averages and \
         counters would begin anew",
        path.display()
    )]
    Missing { path: PathBuf, epoch: usize },
    #[error("{}: {error}", path.display())]
    Refused {
        path: PathBuf,
        error: CheckpointError,
    },
}

/// Removes the files of epochs before this one that burn-train has no records of any more.
pub(super) fn prune(folder: &Path, epoch: usize) -> Result<(), CheckpointError> {
    let names = names(folder)?;
    let records: Vec<&str> = (names.iter())
        .filter_map(|name| name.strip_suffix(RECORD)?.rsplit('-').next())
        .collect();
    // They are somewhere else.
    if records.is_empty() {
        return Ok(());
    }
    for name in &names {
        let own = name
            .strip_prefix(PREFIX)
            .and_then(|name| name.strip_suffix(SUFFIX));
        let Some((own, Ok(of))) = own.map(|own| (own, own.parse::<usize>())) else {
            continue;
        };
        // burn-train writes on a thread of its own: the last records may not be there yet.
        if of + 1 < epoch && !records.contains(&own) {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(&path, "removed", &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let read = |error| failed(folder, "read", &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        names.extend(entry.map_err(read)?.file_name().into_string());
    }
    Ok(names)
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.to_path_buf(),
        reason: format!("cannot be {what}: {error}"),
    }
}
