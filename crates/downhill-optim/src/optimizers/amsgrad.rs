use downhill_rule::{Clock, Numbers, Rule, Scalar, Slot, Step, Value};

/// A rule over the root of a second moment, in the place of which another can stand.
pub trait OverSecondMoment: Rule {
    /// The state after a gradient.
    fn moments<V: Value>(coefs: &Self::Coefs, grad: V, state: Self::State<V>) -> Self::State<V>;

    /// The second moment in the state.
    fn second<V: Value>(state: &Self::State<V>) -> &V;

    /// The direction over a second moment.
    fn over<V: Value>(coefs: &Self::Coefs, state: &Self::State<V>, second: &V) -> V;

    /// The direction over the state's own, and the state: what [`Rule::direction`] is then.
    #[inline(always)]
    fn over_own<V: Value>(
        coefs: &Self::Coefs,
        grad: V,
        state: Self::State<V>,
    ) -> (V, Self::State<V>) {
        let state = Self::moments(coefs, grad, state);
        (Self::over(coefs, &state, Self::second(&state)), state)
    }
}

/// AMSGrad: a rule over the largest second moment seen, `w ← max(w, v)` in the place of `v`.
///
/// The maximum is taken before the bias correction, as in torch, Keras and Burn; optax takes it
/// after. State: the rule's, then `max_exp_avg_sq`. Source: Reddi, Kale & Kumar, arXiv 1904.09237.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AmsGrad<R>(
    /// The rule.
    pub R,
);

impl<R: Numbers> Numbers for AmsGrad<R> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<R: OverSecondMoment> Rule for AmsGrad<R> {
    type State<V: Value> = (R::State<V>, [V; 1]);
    type Coefs = R::Coefs;

    fn slots(&self) -> Vec<Slot> {
        let mut slots = self.0.slots();
        slots.push(Slot::zeros("max_exp_avg_sq"));
        slots
    }

    fn memory(&self) -> Vec<Scalar> {
        self.0.memory()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &R::Coefs,
        _: &V,
        grad: V,
        (state, [largest]): (R::State<V>, [V; 1]),
    ) -> (V, (R::State<V>, [V; 1])) {
        let state = R::moments(coefs, grad, state);
        let largest = largest.maximum(R::second(&state).clone());
        (R::over(coefs, &state, &largest), (state, [largest]))
    }
}
