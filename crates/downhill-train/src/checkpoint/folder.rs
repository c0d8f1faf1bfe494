use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;

use super::{CheckpointError, format};
use crate::Driver;

/// Which metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The smaller, as with a loss.
    Lowest,
    /// The larger, as with an accuracy.
    Highest,
}

/// A folder of checkpoints of one training, of which the last and the best are kept.
///
/// A file is named after its update, as in `step-000000001200.ckpt`. Files of other names are left alone,
/// except for what a save of this folder left behind when it was killed.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    folder: PathBuf,
    last: Option<usize>,
    best: Option<(usize, Goal)>,
}

const PREFIX: &str = "step-";
const SUFFIX: &str = ".ckpt";

impl Checkpoints {
    /// A folder, which is made when something is saved. Everything is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            last: None,
            best: None,
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

    /// The files, with their updates, in ascending order.
    ///
    /// # Errors
    ///
    /// If the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let mut list: Vec<(u64, PathBuf)> = (self.names()?.into_iter())
            .filter_map(|name| {
                let step = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
                Some((step.parse().ok()?, self.folder.join(&name)))
            })
            .collect();
        list.sort();
        Ok(list)
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let failed = |error: std::io::Error| CheckpointError::Io {
            path: self.folder.clone(),
            reason: format!("cannot be read: {error}"),
        };
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

    /// The last file; none if there is none. Whether it is intact shows when it is loaded.
    ///
    /// # Errors
    ///
    /// If the folder is there and cannot be read.
    pub fn latest(&self) -> Result<Option<PathBuf>, CheckpointError> {
        Ok(self.list()?.pop().map(|(_, path)| path))
    }

    /// The file with the best metric, by [`keep_best`](Self::keep_best)'s goal (the lowest without one);
    /// of equals the last.
    ///
    /// # Errors
    ///
    /// If the folder or the header of a file cannot be read.
    pub fn best(&self) -> Result<Option<PathBuf>, CheckpointError> {
        let goal = self.best.map_or(Goal::Lowest, |(_, goal)| goal);
        Ok(self.ranked(goal)?.into_iter().next())
    }

    /// The files that have a metric, from the best to the worst.
    fn ranked(&self, goal: Goal) -> Result<Vec<PathBuf>, CheckpointError> {
        let mut ranked: Vec<(f64, u64, PathBuf)> = Vec::new();
        for (step, path) in self.list()? {
            if let Some(metric) = format::peek(&path)?.metric {
                ranked.push((metric, step, path));
            }
        }
        ranked.sort_by(|a, b| {
            let better = match goal {
                Goal::Lowest => a.0.total_cmp(&b.0),
                Goal::Highest => b.0.total_cmp(&a.0),
            };
            better.then(b.1.cmp(&a.1))
        });
        Ok(ranked.into_iter().map(|(_, _, path)| path).collect())
    }

    /// Saves a checkpoint of the driver's update, and removes those that need not be kept. Returns its path.
    ///
    /// A metric that is not finite is not kept: no best checkpoint has it.
    ///
    /// # Errors
    ///
    /// If it cannot be written. Nothing is removed then.
    pub fn save<M: Module>(
        &self,
        driver: &Driver,
        model: &M,
        metric: Option<f64>,
    ) -> Result<PathBuf, CheckpointError> {
        let mut checkpoint = driver.checkpoint(model)?;
        checkpoint.contents.header.metric = metric.filter(|metric| metric.is_finite());
        fs::create_dir_all(&self.folder).map_err(|error| CheckpointError::Io {
            path: self.folder.clone(),
            reason: format!("cannot be made: {error}"),
        })?;
        let step = driver.updates();
        let path = self.folder.join(format!("{PREFIX}{step:012}{SUFFIX}"));
        checkpoint.write(&path)?;
        self.prune()?;
        Ok(path)
    }

    fn prune(&self) -> Result<(), CheckpointError> {
        // What a killed process of this training left behind.
        let own = format!(".{}-", std::process::id());
        for name in self.names()? {
            let scratch = name.starts_with(PREFIX)
                && name.contains(SUFFIX)
                && name.ends_with(".tmp")
                && !name.contains(&own);
            if scratch {
                remove(&self.folder.join(name))?;
            }
        }
        let Some(last) = self.last else {
            return Ok(());
        };
        let list = self.list()?;
        let (older, _) = list.split_at(list.len().saturating_sub(last));
        if older.is_empty() {
            return Ok(());
        }
        let best = match self.best {
            Some((count, goal)) => self.ranked(goal)?.into_iter().take(count).collect(),
            None => Vec::new(),
        };
        for (_, path) in older.iter().filter(|(_, path)| !best.contains(path)) {
            remove(path)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CheckpointError::Io {
            path: path.to_path_buf(),
            reason: format!("cannot be removed: {error}"),
        }),
        _ => Ok(()),
    }
}
