//! Checkpoints: all that a training needs to go on as if it had not stopped, in one file.
//!
//! A file holds the model, the optimizer's state, the position in the schedules, averages, a window of
//! micro-batches that is not full, and the user's [notes](crate::Driver::notes), where a seed or a position in
//! the data belongs (a driver itself draws no random numbers); and a [`Header`] with the settings of all of
//! them. Going on from it, with a model that was built anew in another process, is
//! bit for bit the same as not having stopped.
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use downhill_optim::AdamConfig;
//! use downhill_train::Driver;
//!
//! let device = Device::flex().autodiff();
//! let file = std::env::temp_dir().join(format!("downhill-{}.ckpt", std::process::id()));
//! let build = || {
//!     let model: Linear = LinearConfig::new(2, 1).init(&device);
//!     let driver = Driver::builder(AdamConfig::new().init(), 1e-3).bind(&model).unwrap();
//!     (driver, model)
//! };
//!
//! let (driver, model) = build();
//! driver.save(&model, &file).unwrap();
//!
//! let (mut driver, other) = build();
//! let other = driver.load(other, &file).unwrap();
//! assert_eq!(other.weight.to_data(), model.weight.to_data());
//! # std::fs::remove_file(&file).unwrap();
//! # }
//! ```
//!
//! # What holds
//!
//! * A file is written beside its place and renamed when it is complete and on the disk: a kill at any
//!   moment leaves the one that was there before.
//! * Two saves of one state are the same bytes: everything is ordered by name, and there are no ids and no
//!   times in it. (A [folder](Checkpoints) adds the metric, and the number of the save.)
//! * Nothing is believed: the checksum of the whole, the version, the settings of optimizer, schedule and
//!   driver, and path, shape and precision of every tensor are compared before anything is changed. What
//!   differs is an error that names it, and leaves driver and model as they were. Schedulers of Burn's kind,
//!   which do not say what they are, are compared by the rates that they would give next.
//! * Parameters lie in memory as they did, so that the first step rounds as it would have.
//! * [`Driver::load_partial`](crate::Driver::load_partial) takes what fits, and reports the rest.
//!
//! # The format
//!
//! A [burnpack](burn_pack) container, which Burn's tools can open, and 20 bytes behind it: `DOWNHILL`, the
//! length of the container as u64, and its CRC-32, both with the smallest byte first. The container has the
//! header as JSON under the key `downhill`, with a CRC-32 for each tensor, and the tensors
//!
//! | name | |
//! |---|---|
//! | `model/PATH` | the model's tensors |
//! | `optimizer/PATH/NAME` | state of the optimizer, by PyTorch's names |
//! | `average/PATH` | averages |
//! | `window/PATH` | gradients that are added up |
//!
//! A CRC-32 finds every single flipped bit and every burst of up to 32; it is no protection against an
//! attacker.

mod contents;
mod convert;
mod error;
mod folder;
mod format;
mod gather;
mod kept;
mod model;
mod optimizer;
mod report;
mod resume;
mod scheduler;
mod settings;
mod translation;

use std::path::{Path, PathBuf};

#[cfg(feature = "learner")]
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::tensor::DType;
use downhill_optim::Identity;

pub use error::CheckpointError;
pub use folder::{Checkpoints, Goal};
#[cfg(feature = "pytorch")]
pub(crate) use format::write_whole;
pub use format::{FORMAT, Header, OptimizerEntry, ParameterEntry};
pub(crate) use model::{checksum, checksum_of};
pub(crate) use optimizer::{States, renamed, stated};
pub use report::{LoadReport, Mismatch};
pub(crate) use resume::check_bound;
pub use scheduler::RatesAhead;
pub(crate) use settings::fingerprint;

use crate::Driver;
use crate::error::Rejected;
use crate::once::Once;
#[cfg(feature = "learner")]
use crate::update::Core;
use format::Contents;
use gather::To;

/// Writes what burn-train's own records do not hold of a training: counters, averages and window.
#[cfg(feature = "learner")]
pub(crate) fn save_core<M: Module>(
    core: &Core,
    model: &M,
    rates: impl FnMut() -> ModuleLearningRate,
    path: &Path,
) -> Result<(), CheckpointError> {
    let mut contents = contents::core_contents(core, model);
    contents.header.rates_ahead = RatesAhead::of(&core.bound, rates);
    contents.write(path)
}

/// Goes on from such a file, with a model that has been loaded already.
#[cfg(feature = "learner")]
pub(crate) fn load_core<M: Module>(
    core: &mut Core,
    model: &M,
    rates: impl FnMut() -> ModuleLearningRate,
    path: &Path,
) -> Result<(), CheckpointError> {
    let contents = Contents::read(path)?;
    let saved = contents.header.rates_ahead.as_ref();
    if let Some(reason) = saved.and_then(|saved| saved.difference(&core.bound, rates)) {
        return Err(CheckpointError::Scheduler { reason });
    }
    resume::core_strictly(core, model, &contents)
}

