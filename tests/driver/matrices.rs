//! Optimizers of matrices: who steps which parameter of a model, by its shape and by its path.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};

use super::*;

/// A little of everything.
#[derive(Module, Debug)]
struct Everything {
    token_embedding: Embedding,
    conv: Conv2d,
    depthwise: Conv2d,
    linear: Linear,
    norm: LayerNorm,
    head: Linear,
}

impl Everything {
    fn new(device: &Device) -> Self {
        let conv = |groups| Conv2dConfig::new([4, 4], [3, 3]).with_groups(groups);
        Self {
            token_embedding: EmbeddingConfig::new(5, 4).init(device),
            conv: conv(1).init(device),
            depthwise: conv(4).with_bias(false).init(device),
            linear: LinearConfig::new(4, 6).init(device),
            norm: LayerNormConfig::new(6).init(device),
            head: LinearConfig::new(6, 5).init(device),
        }
    }
}

/// The numbers of every parameter, by its path.
fn numbers(module: &impl Module) -> Vec<(String, Vec<f64>)> {
    #[derive(Default)]
    struct Walk {
        path: Vec<String>,
        found: Vec<(String, Vec<f64>)>,
    }
    impl ModuleVisitor for Walk {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = floats(param.val().into_data());
            self.found.push((self.path.join("."), values));
        }
    }
    let mut walk = Walk::default();
    module.visit(&mut walk);
    walk.found
}

const PLAN: &str = "\
token_embedding.weight  5 × 4          F32  adamw, for muon
conv.weight             4 × 4 × 3 × 3  F32  muon
conv.bias               4              F32  adamw, for muon  no_decay
depthwise.weight        4 × 1 × 3 × 3  F32  adamw, for muon
linear.weight           4 × 6          F32  muon
linear.bias             6              F32  adamw, for muon  no_decay
norm.gamma              6              F32  adamw, for muon  no_decay
norm.beta               6              F32  adamw, for muon  no_decay
head.weight             6 × 5          F32  frozen           head
head.bias               5              F32  frozen           no_decay, head
";

#[test]
fn the_plan_says_who_steps_what() {
    for device in devices() {
        let model = Everything::new(&device.device.clone().autodiff());
        let driver = Driver::builder(optim::MuonConfig::new().init(), 0.01)
            .with_group(Group::no_decay())
            .with_group(Group::new("head", Select::path("head.*")).frozen());
        let driver = driver.bind(&model).unwrap();
        assert_eq!(driver.plan().to_string(), PLAN);
        let conv = driver
            .parameters()
            .find(|found| found.info.path == "conv.weight");
        assert_eq!(conv.unwrap().stepped_by, Some("muon"));
        let norm = driver
            .parameters()
            .find(|found| found.info.path == "norm.gamma");
        let norm = norm.unwrap();
        assert_eq!(norm.stepped_by, Some("adamw"));
        assert_eq!(norm.optimizer.unwrap().name, "muon");
    }
}

/// In a bare `ModuleOptimizer` and in a driver each parameter goes where the optimizer alone brings it that the plan
/// has for it, at its own rate.
#[test]
fn every_parameter_is_stepped_by_its_own() {
    let muon = || {
        let config = optim::MuonConfig::new().with_fallback_rate(0.5);
        config.with_no_matrix(["*embed*", "head"].into())
    };
    let bare = muon().build();
    let adamw = optim::AdamWConfig::new().build();
    // A GPU adds products up in another order when tensors lie elsewhere.
    for device in devices().into_iter().filter(|device| device.exact) {
        let inner = &device.device;
        let start = Everything::new(&inner.clone().autodiff());
        let (mut by_itself, mut driven) = (start.clone(), start.clone());
        let mut module_optimizer = muon().init();
        let mut driver = Driver::builder(muon().init(), 0.01).bind(&start).unwrap();
        for t in 0..3 {
            by_itself = module_optimizer.step(0.01, by_itself.clone(), grads_for(&by_itself, t).0);
            driven = driver
                .step(driven.clone(), grads_for(&driven, t).0)
                .unwrap()
                .0;
        }
        let plan: Vec<_> = driver
            .parameters()
            .map(|found| (found.info.shape.clone(), found.stepped_by == Some("muon")))
            .collect();
        assert_eq!(plan.iter().filter(|(_, is_muon)| *is_muon).count(), 2);
        let ways = numbers(&start)
            .into_iter()
            .zip(numbers(&by_itself))
            .zip(numbers(&driven));
        for (at, (((path, from), (_, bare_end)), (_, driven_end))) in ways.enumerate() {
            let (shape, is_muon) = &plan[at];
            let (alone, rate) = if *is_muon {
                (&bare, 0.01)
            } else {
                (&adamw, 0.005)
            };
            let mut subject = common::Subject::new(alone.clone(), inner, DType::F32, shape, &from);
            for t in 0..3 {
                subject.step(rate, &values(from.len(), 100 * t + at + 1));
            }
            let label = format!("{path} on {}", device.name);
            assert_same(&label, &device, &bare_end, &subject.param());
            assert_same(&label, &device, &driven_end, &subject.param());
        }
    }
}

