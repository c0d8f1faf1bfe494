//! A rule's step in tensor operations, on every backend.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Scalar, Shape, TensorMetadata};
use downhill_rule::{Clock, Fold, Frame, Look, Over, Rule, Size, Slots, Step};

use super::algebra;
use super::value::TensorValue;
use crate::matrix::{Blocks, Held, Turn};
use crate::pass;
use crate::program::{ByShape, Elementwise, Engine, Looking, NO_MODEL};
use crate::wrapped::{Around, Field, Stage, Wrapped};

/// What an erased rule does with tensors.
pub(crate) trait OnTensors {
    /// One step in the precision of the state.
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue;

    /// The parameter to evaluate, if it is another than the one that is trained.
    fn evaluated(&self, _param: TensorValue, _state: &[DispatchTensor]) -> Option<TensorValue> {
        None
    }
}

/// Slots from their tensors, of which there are as many.
fn gather<S: Slots<TensorValue>>(mut tensors: impl Iterator<Item = TensorValue>) -> S {
    S::gather(&mut || tensors.next().expect("one tensor per slot"))
}

/// One step, and the state after it.
pub(super) fn advanced<R: Rule>(
    step: &Step<R::Coefs>,
    param: TensorValue,
    grad: TensorValue,
    slots: &[TensorValue],
) -> (TensorValue, Vec<TensorValue>) {
    let (param, slots) = R::advance(step, param, grad, gather(slots.iter().cloned()));
    let mut state = Vec::new();
    slots.scatter(&mut |slot: TensorValue| state.push(slot));
    (param, state)
}

impl<R: Rule> OnTensors for Elementwise<R> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let step = self.prepare(clock);
        let slots = gather(core::mem::take(state).into_iter().map(TensorValue));
        let (param, slots) = R::go(&step, param, grad, slots);
        slots.scatter(&mut |slot: TensorValue| state.push(slot.0));
        param
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        self.0.has_evaluated().then(|| {
            let slots = gather(state.iter().cloned().map(TensorValue));
            self.0.evaluated(param, slots)
        })
    }
}

impl<R: Look> OnTensors for Looking<R> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let shape = shape.as_slice();
        let of_model = self.is_of_model().then(|| clock.known.expect(NO_MODEL));
        let step = self.prepare(clock, shape);
        let grid = R::FRAMED.then(|| InGrid::new(self.0.frame(shape), shape));
        let into = |value: TensorValue, over| match &grid {
            Some(grid) => grid.into(value, over),
            None => value,
        };
        let mut slots = core::mem::take(state).into_iter().map(TensorValue);
        let before: Vec<TensorValue> = match of_model {
            Some(_) => Vec::new(),
            None => {
                let kept = <R::Kept<TensorValue> as Slots<TensorValue>>::LEN;
                let kept = slots.by_ref().take(kept).zip(R::KEPT);
                kept.map(|(slot, over)| into(slot, Some(over))).collect()
            }
        };
        let observed = Observed::<R> {
            step: &step,
            size: grid
                .as_ref()
                .map_or_else(|| Size::flat(shape), |grid| grid.size),
            state: slots.map(|slot| into(slot, None)).collect(),
            param: into(param, None),
            grad: into(grad, None),
        };
        if let Some(known) = of_model {
            let known = pass::gather(|at| observed.number(known[at]));
            let (param, own) = observed.moved(&known);
            own.scatter(&mut |slot: TensorValue| state.push(slot.0));
            return param;
        }
        let mut known = pass::gather(|at| match before.get(at) {
            Some(kept) if R::KNOWN[at] == R::KEPT[at] => kept.clone(),
            // It means nothing.
            _ => observed.grad.clone(),
        });
        let mut kept = gather(before.into_iter());
        if const { R::LOOKS > 0 } {
            (known, kept) = observed.look::<0>(known, kept);
        }
        if const { R::LOOKS > 1 } {
            (known, kept) = observed.look::<1>(known, kept);
        }
        if const { R::LOOKS > 2 } {
            (known, kept) = observed.look::<2>(known, kept);
        }
        let (param, own) = observed.moved(&known);
        let from = |value: TensorValue, over| match &grid {
            Some(grid) => grid.out_of(value, over),
            None => value,
        };
        let mut overs = R::KEPT.into_iter();
        kept.scatter(&mut |slot: TensorValue| state.push(from(slot, overs.next()).0));
        own.scatter(&mut |slot: TensorValue| state.push(from(slot, None).0));
        from(param, None)
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        self.0.has_evaluated().then(|| {
            let own = <R::State<TensorValue> as Slots<TensorValue>>::LEN;
            let slots = gather(state[state.len() - own..].iter().cloned().map(TensorValue));
            self.0.evaluated(param, slots)
        })
    }
}

