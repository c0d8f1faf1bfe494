//! Runs in a file, one a line, written as they are finished.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

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

/// Runs that were made, each found by its trial.
///
/// Those that were published are in a file of the same name with `.gz` behind it, which is read first and never
/// written.
#[derive(Debug)]
pub struct Runs {
    path: PathBuf,
    runs: Vec<Run>,
    /// The first run of each trial, by the trial as JSON.
    places: HashMap<String, usize>,
}

impl Runs {
    /// Those of a file, of which a last line without its end is left out.
    ///
    /// # Errors
    ///
    /// If neither the file nor a published one can be read, or one of their lines is no run or one that cannot be.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let published = published(path)?;
        let bytes = match fs::read(path) {
            Err(_) if published.is_some() => Vec::new(),
            bytes => bytes.map_err(io_error("read", path))?,
        };
        let whole = &bytes[..whole(&bytes)];
        Self::of(path, published.unwrap_or_default(), whole)
    }

    /// Whether there is such a file, or a published one.
    pub fn are_at(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        path.is_file() || beside(path).is_file()
    }

    /// These and those of whole lines.
    fn of(path: &Path, mut runs: Vec<Run>, lines: &[u8]) -> Result<Self, StoreError> {
        runs.extend(parsed(path, lines)?);
        let mut places = HashMap::new();
        for (at, run) in runs.iter().enumerate() {
            places.entry(key(&run.trial)).or_insert(at);
        }
        Ok(Self {
            path: path.to_path_buf(),
            runs,
            places,
        })
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

    /// The run of this trial, if it is there.
    pub fn find(&self, trial: &Trial) -> Option<&Run> {
        let at = self.places.get(&key(trial))?;
        Some(&self.runs[*at])
    }
}

/// The [`Runs`] of a folder, to which others are added.
///
/// A run is written at once and as a whole line, so that an interruption loses nothing but the run that
/// was under way. A last line without its end, which is what a crash leaves, is dropped.
#[derive(Debug)]
pub struct Store {
    runs: Runs,
    file: File,
    /// Whether an unfinished line was dropped.
    dropped: bool,
}

impl Deref for Store {
    type Target = Runs;

    fn deref(&self) -> &Runs {
        &self.runs
    }
}

impl Store {
    /// Opens or creates a file of runs.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or one of its lines is no run or one that cannot be: then it stays as
    /// it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(io_error("open", path))?;
        // Bytes, because a crash may leave a part of a character.
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        read.map_err(io_error("read", path))?;
        let whole = whole(&bytes);
        let published = published(path)?.unwrap_or_default();
        let runs = Runs::of(path, published, &bytes[..whole])?;
        let dropped = whole < bytes.len();
        if dropped {
            let shorten = file.set_len(whole as u64);
            shorten.map_err(io_error("shorten", path))?;
            let end = file.seek(SeekFrom::End(0));
            end.map_err(io_error("shorten", path))?;
        }
        Ok(Self {
            runs,
            file,
            dropped,
        })
    }

    /// Whether the file ended in the middle of a line, which is gone.
    pub fn dropped_a_line(&self) -> bool {
        self.dropped
    }

    /// Takes up other runs, and returns how many were not there.
    ///
    /// # Errors
    ///
    /// If the two have computed something else for a trial, or a run cannot be written. Nothing is added in the first
    /// case.
    pub fn merge(&mut self, other: &Runs) -> Result<usize, StoreError> {
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

    /// Adds a run, to the file first.
    ///
    /// # Errors
    ///
    /// If it cannot be written. What was written of it is removed again, as far as the system lets.
    pub fn add(&mut self, run: Run) -> Result<&Run, StoreError> {
        let fail = |source| io_error("write to", &self.runs.path)(source);
        let mut line = serde_json::to_string(&run).map_err(|error| fail(error.into()))?;
        line.push('\n');
        let end = self.file.metadata().map_err(fail)?.len();
        let written = self.file.write_all(line.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // Half a line would be dropped at the next start, but two halves would be a bad line.
            let _ = self.file.set_len(end);
            return Err(fail(error));
        }
        let Runs { runs, places, .. } = &mut self.runs;
        let at = runs.len();
        places.entry(key(&run.trial)).or_insert(at);
        runs.push(run);
        Ok(&runs[at])
    }
}

/// How much of the bytes is whole lines.
fn whole(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |last| last + 1)
}

/// Where the published runs beside those of a file are.
fn beside(path: &Path) -> PathBuf {
    path.with_added_extension("gz")
}

/// The runs in the published file beside `path`, if there is one.
fn published(path: &Path) -> Result<Option<Vec<Run>>, StoreError> {
    let path = beside(path);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io_error("open", &path))?,
    };
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(file).read_to_end(&mut bytes);
    read.map_err(io_error("read", &path))?;
    parsed(&path, &bytes).map(Some)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// The runs of lines, each with its end.
fn parsed(path: &Path, lines: &[u8]) -> Result<Vec<Run>, StoreError> {
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    let parse = |(at, line)| {
        let bad = |reason| StoreError::BadLine {
            path: path.to_path_buf(),
            line: at + 1,
            reason,
        };
        let run: Run = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
        match run.fault() {
            Some(fault) => Err(bad(fault)),
            None => Ok(run),
        }
    };
    lines.enumerate().map(parse).collect()
}

/// Equal for equal trials: an object's names are in one order.
pub(crate) fn key(trial: &Trial) -> String {
    serde_json::to_string(trial).unwrap_or_default()
}
