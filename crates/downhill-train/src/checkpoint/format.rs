//! The file: a burnpack container, and behind it a trailer with the checksum of all of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use burn::tensor::{Bytes, DType, TensorData};
use burn_pack::{
    AtomicFile, HEADER_SIZE, MAX_FILE_SIZE, MAX_METADATA_SIZE, MAX_TENSOR_COUNT, MAX_TENSOR_SIZE,
    Reader, Scalar, Writer,
};
use serde::{Deserialize, Serialize};

use super::{CheckpointError, RatesAhead};
use crate::ParamPath;

/// The version of the format that is written.
pub const FORMAT: u32 = 1;

/// The key of the header in the container's metadata.
pub(super) const KEY: &str = "downhill";

/// `b"DOWNHILL"`, the length of what is before it, and the CRC-32 of that.
const TRAILER: usize = 20;
const MAGIC: &[u8; 8] = b"DOWNHILL";

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The version of the format.
    pub format: u32,
    /// The version of the crate that wrote it.
    pub version: String,
    /// The number of updates made.
    pub updates: u64,
    /// How many were left out.
    pub skipped: u64,
    /// The learning rate's schedule, if it is known.
    pub learning_rate: Option<serde_json::Value>,
    /// The learning rates to come, if a scheduler gives them that does not say what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates_ahead: Option<RatesAhead>,
    /// The settings of the driver, if a driver wrote it.
    pub settings: Option<serde_json::Value>,
    /// Name and settings of each optimizer; empty where they are not known.
    pub optimizers: Vec<OptimizerEntry>,
    /// Every tensor of the model.
    pub parameters: Vec<ParameterEntry>,
    /// How many parameters an average has taken in; none without averaging.
    pub averaged: Option<u64>,
    /// Micro-batches in a window that is not full.
    pub micro_batches: u32,
    /// The metric that it was saved with.
    pub metric: Option<f64>,
    /// The place among the saves of its [folder](super::Checkpoints), counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<u64>,
    /// Values of the user's.
    pub notes: BTreeMap<String, String>,
    /// The CRC-32 of each tensor.
    pub checksums: BTreeMap<String, u32>,
}

/// An optimizer in a [`Header`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OptimizerEntry {
    /// The name.
    pub name: String,
    /// The settings, as JSON.
    pub settings: String,
}

/// A tensor of the model in a [`Header`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterEntry {
    /// The path in the model.
    pub path: ParamPath,
    /// The shape, as it is saved.
    pub shape: Vec<usize>,
    /// The precision.
    pub dtype: DType,
    /// The dimensions in the order in which they lie in memory, from the outermost to the innermost, if that
    /// is not their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_order: Option<Vec<usize>>,
    /// The place of its optimizer in [`Header::optimizers`], where there is one that is known.
    pub optimizer: Option<usize>,
    /// The names of its groups.
    pub groups: Vec<String>,
    /// Whether it was frozen or thawed by hand, against what its groups say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
}

/// The contents of a file, all of it checked.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub header: Header,
    pub tensors: BTreeMap<String, TensorData>,
    pub scalars: BTreeMap<String, Scalar>,
}

