use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, bias_correction, ema};

use crate::config::Config;
use crate::decay::{Decay, WeightDecayKind};
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// Which weight the differences of gradients have; see [`Adan`].
    AdanVariant {
        /// `beta_2`, as in the authors' code.
        Authors = "authors",
        /// `1 - beta_2`, as in `optax.adan` (which has a second epsilon, under the root).
        Optax = "optax",
    }
}

optimizer! {
    /// Adan: [`Adam`](crate::Adam) with Nesterov's look-ahead from differences of gradients.
    ///
    /// ```text
    /// d = g - previous g   (0 in the first step)
    /// m ← beta_1·m + (1 - beta_1)·g,   e ← beta_2·e + (1 - beta_2)·d
    /// n ← beta_3·n + (1 - beta_3)·(g + beta_2·d)²
    /// u = (m/(1 - beta_1^t) + beta_2·e/(1 - beta_2^t)) / (sqrt(n/(1 - beta_3^t)) + epsilon)
    /// p ← (p - lr·u)/(1 + lr·weight_decay)
    /// ```
    ///
    /// The betas are the implementation's, 1 less those of the paper. Its `no_prox` is the decoupled kind of
    /// weight decay. [`optax`](AdanConfig::optax) has `1 - beta_2` where its authors
    /// weigh with `beta_2`. State: `exp_avg`,
    /// `exp_avg_diff`, `exp_avg_sq`, `previous_grad`. Source: Xie et al., arXiv 2208.06677.
    Adan as AdanConfig, "adan" {
        learning_rate: 1e-3,
        paper: "Xie et al., arXiv 2208.06677",
        description: "adam with a look-ahead from differences of gradients",
        decay: Decay::proximal(0.0),
        example: ".with_weight_decay(0.02)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.98, DECAY;
    /// Decay of the mean of the differences, and their weight.
    beta_2, with_beta_2: f64 = 0.92, DECAY;
    /// Decay of the mean of the squares.
    beta_3, with_beta_3: f64 = 0.99, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Which algorithm.
    variant, with_variant: AdanVariant = AdanVariant::Authors, ANY;
}

impl Config<Adan> {
    /// optax's, with decoupled weight decay.
    pub fn optax() -> Self {
        let decay = WeightDecayKind::Decoupled;
        Self::new().with_variant(AdanVariant::Optax).with_weight_decay_kind(decay)
    }
}

impl Rule for Adan {
    type State<V: Value> = [V; 4];
    type Coefs = (Debiased<Self>, [f64; 3]);

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let weight = match self.variant {
            AdanVariant::Authors => self.beta_2,
            AdanVariant::Optax => 1.0 - self.beta_2,
        };
        let ahead = weight / bias_correction(self.beta_2, clock.t());
        // The first gradient has none to be compared with.
        let compare = if clock.step == 1 { 0.0 } else { 1.0 };
        let debiased = Debiased::new(*self, self.beta_1, self.beta_3, clock.t());
        Step::new(clock.lr, (debiased, [weight, ahead, compare]))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (debiased, [weight, ahead, compare]): &Self::Coefs,
        _: &V,
        grad: V,
        [m, e, n, previous]: [V; 4],
    ) -> (V, [V; 4]) {
        let Adan { beta_1, beta_2, beta_3, epsilon, .. } = debiased.rule;
        let change = (grad.clone() - previous).scale(*compare);
        let m = ema(m, grad.clone(), beta_1);
        let e = ema(e, change.clone(), beta_2);
        let n = ema(n, (grad.clone() + change.scale(*weight)).square(), beta_3);
        let ahead = debiased.mean(m.clone()) + e.clone().scale(*ahead);
        let root = debiased.root(n.clone()).offset(epsilon);
        (ahead / root, [m, e, n, grad])
    }
}
