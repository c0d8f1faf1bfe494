//! `downhill checkpoint`: what is in a checkpoint, and checkpoints from Burn's records.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use comfy_table::{CellAlignment, Table};
use downhill_optim::{Identity, OptimizerConfig};
use downhill_train::checkpoint::{Checkpoint, CheckpointError, Header};
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use serde_json::Value;

use super::{Failure, failed, json, number, printable, printable_path, table, usage};

/// Look into checkpoints, and make them of Burn's records
#[derive(clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Inspect(InspectArgs),
    Convert(ConvertArgs),
}

/// Verify a checkpoint, and print what is in it
#[derive(clap::Args)]
#[command(after_help = INSPECT_HELP)]
struct InspectArgs {
    /// The checkpoint
    file: PathBuf,

    /// Print one JSON object instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

const INSPECT_HELP: &str = "\
Every byte is compared with the checksums in the file.

JSON keys:
  file, bytes
  format, version, updates, skipped, learning_rate, settings, optimizers,
  parameters, averaged, micro_batches, metric, notes, checksums
           the checkpoint's header
  tensors  name, shape, dtype and bytes of everything that it holds

Exit status:
  0  the checkpoint is intact
  1  it is damaged, cut off or no checkpoint, or the output cannot be written
  2  the command line is wrong, or the file cannot be read";

/// Make a checkpoint of what Burn saves by itself
///
/// Driver::load goes on from it, with an optimizer of this library or with Burn's. The state of
/// burn-optim's Adam, AdamW, AdaGrad, RMSprop, and SGD with momentum is translated if --config names this
/// library's.
#[derive(clap::Args)]
#[command(after_help = CONVERT_HELP)]
struct ConvertArgs {
    /// The optimizer's record, as ModuleOptimizer::save writes it
    #[arg(long, value_name = "RECORD")]
    optimizer: PathBuf,

    /// The model's record, as Module::save_file writes it
    #[arg(long, value_name = "MODEL.bpk")]
    model: PathBuf,

    /// The optimizer that goes on, if it is one of this library, with its settings
    #[arg(long, value_name = "JSON", value_parser = identity)]
    config: Option<Identity>,

    /// Updates made so far, where schedules go on [default: the largest count in the optimizer's record]
    #[arg(long, value_name = "N")]
    updates: Option<u64>,

    /// The checkpoint; a file that is there is replaced, unless it is one of the records
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const CONVERT_HELP: &str = r#"For example:
  downhill checkpoint convert --model model.bpk --optimizer optimizer.bpk \
    --config '{"name": "adam", "epsilon": 1e-5}' --out model.ckpt

The default settings are PyTorch's. Those of burn-optim are other ones, and
AdamConfig::burn() and its like have them.

Exit status:
  0  the checkpoint is written
  1  no checkpoint can be made of the records, or it cannot be written
  2  the command line is wrong, or a file cannot be read"#;

fn identity(json: &str) -> Result<Identity, String> {
    let config = OptimizerConfig::from_json(json).map_err(|error| error.to_string())?;
    let optimizer = config.try_build().map_err(|error| error.to_string())?;
    let identity = optimizer.identity().cloned();
    identity.ok_or_else(|| format!("{} has no name in checkpoints", config.name()))
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Inspect(args) => inspect(args),
        What::Convert(args) => convert(args),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| usage(format!("{}: cannot be read: {error}", file.display())))
}

fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    for (option, input) in [("--model", &args.model), ("--optimizer", &args.optimizer)] {
        if is_one_file(&args.out, input) {
            return Err(usage(format!(
                "--out {}: this is the file of {option}, which it would replace; name another one",
                args.out.display()
            )));
        }
    }
    let (model, optimizer) = (read(&args.model)?, read(&args.optimizer)?);
    let identity = args.config.clone();
    let checkpoint = Checkpoint::from_burn_records(model, optimizer, identity, args.updates)
        .map_err(|error| match error {
            CheckpointError::UnknownUpdates => failed(format!("{error} (--updates)")),
            error => failed(error),
        })?;
    checkpoint.write(&args.out).map_err(failed)?;
    let sizes = Sizes::of(&checkpoint);
    writeln!(
        io::stdout(),
        "{}: {}, {}, {} of optimizer state",
        printable_path(&args.out),
        counted(checkpoint.header().updates, "update"),
        counted(checkpoint.header().parameters.len() as u64, "tensor"),
        DecimalBytes(sizes.states),
    )?;
    Ok(())
}