/// What a rule that looks at the whole model does with tensors.
pub(crate) trait LooksAtTensors {
    /// What one tensor adds to the sums, each as a tensor of one element.
    fn look_at_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &[DispatchTensor],
    ) -> Vec<TensorValue>;
}

impl<R: Look> LooksAtTensors for Looking<R> {
    fn look_at_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &[DispatchTensor],
    ) -> Vec<TensorValue> {
        let kept = clock.known.unwrap_or_default();
        let shape = param.0.shape();
        let observed = Observed::<R> {
            step: &self.prepare(clock, shape.as_slice()),
            size: Size::flat(shape.as_slice()),
            state: state.iter().cloned().map(TensorValue).collect(),
            param,
            grad,
        };
        let known = pass::gather(|at| observed.number(kept.get(at).copied().unwrap_or_default()));
        observed.sums::<0>(&known)
    }
}

/// Tensors laid out as matrices of rows and columns, in three dimensions.
struct InGrid {
    frame: Frame,
    shape: Vec<usize>,
    axes: Vec<usize>,
    size: Size,
}

impl InGrid {
    fn new(frame: Frame, shape: &[usize]) -> Self {
        Self {
            size: frame.size(shape),
            shape: shape.to_vec(),
            axes: frame.axes(shape.len()),
            frame,
        }
    }

    /// The shape in the order of the axes, of the elements or of what there is one number of.
    fn ordered(&self, over: Option<Over>) -> Vec<usize> {
        let kept = over.map(|over| self.frame.kept(&self.shape, over));
        let shape = kept.as_ref().unwrap_or(&self.shape);
        self.axes.iter().map(|&dim| shape[dim]).collect()
    }

    fn into(&self, TensorValue(mut tensor): TensorValue, over: Option<Over>) -> TensorValue {
        if !self.axes.is_sorted() {
            tensor = Dispatch::float_permute(tensor, &self.axes);
        }
        let ordered = self.ordered(over);
        let (rest, cols) = ordered.split_at(ordered.len() - self.frame.cols.len());
        let (matrices, rows) = rest.split_at(rest.len() - self.frame.rows.len());
        let grid = [matrices, rows, cols].map(|dims| dims.iter().product::<usize>());
        TensorValue(Dispatch::float_reshape(tensor, Shape::from(grid)))
    }

    fn out_of(&self, TensorValue(tensor): TensorValue, over: Option<Over>) -> TensorValue {
        let tensor = Dispatch::float_reshape(tensor, Shape::from(self.ordered(over)));
        if self.axes.is_sorted() {
            return TensorValue(tensor);
        }
        let mut back = vec![0; self.axes.len()];
        for (at, &dim) in self.axes.iter().enumerate() {
            back[dim] = at;
        }
        TensorValue(Dispatch::float_permute(tensor, &back))
    }
}

/// What a rule looks at.
struct Observed<'a, R: Look> {
    step: &'a Step<R::Coefs>,
    size: Size,
    param: TensorValue,
    grad: TensorValue,
    state: Vec<TensorValue>,
}

impl<R: Look> Observed<'_, R> {
    fn moved(self, known: &R::Known<TensorValue>) -> (TensorValue, R::State<TensorValue>) {
        let state = gather(self.state.into_iter());
        match self.step.cautious {
            0.0 => R::advance::<false, _>(self.step, known, self.param, self.grad, state),
            _ => R::advance::<true, _>(self.step, known, self.param, self.grad, state),
        }
    }

    /// A number, that broadcasts against the parameter.
    fn number(&self, number: f64) -> TensorValue {
        let grad = &self.grad.0;
        let shape = Shape::from(vec![1; grad.shape().num_dims()]);
        let (device, dtype) = (grad.device(), grad.dtype());
        TensorValue(Dispatch::float_full(
            shape,
            Scalar::Float(number),
            &device,
            dtype.into(),
        ))
    }

    /// The sums of a look.
    fn sums<const LOOK: usize>(&self, known: &R::Known<TensorValue>) -> Vec<TensorValue> {
        let (param, grad) = (self.param.clone(), self.grad.clone());
        let state = gather(self.state.iter().cloned());
        let terms = R::glance::<LOOK, true, _>(self.step, known, param, grad, state);
        let mut folded: Vec<TensorValue> = Vec::new();
        let over = R::over(LOOK);
        terms.scatter(&mut |term: TensorValue| {
            let at = folded.len();
            if at >= R::sums(LOOK) {
                // It means nothing.
                return folded.push(folded[0].clone());
            }
            folded.push(match (over[at], R::fold(LOOK)) {
                (Over::Whole, Fold::Sum) => term.sum(),
                (Over::Whole, Fold::Max) => term.max(),
                (Over::Rows, Fold::Sum) => term.sum_dim(2),
                (Over::Rows, Fold::Max) => term.max_dim(2),
                (Over::Cols, Fold::Sum) => term.sum_dim(1),
                (Over::Cols, Fold::Max) => term.max_dim(1),
            });
        });
        folded
    }

    fn look<const LOOK: usize>(
        &self,
        known: R::Known<TensorValue>,
        kept: R::Kept<TensorValue>,
    ) -> (R::Known<TensorValue>, R::Kept<TensorValue>) {
        let sums = gather(self.sums::<LOOK>(&known).into_iter());
        R::settle::<LOOK, _>(&self.step.coefs, sums, &self.size, known, kept)
    }
}

