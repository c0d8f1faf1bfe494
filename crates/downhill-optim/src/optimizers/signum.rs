use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::{optimizer, preset};

optimizer! {
    /// Signum: the sign of a running mean of the gradient.
    ///
    /// ```text
    /// b ← momentum·b + (1 - momentum)·g
    /// u = sign(b)
    /// ```
    ///
    /// Without momentum it is [`SignSgd`]. State: `momentum_buffer`. Source: Bernstein et al., arXiv
    /// 1802.04434, Algorithm 2.
    Signum as SignumConfig, "signum" {
        learning_rate: 1e-3,
        state: "n, 0 without momentum",
        paper: "Bernstein et al., arXiv 1802.04434",
        description: "the sign of a mean of the gradient, which the step already counts in",
        decay: Decay::decoupled(0.0),
        example: ".with_momentum(0.95)",
    }
    /// Share of the mean that is kept; 0 is the sign of the gradient itself.
    momentum, with_momentum: f64 = 0.9, DECAY;
    => |signum, shared| match signum.momentum {
        0.0 => shared.run(SignDescent),
        _ => shared.run(signum),
    }
}

preset! {
    /// SignSGD: the sign of the gradient, [`Signum`] without momentum. No state. Source: Bernstein et al.,
    /// arXiv 1802.04434, Algorithm 1.
    SignSgd as SignSgdConfig of Signum, "signsgd" {
        learning_rate: 1e-3,
        paper: "Bernstein et al., arXiv 1802.04434",
        description: "the sign of the gradient",
        decay: Decay::decoupled(0.0),
        settings: Signum { momentum: 0.0 },
        example: "",
    }
}

preset! {
    /// Tiger: [`Signum`] with a longer memory and weight decay. The authors' smaller rate for biases is a
    /// matter of parameter groups. Source: Su, *Tiger: A Tight-fisted Optimizer* (2023).
    Tiger as TigerConfig of Signum, "tiger" {
        learning_rate: 1e-3,
        paper: "Su, Tiger (2023), github.com/bojone/tiger",
        description: "signum with a longer memory and weight decay",
        decay: Decay::decoupled(0.01),
        settings: Signum { momentum: 0.965 },
        example: "",
    }
}

impl Rule for Signum {
    type State<V: Value> = [V; 1];
    type Coefs = f64;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<f64> {
        Step::new(clock.lr, self.momentum)
    }

    #[inline(always)]
    fn direction<V: Value>(&momentum: &f64, _: &V, grad: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let buffer = ema(buffer, grad, momentum);
        (buffer.clone().sign(), [buffer])
    }
}

/// The sign of the gradient.
#[derive(Clone, Copy, Debug)]
struct SignDescent;

impl Numbers for SignDescent {}

impl Rule for SignDescent {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), _: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (grad.sign(), state)
    }
}
