//! Reports in files: as lines of JSON, as a table, and for TensorBoard.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc32c::crc32c;
use prost::Message;
use serde::Serialize;

use crate::{Outcome, StepReport};

/// A file of [`StepReport`]s, which is up to date after every one. What is in a file already stays, so that a
/// training that goes on goes on there.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::optim::GradientsParams;
/// # use burn::tensor::{Device, Tensor};
/// # use downhill_optim::SgdConfig;
/// # use downhill_train::Driver;
/// use downhill_train::ReportLog;
///
/// # let folder = std::env::temp_dir().join(format!("downhill-log-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let device = Device::flex().autodiff();
/// # let model: Linear = LinearConfig::new(2, 1).init(&device);
/// # let mut driver = Driver::builder(SgdConfig::new().init(), 0.1).bind(&model)?;
/// # let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).sum();
/// # let grads = GradientsParams::from_grads(loss.backward(), &model);
/// let mut table = ReportLog::csv(folder.join("steps.csv"))?;
/// let mut board = ReportLog::tensor_board(folder.join("runs/first"))?;
/// let (model, report) = driver.step(model, grads).map_err(|error| error.cause)?;
/// table.write(&report)?;
/// board.write(&report)?;
/// # let written = std::fs::read_to_string(folder.join("steps.csv"))?;
/// # assert!(written.starts_with("step,outcome,learning_rate,"));
/// # std::fs::remove_dir_all(folder)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReportLog {
    file: File,
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    JsonLines,
    Csv,
    TensorBoard,
}

impl ReportLog {
    /// One JSON object per line, with everything that a report has: `serde_json` reads it back.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn json_lines(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open(path.as_ref(), Format::JsonLines)
    }

    /// A table with a line for each update: step, outcome, rate, weight decay, momentum, loss, factor of the loss, norms,
    /// and counts. What is not known is empty.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or has other columns.
    pub fn csv(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut log = Self::open(path, Format::Csv)?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(Row::default())?;
        let header = writer.into_inner().map_err(|error| error.into_error())?;
        let end = header.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let header = &header[..=end];
        let mut before = Vec::new();
        let begin = File::open(path).map(|file| file.take(header.len() as u64));
        let read = begin.and_then(|mut begin| begin.read_to_end(&mut before));
        read.map_err(|error| at(path, &error))?;
        if before.is_empty() {
            log.file.write_all(header)?;
        } else if before != header {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it has other columns");
            return Err(at(path, &error));
        }
        Ok(log)
    }

    /// Events for TensorBoard, in a file of its own in this folder: everything that is a number, with what is driven
    /// and how far parameters moved under their names.
    ///
    /// # Errors
    ///
    /// If the folder or the file cannot be made.
    pub fn tensor_board(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        let now = now();
        let name = format!(
            "events.out.tfevents.{:.6}.{}.downhill",
            now,
            std::process::id()
        );
        let mut log = Self::open(&folder.join(name), Format::TensorBoard)?;
        let version = Some("brain.Event:2".to_string());
        log.event(&Event {
            wall_time: now,
            file_version: version,
            ..Event::default()
        })?;
        Ok(log)
    }

    /// Adds a report.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, report: &StepReport) -> io::Result<()> {
        match self.format {
            Format::JsonLines => {
                let mut line = serde_json::to_vec(report)?;
                line.push(b'\n');
                self.file.write_all(&line)
            }
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .has_headers(false)
                    .from_writer(&mut self.file);
                writer.serialize(Row::from(report))?;
                writer.flush()
            }
            Format::TensorBoard => {
                let values = scalars(report).into_iter().map(|(tag, value)| Value {
                    tag,
                    simple_value: Some(value as f32),
                });
                let summary = Summary {
                    value: values.collect(),
                };
                self.event(&Event {
                    wall_time: now(),
                    step: i64::try_from(report.step).unwrap_or(i64::MAX),
                    summary: Some(summary),
                    ..Event::default()
                })
            }
        }
    }

    fn open(path: &Path, format: Format) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|error| at(path, &error))?;
        Ok(Self { file, format })
    }

    /// A record as TensorFlow writes it: the length and the bytes, each with a checksum.
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(&length));
        record.extend(&bytes);
        record.extend(masked(&bytes));
        self.file.write_all(&record)
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    let checksum = crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    checksum.to_le_bytes()
}

/// The numbers of a report, by their names.
fn scalars(report: &StepReport) -> Vec<(String, f64)> {
    let row = Row::from(report);
    let failed = row.failed_decompositions as f64;
    let named = [
        ("learning_rate", Some(row.learning_rate)),
        ("weight_decay", row.weight_decay),
        ("momentum", row.momentum),
        ("loss", row.loss),
        ("loss_scale", row.loss_scale),
        ("grad_norm", row.grad_norm),
        ("clipped_norm", row.clipped_norm),
        ("skipped", Some(row.skipped as f64)),
        ("failed_decompositions", Some(failed)),
    ];
    let named = named.into_iter();
    let known = named.filter_map(|(name, value)| Some((name.to_string(), value?)));
    let driven = report.driven.iter();
    let driven = driven.map(|(name, value)| (format!("driven/{name}"), *value));
    let ratios = report.update_ratios.iter();
    let ratios = ratios.map(|of| (format!("update_ratio/{}", of.path), of.ratio));
    known.chain(driven).chain(ratios).collect()
}