impl OnTensors for ByShape {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let engine = self.of(clock, shape.as_slice());
        engine.step_tensors(clock, param, grad, state)
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        let shape = param.0.shape();
        self.engine(shape.as_slice()).evaluated(param, state)
    }
}

impl<W: Around> OnTensors for Wrapped<W> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let own = state.split_off(self.inner.0.slots(shape.as_slice()).len());
        let (inner, mut own_clock) = self.clocks(clock, shape.as_slice());
        let mut stage = InTensors {
            inner: &*self.inner.0,
            clock: inner,
            param: Some(param),
            grad,
            slots: state,
            own: own.into_iter().map(TensorValue).collect(),
            before: self.wrapper.slots().len(),
        };
        self.wrapper.step(&mut own_clock, &mut stage);
        let (param, own) = (stage.param.take(), stage.own);
        state.extend(own.into_iter().map(|tensor| tensor.0));
        param.expect("put back after each piece")
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        let shape = param.0.shape();
        let (inner, own) = state.split_at(self.inner.0.slots(shape.as_slice()).len());
        let own: Vec<TensorValue> = own.iter().cloned().map(TensorValue).collect();
        let evaluated = self.wrapper.evaluated(&param, &own);
        evaluated.or_else(|| self.inner.0.evaluated(param, inner))
    }
}

struct InTensors<'a> {
    inner: &'a dyn Engine,
    clock: Clock<'a>,
    /// Out of it while a piece works on it.
    param: Option<TensorValue>,
    grad: TensorValue,
    slots: &'a mut Vec<DispatchTensor>,
    own: Vec<TensorValue>,
    /// How many of its own are of elements: those of matrices come after them.
    before: usize,
}

impl InTensors<'_> {
    fn take(&mut self, on: Field) -> TensorValue {
        match on {
            Field::Own => self.own.remove(0),
            Field::Grad => self.grad.clone(),
            Field::Param => self.param.take().expect("put back after each piece"),
        }
    }

    fn put(&mut self, on: Field, value: TensorValue) {
        match on {
            Field::Own => self.own.insert(0, value),
            Field::Grad => {
                self.grad = value;
                self.clock.grad_scale = 1.0;
            }
            Field::Param => self.param = Some(value),
        }
    }
}

impl Stage for InTensors<'_> {
    fn pass<R: Rule>(&mut self, step: &Step<R::Coefs>, on: Field) {
        let field = self.take(on);
        let (field, state) = advanced::<R>(step, field, self.grad.clone(), &self.own);
        self.own.splice(..state.len(), state);
        self.put(on, field);
    }

    fn direct<R: Rule>(&mut self, step: &Step<R::Coefs>) {
        let param = self.param.clone().expect("put back after each piece");
        let (direction, state) = advanced::<R>(step, param, self.grad.clone(), &self.own);
        self.own.splice(..state.len(), state);
        self.put(Field::Grad, direction);
    }

    fn turn(&mut self, blocks: &Blocks, held: &[Held], turn: &impl Turn) {
        let state = &mut self.own[self.before..];
        let turned = algebra::turned(self.grad.clone(), blocks, turn, held, state);
        self.put(Field::Grad, turned);
    }

    fn filter(&mut self, rule: impl Look) {
        let param = self.param.clone().expect("put back after each piece");
        let mut clock = Clock::new(0.0, 1, &mut []);
        let grad = self.grad.clone();
        let filtered = Looking(rule).step_tensors(&mut clock, grad, param, &mut Vec::new());
        self.put(Field::Grad, filtered);
    }

    fn slow(&mut self, factor: f64) {
        self.clock.lr *= factor;
    }

    fn shape(&self) -> Vec<usize> {
        self.grad.0.shape().as_slice().to_vec()
    }

    fn inner(&mut self, on: Field) {
        let param = self.take(on);
        let grad = self.grad.clone();
        let param = (self.inner).step_tensors(&mut self.clock, param, grad, self.slots);
        self.put(on, param);
    }
}
