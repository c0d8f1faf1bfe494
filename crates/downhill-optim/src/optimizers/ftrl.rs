use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::declare::optimizer;

optimizer! {
    /// FTRL-proximal: follow the regularised leader, for sparse linear models such as click prediction: it
    /// makes weights exactly 0.
    ///
    /// ```text
    /// n' = n + g²,   z ← z + g - (sqrt(n') - sqrt(n))/lr·p
    /// p ← 0   if |z| ≤ l1,   else (sign(z)·l1 - z) / ((beta + sqrt(n'))/lr + l2)
    /// ```
    ///
    /// With `beta = l1 = l2 = 0` it takes AdaGrad's steps. The parameter is a function of the state: where it
    /// starts from counts through `z` alone. State: `n`, `z`. Source: McMahan et al., KDD 2013, Algorithm 1.
    Ftrl as FtrlConfig, "ftrl" {
        learning_rate: 0.1,
        paper: "McMahan et al., KDD 2013",
        description: "adagrad that makes weights exactly 0",
        decay: None,
        example: ".with_beta(1.0).with_l1(0.1)",
    }
    /// Slows the first steps.
    beta, with_beta: f64 = 0.0, NOT_NEGATIVE;
    /// Weight of the sum of magnitudes.
    l1, with_l1: f64 = 0.0, NOT_NEGATIVE;
    /// Weight of the sum of squares.
    l2, with_l2: f64 = 0.0, NOT_NEGATIVE;
}

impl Rule for Ftrl {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("n"), Slot::zeros("z")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        // A rate of 0 moves nothing.
        let (rate, inverse) = match clock.lr {
            0.0 => (0.0, 1.0),
            lr => (1.0, lr.recip()),
        };
        Step::new(rate, (*self, inverse))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (Self { beta, l1, l2 }, inverse): &(Self, f64),
        param: &V,
        grad: V,
        [n, z]: [V; 2],
    ) -> (V, [V; 2]) {
        let next = n.clone() + grad.clone().square();
        let root = next.clone().sqrt();
        let sigma = (root.clone() - n.sqrt()).scale(*inverse);
        let z = z + grad - sigma * param.clone();
        let curve = root.offset(*beta).scale(*inverse).offset(*l2);
        let solved = (z.clone().sign().scale(*l1) - z.clone()) / curve.clone();
        // Without curvature, the square of a gradient that is not 0 was too small to be a number.
        let solved = curve.select(solved, param.clone());
        // Of a NaN the product is one too.
        let zero = z.clone().scale(0.0);
        let moved = z.clone().abs().offset(-l1).select(solved, zero);
        (param.clone() - moved, [next, z])
    }
}
