//! What an optimizer computes, operation by operation: the formula that runs as a pass over memory on the CPU and as a
//! kernel on a GPU.
//!
//! ```
//! use downhill_lab::explain::Explanation;
//! use downhill_optim::OptimizerConfig;
//!
//! let sgd = OptimizerConfig::by_name("sgd")?;
//! let explanation = Explanation::new(&sgd, 0.1, 1)?.expect("one rule");
//! let last = explanation.parts.last().unwrap().lines.last().unwrap();
//! assert_eq!(last.to_string(), "t6 = t4 - t5");
//! # Ok::<(), downhill_optim::ConfigError>(())
//! ```

use std::fmt;

use downhill_optim::rule::tape::{Binary, Op, Recording, Unary, With};
use downhill_optim::rule::{Fold, Over, StepRecording};
use downhill_optim::{ConfigError, OptimizerConfig, SettingKind};
use serde::Serialize;

/// The shape whose step is written down: what looks at rows and columns has some.
const SHAPE: [usize; 2] = [3, 5];

/// What one step of an optimizer computes.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The optimizer.
    pub optimizer: String,
    /// A line about it.
    pub description: String,
    /// The paper or the program that it is from.
    pub source: String,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The number of the step.
    pub step: u64,
    /// Numbers of state for each of the parameter.
    pub state: Vec<String>,
    /// Bytes that a step of a parameter in f32 reads and writes at least for each number of it, if every look and the
    /// move go over memory once.
    pub bytes_per_parameter: usize,
    /// What is computed, in order.
    pub parts: Vec<Part>,
}

/// A piece of a step that is computed in one go.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// What it does.
    pub title: String,
    /// What goes in.
    pub inputs: Vec<String>,
    /// Its operations.
    pub lines: Vec<Line>,
    /// What comes out changed: the name of the result, and what it is.
    pub outputs: Vec<(String, String)>,
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The name of the result.
    pub result: String,
    /// The operation, as a sign.
    pub operation: &'static str,
    /// What it works on: results of other lines, inputs, and numbers.
    pub operands: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operands = &self.operands;
        write!(f, "{} = ", self.result)?;
        match (self.operation, operands.as_slice()) {
            ("", [number]) => write!(f, "{number}"),
            ("1/", [x]) => write!(f, "1 / {x}"),
            ("select", [x, above, otherwise]) => {
                write!(f, "{above} where {x} > 0, otherwise {otherwise}")
            }
            (sign, [a, b]) if !sign.chars().all(char::is_alphabetic) => {
                write!(f, "{a} {sign} {b}")
            }
            (name, operands) => write!(f, "{name}({})", operands.join(", ")),
        }
    }
}

/// Its operations, one a line, and what comes out.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        for (result, name) in &self.outputs {
            writeln!(f, "  {name} ← {result}")?;
        }
        Ok(())
    }
}

/// All that is said of a step, as the command prints it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            optimizer,
            description,
            source,
            learning_rate,
            step,
            state,
            bytes_per_parameter,
            parts,
        } = self;
        writeln!(f, "{optimizer}: {description}\nSource: {source}")?;
        let state = match state.is_empty() {
            true => "none".to_string(),
            false => state.join(", "),
        };
        writeln!(
            f,
            "State: {state}\nMemory: {bytes_per_parameter} bytes read and written for each parameter in f32\n\
             Step {step} at a learning rate of {learning_rate}"
        )?;
        parts.iter().try_for_each(|part| write!(f, "\n{part}"))
    }
}

