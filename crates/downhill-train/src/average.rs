use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::container::TensorContainer;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use downhill_optim::drive::{detached, lerp, state_dtype};
use downhill_setting::Range;
use serde::{Deserialize, Serialize};

use crate::bound::Bound;
use crate::params::{AutodiffState, Found, ParamInfo, floats, with_rank};
use crate::setting::{OutOfRange, in_range};
use crate::{ParamPath, Rejected};

/// An average of the parameters along the training.
///
/// ```
/// use downhill_train::Averaging;
///
/// let ema = Averaging::ema(0.999);
/// // Over the last updates of a training of 10,000, every 100th.
/// let swa = Averaging::mean().with_start(7_500).with_every(100);
/// ```
///
/// Parameters of 16 bits have an average in f32: in their own precision it would stand still. Running
/// statistics are averaged too (timm does so, torch copies them); integers and booleans are the
/// model's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Averaging {
    kind: Kind,
    #[serde(default = "one")]
    every: u64,
    #[serde(default)]
    start: u64,
    #[serde(default = "yes")]
    average_buffers: bool,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Ema {
        decay: f64,
        #[serde(default = "yes")]
        bias_correction: bool,
        #[serde(default)]
        warmup: bool,
    },
    Mean,
}

impl Averaging {
    /// An exponential moving average.
    ///
    /// ```text
    /// a_1 = p_1,   a_t = a_{t-1} + w_t·(p_t - a_{t-1}),   w_t = (1 - decay) / (1 - decay^t)
    /// ```
    ///
    /// That is the bias-corrected average of Adam, kept in its corrected form: it needs no division when
    /// it is used, and it is one in short trainings too, the mean of all at first. `decay` is in
    /// `[0, 1)`. Sources: Polyak & Juditsky (1992); Kingma & Ba, arXiv 1412.6980, section 7.2.
    pub fn ema(decay: f64) -> Self {
        Self::of(Kind::Ema {
            decay,
            bias_correction: true,
            warmup: false,
        })
    }

    /// The mean of all: stochastic weight averaging, with [`with_start`](Self::with_start) and
    /// [`with_every`](Self::with_every). Source: Izmailov et al., arXiv 1803.05407.
    pub fn mean() -> Self {
        Self::of(Kind::Mean)
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            every: one(),
            start: 0,
            average_buffers: yes(),
        }
    }

    /// Without the correction: `w_1 = 1` and `w_t = 1 - decay`, as `torch.optim.swa_utils` has it. The
    /// first parameters weigh in long. An [`ema`](Self::ema) only.
    #[must_use]
    pub fn without_bias_correction(mut self) -> Self {
        if let Kind::Ema {
            bias_correction, ..
        } = &mut self.kind
        {
            *bias_correction = false;
        }
        self
    }

    /// The decay grows to its value as `min(decay, (1 + t) / (10 + t))`, t counted from 0 (TensorFlow's
    /// `num_updates`, timm, diffusers). An [`ema`](Self::ema) only.
    #[must_use]
    pub fn with_warmup(mut self) -> Self {
        if let Kind::Ema { warmup, .. } = &mut self.kind {
            *warmup = true;
        }
        self
    }

    /// Takes in the parameters after each `every`th update. Default: 1.
    #[must_use]
    pub fn with_every(mut self, every: u64) -> Self {
        self.every = every;
        self
    }

    /// Begins after `start` updates. Default: 0.
    #[must_use]
    pub fn with_start(mut self, start: u64) -> Self {
        self.start = start;
        self
    }

    /// Running statistics are the model's instead of an average (torch's default).
    #[must_use]
    pub fn with_buffers_of_the_model(mut self) -> Self {
        self.average_buffers = false;
        self
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        if let Kind::Ema { decay, .. } = self.kind {
            in_range("decay of the average", decay, Range::DECAY)?;
        }
        in_range("cadence of the average", self.every as f64, Range::POSITIVE)?;
        Ok(())
    }

    /// Whether averages that were begun with the settings `other` are some of these: a moving average forgets
    /// where it comes from, and a mean holds what it has once taken in.
    pub(crate) fn goes_on_from(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Ema { .. }, Kind::Ema { .. }) => true,
            (Kind::Mean, Kind::Mean) => self.start == other.start && self.every == other.every,
            _ => false,
        }
    }

    /// Whether the parameters after `updates` updates are taken in.
    fn takes(&self, updates: u64) -> bool {
        updates > self.start && (updates - self.start).is_multiple_of(self.every)
    }
}

