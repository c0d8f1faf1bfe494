//! Sums of squares that do not overflow, and the factor that clips by them.
//!
//! Large, middle and small elements are added up apart, each in a unit of their own (J. L. Blue, A Portable Fortran
//! Program to Find the Euclidean Norm of a Vector, ACM Transactions on Mathematical Software 4, 1978): so one pass is
//! enough, where a division by the largest element takes two.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::look::place::size;

/// Threads of a cube.
pub(super) const THREADS: usize = 64;

/// Sums of a cube: of large, middle and small elements.
pub(super) const SUMS: usize = 3;

/// Numbers that say of a tensor how many elements it has, how many cubes work on it, which it is, and where its sums
/// are.
pub(super) const SIZES: usize = 4;

/// Where elements are large and where small, and the units of both, as powers of two.
pub(super) const SINGLE: [i32; 4] = [40, -50, 90, -90];
pub(super) const DOUBLE: [i32; 4] = [300, -350, 700, -700];

/// The sums of some cubes over several tensors, and a table of where those of each tensor are.
#[cube(launch, address_type = "dynamic")]
pub(super) fn sums<P: Float, C: Float>(
    tensors: &Sequence<Box<[P]>>,
    sums: &mut [C],
    table: &mut [u32],
    sizes: &Sequence<InputScalar>,
    units: &Sequence<InputScalar>,
    #[define(P, C)] _types: [ElemType; 2],
) {
    let cube = CUBE_POS;
    let thread = UNIT_POS as usize;
    let zero = C::from_int(0);
    let large = RuntimeCell::<C>::new(zero);
    let middle = RuntimeCell::<C>::new(zero);
    let small = RuntimeCell::<C>::new(zero);
    let place = RuntimeCell::<usize>::new(0);
    let first = RuntimeCell::<usize>::new(0);
    #[unroll]
    for tensor in 0..tensors.len() {
        let len = size(sizes, comptime!(SIZES * tensor));
        let cubes = size(sizes, comptime!(SIZES * tensor + 1));
        let from = first.read();
        if cube >= from && cube < from + cubes {
            let begin = size(sizes, comptime!(SIZES * tensor + 3));
            let within = cube - from;
            place.store(begin + within);
            if within == 0 && thread == 0 {
                let row = 2 * size(sizes, comptime!(SIZES * tensor + 2));
                table[row] = begin as u32;
                table[row + 1] = cubes as u32;
            }
            let mut at = within * THREADS + thread;
            while at < len {
                let value = C::cast_from(tensors.index(tensor)[at]).abs();
                let down = value * units.index(3).get::<C>();
                let up = value * units.index(2).get::<C>();
                let is_large = value > units.index(0).get::<C>();
                let is_small = value < units.index(1).get::<C>();
                // A NaN is neither.
                large.store(large.read() + select(is_large, down * down, zero));
                small.store(small.read() + select(is_small, up * up, zero));
                let rest = select(is_large || is_small, zero, value);
                middle.store(middle.read() + rest * rest);
                at += cubes * THREADS;
            }
        }
        first.store(from + cubes);
    }
    let mut shared = Shared::<[C]>::new_slice(comptime!(SUMS * THREADS));
    put::<C>(&mut shared, large.read(), middle.read(), small.read());
    if thread < SUMS {
        sums[place.read() * SUMS + thread] = added::<C>(&shared, thread * THREADS);
    }
}

/// Shows a thread's sums to the others, and waits for theirs.
#[cube]
fn put<C: Float>(shared: &mut Shared<[C]>, large: C, middle: C, small: C) {
    let thread = UNIT_POS as usize;
    shared[thread] = large;
    shared[THREADS + thread] = middle;
    shared[2 * THREADS + thread] = small;
    sync_cube();
}

