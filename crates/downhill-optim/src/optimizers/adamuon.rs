use downhill_rule::{Clock, Field, Look, Numbers, Size, Slot, Step, Value, ema};

use super::muon::{Orthogonalised, Scale, muon_optimizer};
use crate::decay::Decay;
use crate::program::Program;

muon_optimizer! {
    /// AdaMuon: [`Muon`](crate::Muon) of the signs of the momentum, and each element is divided by its root mean
    /// square over time.
    ///
    /// ```text
    /// O as Muon's, of sign(U),   v ← beta_2·v + (1 - beta_2)·O²
    /// u = O/(sqrt(v) + epsilon_2),   u ← 0.2·sqrt(n)/|u|·u        n elements: as far as AdamW goes
    /// p ← (1 - lr·weight_decay)·p - lr·u
    /// ```
    ///
    /// State: `momentum_buffer`, `exp_avg_sq`, or the fallback's. Temporaries as Muon's. Source: Si et al.,
    /// arXiv 2507.11005; timm and pytorch_optimizer leave the signs away.
    AdaMuon as AdaMuonConfig, "adamuon" {
        learning_rate: 1e-3,
        state: "2n, the fallback's for what is no matrix",
        paper: "Si et al., arXiv 2507.11005",
        description: "muon with a second moment",
        decay: Decay::decoupled(0.01),
        example: ".with_sign(false)",
    }
    /// Whether only the signs of the momentum are orthogonalised.
    sign, with_sign: bool = true, ANY;
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.95, DECAY;
    /// Added to its root.
    epsilon_2, with_epsilon_2: f64 = 1e-8, POSITIVE;
    => |rule, shared| {
        let (on_gradient, on_step) = shared.split()?;
        let [beta_2, epsilon_2] = [rule.beta_2, rule.epsilon_2];
        let adaptive = on_step.look(Adaptive { beta_2, epsilon_2 })?;
        let of_signs = rule.sign;
        let turned = Orthogonalised { method: rule.clone(), on_gradient, of_signs, scale: Scale::One };
        Ok(Program::wrapped(turned, adaptive))
    }
}

/// Divides each element by its root mean square over time, and brings the whole to the length of an AdamW's step.
#[derive(Clone, Copy, Debug)]
struct Adaptive {
    beta_2: f64,
    epsilon_2: f64,
}

impl Numbers for Adaptive {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "beta_2" => Some(&mut self.beta_2),
            "epsilon_2" => Some(&mut self.epsilon_2),
            _ => None,
        }
    }
}

impl Adaptive {
    #[inline(always)]
    fn adapted<V: Value>(&self, grad: V, v: V) -> (V, V) {
        let v = ema(v, grad.clone().square(), self.beta_2);
        (grad / v.clone().sqrt().offset(self.epsilon_2), v)
    }
}

impl Look for Adaptive {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        rule: &Self, _: &[V; 1], _: &V, grad: V, [v]: [V; 1],
    ) -> [V; 1] {
        [rule.adapted(grad, v).0.square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        _: &Self, [sum]: [V; 1], size: &Size, _: [V; 1], kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        // Where nothing moves there is nothing to divide by.
        let norm = sum.sqrt().clamp_min(f64::from(f32::MIN_POSITIVE));
        ([norm.recip().scale(0.2 * size.whole.sqrt())], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(rule: &Self, [factor]: &[V; 1], _: &V, grad: V, [v]: [V; 1]) -> (V, [V; 1]) {
        let (adapted, v) = rule.adapted(grad, v);
        (adapted * factor.clone(), [v])
    }
}
