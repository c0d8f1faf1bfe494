//! `downhill list`: what there is.

use std::io::{self, Write};

use clap::ValueEnum;
use downhill_optim::{OptimizerConfig, OptimizerInfo};
use downhill_problems as problems;
use downhill_schedule::ScheduleConfig;
use downhill_setting::{nearest, suggestion};
use serde::Serialize;

use super::{Failure, json, number, table, usage};

/// List optimizers, schedules and problems
#[derive(clap::Args)]
pub struct Args {
    /// Only these, and only those whose name or description contains this; a name may be another library's
    #[arg(value_names = ["optimizers|schedules|problems", "TEXT"], num_args = 0..=2)]
    of: Vec<String>,

    /// Print one JSON object per line instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Optimizers,
    Schedules,
    Problems,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Item {
    Optimizer {
        name: String,
        default_learning_rate: f64,
        state: String,
        source: String,
        description: String,
    },
    Schedule {
        name: String,
        aliases: Vec<&'static str>,
        source: String,
        description: String,
    },
    Problem {
        name: String,
        metric: Option<String>,
        target: String,
        samples: usize,
        batch_size: usize,
        epochs: usize,
        updates: u64,
        description: String,
    },
}

impl Item {
    fn all() -> Vec<Self> {
        let optimizer = |info: OptimizerInfo, note: &str| Self::Optimizer {
            name: info.name.into(),
            default_learning_rate: info.default_learning_rate,
            state: info.state,
            source: info.paper.into(),
            description: format!("{note}{}", info.description),
        };
        let optimizers = OptimizerConfig::all().into_iter();
        let optimizers = optimizers.map(|info| optimizer(info, ""));
        let slides = OptimizerConfig::slides().into_iter();
        let slides = slides.map(|info| optimizer(info, "for comparison only: "));
        let schedules = ScheduleConfig::all()
            .into_iter()
            .map(|info| Self::Schedule {
                name: info.name.into(),
                aliases: info.aliases.into(),
                source: info.source.into(),
                description: info.description.into(),
            });
        let problems = problems::all().into_iter().map(|problem| {
            let info = problem.info();
            Self::Problem {
                name: info.name.clone(),
                metric: info.metric.as_ref().map(|metric| metric.name.clone()),
                target: downhill_lab::run::target_in_words(info),
                samples: info.samples,
                batch_size: info.batch_size,
                epochs: info.epochs,
                updates: info.updates(),
                description: info.about.clone(),
            }
        });
        let optimizers = optimizers.chain(slides);
        optimizers.chain(schedules).chain(problems).collect()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Optimizer { .. } => Kind::Optimizers,
            Self::Schedule { .. } => Kind::Schedules,
            Self::Problem { .. } => Kind::Problems,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Optimizer { name, .. }
            | Self::Schedule { name, .. }
            | Self::Problem { name, .. } => name,
        }
    }

    fn matches(&self, pattern: &str) -> bool {
        let (name, aliases, description) = match self {
            Self::Optimizer {
                name, description, ..
            }
            | Self::Problem {
                name, description, ..
            } => (name, [].as_slice(), description),
            Self::Schedule {
                name,
                aliases,
                description,
                ..
            } => (name, aliases.as_slice(), description),
        };
        let texts = [name.as_str(), description]
            .into_iter()
            .chain(aliases.iter().copied());
        texts
            .map(str::to_lowercase)
            .any(|text| text.contains(pattern))
    }

    fn row(&self) -> Vec<String> {
        match self {
            Self::Optimizer {
                name,
                default_learning_rate,
                state,
                source,
                description,
            } => vec![
                name.clone(),
                number(*default_learning_rate),
                state.clone(),
                source.clone(),
                description.clone(),
            ],
            Self::Schedule {
                name,
                source,
                description,
                ..
            } => {
                vec![name.clone(), source.clone(), description.clone()]
            }
            Self::Problem {
                name,
                target,
                updates,
                description,
                ..
            } => {
                vec![
                    name.clone(),
                    target.clone(),
                    updates.to_string(),
                    description.clone(),
                ]
            }
        }
    }
}

fn header(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Optimizers => &[
            "Optimizer",
            "Default rate",
            "State per parameter",
            "Source",
            "What it does",
        ],
        Kind::Schedules => &["Schedule", "Source", "What it does"],
        Kind::Problems => &["Problem", "Target", "Updates", "What it is"],
    }
}

impl Args {
    /// The kind and the text that are asked for.
    fn said(&self) -> Result<(Option<Kind>, &str), Failure> {
        let kind = |text: &str| Kind::from_str(text, false).ok();
        match &self.of[..] {
            [] => Ok((None, "")),
            [text] => match kind(text) {
                Some(kind) => Ok((Some(kind), "")),
                None => Ok((None, text)),
            },
            [first, rest @ ..] => match kind(first) {
                Some(kind) => Ok((Some(kind), rest.first().map_or("", String::as_str))),
                None => Err(usage(format!(
                    "`{first}` is none of optimizers, schedules and problems"
                ))),
            },
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let (kind, pattern) = args.said()?;
    let pattern = pattern.to_lowercase();
    let mut items = Item::all();
    items.retain(|item| kind.is_none_or(|kind| item.kind() == kind));
    let matches = |item: &Item| item.matches(&pattern);
    // It may be a name of another library's.
    let optimizer = OptimizerConfig::by_name(&pattern).map(|config| config.name());
    let schedule = ScheduleConfig::by_name(&pattern).map(|config| config.name());
    let names = [optimizer.ok(), schedule.ok()];
    let is_named = |item: &Item| names.contains(&Some(item.name()));
    let by_text = items.iter().any(matches);
    let (items, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| {
        if by_text {
            matches(item)
        } else {
            is_named(item)
        }
    });
    if items.is_empty() {
        let near = suggestion(&nearest(&pattern, others.iter().map(Item::name)));
        return Err(usage(format!(
            "nothing is called or described by `{pattern}`{near}"
        )));
    }
    let mut stdout = io::stdout().lock();
    if args.json {
        for item in &items {
            writeln!(stdout, "{}", json(item)?)?;
        }
        return Ok(());
    }
    for kind in [Kind::Optimizers, Kind::Schedules, Kind::Problems] {
        let rows: Vec<_> = items.iter().filter(|item| item.kind() == kind).collect();
        if rows.is_empty() {
            continue;
        }
        let mut table = table(header(kind).iter().copied());
        for item in rows {
            table.add_row(item.row());
        }
        writeln!(stdout, "{table}")?;
    }
    Ok(())
}