/// The sum of all threads' numbers.
#[cube]
fn added<C: Float>(shared: &Shared<[C]>, first: usize) -> C {
    let sum = RuntimeCell::<C>::new(C::from_int(0));
    for at in 0..THREADS {
        sum.store(sum.read() + shared[first + at]);
    }
    sum.read()
}

/// Of each tensor, by one cube, a unit and the sum of squares in it.
#[cube(launch, address_type = "dynamic")]
pub(super) fn pairs<C: Float>(
    sums: &[C],
    table: &[u32],
    pairs: &mut [C],
    units: &Sequence<InputScalar>,
    #[define(C)] _type: ElemType,
) {
    let tensor = CUBE_POS;
    let thread = UNIT_POS as usize;
    let begin = table[2 * tensor] as usize;
    let cubes = table[2 * tensor + 1] as usize;
    let zero = C::from_int(0);
    let large = RuntimeCell::<C>::new(zero);
    let middle = RuntimeCell::<C>::new(zero);
    let small = RuntimeCell::<C>::new(zero);
    let mut at = thread;
    while at < cubes {
        let from = (begin + at) * SUMS;
        large.store(large.read() + sums[from]);
        middle.store(middle.read() + sums[from + 1]);
        small.store(small.read() + sums[from + 2]);
        at += THREADS;
    }
    let mut shared = Shared::<[C]>::new_slice(comptime!(SUMS * THREADS));
    put::<C>(&mut shared, large.read(), middle.read(), small.read());
    if thread == 0 {
        let large = added::<C>(&shared, 0);
        let middle = added::<C>(&shared, THREADS);
        let small = added::<C>(&shared, comptime!(2 * THREADS));
        let up = units.index(2).get::<C>();
        let down = units.index(3).get::<C>();
        // What is small beside the largest is lost in it, as it would be in any sum.
        let unit = RuntimeCell::<C>::new(C::from_int(1));
        let sum = RuntimeCell::<C>::new(middle + small * down * down);
        if large > zero {
            unit.store(up);
            sum.store(large + middle * down * down);
        } else if middle == zero {
            unit.store(down);
            sum.store(small);
        }
        pairs[2 * tensor] = unit.read();
        pairs[2 * tensor + 1] = sum.read();
    }
}

/// The root of the factor that brings the norm of all pairs down to a threshold, by one cube.
#[cube(launch, address_type = "dynamic")]
pub(super) fn coefficient<C: Float>(
    pairs: &[C],
    root: &mut [C],
    count: InputScalar,
    threshold: InputScalar,
    largest: InputScalar,
    #[define(C)] _type: ElemType,
) {
    let count = count.get::<u32>() as usize;
    let thread = UNIT_POS as usize;
    let zero = C::from_int(0);
    let mut shared = Shared::<[C]>::new_slice(THREADS);
    let unit = RuntimeCell::<C>::new(zero);
    let mut at = thread;
    while at < count {
        unit.store(larger::<C>(unit.read(), pairs[2 * at]));
        at += THREADS;
    }
    shared[thread] = unit.read();
    sync_cube();
    for at in 0..THREADS {
        unit.store(larger::<C>(unit.read(), shared[at]));
    }
    let unit = unit.read();
    sync_cube();
    let sum = RuntimeCell::<C>::new(zero);
    let mut at = thread;
    while at < count {
        let share = pairs[2 * at] / unit;
        sum.store(sum.read() + share * share * pairs[2 * at + 1]);
        at += THREADS;
    }
    shared[thread] = sum.read();
    sync_cube();
    if thread == 0 {
        let one = C::from_int(1);
        let norm = added::<C>(&shared, 0).sqrt();
        let found = (threshold.get::<C>() / norm).sqrt() / unit.sqrt();
        // A norm that is not finite would wipe out what is.
        let is_finite = norm <= largest.get::<C>();
        root[0] = select(is_finite && found < one, found, one);
    }
}

#[cube]
fn larger<C: Float>(a: C, b: C) -> C {
    select(b > a, b, a)
}