/// Whether two paths lead to the same file, be it by links: hard ones are known where the system tells.
fn is_one_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b || is_hard_link(&a, &b),
        // A file that is not there is not the same as any.
        _ => false,
    }
}

#[cfg(unix)]
fn is_hard_link(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino()));
    matches!((inode(a), inode(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn is_hard_link(_: &Path, _: &Path) -> bool {
    false
}

fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", HumanCount(count))
}

fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let bytes = read(&args.file)?;
    let size = bytes.len() as u64;
    let checkpoint = Checkpoint::from_bytes(bytes)
        .map_err(|error| failed(format!("{}: {error}", args.file.display())))?;
    let mut stdout = io::stdout().lock();
    if args.json {
        let json = json(&Inspected::of(&args.file, size, &checkpoint))?;
        writeln!(stdout, "{json}")?;
        return Ok(());
    }
    writeln!(stdout, "{}", summary(&args.file, size, &checkpoint))?;
    writeln!(stdout, "{}", parameters(&checkpoint))?;
    Ok(())
}

#[derive(Serialize)]
struct Inspected<'a> {
    file: String,
    bytes: u64,
    #[serde(flatten)]
    header: &'a Header,
    tensors: Vec<TensorEntry<'a>>,
}

#[derive(Serialize)]
struct TensorEntry<'a> {
    name: &'a str,
    shape: &'a [usize],
    dtype: &'static str,
    bytes: usize,
}

impl<'a> Inspected<'a> {
    fn of(file: &Path, bytes: u64, checkpoint: &'a Checkpoint) -> Self {
        let tensors = checkpoint.tensors();
        Self {
            file: file.display().to_string(),
            bytes,
            header: checkpoint.header(),
            tensors: tensors
                .map(|(name, shape, dtype, bytes)| TensorEntry {
                    name,
                    shape,
                    dtype: dtype.name(),
                    bytes,
                })
                .collect(),
        }
    }
}

/// How many bytes of a file are what.
#[derive(Default)]
struct Sizes {
    model: u64,
    states: u64,
    averages: u64,
    window: u64,
}

impl Sizes {
    fn of(checkpoint: &Checkpoint) -> Self {
        let mut sizes = Self::default();
        for (name, _, _, bytes) in checkpoint.tensors() {
            let size = match name.split_once('/') {
                Some(("model", _)) => &mut sizes.model,
                Some(("optimizer", _)) if is_state(name) => &mut sizes.states,
                Some(("average", _)) => &mut sizes.averages,
                Some(("window", _)) => &mut sizes.window,
                _ => continue,
            };
            *size += bytes as u64;
        }
        sizes
    }
}

/// The layout is a list of names.
fn is_state(name: &str) -> bool {
    !name.ends_with("/layout")
}

fn summary(file: &Path, size: u64, checkpoint: &Checkpoint) -> Table {
    let header = checkpoint.header();
    let sizes = Sizes::of(checkpoint);
    let mut table = table(["Checkpoint".to_string(), printable_path(file)]);
    let mut row = |what: &str, value: String| {
        table.add_row([printable(what), printable(&value)]);
    };
    row("size", DecimalBytes(size).to_string());
    let version = &header.version;
    row(
        "format",
        format!("{}, written by downhill-train {version}", header.format),
    );
    row("updates", HumanCount(header.updates).to_string());
    row("skipped", HumanCount(header.skipped).to_string());
    row("metric", header.metric.map_or("none".to_string(), number));
    row(
        "learning rate",
        match (&header.learning_rate, &header.settings) {
            (Some(rate), _) => words(rate),
            (None, Some(_)) => "a scheduler with a state of its own".to_string(),
            (None, None) => "not known".to_string(),
        },
    );
    match &header.settings {
        Some(Value::Object(settings)) => {
            for (name, value) in settings {
                row(&name.replace('_', " "), words(value));
            }
        }
        _ => row("driver", "none: made of Burn's records".to_string()),
    }
    for (at, optimizer) in header.optimizers.iter().enumerate() {
        let settings = match serde_json::from_str(&optimizer.settings) {
            Ok(value) => words(&value),
            Err(_) => optimizer.settings.clone(),
        };
        let what = match header.optimizers.len() {
            1 => "optimizer".to_string(),
            _ => format!("optimizer {}", at + 1),
        };
        row(&what, format!("{}: {settings}", optimizer.name));
    }
    if header.optimizers.is_empty() {
        row("optimizer", "not known".to_string());
    }
    row(
        "averages",
        match header.averaged {
            Some(count) => {
                let size = DecimalBytes(sizes.averages);
                format!("of {}, {size}", counted(count, "update"))
            }
            None => "none".to_string(),
        },
    );
    row(
        "window",
        match header.micro_batches {
            0 => "empty".to_string(),
            count => {
                let size = DecimalBytes(sizes.window);
                format!("{}, {size}", counted(count.into(), "micro-batch"))
            }
        },
    );
    for (name, value) in &header.notes {
        row(&format!("note {name}"), value.clone());
    }
    table
}