/// A line of the table.
#[derive(Default, Serialize)]
struct Row {
    step: u64,
    outcome: &'static str,
    learning_rate: f64,
    weight_decay: Option<f64>,
    momentum: Option<f64>,
    loss: Option<f64>,
    loss_scale: Option<f64>,
    grad_norm: Option<f64>,
    clipped_norm: Option<f64>,
    updated: usize,
    skipped: u64,
    failed_decompositions: u64,
}

impl From<&StepReport> for Row {
    fn from(report: &StepReport) -> Self {
        Self {
            step: report.step,
            outcome: match report.outcome {
                Outcome::Updated => "updated",
                Outcome::Accumulated { .. } => "accumulated",
                Outcome::Skipped => "skipped",
                Outcome::Nothing => "nothing",
            },
            learning_rate: report.learning_rate,
            weight_decay: report.weight_decay,
            momentum: report.momentum,
            loss: report.loss,
            loss_scale: report.loss_scale,
            grad_norm: report.grad_norm.as_ref().map(|norm| norm.value()),
            clipped_norm: report.clipped_norm.as_ref().map(|norm| norm.value()),
            updated: report.updated,
            skipped: report.skipped,
            failed_decompositions: report.failed_decompositions,
        }
    }
}

/// As far as it is needed, `event.proto` of TensorFlow.
#[derive(Clone, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `summary.proto`
#[derive(Clone, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// One of several that there may be, so that 0 is written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: [&str; 2] = [
        r#"{"step": 1, "outcome": "updated", "learning_rate": 0.5, "loss": 2.25, "driven": {"beta_2": 0.9},
            "update_ratios": [{"path": "weight", "ratio": 0.001}], "updated": 2, "skipped": 0}"#,
        r#"{"step": 2, "outcome": "skipped", "learning_rate": 0.25, "loss": "NaN", "updated": 0, "skipped": 1}"#,
    ];

    fn reports() -> Vec<StepReport> {
        REPORTS
            .map(|text| serde_json::from_str(text).unwrap())
            .into()
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let name = format!("downhill-log-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Twice, as by a training that goes on.
    fn written(path: &Path, open: impl Fn(&Path) -> io::Result<ReportLog>) -> String {
        for report in reports() {
            open(path).unwrap().write(&report).unwrap();
        }
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_of_json_are_read_back() {
        let folder = folder("json");
        let text = written(&folder.join("steps.jsonl"), |path| {
            ReportLog::json_lines(path)
        });
        let read = text
            .lines()
            .map(|line| serde_json::from_str::<StepReport>(line).unwrap());
        let said: Vec<String> = read.map(|report| report.to_string()).collect();
        let expected: Vec<String> = reports().iter().map(ToString::to_string).collect();
        assert_eq!(said, expected);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_table_has_one_header() {
        let folder = folder("csv");
        let path = folder.join("steps.csv");
        let text = written(&path, |path| ReportLog::csv(path));
        let expected = "step,outcome,learning_rate,weight_decay,momentum,loss,loss_scale,grad_norm,clipped_norm,\
                        updated,skipped,failed_decompositions\n\
                        1,updated,0.5,,,2.25,,,,2,0,0\n\
                        2,skipped,0.25,,,NaN,,,,0,1,0\n";
        assert_eq!(text, expected);
        fs::write(&path, "step,loss\n").unwrap();
        let error = ReportLog::csv(&path).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("steps.csv: it has other columns"),
            "{error}"
        );
        let error = ReportLog::csv(folder.join("none/steps.csv")).unwrap_err();
        assert!(error.to_string().contains("none/steps.csv"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    /// The records of a file, whose checksums are right.
    fn events(bytes: &[u8]) -> Vec<Event> {
        let mut rest = bytes;
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let (checksum, after) = after.split_at(4);
            assert_eq!(checksum, masked(length));
            let length = u64::from_le_bytes(length.try_into().unwrap());
            let (event, after) = after.split_at(usize::try_from(length).unwrap());
            let (checksum, after) = after.split_at(4);
            assert_eq!(checksum, masked(event));
            events.push(Event::decode(event).unwrap());
            rest = after;
        }
        events
    }

    #[test]
    fn tensor_board_gets_all_that_is_a_number() {
        // The checksum of the nine digits, as RFC 3720 has it, masked as TensorFlow does.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let folder = folder("board");
        let mut log = ReportLog::tensor_board(&folder).unwrap();
        reports()
            .iter()
            .for_each(|report| log.write(report).unwrap());
        let file = fs::read_dir(&folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let events = events(&fs::read(file).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let found = |event: &Event| -> Vec<(String, f32)> {
            let values = event.summary.clone().unwrap().value.into_iter();
            values
                .map(|value| (value.tag, value.simple_value.unwrap()))
                .collect()
        };
        assert_eq!(
            events.iter().map(|event| event.step).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        let expected = [
            ("learning_rate", 0.5),
            ("loss", 2.25),
            ("skipped", 0.0),
            ("failed_decompositions", 0.0),
            ("driven/beta_2", 0.9),
            ("update_ratio/weight", 0.001),
        ];
        let expected = expected.map(|(tag, value)| (tag.to_string(), value));
        assert_eq!(found(&events[1]), expected);
        assert!(found(&events[2])[1].1.is_nan());
        fs::remove_dir_all(folder).unwrap();
    }
}
