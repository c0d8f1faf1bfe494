use downhill_rule::{Clock, Field, Look, Optional, Scope, Size, Slot, Step, Value};

use crate::declare::{optimizer, preset};
use crate::decay::Decay;

optimizer! {
    /// DoG: gradient descent whose rate is the distance that was gone over the root of all squared gradients.
    ///
    /// ```text
    /// r ← max(r, |p - p0|),   reps_rel·(1 + |p0|) in the first step
    /// G ← G + |g|²,   from epsilon
    /// p ← p - learning_rate·r/sqrt(G)·g
    /// av ← av + (1 + averaging)/(t + averaging)·(p - av)
    /// ```
    ///
    /// Norms are of the whole model, so a driver has to step it; `layer_wise` ([`LDoG`], the paper's other form) takes
    /// those of each tensor. There is no rate to tune. It is meant to be used with its average, for which the authors
    /// take an `averaging` of 8, and `evaluated` returns it; torch's users keep it apart. It starts slowly; with batch
    /// norms the authors take a `reps_rel` of 1e-4.
    ///
    /// State: `p0`, and `averaged`; of the model `rbar` (r) and `sum_sq` (G). Source: Ivgi et al., arXiv 2302.12022.
    Dog as DogConfig, "dog" {
        learning_rate: 1.0,
        state: "n, n more with averaging",
        paper: "Ivgi et al., arXiv 2302.12022",
        description: "gradient descent whose rate is the distance gone, over the gradients' norm",
        decay: Decay::coupled(0.0),
        example: ".with_averaging(Some(8.0))",
    }
    /// The first distance, as a share of 1 and the norm of the parameters.
    reps_rel, with_reps_rel: f64 = 1e-6, POSITIVE at start;
    /// What the sum of squares starts from.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE at start;
    /// How much later parameters count more in the average; none for no average.
    averaging, with_averaging: Option<f64> = None, NOT_NEGATIVE;
    /// Whether every tensor has norms of its own.
    layer_wise, with_layer_wise: bool = false, ANY;
    => |rule, shared| match rule.averaging {
        Some(_) => shared.look(Averaged::<1>(rule)),
        None => shared.look(Averaged::<0>(rule)),
    }
}

preset! {
    /// LDoG: [`Dog`] with the norms of each tensor in the place of those of the model.
    LDoG as LDoGConfig of Dog, "ldog" {
        learning_rate: 1.0,
        state: "n + 2, n more with averaging",
        paper: "Ivgi et al., arXiv 2302.12022",
        description: "dog with norms of each tensor",
        decay: Decay::coupled(0.0),
        settings: Dog { layer_wise: true, ..Dog::default() },
    }
}

/// With `M` averages.
#[derive(Clone)]
struct Averaged<const M: usize>(Dog);

impl<const M: usize> downhill_rule::Numbers for Averaged<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.0.number_mut(name)
    }
}

impl<const M: usize> Look for Averaged<M> {
    type State<V: Value> = ([V; 1], Optional<V, M>);
    type Kept<V: Value> = [V; 2];
    /// Squares of the way, the gradient and the parameter.
    type Sums<V: Value> = [V; 3];
    /// `r/sqrt(G)`
    type Known<V: Value> = [V; 1];
    /// What the first step adds to `r`: nothing and the norm's share of it; and the weight of the parameter in the
    /// average.
    type Coefs = [f64; 2];

    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![Slot::param("p0")];
        slots.extend([Slot::param("averaged"); M]);
        slots
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::zeros("rbar"), Slot::filled("sum_sq", self.0.epsilon)]
    }

    fn scope(&self) -> Scope {
        if self.0.layer_wise { Scope::Tensor } else { Scope::Model }
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<[f64; 2]> {
        let first = if clock.step == 1 { self.0.reps_rel } else { 0.0 };
        let gamma = self.0.averaging.unwrap_or_default();
        Step::new(clock.lr, [first, (1.0 + gamma) / (clock.t() + gamma)])
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        _: &[f64; 2], _: &[V; 1], param: &V, grad: V, ([p0], _): ([V; 1], Optional<V, M>),
    ) -> [V; 3] {
        [(param.clone() - p0).square(), grad.square(), param.clone().square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        [first, _]: &[f64; 2], [way, grad, param]: [V; 3], _: &Size, _: [V; 1], [r, sum]: [V; 2],
    ) -> ([V; 1], [V; 2]) {
        let start = param.sqrt().scale(*first).offset(*first);
        let r = r.maximum(way.sqrt()).maximum(start);
        let sum = sum + grad;
        ([r.clone() / sum.clone().sqrt()], [r, sum])
    }

    #[inline(always)]
    fn direction<V: Value>(
        _: &[f64; 2], [rate]: &[V; 1], _: &V, grad: V, state: ([V; 1], Optional<V, M>),
    ) -> (V, ([V; 1], Optional<V, M>)) {
        (grad * rate.clone(), state)
    }

    #[inline(always)]
    fn land<V: Value>(
        step: &Step<[f64; 2]>, param: V, u: V, (p0, averaged): ([V; 1], Optional<V, M>),
    ) -> (V, ([V; 1], Optional<V, M>)) {
        let param = param - u.scale(step.rate);
        let [_, weight] = step.coefs;
        let averaged = averaged.map(|one| one.clone() + (param.clone() - one).scale(weight));
        (param, (p0, averaged))
    }

    fn has_evaluated(&self) -> bool {
        M > 0
    }

    fn evaluated<V: Value>(&self, param: V, (_, averaged): ([V; 1], Optional<V, M>)) -> V {
        averaged.into_option().unwrap_or(param)
    }
}
