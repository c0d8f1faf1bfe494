//! Checkpoints of the trainings, in a folder for each optimizer.

use std::{
    io::{self, Write},
    path::Path,
};

use downhill::train::{
    Driver,
    checkpoint::{Checkpoints, Goal},
};
use downhill_problems::mlp::Mlp;

use crate::{Args, History};

/// Where checkpoints are, and what they have to agree with.
pub struct Saves<'a> {
    folder: &'a Path,
    args: &'a Args,
}

const EPOCH: &str = "epoch";
const HISTORY: &str = "history";

impl<'a> Saves<'a> {
    pub fn of(args: &'a Args) -> Option<Self> {
        let folder = args.save.as_deref()?;
        Some(Self { folder, args })
    }

    /// Those of one optimizer.
    pub fn of_optimizer(&self, name: &'static str) -> OptimizerSaves<'a> {
        let folder = Checkpoints::new(self.folder.join(name));
        OptimizerSaves {
            optimizer: name,
            folder: folder.keep_last(2).keep_best(1, Goal::Lowest),
            args: self.args,
        }
    }

    /// Whether there are checkpoints where some have to be, and none where they would be mixed up.
    pub fn check(&self, optimizers: &[&'static str]) -> Result<(), String> {
        let mut found = None;
        for name in optimizers {
            let folder = self.of_optimizer(name).folder;
            if folder
                .latest()
                .map_err(|error| error.to_string())?
                .is_some()
            {
                found = Some(folder.folder().to_path_buf());
            }
        }
        match (found, self.args.resume) {
            (Some(folder), false) => Err(format!(
                "{} has checkpoints already: go on from them with --resume, or save into another folder",
                folder.display()
            )),
            (None, true) => Err(format!(
                "there is no checkpoint of {} in {}: without --resume the training starts from the \
                 beginning",
                optimizers.join(" or "),
                self.folder.display()
            )),
            _ => Ok(()),
        }
    }
}

/// The checkpoints of one optimizer's training. While it lives, no other training saves into its folder.
pub struct OptimizerSaves<'a> {
    optimizer: &'static str,
    folder: Checkpoints,
    args: &'a Args,
}

impl OptimizerSaves<'_> {
    /// What else decides a training, and a driver does not know; by option.
    fn options(&self) -> [(&'static str, String); 3] {
        [
            ("data", self.args.data.to_string()),
            ("batch-size", self.args.batch_size.to_string()),
            ("seed", self.args.seed.to_string()),
        ]
    }

    /// The model to go on with, and how many epochs it has been trained.
    pub fn resume(
        &self,
        driver: &mut Driver,
        model: Mlp,
        history: &mut History,
    ) -> Result<(Mlp, u32), String> {
        if !self.args.resume {
            return Ok((model, 0));
        }
        let latest = self.folder.latest();
        let Some(file) = latest.map_err(|error| error.to_string())? else {
            let (optimizer, folder) = (self.optimizer, self.folder.folder().display());
            let _ = writeln!(
                io::stderr(),
                "note: {optimizer} starts from the beginning: there is no checkpoint in {folder}"
            );
            return Ok((model, 0));
        };
        let refused = |reason: String| format!("{}: {reason}", file.display());
        let model = driver
            .load(model, &file)
            .map_err(|rejected| refused(rejected.cause.to_string()))?;
        let note = |name: &str| driver.notes().get(name).map_or("", String::as_str);
        for (option, here) in self.options() {
            let saved = note(option);
            if saved != here {
                let reason = format!("it was made with --{option} {saved}, and here it is {here}");
                return Err(refused(reason));
            }
        }
        let epoch = note(EPOCH)
            .parse()
            .map_err(|_| refused("it is not one of this example: it has no epoch".to_string()))?;
        if epoch > self.args.epochs {
            let epochs = self.args.epochs;
            return Err(refused(format!(
                "it has {epoch} epochs, more than --epochs {epochs}"
            )));
        }
        *history =
            serde_json::from_str(note(HISTORY)).map_err(|error| refused(error.to_string()))?;
        Ok((model, epoch))
    }

    /// Saves the end of an epoch.
    pub fn save(
        &self,
        driver: &mut Driver,
        model: &Mlp,
        epoch: u32,
        history: &History,
    ) -> Result<(), String> {
        let json = serde_json::to_string(history).map_err(|error| error.to_string())?;
        let options = self
            .options()
            .map(|(name, value)| (name.to_string(), value));
        let notes = driver.notes_mut();
        notes.extend(options);
        notes.insert(EPOCH.to_string(), epoch.to_string());
        notes.insert(HISTORY.to_string(), json);
        let loss = history.losses.last().copied();
        let saved = self.folder.save(driver, model, loss);
        saved.map_err(|error| error.to_string()).map(drop)
    }
}
