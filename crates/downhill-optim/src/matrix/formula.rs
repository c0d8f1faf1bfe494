//! What is computed of every element of matrices, one by one.

use core::marker::PhantomData;

use downhill_rule::{Clock, Numbers, Rule, Slot, Slots, Step, Value};

use super::Algebra;

/// A formula for every element of two matrices and of some state.
pub(crate) trait Formula: Clone + Send + Sync + 'static {
    type State<V: Value>: Slots<V>;
    type Coefs: Copy + Send + Sync;

    /// The result, and the new state.
    fn result<V: Value>(
        coefs: &Self::Coefs,
        first: &V,
        second: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>);
}

/// The results of a formula in the place of the first matrix.
pub(crate) fn computed<F: Formula, A: Algebra>(
    algebra: &A,
    coefs: F::Coefs,
    first: A::Matrix,
    second: &A::Matrix,
    state: &mut [A::Matrix],
) -> A::Matrix {
    algebra.pass::<Of<F>>(&Step::new(1.0, coefs), first, second, state)
}

/// A formula as a rule, of which the parameter becomes the result. Its step comes from elsewhere.
#[derive(Clone)]
pub(crate) struct Of<F>(PhantomData<F>);

impl<F> Numbers for Of<F> {}

impl<F: Formula> Rule for Of<F> {
    type State<V: Value> = F::State<V>;
    type Coefs = F::Coefs;

    fn slots(&self) -> Vec<Slot> {
        unreachable!("whoever has a formula has its state")
    }

    fn prepare(&self, _: &mut Clock) -> Step<F::Coefs> {
        unreachable!("whoever has a formula has its step")
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &F::Coefs,
        param: &V,
        grad: V,
        state: F::State<V>,
    ) -> (V, F::State<V>) {
        F::result(coefs, param, grad, state)
    }

    #[inline(always)]
    fn land<V: Value>(_: &Step<F::Coefs>, _: V, result: V, state: F::State<V>) -> (V, F::State<V>) {
        (result, state)
    }
}
