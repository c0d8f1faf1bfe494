use crate::{Clock, Numbers, Rule, Slot, Step, Value};

/// Gradient descent: `u = g`. No state; the smallest rule there is, for others to be put around.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Descent;

impl Numbers for Descent {}

impl Rule for Descent {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), _: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (grad, state)
    }
}
