use burn::tensor::TensorData;

use crate::RuleOptimizer;
use crate::tensors::state::Layout;

/// What the state of a parameter consists of.
#[derive(Clone, Debug)]
pub struct StateNames {
    /// Names and shapes of the tensors, in order.
    pub tensors: Vec<(String, Vec<usize>)>,
    layout: Layout,
}

impl StateNames {
    /// Of a parameter of this shape.
    pub fn of(optimizer: &RuleOptimizer, shape: &[usize]) -> Self {
        let slots = optimizer.program().0.slots(shape);
        let layout = optimizer.layout(shape, &slots);
        let shapes = slots.into_iter().map(|(_, shape)| shape);
        Self {
            tensors: layout.tensors.iter().cloned().zip(shapes).collect(),
            layout,
        }
    }

    /// The names of the scalars, in order.
    pub fn scalars(&self) -> &[String] {
        &self.layout.scalars
    }

    /// The names, as they stand in a record.
    pub fn encoded(&self) -> TensorData {
        self.layout.encoded()
    }
}
