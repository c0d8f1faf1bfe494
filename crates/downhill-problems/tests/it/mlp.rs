//! The perceptron: seeded weights, and numbers that were worked out by hand.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Tensor},
};
use downhill_problems::{
    data::{self, Classification},
    mlp::{Mlp, MlpConfig},
    numpy::RandomState,
};

/// All parameters, in the module's order.
fn parameters(model: &Mlp) -> Vec<Vec<f32>> {
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data_as::<f32>();
            self.0.push(data.try_into_vec::<f32>().unwrap());
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    values.0
}

#[test]
fn the_seed_decides_the_weights() {
    let device = Device::flex();
    let config = MlpConfig::new(20, 64, 3);
    let weights = parameters(&config.init(42, &device));
    assert_eq!(weights, parameters(&config.init(42, &device)));
    assert_eq!(
        weights,
        parameters(&config.init(42, &device.clone().autodiff()))
    );
    assert_ne!(weights, parameters(&config.init(43, &device)));

    let sizes: Vec<usize> = weights.iter().map(Vec::len).collect();
    assert_eq!(sizes, [20 * 64, 64, 64 * 3, 3]);
    for (values, inputs) in weights.iter().zip([20f32, 20., 64., 64.]) {
        let bound = 1.0 / inputs.sqrt();
        assert!(values.iter().all(|w| w.abs() <= bound));
        assert!(values.iter().any(|w| w.abs() > bound / 2.0));
        assert!(values.iter().any(|w| *w < 0.0) && values.iter().any(|w| *w > 0.0));
    }
}

#[test]
fn forward_loss_and_accuracy_are_the_formulas() {
    let device = Device::flex();
    let model = MlpConfig::new(2, 3, 2).init(1, &device);
    let w = parameters(&model);
    let samples = [[0.5f32, -1.0], [2.0, 0.25], [-0.75, 1.5]];
    let labels = [1, 0, 1];

    let mut loss = 0.0;
    let mut right = 0;
    let mut expected = Vec::new();
    for (x, &label) in samples.iter().zip(&labels) {
        let hidden: Vec<f32> = (0..3)
            .map(|j| (x[0] * w[0][j] + x[1] * w[0][3 + j] + w[1][j]).tanh())
            .collect();
        let logits: Vec<f32> = (0..2)
            .map(|k| (0..3).map(|j| hidden[j] * w[2][j * 2 + k]).sum::<f32>() + w[3][k])
            .collect();
        let total: f32 = logits.iter().map(|z| z.exp()).sum();
        loss -= f64::from((logits[label].exp() / total).ln()) / 3.0;
        right += usize::from(logits[label] > logits[1 - label]);
        expected.extend(logits);
    }

    let features = samples.iter().flatten().map(|&x| f64::from(x)).collect();
    let data = Classification::new(2, features, labels.to_vec()).unwrap();
    let batch = data.batch(&device);
    let logits = model.forward(batch.inputs.clone());
    let logits = logits.into_data_as::<f32>().try_into_vec::<f32>().unwrap();
    for (ours, expected) in logits.iter().zip(&expected) {
        assert!((ours - expected).abs() < 1e-6);
    }
    assert!((model.loss(&batch).into_scalar::<f64>() - loss).abs() < 1e-6);
    let evaluation = model.evaluate(&data);
    assert!((evaluation.loss - loss).abs() < 1e-6);
    assert_eq!(evaluation.accuracy, right as f64 / 3.0);
}

#[test]
fn training_learns_the_digits_and_repeats_itself() {
    let device = Device::flex().autodiff();
    let digits = data::digits();
    let train = || {
        let mut model = MlpConfig::new(64, 32, 10).init(0, &device);
        let mut optimizer = AdamConfig::new().init();
        let mut random = RandomState::new(0);
        for _ in 0..4 {
            for batch in digits.train.batches(32, &mut random, &device) {
                let gradients = model.loss(&batch).backward();
                let gradients = GradientsParams::from_grads(gradients, &model);
                model = optimizer.step(1e-2, model, gradients);
            }
        }
        model.evaluate(&digits.test)
    };
    let evaluation = train();
    assert!(evaluation.accuracy > 0.9, "{evaluation:?}");
    assert_eq!(evaluation, train());
}

#[test]
fn degenerate_sizes_do_not_panic() {
    let device = Device::flex();
    let data = Classification::new(1, vec![1.0, 2.0], vec![0, 0]).unwrap();
    let model = MlpConfig::new(1, 1, 1).init(0, &device);
    let evaluation = model.evaluate(&data);
    assert_eq!((evaluation.loss, evaluation.accuracy), (0.0, 1.0));
}
