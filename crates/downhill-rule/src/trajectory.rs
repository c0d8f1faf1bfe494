use crate::{Clock, Rule, Slots};

/// A rule run over plain numbers in f64: the oracle of the tests, and the quickest way to try a rule
/// of your own.
///
/// ```
/// use downhill_rule::{Momentum, Trajectory};
///
/// let mut momentum = Trajectory::new(Momentum::new(0.9), 1);
/// let mut x = vec![1.0];
/// for _ in 0..3 {
///     momentum.step(0.1, &mut x, &[1.0]);
/// }
/// assert!((x[0] - (1.0 - 0.1 - 0.19 - 0.271)).abs() < 1e-12);
/// assert_eq!(momentum.state("momentum_buffer").unwrap().len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Trajectory<R> {
    rule: R,
    step: u64,
    memory: Vec<f64>,
    state: Vec<Vec<f64>>,
}

impl<R: Rule> Trajectory<R> {
    /// A fresh state for a parameter of `len` elements.
    ///
    /// # Panics
    ///
    /// Panics if the rule names another number of slots than its state has.
    pub fn new(rule: R, len: usize) -> Self {
        rule.check_slots();
        Self {
            step: 0,
            memory: rule.memory().iter().map(|slot| slot.initial).collect(),
            state: rule
                .slots()
                .iter()
                .map(|slot| vec![slot.initial; len])
                .collect(),
            rule,
        }
    }

    /// Moves `param` by one step.
    ///
    /// # Panics
    ///
    /// Panics if `param` and `grad` have not the length given at construction.
    pub fn step(&mut self, lr: f64, param: &mut [f64], grad: &[f64]) {
        assert_eq!(param.len(), grad.len(), "one gradient per parameter");
        self.step = self.step.saturating_add(1);
        let mut clock = Clock::new(lr, self.step, &mut self.memory);
        let step = self.rule.prepare(&mut clock);
        for (i, (param, grad)) in param.iter_mut().zip(grad).enumerate() {
            let mut slots = self.state.iter().map(|slot| slot[i]);
            let state = R::State::gather(&mut || slots.next().unwrap_or_default());
            let (moved, state) = R::advance(&step, *param, *grad, state);
            *param = moved;
            let mut slots = self.state.iter_mut();
            state.scatter(&mut |value| {
                if let Some(slot) = slots.next() {
                    slot[i] = value;
                }
            });
        }
    }

    /// The state tensor called `name`.
    pub fn state(&self, name: &str) -> Option<&[f64]> {
        let index = self
            .rule
            .slots()
            .iter()
            .position(|slot| slot.name == name)?;
        Some(&self.state[index])
    }
}
