//! Optimizers of a popular slide deck, exactly as printed there, beside the published ones: to
//! compare, not to train with.
//!
//! | rule | what goes wrong |
//! |---|---|
//! | [`Momentum`] | Nothing: it is Sutskever's form, with the learning rate inside the buffer. |
//! | [`NAdam`] | The first moment is bias-corrected twice: for a constant gradient the first steps are 10, 5.3, 3.7, ... learning rates long (right: 1.47, 1.16, 1.08). |
//! | [`AdaFactor`] | The direction lacks the factor `sqrt(mean(row))`, so that it is proportional to 1/g, and has no bias correction: unit gradients in a 64×32 matrix move it by about 994 learning rates at the first step. The floor `epsilon_2`, meant for the parameter's scale, stands beside the root for vectors. |

use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Rule, Size, Slot, Step, Value, bias_correction, ema, over,
};

use crate::declare::optimizer;
use crate::program::Program;

optimizer! {
    /// The deck's momentum (slide 3): the velocity form, with the learning rate inside the buffer.
    ///
    /// ```text
    /// velocity ← momentum·velocity - lr·g,   p ← p + velocity
    /// ```
    ///
    /// It is right, and equal to [`Sgd`](crate::Sgd) with `velocity`; only its state has the other sign.
    /// State: `velocity`.
    ///
    /// ```
    /// use downhill_optim::slides::MomentumConfig;
    ///
    /// let optim = MomentumConfig::new().init();
    /// ```
    Momentum as MomentumConfig, "slides_momentum" {
        learning_rate: 1e-2,
        paper: "slide 3; Sutskever et al., ICML 2013",
        description: "the deck's momentum, the learning rate inside the velocity",
        decay: None,
        maximize: false,
    }
    /// Share of the velocity that is kept.
    momentum, with_momentum: f64 = 0.9, DECAY;
}

