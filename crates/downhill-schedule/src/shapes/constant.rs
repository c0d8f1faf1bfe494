use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::Value;
use crate::scope::{Node, Scope};

shape! {
    /// The same value at every step.
    ///
    #[doc = include_str!("../../docs/constant.svg")]
    ///
    /// ```
    /// use downhill_schedule::ConstantConfig;
    ///
    /// assert_eq!(ConstantConfig::new(0.1).try_build()?.value(1_000_000), 0.1);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    ConstantConfig, "constant" {
        aliases: &["constant_schedule", "get_constant_schedule"],
        source: "",
        description: "the same value at every step",
    }
    new(value: impl Into<Value>);
    /// The value, at least 0. Default: the base rate.
    value, with_value(impl Into<Value>): Value = Value::WHOLE;
}

impl Shape for ConstantConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let value = at.value("value", &mut self.value)?;
        Ok(Node::new(move |_| value))
    }
}
