use downhill_rule::{Clock, Rule};

use crate::Adam;
use crate::decay::Decay;
use crate::declare::matrix_optimizer;
use crate::matrix::{Algebra, Blocks, Entry, Held, Method, Moment, Side, eigenvectors, in_precision};

matrix_optimizer! {
    /// GaLore: [`Adam`](crate::Adam) of a projection of the gradient to few dimensions.
    ///
    /// ```text
    /// P: the first `rank` singular vectors of g on its shorter side, anew every update_proj_gap steps
    /// R = g·P    or Pᵀ·g,  whichever side is shorter
    /// u = scale·Adam(R)·Pᵀ    or scale·P·Adam(R)
    /// ```
    ///
    /// The moments stay as they are when `P` changes. A weight of more than two dimensions is one matrix, of the first
    /// dimension and all others. Singular vectors that cannot be computed stay as they were.
    ///
    /// State for a longer side of n and a shorter one of m: `projection` of m·rank, `exp_avg`, `exp_avg_sq` of n·rank;
    /// or the fallback's. A step needs about two buffers of the parameter's size. Source: Zhao et al., arXiv
    /// 2403.03507, whose code adds epsilon before the bias correction, decays weights after the step, and has singular
    /// vectors of any sign.
    GaLore as GaLoreConfig, "galore" {
        learning_rate: 1e-2,
        state: "rank·(2·longer + shorter side), the fallback's for what is no matrix",
        paper: "Zhao et al., arXiv 2403.03507",
        description: "adam of a projection of the gradient",
        decay: Decay::decoupled(0.0),
        example: ".with_rank(64)",
    }
    /// Dimensions of the projection, at most.
    rank, with_rank: usize = 128, AT_LEAST_ONE;
    /// Steps from one projection to the next.
    update_proj_gap, with_update_proj_gap: usize = 200, AT_LEAST_ONE, shown_with r#"{"rank": 2}"#;
    /// Multiplies the direction.
    scale, with_scale: f64 = 0.25, NOT_NEGATIVE;
    /// Decay of the mean of the projection.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of its second moment.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root of the second moment.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether singular vectors are computed in double precision.
    float64, with_float64: bool = true, ANY;
    => |galore, shared| shared.turning(galore.clone())
}

/// The direction of Adam for a gradient of few dimensions, whose moments are the state.
pub(super) fn adam<A: Algebra>(
    adam: Adam, t: u64, algebra: &A, grad: &A::Matrix, state: &mut [A::Matrix],
) -> A::Matrix {
    let step = adam.prepare(&mut Clock::new(1.0, t, &mut []));
    let zeros = algebra.zeros(algebra.size(grad), grad);
    algebra.scaled(algebra.pass::<Adam>(&step, zeros, grad, state), -1.0)
}

/// The side that is not longer; of a square the columns.
fn shorter([rows, cols]: [usize; 2]) -> Side {
    if rows >= cols { Side::Cols } else { Side::Rows }
}

impl GaLore {
    /// The first singular vectors, or the first unit vectors where there is nothing yet and they cannot be computed.
    fn projection<V: Entry, A: Algebra>(
        &self, moment: &Moment, algebra: &A, gram: &A::Matrix, rank: usize,
    ) -> Option<A::Matrix> {
        algebra.one_on_host::<V>(gram, |gram| {
            let vectors = moment.noted_or_unit(eigenvectors(gram), moment.t == 1, gram.rows)?;
            Some(vectors.first_columns(rank))
        })
    }
}

impl Method for GaLore {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::one(shape)
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let [rows, cols] = blocks.piece;
        let rank = self.rank.min(rows).min(cols);
        let (projection, low) = match shorter(blocks.piece) {
            Side::Cols => ([cols, rank], [rows, rank]),
            Side::Rows => ([rows, rank], [rank, cols]),
        };
        let moments = ["exp_avg", "exp_avg_sq"].map(|name| Held::matrix(name, low));
        moments.into_iter().chain([Held::matrix("projection", projection)]).collect()
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let t = moment.t;
        let size = algebra.size(&grad);
        let side = shorter(size);
        let (moments, projection) = state.split_at_mut(2);
        if (t - 1).is_multiple_of(self.update_proj_gap as u64) {
            let rank = self.rank.min(size[0]).min(size[1]);
            let gram = algebra.gram(&grad, side);
            let found = in_precision!(self.float64, V => self.projection::<V, A>(moment, algebra, &gram, rank));
            if let Some(found) = found {
                projection[0] = found;
            }
        }
        let projection = &projection[0];
        let low = match side {
            Side::Cols => algebra.product(&grad, projection),
            Side::Rows => algebra.transposed_product(projection, &grad),
        };
        let (beta_1, beta_2, epsilon) = (self.beta_1, self.beta_2, self.epsilon);
        let rule = Adam { beta_1, beta_2, epsilon, ..Adam::default() };
        let direction = adam(rule, t, algebra, &low, moments);
        let direction = match side {
            Side::Cols => algebra.product_transposed(&direction, projection),
            Side::Rows => algebra.product(projection, &direction),
        };
        algebra.scaled(direction, self.scale)
    }
}
