//! The lines for each case. Written anew by
//! `DOWNHILL_WRITE_GOLDEN=1 cargo test --package downhill-playground --test lines`.

use std::error::Error;

use burn::nn::Linear;
use burn::optim::GradientsParams;

pub fn sgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SgdConfig;

let mut optim = SgdConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn adagrad(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaGradConfig;

let mut optim = AdaGradConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn rmsprop(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::RmsPropConfig;

let mut optim = RmsPropConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn adam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamConfig;

let mut optim = AdamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adamw(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamWConfig;

let mut optim = AdamWConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn nadam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::NAdamConfig;

let mut optim = NAdamConfig::new().init();
// in the loop:
model = optim.step(0.002, model, grads);
    Ok(model)
}

pub fn nadamw(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::NAdamWConfig;

let mut optim = NAdamWConfig::new().init();
// in the loop:
model = optim.step(0.002, model, grads);
    Ok(model)
}

pub fn adafactor(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdafactorConfig;

let mut optim = AdafactorConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn radam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::RAdamConfig;

let mut optim = RAdamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adamax(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaMaxConfig;

let mut optim = AdaMaxConfig::new().init();
// in the loop:
model = optim.step(0.002, model, grads);
    Ok(model)
}

pub fn adadelta(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdadeltaConfig;

let mut optim = AdadeltaConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn asgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AsgdConfig;

let mut optim = AsgdConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn rprop(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::RpropConfig;

let mut optim = RpropConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn lion(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LionConfig;

let mut optim = LionConfig::new().init();
// in the loop:
model = optim.step(0.0001, model, grads);
    Ok(model)
}

pub fn signum(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SignumConfig;

let mut optim = SignumConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn signsgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SignSgdConfig;

let mut optim = SignSgdConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn tiger(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::TigerConfig;

let mut optim = TigerConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adabelief(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaBeliefConfig;

let mut optim = AdaBeliefConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn yogi(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::YogiConfig;

let mut optim = YogiConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn laprop(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LaPropConfig;

let mut optim = LaPropConfig::new().init();
// in the loop:
model = optim.step(0.0004, model, grads);
    Ok(model)
}

pub fn adan(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdanConfig;

let mut optim = AdanConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adopt(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdoptConfig;

let mut optim = AdoptConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn qhm(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::QhmConfig;

let mut optim = QhmConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn qhadam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::QhAdamConfig;

let mut optim = QhAdamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn aggmo(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AggMoConfig;

let mut optim = AggMoConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn optimistic_gd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::OptimisticGdConfig;

let mut optim = OptimisticGdConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn ademamix(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdEmaMixConfig;

let mut optim = AdEmaMixConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn simplified_ademamix(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SimplifiedAdEmaMixConfig;

let mut optim = SimplifiedAdEmaMixConfig::new().init();
// in the loop:
model = optim.step(0.0001, model, grads);
    Ok(model)
}

pub fn grams(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::GramsConfig;

let mut optim = GramsConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn padam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::PAdamConfig;

let mut optim = PAdamConfig::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn diffgrad(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::DiffGradConfig;

let mut optim = DiffGradConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn madgrad(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MadgradConfig;

let mut optim = MadgradConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn ftrl(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::FtrlConfig;

let mut optim = FtrlConfig::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn optimistic_adam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::OptimisticAdamConfig;

let mut optim = OptimisticAdamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adabound(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaBoundConfig;

let mut optim = AdaBoundConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adamod(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaModConfig;

let mut optim = AdaModConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn acprop(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AcPropConfig;

let mut optim = AcPropConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn pnm(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::PnmConfig;

let mut optim = PnmConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adapnm(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaPnmConfig;

let mut optim = AdaPnmConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn ano(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AnoConfig;

let mut optim = AnoConfig::new().init();
// in the loop:
model = optim.step(0.0001, model, grads);
    Ok(model)
}

pub fn accsgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AccSgdConfig;

let mut optim = AccSgdConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn pid(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::PidConfig;

let mut optim = PidConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn cocob(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::CocobConfig;

let mut optim = CocobConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn schedule_free_sgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ScheduleFreeSgdConfig;

let mut optim = ScheduleFreeSgdConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn schedule_free_adamw(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ScheduleFreeAdamWConfig;

let mut optim = ScheduleFreeAdamWConfig::new().init();
// in the loop:
model = optim.step(0.0025, model, grads);
    Ok(model)
}

pub fn schedule_free_radam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ScheduleFreeRAdamConfig;

let mut optim = ScheduleFreeRAdamConfig::new().init();
// in the loop:
model = optim.step(0.0025, model, grads);
    Ok(model)
}

pub fn gpa_adamw(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::GpaAdamWConfig;

let mut optim = GpaAdamWConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn lamb(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LambConfig;

let mut optim = LambConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn lars(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LarsConfig;

let mut optim = LarsConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn novograd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::NovoGradConfig;

let mut optim = NovoGradConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn adanorm(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaNormConfig;

let mut optim = AdaNormConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn stable_adamw(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::StableAdamWConfig;

let mut optim = StableAdamWConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn mars(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MarsConfig;

let mut optim = MarsConfig::new().init();
// in the loop:
model = optim.step(0.003, model, grads);
    Ok(model)
}

pub fn adamp(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamPConfig;

let mut optim = AdamPConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn sgdp(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SgdpConfig;

let mut optim = SgdpConfig::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn stable_spam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::StableSpamConfig;

let mut optim = StableSpamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn amos(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AmosConfig;

let mut optim = AmosConfig::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn came(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::CameConfig;

let mut optim = CameConfig::new().init();
// in the loop:
model = optim.step(0.0002, model, grads);
    Ok(model)
}

pub fn sm3(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::Sm3Config;

let mut optim = Sm3Config::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn adam_mini(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamMiniConfig;

let mut optim = AdamMiniConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn racs(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::RacsConfig;

let mut optim = RacsConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn prodigy(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ProdigyConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(ProdigyConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn dadapt_adam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::DAdaptAdamConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(DAdaptAdamConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn dadapt_sgd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::DAdaptSgdConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(DAdaptSgdConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn dog(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::DogConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(DogConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn ldog(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LDoGConfig;

let mut optim = LDoGConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn dowg(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::DowgConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(DowgConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn momo(mut model: Linear, grads: GradientsParams, _step: u64, loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MomoConfig;
use downhill::train::{Driver, MicroBatch};

let mut driver = Driver::builder(MomoConfig::new().init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, MicroBatch::new(grads).with_loss(loss))?;
    Ok(model)
}

pub fn momo_adam(mut model: Linear, grads: GradientsParams, _step: u64, loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MomoAdamConfig;
use downhill::train::{Driver, MicroBatch};

let mut driver = Driver::builder(MomoAdamConfig::new().init(), 0.01).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, MicroBatch::new(grads).with_loss(loss))?;
    Ok(model)
}

pub fn muon(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MuonConfig;

let mut optim = MuonConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn muon_keller_jordan(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MuonKellerJordanConfig;

let mut optim = MuonKellerJordanConfig::new().init();
// in the loop:
model = optim.step(0.02, model, grads);
    Ok(model)
}

pub fn muon_moonlight(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MuonMoonlightConfig;

let mut optim = MuonMoonlightConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn muon_timm(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::MuonTimmConfig;

let mut optim = MuonTimmConfig::new().init();
// in the loop:
model = optim.step(0.02, model, grads);
    Ok(model)
}

pub fn normuon(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::NorMuonConfig;

let mut optim = NorMuonConfig::new().init();
// in the loop:
model = optim.step(0.02, model, grads);
    Ok(model)
}

pub fn adamuon(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdaMuonConfig;

let mut optim = AdaMuonConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn scion(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ScionConfig;

let mut optim = ScionConfig::new().init();
// in the loop:
model = optim.step(0.000244140625, model, grads);
    Ok(model)
}

pub fn shampoo(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ShampooConfig;

let mut optim = ShampooConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn shampoo_algoperf(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ShampooAlgoPerfConfig;

let mut optim = ShampooAlgoPerfConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn soap(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SoapConfig;

let mut optim = SoapConfig::new().init();
// in the loop:
model = optim.step(0.003, model, grads);
    Ok(model)
}

pub fn splus(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SPlusConfig;

let mut optim = SPlusConfig::new().init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn psgd_kron(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::PsgdKronConfig;

let mut optim = PsgdKronConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn galore(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::GaLoreConfig;

let mut optim = GaLoreConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn apollo(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ApolloConfig;

let mut optim = ApolloConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn apollo_mini(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ApolloMiniConfig;

let mut optim = ApolloMiniConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn lookahead(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::LookaheadConfig;

let mut optim = LookaheadConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn grokfast(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::GrokfastConfig;

let mut optim = GrokfastConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn orthograd(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::OrthoGradConfig;

let mut optim = OrthoGradConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn gradient_centralization(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::GradientCentralizationConfig;

let mut optim = GradientCentralizationConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn schedule_free(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ScheduleFreeConfig;

let mut optim = ScheduleFreeConfig::new().init();
// in the loop:
model = optim.step(1.0, model, grads);
    Ok(model)
}

pub fn slides_momentum(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::slides::MomentumConfig;

let mut optim = MomentumConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn slides_nadam(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::slides::NAdamConfig;

let mut optim = NAdamConfig::new().init();
// in the loop:
model = optim.step(0.001, model, grads);
    Ok(model)
}

pub fn slides_adafactor(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::slides::AdaFactorConfig;

let mut optim = AdaFactorConfig::new().init();
// in the loop:
model = optim.step(0.01, model, grads);
    Ok(model)
}

pub fn with_numbers(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamConfig;

let mut optim = AdamConfig::new().with_beta_1(0.8).with_epsilon(1e-9).init();
// in the loop:
model = optim.step(0.1, model, grads);
    Ok(model)
}

pub fn with_numbers_and_a_schedule(mut model: Linear, grads: GradientsParams, step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::AdamConfig;
use downhill::schedule::ScheduleConfig;

let schedule = ScheduleConfig::from_json(r#"{"name":"warmup_cosine","warmup":"10%"}"#)?
    .try_build_for(0.1, 1000)?;
let mut optim = AdamConfig::new().with_beta_1(0.8).with_epsilon(1e-9).init();
// in the loop:
model = optim.step(schedule.value(step), model, grads);
    Ok(model)
}

pub fn with_flags(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SgdConfig;

let mut optim = SgdConfig::new().with_momentum(0.9).with_nesterov(true).init();
// in the loop:
model = optim.step(0.5, model, grads);
    Ok(model)
}

pub fn with_flags_and_a_schedule(mut model: Linear, grads: GradientsParams, step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::SgdConfig;
use downhill::schedule::ScheduleConfig;

let schedule = ScheduleConfig::from_json(r#"{"name":"warmup_cosine","warmup":"10%"}"#)?
    .try_build_for(0.5, 1000)?;
let mut optim = SgdConfig::new().with_momentum(0.9).with_nesterov(true).init();
// in the loop:
model = optim.step(schedule.value(step), model, grads);
    Ok(model)
}

pub fn with_a_choice(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::OptimizerConfig;

let mut optim = OptimizerConfig::from_json(
    r#"{"adjust_lr":"match_rms_adamw","learning_rate":0.02,"name":"muon"}"#,
)?
.try_init()?;
// in the loop:
model = optim.step(0.02, model, grads);
    Ok(model)
}

pub fn with_a_choice_and_a_schedule(mut model: Linear, grads: GradientsParams, step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::OptimizerConfig;
use downhill::schedule::ScheduleConfig;

let schedule = ScheduleConfig::from_json(r#"{"name":"warmup_cosine","warmup":"10%"}"#)?
    .try_build_for(0.02, 1000)?;
let mut optim = OptimizerConfig::from_json(
    r#"{"adjust_lr":"match_rms_adamw","learning_rate":0.02,"name":"muon"}"#,
)?
.try_init()?;
// in the loop:
model = optim.step(schedule.value(step), model, grads);
    Ok(model)
}

pub fn with_a_driver(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ProdigyConfig;
use downhill::train::Driver;

let mut driver = Driver::builder(ProdigyConfig::new().with_d_coef(0.5).init(), 1.0).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub fn with_a_driver_and_a_schedule(mut model: Linear, grads: GradientsParams, _step: u64, _loss: f64)
    -> Result<Linear, Box<dyn Error>> {
use downhill::optim::ProdigyConfig;
use downhill::schedule::ScheduleConfig;
use downhill::train::Driver;

let schedule = ScheduleConfig::from_json(r#"{"name":"warmup_cosine","warmup":"10%"}"#)?
    .try_build_for(1.0, 1000)?;
let mut driver = Driver::builder(ProdigyConfig::new().with_d_coef(0.5).init(), schedule).bind(&model)?;
// in the loop:
(model, _) = driver.step(model, grads)?;
    Ok(model)
}

pub const ALL: &[(&str, super::Step)] = &[
    ("sgd", sgd),
    ("adagrad", adagrad),
    ("rmsprop", rmsprop),
    ("adam", adam),
    ("adamw", adamw),
    ("nadam", nadam),
    ("nadamw", nadamw),
    ("adafactor", adafactor),
    ("radam", radam),
    ("adamax", adamax),
    ("adadelta", adadelta),
    ("asgd", asgd),
    ("rprop", rprop),
    ("lion", lion),
    ("signum", signum),
    ("signsgd", signsgd),
    ("tiger", tiger),
    ("adabelief", adabelief),
    ("yogi", yogi),
    ("laprop", laprop),
    ("adan", adan),
    ("adopt", adopt),
    ("qhm", qhm),
    ("qhadam", qhadam),
    ("aggmo", aggmo),
    ("optimistic_gd", optimistic_gd),
    ("ademamix", ademamix),
    ("simplified_ademamix", simplified_ademamix),
    ("grams", grams),
    ("padam", padam),
    ("diffgrad", diffgrad),
    ("madgrad", madgrad),
    ("ftrl", ftrl),
    ("optimistic_adam", optimistic_adam),
    ("adabound", adabound),
    ("adamod", adamod),
    ("acprop", acprop),
    ("pnm", pnm),
    ("adapnm", adapnm),
    ("ano", ano),
    ("accsgd", accsgd),
    ("pid", pid),
    ("cocob", cocob),
    ("schedule_free_sgd", schedule_free_sgd),
    ("schedule_free_adamw", schedule_free_adamw),
    ("schedule_free_radam", schedule_free_radam),
    ("gpa_adamw", gpa_adamw),
    ("lamb", lamb),
    ("lars", lars),
    ("novograd", novograd),
    ("adanorm", adanorm),
    ("stable_adamw", stable_adamw),
    ("mars", mars),
    ("adamp", adamp),
    ("sgdp", sgdp),
    ("stable_spam", stable_spam),
    ("amos", amos),
    ("came", came),
    ("sm3", sm3),
    ("adam_mini", adam_mini),
    ("racs", racs),
    ("prodigy", prodigy),
    ("dadapt_adam", dadapt_adam),
    ("dadapt_sgd", dadapt_sgd),
    ("dog", dog),
    ("ldog", ldog),
    ("dowg", dowg),
    ("momo", momo),
    ("momo_adam", momo_adam),
    ("muon", muon),
    ("muon_keller_jordan", muon_keller_jordan),
    ("muon_moonlight", muon_moonlight),
    ("muon_timm", muon_timm),
    ("normuon", normuon),
    ("adamuon", adamuon),
    ("scion", scion),
    ("shampoo", shampoo),
    ("shampoo_algoperf", shampoo_algoperf),
    ("soap", soap),
    ("splus", splus),
    ("psgd_kron", psgd_kron),
    ("galore", galore),
    ("apollo", apollo),
    ("apollo_mini", apollo_mini),
    ("lookahead", lookahead),
    ("grokfast", grokfast),
    ("orthograd", orthograd),
    ("gradient_centralization", gradient_centralization),
    ("schedule_free", schedule_free),
    ("slides_momentum", slides_momentum),
    ("slides_nadam", slides_nadam),
    ("slides_adafactor", slides_adafactor),
    ("with_numbers", with_numbers),
    ("with_numbers_and_a_schedule", with_numbers_and_a_schedule),
    ("with_flags", with_flags),
    ("with_flags_and_a_schedule", with_flags_and_a_schedule),
    ("with_a_choice", with_a_choice),
    ("with_a_choice_and_a_schedule", with_a_choice_and_a_schedule),
    ("with_a_driver", with_a_driver),
    ("with_a_driver_and_a_schedule", with_a_driver_and_a_schedule),
];
