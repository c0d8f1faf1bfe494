use core::marker::PhantomData;

use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value, ema, over,
};

use super::muon::{AdjustLr, Orthogonalised, Scale, muon_optimizer};
use super::outputs::{First, Last, Outputs};
use crate::decay::Decay;
use crate::matrix::{Blocks, Side};
use crate::program::Program;

muon_optimizer! {
    /// NorMuon: [`Muon`](crate::Muon), and what each output moves is brought to the same size over time.
    ///
    /// ```text
    /// O as Muon's,   v ← beta_2·v + (1 - beta_2)·mean of O² over an output's inputs
    /// u = O/(sqrt(v) + epsilon_2),   u ← |O|/|u|·u
    /// p ← (1 - lr·weight_decay)·p - lr·scale·u
    /// ```
    ///
    /// Norms are those of the whole weight. State: `momentum_buffer`, and `second_momentum_buffer` with a number for
    /// each output; or the fallback's. Temporaries as Muon's. Source: Li et al., arXiv 2510.05491, whose code has a
    /// number for each kernel of a convolution; here a convolution is one matrix.
    NorMuon as NorMuonConfig, "normuon" {
        learning_rate: 2e-2,
        state: "n + c, the fallback's for what is no matrix",
        paper: "Li et al., arXiv 2510.05491",
        description: "muon whose outputs move alike",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.1).with_adjust_lr(downhill_optim::AdjustLr::MatchRmsAdamW)",
    }
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.95, DECAY;
    /// Added to its root.
    epsilon_2, with_epsilon_2: f64 = 1e-10, POSITIVE;
    /// How the length of a step follows the shape.
    adjust_lr, with_adjust_lr: AdjustLr = AdjustLr::Original, ANY;
    => |rule, shared| {
        let (on_gradient, on_step) = shared.split()?;
        let [beta_2, epsilon_2] = [rule.beta_2, rule.epsilon_2];
        let (layout, parts, adjust_lr) = (rule.layout, rule.parts, rule.adjust_lr);
        let columns = Levelled::<Last> { beta_2, epsilon_2, adjust_lr, parts, outputs: PhantomData };
        let rows = Levelled::<First> { beta_2, epsilon_2, adjust_lr, parts, outputs: PhantomData };
        let are_rows = move |shape: &[usize]| usize::from(layout.outputs(shape.len()) == Side::Rows);
        let levelled = Program::by_shape(are_rows, [on_step.look(columns)?, on_step.look(rows)?]);
        let turned = Orthogonalised { method: rule.clone(), on_gradient, of_signs: false, scale: Scale::One };
        Ok(Program::wrapped(turned, levelled))
    }
}

/// Brings each output to the same size, and the whole to the one that it had.
#[derive(Clone, Copy, Debug)]
struct Levelled<O> {
    beta_2: f64,
    epsilon_2: f64,
    adjust_lr: AdjustLr,
    parts: usize,
    outputs: PhantomData<O>,
}

impl<O> Numbers for Levelled<O> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "beta_2" => Some(&mut self.beta_2),
            "epsilon_2" => Some(&mut self.epsilon_2),
            _ => None,
        }
    }
}

impl<O: Outputs> Look for Levelled<O> {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 1];
    type Sums<V: Value> = [V; 2];
    /// What each output is divided by, and what the whole is multiplied by.
    type Known<V: Value> = [V; 2];
    type Coefs = Self;
    const LOOKS: usize = 2;
    const KEPT: [Over; MAX_KNOWN] = over([O::OVER]);
    const KNOWN: [Over; MAX_KNOWN] = over([O::OVER]);

    fn frame(&self, shape: &[usize]) -> Frame {
        Frame::first(shape.len())
    }

    fn sums(look: usize) -> usize {
        1 + look
    }

    fn over(look: usize) -> [Over; MAX_SUMS] {
        if look == 0 { over([O::OVER]) } else { over([]) }
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("second_momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<Self> {
        let outputs = if O::OVER == Over::Rows { Side::Rows } else { Side::Cols };
        let blocks = Blocks::parts(shape, outputs, self.parts);
        Step::new(clock.lr * self.adjust_lr.scale(&blocks, outputs), *self)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Self, [factor, _]: &[V; 2], _: &V, grad: V, _: [V; 0],
    ) -> [V; 2] {
        let square = grad.clone().square();
        if LOOK == 0 {
            return [square.clone(), square];
        }
        [square, (grad * factor.clone()).square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        rule: &Self, [first, second]: [V; 2], size: &Size, [factor, back]: [V; 2], [v]: [V; 1],
    ) -> ([V; 2], [V; 1]) {
        if LOOK == 0 {
            let v = ema(v, first.scale(O::elements(size).recip()), rule.beta_2);
            return ([v.clone().sqrt().offset(rule.epsilon_2).recip(), back], [v]);
        }
        // Where nothing moves there is nothing to divide by.
        let ratio = first.sqrt() / second.clone().sqrt().clamp_min(f64::from(f32::MIN_POSITIVE));
        ([factor, ratio], [v])
    }

    #[inline(always)]
    fn direction<V: Value>(
        _: &Self, [factor, back]: &[V; 2], _: &V, grad: V, state: [V; 0],
    ) -> (V, [V; 0]) {
        (grad * (factor.clone() * back.clone()), state)
    }
}
