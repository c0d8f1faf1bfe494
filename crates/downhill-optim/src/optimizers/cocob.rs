use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// COCOB-Backprop: bets on the gradient's sign with what earlier bets have won, and has no learning rate.
    ///
    /// ```text
    /// L ← max(L, |g|),   S ← S + |g|,   R ← max(R - g·(p - p0), 0),   C ← C - g
    /// p ← p0 + C/(L·max(S + L, alpha·L))·(L + R)
    /// ```
    ///
    /// The learning rate does nothing. State, in optax's names: `init_particles` (p0), `cumulative_gradients`
    /// (C), `scale` (L, from epsilon on), `subgradients` (S), `reward` (R). Weight decay is coupled, as the
    /// parameter is made from its state alone. Source: Orabona & Tommasi, arXiv 1705.07795, Algorithm 2;
    /// `optax.contrib.cocob`.
    Cocob as CocobConfig, "cocob" {
        learning_rate: 1.0,
        paper: "Orabona & Tommasi, arXiv 1705.07795",
        description: "bets with what earlier bets have won; without a learning rate",
        decay: Decay::own(0.0),
        example: "",
    }
    /// How small the first bets are.
    alpha, with_alpha: f64 = 100.0, POSITIVE, shown_with r#"{"epsilon": 0.5}"#;
    /// What the largest gradient starts from.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE at start;
}

impl Rule for Cocob {
    type State<V: Value> = [V; 5];
    type Coefs = f64;

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::param("init_particles"),
            Slot::zeros("cumulative_gradients"),
            Slot::filled("scale", self.epsilon),
            Slot::zeros("subgradients"),
            Slot::zeros("reward"),
        ]
    }

    fn follows_rate(&self) -> bool {
        false
    }

    fn prepare(&self, _: &mut Clock) -> Step<f64> {
        Step::new(1.0, self.alpha)
    }

    #[inline(always)]
    fn direction<V: Value>(alpha: &f64, p: &V, grad: V, [p0, c, l, s, r]: [V; 5]) -> (V, [V; 5]) {
        let size = grad.clone().abs();
        let l = l.maximum(size.clone());
        let s = s + size;
        let won = r - grad.clone() * (p.clone() - p0.clone());
        let r = won.clamp_min(0.0);
        let c = c - grad;
        let least = (s.clone() + l.clone()).maximum(l.clone().scale(*alpha));
        let bet = c.clone() / (l.clone() * least) * (l.clone() + r.clone());
        (p.clone() - (p0.clone() + bet), [p0, c, l, s, r])
    }
}
