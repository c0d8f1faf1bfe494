//! Runs in a file, one a line, written as they are finished.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::results::{Run, Trial};
use crate::source::version;

/// What can be wrong with a file of runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be opened, read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another result of the same trial.
    #[error(
        "{} has another outcome than was found before for {trial}: the runs are of different programs or processors",
        path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// The trial, as JSON.
        trial: String,
    },
    /// A line is no run.
    #[error(
        "{}, line {line}: this is not a run ({reason}); mend or remove the line, or begin in another \
         folder", path.display()
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
}

/// The runs of a folder: those that are there, and those that are added.
///
/// A run is written at once and as a whole line, so that an interruption loses nothing but the run that
/// was under way. A last line without its end, which is what a crash leaves, is dropped.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    runs: Vec<Run>,
    /// The first run of each trial, by the trial as JSON.
    places: HashMap<String, usize>,
    /// Whether an unfinished line was dropped.
    dropped: bool,
}

impl Store {
    /// Opens or creates a file of runs.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or one of its lines is no run or one that cannot be: then it stays as
    /// it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let fail = |action| {
            let path = path.clone();
            move |source| StoreError::Io {
                action,
                path,
                source,
            }
        };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(&path).map_err(fail("open"))?;
        // Bytes, because a crash may leave a part of a character.
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;

        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let unfinished = lines.pop().unwrap_or_default();
        let mut runs = Vec::new();
        for (i, line) in lines.into_iter().enumerate() {
            let bad = |reason| StoreError::BadLine {
                path: path.clone(),
                line: i + 1,
                reason,
            };
            let run: Run = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
            if let Some(fault) = run.fault() {
                return Err(bad(fault));
            }
            runs.push(run);
        }
        let whole = bytes.len() - unfinished.len();
        let dropped = !unfinished.is_empty();
        if dropped {
            file.set_len(whole as u64).map_err(fail("shorten"))?;
            file.seek(SeekFrom::End(0)).map_err(fail("shorten"))?;
        }
        let mut places = HashMap::new();
        for (at, run) in runs.iter().enumerate() {
            places.entry(key(&run.trial)).or_insert(at);
        }
        Ok(Self {
            path,
            file,
            runs,
            places,
            dropped,
        })
    }

    /// Whether the file ended in the middle of a line, which is gone.
    pub fn dropped_a_line(&self) -> bool {
        self.dropped
    }

    /// All runs, in the order of the file.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many runs are of another version of this library than this one, which are not reused.
    pub fn of_other_versions(&self) -> usize {
        let others = |run: &&Run| run.trial.version != version();
        self.runs.iter().filter(others).count()
    }

    /// Takes up the runs of another store, and returns how many were not there.
    ///
    /// # Errors
    ///
    /// If the two have computed something else for a trial, or a run cannot be written. Nothing is added in the first
    /// case.
    pub fn merge(&mut self, other: &Self) -> Result<usize, StoreError> {
        // As it is written: what is no number there is equal to itself.
        let written = |run: &Run| serde_json::to_string(&run.outcome).unwrap_or_default();
        let differs = |run: &&Run| {
            let own = self.find(&run.trial);
            own.is_some_and(|own| written(own) != written(run))
        };
        if let Some(run) = other.runs.iter().find(differs) {
            return Err(StoreError::Differs {
                path: other.path.clone(),
                trial: serde_json::to_string(&run.trial).unwrap_or_default(),
            });
        }
        let mut added = 0;
        for run in &other.runs {
            if self.find(&run.trial).is_none() {
                self.add(run.clone())?;
                added += 1;
            }
        }
        Ok(added)
    }

    /// The run of this trial, if it is there.
    pub fn find(&self, trial: &Trial) -> Option<&Run> {
        let at = self.places.get(&key(trial))?;
        Some(&self.runs[*at])
    }

    /// Adds a run, to the file first.
    ///
    /// # Errors
    ///
    /// If it cannot be written. What was written of it is removed again, as far as the system lets.
    pub fn add(&mut self, run: Run) -> Result<&Run, StoreError> {
        let fail = |source| StoreError::Io {
            action: "write to",
            path: self.path.clone(),
            source,
        };
        let mut line = serde_json::to_string(&run).map_err(|error| fail(error.into()))?;
        line.push('\n');
        let end = self.file.metadata().map_err(fail)?.len();
        let written = self.file.write_all(line.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // Half a line would be dropped at the next start, but two halves would be a bad line.
            let _ = self.file.set_len(end);
            return Err(fail(error));
        }
        let at = self.runs.len();
        self.places.entry(key(&run.trial)).or_insert(at);
        self.runs.push(run);
        Ok(&self.runs[at])
    }
}

/// Equal for equal trials: an object's names are in one order.
pub(crate) fn key(trial: &Trial) -> String {
    serde_json::to_string(trial).unwrap_or_default()
}
