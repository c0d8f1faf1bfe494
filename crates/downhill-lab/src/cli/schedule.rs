//! `downhill schedule`: learning rate schedules as charts and tables.

use std::env;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use downhill_schedule::{
    CosineConfig, CosineRestartsConfig, ExponentialConfig, Schedule, ScheduleConfig, ScheduleError,
    StepConfig, slides,
};
use serde::{Serialize, Serializer};

use super::{Failure, end, failed, printable, terminal, usage};
use crate::figure::{self, Line, Mark, Page, Panel};
use downhill_plot::PlotFile;

/// Draw learning rate schedules
///
/// Without arguments, those of the deck: step, exponential and cosine decay (slide 9), and the
/// cosine with warm restarts as it is there and as it is right (slide 14).
#[derive(Parser)]
#[command(name = "schedules", allow_negative_numbers = true, after_help = after_help())]
pub struct Args {
    /// Schedules with their default settings (listed below), and files with settings of your own
    /// as JSON, e.g. {"name": "cosine", "floor": "1%"}
    #[arg(value_name = "NAME|FILE.json", value_parser = Source::parse)]
    schedules: Vec<Source>,

    /// Steps of the training
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "schedules")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    steps: u64,

    /// Base learning rate
    #[arg(long, default_value_t = 0.1, requires = "schedules")]
    #[arg(value_parser = learning_rate, allow_hyphen_values = true)]
    lr: f64,

    /// Draw into this file instead of the terminal
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    plot: Option<PlotFile>,

    /// Print one JSON object per schedule instead of charts and tables, and nothing else
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    let mut help = String::from("Schedules, and other names that they have:\n");
    for info in ScheduleConfig::all() {
        let mut line = format!("  {:<18}", info.name);
        let mut text = info.description.to_string();
        if !info.aliases.is_empty() {
            text += &format!(" ({})", info.aliases.join(", "));
        }
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > 80 {
                help += &line;
                line = format!("\n{:20}", "");
            }
            line = line + " " + word;
        }
        help += &line;
        help += "\n";
    }
    help + r#"
In a file, schedules can be combined:
  {"name": "warmup", "steps": "5%", "schedule": {"name": "cosine", "floor": "1%"}}

JSON keys:
  name    the schedule's name, or the file's
  config  the settings, with percentages replaced by what they come to
  phases  the steps at which another phase begins
  values  the learning rates of the steps 0 to N

Exit status:
  0  all went well
  1  the output could not be written
  2  the command line, or a file that it names, is wrong"#
}

fn learning_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(lr) if lr.is_finite() && lr > 0.0 => Ok(lr),
        _ => Err("a learning rate is a number above 0, for example 0.1"),
    }
}

/// A schedule that was asked for.
#[derive(Clone)]
struct Source {
    name: String,
    config: ScheduleConfig,
    is_file: bool,
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        let is_file = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let (name, config) = if is_file {
            let json =
                fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (printable(&name), ScheduleConfig::from_json(&json))
        } else {
            let config = ScheduleConfig::by_name(text);
            let name = config.as_ref().map(|config| config.name().to_string());
            (name.unwrap_or_default(), config)
        };
        let config = config.map_err(|error| printable(&error.to_string()))?;
        Ok(Self {
            name,
            config,
            is_file,
        })
    }

    fn build(&self, lr: f64, steps: u64) -> Result<Schedule, String> {
        let built = self.config.try_build_for(lr, steps);
        built.map_err(|error| match error {
            error if self.is_file => format!("{}: {error}", self.name),
            error => match example(self.config.name()) {
                Some(json) => format!(
                    "{error}\n\n  It has no default settings. Write some into a file, for example\n  \
                     {json}"
                ),
                None if self.config.name() == "custom" => error.to_string(),
                None => format!("{error} (of {steps} step{})", plural(steps)),
            },
        })
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Settings of the schedules that cannot do without.
fn example(name: &str) -> Option<&'static str> {
    let json = match name {
        "piecewise" => {
            r#"{"name": "piecewise", "points": [[0, 0], ["10%", "100%"], ["100%", "1%"]]}"#
        }
        "sequence" => {
            r#"{"name": "sequence", "schedules": [{"name": "constant"}, {"name": "cosine"}], "milestones": ["50%"]}"#
        }
        "product" => {
            r#"{"name": "product", "schedule": {"name": "cosine"}, "multipliers": [{"name": "step"}]}"#
        }
        "scale" => r#"{"name": "scale", "factor": 0.5, "schedule": {"name": "cosine"}}"#,
        "clamp" => r#"{"name": "clamp", "min": "10%", "schedule": {"name": "exponential"}}"#,
        "shift" => r#"{"name": "shift", "steps": 100, "schedule": {"name": "cosine"}}"#,
        "repeat" => r#"{"name": "repeat", "period": "25%", "schedule": {"name": "linear"}}"#,
        "per_epoch" => {
            r#"{"name": "per_epoch", "steps_per_epoch": 45, "schedule": {"name": "cosine"}}"#
        }
        _ => return None,
    };
    Some(json)
}

/// A schedule with its name.
struct Named {
    name: String,
    schedule: Schedule,
    /// Some are only in the table, where a chart would show a curve twice.
    drawn: bool,
}

/// Schedules that are shown together.
struct Group {
    title: String,
    /// What the schedules count.
    step: &'static str,
    end: u64,
    schedules: Vec<Named>,
    /// Where there is something to see besides the boundaries of the phases.
    notable: Vec<u64>,
}