/// A checkpoint in memory, all of it checked.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    contents: Contents,
}

impl Checkpoint {
    /// Reads a file, and checks it.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is of another kind, cut off or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let contents = Contents::read(path.as_ref())?;
        Ok(Self { contents })
    }

    /// The same from memory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let contents = Contents::from_bytes(bytes)?;
        Ok(Self { contents })
    }

    /// A checkpoint from what Burn saves by itself: the bytes of a model's record
    /// ([`Module::save_file`]) and of its optimizer's ([`ModuleOptimizer::save`]).
    ///
    /// It has no settings of a driver and of a learning rate, so these are not compared when a driver goes
    /// on from it. `identity` is the name and the settings of the optimizer that goes on. If that is one of
    /// this library and the record is burn-optim's, the state is translated: of Adam, AdamW, AdaGrad,
    /// RMSprop, and SGD with momentum.
    ///
    /// States belong to the parameters with their ids, or else with the paths that the record has for
    /// them. `updates` is where schedules go on; by default it is the largest step count of the states,
    /// which burn-optim's SGD and RMSprop do not have.
    ///
    /// # Errors
    ///
    /// If one of the two is no such record, a state is of no parameter of the model or cannot be
    /// translated, or the number of updates is not known.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::module::Module;
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::Device;
    /// use downhill_optim::AdamConfig;
    /// use downhill_train::{Driver, checkpoint::Checkpoint};
    ///
    /// let device = Device::flex().autodiff();
    /// let model: Linear = LinearConfig::new(2, 1).init(&device);
    /// let optim = burn::optim::AdamConfig::new().init();
    /// // ... trained, and saved:
    /// let model_record = model.clone().into_record().into_bytes().unwrap().to_vec();
    /// let record = optim.into_bytes().unwrap().to_vec();
    ///
    /// let adam = AdamConfig::burn();
    /// let identity = adam.try_build().unwrap().identity().cloned();
    /// let checkpoint = Checkpoint::from_burn_records(model_record, record, identity, Some(100)).unwrap();
    /// let mut driver = Driver::builder(adam.init(), 1e-3).bind(&model).unwrap();
    /// let model = driver.resume(model, &checkpoint).unwrap();
    /// assert_eq!(driver.updates(), 100);
    /// # }
    /// ```
    ///
    /// [`ModuleOptimizer::save`]: burn::optim::ModuleOptimizer::save
    pub fn from_burn_records(
        model: Vec<u8>,
        optimizer: Vec<u8>,
        identity: Option<Identity>,
        updates: Option<u64>,
    ) -> Result<Self, CheckpointError> {
        let contents = convert::contents(model, optimizer, identity, updates)?;
        Ok(Self { contents })
    }

    /// The file's bytes.
    ///
    /// # Errors
    ///
    /// If they were more than can be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        self.contents.to_bytes()
    }

    /// Writes the file, which is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or were more than can be read back. What was there is there still.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.contents.write(path.as_ref())
    }

    /// What it says about itself.
    pub fn header(&self) -> &Header {
        &self.contents.header
    }

    /// Name, shape and precision of every tensor, and its size in bytes.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], DType, usize)> {
        self.contents.tensors.iter().map(|(name, data)| {
            let bytes = data.as_bytes().len();
            (name.as_str(), data.shape().as_slice(), data.dtype(), bytes)
        })
    }

    /// Bytes of what the optimizer keeps for the parameter at `path`.
    pub fn state_bytes(&self, path: &str) -> usize {
        let prefix = format!("optimizer/{}/", contents::escaped(path));
        let states = self.contents.tensors.iter().filter(|(name, _)| {
            // The layout is a list of names.
            name.starts_with(&prefix) && !name.ends_with("/layout")
        });
        states.map(|(_, data)| data.as_bytes().len()).sum()
    }

    /// A model with the parameters of the checkpoint, for inference or another training.
    ///
    /// # Errors
    ///
    /// Hands the model back as it was if it has other tensors than the checkpoint.
    pub fn model<M: Module>(&self, model: M) -> Result<M, Rejected<M, CheckpointError>> {
        let model = Once::of(model);
        match resume::check_model(&self.contents, &model) {
            Ok(()) => Ok(model::load(model, resume::model_parts(&self.contents)).model),
            Err(cause) => Err(rejected(model, cause)),
        }
    }

    /// A model with the averages of the checkpoint, and its parameters where these have no average.
    ///
    /// # Errors
    ///
    /// As [`model`](Self::model).
    pub fn averaged<M: Module>(&self, model: M) -> Result<M, Rejected<M, CheckpointError>> {
        let model = Once::of(model);
        match resume::averaged_parts(&self.contents, &model) {
            Ok(parts) => Ok(model::load(model, parts).model),
            Err(cause) => Err(rejected(model, cause)),
        }
    }
}

