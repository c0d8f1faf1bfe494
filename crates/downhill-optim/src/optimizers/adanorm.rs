use downhill_rule::{Clock, Debiased, Look, Slot, Step, Value, ema, Field, Size};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaNorm: [`Adam`](crate::Adam) whose mean takes gradients that are shorter than usual at their usual length.
    ///
    /// ```text
    /// e ← r·e + (1 - r)·|g|,   h = g·e/|g| if e > |g|,   else g
    /// m ← beta_1·m + (1 - beta_1)·h,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// State: `exp_avg`, `exp_avg_sq`, and `exp_grad_norm` (e), one number. Source: Dubey, Singh & Chaudhuri,
    /// arXiv 2210.06364.
    AdaNorm as AdaNormConfig, "adanorm" {
        learning_rate: 1e-3,
        state: "2n + 1",
        paper: "Dubey, Singh & Chaudhuri, arXiv 2210.06364",
        description: "adam that lengthens gradients which are shorter than usual",
        decay: Decay::decoupled(0.0),
        example: ".with_r(0.9)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.99, DECAY;
    /// Decay of the mean of its norm.
    r, with_r: f64 = 0.95, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    => |rule, shared| shared.look(rule)
}

impl Look for AdaNorm {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 1];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_grad_norm")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Debiased<Self>> {
        Step::new(clock.lr, Debiased::new(*self, self.beta_1, self.beta_2, clock.t()))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Debiased<Self>,
        _: &[V; 1],
        _: &V,
        grad: V,
        _: [V; 2],
    ) -> [V; 1] {
        [grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        coefs: &Debiased<Self>,
        [squares]: [V; 1],
        _: &Size,
        _: [V; 1],
        [e]: [V; 1],
    ) -> ([V; 1], [V; 1]) {
        let norm = squares.sqrt();
        let e = ema(e, norm.clone(), coefs.rule.r);
        // The usual length over this one, at least 1; a NaN stays one.
        let longer = (e.clone() / norm.clone()).clamp_min(1.0);
        let one = norm.clone().scale(0.0).offset(1.0);
        ([norm.select(longer, one)], [e])
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Debiased<Self>,
        [longer]: &[V; 1],
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let m = ema(m, grad.clone() * longer.clone(), rule.beta_1);
        let v = ema(v, grad.square(), rule.beta_2);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        (coefs.mean(m.clone()) / root, [m, v])
    }
}
