use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value, bias_correction};

use crate::decay::Decay;
use crate::declare::matrix_optimizer;
use crate::matrix::{Algebra, Bases, Blocks, Formula, Held, Method, Moment, basis, computed, in_precision};
use crate::wrapped::{Field, Stage};

matrix_optimizer! {
    /// SPlus: the signs of a momentum in the eigenvectors of what the gradients have in common, and an average of the
    /// weights.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// s = lr·2/(r + c)     for r rows and c columns
    /// p ← (1 - s·weight_decay)·p - s·Q_rows·sign(Q_rowsᵀ·m·Q_cols)·Q_colsᵀ
    /// GG_rows ← beta_2·GG_rows + (1 - beta_2)·g·gᵀ,   GG_cols of gᵀ·g
    /// Q ← eigenvectors of GG after the first step and every precondition_frequency steps
    /// average ← average + (1 - ema)/(1 - ema^t)·(p - average)
    /// ```
    ///
    /// The average is what to evaluate and to keep: see `evaluated`. The first step goes by the signs of the gradient.
    /// A side longer than `max_precond_dim` has no `Q`. A weight of more than two dimensions is one matrix, of the
    /// first dimension and all others. A decomposition that fails leaves `Q` as it was.
    ///
    /// State: `ema`, `exp_avg`, `gg_rows`, `q_rows` of r², `gg_cols`, `q_cols` of c²; or the fallback's. A step needs
    /// about four buffers of the parameter's size. Source: Frans et al., arXiv 2506.07254, written from the paper. The
    /// authors decay weights after the average, move vectors by signs at a thousandth of the rate, and start the
    /// average at zero with a correction, which comes to the same.
    SPlus as SPlusConfig, "splus" {
        learning_rate: 0.1,
        state: "2n + 2r² + 2c², the fallback's for what is no matrix",
        paper: "Frans et al., arXiv 2506.07254",
        description: "signs in the eigenvectors of shampoo's factors",
        decay: Decay::decoupled(0.01),
        example: ".with_precondition_frequency(50)",
    }
    /// Decay of the momentum.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of what the eigenvectors are of.
    beta_2, with_beta_2: f64 = 0.999, DECAY, shown_with r#"{"precondition_frequency": 2}"#;
    /// Decay of the average of the weights.
    ema, with_ema: f64 = 0.999, DECAY;
    /// Steps from one new basis to the next.
    precondition_frequency, with_precondition_frequency: usize = 100, AT_LEAST_ONE;
    /// The longest side that gets a basis.
    max_precond_dim, with_max_precond_dim: usize = 10_000, AT_LEAST_ONE;
    /// Whether decompositions are computed in double precision.
    float64, with_float64: bool = true, ANY;
    => |splus, shared| shared.turning(splus.clone())
}

impl Method for SPlus {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::one(shape)
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("ema")]
    }

    fn rate(&self, blocks: &Blocks) -> f64 {
        2.0 / blocks.whole.iter().sum::<usize>() as f64
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let own = [Held::elements("exp_avg")];
        own.into_iter().chain(basis::held(blocks, self.max_precond_dim)).collect()
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let t = moment.t;
        let size = algebra.size(&grad);
        let (own, rest) = state.split_at_mut(1);
        let mut bases = Bases::new(size, self.max_precond_dim, rest);
        algebra.follow(&mut own[0], self.beta_1, 1.0 - self.beta_1, &grad);
        let mean = own[0].clone();
        let signs = |matrix| computed::<Signs, A>(algebra, (), matrix, &grad, &mut []);
        let direction = match t {
            1 => signs(mean),
            _ => bases.back(algebra, signs(bases.rotated(algebra, mean))),
        };
        bases.follow(algebra, &grad, self.beta_2);
        if t == 1 || t.is_multiple_of(self.precondition_frequency as u64) {
            in_precision!(self.float64, V => bases.renew::<V, A>(moment, algebra));
        }
        direction
    }

    fn finish(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let share = (1.0 - self.ema) / bias_correction(self.ema, clock.t());
        stage.pass::<Averaged>(&Step::new(share, ()), Field::Param);
    }

    fn evaluated<V: Value>(&self, own: &[V]) -> Option<V> {
        own.first().cloned()
    }
}

/// The signs of the parameter.
#[derive(Clone)]
struct Signs;

impl Formula for Signs {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    #[inline(always)]
    fn result<V: Value>((): &(), param: &V, _: V, state: [V; 0]) -> (V, [V; 0]) {
        (param.clone().sign(), state)
    }
}

/// The average follows the parameter, which stays where it is.
#[derive(Clone)]
struct Averaged;

impl Numbers for Averaged {}

impl Rule for Averaged {
    type State<V: Value> = [V; 1];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("ema")]
    }

    fn prepare(&self, _: &mut Clock) -> Step<()> {
        Step::new(1.0, ())
    }

    #[inline(always)]
    fn direction<V: Value>((): &(), param: &V, _: V, [average]: [V; 1]) -> (V, [V; 1]) {
        (param.clone() - average.clone(), [average])
    }

    #[inline(always)]
    fn land<V: Value>(step: &Step<()>, param: V, way: V, [average]: [V; 1]) -> (V, [V; 1]) {
        (param, [average.add_scaled(&way, step.rate)])
    }
}
