use downhill_rule::{Clock, Field, Look, Scope, Size, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// DoWG: [`Dog`](crate::Dog) in which later gradients, from farther away, weigh more.
    ///
    /// ```text
    /// r² ← max(r², |p - p0|²)
    /// G ← G + r²·|g|²
    /// p ← p - learning_rate·r²/(sqrt(G) + epsilon)·g
    /// ```
    ///
    /// Norms are of the whole model, so a driver has to step it. State: `p0`; of the model `distance_sq` (r²) and
    /// `weighted_sq_norm` (G). Source: Khaled et al., arXiv 2305.16284, as `optax.contrib.dowg`.
    Dowg as DowgConfig, "dowg" {
        learning_rate: 1.0,
        paper: "Khaled et al., arXiv 2305.16284",
        description: "dog in which gradients from farther away weigh more",
        decay: Decay::coupled(0.0),
        example: ".with_weight_decay(1e-4)",
    }
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-4, POSITIVE at start;
    /// The squared distance to begin with; none for `epsilon`.
    initial_distance_sq, with_initial_distance_sq: Option<f64> = None, POSITIVE at start;
    => |rule, shared| shared.look(rule)
}

impl Look for Dowg {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 2];
    /// Squares of the way and the gradient.
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("p0")]
    }

    fn kept(&self) -> Vec<Slot> {
        let start = self.initial_distance_sq.unwrap_or(self.epsilon);
        vec![Slot::filled("distance_sq", start), Slot::zeros("weighted_sq_norm")]
    }

    fn scope(&self) -> Scope {
        Scope::Model
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Self, _: &[V; 1], param: &V, grad: V, [p0]: [V; 1],
    ) -> [V; 2] {
        [(param.clone() - p0).square(), grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        rule: &Self, [way, grad]: [V; 2], _: &Size, _: [V; 1], [r, sum]: [V; 2],
    ) -> ([V; 1], [V; 2]) {
        let r = r.maximum(way);
        let sum = sum + r.clone() * grad;
        let rate = r.clone() / sum.clone().sqrt().offset(rule.epsilon);
        ([rate], [r, sum])
    }

    #[inline(always)]
    fn direction<V: Value>(_: &Self, [rate]: &[V; 1], _: &V, grad: V, state: [V; 1]) -> (V, [V; 1]) {
        (grad * rate.clone(), state)
    }
}
