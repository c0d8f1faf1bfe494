use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::declare::optimizer;

optimizer! {
    /// Rprop: each element has a step of its own, which grows while its gradient keeps its sign and shrinks
    /// when it turns. `torch.optim.Rprop`, the form without weight backtracking.
    ///
    /// ```text
    /// step ← clamp(step·eta_plus, step_min, step_max)    if g·prev > 0
    /// step ← clamp(step·eta_minus, step_min, step_max),  g ← 0    if g·prev < 0
    /// p ← p - step·sign(g),   prev ← g
    /// ```
    ///
    /// For gradients of all data, not of batches. The learning rate is the first step, and has no effect
    /// later. State: `prev`, `step_size`. Source: Riedmiller & Braun, ICNN 1993.
    Rprop as RpropConfig, "rprop" {
        learning_rate: 1e-2,
        paper: "Riedmiller & Braun, ICNN 1993",
        description: "steps that grow while the gradient keeps its sign; for full batches",
        decay: None,
        example: ".with_step_max(1.0)",
    }
    /// What the step is multiplied with when the gradient turns.
    eta_minus, with_eta_minus: f64 = 0.5, SHRINKS;
    /// What it is multiplied with while the gradient keeps its sign.
    eta_plus, with_eta_plus: f64 = 1.2, GROWS;
    /// The smallest step.
    step_min, with_step_min: f64 = 1e-6, POSITIVE;
    /// The largest step.
    step_max, with_step_max: f64 = 50.0, POSITIVE, shown_with r#"{"step_min": 10.0}"#;
    => |rprop, shared| match rprop.step_min <= rprop.step_max {
        true => shared.run(rprop),
        false => Err(shared.conflict("`step_min` must not be above `step_max`")),
    }
}

impl Rule for Rprop {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("prev"), Slot::zeros("step_size")]
    }

    fn follows_rate(&self) -> bool {
        false
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let start = if clock.step == 1 { clock.lr } else { 0.0 };
        Step::new(1.0, (*self, start))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, start): &(Self, f64),
        _: &V,
        grad: V,
        [prev, size]: [V; 2],
    ) -> (V, [V; 2]) {
        // Of the signs, since a product of small gradients would be 0.
        let agrees = grad.clone().sign() * prev.sign();
        let turned = agrees.clone().scale(-1.0).heaviside();
        let grows = agrees.heaviside().scale(rule.eta_plus - 1.0);
        let factor = grows + turned.clone().scale(rule.eta_minus - 1.0).offset(1.0);
        let size = size.offset(*start) * factor;
        let size = size.clamp_min(rule.step_min).clamp_max(rule.step_max);
        let grad = grad * turned.scale(-1.0).offset(1.0);
        (grad.clone().sign() * size.clone(), [grad, size])
    }
}
