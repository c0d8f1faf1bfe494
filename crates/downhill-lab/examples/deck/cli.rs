//! What the deck's experiments have in common on the command line.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use burn::tensor::{DType, Device, FloatDType};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED,
};
pub use downhill_plot::number;

pub fn fail(message: impl Display) -> ExitCode {
    // `eprintln!` would panic if standard error is closed.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::FAILURE
}

pub fn learning_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(lr) if lr.is_finite() && lr > 0.0 => Ok(lr),
        _ => Err("a learning rate is a number above 0, for example 0.001"),
    }
}

/// The part of `--help` about [`device`].
macro_rules! device_help {
    () => {
        "Computes on Burn's default device, in double precision if it can: BURN_DEVICE=flex
names the CPU where other backends are compiled in.
"
    };
}
pub(crate) use device_help;

/// Burn's default device, which computes in double precision from now on if it can: NumPy does.
pub fn device() -> Device {
    let mut device = Device::default();
    if device.supports_dtype(DType::F64) {
        // It has not been used yet.
        let _ = device.configure(FloatDType::F64);
    }
    device
}

/// An empty table whose columns after the first are numbers.
pub fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header)
        .add_rows(rows);
    fit(&mut table, 1);
    table
}

/// Numbers to the right, and no wider than the terminal.
pub fn fit(table: &mut Table, names: usize) {
    for (i, column) in table.column_iter_mut().enumerate() {
        if i < names {
            // Headers have spaces to be parted at, names have none.
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Some pseudo-terminals say that they have no width at all.
    if table.width().is_some_and(|columns| columns < 40) {
        table.set_width(80);
    }
}
