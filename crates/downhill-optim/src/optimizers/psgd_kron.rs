use downhill_rule::{Clock, Scalar, Value, bias_correction};

use crate::decay::Decay;
use crate::declare::matrix_optimizer;
use crate::matrix::{Algebra, Blocks, Dense, Draw, Entry, Formula, Held, Method, Moment, Side, computed, in_precision};

matrix_optimizer! {
    /// PSGD with a Kronecker product: a preconditioner that whitens the momentum, as a product of two triangular
    /// factors that follow it without an inverse or eigenvectors.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   M = m/(1 - beta_1^t)
    /// u = Q_rowsᵀ·Q_rows·M·Q_colsᵀ·Q_cols,   u ← u·min(1, clip/(rms(u) + 1e-8))
    /// ```
    ///
    /// The factors are updated in every call at first, and with the probability
    /// `exp(-decay·(t - 1 - flat_start))`, at least `min_prob`, later, in regular intervals. With normal numbers V:
    ///
    /// ```text
    /// A = Q_rows·M·Q_colsᵀ,   B = Q_rows^-ᵀ·V·Q_cols^-1
    /// Q_rows ← Q_rows - precond_lr/bound·triu(A·Aᵀ - B·Bᵀ)·Q_rows       bound ≤ |A·Aᵀ + B·Bᵀ|
    /// Q_cols likewise, of Aᵀ·A and Bᵀ·B;   both are brought to one size every balance_every updates
    /// ```
    ///
    /// A side longer than `max_size_triangular` has a diagonal factor. Random numbers depend on `seed`, step and size
    /// alone, so that nothing of them is kept. A weight of more than two dimensions is one matrix, of the first
    /// dimension and all others. An update that is not finite is left out.
    ///
    /// State for r rows and c columns: `momentum_buffer`, `q_rows` of r², `q_cols` of c²; the scalars `update_counter`
    /// and `updates`; or the fallback's. A step needs about four buffers of the parameter's size. Source: Li, arXiv
    /// 1512.04202 and 2402.11858; timm 1.0.31, `timm.optim.Kron`, which balances by chance and has a factor for every
    /// dimension.
    PsgdKron as PsgdKronConfig, "psgd_kron" {
        learning_rate: 1e-3,
        state: "n + r² + c², the fallback's for what is no matrix",
        paper: "Li, arXiv 1512.04202",
        description: "a momentum that two triangular factors whiten",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.1)",
    }
    /// Decay of the momentum.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Rate of the factors.
    precond_lr, with_precond_lr: f64 = 0.1, POSITIVE;
    /// What the product of both factors is at the start.
    precond_init_scale, with_precond_init_scale: f64 = 1.0, POSITIVE at start;
    /// Largest root mean square of a direction.
    clip, with_clip: f64 = 1.1, POSITIVE;
    /// Calls until updates of the factors become rarer.
    flat_start, with_flat_start: usize = 500, ANY, shown_with r#"{"decay": 0.5, "flat_start": 1}"#;
    /// How fast they become rarer.
    decay, with_decay: f64 = 0.001, NOT_NEGATIVE, shown_with r#"{"flat_start": 0}"#;
    /// The least part of the calls that updates them.
    min_prob, with_min_prob: f64 = 0.03, SHARE, shown_with r#"{"decay": 2.0, "flat_start": 0}"#;
    /// Updates from one balancing to the next.
    balance_every, with_balance_every: usize = 100, AT_LEAST_ONE;
    /// The longest side that has a triangular factor.
    max_size_triangular, with_max_size_triangular: usize = 8192, AT_LEAST_ONE;
    /// Of the random numbers.
    seed, with_seed: usize = 0, ANY;
    /// Whether factors are updated in double precision.
    float64, with_float64: bool = true, ANY;
    => |psgd, shared| shared.turning(psgd.clone())
}

