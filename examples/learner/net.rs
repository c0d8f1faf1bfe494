//! The perceptron behind burn-train's traits.

use burn::module::Module;
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use downhill_problems::data::Batch;
use downhill_problems::mlp::Mlp;

/// The model as burn-train takes one.
#[derive(Module, Debug)]
pub struct Net {
    pub mlp: Mlp,
}

impl Net {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.mlp.forward(batch.inputs.clone());
        ClassificationOutput::new(self.mlp.loss(&batch), output, batch.targets)
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}
