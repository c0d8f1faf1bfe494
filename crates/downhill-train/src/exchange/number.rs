//! Numbers as bytes. Little-endian, whatever the machine, so that ranks on different ones agree.

use super::tag::Kind;

pub(super) trait Number: Copy {
    const KIND: Kind;
    const BYTES: usize;

    fn append(values: &[Self], bytes: &mut Vec<u8>);
    fn read(values: &mut [Self], bytes: &[u8]);
    fn add(values: &mut [Self], bytes: &[u8]);
}

// Chunks of a known length, which the compiler makes into vector instructions.
macro_rules! number {
    ($number:ty, $bytes:literal, $kind:expr) => {
        impl Number for $number {
            const KIND: Kind = $kind;
            const BYTES: usize = $bytes;

            fn append(values: &[Self], bytes: &mut Vec<u8>) {
                let start = bytes.len();
                bytes.resize(start + size_of_val(values), 0);
                let (chunks, _) = bytes[start..].as_chunks_mut();
                for (chunk, value) in chunks.iter_mut().zip(values) {
                    *chunk = value.to_le_bytes();
                }
            }

            fn read(values: &mut [Self], bytes: &[u8]) {
                for (value, chunk) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = Self::from_le_bytes(*chunk);
                }
            }

            fn add(values: &mut [Self], bytes: &[u8]) {
                for (value, chunk) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value += Self::from_le_bytes(*chunk);
                }
            }
        }
    };
}

number!(f32, 4, Kind::SumF32);
number!(f64, 8, Kind::SumF64);
