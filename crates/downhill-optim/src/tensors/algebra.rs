//! Matrices as tensors: stacks of them, and everything is done with a whole stack at once.

use core::cell::OnceCell;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchDevice, DispatchTensor, Shape, TensorMetadata, read_sync};
use burn::tensor::{Device, FloatDType, Slice, Tensor, TensorData};
use downhill_rule::{Rule, Step, Value};

use super::value::TensorValue;
use crate::matrix::{Algebra, Block, Blocks, Dense, Draw, Entry, Extent, Held, Side, Turn};

/// The matrices of a weight, each turned with its part of the state.
pub(super) fn turned(
    weight: TensorValue,
    blocks: &Blocks,
    turn: &impl Turn,
    held: &[Held],
    state: &mut [TensorValue],
) -> TensorValue {
    let shape = weight.0.shape();
    if held.is_empty() {
        let stack = split(weight, blocks);
        let turned = turn.turn(&TensorAlgebra::default(), stack, &mut []);
        return reshaped(joined(turned, blocks), shape.as_slice());
    }
    let mut whole = weight;
    for (at, block) in blocks.each().enumerate() {
        let place = |extent| Place {
            extent,
            blocks,
            at,
            block: &block,
        };
        let parts = held.iter().zip(&*state);
        let mut parts: Vec<TensorValue> = parts
            .map(|(held, whole)| place(held.extent).cut(whole))
            .collect();
        let matrix = place(Extent::Elements).cut(&whole);
        let turned = turn.turn(&TensorAlgebra::default(), matrix, &mut parts);
        whole = place(Extent::Elements).put(whole, turned);
        for ((held, whole), part) in held.iter().zip(&mut *state).zip(parts) {
            *whole = place(held.extent).put(whole.clone(), part);
        }
    }
    reshaped(whole, shape.as_slice())
}

fn reshaped(TensorValue(tensor): TensorValue, shape: &[usize]) -> TensorValue {
    TensorValue(Dispatch::float_reshape(tensor, Shape::from(shape.to_vec())))
}

/// Equal blocks as a stack.
fn split(weight: TensorValue, blocks: &Blocks) -> TensorValue {
    let ([rows, cols], [down, across]) = (blocks.piece, blocks.counts());
    let cut = reshaped(weight, &[down, rows, across, cols]);
    let stacked = match blocks.count() {
        1 => cut,
        _ => TensorValue(Dispatch::float_permute(cut.0, &[0, 2, 1, 3])),
    };
    reshaped(stacked, &[down * across, rows, cols])
}

/// The other way round.
fn joined(stack: TensorValue, blocks: &Blocks) -> TensorValue {
    let ([rows, cols], [down, across]) = (blocks.piece, blocks.counts());
    match blocks.count() {
        1 => stack,
        _ => {
            let cut = reshaped(stack, &[down, across, rows, cols]);
            TensorValue(Dispatch::float_permute(cut.0, &[0, 2, 1, 3]))
        }
    }
}

/// Where the part of a block is in a weight or in a tensor of the state.
struct Place<'a> {
    extent: Extent,
    blocks: &'a Blocks,
    at: usize,
    block: &'a Block,
}

