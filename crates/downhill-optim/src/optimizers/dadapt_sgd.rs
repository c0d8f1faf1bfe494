use downhill_rule::{Clock, Field, Look, Scope, Size, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// D-Adaptation of gradient descent: the learning rate is the distance `d` to the solution, over the norm of the
    /// first gradient.
    ///
    /// ```text
    /// r = d·lr/|g_1|
    /// num ← num + r·⟨g, s⟩,   s ← s + r·g
    /// d ← max(d, min(2·num/|s|, growth_rate·d))
    /// p ← momentum·p + (1 - momentum)·(p0 - s)
    /// ```
    ///
    /// Products and norms are of the whole model, so a driver has to step it. Leave `learning_rate` at 1 and let a
    /// schedule multiply it. `d` never falls. State: `p0`, `s`; of the model `d`, `d_numerator` (num) and `g0_norm`
    /// (|g_1|; the first that is not 0). Source: Defazio & Mishchenko, arXiv 2301.07733, Algorithm 4, and the
    /// authors' dadaptation. Theirs keeps `p0 - s` in the place of `p0`.
    DAdaptSgd as DAdaptSgdConfig, "dadapt_sgd" {
        learning_rate: 1.0,
        paper: "Defazio & Mishchenko, arXiv 2301.07733",
        description: "gradient descent whose learning rate is a bound on the distance to go",
        decay: Decay::coupled(0.0),
        example: ".with_momentum(0.9)",
    }
    /// How much of the parameter stays.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// The distance to begin with.
    d0, with_d0: f64 = 1e-6, POSITIVE at start;
    /// How much `d` can grow in one step, as a factor; none for no limit.
    growth_rate, with_growth_rate: Option<f64> = None, AT_LEAST_ONE;
    => |rule, shared| shared.look(rule)
}

/// The settings, and the learning rate.
type Coefs = (DAdaptSgd, f64);

impl Look for DAdaptSgd {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 3];
    /// Products of gradient and `s`, and the squares of both.
    type Sums<V: Value> = [V; 3];
    /// The root of `d/|g_1|`, with `d` as it was: that itself can be too large for single precision.
    type Known<V: Value> = [V; 1];
    type Coefs = Coefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("p0"), Slot::zeros("s")]
    }

    fn kept(&self) -> Vec<Slot> {
        vec![Slot::filled("d", self.d0), Slot::zeros("d_numerator"), Slot::zeros("g0_norm")]
    }

    fn scope(&self) -> Scope {
        Scope::Model
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Coefs> {
        Step::new(1.0 - self.momentum, (*self, clock.lr))
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        (_, lr): &Coefs, _: &[V; 1], _: &V, grad: V, [_, s]: [V; 2],
    ) -> [V; 3] {
        // Of `s` after the step only the host knows the rest.
        let grad = grad.scale(*lr);
        [grad.clone() * s.clone(), grad.square(), s.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        (rule, lr): &Coefs, [along, grad, s]: [V; 3], _: &Size, _: [V; 1], [d, numerator, norm]: [V; 3],
    ) -> ([V; 1], [V; 3]) {
        let none = d.clone().scale(0.0);
        let first = match *lr {
            0.0 => none.clone(),
            lr => grad.clone().sqrt().scale(lr.recip()),
        };
        let norm = norm.clone().select(norm, first);
        let rate = norm.clone().select(d.clone() / norm.clone(), none.clone());
        let way = rate.clone() * along;
        let numerator = numerator + way.clone();
        let length = (s + way.scale(2.0) + rate.clone().square() * grad).sqrt();
        let found = length.clone().select(numerator.clone().scale(2.0) / length, none);
        let found = match rule.growth_rate {
            Some(limit) => found.minimum(d.clone().scale(limit)),
            None => found,
        };
        ([rate.sqrt()], [d.maximum(found), numerator, norm])
    }

    #[inline(always)]
    fn direction<V: Value>(
        (_, lr): &Coefs, [root]: &[V; 1], param: &V, grad: V, [p0, s]: [V; 2],
    ) -> (V, [V; 2]) {
        let s = s + grad.scale(*lr) * root.clone() * root.clone();
        (param.clone() - p0.clone() + s.clone(), [p0, s])
    }
}
