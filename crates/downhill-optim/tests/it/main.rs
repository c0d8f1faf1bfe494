//! Rules without a tensor library.

mod check_values;
mod equalities;
mod looks;
mod matrices;
mod names;
mod rules;
