//! The projection of AdamP and SGDP.

use downhill_rule::{Field, Size, Value};

use super::outputs::Outputs;

/// When a step is projected onto the directions that do not change a weight's length.
///
/// ```text
/// cos = |⟨g, p⟩|/(|g|·|p|),   of each output
/// u ← u - ⟨p, u⟩/(|p| + epsilon)²·p,   of each output, where the largest cos is below delta/sqrt(its elements),
///     or of the whole, where that one's is below delta/sqrt(all)
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    pub delta: f64,
    pub wd_ratio: f64,
    pub epsilon: f64,
}

impl Projection {
    /// What is added up of each output.
    #[inline(always)]
    pub fn terms<V: Value>(param: &V, grad: V, u: V) -> [V; 4] {
        let param = param.clone();
        [grad.clone() * param.clone(), grad.square(), param.clone().square(), param * u]
    }

    /// How much of the parameter is taken from the direction, of each output, and the share of the weight decay that
    /// acts.
    pub fn settle<O: Outputs, V: Field>(&self, sums: [V; 4], size: &Size) -> [V; 2] {
        let each = O::elements(size);
        let all = sums.clone().map(|sum| sum.mean().scale(size.whole / each));
        let (of_each, each) = self.radial(sums, each);
        let (of_all, all) = self.radial(all, size.whole);
        let all = (each.clone().scale(-1.0).offset(1.0)) * all;
        let radial = of_each * each.clone() + of_all * all.clone();
        [radial, (each + all).scale(self.wd_ratio - 1.0).offset(1.0)]
    }

    /// The share of the parameter in the direction, and whether no part is too much along its gradient.
    fn radial<V: Field>(&self, [along, grad, param, step]: [V; 4], elements: f64) -> (V, V) {
        let (grad, param) = (grad.sqrt(), param.sqrt());
        // One length after the other: the square of epsilon can be nothing in single precision.
        let cos = along.abs() / grad.clamp_min(self.epsilon) / param.clone().clamp_min(self.epsilon);
        let limit = self.delta / elements.sqrt();
        let below = cos.largest().scale(-1.0).offset(limit).heaviside();
        let length = param.offset(self.epsilon);
        (step / length.clone() / length, below)
    }
}
