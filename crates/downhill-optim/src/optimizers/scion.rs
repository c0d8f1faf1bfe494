use downhill_rule::{Clock, Descent, Field, Look, Numbers, Rule, Size, Slot, Step, Value, ema};

use super::muon::{Mixed, Orthogonalised, Orthogonalising, Scale};
use crate::WeightDecayKind;
use crate::declare::wrapper;
use crate::matrix::{Blocks, MatrixLayout, NewtonSchulz, NsCoefficients, Side, is_matrix, no_matrix};
use crate::patterns::Patterns;
use crate::program::Program;

wrapper! {
    /// Scion: each weight goes as far as the norm of its layer allows, along a mean of the gradient.
    ///
    /// ```text
    /// d ← momentum·d + (1 - momentum)·g
    /// p ← (1 - lr)·p if constrained,   p ← p - lr·radius·u
    /// u = sqrt(outputs/inputs)/k·O        a matrix, or a convolution of k positions: O as Muon's of d
    ///     d/(rms(d) + 1e-8)               what is no matrix
    ///     sign(d)/inputs                  what `no_matrix` names, and head_radius for radius
    /// ```
    ///
    /// Constrained, a weight stays within `radius` of zero in its norm. Inputs of an embedding are its rows here; the
    /// authors count columns, as its head has them. They also prescribe how weights start.
    ///
    /// State: `momentum_buffer`. Temporaries as [`Muon`](crate::Muon)'s. Source: Pethick et al., arXiv 2502.07529,
    /// whose `momentum` is 1 minus this one; the rate and both radii are those of their example.
    ///
    /// ```
    /// use downhill_optim::ScionConfig;
    ///
    /// let optim = ScionConfig::new().with_constrained(false).init();
    /// ```
    Scion as ScionConfig, "scion" {
        learning_rate: 2.44140625e-4,
        state: "n",
        paper: "Pethick et al., arXiv 2502.07529",
        description: "each weight as far as the norm of its layer allows",
        decay: None,
    }
    /// Decay of the mean of the gradient.
    momentum, with_momentum: f64 = 0.9, DECAY;
    /// How far a step goes.
    radius, with_radius: f64 = 50.0, NOT_NEGATIVE;
    /// The same of what `no_matrix` names.
    head_radius, with_head_radius: f64 = 3000.0, NOT_NEGATIVE;
    /// Whether weights are drawn to zero by the rate.
    constrained, with_constrained: bool = true, ANY;
    /// The coefficients of the iteration.
    ns_coefficients, with_ns_coefficients: NsCoefficients = NsCoefficients::Original, ANY;
    /// Steps of the iteration.
    ns_steps, with_ns_steps: usize = 5, AT_LEAST_ONE;
    /// The least norm that the mean is divided by.
    epsilon, with_epsilon: f64 = 1e-7, POSITIVE;
    /// Multiplies that norm, so that no singular value starts above one.
    safety_factor, with_safety_factor: f64 = 1.0, AT_LEAST_ONE;
    /// Whether the iteration rounds to bfloat16.
    bfloat16, with_bfloat16: bool = false, ANY;
    /// Where inputs and outputs of a weight are.
    layout, with_layout: MatrixLayout = MatrixLayout::Auto, ANY;
    /// Equal parts of the outputs that are matrices of their own.
    parts, with_parts: usize = 1, AT_LEAST_ONE;
    /// Paths of parameters that go by signs, for the optimizer of a whole module.
    no_matrix, with_no_matrix: Patterns = no_matrix(), ANY;
    => |scion, shared| {
        let decay = if scion.constrained { 1.0 } else { 0.0 };
        let shared = shared.with_decay(WeightDecayKind::Decoupled, decay);
        let (on_gradient, on_step) = shared.split()?;
        let turned = Orthogonalised { method: scion.clone(), on_gradient, of_signs: false, scale: Scale::Spectral };
        let matrices = Program::wrapped(turned, on_step.run(Far(scion.radius))?);
        let mean = Mean { momentum: scion.momentum, radius: scion.radius, layout: scion.layout };
        let signs = Mean { radius: scion.head_radius, ..mean };
        let branches = vec![matrices.into(), shared.look(Scaled(mean))?.into(), shared.look(Signed(signs))?.into()];
        let choose = |shape: &[usize]| usize::from(!is_matrix(shape));
        Ok(Program::routed(choose, branches, scion.no_matrix))
    }
}

impl Orthogonalising for Scion {
    fn outputs(&self, rank: usize) -> Side {
        self.layout.outputs(rank)
    }

    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::parts(shape, self.outputs(shape.len()), self.parts)
    }

    fn mixed(&self) -> Mixed {
        Mixed::new(self.momentum, true, false)
    }

    fn iteration(&self, scale: f64) -> NewtonSchulz {
        NewtonSchulz {
            coefficients: self.ns_coefficients,
            steps: self.ns_steps,
            epsilon: self.epsilon,
            safety_factor: self.safety_factor,
            bfloat16: self.bfloat16,
            scale,
        }
    }
}

/// Gradient descent over some distance.
#[derive(Clone)]
struct Far(f64);

impl Numbers for Far {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        (name == "radius").then_some(&mut self.0)
    }
}

impl Rule for Far {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr * self.0, ())
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &(), param: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        Descent::direction(coefs, param, grad, state)
    }
}

/// A mean of the gradient, and how far it is followed.
#[derive(Clone, Copy, Debug)]
struct Mean {
    momentum: f64,
    radius: f64,
    layout: MatrixLayout,
}

macro_rules! look_at_mean {
    ($rule:ident, $radius:literal) => {
        impl Numbers for $rule {
            fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    "momentum" => Some(&mut self.0.momentum),
                    $radius => Some(&mut self.0.radius),
                    _ => None,
                }
            }
        }
    };
}

/// By the root mean square of the whole.
#[derive(Clone)]
struct Scaled(Mean);

/// By the signs.
#[derive(Clone)]
struct Signed(Mean);

look_at_mean!(Scaled, "radius");
look_at_mean!(Signed, "head_radius");

impl Look for Scaled {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = f64;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<f64> {
        Step::new(clock.lr * self.0.radius, self.0.momentum)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        momentum: &f64, _: &[V; 1], _: &V, grad: V, [mean]: [V; 1],
    ) -> [V; 1] {
        [ema(mean, grad, *momentum).square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &f64, [sum]: [V; 1], size: &Size, _: [V; 1], kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([sum.scale(size.whole.recip()).sqrt().offset(1e-8).recip()], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        momentum: &f64, [factor]: &[V; 1], _: &V, grad: V, [mean]: [V; 1],
    ) -> (V, [V; 1]) {
        let mean = ema(mean, grad, *momentum);
        (mean.clone() * factor.clone(), [mean])
    }
}

impl Look for Signed {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = f64;
    const LOOKS: usize = 0;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock, shape: &[usize]) -> Step<f64> {
        let inputs = match self.0.layout.outputs(shape.len()) {
            Side::Cols => shape[0],
            Side::Rows => shape[1..].iter().product(),
        };
        Step::new(clock.lr * self.0.radius / inputs as f64, self.0.momentum)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(_: &f64, _: &[V; 1], _: &V, grad: V, _: [V; 1]) -> [V; 1] {
        [grad]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &f64, sums: [V; 1], _: &Size, _: [V; 1], kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        (sums, kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        momentum: &f64, _: &[V; 1], _: &V, grad: V, [mean]: [V; 1],
    ) -> (V, [V; 1]) {
        let mean = ema(mean, grad, *momentum);
        (mean.clone().sign(), [mean])
    }
}