impl Rule for Momentum {
    type State<V: Value> = [V; 1];
    type Coefs = (f64, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("velocity")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(f64, f64)> {
        Step::new(1.0, (self.momentum, -clock.lr))
    }

    #[inline(always)]
    fn direction<V: Value>(
        &(momentum, minus_lr): &(f64, f64),
        _: &V,
        grad: V,
        [velocity]: [V; 1],
    ) -> (V, [V; 1]) {
        let velocity = velocity.scale(momentum) + grad.scale(minus_lr);
        (velocity.clone().scale(-1.0), [velocity])
    }
}

optimizer! {
    /// The deck's NAdam (slide 11), which corrects the first moment's bias twice.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// m_hat = m/(1 - beta_1^t),        v_hat = v/(1 - beta_2^t)
    /// m_bar = (beta_1·m_hat + (1 - beta_1)·g) / (1 - beta_1^t)
    /// u = m_bar / (sqrt(v_hat) + epsilon)
    /// ```
    ///
    /// For a constant gradient the first steps are 10, 5.26, 3.69, 2.44 (t = 5) learning rates long;
    /// the published form's are 1.47, 1.16, 1.08, 1.03. State: `exp_avg`, `exp_avg_sq`.
    ///
    /// ```
    /// use downhill_optim::slides::NAdamConfig;
    ///
    /// let optim = NAdamConfig::new().init();
    /// ```
    NAdam as NAdamConfig, "slides_nadam" {
        learning_rate: 1e-3,
        paper: "slide 11",
        description: "the deck's nadam: the bias is corrected twice, so the first steps are 10 times too long",
        decay: None,
        maximize: false,
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

/// The settings, and the bias corrections as factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdamCoefs {
    rule: NAdam,
    debias_1: f64,
    debias_2_root: f64,
}

impl Rule for NAdam {
    type State<V: Value> = [V; 2];
    type Coefs = NAdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<NAdamCoefs> {
        let coefs = NAdamCoefs {
            rule: *self,
            debias_1: bias_correction(self.beta_1, clock.t()).recip(),
            debias_2_root: bias_correction(self.beta_2, clock.t()).sqrt().recip(),
        };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &NAdamCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let NAdam {
            beta_1,
            beta_2,
            epsilon,
        } = coefs.rule;
        let m = ema(m, grad.clone(), beta_1);
        let v = ema(v, grad.clone().square(), beta_2);
        let m_bar = ema(m.clone().scale(coefs.debias_1), grad, beta_1).scale(coefs.debias_1);
        let root = v.clone().sqrt().scale(coefs.debias_2_root);
        (m_bar / root.offset(epsilon), [m, v])
    }
}

optimizer! {
    /// The deck's AdaFactor (slide 10), without the factor `sqrt(mean(row))`, bias correction and
    /// clipping.
    ///
    /// ```text
    /// row ← beta_2·row + (1 - beta_2)·mean_j(g²),   col ← beta_2·col + (1 - beta_2)·mean_i(g²)
    /// u = g · outer(1/sqrt(row + epsilon_1), 1/sqrt(col + epsilon_1))
    /// u = g / (sqrt(v) + epsilon_2),   v ← beta_2·v + (1 - beta_2)·g²        vectors
    /// ```
    ///
    /// The direction is proportional to 1/g: unit gradients in a 64×32 matrix move it by 994 learning
    /// rates at the first step, gradients of 1e-2 by 1e5, of 1e4 by 0.1. State: `row` and `col`, or
    /// `v`. The deck has matrices and vectors; here the last two dimensions of any rank are factored.
    ///
    /// ```
    /// use downhill_optim::slides::AdaFactorConfig;
    ///
    /// let optim = AdaFactorConfig::new().init();
    /// ```
    AdaFactor as AdaFactorConfig, "slides_adafactor" {
        learning_rate: 1e-2,
        state: "r + c, n for vectors",
        paper: "slide 10",
        description: "the deck's adafactor: the smaller the gradient, the longer the step",
        decay: None,
        maximize: false,
    }
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the factors before their root.
    epsilon_1, with_epsilon_1: f64 = 1e-30, POSITIVE;
    /// Added to the root of a vector's second moment.
    epsilon_2, with_epsilon_2: f64 = 1e-3, POSITIVE;
    => |rule, shared| {
        let programs = [shared.run(OfVectors(rule))?, shared.look(rule)?];
        Ok(Program::by_shape(|shape| usize::from(shape.len() > 1), programs))
    }
}

impl Look for AdaFactor {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 2];
    type Sums<V: Value> = [V; 2];
    type Known<V: Value> = [V; 2];
    type Coefs = Self;
    const KEPT: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);
    const KNOWN: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols]);

    fn frame(&self, shape: &[usize]) -> Frame {
        Frame::last_two(shape.len())
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        over([Over::Rows, Over::Cols])
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("row"), Slot::zeros("col")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &Self,
        _: &[V; 2],
        _: &V,
        grad: V,
        _: [V; 0],
    ) -> [V; 2] {
        [grad.clone().square(), grad.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        rule: &Self,
        [rows, cols]: [V; 2],
        size: &Size,
        _: [V; 2],
        [row, col]: [V; 2],
    ) -> ([V; 2], [V; 2]) {
        let row = ema(row, rows.scale(size.row.recip()), rule.beta_2);
        let col = ema(col, cols.scale(size.col.recip()), rule.beta_2);
        let factor = |mean: &V| mean.clone().offset(rule.epsilon_1).sqrt().recip();
        ([factor(&row), factor(&col)], [row, col])
    }

    #[inline(always)]
    fn direction<V: Value>(
        _: &Self,
        [row, col]: &[V; 2],
        _: &V,
        grad: V,
        state: [V; 0],
    ) -> (V, [V; 0]) {
        (row.clone() * col.clone() * grad, state)
    }
}

/// The deck's AdaFactor of a vector.
#[derive(Clone)]
struct OfVectors(AdaFactor);

impl Numbers for OfVectors {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl Rule for OfVectors {
    type State<V: Value> = [V; 1];
    type Coefs = AdaFactor;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("v")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AdaFactor> {
        Step::new(clock.lr, self.0)
    }

    #[inline(always)]
    fn direction<V: Value>(rule: &AdaFactor, _: &V, grad: V, [v]: [V; 1]) -> (V, [V; 1]) {
        let v = ema(v, grad.clone().square(), rule.beta_2);
        (grad / v.clone().sqrt().offset(rule.epsilon_2), [v])
    }
}