/// Settings without the marks of JSON.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_string(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::Number(x) => x.as_f64().map_or(x.to_string(), number),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let inner = |value: &Value| match value {
                Value::Object(_) | Value::Array(_) => format!("({})", words(value)),
                value => words(value),
            };
            let named = fields.get("name").and_then(Value::as_str);
            let fields = fields.iter().filter(|(key, _)| *key != "name");
            let fields: Vec<String> = fields
                .map(|(key, value)| format!("{key} {}", inner(value)))
                .collect();
            match (named, fields.is_empty()) {
                (None, _) => fields.join(", "),
                (Some(name), true) => name.to_string(),
                (Some(name), false) => format!("{name}: {}", fields.join(", ")),
            }
        }
    }
}

fn parameters(checkpoint: &Checkpoint) -> Table {
    let header = checkpoint.header();
    // A column that says the same everywhere is left out.
    let optimizers = header.optimizers.len() > 1;
    let groups = (header.parameters.iter()).any(|entry| !entry.groups.is_empty());
    let mut names = vec!["Parameter", "Shape", "Type", "Elements"];
    names.extend(optimizers.then_some("Optimizer"));
    names.extend(groups.then_some("Groups"));
    names.push("State");
    let columns = names.len();
    let mut table = table(names);
    let row = |path: &str,
               shape: String,
               dtype: &str,
               elements: Option<u64>,
               of: [String; 2],
               state: u64| {
        let mut cells = vec![printable(path), shape, dtype.to_string()];
        let elements = elements.map(|count| HumanCount(count).to_string());
        cells.push(elements.unwrap_or("too many to count".to_string()));
        let [optimizer, names] = of;
        cells.extend(optimizers.then_some(optimizer));
        cells.extend(groups.then_some(printable(&names)));
        // A narrow terminal must not part a number from its unit.
        cells.push(DecimalBytes(state).to_string().replace(' ', "\u{a0}"));
        cells
    };
    let mut total = (Some(0), 0);
    for entry in &header.parameters {
        let elements = elements(&entry.shape);
        let state = checkpoint.state_bytes(&entry.path) as u64;
        let sum = total.0.zip(elements);
        total = (
            sum.and_then(|(a, b): (u64, u64)| a.checked_add(b)),
            total.1 + state,
        );
        let optimizer = entry
            .optimizer
            .map_or("-".to_string(), |at| at.saturating_add(1).to_string());
        let groups = match entry.groups.as_slice() {
            [] => "-".to_string(),
            groups => groups.join(", "),
        };
        let shape = entry.shape.iter().map(ToString::to_string);
        let shape = shape.collect::<Vec<_>>().join("×");
        let dtype = entry.dtype.name();
        table.add_row(row(
            &entry.path,
            shape,
            dtype,
            elements,
            [optimizer, groups],
            state,
        ));
    }
    let none = [String::new(), String::new()];
    table.add_row(row("total", String::new(), "", total.0, none, total.1));
    for at in [3, columns - 1] {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What a header says of a shape need not be one that a tensor can have.
fn elements(shape: &[usize]) -> Option<u64> {
    let mut sizes = shape.iter().map(|size| *size as u64);
    sizes.try_fold(1, u64::checked_mul)
}
