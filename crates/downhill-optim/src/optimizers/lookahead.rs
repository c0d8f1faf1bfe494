use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value};

use crate::declare::wrapper;
use crate::registry::OptimizerConfig;
use crate::wrapped::{Around, Field, Stage};

wrapper! {
    /// Lookahead: another optimizer goes ahead, and every `k` steps slow weights follow it a part of the way,
    /// from where it goes on.
    ///
    /// ```text
    /// every k-th step, after the optimizer's:   slow ← slow + alpha·(p - slow),   p ← slow
    /// ```
    ///
    /// The slow weights start at the parameter. The other optimizer's state is left alone. State: its, then
    /// `slow`. Source: Zhang et al., arXiv 1907.08610; timm starts the slow weights `k` steps late.
    ///
    /// ```
    /// use downhill_optim::{LookaheadConfig, RAdamConfig};
    ///
    /// let optim = LookaheadConfig::new().with_optimizer(RAdamConfig::new().into()).init();
    /// ```
    Lookahead as LookaheadConfig, "lookahead" {
        learning_rate: 1e-2,
        state: "n beside the optimizer's",
        paper: "Zhang et al., arXiv 1907.08610",
        description: "slow weights that follow another optimizer",
        decay: None,
        maximize: false,
    }
    /// Steps from one sync to the next.
    k, with_k: usize = 5, AT_LEAST_ONE;
    /// Part of the way that the slow weights go.
    alpha, with_alpha: f64 = 0.5, SHARE, shown_with r#"{"k": 1}"#;
    /// The other optimizer.
    optimizer, with_optimizer: OptimizerConfig = super::SgdConfig::new().with_momentum(0.9).into(), ANY;
    => |lookahead, shared| shared.around(&lookahead.optimizer, lookahead.clone())
}

impl Around for Lookahead {
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("slow")]
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        stage.inner(Field::Param);
        if clock.step.is_multiple_of(self.k as u64) {
            stage.pass::<Sync>(&Step::new(self.alpha, ()), Field::Param);
        }
    }
}

/// The sync.
#[derive(Clone)]
struct Sync;

impl Numbers for Sync {}

impl Rule for Sync {
    type State<V: Value> = [V; 1];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::param("slow")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), param: &V, _: V, [slow]: [V; 1]) -> (V, [V; 1]) {
        (slow.clone() - param.clone(), [slow])
    }

    #[inline(always)]
    fn land<V: Value>(step: &Step<()>, _: V, back: V, [slow]: [V; 1]) -> (V, [V; 1]) {
        let slow = slow - back.scale(step.rate);
        (slow.clone(), [slow])
    }
}