impl Place<'_> {
    /// The tensor as it is sliced, and where; none where it is all of one block.
    fn slices(&self) -> Option<(Vec<usize>, Vec<Slice>)> {
        let count = self.blocks.count();
        if count == 1 {
            return None;
        }
        Some(match self.extent {
            Extent::Elements => {
                let (rows, cols) = (self.block.rows.clone(), self.block.cols.clone());
                (self.blocks.whole.to_vec(), vec![rows.into(), cols.into()])
            }
            Extent::Square(side) => {
                let len = self.blocks.piece[side as usize];
                let [rows, cols] = self.extent.size(self.block);
                let own = self.at..self.at + 1;
                let slices = vec![own.into(), (0..rows).into(), (0..cols).into()];
                (vec![count, len, len], slices)
            }
            Extent::Matrix(_) => unreachable!("of a weight that is one block"),
        })
    }

    /// The part, as a stack of one.
    fn cut(&self, whole: &TensorValue) -> TensorValue {
        let [rows, cols] = self.extent.size(self.block);
        let part = match self.slices() {
            None => whole.clone(),
            Some((shape, slices)) => {
                let whole = reshaped(whole.clone(), &shape);
                TensorValue(Dispatch::float_slice(whole.0, &slices))
            }
        };
        reshaped(part, &[1, rows, cols])
    }

    /// The whole with another part.
    fn put(&self, whole: TensorValue, part: TensorValue) -> TensorValue {
        let before = whole.0.shape();
        let changed = match self.slices() {
            None => part,
            Some((shape, slices)) => {
                let [rows, cols] = self.extent.size(self.block);
                let part = match shape.len() {
                    2 => reshaped(part, &[rows, cols]),
                    _ => part,
                };
                let whole = reshaped(whole, &shape);
                TensorValue(Dispatch::float_slice_assign(whole.0, &slices, part.0))
            }
        };
        reshaped(changed, before.as_slice())
    }
}

/// The products of stacked matrices.
#[derive(Default)]
struct TensorAlgebra {
    /// As large as what is square in one turn.
    unit: OnceCell<TensorValue>,
}

impl TensorAlgebra {
    /// The unit matrix, as large as another one and beside it.
    fn unit(&self, like: &TensorValue) -> &TensorValue {
        self.unit.get_or_init(|| {
            let n = like.0.shape()[2];
            let unit = Tensor::<2>::eye(n, &Device::new(like.0.device())).into_dispatch();
            let unit = Dispatch::float_cast(unit, like.0.dtype().into());
            reshaped(TensorValue(unit), &[1, n, n])
        })
    }
}

fn transposed(TensorValue(a): &TensorValue) -> TensorValue {
    TensorValue(Dispatch::float_swap_dims(a.clone(), 1, 2))
}

fn product(a: TensorValue, b: TensorValue) -> TensorValue {
    TensorValue(Dispatch::float_matmul(a.0, b.0))
}

/// The root of the sum of squares over some dimensions, which does not overflow: by the largest first.
fn length(a: &TensorValue, dims: &[usize]) -> TensorValue {
    let over = |value: TensorValue, reduce: fn(TensorValue, usize) -> TensorValue| {
        dims.iter().fold(value, |value, &dim| reduce(value, dim))
    };
    let largest = over(a.clone().abs(), TensorValue::max_dim).clamp_min(1e-30);
    let squares = (a.clone() / largest.clone()).square();
    over(squares, TensorValue::sum_dim).sqrt() * largest
}

/// The Frobenius norm of each.
fn norm(a: &TensorValue) -> TensorValue {
    length(a, &[2, 1])
}

impl Algebra for TensorAlgebra {
    type Matrix = TensorValue;

    fn size(&self, matrix: &TensorValue) -> [usize; 2] {
        let shape = matrix.0.shape();
        [shape[1], shape[2]]
    }

    fn product(&self, a: &TensorValue, b: &TensorValue) -> TensorValue {
        product(a.clone(), b.clone())
    }

    fn transposed_product(&self, a: &TensorValue, b: &TensorValue) -> TensorValue {
        product(transposed(a), b.clone())
    }

    fn product_transposed(&self, a: &TensorValue, b: &TensorValue) -> TensorValue {
        product(a.clone(), transposed(b))
    }

    fn transposed(&self, a: TensorValue) -> TensorValue {
        transposed(&a)
    }

    fn gram(&self, a: &TensorValue, side: Side) -> TensorValue {
        match side {
            Side::Rows => self.product_transposed(a, a),
            Side::Cols => self.transposed_product(a, a),
        }
    }

    fn symmetric(&self, a: &TensorValue, b: &TensorValue) -> TensorValue {
        self.product(a, b)
    }

    fn polynomial(&self, x: &TensorValue, [a, b, c]: [f64; 3]) -> TensorValue {
        let sum = x.clone().scale(b).add_scaled(&self.symmetric(x, x), c);
        match a {
            0.0 => sum,
            a => sum.add_scaled(self.unit(x), a),
        }
    }

