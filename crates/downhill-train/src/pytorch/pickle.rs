//! The files of `torch.save`: a pickle beside the tensors' bytes, in a ZIP archive.

use std::io::{Cursor, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use pytorch_reader::{PickleValue, PytorchReader};
use serde_json::{Map, Value};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{Group, PyTorchError, PyTorchStates};

pub(super) fn read(file: &Path, key: Option<&str>) -> Result<PyTorchStates, PyTorchError> {
    let name = file.display().to_string();
    let unreadable = |reason: String| PyTorchError::File {
        file: name.clone(),
        reason,
    };
    let other = |reason: &str| PyTorchError::Other {
        file: name.clone(),
        reason: reason.to_string(),
    };
    let opened = match key {
        None => PytorchReader::new(file),
        Some(key) => PytorchReader::with_top_level_key(file, key),
    };
    let tensors = opened.map_err(|error| unreadable(error.to_string()))?;
    let whole = PytorchReader::read_pickle_data(file, key);
    let whole = whole.map_err(|error| unreadable(error.to_string()))?;
    let PickleValue::Dict(mut whole) = whole else {
        return Err(other("it is no dictionary"));
    };
    let Some(PickleValue::List(found)) = whole.remove("param_groups") else {
        return Err(other("it has no `param_groups`"));
    };
    let groups = found.into_iter().map(json).map(Group::read);
    let groups: Result<_, _> = groups.collect();
    let groups = groups.map_err(other)?;
    let Some(PickleValue::Dict(found)) = whole.remove("state") else {
        return Err(other("it has no `state`"));
    };
    let mut all = PyTorchStates {
        groups,
        ..PyTorchStates::default()
    };
    for (place, values) in found {
        let (Ok(at), PickleValue::Dict(values)) = (place.parse(), values) else {
            return Err(other(&format!("`state.{place}` is no parameter's")));
        };
        let state = all.states.entry(at).or_default();
        for (name, value) in values {
            let key = format!("state.{place}.{name}");
            let data = match (tensors.get(&key), value) {
                (Some(tensor), _) => {
                    let dtype = float(tensor.dtype());
                    let dtype = dtype.ok_or_else(|| other(&format!("`{key}` is no float")))?;
                    let bytes = tensor.read();
                    let bytes = bytes.map_err(|error| unreadable(error.to_string()))?;
                    TensorData::from_bytes_vec(bytes, tensor.shape().to_vec(), dtype)
                }
                (None, PickleValue::Int(number)) => TensorData::from([number as f64]),
                (None, PickleValue::Float(number)) => TensorData::from([number]),
                (None, PickleValue::None) => continue,
                (None, _) => {
                    let reason = format!("`{key}` is neither a tensor nor a number");
                    return Err(other(&reason));
                }
            };
            state.insert(name, data);
        }
    }
    Ok(all)
}

impl Group {
    /// A group as it stands in a state dictionary.
    pub fn read(group: Value) -> Result<Self, &'static str> {
        let Value::Object(mut settings) = group else {
            return Err("a group is no dictionary");
        };
        let places = settings.remove("params").and_then(|places| {
            let places = places.as_array()?.iter().map(Value::as_u64);
            places.map(|place| usize::try_from(place?).ok()).collect()
        });
        let places = places.ok_or("a group without `params`")?;
        Ok(Self { settings, places })
    }

    /// The same way back.
    pub fn written(&self) -> Map<String, Value> {
        let mut group = self.settings.clone();
        group.insert("params".to_string(), self.places.clone().into());
        group
    }
}

/// What JSON has no name for is nothing: a setting that nobody here reads.
fn json(value: PickleValue) -> Value {
    match value {
        PickleValue::Bool(flag) => flag.into(),
        PickleValue::Int(number) => number.into(),
        PickleValue::Float(number) => number.into(),
        PickleValue::String(text) => text.into(),
        PickleValue::List(values) => values.into_iter().map(json).collect(),
        PickleValue::Dict(fields) => {
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, value)| (name, json(value))).collect())
        }
        PickleValue::None | PickleValue::Bytes(_) | PickleValue::Unsupported(_) => Value::Null,
    }
}