impl Group {
    fn of(args: &Args) -> Result<Self, String> {
        let schedules = args.schedules.iter().map(|source| {
            Ok(Named {
                name: source.name.clone(),
                schedule: source.build(args.lr, args.steps)?,
                drawn: true,
            })
        });
        let schedules: Vec<Named> = schedules.collect::<Result<_, String>>()?;
        let what = match schedules.as_slice() {
            [one] => &one.name,
            _ => "Learning rates",
        };
        Ok(Self {
            title: format!("{what} over {} step{}", args.steps, plural(args.steps)),
            step: "Step",
            end: args.steps,
            schedules,
            notable: Vec::new(),
        })
    }

    /// The figures of the deck, and what is right.
    fn deck() -> Result<Vec<Self>, ScheduleError> {
        let named = |schedule: Schedule, drawn| Named {
            name: schedule.config().name().to_string(),
            schedule,
            drawn,
        };
        let (lr, k) = (0.1, 0.1f64);
        let decays = Self {
            title: "Slide 9: step, exponential and cosine decay".to_string(),
            step: "Epoch",
            end: 100,
            schedules: vec![
                named(slides::StepConfig::new(lr, 10).try_build()?, true),
                named(StepConfig::new(lr, 10).with_gamma(0.5).try_build()?, false),
                named(
                    slides::ExponentialConfig::new(lr).with_k(k).try_build()?,
                    true,
                ),
                named(
                    ExponentialConfig::new(lr, (-k).exp(), 1).try_build()?,
                    false,
                ),
                named(slides::CosineConfig::new(lr, 100).try_build()?, true),
                named(CosineConfig::new(lr, 100).try_build()?, false),
            ],
            // The deck's steps come one epoch early.
            notable: vec![9],
        };
        let right = CosineRestartsConfig::new(lr, 5_000)
            .with_floor(1e-6)
            .with_t_mul(2.0)
            .with_m_mul(0.5);
        let restarts = Self {
            title: "Slide 14: cosine with warm restarts, as in the deck and as it should be"
                .to_string(),
            step: "Step",
            end: 20_000,
            schedules: vec![
                named(slides::RestartsConfig::new(lr, 5_000).try_build()?, true),
                named(right.try_build()?, true),
            ],
            // The middle of the first cycles, where the deck's has come down already.
            notable: vec![2_500, 10_000],
        };
        Ok(vec![decays, restarts])
    }

    /// The boundaries of all phases, in order.
    fn marks(&self) -> Vec<Mark> {
        let schedules = self.schedules.iter();
        let mut marks: Vec<Mark> = schedules
            .flat_map(|named| figure::marks(&named.schedule, self.end))
            .collect();
        marks.sort_by_key(|mark| (mark.step, !mark.restart));
        marks.dedup_by_key(|mark| mark.step);
        marks
    }

    fn panel(&self) -> Panel {
        const MOST: usize = 24;
        let drawn: Vec<&Named> = self.schedules.iter().filter(|named| named.drawn).collect();
        let mut marks = self.marks();
        // Of several schedules it would not be clear whose boundaries they are.
        if self.schedules.len() > 1 || marks.len() > MOST {
            marks.retain(|mark| mark.restart);
        }
        if marks.len() > MOST {
            marks.clear();
        }
        Panel {
            title: self.title.clone(),
            x: self.step,
            y: "Learning rate",
            end: self.end,
            lines: drawn
                .iter()
                .map(|named| Line::of(&named.name, &named.schedule, self.end))
                .collect(),
            marks,
        }
    }

    fn table(&self, width: u16) -> String {
        let mut marks = self.marks();
        let notable = self.notable.iter().map(|&step| Mark {
            step,
            restart: false,
        });
        marks.extend(notable);
        let schedules = self.schedules.iter();
        let schedules: Vec<(&str, &Schedule)> = schedules
            .map(|named| (named.name.as_str(), &named.schedule))
            .collect();
        terminal::table(self.step, self.end, &schedules, &marks, width)
    }
}

/// What is printed about a schedule with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    config: &'a ScheduleConfig,
    phases: Vec<u64>,
    values: Values<'a>,
}

struct Values<'a> {
    schedule: &'a Schedule,
    end: u64,
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // They are not collected before: they may be many.
        serializer.collect_seq((0..=self.end).map(|step| self.schedule.value(step)))
    }
}

/// Does what the command line says, as a program of its own.
pub fn main() -> ExitCode {
    end::<Args>(run(&Args::parse()))
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let groups = if args.schedules.is_empty() {
        Group::deck().map_err(usage)?
    } else {
        vec![Group::of(args).map_err(usage)?]
    };

    let colored =
        io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut stdout = BufWriter::new(io::stdout().lock());
    let width = terminal::width();
    for (i, group) in groups.iter().enumerate() {
        if args.json {
            for Named { name, schedule, .. } in &group.schedules {
                let report = Report {
                    name,
                    config: schedule.config(),
                    phases: schedule.phases(group.end + 1),
                    values: Values {
                        schedule,
                        end: group.end,
                    },
                };
                serde_json::to_writer(&mut stdout, &report).map_err(io::Error::from)?;
                writeln!(stdout)?;
            }
            continue;
        }
        if i > 0 {
            writeln!(stdout)?;
        }
        if args.plot.is_some() {
            writeln!(stdout, "{}", group.title)?;
        } else {
            writeln!(
                stdout,
                "{}",
                terminal::chart(&group.panel(), width, colored)
            )?;
        }
        write!(stdout, "{}", group.table(width))?;
    }
    stdout.flush()?;

    if let Some(file) = &args.plot {
        let page = Page {
            size: (960, 440 * groups.len() as u32),
            panels: groups.iter().map(Group::panel).collect(),
            small: false,
        };
        let drawn = file.draw_figure(&page);
        drawn.map_err(|error| failed(format!("cannot write {file}: {error}")))?;
    }
    Ok(())
}
