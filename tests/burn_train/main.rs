//! The driver behind burn-train's `SupervisedTraining`.
#![cfg(feature = "flex")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/learner.rs"]
mod learner;

mod devices;
mod example;
mod strategy;
