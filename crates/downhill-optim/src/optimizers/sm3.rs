use downhill_rule::{
    Clock, Epsilon, Field, Fold, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Optional, Over, Rule, Size, Slot, Step,
    Value, ema, over,
};

use crate::decay::Decay;
use crate::declare::optimizer;
use crate::program::Program;

optimizer! {
    /// SM3: [`AdaGrad`](crate::AdaGrad) that remembers only the largest sum of each row and each column.
    ///
    /// ```text
    /// nu = min(row, col) + g²,   beta·min(row, col) + (1 - beta)·g² with beta
    /// row, col ← the largest nu of each;   not less than they were, with beta
    /// u = g/sqrt(nu + epsilon)
    /// m ← momentum·m + (1 - momentum)·u,   u = m with momentum
    /// ```
    ///
    /// Rows are the first dimension, columns all others together; vectors keep a whole sum, as AdaGrad does. State:
    /// `accumulator_0` (rows) and `accumulator_1` (columns), of vectors `accumulator`; `momentum_buffer` with
    /// momentum. Source: Anil et al., arXiv 1901.11150, as pytorch_optimizer, which has an accumulator for each
    /// dimension where there are more than two.
    Sm3 as Sm3Config, "sm3" {
        learning_rate: 0.1,
        state: "r + c, n for vectors, n more with momentum",
        paper: "Anil et al., arXiv 1901.11150",
        description: "adagrad that remembers one number per row and column",
        decay: Decay::decoupled(0.0),
        example: ".with_momentum(0.9)",
    }
    /// Decay of a mean of the steps; 0 for none.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// Decay of the sums; 0 for none.
    beta, with_beta: f64 = 0.0, DECAY;
    /// Added under the root.
    epsilon, with_epsilon: f64 = 1e-30, POSITIVE;
    => |rule, shared| {
        let programs = match rule.momentum == 0.0 {
            true => [shared.run(Full::<0>(rule))?, shared.look(Covered::<0>(rule))?],
            false => [shared.run(Full::<1>(rule))?, shared.look(Covered::<1>(rule))?],
        };
        Ok(Program::by_shape(|shape| usize::from(shape.len() >= 2), programs))
    }
}

/// The settings, and what multiplies a sum and the squared gradient.
type Coefs = (Sm3, [f64; 2]);

impl Sm3 {
    fn step(&self, clock: &Clock) -> Step<Coefs> {
        let kept = if self.beta == 0.0 { 1.0 } else { self.beta };
        Step::new(clock.lr, (*self, [kept, 1.0 - self.beta]))
    }

    #[inline(always)]
    fn sum<V: Value>([kept, new]: &[f64; 2], sum: V, grad: V) -> V {
        sum.scale(*kept) + grad.square().scale(*new)
    }

    /// The larger one, with beta.
    fn grown<V: Value>(&self, before: V, sum: V) -> V {
        if self.beta == 0.0 { sum } else { before.maximum(sum) }
    }

    #[inline(always)]
    fn aim<V: Value, const M: usize>(&self, sum: V, grad: V, mean: Optional<V, M>) -> (V, Optional<V, M>) {
        let u = grad / Epsilon::inside(self.epsilon).root(sum);
        let mean = mean.map(|m| ema(m, u.clone(), self.momentum));
        (mean.get().cloned().unwrap_or(u), mean)
    }
}

/// Of matrices and more, with `M` means of the steps.
#[derive(Clone)]
struct Covered<const M: usize>(Sm3);

impl<const M: usize> Numbers for Covered<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        // Without a momentum there is none to drive.
        let own = M > 0 || name != "momentum";
        own.then(|| self.0.number_mut(name)).flatten()
    }
}

impl<const M: usize> Look for Covered<M> {
    type State<V: Value> = Optional<V, M>;
    type Kept<V: Value> = [V; 2];
    type Sums<V: Value> = [V; 2];
    /// The accumulators, as they were.
    type Known<V: Value> = [V; 2];
    type Coefs = Coefs;
    const KEPT: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);
    const KNOWN: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);

    fn frame(&self, shape: &[usize]) -> Frame {
        Frame::first(shape.len())
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        over([Over::Rows, Over::Cols])
    }

    fn fold(_: usize) -> Fold {
        Fold::Max
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer"); M]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("accumulator_0"), Slot::zeros("accumulator_1")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        self.0.step(clock)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        (_, weights): &Coefs, [row, col]: &[V; 2], _: &V, grad: V, _: Optional<V, M>,
    ) -> [V; 2] {
        let sum = Sm3::sum(weights, row.clone().minimum(col.clone()), grad);
        [sum.clone(), sum]
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, _): &Coefs, [rows, cols]: [V; 2], _: &Size, known: [V; 2], [row, col]: [V; 2],
    ) -> ([V; 2], [V; 2]) {
        (known, [rule.grown(row, rows), rule.grown(col, cols)])
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, weights): &Coefs, [row, col]: &[V; 2], _: &V, grad: V, mean: Optional<V, M>,
    ) -> (V, Optional<V, M>) {
        let sum = Sm3::sum(weights, row.clone().minimum(col.clone()), grad.clone());
        rule.aim(sum, grad, mean)
    }
}

/// Of vectors.
#[derive(Clone)]
struct Full<const M: usize>(Sm3);

impl<const M: usize> Numbers for Full<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        // Without a momentum there is none to drive.
        let own = M > 0 || name != "momentum";
        own.then(|| self.0.number_mut(name)).flatten()
    }
}

impl<const M: usize> Rule for Full<M> {
    type State<V: Value> = ([V; 1], Optional<V, M>);
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![Slot::zeros("accumulator")];
        slots.extend([Slot::zeros("momentum_buffer"); M]);
        slots
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Coefs> {
        self.0.step(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, weights): &Coefs, _: &V, grad: V, ([before], mean): ([V; 1], Optional<V, M>),
    ) -> (V, ([V; 1], Optional<V, M>)) {
        let sum = Sm3::sum(weights, before.clone(), grad.clone());
        let (u, mean) = rule.aim(sum.clone(), grad, mean);
        (u, ([rule.grown(before, sum)], mean))
    }
}
