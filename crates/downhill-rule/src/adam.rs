use crate::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

/// Adam.
///
/// ```text
/// m ← beta_1·m + (1 - beta_1)·g
/// v ← beta_2·v + (1 - beta_2)·g²
/// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
/// ```
///
/// State: `exp_avg` (m), `exp_avg_sq` (v). Source: Kingma & Ba, arXiv 1412.6980, Algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta_1: f64,
    /// Decay of the mean of its square, in `[0, 1)`.
    pub beta_2: f64,
    /// Added to the root, above 0.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// The moments' decay, and the bias corrections as factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamCoefs {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    debias_1: f64,
    debias_2_root: f64,
}

impl AdamCoefs {
    #[inline(always)]
    fn moments<V: Value>(&self, grad: V, m: V, v: V) -> (V, V) {
        (
            ema(m, grad.clone(), self.beta_1),
            ema(v, grad.square(), self.beta_2),
        )
    }

    #[inline(always)]
    fn ratio<V: Value>(&self, m: V, v: V) -> V {
        m.scale(self.debias_1) / v.sqrt().scale(self.debias_2_root).offset(self.epsilon)
    }
}

impl Rule for Adam {
    type State<V: Value> = [V; 2];
    type Coefs = AdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AdamCoefs> {
        let beta_1 = clock.momentum(self.beta_1);
        let coefs = AdamCoefs {
            beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            debias_1: bias_correction(beta_1, clock.t()).recip(),
            debias_2_root: bias_correction(self.beta_2, clock.t()).sqrt().recip(),
        };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &AdamCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let (m, v) = coefs.moments(grad, m, v);
        (coefs.ratio(m.clone(), v.clone()), [m, v])
    }
}

/// AMSGrad: [`Adam`] over the largest second moment seen, `w ← max(w, v)` in the place of `v`.
///
/// The maximum is taken before the bias correction, as in torch, Keras and Burn; optax takes it
/// after. State: Adam's, then `max_exp_avg_sq`. Source: Reddi, Kale & Kumar, arXiv 1904.09237.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AmsGrad(
    /// Adam's settings.
    pub Adam,
);

impl Rule for AmsGrad {
    type State<V: Value> = [V; 3];
    type Coefs = AdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        let mut slots = self.0.slots();
        slots.push(Slot::zeros("max_exp_avg_sq"));
        slots
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AdamCoefs> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &AdamCoefs,
        _: &V,
        grad: V,
        [m, v, largest]: [V; 3],
    ) -> (V, [V; 3]) {
        let (m, v) = coefs.moments(grad, m, v);
        let largest = largest.maximum(v.clone());
        (coefs.ratio(m.clone(), largest.clone()), [m, v, largest])
    }
}
