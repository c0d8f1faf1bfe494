use crate::{Clock, Rule, Slots, Start};

/// A rule run over plain numbers in f64: the oracle of the tests, and the quickest way to try a rule
/// of your own.
///
/// ```
/// use downhill_rule::{Descent, HeavyBall, Trajectory};
///
/// let mut momentum = Trajectory::new(HeavyBall { rule: Descent, momentum: 0.9 }, 1);
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
                .map(|slot| match slot.start {
                    Start::At(initial) => vec![initial; len],
                    // Known at the first step.
                    Start::Param => vec![f64::NAN; len],
                })
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
        if self.step == 0 {
            let slots = self.rule.slots();
            for (slot, values) in slots.iter().zip(&mut self.state) {
                if slot.start == Start::Param {
                    values.copy_from_slice(param);
                }
            }
        }
        self.step = self.step.saturating_add(1);
        let mut clock = Clock::new(lr, self.step, &mut self.memory);
        let step = self.rule.prepare(&mut clock);
        for (i, (param, grad)) in param.iter_mut().zip(grad).enumerate() {
            let mut slots = self.state.iter().map(|slot| slot[i]);
            let state = R::State::gather(&mut || slots.next().unwrap_or_default());
            let (moved, state) = R::go(&step, *param, *grad, state);
            *param = moved;
            let mut slots = self.state.iter_mut();
            state.scatter(&mut |value| {
                if let Some(slot) = slots.next() {
                    slot[i] = value;
                }
            });
        }
    }

    /// The parameter to evaluate, for the one that is trained: see
    /// [`Rule::evaluated`](crate::Rule::evaluated).
    pub fn evaluated(&self, param: &[f64]) -> Vec<f64> {
        let evaluated = |(i, param): (usize, &f64)| {
            let mut slots = self.state.iter().map(|slot| slot[i]);
            let state = R::State::gather(&mut || slots.next().unwrap_or_default());
            self.rule.evaluated(*param, state)
        };
        match self.step {
            0 => param.to_vec(),
            _ => param.iter().enumerate().map(evaluated).collect(),
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
