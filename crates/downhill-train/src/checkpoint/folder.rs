use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;

use super::format::io;
use super::{Checkpoint, CheckpointError, format};
use crate::Driver;

/// Which metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The smaller, as with a loss.
    Lowest,
    /// The larger, as with an accuracy.
    Highest,
}

/// A folder of checkpoints of one training, of which the last and the best are kept.
///
/// A file is named after its update, as in `step-000000001200.ckpt`. The last is the one that was saved last,
/// which after going back to an earlier update is not the one with the largest number; for that each file has
/// its place among the saves in its [header](super::Header::save).
///
/// Files of other names are left alone, and so is whatever has such a name and is no checkpoint, except for what
/// a save of this folder left behind when it was killed.
///
/// The first save takes a lock on the folder (on the file `.lock` in it), which this value and its clones hold
/// as long as one of them lives: a second training that saves into the same folder is refused. The lock ends
/// with the process, however that ends. File systems without locks are used without one.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use downhill_train::Driver;
/// use downhill_train::checkpoint::{Checkpoints, Goal};
///
/// # fn example(driver: &mut Driver, mut model: Linear, loss: f64) -> Result<Linear, Box<dyn std::error::Error>> {
/// let folder = Checkpoints::new("checkpoints").keep_last(3).keep_best(1, Goal::Lowest);
/// if let Some(file) = folder.latest()? {
///     model = driver.load(model, file)?;
/// }
/// // ... train, and every now and then:
/// folder.save(driver, &model, Some(loss))?;
/// # Ok(model)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    last: Option<usize>,
    best: Option<(usize, Goal)>,
    /// Held from the first save on.
    lock: Arc<Mutex<Option<Lock>>>,
}

const PREFIX: &str = "step-";
const SUFFIX: &str = ".ckpt";
const SCRATCH: &str = ".tmp";
const LOCK: &str = ".lock";

/// A folder of which this process has made sure that no other training uses it.
#[derive(Debug)]
struct Lock {
    /// None where the file system has no locks.
    _file: Option<File>,
}

/// A file that is one of the folder's checkpoints by its name.
struct Entry {
    step: u64,
    path: PathBuf,
    /// The place among the saves and the metric; none if it cannot be read as a checkpoint.
    saved: Result<(u64, Option<f64>), CheckpointError>,
}