    fn follow(&self, mean: &mut TensorValue, decay: f64, share: f64, new: &TensorValue) {
        *mean = mean.clone().scale(decay).add_scaled(new, share);
    }

    fn added(&self, a: TensorValue, factor: f64, b: &TensorValue) -> TensorValue {
        a.add_scaled(b, factor)
    }

    fn normalized(&self, a: TensorValue, safety: f64, floor: f64) -> TensorValue {
        let norm = norm(&a).scale(safety).clamp_min(floor);
        a / norm
    }

    fn as_long_as(&self, a: TensorValue, b: &TensorValue, epsilon: f64) -> TensorValue {
        let factor = norm(b) / norm(&a).offset(epsilon);
        a * factor
    }

    fn scaled(&self, a: TensorValue, factor: f64) -> TensorValue {
        a.scale(factor)
    }

    fn rounded(&self, a: TensorValue) -> TensorValue {
        let dtype = a.0.dtype();
        let rounded = Dispatch::float_cast(a.0, FloatDType::BF16);
        TensorValue(Dispatch::float_cast(rounded, dtype.into()))
    }

    fn zeros(&self, [rows, cols]: [usize; 2], beside: &TensorValue) -> TensorValue {
        let (device, dtype) = (beside.0.device(), beside.0.dtype());
        let shape = Shape::from([1, rows, cols]);
        TensorValue(Dispatch::float_zeros(shape, &device, dtype.into()))
    }

    fn random(&self, draw: Draw, beside: &TensorValue) -> TensorValue {
        let numbers: Vec<f64> = draw.numbers().collect();
        let data = TensorData::new(numbers, [1, draw.rows, draw.cols]);
        on_device(data.convert_dtype(beside.0.dtype()), &beside.0.device())
    }

    fn lengths(&self, a: &TensorValue, of: Option<Side>) -> TensorValue {
        let dims: &[usize] = match of {
            None => &[2, 1],
            Some(Side::Rows) => &[2],
            Some(Side::Cols) => &[1],
        };
        length(a, dims)
    }

    fn stretched(&self, a: TensorValue, factors: &TensorValue) -> TensorValue {
        a * factors.clone()
    }

    fn pass<R: Rule>(
        &self,
        step: &Step<R::Coefs>,
        param: TensorValue,
        grad: &TensorValue,
        slots: &mut [TensorValue],
    ) -> TensorValue {
        let (param, state) = super::engine::advanced::<R>(step, param, grad.clone(), slots);
        for (slot, value) in slots.iter_mut().zip(state) {
            *slot = value;
        }
        param
    }

    fn on_host<V: Entry>(
        &self,
        matrices: &[&TensorValue],
        work: impl FnOnce(Vec<Dense<V>>) -> Option<Vec<Dense<V>>>,
    ) -> Option<Vec<TensorValue>> {
        let beside = &matrices.first()?.0;
        let (device, dtype) = (beside.device(), beside.dtype());
        let read = |matrix: &&TensorValue| {
            let [rows, cols] = self.size(matrix);
            let values = numbers(matrix.0.clone()).into_iter().map(V::from_f64);
            Dense {
                values: values.collect(),
                rows,
                cols,
            }
        };
        let found = work(matrices.iter().map(read).collect())?;
        let put = |matrix: Dense<V>| {
            let values: Vec<f64> = matrix.values.iter().map(|value| value.to_f64()).collect();
            let data = TensorData::new(values, [1, matrix.rows, matrix.cols]);
            on_device(data.convert_dtype(dtype), &device)
        };
        Some(found.into_iter().map(put).collect())
    }
}

fn numbers(tensor: DispatchTensor) -> Vec<f64> {
    let data = read_sync(Dispatch::float_into_data(tensor));
    let data = data.expect("reading a tensor back fails only when its device is lost");
    data.iter().collect()
}

fn on_device(data: TensorData, device: &DispatchDevice) -> TensorValue {
    TensorValue(Dispatch::float_from_data(data, device))
}
