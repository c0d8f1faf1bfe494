//! Orthogonalisation by matrix products.

use super::{Algebra, Side, Turn};
use crate::settings::choice;

choice! {
    /// The coefficients `(a, b, c)` of each step of the iteration `X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X`, which drives the
    /// singular values of `X` towards one. The last ones are repeated. After five steps:
    ///
    /// | | singular values of 0.01 to 1 come to | slope at 0 |
    /// |---|---|---|
    /// | `original` | 0.68 to 1.14 | 485 |
    /// | `quintic` | 0.97 to 1.04 | 493 |
    /// | `polar_express` | 0.86 to 1.14 | 1000 |
    NsCoefficients {
        /// Keller Jordan's, the same in every step.
        Original = "original",
        /// You's, one triple for each of five steps.
        Quintic = "quintic",
        /// Polar Express (Amsel et al., arXiv 2505.16932), with a margin of 0.01.
        PolarExpress = "polar_express",
        /// The same, with a margin of 0.02.
        PolarExpressSafer = "polar_express_safer",
    }
}

impl NsCoefficients {
    /// Those of the steps, the last one for all that follow.
    pub fn triples(self) -> &'static [[f64; 3]] {
        match self {
            Self::Original => &[[3.4445, -4.7750, 2.0315]],
            Self::Quintic => &[
                [4.0848, -6.8946, 2.9270],
                [3.9505, -6.3029, 2.6377],
                [3.7418, -5.5913, 2.3037],
                [2.8769, -3.1427, 1.2046],
                [2.8366, -3.0525, 1.2012],
            ],
            Self::PolarExpress => &[
                [8.237312490495555, -23.157747414558198, 16.680568411445915],
                [4.082441999064835, -2.893047735332586, 0.5252849256975648],
                [3.9263479922546582, -2.8547468034765298, 0.5318022422894988],
                [3.2982187133085143, -2.424541981026706, 0.48632008358844075],
                [2.2970369434552573, -1.63662558125903, 0.4002628455953627],
                [1.8763805351440397, -1.2347896577722228, 0.35891887501668385],
                [1.8564423485617974, -1.2132449880935525, 0.3568003487825883],
                [1.8749994008682747, -1.2499988017229169, 0.3749994008546422],
            ],
            Self::PolarExpressSafer => &[
                [8.156554524902461, -22.48329292557795, 15.878769915207462],
                [4.0429299351667245, -2.808917465908704, 0.5000178451051299],
                [3.8916678022926563, -2.7724841532176825, 0.5060648178503389],
                [3.285753657755658, -2.3681294933425394, 0.46449024233003117],
                [2.3005307116270983, -1.6111665557258408, 0.3833374427545273],
                [1.8631210546382593, -1.2042160621002727, 0.3421879560523383],
                [1.8382572152247512, -1.1779263289537742, 0.3396513038637379],
                [1.8749999923301852, -1.2499999836060613, 0.374999991275876],
            ],
        }
    }
}

/// Turns a matrix into the orthogonal one that is nearest to it, or nearly so, times `scale`: all singular values
/// come close to one, and the singular vectors stay.
///
/// With the Gram matrix `G` of the shorter side of `X`,
///
/// ```text
/// M = a·I + b·G + c·G²,   X ← M·X                      in each step
/// ```
///
/// Of a wide matrix everything but the last product is made of `G`, whose polynomials commute: so every product is
/// symmetric, half of it is computed, and it costs as much as the square of the shorter side. Of a matrix that is nearly
/// square that saves nothing, and small singular values would lose digits, whose squares are in `G`.
///
/// ```text
/// Q ← Q·M,   G ← M·G·M                                 in each step
/// O = Q·X
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewtonSchulz {
    pub coefficients: NsCoefficients,
    pub steps: usize,
    /// The least norm that a matrix is divided by.
    pub epsilon: f64,
    /// Multiplies the norm: singular values stay below its reciprocal.
    pub safety_factor: f64,
    /// Rounds everything to bfloat16, as PyTorch does. In so few digits the matrix itself is iterated.
    pub bfloat16: bool,
    pub scale: f64,
}

impl NewtonSchulz {
    fn triples(&self) -> impl Iterator<Item = [f64; 3]> {
        let triples = self.coefficients.triples();
        let last = *triples.last().expect("each set has some");
        let repeated = core::iter::repeat(last);
        triples.iter().copied().chain(repeated).take(self.steps)
    }

    fn by_gram<A: Algebra>(&self, algebra: &A, x: A::Matrix, side: Side) -> A::Matrix {
        let mut gram = algebra.gram(&x, side);
        let mut turn: Option<A::Matrix> = None;
        for (step, [a, b, c]) in self.triples().enumerate() {
            let m = algebra.polynomial(&gram, [a, b, c]);
            if step + 1 < self.steps {
                let half = algebra.symmetric(&m, &gram);
                algebra.discard(gram);
                gram = algebra.symmetric(&half, &m);
                algebra.discard(half);
            }
            turn = Some(match turn {
                Some(turn) => {
                    let next = algebra.symmetric(&turn, &m);
                    algebra.discard(turn);
                    algebra.discard(m);
                    next
                }
                None => m,
            });
        }
        let turn = algebra.scaled(turn.expect("at least one step"), self.scale);
        algebra.applied(&turn, &x, side)
    }

    fn by_products<A: Algebra>(&self, algebra: &A, mut x: A::Matrix, side: Side) -> A::Matrix {
        for (step, [a, b, c]) in self.triples().enumerate() {
            let gram = algebra.gram(&x, side);
            let scale = if step + 1 == self.steps {
                self.scale
            } else {
                1.0
            };
            let m = algebra.polynomial(&gram, [a, b, c].map(|factor| factor * scale));
            algebra.discard(gram);
            let next = algebra.applied(&m, &x, side);
            algebra.discard(m);
            algebra.discard(core::mem::replace(&mut x, next));
        }
        x
    }

    fn in_bfloat16<A: Algebra>(&self, algebra: &A, x: A::Matrix, side: Side) -> A::Matrix {
        let mut x = algebra.rounded(x);
        for [a, b, c] in self.triples() {
            let gram = algebra.rounded(algebra.gram(&x, side));
            let m = algebra.rounded(algebra.polynomial(&gram, [0.0, b, c]));
            let moved = algebra.applied(&m, &x, side);
            x = algebra.rounded(algebra.added(moved, a, &x));
        }
        algebra.scaled(x, self.scale)
    }
}

impl Turn for NewtonSchulz {
    fn turn<A: Algebra>(&self, algebra: &A, matrix: A::Matrix, _: &mut [A::Matrix]) -> A::Matrix {
        let [rows, cols] = algebra.size(&matrix);
        let side = if rows <= cols { Side::Rows } else { Side::Cols };
        let rounded = match self.bfloat16 {
            true => algebra.rounded(matrix),
            false => matrix,
        };
        let x = algebra.normalized(rounded, self.safety_factor, self.epsilon);
        let is_wide = 2 * rows.max(cols) >= 3 * rows.min(cols);
        match is_wide {
            _ if self.bfloat16 => self.in_bfloat16(algebra, x, side),
            true => self.by_gram(algebra, x, side),
            false => self.by_products(algebra, x, side),
        }
    }
}