impl Contents {
    /// The file's bytes: the same for the same contents.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut header = self.header.clone();
        header.checksums = (self.tensors.iter())
            .map(|(name, data)| (name.clone(), crc32fast::hash(data.as_bytes())))
            .collect();
        let json = serde_json::to_string(&header).map_err(|error| CheckpointError::TooLarge {
            reason: format!("its header cannot be written: {error}"),
        })?;
        let too_large = |reason| Err(CheckpointError::TooLarge { reason });
        if self.tensors.len() > MAX_TENSOR_COUNT {
            let count = self.tensors.len();
            return too_large(format!(
                "{count} tensors, and {MAX_TENSOR_COUNT} can be read"
            ));
        }
        for (name, data) in &self.tensors {
            let bytes = data.as_bytes().len();
            if bytes > MAX_TENSOR_SIZE {
                return too_large(format!(
                    "`{name}` has {bytes} bytes, and {MAX_TENSOR_SIZE} can be read"
                ));
            }
        }
        // In the order of the names.
        let tensors = self.tensors.iter().map(|(name, data)| {
            let bytes = Bytes::from_bytes_vec(data.as_bytes().to_vec());
            burn_pack::Tensor::new(
                name.clone(),
                data.dtype(),
                data.shape().clone(),
                None,
                bytes,
            )
        });
        let mut writer = Writer::new(tensors.collect()).with_metadata(KEY, &json);
        for (name, scalar) in &self.scalars {
            writer = writer.with_scalar(name, *scalar);
        }
        let packed = writer
            .into_bytes()
            .map_err(|error| CheckpointError::TooLarge {
                reason: error.to_string(),
            })?;
        // The container's header ends with the size of its metadata.
        let size = packed.get(HEADER_SIZE - 4..HEADER_SIZE);
        let size = size
            .and_then(|size| size.try_into().ok())
            .map(u32::from_le_bytes);
        if size.is_none_or(|size| size > MAX_METADATA_SIZE) {
            return too_large(format!(
                "its header is larger than the {MAX_METADATA_SIZE} bytes that can be read"
            ));
        }
        if packed.len() as u64 + TRAILER as u64 > MAX_FILE_SIZE {
            return too_large(format!(
                "more than the {MAX_FILE_SIZE} bytes that can be read"
            ));
        }
        let mut bytes = packed.to_vec();
        let checksum = crc32fast::hash(&bytes);
        let length = bytes.len() as u64;
        bytes.extend(MAGIC);
        bytes.extend(length.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Reads and checks everything.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let intact = check_trailer(&bytes);
        if let Err(error) = &intact
            && !matches!(error, CheckpointError::Damaged { .. })
        {
            return Err(unlabelled(&bytes).unwrap_or_else(|| error.clone()));
        }
        bytes.truncate(bytes.len() - TRAILER);
        match (Self::unpack(bytes), intact) {
            (Ok(contents), Ok(())) => Ok(contents),
            // Which tensor it is, where that can be told.
            (Err(error @ CheckpointError::Damaged { .. }), _) | (_, Err(error)) => Err(error),
            (Err(error), Ok(())) => Err(error),
        }
    }

    fn unpack(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let foreign = |reason: String| CheckpointError::NotACheckpoint { reason };
        let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes));
        let reader = reader.map_err(|error| foreign(error.to_string()))?;
        let header = header(&reader)?;
        let scalars = reader.scalars().clone();
        let tensors = reader
            .into_tensors()
            .map_err(|error| foreign(error.to_string()))?;
        let mut unpacked = BTreeMap::new();
        for tensor in tensors {
            let parts = tensor.into_parts();
            let (name, dtype, shape, _, bytes) =
                parts.map_err(|error| foreign(error.to_string()))?;
            if header.checksums.get(&name) != Some(&crc32fast::hash(&bytes)) {
                return Err(CheckpointError::Damaged {
                    what: format!("the tensor `{name}`"),
                });
            }
            unpacked.insert(name, TensorData::from_bytes(bytes, shape, dtype));
        }
        if let Some(name) = header
            .checksums
            .keys()
            .find(|name| !unpacked.contains_key(*name))
        {
            return Err(CheckpointError::Damaged {
                what: format!("the list of tensors: `{name}` is not there"),
            });
        }
        Ok(Self {
            header,
            tensors: unpacked,
            scalars,
        })
    }

    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(|error| io(path, "read", &error))?;
        Self::from_bytes(bytes)
    }

    /// Writes a file that is there as a whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        write_whole(path, &self.to_bytes()?).map_err(|error| CheckpointError::Io {
            path: path.to_path_buf(),
            reason: format!("cannot be written: {error}"),
        })
    }
}

