//! Files whose checksums are right, and whose contents are not.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::quantization::QuantScheme;
use burn::tensor::{BoolStore, Bytes, TensorData};
use burn_pack::Scalar;
use downhill::optim::AdafactorConfig;
use serde_json::{Value, json};

use super::*;

/// The contents of a file, to be changed and written with checksums that are right.
#[derive(Clone)]
struct Forged {
    header: Value,
    tensors: BTreeMap<String, TensorData>,
    scalars: BTreeMap<String, Scalar>,
}

/// A file with other tensors.
pub fn changed(saved: &[u8], change: impl FnOnce(&mut BTreeMap<String, TensorData>)) -> Vec<u8> {
    let mut forged = Forged::of(saved);
    change(&mut forged.tensors);
    forged.sealed()
}

/// A file with another header.
pub fn with_header(saved: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut forged = Forged::of(saved);
    change(&mut forged.header);
    forged.sealed()
}

/// As many bytes of a kind of numbers as a tensor of a shape has.
fn raw(shape: &[usize], dtype: DType, byte: u8) -> TensorData {
    let count: usize = shape.iter().product();
    // A quantised tensor has its scale behind its numbers.
    let size = match dtype {
        DType::QFloat(_) => count + 4,
        dtype => count * dtype.size(),
    };
    TensorData::from_bytes_vec(vec![byte; size], shape.to_vec(), dtype)
}

impl Forged {
    fn of(saved: &[u8]) -> Self {
        let packed = saved[..saved.len() - 20].to_vec();
        let reader = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(packed)).unwrap();
        let header = serde_json::from_str(&reader.metadata()["downhill"]).unwrap();
        let scalars = reader.scalars().clone();
        let tensors = reader.into_tensors().unwrap().into_iter();
        let tensors = tensors.map(|tensor| {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().unwrap();
            (name, TensorData::from_bytes(bytes, shape, dtype))
        });
        Self {
            header,
            tensors: tensors.collect(),
            scalars,
        }
    }

    fn sealed(mut self) -> Vec<u8> {
        let checksums = self.tensors.iter();
        let checksums = checksums.map(|(name, data)| (name.clone(), crc32(data.as_bytes())));
        let checksums: BTreeMap<String, u32> = checksums.collect();
        if let Some(own) = self
            .header
            .get_mut("checksums")
            .filter(|own| own.is_object())
        {
            *own = serde_json::to_value(checksums).unwrap();
        }
        let tensors = self.tensors.into_iter().map(|(name, data)| {
            let bytes = Bytes::from_bytes_vec(data.as_bytes().to_vec());
            burn_pack::Tensor::new(name, data.dtype(), data.shape().clone(), None, bytes)
        });
        let writer = burn_pack::Writer::new(tensors.collect());
        let writer = writer.with_metadata("downhill", &self.header.to_string());
        let scalars = self.scalars.iter();
        marked(scalars.fold(writer, |writer, (name, value)| {
            writer.with_scalar(name, *value)
        }))
    }

    /// Files with one thing that is another, each with what it is.
    fn variations(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut add = |what: String, forged: Self| all.push((what, forged.sealed()));
        for pointer in pointers(&self.header, "") {
            for value in [
                json!(null),
                json!(true),
                json!(-1),
                json!(0),
                json!(1),
                json!(2.5),
                json!(u64::MAX),
                json!(""),
                json!("weight"),
                json!([]),
                json!([u64::MAX, u64::MAX]),
                json!({}),
            ] {
                let mut forged = self.clone();
                *forged.header.pointer_mut(&pointer).unwrap() = value.clone();
                add(format!("{pointer} is {value}"), forged);
            }
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            let mut forged = self.clone();
            match forged.header.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.remove(&key)),
                Some(Value::Array(list)) => drop(list.remove(key.parse().unwrap())),
                _ => continue,
            }
            add(format!("{pointer} is not there"), forged);
        }
        for (name, data) in &self.tensors {
            let mut forged = self.clone();
            forged.tensors.remove(name);
            add(format!("{name} is not there"), forged);
            let len = data.num_elements();
            let values: Vec<f32> = data.iter::<f32>().collect();
            let mut others = vec![
                ("flat", TensorData::new(values.clone(), [len])),
                ("of rank 4", TensorData::new(values.clone(), [1, len, 1, 1])),
                (
                    "of rank 12",
                    TensorData::new(values.clone(), [&[len][..], &[1; 11]].concat()),
                ),
                ("without elements", TensorData::new(Vec::<f32>::new(), [0])),
                ("a number", TensorData::new(vec![1.0_f32], [1])),
                (
                    "longer",
                    TensorData::new([&values[..], &[0.0]].concat(), [len + 1]),
                ),
                ("in f64", data.clone().convert::<f64>()),
                ("of integers", data.clone().convert::<i64>()),
                (
                    "of bools",
                    TensorData::new(vec![true; len], data.shape().clone()),
                ),
                (
                    "of NaN",
                    TensorData::new(vec![f32::NAN; len], data.shape().clone()),
                ),
            ];
            let shape = data.shape().as_slice();
            others.extend([
                ("of bytes", raw(shape, DType::U8, 1)),
                (
                    "of bools that are none",
                    raw(shape, DType::Bool(BoolStore::Native), 2),
                ),
                (
                    "quantised",
                    raw(shape, DType::QFloat(QuantScheme::default()), 1),
                ),
            ]);
            let mut turned = data.shape().as_slice().to_vec();
            turned.reverse();
            others.push(("turned", TensorData::new(values, turned)));
            for (what, other) in others {
                let mut forged = self.clone();
                forged.tensors.insert(name.clone(), other);
                add(format!("{name} is {what}"), forged);
            }
            for other in [
                format!("{name}/more"),
                format!("{name}."),
                name.replacen('/', "", 1),
                String::from("optimizer/"),
                String::from("window//"),
                String::from("average/kernel/x"),
                String::from("model/"),
            ] {
                let mut forged = self.clone();
                forged.tensors.insert(other.clone(), data.clone());
                add(format!("there is {other} too"), forged.clone());
                forged.tensors.remove(name);
                add(format!("{name} is called {other}"), forged);
            }
        }
        for name in self.scalars.keys() {
            let mut forged = self.clone();
            forged.scalars.remove(name);
            add(format!("{name} is not there"), forged);
            for value in [
                Scalar::Bool(true),
                Scalar::Int(-1),
                Scalar::Int(i64::MIN),
                Scalar::UInt(0),
                Scalar::UInt(u64::MAX),
                Scalar::Float(f64::NAN),
                Scalar::Float(f64::INFINITY),
                Scalar::Float(-1.0),
                Scalar::Float(0.5),
            ] {
                let mut forged = self.clone();
                forged.scalars.insert(name.clone(), value);
                add(format!("{name} is {value:?}"), forged);
            }
        }
        all
    }
}

