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
    let algebra = TensorAlgebra::default();
    let shape = weight.0.shape();
    let matrix = reshaped(weight, &blocks.whole);
    let matrix = match (blocks.count(), held) {
        (1, _) => {
            let whole = |matrix: &TensorValue| {
                let shape = matrix.0.shape();
                let [.., cols] = shape.as_slice() else {
                    unreachable!("it is a matrix at least")
                };
                let rows = shape.num_elements() / cols;
                reshaped(matrix.clone(), &[1, rows, *cols])
            };
            let mut parts: Vec<TensorValue> = held
                .iter()
                .zip(&*state)
                .map(|(held, whole_state)| match held.extent {
                    Extent::Elements => {
                        reshaped(whole_state.clone(), &[1, blocks.whole[0], blocks.whole[1]])
                    }
                    Extent::Square(_) | Extent::Matrix(_) => whole(whole_state),
                })
                .collect();
            let turned = turn.turn(&algebra, whole(&matrix), &mut parts);
            for (whole, part) in state.iter_mut().zip(parts) {
                let shape = whole.0.shape();
                *whole = TensorValue(Dispatch::float_reshape(part.0, shape));
            }
            turned
        }
        (_, []) => joined(turn.turn(&algebra, split(matrix, blocks), &mut []), blocks),
        (_, held) => one_by_one(matrix, blocks, |at, block, matrix| {
            let places: Vec<Vec<Slice>> = held
                .iter()
                .map(|held| place(held.extent, at, block))
                .collect();
            let cut = |(held, (place, whole)): (&Held, (&Vec<Slice>, &TensorValue))| {
                let part = match held.extent {
                    Extent::Elements => reshaped(whole.clone(), &blocks.whole).0,
                    Extent::Square(_) | Extent::Matrix(_) => whole.0.clone(),
                };
                let part = TensorValue(Dispatch::float_slice(part, place));
                let [rows, cols] = held.extent.size(block);
                reshaped(part, &[1, rows, cols])
            };
            let pairs = places.iter().zip(&*state);
            let mut parts: Vec<TensorValue> = held.iter().zip(pairs).map(cut).collect();
            let turned = turn.turn(&algebra, matrix, &mut parts);
            for (((held, place), whole), part) in
                held.iter().zip(&places).zip(&mut *state).zip(parts)
            {
                let shape = whole.0.shape();
                let [rows, cols] = held.extent.size(block);
                let (into, part) = match held.extent {
                    Extent::Elements => {
                        let into = reshaped(whole.clone(), &blocks.whole);
                        (into.0, reshaped(part, &[rows, cols]).0)
                    }
                    Extent::Square(_) | Extent::Matrix(_) => (whole.0.clone(), part.0),
                };
                let changed = Dispatch::float_slice_assign(into, place, part);
                *whole = TensorValue(Dispatch::float_reshape(changed, shape));
            }
            turned
        }),
    };
    TensorValue(Dispatch::float_reshape(matrix.0, shape))
}

fn reshaped(TensorValue(tensor): TensorValue, shape: &[usize]) -> TensorValue {
    TensorValue(Dispatch::float_reshape(tensor, Shape::from(shape.to_vec())))
}

/// Where the part of a block is in a tensor of the state.
fn place(extent: Extent, at: usize, block: &Block) -> Vec<Slice> {
    match extent {
        Extent::Elements => vec![block.rows.clone().into(), block.cols.clone().into()],
        Extent::Square(_) | Extent::Matrix(_) => {
            let [rows, cols] = extent.size(block);
            vec![(at..at + 1).into(), (0..rows).into(), (0..cols).into()]
        }
    }
}

/// Equal blocks as a stack.
fn split(matrix: TensorValue, blocks: &Blocks) -> TensorValue {
    let ([rows, cols], [down, across]) = (blocks.piece, blocks.counts());
    let cut = reshaped(matrix, &[down, rows, across, cols]);
    let stacked = Dispatch::float_permute(cut.0, &[0, 2, 1, 3]);
    reshaped(TensorValue(stacked), &[down * across, rows, cols])
}

/// The other way round.
fn joined(stack: TensorValue, blocks: &Blocks) -> TensorValue {
    let ([rows, cols], [down, across]) = (blocks.piece, blocks.counts());
    let cut = reshaped(stack, &[down, across, rows, cols]);
    TensorValue(Dispatch::float_permute(cut.0, &[0, 2, 1, 3]))
}

/// Does `work` with each block alone.
fn one_by_one(
    matrix: TensorValue,
    blocks: &Blocks,
    mut work: impl FnMut(usize, &Block, TensorValue) -> TensorValue,
) -> TensorValue {
    let mut whole = matrix.0;
    for (at, block) in blocks.each().enumerate() {
        let place = place(Extent::Elements, at, &block);
        let [rows, cols] = block.size();
        let part = Dispatch::float_slice(whole.clone(), &place);
        let done = work(at, &block, reshaped(TensorValue(part), &[1, rows, cols]));
        whole = Dispatch::float_slice_assign(whole, &place, reshaped(done, &[rows, cols]).0);
    }
    TensorValue(whole)
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

    fn combined(
        &self,
        shift: f64,
        (factor, a): (f64, &TensorValue),
        (other, b): (f64, &TensorValue),
    ) -> TensorValue {
        let sum = a.clone().scale(factor).add_scaled(b, other);
        match shift {
            0.0 => sum,
            shift => sum.add_scaled(self.unit(a), shift),
        }
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
