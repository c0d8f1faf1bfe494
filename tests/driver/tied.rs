//! A parameter in several places of a model is one.

use downhill::train::{Sam, tie};

use super::*;

const START: [f64; 3] = [0.5, -1.0, 2.0];

/// A tied pair, and a parameter between the two.
#[derive(Module, Debug)]
struct Tied {
    first: Param<Tensor<1>>,
    between: Param<Tensor<1>>,
    last: Param<Tensor<1>>,
}

/// The same with the pair as one.
#[derive(Module, Debug)]
struct Single {
    first: Param<Tensor<1>>,
    between: Param<Tensor<1>>,
}

fn param(device: &Device) -> Param<Tensor<1>> {
    Param::from_tensor(tensor(TensorData::from(START), device, DType::F32))
}

fn tied(device: &Device) -> Tied {
    let device = &device.clone().autodiff();
    let first = param(device);
    Tied {
        last: first.clone(),
        first,
        between: param(device),
    }
}

fn single(device: &Device) -> Single {
    let device = &device.clone().autodiff();
    Single {
        first: param(device),
        between: param(device),
    }
}

fn loss(t: usize, [first, between, last]: [&Param<Tensor<1>>; 3]) -> Tensor<1> {
    let scale = 1.0 + t as f64;
    let product = first.val() * last.val() * between.val();
    product.sum() + (last.val().mul_scalar(scale)).square().sum()
}

impl Tied {
    fn grads(&self, t: usize) -> GradientsParams {
        let loss = loss(t, [&self.first, &self.between, &self.last]);
        GradientsParams::from_grads(loss.backward(), self)
    }

    fn values(&self) -> [Vec<f64>; 3] {
        [&self.first, &self.between, &self.last].map(|param| floats(param.val().into_data()))
    }
}

impl Single {
    fn grads(&self, t: usize) -> GradientsParams {
        let loss = loss(t, [&self.first, &self.between, &self.first]);
        GradientsParams::from_grads(loss.backward(), self)
    }
}

/// Something of everything that goes over the parameters.
fn builder(name: &str) -> DriverBuilder {
    let optim = OptimizerConfig::by_name(name).unwrap().try_init().unwrap();
    Driver::builder(optim, 0.01)
        .with_clipping(Clipping::global_norm(0.5))
        .with_averaging(Averaging::ema(0.5))
        .with_update_ratios(1)
}

/// The pair goes where the one goes, bit for bit, and all that is reported is the same.
#[test]
fn a_tied_pair_is_one_parameter() {
    for device in devices() {
        for name in [
            "sgd",
            "adamw",
            "adafactor",
            "schedule_free_adamw",
            "prodigy",
        ] {
            let (mut pair, mut one) = (tied(&device.device), single(&device.device));
            let mut driver = builder(name).bind(&pair).unwrap();
            let mut other = builder(name).bind(&one).unwrap();
            for t in 0..4 {
                let (found, expected);
                let grads = pair.grads(t);
                (pair, found) = driver.step(pair, grads).unwrap();
                let grads = one.grads(t);
                (one, expected) = other.step(one, grads).unwrap();
                assert_eq!(
                    found.to_string(),
                    expected.to_string(),
                    "{name} on {}",
                    device.name
                );
                let [first, between, last] = pair.values();
                assert_eq!(first, floats(one.first.val().into_data()), "{name}");
                assert_eq!(between, floats(one.between.val().into_data()), "{name}");
                assert_eq!(last, first, "{name}");
            }
            assert_ne!(pair.values()[0], START, "{name}");
            assert_eq!(driver.states().unwrap(), other.states().unwrap());
            let [first, _, last] = driver.averaged(&pair).values();
            assert_eq!(first, floats(other.averaged(&one).first.val().into_data()));
            assert_eq!(last, first);
            let [first, _, last] = driver.evaluated(&pair).values();
            assert_eq!(first, floats(other.evaluated(&one).first.val().into_data()));
            assert_eq!(last, first);
        }
    }
}

