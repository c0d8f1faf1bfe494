use downhill_rule::{Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::matrix_optimizer;
use crate::matrix::{Algebra, Bases, Blocks, Dense, Entry, Formula, Held, Method, Moment, Side, basis, computed, in_precision, orthogonal};

matrix_optimizer! {
    /// SOAP: [`Adam`](crate::Adam) in the eigenvectors of what the gradients have in common.
    ///
    /// ```text
    /// g' = Q_rowsᵀ·g·Q_cols,   m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g'²
    /// u = sqrt(1 - beta_2^k)/(1 - beta_1^k) · Q_rows·((Q_rowsᵀ·m·Q_cols)/(sqrt(v) + epsilon))·Q_colsᵀ
    /// GG_rows ← shampoo_beta·GG_rows + (1 - shampoo_beta)·g·gᵀ,   GG_cols of gᵀ·g
    /// every precondition_frequency steps   Q ← orthogonal factor of GG·Q
    /// ```
    ///
    /// The first step only finds `Q`, the eigenvectors, and moves nothing; `k` counts the others. Columns of `Q` stand
    /// in the order of their part of `GG`, and `v` with them. A side longer than `max_precond_dim` has no `Q`. A
    /// weight of more than two dimensions is one matrix, of the first dimension and all others. A decomposition that
    /// fails leaves `Q` as it was.
    ///
    /// State for r rows and c columns: `exp_avg`, `exp_avg_sq`, `gg_rows`, `q_rows` of r², `gg_cols`, `q_cols` of c²;
    /// or the fallback's. A step needs about six buffers of the parameter's size. Source: Vyas et al., arXiv
    /// 2409.11321, whose code decays weights after the step, has a `Q` for every dimension, and decomposes in single
    /// precision.
    Soap as SoapConfig, "soap" {
        learning_rate: 3e-3,
        state: "2n + 2r² + 2c², the fallback's for what is no matrix",
        paper: "Vyas et al., arXiv 2409.11321",
        description: "adam in the eigenvectors of shampoo's factors",
        decay: Decay::decoupled(0.01),
        example: ".with_precondition_frequency(20)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.95, DECAY;
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.95, DECAY;
    /// Decay of what the eigenvectors are of; none is `beta_2`.
    shampoo_beta, with_shampoo_beta: Option<f64> = None, DECAY, shown_with r#"{"precondition_frequency": 1}"#;
    /// Added to the root of the second moment.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Steps from one new basis to the next.
    precondition_frequency, with_precondition_frequency: usize = 10, AT_LEAST_ONE,
        shown_with r#"{"precondition_frequency": 1}"#;
    /// The longest side that gets a basis.
    max_precond_dim, with_max_precond_dim: usize = 10_000, AT_LEAST_ONE;
    /// Whether decompositions are computed in double precision.
    float64, with_float64: bool = true, ANY;
    => |soap, shared| shared.turning(soap.clone())
}

impl Method for Soap {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::one(shape)
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let own = ["exp_avg", "exp_avg_sq"].map(Held::elements);
        own.into_iter().chain(basis::held(blocks, self.max_precond_dim)).collect()
    }

    fn moves(&self, t: u64) -> bool {
        t > 1
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let t = moment.t;
        let size = algebra.size(&grad);
        let (own, rest) = state.split_at_mut(2);
        let mut bases = Bases::new(size, self.max_precond_dim, rest);
        let follow = self.shampoo_beta.unwrap_or(self.beta_2);
        if t == 1 {
            bases.follow(algebra, &grad, follow);
            in_precision!(self.float64, V => bases.renew::<V, A>(moment, algebra));
            return grad;
        }
        let (m, v) = own.split_at_mut(1);
        algebra.follow(&mut m[0], self.beta_1, 1.0 - self.beta_1, &grad);
        let rotated = bases.rotated(algebra, grad.clone());
        let mean = bases.rotated(algebra, m[0].clone());
        let adapted = Adapted { beta_2: self.beta_2, epsilon: self.epsilon };
        let adapted = computed::<Adapted, A>(algebra, adapted, mean, &rotated, v);
        let direction = bases.back(algebra, adapted);
        let k = (t - 1) as f64;
        let scale = bias_correction(self.beta_2, k).sqrt() / bias_correction(self.beta_1, k);
        bases.follow(algebra, &grad, follow);
        if (t - 1).is_multiple_of(self.precondition_frequency as u64) {
            in_precision!(self.float64, V => turn_on::<V, A>(moment, algebra, &mut bases, &mut v[0]));
        }
        algebra.scaled(direction, scale)
    }
}

/// One step of the iteration that finds eigenvectors, on each basis; the second moment keeps to its columns.
fn turn_on<V: Entry, A: Algebra>(
    moment: &Moment, algebra: &A, bases: &mut Bases<'_, A::Matrix>, v: &mut A::Matrix,
) {
    for (pair, side) in bases.state.chunks_mut(2).zip(&bases.sides) {
        let turned = algebra.on_host::<V>(&[&pair[0], &pair[1], v], |found| {
            let [gram, basis, v] = <[Dense<V>; 3]>::try_from(found).expect("as many as were given");
            let image = gram.product(&basis);
            let order = basis.descending(&image);
            Some(vec![moment.noted(orthogonal(&image.permuted(Side::Cols, &order)))?, v.permuted(*side, &order)])
        });
        if let Some([basis, second]) = turned.and_then(|turned| <[A::Matrix; 2]>::try_from(turned).ok()) {
            pair[1] = basis;
            *v = second;
        }
    }
}

/// Divides the parameter, which is a mean, by the root of the second moment.
#[derive(Clone, Copy, Debug)]
struct Adapted {
    beta_2: f64,
    epsilon: f64,
}

impl Formula for Adapted {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    #[inline(always)]
    fn result<V: Value>(rule: &Self, mean: &V, grad: V, [v]: [V; 1]) -> (V, [V; 1]) {
        let v = ema(v, grad.square(), rule.beta_2);
        (mean.clone() / v.clone().sqrt().offset(rule.epsilon), [v])
    }
}
