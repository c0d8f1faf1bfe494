use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// ASGD: gradient descent whose parameters are averaged beside it, `torch.optim.ASGD`.
    ///
    /// ```text
    /// p ← (1 - lambd·eta)·p - eta·g
    /// ax ← ax + mu·(p - ax)
    /// eta ← lr/(1 + lambd·lr·t)^alpha,   mu ← 1/max(1, t - t0)       for the next step
    /// ```
    ///
    /// `eta` lags one step, so a changed learning rate acts one step late, as in torch. The average is what
    /// to evaluate, which torch leaves to its users: see `evaluated`. With the default `t0` it is the
    /// parameter itself for a million steps. State: `ax`, and the scalars `eta`, `mu`. Source: Polyak &
    /// Juditsky, SIAM J. Control Optim. 30 (1992).
    Asgd as AsgdConfig, "asgd" {
        learning_rate: 1e-2,
        paper: "Polyak & Juditsky 1992",
        description: "gradient descent with an average of the parameters to evaluate",
        decay: Decay::coupled(0.0),
        example: ".with_t0(1000.0)",
    }
    /// Decay of the parameters, and of the rate.
    lambd, with_lambd: f64 = 1e-4, NOT_NEGATIVE;
    /// Power with which the rate falls.
    alpha, with_alpha: f64 = 0.75, NOT_NEGATIVE, shown_with r#"{"lambd": 0.5}"#;
    /// The step from which on parameters are averaged.
    t0, with_t0: f64 = 1e6, NOT_NEGATIVE;
}

impl Rule for Asgd {
    type State<V: Value> = [V; 1];
    type Coefs = [f64; 2];

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("ax")]
    }

    fn memory(&self) -> Vec<Scalar> {
        vec![Scalar::new("eta", 0.0), Scalar::new("mu", 1.0)]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<[f64; 2]> {
        let (lr, t) = (clock.lr, clock.t());
        let eta = if clock.step == 1 { lr } else { clock.memory[0] };
        let mu = clock.memory[1];
        clock.memory[0] = lr / (1.0 + self.lambd * lr * t).powf(self.alpha);
        clock.memory[1] = (t - self.t0).max(1.0).recip();
        let keep = 1.0 - self.lambd * eta;
        Step::new(eta, [keep, mu])
    }

    #[inline(always)]
    fn direction<V: Value>(_: &[f64; 2], _: &V, grad: V, state: [V; 1]) -> (V, [V; 1]) {
        (grad, state)
    }

    #[inline(always)]
    fn land<V: Value>(step: &Step<[f64; 2]>, param: V, u: V, [ax]: [V; 1]) -> (V, [V; 1]) {
        let [keep, mu] = step.coefs;
        let param = param.scale(keep) - u.scale(step.rate);
        let way = (param.clone() - ax.clone()).scale(mu);
        (param, [ax + way])
    }

    fn has_evaluated(&self) -> bool {
        true
    }

    fn evaluated<V: Value>(&self, _: V, [ax]: [V; 1]) -> V {
        ax
    }
}