impl Explanation {
    /// The explanation of step `step` at a learning rate; none of what is made of several pieces, as wrappers and
    /// methods of matrices.
    ///
    /// # Errors
    ///
    /// If the optimizer cannot be built.
    pub fn new(config: &OptimizerConfig, lr: f64, step: u64) -> Result<Option<Self>, ConfigError> {
        let Some(recorded) = config.try_record(lr, step, &SHAPE)? else {
            return Ok(None);
        };
        let labels = Labels::new(config, lr, step, &recorded)?;
        let info = config.info();
        let slots: Vec<String> = config.state_names()?;
        let (kept, state) = slots.split_at(recorded.kept.len().min(slots.len()));
        let named = |names: &[&str], from: &[String]| {
            let names = names.iter().map(ToString::to_string);
            names.chain(from.iter().cloned()).collect::<Vec<String>>()
        };
        let known: Vec<String> = numbered("known", &recorded.known);
        let mut elements = named(&["param", "grad"], state);
        elements.extend(known.iter().cloned());
        let mut parts = Vec::new();
        for (at, look) in recorded.looks.iter().enumerate() {
            let sums: Vec<String> = look.over[..look.terms.tape.outputs().len()]
                .iter()
                .enumerate()
                .map(|(sum, over)| format!("{} {sum}", folded(look.fold, *over)))
                .collect();
            let title = format!("Look {}: of every element", at + 1);
            parts.push(part(
                title,
                &look.terms,
                &elements,
                &sums,
                &labels.looks[at].0,
            ));
            let mut inputs = sums;
            inputs.extend(known.iter().cloned());
            inputs.extend(kept.iter().cloned());
            let results = [known.clone(), kept.to_vec()].concat();
            let title = "What that comes to".to_string();
            parts.push(part(
                title,
                &look.settle,
                &inputs,
                &results,
                &labels.looks[at].1,
            ));
        }
        let results = named(&["param"], state);
        let title = match recorded.looks.is_empty() {
            true => "Of every element".to_string(),
            false => "The move: of every element".to_string(),
        };
        parts.push(part(title, &recorded.go, &elements, &results, &labels.go));
        let reads = |recording: &Recording| {
            let inputs = 0..2 + state.len();
            inputs.filter(|&input| recording.tape.reads(input)).count()
        };
        let looks: usize = recorded.looks.iter().map(|look| reads(&look.terms)).sum();
        Ok(Some(Self {
            optimizer: config.name().to_string(),
            description: info.description.to_string(),
            source: info.paper.to_string(),
            learning_rate: lr,
            step,
            bytes_per_parameter: 4 * (looks + reads(&recorded.go) + 1 + state.len()),
            state: slots,
            parts,
        }))
    }

    /// The data flow of the last part, which moves the parameter, as a picture.
    pub fn svg(&self) -> String {
        let last = self.parts.last().expect("a step has parts");
        super::flow::svg(&self.optimizer, last)
    }
}

fn numbered(name: &str, over: &[Over]) -> Vec<String> {
    let of = |over: &Over| match over {
        Over::Whole => "",
        Over::Rows => " of the row",
        Over::Cols => " of the column",
    };
    let numbers = over.iter().enumerate();
    numbers
        .map(|(at, over)| format!("{name} {at}{}", of(over)))
        .collect()
}

fn folded(fold: Fold, over: Over) -> &'static str {
    match (fold, over) {
        (Fold::Sum, Over::Whole) => "sum over all",
        (Fold::Sum, Over::Rows) => "sum over the row",
        (Fold::Sum, Over::Cols) => "sum over the column",
        (Fold::Max, Over::Whole) => "largest of all",
        (Fold::Max, Over::Rows) => "largest of the row",
        (Fold::Max, Over::Cols) => "largest of the column",
    }
}

fn part(
    title: String,
    recording: &Recording,
    inputs: &[String],
    outputs: &[String],
    labels: &[String],
) -> Part {
    let mut names: Vec<String> = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    let mut used = Vec::new();
    for op in recording.tape.ops() {
        let of = |register: &u16| names[usize::from(*register)].clone();
        let number = |scalar: &u16| labels[usize::from(*scalar)].clone();
        let (operation, operands) = match op {
            Op::Input(input) => {
                let name = inputs[usize::from(*input)].clone();
                used.push(name.clone());
                names.push(name);
                continue;
            }
            Op::Scalar(scalar) => ("", vec![number(scalar)]),
            Op::Unary(op, a) => (unary(*op), vec![of(a)]),
            Op::Binary(op, a, b) => (binary(*op), vec![of(a), of(b)]),
            Op::With(op, a, scalar) => (with(*op), vec![of(a), number(scalar)]),
            Op::Select(a, b, c) => ("select", vec![of(a), of(b), of(c)]),
        };
        let result = format!("t{}", lines.len() + 1);
        names.push(result.clone());
        lines.push(Line {
            result,
            operation,
            operands,
        });
    }
    let results = recording.tape.outputs().iter();
    let results = results.map(|&register| names[usize::from(register)].clone());
    Part {
        title,
        inputs: used,
        lines,
        outputs: results
            .zip(outputs.iter().cloned())
            .filter(|(result, name)| result != name)
            .collect(),
    }
}

