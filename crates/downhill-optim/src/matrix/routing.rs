//! Which parameters an optimizer of matrices steps, and which one steps the others.

use serde_json::Value;

use crate::OptimizerConfig;
use crate::decay::Shared;
use crate::patterns::Patterns;
use crate::program::{Branch, Program};
use crate::settings::ConfigError;

/// Whether a parameter is a matrix: its first two dimensions are of more than one. Vectors are not, and neither are
/// the filters of depthwise convolutions and tables with one row.
pub(crate) fn is_matrix(shape: &[usize]) -> bool {
    matches!(shape, [first, second, ..] if *first > 1 && *second > 1)
}

/// Names that embeddings and heads go by: they are not matrices to an optimizer of matrices, although they have two
/// dimensions.
pub(crate) fn no_matrix() -> Patterns {
    Patterns::from(["*embed*", "wte", "wpe", "head", "lm_head", "classifier"])
}

/// The optimizer of what is no matrix.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    pub no_matrix: Patterns,
    pub fallback: OptimizerConfig,
    pub fallback_rate: f64,
}

impl Routing {
    /// The program of an optimizer whose program for matrices this is.
    pub fn program(self, shared: &Shared, matrices: Program) -> Result<Program, ConfigError> {
        let fallback = self.fallback.any();
        let maximize = fallback.to_map().get("maximize").and_then(Value::as_bool);
        let of_the_whole = [
            ("grad_clipping", fallback.grad_clipping().is_some()),
            ("maximize", maximize.unwrap_or_default()),
        ];
        if let Some((name, _)) = of_the_whole.iter().find(|(_, is_set)| *is_set) {
            let reason = format!("the `fallback` has a `{name}`, which belongs to the whole");
            return Err(shared.conflict(reason));
        }
        let program = fallback.try_program()?;
        if program.0.of_model().is_some() || program.0.needs_loss() {
            return Err(shared.conflict(
                "the `fallback` looks at the whole model or its loss, which it cannot do in here",
            ));
        }
        let others = Branch {
            program,
            rate: self.fallback_rate,
            sign: if shared.maximize { -1.0 } else { 1.0 },
            name: Some(self.fallback.name()),
        };
        let choose = |shape: &[usize]| usize::from(!is_matrix(shape));
        Ok(Program::routed(
            choose,
            vec![matrices.into(), others],
            self.no_matrix,
        ))
    }
}
