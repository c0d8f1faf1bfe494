use downhill_rule::{Value, bias_correction};

use crate::decay::Decay;
use crate::declare::{matrix_optimizer, preset};
use crate::matrix::{Algebra, Blocks, Dense, Entry, Formula, Held, Method, Moment, Side, computed, eigen, in_precision};
use crate::settings::choice;

choice! {
    /// Whose length a step of [`Shampoo`] has.
    Grafting {
        /// Its own.
        None = "none",
        /// That of the mean of the gradient.
        Sgd = "sgd",
        /// AdaGrad's.
        AdaGrad = "adagrad",
        /// RMSprop's.
        RmsProp = "rmsprop",
        /// Adam's.
        Adam = "adam",
    }
}

impl Grafting {
    fn has_state(self) -> bool {
        !matches!(self, Self::None | Self::Sgd)
    }
}

matrix_optimizer! {
    /// Shampoo: the gradient, divided from both sides by a root of what the gradients have in common.
    ///
    /// ```text
    /// L ← beta_2·L + (1 - beta_2)·g·gᵀ,  R of gᵀ·g;   L ← L + g·gᵀ where beta_2 is 1
    /// m ← beta_1·m + (1 - beta_1)·g,   M = m/(1 - beta_1^t)
    /// u = (L/(1 - beta_2^t))^(-exponent)·M·(R/(1 - beta_2^t))^(-exponent)        exponent 1/4, for a vector 1/2
    /// u ← |d|/|u|·u     with the direction d of the grafted optimizer for M
    /// ```
    ///
    /// Roots are computed every `precondition_frequency` steps from `start_preconditioning_step` on; before that, `d`
    /// is the direction. `epsilon` is added to eigenvalues, after they are brought above zero. Rows and columns longer
    /// than `max_preconditioner_dim` are cut into blocks, each with roots and a length of its own. A weight of more
    /// than two dimensions is one matrix, of the first dimension and all others. Roots that cannot be computed stay as
    /// they were.
    ///
    /// State for r rows and c columns: `factor_rows`, `inverse_rows` of r², `factor_cols`, `inverse_cols` of c²,
    /// `exp_avg`, and `grafting_sq` with most kinds of `grafting`; or the fallback's. A step needs about
    /// four buffers of the parameter's size. Source: Gupta et al., arXiv 1802.09568; Shi et al., arXiv 2309.06497,
    /// whose code merges small dimensions by default, has a root for every dimension, and keeps factors in single
    /// precision.
    Shampoo as ShampooConfig, "shampoo" {
        learning_rate: 1e-2,
        state: "n + 2r² + 2c², 2n + … with grafting, the fallback's for what is no matrix",
        paper: "Gupta et al., arXiv 1802.09568",
        description: "the gradient between roots of its products",
        decay: Decay::decoupled(0.0),
        example: ".with_grafting(downhill_optim::Grafting::Adam).with_precondition_frequency(10)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the factors; 1 adds them up.
    beta_2, with_beta_2: f64 = 1.0, SHARE, shown_with r#"{"precondition_frequency": 1}"#;
    /// Added to eigenvalues.
    epsilon, with_epsilon: f64 = 1e-12, POSITIVE, shown_with r#"{"precondition_frequency": 1}"#;
    /// Power of each factor; none is half of one over the number of factors.
    exponent, with_exponent: Option<f64> = None, SHARE, shown_with r#"{"precondition_frequency": 1}"#;
    /// Whose length a step has.
    grafting, with_grafting: Grafting = Grafting::None, ANY;
    /// Decay of the grafted optimizer's second moment.
    grafting_beta_2, with_grafting_beta_2: f64 = 0.999, DECAY, shown_with r#"{"grafting": "adam"}"#;
    /// Added to its root.
    grafting_epsilon, with_grafting_epsilon: f64 = 1e-8, POSITIVE, shown_with r#"{"grafting": "adam"}"#;
    /// Steps from new roots to the next.
    precondition_frequency, with_precondition_frequency: usize = 1, AT_LEAST_ONE;
    /// The first step with roots; 0 is the frequency.
    start_preconditioning_step, with_start_preconditioning_step: usize = 0, ANY,
        shown_with r#"{"precondition_frequency": 1}"#;
    /// Rows and columns of a block, at most.
    max_preconditioner_dim, with_max_preconditioner_dim: usize = 1024, AT_LEAST_ONE,
        shown_with r#"{"precondition_frequency": 1}"#;
    /// Whether a weight of no more elements than that is one vector, with the one factor of all of them.
    merge_dims, with_merge_dims: bool = false, ANY, shown_with r#"{"precondition_frequency": 1}"#;
    /// Whether roots are computed in double precision.
    float64, with_float64: bool = true, ANY;
    => |shampoo, shared| shared.turning(shampoo.clone())
}

preset! {
    /// [`Shampoo`] as it won AlgoPerf's track with tuning: with Adam's length, roots every 100 steps, and a mean of the
    /// factors. Source: Shi et al., arXiv 2309.06497; Kasimbeg et al., arXiv 2502.15015.
    ShampooAlgoPerf as ShampooAlgoPerfConfig of Shampoo, "shampoo_algoperf" {
        learning_rate: 1e-3,
        state: "2n + 2r² + 2c², the fallback's for what is no matrix",
        paper: "Shi et al., arXiv 2309.06497",
        description: "shampoo with adam's length and rare roots",
        decay: Decay::decoupled(0.0),
        settings: Shampoo {
            beta_2: 0.999,
            grafting: Grafting::Adam,
            precondition_frequency: 100,
            merge_dims: true,
            ..Shampoo::default()
        },
    }
}

impl Shampoo {
    fn start(&self) -> u64 {
        match self.start_preconditioning_step {
            0 => self.precondition_frequency as u64,
            step => step as u64,
        }
    }

    /// What the grafted optimizer makes a direction of a mean with.
    fn grafted(&self, t: u64) -> Grafted {
        let beta_2 = self.grafting_beta_2;
        let of = |decay, share, debias| Grafted { decay, share, debias, epsilon: self.grafting_epsilon };
        match self.grafting {
            Grafting::AdaGrad => of(1.0, 1.0, 1.0),
            Grafting::Adam => of(beta_2, 1.0 - beta_2, bias_correction(beta_2, t as f64).recip()),
            Grafting::None | Grafting::Sgd | Grafting::RmsProp => of(beta_2, 1.0 - beta_2, 1.0),
        }
    }

    /// A factor to the power of `-exponent`.
    fn root<V: Entry>(&self, mut factor: Dense<V>, scale: f64, exponent: f64) -> Option<Dense<V>> {
        for value in &mut factor.values {
            *value *= V::from_f64(scale);
        }
        let (values, vectors) = eigen(&factor)?;
        let values: Vec<f64> = values.into_iter().map(|value| value.to_f64()).collect();
        let least = values.last().copied().unwrap_or_default();
        let up = self.epsilon - least.min(0.0);
        let powers: Vec<V> = values.iter().map(|value| V::from_f64((value + up).powf(-exponent))).collect();
        let root = vectors.with_columns(&powers).product_transposed(&vectors);
        root.is_finite().then_some(root)
    }
}

impl Method for Shampoo {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        let elements = shape.iter().product();
        match self.merge_dims && elements <= self.max_preconditioner_dim {
            true => Blocks::one(&[1, elements]),
            false => Blocks::of_at_most(shape, self.max_preconditioner_dim),
        }
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let mean = [Held::elements("exp_avg")];
        let square = self.grafting.has_state().then(|| Held::elements("grafting_sq"));
        let factors = sides(blocks.whole).iter().flat_map(|&side| {
            let [factor, inverse] = match side {
                Side::Rows => ["factor_rows", "inverse_rows"],
                Side::Cols => ["factor_cols", "inverse_cols"],
            };
            [Held::square(factor, side), Held::square(inverse, side)]
        });
        mean.into_iter().chain(square).chain(factors).collect()
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let t = moment.t;
        let own = 1 + usize::from(self.grafting.has_state());
        let (own, factors) = state.split_at_mut(own);
        let sides = if factors.len() == 2 { &[Side::Cols][..] } else { &[Side::Rows, Side::Cols] };
        algebra.follow(&mut own[0], self.beta_1, 1.0 - self.beta_1, &grad);
        let mean = algebra.scaled(own[0].clone(), bias_correction(self.beta_1, t as f64).recip());
        let grafted = match self.grafting.has_state() {
            true => {
                computed::<Grafted, A>(algebra, self.grafted(t), mean.clone(), &grad, &mut own[1..])
            }
            false => mean.clone(),
        };
        let (share, scale) = match self.beta_2 {
            1.0 => (1.0, 1.0),
            beta_2 => (1.0 - beta_2, bias_correction(beta_2, t as f64).recip()),
        };
        for (pair, side) in factors.chunks_mut(2).zip(sides) {
            algebra.follow(&mut pair[0], self.beta_2, share, &algebra.gram(&grad, *side));
        }
        let start = self.start();
        if t < start {
            return grafted;
        }
        if t == start || t.is_multiple_of(self.precondition_frequency as u64) {
            let exponent = self.exponent.unwrap_or(0.5 / sides.len() as f64);
            for pair in factors.chunks_mut(2) {
                let root = in_precision!(self.float64, V => {
                    self.rooted::<V, A>(moment, algebra, &pair[0], scale, exponent)
                });
                if let Some(root) = root {
                    pair[1] = root;
                }
            }
        }
        let inverses = factors.chunks(2).map(|pair| &pair[1]);
        let direction = sides.iter().zip(inverses).fold(mean, |mean, (side, inverse)| algebra.applied(inverse, &mean, *side));
        match self.grafting {
            Grafting::None => direction,
            _ => algebra.as_long_as(direction, &grafted, 1e-16),
        }
    }
}

