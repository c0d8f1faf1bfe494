use core::marker::PhantomData;

use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value, over,
};

use super::outputs::{First, Last, Outputs};
use crate::declare::{Scope, wrapper};
use crate::registry::OptimizerConfig;
use crate::wrapped::{self, Around, Stage};

wrapper! {
    /// Gradient centralisation: another optimizer sees the gradient of each output without its mean.
    ///
    /// ```text
    /// g ← g - mean of g over the inputs of its output
    /// ```
    ///
    /// Outputs are the columns of a matrix (Burn's linear layers have `[inputs, outputs]`), and the first dimension of
    /// what has more (convolutions). Vectors are left alone. The mean is taken before momentum, and before the decay
    /// of the optimizer inside. State: the optimizer's. Each step needs a buffer for the gradient. Source: Yong et al.,
    /// arXiv 2004.01461.
    ///
    /// ```
    /// use downhill_optim::{AdamWConfig, GradientCentralizationConfig};
    ///
    /// let optim = GradientCentralizationConfig::new().with_optimizer(AdamWConfig::new().into()).init();
    /// ```
    GradientCentralization as GradientCentralizationConfig, "gradient_centralization" {
        learning_rate: 1e-2,
        state: "the optimizer's",
        paper: "Yong et al., arXiv 2004.01461",
        description: "another optimizer, which sees gradients without their means",
        decay: None,
        maximize: false,
    }
    /// Whether only what has four dimensions and more is centred.
    conv_only, with_conv_only: bool = false, ANY;
    /// The other optimizer.
    optimizer, with_optimizer: OptimizerConfig = super::SgdConfig::new().with_momentum(0.9).into(), ANY;
    => |wrapper, shared| shared.around(&wrapper.optimizer, wrapper.clone())
}

impl Around for GradientCentralization {
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn sight(&self) -> (Scope, usize) {
        (Scope::RowsAndColumns, 2)
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let scale = clock.grad_scale;
        match stage.shape().len() {
            0 | 1 => {}
            2 | 3 if self.conv_only => {}
            2 => stage.filter(Centred::<Last>(scale, PhantomData)),
            _ => stage.filter(Centred::<First>(scale, PhantomData)),
        }
        stage.inner(wrapped::Field::Param);
    }
}

/// The parameter without the mean of each output; the gradient stands in its place here.
#[derive(Clone)]
struct Centred<O>(f64, PhantomData<O>);

impl<O> Numbers for Centred<O> {}

impl<O: Outputs> Look for Centred<O> {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = ();
    const WIDE: bool = false;
    const KNOWN: [Over; MAX_KNOWN] = over([O::OVER]);

    fn frame(&self, shape: &[usize]) -> Frame {
        O::frame(shape.len())
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        [O::OVER; MAX_SUMS]
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, _: &mut Clock, _: &[usize]) -> Step<()> {
        Step { retain: self.0, ..Step::new(1.0, ()) }
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(_: &(), _: &[V; 1], grad: &V, _: V, _: [V; 0]) -> [V; 1] {
        [grad.clone()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &(), [sum]: [V; 1], size: &Size, _: [V; 1], kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([sum.scale(O::elements(size).recip())], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), [mean]: &[V; 1], _: &V, _: V, state: [V; 0]) -> (V, [V; 0]) {
        (mean.clone(), state)
    }
}
