//! Numbers as bytes. Little-endian, whatever the machine, so that ranks on different ones agree.

use burn::tensor::bf16;

use super::tag::Kind;

/// How numbers travel.
pub(super) trait Number {
    /// What they are on either side.
    type Value: Copy;
    const KIND: Kind;
    const BYTES: usize;

    fn append(values: &[Self::Value], bytes: &mut Vec<u8>);
    fn read(values: &mut [Self::Value], bytes: &[u8]);
    fn add(values: &mut [Self::Value], bytes: &[u8]);
}

// Chunks of a known length, which the compiler makes into vector instructions.
macro_rules! number {
    ($number:ty: $value:ty, $kind:expr, |$to:ident| $encoded:expr, |$from:ident| $decoded:expr) => {
        impl Number for $number {
            type Value = $value;
            const KIND: Kind = $kind;
            const BYTES: usize = size_of::<$number>();

            fn append(values: &[$value], bytes: &mut Vec<u8>) {
                let start = bytes.len();
                bytes.resize(start + values.len() * Self::BYTES, 0);
                let (chunks, _) = bytes[start..].as_chunks_mut();
                for (chunk, $to) in chunks.iter_mut().zip(values) {
                    let number: $number = $encoded;
                    *chunk = number.to_le_bytes();
                }
            }

            fn read(values: &mut [$value], bytes: &[u8]) {
                for (value, chunk) in values.iter_mut().zip(bytes.as_chunks().0) {
                    let $from = <$number>::from_le_bytes(*chunk);
                    *value = $decoded;
                }
            }

            fn add(values: &mut [$value], bytes: &[u8]) {
                for (value, chunk) in values.iter_mut().zip(bytes.as_chunks().0) {
                    let $from = <$number>::from_le_bytes(*chunk);
                    *value += $decoded;
                }
            }
        }
    };
}

number!(f32: f32, Kind::SumF32, |value| *value, |number| number);
number!(f64: f64, Kind::SumF64, |value| *value, |number| number);
number!(bf16: f32, Kind::SumBf16, |value| bf16::from_f32(*value), |number| number.to_f32());
