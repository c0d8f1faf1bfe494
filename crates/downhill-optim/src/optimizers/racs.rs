use downhill_rule::{
    Clock, Epsilon, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value, ema,
    over,
};

use crate::decay::Decay;
use crate::declare::optimizer;
use crate::program::Program;

optimizer! {
    /// RACS: gradients divided by the root mean squares of their rows and columns, whose norm can only grow slowly.
    ///
    /// ```text
    /// s ← beta·s + (1 - beta)·mean of g² of each row,   q ← the same of each column
    /// h = g/(sqrt(s + epsilon)·sqrt(q + epsilon))
    /// k = gamma/max(|h|/(theta + epsilon), gamma),   1 in the first step
    /// theta ← k·|h|
    /// u = alpha·k·h
    /// ```
    ///
    /// Rows are the first dimension, columns all others together; a vector is a single column. After a gradient of
    /// zeros `theta` is 0, and the norm has to grow again from epsilon, by `gamma` at a time. State: `s`, from 0; `q`,
    /// from 1; `theta`, one number. Source: Gong et al., arXiv 2502.07752, as pytorch_optimizer: plain means in the
    /// place of the paper's fixed point, and `q` from 1.
    Racs as RacsConfig, "racs" {
        learning_rate: 1e-3,
        state: "r + c + 1",
        paper: "Gong et al., arXiv 2502.07752",
        description: "gradients scaled by rows and columns, with a norm that grows slowly",
        decay: Decay::decoupled(0.0),
        example: ".with_alpha(0.1)",
    }
    /// Decay of the means.
    beta, with_beta: f64 = 0.9, DECAY;
    /// Multiplies the step.
    alpha, with_alpha: f64 = 0.05, POSITIVE;
    /// How much the norm can grow in one step, as a factor.
    gamma, with_gamma: f64 = 1.01, AT_LEAST_ONE;
    /// Added to the means.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    => |rule, shared| {
        let programs = [shared.look(Scaled::<true>(rule))?, shared.look(Scaled::<false>(rule))?];
        Ok(Program::by_shape(|shape| usize::from(shape.len() >= 2), programs))
    }
}

/// Of a vector, whose elements are the rows of one column; they lie as the columns of one row.
#[derive(Clone)]
struct Scaled<const VECTOR: bool>(Racs);

impl<const VECTOR: bool> Numbers for Scaled<VECTOR> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

/// The settings, and whether it is the first step.
type Coefs = (Racs, bool);

impl<const VECTOR: bool> Scaled<VECTOR> {
    /// What `s` and `q` are of.
    const SIDES: [Over; 2] = if VECTOR { [Over::Cols, Over::Rows] } else { [Over::Rows, Over::Cols] };
}

impl<const VECTOR: bool> Look for Scaled<VECTOR> {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 3];
    type Sums<V: Value> = [V; 2];
    /// `1/sqrt(s + epsilon)`, `1/sqrt(q + epsilon)`, and `alpha·k`.
    type Known<V: Value> = [V; 3];
    type Coefs = Coefs;
    const LOOKS: usize = 2;
    const KEPT: [Over; MAX_KNOWN] = over(Self::SIDES);
    const KNOWN: [Over; MAX_KNOWN] = over(Self::SIDES);

    fn frame(&self, shape: &[usize]) -> Frame {
        match VECTOR {
            true => Frame { rows: Vec::new(), cols: (0..shape.len()).collect() },
            false => Frame::first(shape.len()),
        }
    }

    fn sums(look: usize) -> usize {
        2 - look
    }

    fn over(look: usize) -> [Over; MAX_SUMS] {
        if look == 0 { over(Self::SIDES) } else { over([]) }
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("s"), Slot::filled("q", 1.0), Slot::zeros("theta")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        Step::new(clock.lr, (self.0, clock.step == 1))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Coefs, [row, col, _]: &[V; 3], _: &V, grad: V, _: [V; 0],
    ) -> [V; 2] {
        let term = match LOOK {
            0 => grad.square(),
            _ => (row.clone() * col.clone() * grad).square(),
        };
        [term.clone(), term]
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, first): &Coefs, [rows, cols]: [V; 2], size: &Size, [row, col, k]: [V; 3], [s, q, theta]: [V; 3],
    ) -> ([V; 3], [V; 3]) {
        if LOOK == 0 {
            let (of_s, of_q) = if VECTOR { (size.col, size.row) } else { (size.row, size.col) };
            let s = ema(s, rows.scale(of_s.recip()), rule.beta);
            let q = ema(q, cols.scale(of_q.recip()), rule.beta);
            let epsilon = Epsilon::inside(rule.epsilon);
            return ([epsilon.root(s.clone()).recip(), epsilon.root(q.clone()).recip(), k], [s, q, theta]);
        }
        let norm = rows.sqrt();
        let k = match first {
            true => norm.clone().filled(1.0),
            false => {
                let growth = norm.clone() / theta.offset(rule.epsilon);
                growth.clamp_min(rule.gamma).recip().scale(rule.gamma)
            }
        };
        let theta = k.clone() * norm;
        ([row, col, k.scale(rule.alpha)], [s, q, theta])
    }

    #[inline(always)]
    fn direction<V: Value>(
        _: &Coefs, [row, col, k]: &[V; 3], _: &V, grad: V, state: [V; 0],
    ) -> (V, [V; 0]) {
        (row.clone() * col.clone() * grad * k.clone(), state)
    }
}
