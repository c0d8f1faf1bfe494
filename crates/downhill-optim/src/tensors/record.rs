use burn::optim::ModuleOptimizer;
use burn::store::RecordError;
use burn::tensor::Bytes;
use burn_pack::{Reader, Writer};

/// The optimizer's state as burnpack bytes that depend on nothing but the state: two saves of equal
/// states are equal byte for byte.
///
/// Burn's own [`into_bytes`](ModuleOptimizer::into_bytes) writes the tensors in the order of a hash
/// map, which changes from run to run. [`ModuleOptimizer::from_bytes`] reads both.
///
/// # Errors
///
/// Returns Burn's error if the state cannot be written as burnpack.
///
/// ```
/// use downhill_optim::{AdamConfig, canonical_bytes};
///
/// let optim = AdamConfig::new().init();
/// let bytes = canonical_bytes(&optim)?;
/// let optim = AdamConfig::new().init().from_bytes(bytes)?;
/// # Ok::<(), burn::store::RecordError>(())
/// ```
pub fn canonical_bytes(optim: &ModuleOptimizer) -> Result<Bytes, RecordError> {
    let reader = Reader::from_bytes(optim.into_bytes()?)?;
    let scalars = reader.scalars().clone();
    let metadata = reader.metadata().clone();
    let mut tensors = reader.into_tensors()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut writer = Writer::new(tensors);
    for (key, value) in &scalars {
        writer = writer.with_scalar(key, *value);
    }
    for (key, value) in &metadata {
        writer = writer.with_metadata(key, value);
    }
    Ok(writer.into_bytes()?)
}

/// How many bytes the state tensors of this library's optimizers hold; burn-optim's own, in a group
/// beside them, are not counted.
///
/// ```
/// use downhill_optim::{AdamConfig, state_bytes};
///
/// assert_eq!(state_bytes(&AdamConfig::new().init())?, 0); // before the first step
/// # Ok::<(), burn::store::RecordError>(())
/// ```
///
/// # Errors
///
/// Returns Burn's error if the state cannot be written as burnpack.
pub fn state_bytes(optim: &ModuleOptimizer) -> Result<usize, RecordError> {
    let reader = Reader::from_bytes(optim.into_bytes()?)?;
    let tensors = reader.into_tensors()?;
    let state = tensors
        .iter()
        .filter(|tensor| tensor.name.contains(".state."));
    Ok(state.map(|tensor| tensor.byte_len()).sum())
}