/// An average in the container, from which it is taken while it is updated.
type Kept<const D: usize> = Option<Tensor<D>>;

/// The averages of a model's float tensors.
#[derive(Debug)]
pub(crate) struct Averages {
    pub config: Averaging,
    pub count: u64,
    /// The product of all decays, for the bias correction.
    pub product: f64,
    tensors: TensorContainer<ParamId>,
}

impl Averages {
    pub fn new(config: Averaging) -> Self {
        Self {
            config,
            count: 0,
            product: 1.0,
            tensors: TensorContainer::new(),
        }
    }

    /// Takes in the model after `updates` updates, if it is time.
    pub fn update<M: Module>(&mut self, model: &M, bound: &[Bound], updates: u64) {
        if !self.config.takes(updates) {
            return;
        }
        if bound.iter().any(|bound| !bound.info().trainable) {
            take_in(model);
        }
        let weight = self.weight();
        self.count = self.count.saturating_add(1);
        model.visit(&mut Update {
            averages: self,
            bound,
            next: 0,
            weight,
        });
    }

    /// The weight of the parameters that come in.
    fn weight(&mut self) -> f64 {
        let count = self.count as f64;
        match self.config.kind {
            Kind::Mean => 1.0 / (count + 1.0),
            Kind::Ema {
                decay,
                bias_correction,
                warmup,
            } => {
                let decay = match warmup {
                    true => decay.min((1.0 + count) / (10.0 + count)),
                    false => decay,
                };
                self.product *= decay;
                match (self.count, bias_correction) {
                    (0, _) => 1.0,
                    (_, true) => (1.0 - decay) / (1.0 - self.product),
                    (_, false) => 1.0 - decay,
                }
            }
        }
    }

    fn keeps(&self, bound: &Bound) -> bool {
        let ParamInfo {
            trainable,
            shape,
            dtype,
            ..
        } = bound.info();
        let averaged = *trainable || self.config.average_buffers;
        // What is quantised cannot be trained, and has nothing between two of its numbers. Some devices do not
        // take tensors without elements.
        averaged && dtype.is_float() && !shape.contains(&0)
    }

    /// A model for evaluation that has the averages. It shares their memory.
    pub fn model<M: Module>(&self, model: &M, bound: &[Bound]) -> M {
        model.valid().map(&mut Swap {
            averages: self,
            bound,
            next: 0,
        })
    }

    /// The averages as data, by the paths of the model's parameters.
    pub fn data<M: Module>(&self, model: &M, bound: &[Bound]) -> Vec<(String, TensorData)> {
        let mut read = Read {
            averages: self,
            bound,
            next: 0,
            data: Vec::new(),
        };
        model.visit(&mut read);
        read.data
    }

    /// Averages of as many parameters as are counted, without their tensors.
    pub fn counted(config: Averaging, count: u64, product: f64) -> Self {
        Self {
            count,
            product,
            ..Self::new(config)
        }
    }

    /// The same with tensors from data; those that are not in `data` are left out.
    pub fn load<M: Module>(
        mut self,
        model: &M,
        bound: &[Bound],
        data: BTreeMap<String, TensorData>,
    ) -> Self {
        model.visit(&mut Write {
            averages: &mut self,
            bound,
            next: 0,
            data,
        });
        self
    }

    /// Which tensors have an average: their paths, shapes and precisions.
    pub fn expected(&self, bound: &[Bound]) -> Vec<(ParamPath, Vec<usize>, DType)> {
        if self.count == 0 {
            return Vec::new();
        }
        let kept = bound.iter().filter(|bound| self.keeps(bound));
        kept.map(|bound| {
            let info = bound.info();
            let dtype = state_dtype(info.dtype).into();
            (info.path.clone(), info.shape.clone(), dtype)
        })
        .collect()
    }

