use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, mix, progress};

shape! {
    /// Along a power of the time that is left.
    ///
    /// ```text
    /// value(k) = end + (initial - end)·(1 - min(k/steps, 1))^power
    /// ```
    ///
    #[doc = include_str!("../../docs/polynomial.svg")]
    ///
    /// Source: PyTorch's `PolynomialLR` (`end` = 0), optax's `polynomial_schedule`, Transformers'
    /// `polynomial`. DeepLab (arXiv 1606.00915) takes a power of 0.9.
    ///
    /// ```
    /// use downhill_schedule::PolynomialConfig;
    ///
    /// let schedule = PolynomialConfig::new(0.8, 0.0, 100).with_power(2.0).try_build()?;
    /// assert_eq!(schedule.value(50), 0.2);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    PolynomialConfig, "polynomial" {
        aliases: &["PolynomialLR", "polynomial_schedule"],
        source: "PyTorch, optax",
        description: "along a power of the time that is left",
    }
    new(initial: impl Into<Value>, end: impl Into<Value>, steps: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Value from step `steps` on, at least 0. Default: 0.
    end, with_end(impl Into<Value>): Value = Value::ZERO;
    /// Steps from the one to the other; without steps it is `end` at once. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
    /// Power, above 0; 1 is a straight line. Default: 1.
    power, with_power(f64): f64 = 1.0;
}

impl Shape for PolynomialConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let end = at.value("end", &mut self.end)?;
        let steps = at.length("steps", &mut self.steps)?;
        let power = self.power;
        at.check("power", power, Range::POSITIVE)?;
        let node =
            Node::new(move |step| mix(end, initial, libm::pow(1.0 - progress(step, steps), power)));
        Ok(node.with_phases([steps]))
    }
}
