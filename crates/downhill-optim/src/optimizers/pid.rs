use downhill_rule::{Clock, Descent, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// PID: the gradient, a momentum of it, and a momentum of its change, as a controller has them.
    ///
    /// ```text
    /// i ← momentum·i + (1 - dampening)·g
    /// d ← momentum·d + (1 - momentum)·(g - g_before)        0 in the first step
    /// u = g + integral·i + derivative·d
    /// ```
    ///
    /// Without momentum it is gradient descent. State: `grad_buffer`, `i_buffer`, `d_buffer`. Source: An et
    /// al., *A PID Controller Approach for Stochastic Optimization of Deep Networks*, CVPR 2018.
    Pid as PidConfig, "pid" {
        learning_rate: 1e-3,
        state: "3n, 0 without momentum",
        paper: "An et al., CVPR 2018",
        description: "the gradient, its momentum and that of its change",
        decay: Decay::coupled(0.0),
        example: ".with_derivative(20.0)",
    }
    /// Share of both momenta that is kept; 0 is plain descent.
    momentum, with_momentum: f64 = 0.9, DECAY;
    /// Share of the gradient that is left out of its momentum.
    dampening, with_dampening: f64 = 0.0, DECAY;
    /// Weight of the gradient's momentum.
    integral, with_integral: f64 = 5.0, NOT_NEGATIVE;
    /// Weight of the change's.
    derivative, with_derivative: f64 = 10.0, NOT_NEGATIVE;
    => |pid, shared| match pid.momentum {
        0.0 => shared.run(Descent),
        _ => shared.run(pid),
    }
}

impl Rule for Pid {
    type State<V: Value> = [V; 3];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        ["grad_buffer", "i_buffer", "d_buffer"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let change = if clock.step == 1 { 0.0 } else { 1.0 - self.momentum };
        Step::new(clock.lr, (*self, change))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (pid, change): &(Self, f64),
        _: &V,
        grad: V,
        [before, i, d]: [V; 3],
    ) -> (V, [V; 3]) {
        let i = i.scale(pid.momentum).add_scaled(&grad, 1.0 - pid.dampening);
        let d = d.scale(pid.momentum) + (grad.clone() - before).scale(*change);
        let u = grad.clone() + i.clone().scale(pid.integral) + d.clone().scale(pid.derivative);
        (u, [grad, i, d])
    }
}
