//! Problems and their data.

mod data;
mod functions;
mod mlp;
mod numpy;
mod problems;
