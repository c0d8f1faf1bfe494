//! Looks over rows and columns of any dimensions, against the same by hand.

use downhill_optim::rule::{
    Clock, Field, Fold, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value,
    over,
};
use downhill_optim::{Program, Trajectory};

/// Moves an element by what is known of its row, of its column and of all: `row + 10·col + 100·whole`.
#[derive(Clone)]
struct Told<const MAX: bool>(Frame);

impl<const MAX: bool> Numbers for Told<MAX> {}

impl<const MAX: bool> Look for Told<MAX> {
    type State<V: Value> = [V; 0];
    type Kept<V: Value> = [V; 3];
    type Sums<V: Value> = [V; 3];
    type Known<V: Value> = [V; 3];
    type Coefs = ();
    const KEPT: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols, Over::Whole]);
    const KNOWN: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols, Over::Whole]);

    fn frame(&self, _: &[usize]) -> Frame {
        self.0.clone()
    }

    fn over(_: usize) -> [Over; MAX_SUMS] {
        over([Over::Rows, Over::Cols, Over::Whole])
    }

    fn fold(_: usize) -> Fold {
        if MAX { Fold::Max } else { Fold::Sum }
    }

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn kept(&self) -> Vec<Slot> {
        ["rows", "cols", "whole"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<()> {
        Step::new(clock.lr, ())
    }

    fn terms<const LOOK: usize, V: Value>(
        (): &(),
        _: &[V; 3],
        _: &V,
        grad: V,
        _: [V; 0],
    ) -> [V; 3] {
        [grad.clone(), grad.clone().scale(2.0), grad.scale(3.0)]
    }

    fn settle<const LOOK: usize, V: Field>(
        (): &(),
        [row, col, whole]: [V; 3],
        size: &Size,
        _: [V; 3],
        kept: [V; 3],
    ) -> ([V; 3], [V; 3]) {
        let [kept_row, kept_col, kept_whole] = kept;
        // The sizes of all three show in the numbers.
        let row = kept_row + row.scale(size.row);
        let col = kept_col + col.scale(size.col);
        let whole = kept_whole + whole.scale(size.whole);
        let known = [row.clone(), col.clone(), whole.clone()];
        (known, [row, col, whole])
    }

    fn direction<V: Value>(
        (): &(),
        [row, col, whole]: &[V; 3],
        _: &V,
        _: V,
        state: [V; 0],
    ) -> (V, [V; 0]) {
        let told = row.clone() + col.clone().scale(10.0) + whole.clone().scale(100.0);
        (told, state)
    }
}

/// The same step with indices.
fn by_hand(frame: &Frame, shape: &[usize], grad: &[f64], max: bool) -> Vec<f64> {
    let place = |mut at: usize| {
        let mut place = vec![0; shape.len()];
        for dim in (0..shape.len()).rev() {
            place[dim] = at % shape[dim];
            at /= shape[dim];
        }
        place
    };
    let same = |a: &[usize], b: &[usize], without: &[usize]| {
        (0..shape.len()).all(|dim| without.contains(&dim) || a[dim] == b[dim])
    };
    let folded = |at: usize, without: &[usize]| {
        let others = (0..grad.len()).filter(|other| same(&place(at), &place(*other), without));
        let values = others.map(|other| grad[other]);
        match max {
            true => values.fold(0.0, f64::max),
            false => values.sum(),
        }
    };
    let count = |dims: &[usize]| dims.iter().map(|dim| shape[*dim]).product::<usize>() as f64;
    let all: Vec<usize> = (0..shape.len()).collect();
    let moved = (0..grad.len()).map(|at| {
        let row = folded(at, &frame.cols) * count(&frame.cols);
        let col = 2.0 * folded(at, &frame.rows) * count(&frame.rows);
        let whole = 3.0 * folded(at, &all) * grad.len() as f64;
        -(row + 10.0 * col + 100.0 * whole)
    });
    moved.collect()
}

#[test]
fn rows_and_columns_are_those_of_the_frame() {
    let shape = [3, 2, 5, 19];
    let len: usize = shape.iter().product();
    let grad: Vec<f64> = (0..len).map(|i| ((i * 37) % 101) as f64 / 8.0).collect();
    let frames: [(&[usize], &[usize]); 6] = [
        (&[2], &[3]),
        (&[0], &[1, 2, 3]),
        (&[0, 1, 2], &[3]),
        (&[3], &[0]),
        (&[1], &[2]),
        (&[3, 0], &[2, 1]),
    ];
    for (rows, cols) in frames {
        let frame = Frame {
            rows: rows.to_vec(),
            cols: cols.to_vec(),
        };
        for max in [false, true] {
            let program = match max {
                true => Program::looking(Told::<true>(frame.clone())),
                false => Program::looking(Told::<false>(frame.clone())),
            };
            let mut trajectory = Trajectory::new(program, &shape);
            let mut param = vec![0.0; len];
            trajectory.step(1.0, &mut param, &grad);
            assert_eq!(
                param,
                by_hand(&frame, &shape, &grad, max),
                "{frame:?}, max: {max}"
            );
            // The state of rows, columns and all takes part in the next step.
            let first = param.clone();
            trajectory.step(1.0, &mut param, &grad);
            let second: Vec<f64> = first.iter().map(|x| 3.0 * x).collect();
            assert_eq!(param, second, "{frame:?}, max: {max}");
        }
    }
}
