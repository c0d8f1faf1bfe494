//! Classification data from text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use ::csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::{Classification, DataError};

/// Reads a CSV file of numbers, one sample per row, with its class label in the last column.
///
/// - A first row whose last field is not a number is a header and is skipped. Blank lines are
///   skipped, spaces around a field are ignored.
/// - Labels are integers, 0 or greater. The labels that occur are numbered from 0 in ascending
///   order, so that `1, 2, 3` become the classes 0, 1 and 2.
/// - Features are kept as they are; [`Split::standardize`](super::Split::standardize) scales them.
///
/// # Errors
/// A [`DataError`] that names the file and, where there is one, the line and the column: the file
/// cannot be read, holds no data, has rows of different lengths, a field that is not a finite
/// number, a label that is not an integer, or only one class.
///
/// ```
/// use downhill_problems::data;
///
/// let path = std::env::temp_dir().join(format!("flowers-{}.csv", std::process::id()));
/// std::fs::write(&path, "length,width,species\n5.1,3.5,1\n7.0,3.2,2\n")?;
/// let flowers = data::csv(&path)?;
/// assert_eq!(flowers.features(), [5.1, 3.5, 7.0, 3.2]);
/// assert_eq!(flowers.labels(), [0, 1]);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn csv(path: impl AsRef<Path>) -> Result<Classification, DataError> {
    let path = path.as_ref();
    let text = fs::read(path).map_err(|source| DataError::Unreadable {
        path: path.into(),
        source,
    })?;
    parse(&text, path)
}

/// Reads CSV text; `path` is what errors call it.
pub(super) fn parse(text: &[u8], path: &Path) -> Result<Classification, DataError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text);

    let mut features = Vec::new();
    let mut labels = Vec::new();
    let mut width = None;
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|source| DataError::NotCsv {
            path: path.into(),
            source,
        })?
    {
        let row = Row {
            path,
            line: record.position().map_or(0, |start| line(text, start)),
            record: &record,
        };
        let is_first = width.is_none();
        let expected = *width.get_or_insert(record.len());
        if record.len() != expected {
            return Err(DataError::Ragged {
                path: path.into(),
                line: row.line,
                expected,
                found: record.len(),
            });
        }
        if !(is_first && row.is_header()) {
            labels.push(row.read(&mut features)?);
        }
    }

    let Some(width) = width.filter(|_| !labels.is_empty()) else {
        return Err(DataError::Empty { path: path.into() });
    };
    let distinct: BTreeSet<u64> = labels.iter().copied().collect();
    let classes: BTreeMap<u64, usize> = distinct.into_iter().zip(0..).collect();
    if classes.len() == 1 {
        return Err(DataError::OneClass {
            path: path.into(),
            label: labels[0],
        });
    }
    Ok(Classification {
        features,
        labels: labels.iter().map(|label| classes[label]).collect(),
        inputs: width - 1,
        classes: classes.len(),
    })
}

/// The reader's position of a record is that of the blank lines before it.
fn line(text: &[u8], start: &Position) -> u64 {
    let rest = &text[(start.byte() as usize).min(text.len())..];
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    start.line() + blank.filter(|&&byte| byte == b'\n').count() as u64
}

/// One line of the file, and where to find it.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    record: &'a StringRecord,
}

impl Row<'_> {
    /// Judged by the label column alone: features may be called "0", "1", "2", and one mistyped
    /// feature must not turn the first sample into a header.
    fn is_header(&self) -> bool {
        self.record
            .iter()
            .next_back()
            .is_some_and(|label| !label.is_empty() && label.parse::<f64>().is_err())
    }

    /// Appends the features and returns the label.
    fn read(&self, features: &mut Vec<f64>) -> Result<u64, DataError> {
        let label = self.record.len() - 1;
        if label == 0 {
            return Err(DataError::OneField {
                path: self.path.into(),
                line: self.line,
            });
        }
        for (column, text) in self.record.iter().take(label).enumerate() {
            let value = text
                .parse::<f64>()
                .map_err(|_| self.bad_field(column, "a number"))?;
            // Tensors are in single precision unless the device is told otherwise.
            if value.is_nan() || value.abs() > f64::from(f32::MAX) {
                return Err(
                    self.bad_field(column, "a finite number of at most 3.4e38 in magnitude")
                );
            }
            features.push(value);
        }
        // Spreadsheets and NumPy write integers as 1.0 or 1.000e+00.
        match self.record[label].parse::<f64>() {
            Ok(value) if (0.0..=MAX_LABEL).contains(&value) && value.fract() == 0.0 => {
                Ok(value as u64)
            }
            _ => Err(self.bad_field(
                label,
                "a class label, an integer of 0 or greater, in the last column",
            )),
        }
    }

    fn bad_field(&self, column: usize, expected: &'static str) -> DataError {
        let text = &self.record[column];
        let mut shown: String = text.chars().take(40).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        DataError::BadField {
            path: self.path.into(),
            line: self.line,
            column: column + 1,
            expected,
            text: shown,
        }
    }
}

/// Up to here a double holds every integer.
const MAX_LABEL: f64 = 9_007_199_254_740_992.0;