/// The places of everything in a JSON value.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.replace('/', "~1"), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in children {
        let at = format!("{at}/{key}");
        found.extend(pointers(value, &at));
        found.push(at);
    }
    found
}

/// Behind checksums that are right, as those of another program would be, or of one with a mistake.
#[test]
fn a_forged_file_is_an_error_or_goes_on_and_never_a_panic() {
    let builders: [fn() -> DriverBuilder; 4] = [
        || Driver::builder(AdamConfig::new().init(), cosine(0.1, 20)),
        || Driver::builder(NAdamConfig::new().init(), 0.1),
        || Driver::builder(AdafactorConfig::new().init(), 0.1),
        || {
            let scheduler = CosineAnnealingLrSchedulerConfig::new(0.1, 10);
            let adam = burn::optim::AdamConfig::new().init();
            Driver::builder(adam, scheduler.init().unwrap())
        },
    ];
    for builder in builders {
        let build = |net: &Net| {
            builder()
                .with_clipping(Clipping::global_norm(1.0))
                .with_averaging(Averaging::ema(0.9))
                .with_accumulation(Accumulation::mean(3))
                .with_group(Group::new("kernel", Select::name("kernel")))
                .bind(net)
                .unwrap()
        };
        let step = |driver: &mut Driver, net: Net, t: usize| {
            let grads = net.grads(t, &ALL, &device(), DType::F32);
            let batch = MicroBatch::new(grads).with_loss(0.5).with_samples(2);
            match driver.step(net, batch) {
                Ok((net, _)) => net,
                Err(error) => error.model,
            }
        };
        let mut net = Net::new(1, &device(), DType::F32);
        let mut own = build(&net);
        own.notes_mut().insert("seed".into(), "1".into());
        for t in 0..5 {
            net = step(&mut own, net, t);
        }
        let forged = Forged::of(&bytes(&own, &net));
        // What is written is what was read.
        let other = Net::new(5, &device(), DType::F32);
        let same = Checkpoint::from_bytes(forged.clone().sealed()).unwrap();
        let other = build(&other).resume(other, &same).unwrap();
        assert_eq!(other.values(), net.values());

        let path = file("forged.ckpt");
        let (mut refused, mut went_on, mut panicked) = (0, 0, Vec::new());
        for (what, forged) in forged.variations() {
            let whatever = catch_unwind(AssertUnwindSafe(|| {
                std::fs::write(&path, &forged).unwrap();
                let Ok(checkpoint) = Checkpoint::from_bytes(forged) else {
                    refused += 1;
                    return;
                };
                for averaged in [false, true] {
                    let net = Net::new(2, &device(), DType::F32);
                    let before = net.values();
                    let taken = match averaged {
                        true => checkpoint.averaged(net),
                        false => checkpoint.model(net),
                    };
                    match taken {
                        Ok(net) => {
                            let grads = net.grads(0, &ALL, &device(), DType::F32);
                            assert!(grads.len() == 3 && net.values().len() == 3);
                        }
                        Err(Rejected { model, .. }) => assert_eq!(model.values(), before),
                    }
                }
                for whole in [true, false] {
                    let net = Net::new(2, &device(), DType::F32);
                    let mut driver = build(&net);
                    let net = step(&mut driver, net, 0);
                    let before = bytes(&driver, &net);
                    let taken = match whole {
                        true => driver.resume(net, &checkpoint),
                        false => driver.load_partial(net, &path).map(|(net, _)| net),
                    };
                    match taken {
                        Ok(mut net) => {
                            went_on += 1;
                            for t in 0..4 {
                                net = step(&mut driver, net, t);
                            }
                            bytes(&driver, &net);
                        }
                        Err(Rejected { model, cause }) => {
                            refused += 1;
                            assert_eq!(bytes(&driver, &model), before, "{what}: {cause}");
                        }
                    }
                }
            }));
            if whatever.is_err() {
                panicked.push(what);
            }
        }
        assert!(panicked.is_empty(), "{panicked:#?}");
        assert!(refused > 500 && went_on > 500, "{refused}, {went_on}");
    }
}
