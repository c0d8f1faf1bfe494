use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use super::schedule_free::Averaging;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// GPA-AdamW: generalized primal averaging, Schedule-Free's algebra with a constant share and Adam's
    /// whole direction.
    ///
    /// ```text
    /// u = adam's,   z ← (1 - lr·weight_decay)·z
    /// y ← y + (1 - mu_x)·(z - y) + lr·(mu_y·mu_x - 1)·u,   z ← z - lr·u
    /// x = y + (1 - 1/mu_y)·(z - y)
    /// ```
    ///
    /// The model holds `y`, where gradients are taken; `x` is what to evaluate and to keep: see `evaluated`. It
    /// is used with a schedule. State: `z`, `exp_avg`, `exp_avg_sq`. Source: Defazio et al., arXiv 2512.17131,
    /// with weight decay at `z`, before the step.
    GpaAdamW as GpaAdamWConfig, "gpa_adamw" {
        learning_rate: 1e-3,
        paper: "Defazio et al., arXiv 2512.17131",
        description: "adamw with an average of constant memory to evaluate",
        decay: Decay::own(0.0),
        example: ".with_weight_decay(0.1)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Share of the average that is kept.
    mu_x, with_mu_x: f64 = 0.9967, DECAY;
    /// Where between `z` and the average gradients are taken.
    mu_y, with_mu_y: f64 = 0.7, PORTION at start;
    => |rule, shared| shared.run_own(rule)
}

impl Rule for GpaAdamW {
    type State<V: Value> = [V; 3];
    type Coefs = (Debiased<Self>, [f64; 2]);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("z"), Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let (lr, retain) = (clock.lr, 1.0 - clock.lr * clock.weight_decay);
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(1.0, (debiased, [lr, retain]))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (debiased, [lr, retain]): &Self::Coefs,
        y: &V,
        grad: V,
        [z, m, v]: [V; 3],
    ) -> (V, [V; 3]) {
        let GpaAdamW { beta_1, beta_2, epsilon, mu_x, mu_y } = debiased.rule;
        let m = ema(m, grad.clone(), beta_1);
        let v = ema(v, grad.square(), beta_2);
        let u = debiased.mean(m.clone()) / debiased.root(v.clone()).offset(epsilon);
        let z = z.scale(*retain);
        let descent = (y.clone() - z.clone()).scale(1.0 - mu_x);
        let descent = descent + u.clone().scale(lr * (1.0 - mu_y * mu_x));
        (descent, [z - u.scale(*lr), m, v])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, y: V, [z, ..]: [V; 3]) -> V {
        Averaging::average(self.mu_y, y, z)
    }
}
