use core::marker::PhantomData;

use downhill_rule::{
    Clock, Debiased, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value,
    ema, over,
};

use super::outputs::{Alone, First, Last, Outputs, by_outputs};
use crate::decay::Decay;
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// What has one second moment; see [`AdamMini`].
    AdamMiniBlocks {
        /// Each output of a weight, and each vector.
        Output = "output",
        /// Each tensor.
        Tensor = "tensor",
    }
}

optimizer! {
    /// Adam-mini: [`AdamW`](crate::AdamW) with one second moment for each output of a weight, so that its state is
    /// half as large.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// v ← beta_2·v + (1 - beta_2)·mean of g²,   one number for each block
    /// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// A block is what shares a second moment: with `output` a column of a matrix (Burn's linear layers have
    /// `[inputs, outputs]`), an index of the first dimension of what has more (convolutions), and a whole vector; with
    /// `tensor` any tensor. Which parameter has which is said by [groups](https://docs.rs/downhill-train), not found
    /// by its name; the paper gives queries and keys one block for each head, which is not offered.
    /// State: `exp_avg`, and `vmean`, one number for each block. Source: Zhang et al., arXiv 2406.16793.
    AdamMini as AdamMiniConfig, "adam_mini" {
        learning_rate: 1e-3,
        state: "n + c",
        paper: "Zhang et al., arXiv 2406.16793",
        description: "adamw with one second moment for each output",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.1)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// What has one second moment.
    blocks, with_blocks: AdamMiniBlocks = AdamMiniBlocks::Output, ANY;
    => |rule, shared| match rule.blocks {
        AdamMiniBlocks::Tensor => shared.look(Blocks::<Alone>(rule, PhantomData)),
        AdamMiniBlocks::Output => Ok(by_outputs(
            shared.look(Blocks::<Alone>(rule, PhantomData))?,
            shared.look(Blocks::<Last>(rule, PhantomData))?,
            shared.look(Blocks::<First>(rule, PhantomData))?,
        )),
    }
}

/// With its outputs there.
#[derive(Clone)]
struct Blocks<O>(AdamMini, PhantomData<O>);

impl<O> Numbers for Blocks<O> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<O: Outputs> Look for Blocks<O> {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 1];
    type Sums<V: Value> = [V; 1];
    /// `sqrt(v/(1 - beta_2^t)) + epsilon`
    type Known<V: Value> = [V; 1];
    type Coefs = Debiased<AdamMini>;
    const KEPT: [Over; MAX_KNOWN] = over([O::OVER]);
    const KNOWN: [Over; MAX_KNOWN] = over([O::OVER]);

    fn frame(&self, shape: &[usize]) -> Frame {
        O::frame(shape.len())
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        [O::OVER; MAX_SUMS]
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("vmean")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Debiased<AdamMini>> {
        Step::new(clock.lr, Debiased::new(self.0, self.0.beta_1, self.0.beta_2, clock.t()))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Debiased<AdamMini>, _: &[V; 1], _: &V, grad: V, _: [V; 1],
    ) -> [V; 1] {
        [grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &Debiased<AdamMini>, [sum]: [V; 1], size: &Size, _: [V; 1], [v]: [V; 1],
    ) -> ([V; 1], [V; 1]) {
        let v = ema(v, sum.scale(O::elements(size).recip()), coefs.rule.beta_2);
        ([coefs.root(v.clone()).offset(coefs.rule.epsilon)], [v])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Debiased<AdamMini>, [root]: &[V; 1], _: &V, grad: V, [m]: [V; 1],
    ) -> (V, [V; 1]) {
        let m = ema(m, grad, coefs.rule.beta_1);
        (coefs.mean(m.clone()) / root.clone(), [m])
    }
}
