//! An optimizer's step, written down.

use downhill_rule::{Clock, StepRecording};

use crate::{ConfigError, OptimizerConfig, Program};

impl Program {
    /// Step number `step` of a parameter of this shape, if it is of a rule alone. The scalars that it keeps between
    /// steps are those after as many steps at this rate.
    fn record(&self, lr: f64, step: u64, shape: &[usize]) -> Option<StepRecording> {
        let scalars = self.0.memory(shape);
        let mut scalars: Vec<f64> = scalars.iter().map(|scalar| scalar.initial).collect();
        let of_model = self.0.of_model().map(|model| model.kept().len());
        let known = vec![1.0; of_model.unwrap_or_default()];
        (1..=step.max(1)).fold(None, |_, step| {
            let mut clock = Clock::new(lr, step, &mut scalars);
            clock.known = Some(&known);
            clock.loss = Some(1.0);
            self.0.record(&mut clock, shape)
        })
    }
}

impl OptimizerConfig {
    /// What one step of a parameter of this shape computes, operation by operation: the formula that runs as a pass
    /// over memory on the CPU and as a kernel on a GPU. None where it is not one rule, but made of several pieces:
    /// of wrappers around another optimizer, and of methods of matrices.
    ///
    /// `step` is the number of the step, from 1 on; its numbers are in the recording.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    ///
    /// ```
    /// use downhill_optim::OptimizerConfig;
    ///
    /// let sgd = OptimizerConfig::by_name("sgd")?;
    /// let recording = sgd.try_record(0.5, 1, &[3])?.unwrap();
    /// // From a parameter of 1 along a gradient of 4.
    /// assert_eq!(recording.go.run(&[1.0, 4.0]), [-1.0]);
    /// # Ok::<(), downhill_optim::ConfigError>(())
    /// ```
    pub fn try_record(
        &self,
        lr: f64,
        step: u64,
        shape: &[usize],
    ) -> Result<Option<StepRecording>, ConfigError> {
        Ok(self.any().try_program()?.record(lr, step, shape))
    }

    /// What is kept of a parameter beside it: of a matrix first what there is one of for the whole, a row or a column.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    ///
    /// ```
    /// use downhill_optim::OptimizerConfig;
    ///
    /// let adam = OptimizerConfig::by_name("adam")?;
    /// assert_eq!(adam.state_names()?, ["exp_avg", "exp_avg_sq"]);
    /// # Ok::<(), downhill_optim::ConfigError>(())
    /// ```
    pub fn state_names(&self) -> Result<Vec<String>, ConfigError> {
        let slots = self.any().try_program()?.0.slots(&[3, 5]).into_iter();
        Ok(slots.map(|(slot, _)| slot.name.to_string()).collect())
    }
}

#[cfg(test)]
mod tests {
    use downhill_rule::{Real, Start};
    use proptest::prelude::*;

    use super::*;
    use crate::pass::{Buffers, Element, MAX_SLOTS};
    use crate::settings::SettingKind;

    /// All optimizers, as they are and with one other number or flag each.
    fn configs() -> Vec<OptimizerConfig> {
        let mut infos = OptimizerConfig::all();
        infos.extend(OptimizerConfig::slides());
        let mut configs = Vec::new();
        for info in infos {
            let default = OptimizerConfig::by_name(info.name).unwrap();
            for setting in default.settings() {
                let value = default.to_map().get(setting.name).cloned();
                let other = match setting.kind {
                    SettingKind::Flag => {
                        (!value.is_some_and(|value| value.as_bool().unwrap())).into()
                    }
                    SettingKind::Number => 0.25.into(),
                    _ => continue,
                };
                let mut map = default.to_map();
                map.insert(setting.name.to_string(), other);
                configs.extend(OptimizerConfig::from_json(
                    &serde_json::Value::Object(map).to_string(),
                ));
            }
            configs.push(default);
        }
        configs
    }

    fn bits<R: Real>(values: &[R]) -> Vec<u64> {
        values
            .iter()
            .map(|value| value.to_f64().to_bits())
            .collect()
    }

