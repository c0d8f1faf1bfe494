use downhill_rule::{Clock, Field, Look, Numbers, Size, Slot, Step, Value};

use crate::declare::{Scope, wrapper};
use crate::registry::OptimizerConfig;
use crate::wrapped::{self, Around, Stage};

wrapper! {
    /// OrthoGrad: another optimizer sees only what of the gradient is across the weights, as long as the whole was.
    ///
    /// ```text
    /// h = g - ⟨w, g⟩/(|w|² + epsilon)·w
    /// g ← |g|/(|h| + epsilon)·h,   0 where |h| is no more than rounding leaves of |g|
    /// ```
    ///
    /// Norms are those of the tensor. A step along the weights makes a network more confident, not better. A tensor of
    /// one element never moves. State: the optimizer's. Each step needs a buffer for the gradient. Source: Prieto et
    /// al., arXiv 2501.04697, as pytorch_optimizer.
    ///
    /// ```
    /// use downhill_optim::{AdamWConfig, OrthoGradConfig};
    ///
    /// let optim = OrthoGradConfig::new().with_optimizer(AdamWConfig::new().into()).init();
    /// ```
    OrthoGrad as OrthoGradConfig, "orthograd" {
        learning_rate: 1e-2,
        state: "the optimizer's",
        paper: "Prieto et al., arXiv 2501.04697",
        description: "another optimizer, which sees the gradient across the weights",
        decay: None,
        maximize: false,
    }
    /// Added to norms.
    epsilon, with_epsilon: f64 = 1e-30, POSITIVE;
    /// The other optimizer.
    optimizer, with_optimizer: OptimizerConfig = super::SgdConfig::new().with_momentum(0.9).into(), ANY;
    => |wrapper, shared| shared.around(&wrapper.optimizer, wrapper.clone())
}

impl Around for OrthoGrad {
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn sight(&self) -> (Scope, usize) {
        (Scope::Tensor, 3)
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let (epsilon, scale) = (self.epsilon, clock.grad_scale);
        stage.filter(Across { epsilon, scale });
        stage.inner(wrapped::Field::Param);
    }
}

/// What of the parameter is across the gradient: each stands in the place of the other here.
#[derive(Clone)]
struct Across {
    epsilon: f64,
    scale: f64,
}

impl Numbers for Across {}

impl Look for Across {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 3];
    /// The share of the weights, the square of the gradient, and the factor.
    type Known<V: Value> = [V; 3];
    type Coefs = f64;
    const WIDE: bool = false;
    const LOOKS: usize = 2;

    fn sums(look: usize) -> usize {
        if look == 0 { 3 } else { 1 }
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, _: &mut Clock, _: &[usize]) -> Step<f64> {
        Step { retain: self.scale, ..Step::new(1.0, self.epsilon) }
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &f64, [share, ..]: &[V; 3], grad: &V, weight: V, _: [V; 0],
    ) -> [V; 3] {
        let square = grad.clone().square();
        if LOOK == 0 {
            return [grad.clone() * weight.clone(), weight.square(), square];
        }
        let across = (grad.clone() - weight * share.clone()).square();
        [across, square.clone(), square]
    }

    fn settle<const LOOK: usize, V: Field>(
        epsilon: &f64, [first, weight, grad]: [V; 3], _: &Size, [share, square, _]: [V; 3], kept: [V; 0],
    ) -> ([V; 3], [V; 0]) {
        if LOOK == 0 {
            return ([first / weight.offset(*epsilon), grad.clone(), grad], kept);
        }
        let (grad, across) = (square.clone().sqrt(), first.sqrt());
        // What rounding leaves of a gradient along the weights, in single precision.
        let least = grad.clone().scale(4.0 * f64::from(f32::EPSILON));
        let none = grad.clone().scale(0.0);
        let found = grad / across.clone().offset(*epsilon);
        ([share, square, (across - least).select(found, none)], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        _: &f64, [share, _, factor]: &[V; 3], grad: &V, weight: V, state: [V; 0],
    ) -> (V, [V; 0]) {
        ((grad.clone() - weight * share.clone()) * factor.clone(), state)
    }

    #[inline(always)]
    fn land<V: Value>(_: &Step<f64>, _: V, across: V, state: [V; 0]) -> (V, [V; 0]) {
        (across, state)
    }
}