impl Checkpoints {
    /// A folder, which is made when something is saved. Everything is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            last: None,
            best: None,
            lock: Arc::default(),
        }
    }

    /// Keeps the last `count`, at least 1.
    #[must_use]
    pub fn keep_last(mut self, count: usize) -> Self {
        self.last = Some(count.max(1));
        self
    }

    /// Keeps the `count` best besides, of those that were saved with a finite metric.
    #[must_use]
    pub fn keep_best(mut self, count: usize, goal: Goal) -> Self {
        self.best = Some((count, goal));
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The checkpoints, with their updates, in the order of the saves. What cannot be read as one is left out.
    ///
    /// # Errors
    ///
    /// If the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let entries = self.entries()?.into_iter();
        let readable = entries.filter(|entry| entry.saved.is_ok());
        Ok(readable.map(|entry| (entry.step, entry.path)).collect())
    }

    /// What has the name of a checkpoint, in the order of the saves; what cannot be read comes first.
    fn entries(&self) -> Result<Vec<Entry>, CheckpointError> {
        let names = self.names()?.into_iter();
        let named = names.filter_map(|name| Some((step_of(&name)?, self.folder.join(&name))));
        let mut entries: Vec<Entry> = named
            .map(|(step, path)| {
                let header = peek(&path);
                let saved = header.map(|header| (header.save.unwrap_or(0), header.metric));
                Entry { step, path, saved }
            })
            .collect();
        entries.sort_by_key(|entry| {
            let save = entry.saved.as_ref().ok().map(|(save, _)| *save);
            (save, entry.step)
        });
        Ok(entries)
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let failed = |error: std::io::Error| io(&self.folder, "read", &error);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string());
        }
        Ok(names)
    }

    /// The file that was saved last; none if there is none. Whether it is intact shows when it is loaded.
    ///
    /// # Errors
    ///
    /// If the folder is there and cannot be read, or a checkpoint of a later update is damaged so far that it
    /// cannot be told whether it is the last: the error names it.
    pub fn latest(&self) -> Result<Option<PathBuf>, CheckpointError> {
        let mut entries = self.entries()?;
        let last = entries.pop_if(|entry| entry.saved.is_ok());
        let step = last.as_ref().map(|last| last.step);
        for Entry {
            step: of,
            path,
            saved,
        } in entries
        {
            if let Err(error) = saved
                && Some(of) > step
                && !matches!(error, CheckpointError::NotACheckpoint { .. })
            {
                let reason = format!(
                    "may be the last checkpoint, and cannot be read: {error}; remove it to go on from an \
                     earlier one"
                );
                return Err(CheckpointError::Io { path, reason });
            }
        }
        Ok(last.map(|last| last.path))
    }

    /// The file with the best metric, by [`keep_best`](Self::keep_best)'s goal (the lowest without one);
    /// of equals the last.
    ///
    /// # Errors
    ///
    /// If the folder is there and cannot be read.
    pub fn best(&self) -> Result<Option<PathBuf>, CheckpointError> {
        let goal = self.best.map_or(Goal::Lowest, |(_, goal)| goal);
        Ok(ranked(&self.entries()?, goal).into_iter().next())
    }

    /// Saves a checkpoint of the driver's update, and removes those that need not be kept. Returns its path.
    ///
    /// A metric that is not finite is not kept: no best checkpoint has it.
    ///
    /// With [other ranks](crate::DriverBuilder::with_exchange) all of them make this call; rank 0 writes, with its
    /// metric.
    ///
    /// # Errors
    ///
    /// As [`Driver::save`]; if another training uses the folder, or the file cannot be written: nothing is removed then.
    /// Or if what need not be kept cannot be removed; the error names that, and the checkpoint is there.
    pub fn save<M: Module>(
        &self,
        driver: &Driver,
        model: &M,
        metric: Option<f64>,
    ) -> Result<PathBuf, CheckpointError> {
        driver.save_with(model, |checkpoint| {
            self.write(checkpoint, driver.updates(), metric)
        })
    }

    fn write(
        &self,
        mut checkpoint: Checkpoint,
        step: u64,
        metric: Option<f64>,
    ) -> Result<PathBuf, CheckpointError> {
        fs::create_dir_all(&self.folder).map_err(|error| io(&self.folder, "made", &error))?;
        // Held while files are written and removed: clones on other threads wait for each other.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(self.take_lock()?);
        }
        let before = self.entries()?;
        let saves = before
            .iter()
            .filter_map(|entry| Some(entry.saved.as_ref().ok()?.0));
        let header = &mut checkpoint.contents.header;
        header.metric = metric.filter(|metric| metric.is_finite());
        header.save = Some(saves.max().unwrap_or(0).saturating_add(1));
        let path = self.folder.join(format!("{PREFIX}{step:012}{SUFFIX}"));
        checkpoint.write(&path)?;
        self.prune(&path)?;
        Ok(path)
    }

    /// Makes sure that no other training uses the folder, and removes what killed ones have left.
    fn take_lock(&self) -> Result<Lock, CheckpointError> {
        let path = self.folder.join(LOCK);
        let options = &mut File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&path);
        let file = file.map_err(|error| io(&path, "opened", &error))?;
        let file = match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(CheckpointError::InUse {
                    folder: self.folder.clone(),
                });
            }
            Err(TryLockError::Error(_)) => None,
        };
        for name in self.names()?.iter().filter(|name| is_scratch(name)) {
            remove(&self.folder.join(name))?;
        }
        Ok(Lock { _file: file })
    }

    /// Removes what need not be kept beside the file `new`.
    fn prune(&self, new: &Path) -> Result<(), CheckpointError> {
        let Some(last) = self.last else {
            return Ok(());
        };
        let mut entries = self.entries()?;
        // Whatever is no checkpoint is somebody else's.
        entries.retain(|entry| entry.saved.is_ok());
        let best = match self.best {
            Some((count, goal)) => ranked(&entries, goal).into_iter().take(count).collect(),
            None => Vec::new(),
        };
        let older = entries.len().saturating_sub(last);
        for Entry { path, .. } in &entries[..older] {
            if path != new && !best.contains(path) {
                remove(path)?;
            }
        }
        Ok(())
    }
}

/// The update in the name of a checkpoint; none if that is another name.
fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let step: u64 = digits.parse().ok()?;
    // Exactly as it is written here: `step-7.ckpt` is somebody else's.
    (digits == format!("{step:012}")).then_some(step)
}

/// Whether a name is that of a checkpoint which is being written: see [`burn_pack::AtomicFile`].
fn is_scratch(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = name.strip_suffix(SCRATCH) else {
        return false;
    };
    let Some((file, numbers)) = rest.rsplit_once('.') else {
        return false;
    };
    let numbers = numbers.split_once('-');
    step_of(file).is_some()
        && numbers.is_some_and(|(process, count)| is_number(process) && is_number(count))
}

/// The header of what is a file: to open another thing can take for ever.
fn peek(path: &Path) -> Result<format::Header, CheckpointError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => format::peek(path),
        Ok(_) => Err(CheckpointError::NotACheckpoint {
            reason: "it is not a file".to_string(),
        }),
        Err(error) => Err(io(path, "read", &error)),
    }
}

/// The files that have a metric, from the best to the worst.
fn ranked(entries: &[Entry], goal: Goal) -> Vec<PathBuf> {
    let mut ranked: Vec<(f64, usize, &Path)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        if let Ok((_, Some(metric))) = &entry.saved {
            ranked.push((*metric, place, &entry.path));
        }
    }
    ranked.sort_by(|a, b| {
        let better = match goal {
            Goal::Lowest => a.0.total_cmp(&b.0),
            Goal::Highest => b.0.total_cmp(&a.0),
        };
        better.then(b.1.cmp(&a.1))
    });
    let paths = ranked.into_iter().map(|(_, _, path)| path.to_path_buf());
    paths.collect()
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(path, "removed", &error))
        }
        _ => Ok(()),
    }
}
