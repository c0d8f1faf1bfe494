//! Where things are: elements, and what there is one of for each row or column.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use downhill_rule::Over;

#[cube]
pub(in crate::tensors::cube) fn size(
    sizes: &Sequence<InputScalar>,
    #[comptime] at: usize,
) -> usize {
    sizes.index(at).get::<u32>() as usize
}

/// Where one of the numbers of this kind is.
#[cube]
pub(super) fn place(
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] over: Over,
) -> usize {
    let mut at = 0usize.runtime();
    if comptime!(over == Over::Rows) {
        at = matrix * size(sizes, 1usize) + row;
    }
    if comptime!(over == Over::Cols) {
        at = matrix * size(sizes, 2usize) + col;
    }
    at
}

/// Where an element is.
#[cube]
pub(super) fn element(
    sizes: &Sequence<InputScalar>,
    matrix: usize,
    row: usize,
    col: usize,
    #[comptime] transposed: bool,
) -> usize {
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let mut at = row * cols + col;
    if comptime!(transposed) {
        at = col * rows + row;
    }
    matrix * rows * cols + at
}

/// Matrix, row and column of an element.
#[cube]
pub(super) fn whereabouts(
    sizes: &Sequence<InputScalar>,
    at: usize,
    #[comptime] transposed: bool,
) -> (usize, usize, usize) {
    let rows = size(sizes, 1usize);
    let cols = size(sizes, 2usize);
    let matrix = at / (rows * cols);
    let within = at % (rows * cols);
    let mut row = within / cols;
    let mut col = within % cols;
    if comptime!(transposed) {
        row = within % rows;
        col = within / rows;
    }
    (matrix, row, col)
}

/// Matrix, row and column of an element of a sum: of one of all rows or all columns, or of the sum over all.
#[cube]
pub(super) fn of_sum(
    sizes: &Sequence<InputScalar>,
    which: usize,
    at: usize,
    #[comptime] over: Over,
    #[comptime] transposed: bool,
) -> (usize, usize, usize) {
    if comptime!(over == Over::Rows) {
        let rows = size(sizes, 1usize);
        (which / rows, which % rows, at)
    } else if comptime!(over == Over::Cols) {
        let cols = size(sizes, 2usize);
        (which / cols, at, which % cols)
    } else {
        whereabouts(sizes, at, transposed)
    }
}