/// With the model at hand an embedding is one whatever it is called, and a transposed convolution too.
#[test]
fn a_model_tells_what_its_layers_are() {
    #[derive(Module, Debug)]
    struct Odd {
        characters: Embedding,
        up: nn::conv::ConvTranspose2d,
        linear: Linear,
    }
    let device = devices().remove(0).device;
    let model = Odd {
        characters: EmbeddingConfig::new(5, 4).init(&device.clone().autodiff()),
        up: nn::conv::ConvTranspose2dConfig::new([3, 5], [2, 2]).init(&device.clone().autodiff()),
        linear: LinearConfig::new(4, 6).init(&device.clone().autodiff()),
    };
    let muon = optim::MuonConfig::new().with_adjust_lr(optim::AdjustLr::SpectralUnclamped);
    let optim = muon.try_init_for(&model).unwrap();
    let driver = Driver::builder(optim.clone(), 0.01).bind(&model).unwrap();
    let by = |path: &str| {
        let found = driver.parameters().find(|found| found.info.path == path);
        found.unwrap().stepped_by.unwrap().to_string()
    };
    assert_eq!(by("characters.weight"), "adamw");
    assert_eq!(by("up.weight"), "muon");
    assert_eq!(by("linear.weight"), "muon");

    let mut optim = optim;
    let stepped = optim.step(0.01, model.clone(), grads_for(&model, 1).0);
    let turned = muon.with_layout(optim::MatrixLayout::InOut).build();
    let (from, end) = (numbers(&model).remove(1).1, numbers(&stepped).remove(1).1);
    let mut alone = common::Subject::new(turned, &device, DType::F32, &[3, 5, 2, 2], &from);
    alone.step(0.01, &values(from.len(), 102));
    assert_eq!(end, alone.param());
}

/// What is named goes by signs, over the inputs of its layer.
#[test]
fn scion_has_a_norm_for_what_is_named() {
    let device = devices().remove(0).device;
    let start = Everything::new(&device.clone().autodiff());
    let scion = optim::ScionConfig::new()
        .with_momentum(0.0)
        .with_constrained(false);
    let stepped = |head_radius: f64| {
        let mut optim = scion.clone().with_head_radius(head_radius).init();
        optim.step(0.01, start.clone(), grads_for(&start, 1).0)
    };
    for head_radius in [6.0, 12.0] {
        let ends = numbers(&stepped(head_radius));
        for ((path, from), (_, end)) in numbers(&start).into_iter().zip(ends) {
            let inputs = match path.as_str() {
                "head.weight" => 6.0,
                "token_embedding.weight" => 5.0,
                "head.bias" => 1.0,
                _ => continue,
            };
            for (from, end) in from.iter().zip(&end) {
                let way = (end - from).abs();
                let expected = 0.01 * head_radius / inputs;
                assert!(
                    is_close(way, expected, 1e-4),
                    "{path}: {way}, not {expected}"
                );
            }
        }
    }
}

/// Paths are for the optimizer of a whole module: a group has chosen already.
#[test]
fn a_group_goes_by_shape_alone() {
    let device = devices().remove(0).device;
    let model = Everything::new(&device.clone().autodiff());
    let muon = || optim::MuonConfig::new().build();
    let group = Group::new("weights", Select::name("weight")).with_optimizer(muon());
    let driver = Driver::builder(optim::SgdConfig::new().init(), 0.01).with_group(group);
    let driver = driver.bind(&model).unwrap();
    let by = |path: &str| {
        let found = driver.parameters().find(|found| found.info.path == path);
        found.unwrap().stepped_by.unwrap().to_string()
    };
    assert_eq!(by("head.weight"), "muon");
    assert_eq!(by("depthwise.weight"), "adamw");
    assert_eq!(by("head.bias"), "sgd");
}

/// A number that a schedule drives is that of the optimizer of matrices where it has one of this name, and else the
/// fallback's.
#[test]
fn a_schedule_drives_whoever_has_the_number() {
    let device = devices().remove(0);
    let inner = &device.device;
    let net = Net::new(1, inner, DType::F32);
    let builder = Driver::builder(optim::MuonConfig::new().init(), 0.05);
    let builder = builder
        .with_driven("weight_decay", 0.3)
        .with_driven("beta_1", 0.5);
    let mut driver = builder.with_driven("momentum", 0.7).bind(&net).unwrap();
    let fallback = optim::AdamWConfig::new().with_beta_1(0.5);
    let muon = optim::MuonConfig::new()
        .with_weight_decay(0.3)
        .with_momentum(0.7);
    let mut alone = muon.with_fallback(fallback.into()).init();
    let (mut driven, mut other) = (net.clone(), net);
    for t in 0..3 {
        let grads = driven.grads(t, &ALL, inner, DType::F32);
        driven = driver.step(driven, grads).unwrap().0;
        let grads = other.grads(t, &ALL, inner, DType::F32);
        other = alone.step(0.05, other, grads);
    }
    assert_eq!(driven.values(), other.values());
}

/// A gradient whose products are not finite leaves the last basis, and the report says so.
#[test]
fn failed_decompositions_are_reported() {
    for device in devices() {
        let start = Everything::new(&device.device.clone().autodiff());
        let soap = optim::SoapConfig::new().with_precondition_frequency(1);
        let mut driver = Driver::builder(soap.init(), 0.01).bind(&start).unwrap();
        let (model, report) = driver.step(start.clone(), grads_for(&start, 1).0).unwrap();
        assert_eq!(report.failed_decompositions, 0, "{}", device.name);
        let grads = huge(&model, grads_for(&model, 2).0);
        let (model, report) = driver.step(model, grads).unwrap();
        assert!(
            report.failed_decompositions >= 2,
            "{}: {report}",
            device.name
        );
        let said = format!(", {} decompositions failed", report.failed_decompositions);
        assert!(report.to_string().contains(&said), "{report}");
        for (path, values) in numbers(&model) {
            assert!(
                values.iter().all(|value| value.is_finite()),
                "{path} on {}",
                device.name
            );
        }
    }
}

/// The gradients, so large that their squares overflow.
fn huge(model: &Everything, mut grads: GradientsParams) -> GradientsParams {
    for id in [model.linear.weight.id, model.head.weight.id] {
        let grad = grads.remove::<2>(id).expect("it has one");
        grads.register(id, grad * 1e30);
    }
    grads
}
