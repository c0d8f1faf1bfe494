//! A basis for the rows of a matrix and one for its columns: the eigenvectors of what its gradients had in common.

use super::{Algebra, Blocks, Entry, Held, Moment, Side, eigenvectors};

/// The sides that are short enough for a basis.
pub(crate) fn sides(size: [usize; 2], longest: usize) -> impl Iterator<Item = Side> {
    let all = [Side::Rows, Side::Cols].into_iter();
    all.filter(move |&side| size[side as usize] <= longest)
}

/// The state of the bases: for each side what it is made of, and the basis.
pub(crate) fn held(blocks: &Blocks, longest: usize) -> impl Iterator<Item = Held> {
    sides(blocks.piece, longest).flat_map(|side| {
        let [gram, basis] = match side {
            Side::Rows => ["gg_rows", "q_rows"],
            Side::Cols => ["gg_cols", "q_cols"],
        };
        [Held::square(gram, side), Held::square(basis, side)]
    })
}

/// The bases of a matrix in its state, which is the part that [`held`] describes.
pub(crate) struct Bases<'a, M> {
    pub sides: Vec<Side>,
    pub state: &'a mut [M],
}

impl<'a, M: Clone> Bases<'a, M> {
    pub fn new(size: [usize; 2], longest: usize, state: &'a mut [M]) -> Self {
        Self {
            sides: sides(size, longest).collect(),
            state,
        }
    }

    /// The matrix in the bases.
    pub fn rotated<A: Algebra<Matrix = M>>(&self, algebra: &A, matrix: M) -> M {
        self.each(matrix, |matrix, side, basis| match side {
            Side::Rows => algebra.transposed_product(basis, &matrix),
            Side::Cols => algebra.product(&matrix, basis),
        })
    }

    /// The matrix that is this one in the bases.
    pub fn back<A: Algebra<Matrix = M>>(&self, algebra: &A, matrix: M) -> M {
        self.each(matrix, |matrix, side, basis| match side {
            Side::Rows => algebra.product(basis, &matrix),
            Side::Cols => algebra.product_transposed(&matrix, basis),
        })
    }

    fn each(&self, matrix: M, turn: impl Fn(M, Side, &M) -> M) -> M {
        let bases = self.state.chunks(2).map(|pair| &pair[1]);
        let sides = self.sides.iter().copied().zip(bases);
        sides.fold(matrix, |matrix, (side, basis)| turn(matrix, side, basis))
    }

    /// What the bases are made of goes on: a mean of the products of rows or columns of a gradient.
    pub fn follow<A: Algebra<Matrix = M>>(&mut self, algebra: &A, grad: &M, decay: f64) {
        for (at, side) in self.sides.iter().enumerate() {
            let gram = algebra.gram(grad, *side);
            algebra.follow(&mut self.state[2 * at], decay, 1.0 - decay, &gram);
            algebra.discard(gram);
        }
    }

    /// The bases become the eigenvectors. One that cannot be computed stays; before the first one it is the unit
    /// matrix.
    pub fn renew<V: Entry, A: Algebra<Matrix = M>>(&mut self, moment: &Moment, algebra: &A) {
        let first = moment.t == 1;
        for pair in self.state.chunks_mut(2) {
            let renewed = algebra.one_on_host::<V>(&pair[0], |gram| {
                moment.noted_or_unit(eigenvectors(gram), first, gram.rows)
            });
            if let Some(renewed) = renewed {
                pair[1] = renewed;
            }
        }
    }
}
