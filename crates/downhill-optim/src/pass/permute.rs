//! Dimensions in another order.

/// For each element in the order of the permuted axes, its place in row-major order.
fn places(shape: &[usize], axes: &[usize]) -> impl Iterator<Item = usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    let axes: Vec<(usize, usize)> = axes.iter().map(|&dim| (shape[dim], strides[dim])).collect();
    let len = shape.iter().product();
    (0..len).map(move |mut index| {
        let mut place = 0;
        for &(size, stride) in axes.iter().rev() {
            place += index % size * stride;
            index /= size;
        }
        place
    })
}

/// The values in the order of the permuted axes.
pub(super) fn permuted<V: Copy>(values: &[V], shape: &[usize], axes: &[usize]) -> Vec<V> {
    places(shape, axes).map(|place| values[place]).collect()
}

/// Puts values from the order of the permuted axes back into row-major order.
pub(super) fn restore<V: Copy>(from: &[V], to: &mut [V], shape: &[usize], axes: &[usize]) {
    for (value, place) in from.iter().zip(places(shape, axes)) {
        to[place] = *value;
    }
}