fn unary(op: Unary) -> &'static str {
    match op {
        Unary::Recip => "1/",
        Unary::Sqrt => "sqrt",
        Unary::Abs => "abs",
        Unary::Sign => "sign",
        Unary::Heaviside => "heaviside",
        Unary::Exp => "exp",
        Unary::Cbrt => "cbrt",
        Unary::Mean => "mean",
        Unary::Largest => "largest",
    }
}

fn binary(op: Binary) -> &'static str {
    match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "·",
        Binary::Div => "/",
        Binary::Max => "max",
        Binary::Min => "min",
    }
}

fn with(op: With) -> &'static str {
    match op {
        With::Scale => "·",
        With::Offset => "+",
        With::Pow => "^",
        With::ClampMin => "max",
        With::ClampMax => "min",
    }
}

/// What the numbers of the host are, in words.
struct Labels {
    looks: Vec<(Vec<String>, Vec<String>)>,
    go: Vec<String>,
}

/// The numbers of all parts, one after the other.
fn numbers(recorded: &StepRecording) -> Vec<f64> {
    let looks = recorded.looks.iter();
    let looks = looks.flat_map(|look| look.terms.scalars.iter().chain(&look.settle.scalars));
    looks.chain(&recorded.go.scalars).copied().collect()
}

impl Labels {
    fn new(
        config: &OptimizerConfig,
        lr: f64,
        step: u64,
        recorded: &StepRecording,
    ) -> Result<Self, ConfigError> {
        let all = numbers(recorded);
        // What a number depends on shows when that is changed a little.
        let mut depends: Vec<Vec<String>> = vec![Vec::new(); all.len()];
        let mut note = |name: &str, other: &StepRecording| {
            let others = numbers(other);
            if others.len() == all.len() {
                for ((depends, one), other) in depends.iter_mut().zip(&all).zip(&others) {
                    if one.to_bits() != other.to_bits() {
                        depends.push(name.to_string());
                    }
                }
            }
        };
        let mut known = vec![("lr".to_string(), lr)];
        if let Some(other) = config.try_record(lr * 0.75, step, &SHAPE)? {
            note("lr", &other);
        }
        let json = serde_json::to_value(config).unwrap_or_default();
        for setting in config.settings() {
            let Some(value) = json[setting.name].as_f64() else {
                continue;
            };
            if setting.kind != SettingKind::Number && setting.kind != SettingKind::OptionalNumber {
                continue;
            }
            known.push((setting.name.to_string(), value));
            let mut changed = json.clone();
            changed[setting.name] = if value == 0.0 { 0.125 } else { value * 0.75 }.into();
            let changed = OptimizerConfig::from_json(&changed.to_string());
            let other = changed.and_then(|other| other.try_record(lr, step, &SHAPE));
            if let Ok(Some(other)) = other {
                note(setting.name, &other);
            }
        }
        if let Some(other) = config.try_record(lr, step + 1, &SHAPE)? {
            note("step", &other);
        }
        let labels = all.iter().zip(&depends);
        let mut labels = labels.map(|(&number, depends)| label(number, depends, &known));
        let mut take = |recording: &Recording| {
            let count = recording.scalars.len();
            labels.by_ref().take(count).collect::<Vec<String>>()
        };
        let looks = recorded.looks.iter();
        let looks = looks.map(|look| (take(&look.terms), take(&look.settle)));
        Ok(Self {
            looks: looks.collect(),
            go: take(&recorded.go),
        })
    }
}

/// A number as what it is made of, where that can be seen.
fn label(number: f64, depends: &[String], known: &[(String, f64)]) -> String {
    let value = |name: &String| {
        let mut known = known.iter().filter(|(other, _)| other == name);
        known.next().map(|(_, value)| *value)
    };
    match depends {
        [] => format!("{number}"),
        [one] if value(one) == Some(number) => one.clone(),
        [one] if value(one).map(|value| 1.0 - value) == Some(number) => format!("(1 - {one})"),
        [one] if value(one).map(|value| -value) == Some(number) => format!("(-{one})"),
        [a, b] if value(a).zip(value(b)).map(|(a, b)| 1.0 - a * b) == Some(number) => {
            format!("(1 - {a}·{b})")
        }
        several => format!(
            "[{} = {}]",
            several.join(", "),
            downhill_plot::number(number)
        ),
    }
}