    /// A step over memory, and the same from its recording, in one precision.
    fn compare<R>(config: &OptimizerConfig, lr: f64, param: R, grads: &[R])
    where
        R: Real + Element<Compute = R>,
    {
        let program = config.any().try_program().unwrap();
        let shape = [1];
        let start = |start: Start| start.number().map_or(param, R::from_f64);
        let slots = program.0.slots(&shape);
        let mut values: Vec<R> = vec![param];
        values.extend(slots.iter().map(|(slot, _)| start(slot.start)));
        let scalars = program.0.memory(&shape);
        let mut scalars: Vec<f64> = scalars.iter().map(|scalar| scalar.initial).collect();
        // As many as any rule asks for.
        let known = [0.75; 8];
        for (at, &grad) in grads.iter().enumerate() {
            let mut written = scalars.clone();
            let mut clock = Clock::new(lr, at as u64 + 1, &mut written);
            clock.loss = Some(0.5);
            clock.known = Some(&known);
            let recording = program.0.record(&mut clock, &shape);
            let recording = recording.expect("a rule alone");
            if !recording.looks.is_empty() {
                return;
            }
            let mut inputs = values.clone();
            inputs.insert(1, grad);
            let expected = recording.go.run(&inputs);

            let (param, state) = values.split_at_mut(1);
            let mut slots: [&mut [R]; MAX_SLOTS] = Default::default();
            for (slot, value) in slots.iter_mut().zip(state.chunks_mut(1)) {
                *slot = value;
            }
            let grad = &[grad];
            let buffers = R::any(Buffers { param, grad, slots });
            let mut clock = Clock::new(lr, at as u64 + 1, &mut scalars);
            clock.loss = Some(0.5);
            clock.known = Some(&known);
            program.0.step_buffers(&mut clock, &shape, buffers);
            assert_eq!(
                bits(&values),
                bits(&expected),
                "{config} at step {}",
                at + 1
            );
            assert_eq!(scalars, written, "{config}");
        }
    }

    fn alone(config: &OptimizerConfig) -> bool {
        let recorded = config.try_record(0.1, 1, &[1]).unwrap();
        recorded.is_some_and(|recorded| recorded.looks.is_empty())
    }

    #[test]
    fn most_optimizers_are_one_rule() {
        let all = OptimizerConfig::all();
        let configs = all.iter().map(|info| OptimizerConfig::by_name(info.name));
        let recorded = configs.filter(|config| {
            let config = config.as_ref().unwrap();
            config.try_record(0.1, 1, &[2, 2]).unwrap().is_some()
        });
        let recorded = recorded.count();
        assert!(
            recorded > 40 && recorded < all.len(),
            "{recorded} of {}",
            all.len()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_recording_computes_what_the_rule_does(
            lr in 1e-4..1.0_f64,
            param in -2.0..2.0_f64,
            grads in prop::collection::vec(prop_oneof![
                8 => -3.0..3.0_f64, 1 => Just(0.0), 1 => Just(1e-12),
            ], 1..12),
        ) {
            for config in configs().iter().filter(|config| alone(config)) {
                compare::<f64>(config, lr, param, &grads);
                let single: Vec<f32> = grads.iter().map(|&grad| grad as f32).collect();
                compare::<f32>(config, lr, param as f32, &single);
            }
        }
    }

    /// But for one of which the first step is another. A rule whose tape changes runs all the same, with a kernel
    /// for each tape.
    #[test]
    fn a_tape_stays_the_same_from_step_to_step() {
        let mut changing = Vec::new();
        for config in configs() {
            let tape = |step, lr| {
                let recorded = config.try_record(lr, step, &[4, 3]).unwrap();
                recorded.map(|recorded| {
                    let looks = recorded.looks.iter();
                    let looks = looks.map(|look| (look.terms.tape.key(), look.settle.tape.key()));
                    (looks.collect::<Vec<_>>(), recorded.go.tape.key())
                })
            };
            let first = tape(1, 1e-2);
            let steps = [2, 3, 5, 10, 30, 100];
            if steps.into_iter().any(|step| tape(step, 1e-3) != first) {
                changing.push(config.name());
            }
        }
        changing.dedup();
        assert_eq!(changing, ["racs"]);
    }
}