impl Method for PsgdKron {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::one(shape)
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let factor = |name, side: Side| {
            let len = blocks.piece[side as usize];
            let cols = if len > self.max_size_triangular { 1 } else { len };
            Held::matrix(name, [len, cols])
        };
        let momentum = Held::elements("momentum_buffer");
        vec![momentum, factor("q_rows", Side::Rows), factor("q_cols", Side::Cols)]
    }

    fn memory(&self) -> Vec<Scalar> {
        ["update_counter", "updates"].map(|name| Scalar::new(name, 0.0)).to_vec()
    }

    fn count(&self, clock: &mut Clock) {
        let late = (clock.t() - 1.0 - self.flat_start as f64).max(0.0);
        let probability = (-self.decay * late).exp().max(self.min_prob);
        let [counter, updates] = clock.memory else { unreachable!("as many as are named") };
        *counter += 1.0;
        if *counter >= probability.recip() {
            *counter = 0.0;
            *updates += 1.0;
        }
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let size = algebra.size(&grad);
        let (momentum, factors) = state.split_at_mut(1);
        if moment.t == 1 {
            let start = self.precond_init_scale.sqrt();
            for factor in &mut *factors {
                let [len, cols] = algebra.size(factor);
                let first = algebra.one_on_host::<f64>(factor, |_| {
                    let mut first = match cols {
                        1 => Dense { values: vec![1.0; len], rows: len, cols },
                        _ => Dense::unit(len),
                    };
                    first.map(|value| value * start);
                    Some(first)
                });
                if let Some(first) = first {
                    *factor = first;
                }
            }
        }
        algebra.follow(&mut momentum[0], self.beta_1, 1.0 - self.beta_1, &grad);
        let mean = algebra.scaled(momentum[0].clone(), bias_correction(self.beta_1, moment.t as f64).recip());
        let [counter, updates] = moment.counted[..] else { unreachable!("as many as are named") };
        if counter == 0.0 {
            let every = self.balance_every as u64;
            let balance = updates > 1.0 && (updates as u64 - 1).is_multiple_of(every);
            let draw = Draw { seed: self.seed as u64, step: moment.t, rows: size[0], cols: size[1] };
            let inputs = [&mean, &factors[0], &factors[1]];
            let updated = in_precision!(self.float64, V => {
                algebra.on_host::<V>(&inputs, |found| moment.noted(self.updated(found, balance, draw)))
            });
            if let Some(updated) = updated {
                factors.clone_from_slice(&updated);
            }
        }
        let [rows, cols] = [&factors[0], &factors[1]].map(|factor| (factor, algebra.size(factor)[1] == 1));
        let direction = match rows {
            (q, true) => algebra.stretched(algebra.stretched(mean, q), q),
            (q, false) => algebra.transposed_product(q, &algebra.product(q, &mean)),
        };
        let direction = match cols {
            (q, true) => {
                let row = algebra.transposed(q.clone());
                algebra.stretched(algebra.stretched(direction, &row), &row)
            }
            (q, false) => algebra.product(&algebra.product_transposed(&direction, q), q),
        };
        let length = algebra.lengths(&direction, None);
        let most = [self.clip, ((size[0] * size[1]) as f64).sqrt().recip()];
        let factor = computed::<Clipped, A>(algebra, most, length.clone(), &length, &mut []);
        algebra.stretched(direction, &factor)
    }
}

impl PsgdKron {
    /// The factors after an update, unless that is not finite.
    fn updated<V: Entry>(&self, found: Vec<Dense<V>>, balance: bool, draw: Draw) -> Option<Vec<Dense<V>>> {
        let [mean, mut rows, mut cols] = <[Dense<V>; 3]>::try_from(found).ok()?;
        if balance {
            let [high, low] = [&rows, &cols].map(|q| q.largest());
            let middle = (high * low).sqrt();
            rows.map(|value| value * V::from_f64(middle / high));
            cols.map(|value| value * V::from_f64(middle / low));
        }
        let values = draw.numbers().map(V::from_f64).collect();
        let noise = Dense { values, rows: draw.rows, cols: draw.cols };
        let a = cols.times(&rows.times(&mean).transposed()).transposed();
        let b = cols.divide(&rows.divide(&noise).transposed()).transposed();
        let moved_rows = self.moved(&rows, &a, &b);
        let moved_cols = self.moved(&cols, &a.transposed(), &b.transposed());
        let finite = moved_rows.is_finite() && moved_cols.is_finite();
        finite.then_some(vec![moved_rows, moved_cols])
    }

    /// A factor after an update by the products of the rows of two matrices.
    fn moved<V: Entry>(&self, factor: &Dense<V>, a: &Dense<V>, b: &Dense<V>) -> Dense<V> {
        let rate = |bound: f64| V::from_f64(self.precond_lr / (bound + f64::from(f32::MIN_POSITIVE)));
        if factor.cols == 1 {
            let [a, b] = [a, b].map(Dense::squares_of_rows);
            let bound = a.iter().zip(&b).map(|(a, b)| a + b).fold(0.0, f64::max);
            let mut moved = factor.clone();
            for (value, (a, b)) in moved.values.iter_mut().zip(a.iter().zip(&b)) {
                *value = *value - rate(bound) * V::from_f64(a - b) * *value;
            }
            return moved;
        }
        let [a, b] = [a, b].map(|matrix| matrix.product_transposed(matrix));
        let bound = a.with_added(V::from_f64(1.0), &b).spectral_bound();
        let mut difference = a.with_added(V::from_f64(-1.0), &b);
        for row in 1..difference.rows {
            difference.values[row * difference.cols..][..row].fill(V::from_f64(0.0));
        }
        factor.with_added(V::from_f64(-1.0) * rate(bound), &difference.product(factor))
    }
}

/// The factor that keeps a root mean square below the first coefficient, from a length; the second makes the former of
/// the latter.
#[derive(Clone)]
struct Clipped;

impl Formula for Clipped {
    type State<V: Value> = [V; 0];
    type Coefs = [f64; 2];

    #[inline(always)]
    fn result<V: Value>([clip, share]: &[f64; 2], _: &V, length: V, state: [V; 0]) -> (V, [V; 0]) {
        (length.scale(*share).offset(1e-8).recip().scale(*clip).clamp_max(1.0), state)
    }
}