    /// The same averages of parameters that have other ids.
    pub fn moved(mut self, bound: &[Bound], to: &[ParamId]) -> Self {
        // Ids may have changed places.
        let mut from = core::mem::take(&mut self.tensors);
        for (bound, to) in bound.iter().zip(to) {
            let rank = bound.info().shape.len();
            with_rank!(rank, D => {
                if let Some(kept) = from.remove::<Kept<D>>(&bound.id()) {
                    self.tensors.register(*to, kept);
                }
            });
        }
        self
    }
}

/// Burn's running statistics take in their last update only when they are asked for: a validation model
/// asks.
fn take_in<M: Module>(model: &M) {
    let _ = model.valid();
}

struct Update<'a> {
    averages: &'a mut Averages,
    bound: &'a [Bound],
    next: usize,
    weight: f64,
}

impl ModuleVisitor for Update<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let bound = &self.bound[self.next];
        self.next += 1;
        if !self.averages.keeps(bound) {
            return;
        }
        let tensors = &mut self.averages.tensors;
        let value = param.val();
        let kept = tensors.get_mut_ref::<Kept<D>>(&bound.id());
        if let Some(kept) = kept
            && self.weight < 1.0
            && let Some(average) = kept.take()
        {
            *kept = Some(lerp(average, value, self.weight));
            return;
        }
        // In a buffer of its own, so that neither has to be copied when it is next written to.
        // And in the order of its dimensions, in which the next ones leave it.
        let value = value.without_autodiff();
        let shape = value.shape();
        let flat = value.reshape([shape.num_elements()]);
        let flat = flat.cast(state_dtype(param.dtype())).mul_scalar(1.0);
        let first = flat.reshape(shape);
        tensors.register::<Kept<D>>(bound.id(), Some(first));
    }
}

struct Swap<'a> {
    averages: &'a Averages,
    bound: &'a [Bound],
    next: usize,
}

impl ModuleMapper for Swap<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = self.bound[self.next].id();
        self.next += 1;
        match self.averages.tensors.get::<Kept<D>>(&id).flatten() {
            Some(average) => param.map(|own| {
                let dtype = FloatDType::from(own.dtype());
                average.to_device(&own.device()).cast(dtype)
            }),
            None => param,
        }
    }
}

struct Read<'a> {
    averages: &'a Averages,
    bound: &'a [Bound],
    next: usize,
    data: Vec<(String, TensorData)>,
}

impl ModuleVisitor for Read<'_> {
    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        let bound = &self.bound[self.next];
        self.next += 1;
        if let Some(average) = self.averages.tensors.get::<Kept<D>>(&bound.id()).flatten() {
            let path = bound.info().path.to_string();
            self.data.push((path, detached(average.into_data())));
        }
    }
}

struct Write<'a> {
    averages: &'a mut Averages,
    bound: &'a [Bound],
    next: usize,
    data: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Write<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let bound = &self.bound[self.next];
        self.next += 1;
        if let Some(data) = self.data.remove(&*bound.info().path) {
            let device: Device = param.lazy_device().inner();
            let dtype = data.dtype();
            let tensor = Tensor::<D>::from_data(data, (&device, dtype));
            self.averages
                .tensors
                .register::<Kept<D>>(bound.id(), Some(tensor));
        }
    }
}

/// Why a target network does not follow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolyakError {
    /// The rate is outside its range.
    #[error(transparent)]
    Rate(#[from] OutOfRange),
    /// The two are not of one kind.
    #[error("target and source differ at `{path}`: {reason}")]
    Structure {
        /// The path in the target, or in the source where the target has ended.
        path: String,
        /// What differs.
        reason: &'static str,
    },
}