impl Shampoo {
    /// The root of a factor on its carrier. The first one that cannot be computed is the unit matrix.
    fn rooted<V: Entry, A: Algebra>(
        &self, moment: &Moment, algebra: &A, factor: &A::Matrix, scale: f64, exponent: f64,
    ) -> Option<A::Matrix> {
        let first = moment.t == self.start();
        algebra.one_on_host::<V>(factor, |factor| {
            moment.noted_or_unit(self.root(factor.clone(), scale, exponent), first, factor.rows)
        })
    }
}

/// The sides with a factor: a vector has one.
fn sides([rows, _]: [usize; 2]) -> &'static [Side] {
    if rows == 1 { &[Side::Cols] } else { &[Side::Rows, Side::Cols] }
}

/// Divides the parameter, which is a mean, by the root of a second moment.
#[derive(Clone, Copy, Debug)]
struct Grafted {
    decay: f64,
    share: f64,
    debias: f64,
    epsilon: f64,
}

impl Formula for Grafted {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    #[inline(always)]
    fn result<V: Value>(rule: &Self, mean: &V, grad: V, [v]: [V; 1]) -> (V, [V; 1]) {
        let v = v.scale(rule.decay) + grad.square().scale(rule.share);
        let root = v.clone().scale(rule.debias).sqrt().offset(rule.epsilon);
        (mean.clone() / root, [v])
    }
}
