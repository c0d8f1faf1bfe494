use core::fmt;
use std::sync::Arc;

use downhill_optim::Identity;

use crate::bound::Bound;
use crate::params::ParamInfo;

/// What a driver knows about a parameter.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BoundParameter<'a> {
    /// Path, shape and precision.
    pub info: &'a ParamInfo,
    /// The names of the groups that it is in.
    pub groups: &'a [Arc<str>],
    /// Its optimizer, where it has a name.
    pub optimizer: Option<&'a Identity>,
    /// The name of whoever moves it: that of its optimizer, or of the one that its optimizer leaves it to, as one of
    /// matrices does with vectors.
    pub stepped_by: Option<&'a str>,
    /// Whether it is frozen, by a group or [by hand](crate::Driver::freeze).
    pub frozen: bool,
}

impl<'a> From<&'a Bound> for BoundParameter<'a> {
    fn from(bound: &'a Bound) -> Self {
        let identity = bound.identity.as_ref();
        let optimizer = bound.optimizer.as_ref();
        let left_to = optimizer.and_then(|optimizer| optimizer.name_for(&bound.info().shape));
        Self {
            info: bound.info(),
            groups: &bound.groups,
            optimizer: identity,
            stepped_by: left_to.or(identity.map(|identity| identity.name.as_str())),
            frozen: bound.frozen,
        }
    }
}

impl BoundParameter<'_> {
    /// Who moves it, in words.
    fn mover(&self) -> String {
        let own = self.optimizer.map(|identity| identity.name.as_str());
        match (self.stepped_by, own) {
            _ if self.frozen => "frozen".to_string(),
            _ if !self.info.trainable => "not trained".to_string(),
            (Some(name), Some(own)) if name != own => format!("{name}, for {own}"),
            (Some(name), _) => name.to_string(),
            (None, _) => "an optimizer without a name".to_string(),
        }
    }
}

/// Who moves which parameter, as a table of a line each: path (of a tied parameter all of them), shape, precision, who,
/// and groups.
///
/// ```text
/// embedding.weight   65 × 128   F32  adamw, for muon
/// linear.weight      128 × 512  F32  muon
/// linear.bias        512        F32  adamw, for muon   no decay
/// ```
#[derive(Clone, Debug)]
pub struct Plan<'a>(Vec<BoundParameter<'a>>);

impl<'a> FromIterator<BoundParameter<'a>> for Plan<'a> {
    fn from_iter<I: IntoIterator<Item = BoundParameter<'a>>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 5]> = self
            .0
            .iter()
            .map(|parameter| {
                let shape: Vec<_> = parameter.info.shape.iter().map(usize::to_string).collect();
                [
                    parameter
                        .info
                        .paths()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(" = "),
                    shape.join(" × "),
                    format!("{:?}", parameter.info.dtype),
                    parameter.mover(),
                    parameter.groups.join(", "),
                ]
            })
            .collect();
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3].map(width);
        for [path, shape, dtype, mover, groups] in &rows {
            let line = format!(
                "{path:0$}  {shape:1$}  {dtype:2$}  {mover:3$}  {groups}",
                widths[0], widths[1], widths[2], widths[3],
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