fn rejected<M>(model: Once<M>, cause: CheckpointError) -> Rejected<M, CheckpointError> {
    let model = model.model;
    Rejected { model, cause }
}

impl Driver {
    /// Everything, in memory.
    ///
    /// Where ranks have [states of their own](crate::DriverBuilder::with_sharded_state), or train
    /// [by themselves](crate::DriverBuilder::with_local_updates), all of them make this call, and each gets the whole.
    ///
    /// # Errors
    ///
    /// If the model is another one than the driver is bound to, or the optimizer's state cannot be written; if ranks that
    /// train by themselves have not just met.
    pub fn checkpoint<M: Module>(&self, model: &M) -> Result<Checkpoint, CheckpointError> {
        match self.gathered(model, To::All)? {
            Some(checkpoint) => Ok(checkpoint),
            None => unreachable!("all ranks get the whole"),
        }
    }

    /// What this rank is to write; nothing on ranks that write nothing.
    fn gathered<M: Module>(
        &self,
        model: &M,
        to: To,
    ) -> Result<Option<Checkpoint>, CheckpointError> {
        let own = || contents::contents(self, &self.once(model.clone()));
        let whole = gather::whole(&self.core, own, to)?;
        Ok(whole.map(|contents| Checkpoint { contents }))
    }

    /// Writes a checkpoint: see [`checkpoint`](crate::checkpoint). With [other ranks](crate::DriverBuilder::with_exchange) all of
    /// them make this call, and rank 0 writes.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Self::checkpoint), and if it cannot be written, or were more than can be read back, which is an
    /// error on each rank. A file that was there is there still.
    pub fn save<M: Module>(
        &self,
        model: &M,
        path: impl AsRef<Path>,
    ) -> Result<(), CheckpointError> {
        self.save_with(model, |checkpoint| {
            let path = path.as_ref();
            checkpoint.write(path).map(|()| path.to_path_buf())
        })?;
        Ok(())
    }

    /// Writes a checkpoint on the rank that does, and tells the others its path.
    fn save_with<M: Module>(
        &self,
        model: &M,
        write: impl FnOnce(Checkpoint) -> Result<PathBuf, CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        let whole = self.gathered(model, To::First)?;
        gather::told(&self.core, whole.map(write))
    }

    /// Goes on from a file: model, optimizer state, counters, averages and all. The model needs only the
    /// right structure. Whether an optimizer that is not of this library takes its state is tried in a step
    /// of a copy, without a gradient.
    ///
    /// # Errors
    ///
    /// Says what differs: the file is damaged or of another kind; the model has other tensors; optimizer,
    /// schedule, groups or settings are not those that it was made with. The model is handed back, and the
    /// driver is as it was.
    pub fn load<M: Module>(
        &mut self,
        model: M,
        path: impl AsRef<Path>,
    ) -> Result<M, Rejected<M, CheckpointError>> {
        match Checkpoint::open(path) {
            Ok(checkpoint) => self.resume(model, &checkpoint),
            Err(cause) => Err(Rejected { model, cause }),
        }
    }

    /// Goes on from a checkpoint in memory, as [`load`](Self::load) does from a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn resume<M: Module>(
        &mut self,
        model: M,
        checkpoint: &Checkpoint,
    ) -> Result<M, Rejected<M, CheckpointError>> {
        match resume::strictly(self, Once::of(model), &checkpoint.contents) {
            Ok(model) => Ok(model.model),
            Err(Rejected { model, cause }) => Err(rejected(model, cause)),
        }
    }

    /// Takes from a file what fits, for a model that has changed or under other settings: parameters with the
    /// same path, shape and precision, their optimizer state if the optimizer is the same, averages and
    /// counters, but not a window of micro-batches. The settings are the driver's own. The report has what
    /// was taken, and what not.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged or of another kind, or the optimizer's state cannot be taken
    /// up.
    pub fn load_partial<M: Module>(
        &mut self,
        model: M,
        path: impl AsRef<Path>,
    ) -> Result<(M, LoadReport), Rejected<M, CheckpointError>> {
        match Checkpoint::open(path) {
            Ok(checkpoint) => {
                match resume::partially(self, Once::of(model), &checkpoint.contents) {
                    Ok((model, report)) => Ok((model.model, report)),
                    Err(Rejected { model, cause }) => Err(rejected(model, cause)),
                }
            }
            Err(cause) => Err(Rejected { model, cause }),
        }
    }
}
