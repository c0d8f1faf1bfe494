use downhill_rule::Value;

use super::galore::adam;
use crate::Adam;
use crate::decay::Decay;
use crate::declare::{matrix_optimizer, preset};
use crate::matrix::{Algebra, Blocks, Draw, Formula, Held, Method, Moment, Side, computed};
use crate::settings::choice;

choice! {
    /// What of a gradient has a factor of its own.
    ApolloScale {
        /// Each row or column along the shorter side.
        Channel = "channel",
        /// The whole.
        Tensor = "tensor",
    }
}

matrix_optimizer! {
    /// APOLLO: the gradient with factors that come from [`Adam`](crate::Adam) of a random projection of it.
    ///
    /// ```text
    /// P: normal numbers of variance 1/rank, anew every update_proj_gap steps;   R = P·g    or g·Pᵀ
    /// s = |Adam(R)|/(|R| + epsilon)     for each column (row), or for the whole
    /// u = sqrt(alpha)·s·g,   no longer than norm_growth_limit times the one before
    /// ```
    ///
    /// The projection is of the shorter side, to `rank` dimensions: a quarter of that side if it is 0. Random numbers
    /// depend on `seed`, step and size alone, so that nothing of them is kept. A weight of more than two dimensions is
    /// one matrix, of the first dimension and all others.
    ///
    /// State for a longer side of n: `exp_avg`, `exp_avg_sq` of n·rank, and `update_norm`; or the fallback's. A step
    /// needs about two buffers of the parameter's size. Source: Zhu et al., arXiv 2412.05270. The authors' code is
    /// under a licence that is not permissive, and was not looked at.
    Apollo as ApolloConfig, "apollo" {
        learning_rate: 1e-2,
        state: "2·rank·longer side, the fallback's for what is no matrix",
        paper: "Zhu et al., arXiv 2412.05270",
        description: "the gradient with factors from adam of a projection",
        decay: Decay::decoupled(0.0),
        example: ".with_rank(64)",
    }
    /// Dimensions of the projection, at most; 0 is a quarter of the shorter side.
    rank, with_rank: usize = 0, ANY;
    /// Steps from one projection to the next.
    update_proj_gap, with_update_proj_gap: usize = 200, AT_LEAST_ONE;
    /// What has a factor of its own.
    scale_type, with_scale_type: ApolloScale = ApolloScale::Channel, ANY;
    /// Its root multiplies the direction.
    alpha, with_alpha: f64 = 1.0, NOT_NEGATIVE;
    /// Of the random numbers.
    seed, with_seed: usize = 0, ANY;
    /// Decay of the mean of the projection.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of its second moment.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root of the second moment, and to the length of the projection.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// How many times as long as the last one a step may be; none is any.
    norm_growth_limit, with_norm_growth_limit: Option<f64> = Some(1.01), POSITIVE;
    => |apollo, shared| shared.turning(apollo.clone())
}

preset! {
    /// [`Apollo`] with one factor for each weight, from one dimension. Source: Zhu et al., arXiv 2412.05270.
    ApolloMini as ApolloMiniConfig of Apollo, "apollo_mini" {
        learning_rate: 1e-2,
        state: "2·longer side, the fallback's for what is no matrix",
        paper: "Zhu et al., arXiv 2412.05270",
        description: "apollo with one factor for a weight",
        decay: Decay::decoupled(0.0),
        settings: Apollo { rank: 1, scale_type: ApolloScale::Tensor, alpha: 128.0, ..Apollo::default() },
    }
}

impl Apollo {
    fn rank_of(&self, shorter: usize) -> usize {
        match self.rank {
            0 => shorter.div_ceil(4),
            rank => rank.min(shorter),
        }
    }
}

/// The side that is not longer; of a square the rows.
fn shorter([rows, cols]: [usize; 2]) -> Side {
    if rows <= cols { Side::Rows } else { Side::Cols }
}

impl Method for Apollo {
    fn blocks(&self, shape: &[usize]) -> Blocks {
        Blocks::one(shape)
    }

    fn held(&self, blocks: &Blocks) -> Vec<Held> {
        let [rows, cols] = blocks.piece;
        let rank = self.rank_of(rows.min(cols));
        let low = match shorter(blocks.piece) {
            Side::Rows => [rank, cols],
            Side::Cols => [rows, rank],
        };
        let moments = ["exp_avg", "exp_avg_sq"].map(|name| Held::matrix(name, low));
        moments.into_iter().chain([Held::matrix("update_norm", [1, 1])]).collect()
    }

    fn direction<A: Algebra>(
        &self, moment: &Moment, algebra: &A, grad: A::Matrix, state: &mut [A::Matrix],
    ) -> A::Matrix {
        let t = moment.t;
        let size = algebra.size(&grad);
        let side = shorter(size);
        let (moments, before) = state.split_at_mut(2);
        let gap = self.update_proj_gap as u64;
        let (cols, rows) = (size[side as usize], self.rank_of(size[side as usize]));
        let draw = Draw { seed: self.seed as u64, step: 1 + (t - 1) / gap * gap, rows, cols };
        let projection = algebra.scaled(algebra.random(draw, &grad), (rows as f64).sqrt().recip());
        let low = match side {
            Side::Rows => algebra.product(&projection, &grad),
            Side::Cols => algebra.product_transposed(&grad, &projection),
        };
        let (beta_1, beta_2, epsilon) = (self.beta_1, self.beta_2, self.epsilon);
        let rule = Adam { beta_1, beta_2, epsilon, ..Adam::default() };
        let adapted = adam(rule, t, algebra, &low, moments);
        let of = match (self.scale_type, side) {
            (ApolloScale::Tensor, _) => None,
            (ApolloScale::Channel, Side::Rows) => Some(Side::Cols),
            (ApolloScale::Channel, Side::Cols) => Some(Side::Rows),
        };
        let [above, below] = [&adapted, &low].map(|matrix| algebra.lengths(matrix, of));
        let factors = computed::<Ratio, A>(algebra, epsilon, above, &below, &mut []);
        let direction = algebra.scaled(algebra.stretched(grad, &factors), self.alpha.sqrt());
        let length = algebra.lengths(&direction, None);
        let limit = match (self.norm_growth_limit, t) {
            (Some(limit), 2..) => limit,
            _ => 0.0,
        };
        let factor = computed::<Limited, A>(algebra, limit, length.clone(), &length, before);
        algebra.stretched(direction, &factor)
    }
}

/// The parameter over the gradient, to which something is added.
#[derive(Clone)]
struct Ratio;

impl Formula for Ratio {
    type State<V: Value> = [V; 0];
    type Coefs = f64;

    #[inline(always)]
    fn result<V: Value>(epsilon: &f64, param: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (param.clone() / grad.offset(*epsilon), state)
    }
}

/// The factor that keeps a length below a multiple of the last one, which is the state; without one before it is 1.
#[derive(Clone)]
struct Limited;

impl Formula for Limited {
    type State<V: Value> = [V; 1];
    type Coefs = f64;

    #[inline(always)]
    fn result<V: Value>(limit: &f64, _: &V, length: V, [before]: [V; 1]) -> (V, [V; 1]) {
        let most = before.scale(*limit);
        let one = length.clone().scale(0.0).offset(1.0);
        let ratio = most.clone() / length.clone();
        let factor = most.select(ratio.clamp_max(1.0), one);
        (factor.clone(), [length * factor])
    }
}