/// It is still tied after all that hands a model back: the next gradient is the sum.
#[test]
fn what_comes_back_is_tied() {
    let device = &devices().remove(0).device;
    let (pair, one) = (tied(device), single(device));
    let mut driver = builder("adam").bind(&pair).unwrap();
    let mut other = builder("adam").bind(&one).unwrap();
    let grads = pair.grads(0);
    let (pair, _) = driver.step(pair, grads).unwrap();
    let grads = one.grads(0);
    let (one, _) = other.step(one, grads).unwrap();
    let sum = one.grads(1).get::<1>(one.first.id).unwrap().into_data();
    let saved = driver.checkpoint(&pair).unwrap();
    let elsewhere = tied(device);
    driver.rebind(&elsewhere).unwrap();
    let resumed = driver.resume(elsewhere, &saved).unwrap();
    let loaded = saved.model(tied(device)).unwrap();
    for model in [
        &pair,
        &resumed,
        &loaded,
        &tie(pair.clone().fork(&pair.devices()[0])),
    ] {
        let found = model.grads(1).get::<1>(model.first.id).unwrap();
        assert_eq!(found.into_data(), sum);
    }
    let switched = driver.switch_to_average(resumed.clone());
    assert_eq!(switched.values()[0], switched.values()[2]);
    let average = other.switch_to_average(one.clone());
    assert_eq!(
        switched
            .grads(1)
            .get::<1>(switched.first.id)
            .unwrap()
            .into_data(),
        average
            .grads(1)
            .get::<1>(average.first.id)
            .unwrap()
            .into_data()
    );
    // Whatever was resumed goes on as the one does.
    let grads = resumed.grads(1);
    let (resumed, _) = driver.step(resumed, grads).unwrap();
    let grads = one.grads(1);
    let (one, _) = other.step(one, grads).unwrap();
    assert_eq!(resumed.values()[2], floats(one.first.val().into_data()));
}

#[test]
fn two_gradients_and_windows_go_over_it_once() {
    let device = &devices().remove(0).device;
    let sharp = |builder: DriverBuilder| builder.with_sam(Sam::new(0.1));
    let (pair, one) = (tied(device), single(device));
    let mut driver = sharp(builder("adam")).bind(&pair).unwrap();
    let mut other = sharp(builder("adam")).bind(&one).unwrap();
    let (pair, _) = driver.step_sam(pair, |pair: &Tied| pair.grads(0)).unwrap();
    let (one, _) = other.step_sam(one, |one: &Single| one.grads(0)).unwrap();
    assert_eq!(pair.values()[2], floats(one.first.val().into_data()));

    let summed = |builder: DriverBuilder| builder.with_accumulation(Accumulation::mean(2));
    let (mut pair, mut one) = (tied(device), single(device));
    let mut driver = summed(builder("adam")).bind(&pair).unwrap();
    let mut other = summed(builder("adam")).bind(&one).unwrap();
    for t in 0..4 {
        let grads = pair.grads(t);
        pair = driver.step(pair, grads).unwrap().0;
        let grads = one.grads(t);
        one = other.step(one, grads).unwrap().0;
    }
    assert_ne!(pair.values()[0], START);
    assert_eq!(pair.values()[2], floats(one.first.val().into_data()));
}

/// Groups find it by any of its paths, and the plan has them all.
#[test]
fn it_has_one_name_and_aliases() {
    let device = &devices().remove(0).device;
    let pair = tied(device);
    for select in [
        Select::path("last"),
        Select::name("first"),
        Select::path("la*"),
    ] {
        let group = Group::new("pair", select).with_learning_rate_factor(0.5);
        let driver = builder("adam").with_group(group).bind(&pair).unwrap();
        let plan = driver.plan().to_string();
        let expected = "first = last  3  F32  adam  pair\nbetween       3  F32  adam\n";
        assert_eq!(plan, expected);
        let aliases: Vec<_> = driver
            .parameters()
            .map(|found| found.info.aliases.len())
            .collect();
        assert_eq!(aliases, [1, 0]);
    }
    let group = Group::new("rest", !Select::path("last")).frozen();
    let driver = builder("adam").with_group(group).bind(&pair).unwrap();
    let frozen: Vec<_> = driver.parameters().map(|found| found.frozen).collect();
    assert_eq!(frozen, [false, true]);
}

/// Two tensors of one id would get a gradient each, of which Burn keeps one.
#[test]
fn what_is_no_longer_one_tensor_is_refused() {
    let device = &devices().remove(0).device;
    let pair = tied(device);
    let mut driver = builder("adam").bind(&pair).unwrap();
    let forked = pair.clone().fork(&pair.devices()[0]);
    let expected = BindError::Module(ModuleError::Parted {
        first: "first".into(),
        second: "last".into(),
    });
    assert_eq!(builder("adam").bind(&forked).unwrap_err(), expected);
    assert_eq!(driver.rebind(&forked).unwrap_err(), expected);
    driver.rebind(&tie(forked)).unwrap();
    // Without a gradient it does not matter.
    let frozen = Tied {
        first: pair.first.clone().no_grad(),
        between: pair.between.clone(),
        last: pair.last.clone().no_grad(),
    };
    builder("adam").bind(&frozen).unwrap();
}