fn float(dtype: pytorch_reader::DType) -> Option<DType> {
    match dtype {
        pytorch_reader::DType::F64 => Some(DType::F64),
        pytorch_reader::DType::F32 => Some(DType::F32),
        pytorch_reader::DType::F16 => Some(DType::F16),
        pytorch_reader::DType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// A file as `torch.save` writes it.
pub(super) fn bytes(states: &PyTorchStates) -> Result<Vec<u8>, String> {
    let mut pickle = Pickle::default();
    pickle.whole(states)?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, bytes: &[u8]| {
        // PyTorch maps tensors into memory, and wants them at multiples of this.
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Stored)
            .with_alignment(64);
        archive.start_file(format!("archive/{name}"), options)?;
        archive.write_all(bytes)?;
        Ok(())
    };
    let mut put_all = || {
        put("data.pkl", &pickle.bytes)?;
        put("byteorder", b"little")?;
        for (at, data) in pickle.storages.iter().enumerate() {
            put(&format!("data/{at}"), data.as_bytes())?;
        }
        put("version", b"3\n")
    };
    put_all().map_err(|error: zip::result::ZipError| error.to_string())?;
    let archive = archive.finish().map_err(|error| error.to_string())?;
    Ok(archive.into_inner())
}

/// A pickle of protocol 2, whose tensors' numbers are elsewhere. The codes are those of Python's `pickletools`.
#[derive(Default)]
struct Pickle<'a> {
    bytes: Vec<u8>,
    storages: Vec<&'a TensorData>,
}

impl<'a> Pickle<'a> {
    fn whole(&mut self, states: &'a PyTorchStates) -> Result<(), String> {
        self.put(b"\x80\x02}("); // PROTO 2, EMPTY_DICT, MARK
        self.text("state");
        self.put(b"}(");
        for (place, state) in &states.states {
            self.int(*place as i64);
            self.put(b"}(");
            for (name, data) in state {
                self.text(name);
                self.tensor(data)?;
            }
            self.put(b"u"); // SETITEMS
        }
        self.put(b"u");
        self.text("param_groups");
        self.put(b"]("); // EMPTY_LIST, MARK
        for group in &states.groups {
            self.value(&group.written().into());
        }
        self.put(b"eu."); // APPENDS, SETITEMS, STOP
        Ok(())
    }

    fn put(&mut self, code: &[u8]) {
        self.bytes.extend_from_slice(code);
    }

    fn text(&mut self, text: &str) {
        self.put(b"X"); // BINUNICODE
        self.put(&(text.len() as u32).to_le_bytes());
        self.put(text.as_bytes());
    }

    fn int(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(number) => {
                self.put(b"J"); // BININT
                self.put(&number.to_le_bytes());
            }
            Err(_) => {
                self.put(b"\x8a\x08"); // LONG1, of eight bytes
                self.put(&number.to_le_bytes());
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.put(b"N"),
            Value::Bool(true) => self.put(b"\x88"),
            Value::Bool(false) => self.put(b"\x89"),
            Value::Number(number) => match number.as_i64() {
                Some(number) => self.int(number),
                None => {
                    self.put(b"G"); // BINFLOAT
                    self.put(&number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
                }
            },
            Value::String(text) => self.text(text),
            Value::Array(values) => {
                self.put(b"](");
                values.iter().for_each(|value| self.value(value));
                self.put(b"e");
            }
            Value::Object(fields) => {
                self.put(b"}(");
                for (name, value) in fields {
                    self.text(name);
                    self.value(value);
                }
                self.put(b"u");
            }
        }
    }

    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`
    fn tensor(&mut self, data: &'a TensorData) -> Result<(), String> {
        let storage = match data.dtype() {
            DType::F64 => "DoubleStorage",
            DType::F32 => "FloatStorage",
            DType::F16 => "HalfStorage",
            DType::BF16 => "BFloat16Storage",
            other => return Err(format!("a tensor of {other:?}")),
        };
        self.put(b"ctorch._utils\n_rebuild_tensor_v2\n(("); // GLOBAL, MARK, MARK
        self.text("storage");
        self.put(format!("ctorch\n{storage}\n").as_bytes());
        let key = self.storages.len().to_string();
        self.text(&key);
        self.text("cpu");
        self.int(data.num_elements() as i64);
        self.put(b"tQ"); // TUPLE, BINPERSID
        self.int(0);
        let shape = data.shape().as_slice();
        self.tuple(shape.iter().copied());
        let strides = (0..shape.len()).map(|dim| shape[dim + 1..].iter().product());
        self.tuple(strides);
        self.put(b"\x89ccollections\nOrderedDict\n)R"); // NEWFALSE, GLOBAL, EMPTY_TUPLE, REDUCE
        self.put(b"tR");
        self.storages.push(data);
        Ok(())
    }

    fn tuple(&mut self, numbers: impl Iterator<Item = usize>) {
        self.put(b"(");
        numbers.for_each(|number| self.int(number as i64));
        self.put(b"t");
    }
}