/// A target network after one step towards its source, `target + tau·(source - target)`, as in DDPG
/// (arXiv 1509.02971). `tau` is in `[0, 1]`; 1 copies. Running statistics follow too.
///
/// The parameters of both are matched by their order, and must have the same shapes.
///
/// # Errors
///
/// If `tau` is outside its range or the two differ. The target is handed back as it was.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use downhill_train::polyak_update;
///
/// let device = Device::flex();
/// let source: Linear = LinearConfig::new(2, 1).init(&device);
/// let target: Linear = LinearConfig::new(2, 1).init(&device);
/// let target = polyak_update(target, &source, 1.0).unwrap();
/// assert_eq!(target.weight.to_data(), source.weight.to_data());
/// # }
/// ```
pub fn polyak_update<M: Module>(
    target: M,
    source: &M,
    tau: f64,
) -> Result<M, Rejected<M, PolyakError>> {
    if let Err(cause) = check_followers(&target, source, tau) {
        return Err(Rejected {
            model: target,
            cause,
        });
    }
    take_in(&target);
    take_in(source);
    let mut sources = Sources::default();
    source.visit(&mut sources);
    Ok(target.map(&mut Follow {
        sources: sources.0,
        next: 0,
        tau,
    }))
}

fn check_followers<M: Module>(target: &M, source: &M, tau: f64) -> Result<(), PolyakError> {
    in_range("tau", tau, Range::SHARE)?;
    let (of_target, of_source) = (floats(target), floats(source));
    let (packed_target, packed_source) = (Packed::of(target), Packed::of(source));
    let differ = |path: &str, reason| {
        let path = path.to_string();
        Err(PolyakError::Structure { path, reason })
    };
    for (target, source) in of_target.iter().zip(&of_source) {
        if target.info.path != source.info.path {
            return differ(&target.info.path, "the source has another parameter there");
        }
        if target.info.shape != source.info.shape {
            return differ(&target.info.path, "the shapes differ");
        }
        let packed = |packed: &Packed, found: &Found| packed.0.get(&found.id).cloned();
        let both = (
            packed(&packed_target, target),
            packed(&packed_source, source),
        );
        match both {
            (None, None) => {}
            (Some(target), Some(source)) if tau == 1.0 || target == source => {}
            (Some(_), Some(_)) => {
                return differ(
                    &target.info.path,
                    "they are quantised and not the same: there is nothing between them, so `tau` must be 1",
                );
            }
            _ => return differ(&target.info.path, "only one of them is quantised"),
        }
    }
    let count = of_target.len().min(of_source.len());
    let longer = of_target.get(count).or(of_source.get(count));
    if let Some(found) = longer {
        return differ(&found.info.path, "only one of them has it");
    }
    Ok(())
}

/// The quantised tensors of a module.
#[derive(Default)]
struct Packed(BTreeMap<ParamId, TensorData>);

impl Packed {
    fn of<M: Module>(module: &M) -> Self {
        let mut packed = Self::default();
        module.visit(&mut packed);
        packed
    }
}

impl ModuleVisitor for Packed {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if matches!(param.dtype(), DType::QFloat(_)) {
            self.0.insert(param.id, param.val().into_data());
        }
    }
}

#[derive(Default)]
struct Sources(Vec<TensorContainer<()>>);

impl ModuleVisitor for Sources {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut one = TensorContainer::new();
        one.register((), param.val().without_autodiff());
        self.0.push(one);
    }
}

struct Follow {
    sources: Vec<TensorContainer<()>>,
    next: usize,
    tau: f64,
}

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let source = self.sources[self.next].remove::<Tensor<D>>(&());
        self.next += 1;
        let (Some(source), tau) = (source, self.tau) else {
            return param;
        };
        param.map(|own| {
            let autodiff = AutodiffState::of(&own);
            let own = own.without_autodiff();
            let source = source.to_device(&own.device());
            autodiff.put_on(match own.dtype() {
                // It was the same, or is to be.
                DType::QFloat(_) => source,
                // Exactly the source, in a buffer of its own.
                dtype if tau == 1.0 => source.cast(FloatDType::from(dtype)).mul_scalar(1.0),
                _ => lerp(own, source, tau),
            })
        })
    }
}
