use crate::{Clock, Field, Look, Numbers, Rule, Scalar, Size, Slot, Step, Value};

/// [`Cautious`](crate::Cautious), whose survivors go farther by as much as there are fewer of them.
///
/// ```text
/// mask = [u·g > 0]
/// u ← u · mask/max(mean of mask, 0.001)
/// ```
///
/// The mean is that of the tensor. Where a rule's direction always agrees with the gradient, as without a memory of
/// past ones, it changes nothing. Decay beside the rule is not masked.
///
/// Source: Liang et al., arXiv 2411.16085, with the scaling of the authors' later code and of timm; the paper's is
/// `n/(count + 1)`.
///
/// ```
/// use downhill_rule::{Descent, HeavyBall, Look, Masked};
///
/// let momentum = Masked(HeavyBall { rule: Descent, momentum: 0.9 });
/// assert_eq!(momentum.slots()[0].name, "momentum_buffer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masked<R>(
    /// The rule inside.
    pub R,
);

/// The least share that survivors can have.
const LEAST: f64 = 1e-3;

impl<R: Numbers> Numbers for Masked<R> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<R: Rule> Look for Masked<R> {
    type State<V: Value> = R::State<V>;
    type Kept<V: Value> = [V; 0];
    /// The survivors.
    type Sums<V: Value> = [V; 1];
    /// What they are multiplied by.
    type Known<V: Value> = [V; 1];
    type Coefs = R::Coefs;
    const WIDE: bool = false;

    fn slots(&self) -> Vec<Slot> {
        self.0.slots()
    }

    fn memory(&self) -> Vec<Scalar> {
        self.0.memory()
    }

    fn follows_rate(&self) -> bool {
        self.0.follows_rate()
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<R::Coefs> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        coefs: &R::Coefs,
        _: &[V; 1],
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> [V; 1] {
        let (direction, _) = R::direction(coefs, param, grad.clone(), state);
        [(direction * grad).heaviside()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &R::Coefs,
        [survivors]: [V; 1],
        size: &Size,
        _: [V; 1],
        kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        let share = survivors.scale(size.whole.recip()).clamp_min(LEAST);
        ([share.recip()], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &R::Coefs,
        [factor]: &[V; 1],
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        let (direction, state) = R::direction(coefs, param, grad.clone(), state);
        let agrees = (direction.clone() * grad).heaviside();
        (direction * agrees * factor.clone(), state)
    }

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<R::Coefs>,
        param: V,
        direction: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::land(step, param, direction, state)
    }

    fn has_evaluated(&self) -> bool {
        self.0.has_evaluated()
    }

    fn evaluated<V: Value>(&self, param: V, state: R::State<V>) -> V {
        self.0.evaluated(param, state)
    }
}