/// Writes a file that is there as a whole or not at all; an error is in words.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    // The file is closed before it gets its name.
    let scratch = {
        let (scratch, mut file) = AtomicFile::create(path).map_err(|error| error.to_string())?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|error| error.to_string())?;
        scratch
    };
    scratch.commit().map_err(|error| error.to_string())
}

pub(super) fn io(path: &Path, what: &str, error: &std::io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.to_path_buf(),
        reason: format!("cannot be {what}: {error}"),
    }
}

fn header(reader: &Reader) -> Result<Header, CheckpointError> {
    let Some(json) = reader.metadata().get(KEY) else {
        return Err(CheckpointError::NotACheckpoint {
            reason: "it is a burnpack file of another kind (a model's or an optimizer's record?); \
                     `downhill checkpoint convert` makes a checkpoint of such"
                .to_string(),
        });
    };
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let damaged = |error: serde_json::Error| CheckpointError::Damaged {
        what: format!("the header ({error})"),
    };
    let Version { format } = serde_json::from_str(json).map_err(damaged)?;
    if format != FORMAT {
        return Err(CheckpointError::Format { found: format });
    }
    serde_json::from_str(json).map_err(damaged)
}

fn check_trailer(bytes: &[u8]) -> Result<(), CheckpointError> {
    let truncated = CheckpointError::Truncated {
        bytes: bytes.len() as u64,
    };
    let Some(at) = bytes.len().checked_sub(TRAILER) else {
        return Err(truncated);
    };
    let (packed, trailer) = bytes.split_at(at);
    let (magic, rest) = trailer.split_at(MAGIC.len());
    let (length, checksum) = rest.split_at(8);
    if magic != MAGIC {
        return Err(truncated);
    }
    let fits = length == (packed.len() as u64).to_le_bytes();
    if !fits || checksum != crc32fast::hash(packed).to_le_bytes() {
        return Err(CheckpointError::Damaged {
            what: "its checksum is another".to_string(),
        });
    }
    Ok(())
}

/// What a file without a trailer is, if it is none of ours that was cut off.
fn unlabelled(bytes: &[u8]) -> Option<CheckpointError> {
    let reason = |reason: &str| {
        let reason = reason.to_string();
        Some(CheckpointError::NotACheckpoint { reason })
    };
    if bytes.is_empty() {
        return reason("it is empty");
    }
    let known = bytes.len().min(4);
    if bytes[..known] != burn_pack::MAGIC_NUMBER.to_le_bytes()[..known] {
        return reason("it does not begin as a burnpack file does");
    }
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).ok()?;
    match header(&reader) {
        Err(error @ CheckpointError::NotACheckpoint { .. }) => Some(error),
        _ => None,
    }
}

/// The header of a file, of which no more is checked than that the file has its end: enough to list what is in a
/// folder.
pub(crate) fn peek(path: &Path) -> Result<Header, CheckpointError> {
    check_ends(path)?;
    let reader = Reader::from_file_exact(path).map_err(|error| CheckpointError::Damaged {
        what: error.to_string(),
    })?;
    header(&reader)
}

/// Whether a file begins as a burnpack file does, and has a trailer at its end.
fn check_ends(path: &Path) -> Result<(), CheckpointError> {
    let failed = |error: std::io::Error| io(path, "read", &error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut start = [0; 4];
    if file.read_exact(&mut start).is_err() || start != burn_pack::MAGIC_NUMBER.to_le_bytes() {
        return Err(CheckpointError::NotACheckpoint {
            reason: "it does not begin as a burnpack file does".to_string(),
        });
    }
    let mut magic = [0; MAGIC.len()];
    let trailer = SeekFrom::Start(bytes.saturating_sub(TRAILER as u64));
    file.seek(trailer).map_err(failed)?;
    match file.read_exact(&mut magic).is_ok() && magic == *MAGIC {
        true => Ok(()),
        false => Err(CheckpointError::Truncated { bytes }),
    }
}
