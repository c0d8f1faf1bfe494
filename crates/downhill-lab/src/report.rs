//! The report of a comparison: a page that needs nothing but itself, for readers who were not there.

mod axis;
mod figures;
mod format;
mod scene;
mod verdict;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};

use self::figures::{Looks, Room};
use self::format::{bytes, count, grouped, number, percent, range, seconds, three};
use self::scene::Scene;
use self::verdict::{Measure, Place, is_share, places};
pub use self::verdict::{Verdict, verdict};
use crate::protocol::TUNING_SEED;
use crate::results::{Comparison, Edge, Entry, Interval, ProblemSummary};
use crate::stats::RESAMPLES;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or a folder cannot be written. No file is written in part, and those that were there are
    /// as they were unless it is their replacement that failed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The page cannot be made.
    #[error("cannot make the page: {0}")]
    Page(#[from] minijinja::Error),
    /// The results cannot be written as JSON.
    #[error("cannot write the results as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub report: PathBuf,
    /// `comparison.json`: everything that the report says, for programs.
    pub comparison: PathBuf,
    /// Those in `figures`: each drawing as SVG and as PNG.
    pub figures: Vec<PathBuf>,
}

/// Writes `report.html`, `comparison.json` and the figures into a folder, which is created if there is
/// none. Files of these names are replaced, each as a whole and none before all are ready.
///
/// # Errors
///
/// [`ReportError::Write`] with the file that cannot be written.
pub fn write(comparison: &Comparison, folder: &Path) -> Result<Written, ReportError> {
    let drawings = Drawings::of(comparison);
    let html = page(comparison, &drawings)?;
    let mut json = serde_json::to_string_pretty(comparison)?;
    json.push('\n');

    let mut staged = Staged::default();
    let figures = folder.join("figures");
    staged.folder(folder)?;
    staged.folder(&figures)?;
    let mut written = Written {
        report: folder.join("report.html"),
        comparison: folder.join("comparison.json"),
        figures: Vec::new(),
    };
    for drawing in drawings.all() {
        let svg = figures.join(format!("{}.svg", drawing.name));
        staged.text(&svg, &drawing.wide.file_svg())?;
        let png = figures.join(format!("{}.png", drawing.name));
        staged.file(&png, |path| {
            let done = drawing.wide.write_png(path);
            done.map_err(|error| io::Error::other(error.to_string()))
        })?;
        written.figures.extend([svg, png]);
    }
    staged.text(&written.comparison, &json)?;
    staged.text(&written.report, &html)?;
    staged.finish()?;
    Ok(written)
}

/// Files that are ready beside where they belong. Unless it is finished, all traces are removed.
#[derive(Default)]
pub(crate) struct Staged {
    files: Vec<(PathBuf, PathBuf)>,
    folders: Vec<PathBuf>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    let path = path.to_path_buf();
    move |source| ReportError::Write { path, source }
}

impl Staged {
    pub(crate) fn folder(&mut self, path: &Path) -> Result<(), ReportError> {
        let missing = path.ancestors().take_while(|path| !path.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        fs::create_dir_all(path).map_err(failed(path))?;
        self.folders.extend(missing.into_iter().rev());
        Ok(())
    }

    pub(crate) fn text(&mut self, path: &Path, text: &str) -> Result<(), ReportError> {
        self.file(path, |path| {
            let mut file = File::create(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
    }

    fn file(
        &mut self,
        path: &Path,
        write: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), ReportError> {
        // Renaming would find out too late, after other files were replaced.
        if path.is_dir() {
            return Err(failed(path)(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The extension remains, since it decides on the format of a picture.
        let temporary = path.with_file_name(format!(".{}-{name}", std::process::id()));
        self.files.push((temporary, path.to_path_buf()));
        let (temporary, _) = &self.files[self.files.len() - 1];
        File::create(temporary)
            .and_then(|_| write(temporary))
            .map_err(failed(path))
    }

    pub(crate) fn finish(mut self) -> Result<(), ReportError> {
        for (temporary, path) in &self.files {
            fs::rename(temporary, path).map_err(failed(path))?;
        }
        self.files.clear();
        self.folders.clear();
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (temporary, _) in &self.files {
            let _ = fs::remove_file(temporary);
        }
        // A folder that is not empty stays.
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

struct Drawing {
    /// Of the files, without extension.
    name: String,
    wide: Scene,
    narrow: Scene,
}

impl Drawing {
    fn of(name: String, draw: impl Fn(Room) -> Option<Scene>) -> Option<Self> {
        Some(Self {
            name,
            wide: draw(Room::Wide)?,
            narrow: draw(Room::Narrow)?,
        })
    }

    fn html(&self) -> Value {
        let wide = self.wide.inline_svg(&format!("{}-wide", self.name));
        let narrow = self.narrow.inline_svg(&format!("{}-narrow", self.name));
        Value::from_safe_string(format!(
            "<div class=\"wide\">{wide}</div><div class=\"narrow\">{narrow}</div>"
        ))
    }
}

struct ProblemDrawings {
    loss: Option<Drawing>,
    sensitivity: Option<Drawing>,
    target: Option<Drawing>,
}

struct Drawings {
    problems: Vec<ProblemDrawings>,
    profile: Option<Drawing>,
}

impl Drawings {
    fn of(comparison: &Comparison) -> Self {
        let looks = Looks::of(comparison);
        let problems = &comparison.problems;
        let names = problems.iter().enumerate().map(|(i, problem)| {
            let name = slug(&problem.problem);
            let before = problems[..i].iter();
            let taken = before.filter(|other| slug(&other.problem) == name).count();
            match taken {
                0 => name,
                taken => format!("{name}--{}", taken + 1),
            }
        });
        let draw = |(problem, name): (&ProblemSummary, String)| ProblemDrawings {
            loss: Drawing::of(format!("{name}-loss"), |room| {
                figures::loss_curves(problem, &looks, room)
            }),
            sensitivity: Drawing::of(format!("{name}-learning-rate"), |room| {
                figures::sensitivity(problem, &looks, room)
            }),
            target: Drawing::of(format!("{name}-target"), |room| {
                figures::time_to_target(problem, &looks, room)
            }),
        };
        Self {
            problems: problems.iter().zip(names).map(draw).collect(),
            profile: Drawing::of("performance-profile".to_string(), |room| {
                figures::profile(comparison, &looks, room)
            }),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Drawing> {
        let problems = self.problems.iter();
        let each = problems.flat_map(|p| [&p.loss, &p.sensitivity, &p.target]);
        each.chain([&self.profile]).flatten()
    }
}

/// A name as part of a file's name and of an anchor.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(60) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "problem".to_string()
    } else {
        slug.to_string()
    }
}

fn page(comparison: &Comparison, drawings: &Drawings) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    // Escaping is decided by the name.
    environment.add_template("report.html", include_str!("report/template.html"))?;
    let css = scene::page_css() + include_str!("report/style.css");
    let problems = comparison.problems.iter().zip(&drawings.problems);
    let problems: Vec<Value> = problems
        .enumerate()
        .map(|(i, (problem, drawings))| problem_context(i, problem, drawings))
        .collect();
    let html = environment.get_template("report.html")?.render(context! {
        css => Value::from_safe_string(css),
        command => comparison.command.as_str(),
        date => comparison.date.as_str(),
        version => comparison.version.as_str(),
        source => context! {
            commit => comparison.source.commit.as_deref(),
            changed => comparison.source.changed,
            lockfile => comparison.source.lockfile.as_deref(),
            profile => comparison.source.profile.as_str(),
        },
        burn => comparison.burn.as_str(),
        device => comparison.device.as_str(),
        machine => comparison.machine.as_str(),
        seeds => comparison.seeds.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        seed_count => comparison.seeds.len(),
        tuning_seed => TUNING_SEED,
        budget => comparison.tuning_budget,
        tried => tried_in_all(comparison),
        resamples => grouped(&RESAMPLES.to_string()),
        schedule => comparison.schedule.as_ref().map(json),
        driver => comparison.driver.as_ref().map(|driver| json(&driver.clone().into())),
        optimizers => optimizers(comparison),
        optimizer_count => names(comparison).len(),
        problems => problems,
        profile => drawings.profile.as_ref().map(Drawing::html),
        profiled => figures::profiled(comparison),
    })?;
    Ok(html)
}

fn json(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

fn names(comparison: &Comparison) -> Vec<&str> {
    let entries = comparison.problems.iter().flat_map(|p| &p.entries);
    let mut names: Vec<&str> = entries.map(|entry| entry.optimizer.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// How many rates were tried of each optimizer, with those that a grid was widened by.
fn tried_in_all(comparison: &Comparison) -> String {
    let entries = comparison.problems.iter().flat_map(|p| &p.entries);
    let counts = entries.map(|entry| entry.tried.len());
    match (counts.clone().min(), counts.max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (_, most) => most.unwrap_or(0).to_string(),
    }
}

/// Every optimizer's settings, once if they are the same on all problems.
fn optimizers(comparison: &Comparison) -> Vec<Value> {
    let mut known: Vec<(&str, &serde_json::Value)> = Vec::new();
    for entry in comparison.problems.iter().flat_map(|p| &p.entries) {
        let settings = (entry.optimizer.as_str(), &entry.config);
        if !known.contains(&settings) {
            known.push(settings);
        }
    }
    known.sort_by_key(|(name, _)| *name);
    let value = |(name, config)| context! { name => name, config => json(config) };
    known.into_iter().map(value).collect()
}

fn problem_context(i: usize, problem: &ProblemSummary, drawings: &ProblemDrawings) -> Value {
    let measure = Measure::of(problem);
    let Verdict { sentence, notes } = verdict(problem);
    let share = is_share(problem);
    let places = places(problem);
    let rows: Vec<Value> = places.iter().map(|place| row(place, measure)).collect();
    let tried: Vec<Value> = places
        .iter()
        .map(|place| tried(place.entry, share))
        .collect();
    let ran = places
        .iter()
        .map(|place| place.entry)
        .filter(|e| e.runs > 0);
    let tied = places.iter().any(|place| place.tied);
    let edge = |edge| places.iter().any(|place| place.entry.edge == edge);
    let html = |drawing: &Option<Drawing>| drawing.as_ref().map(Drawing::html);
    context! {
        id => format!("problem-{}", i + 1),
        name => problem.problem.as_str(),
        description => problem.description.as_str(),
        target => problem.target.as_str(),
        metric => problem.metric.as_deref(),
        measure => measure.name(),
        steps => count(problem.steps as f64),
        parameters => count(problem.parameters as f64),
        test_samples => problem.test_samples.map(|samples| count(samples as f64)),
        sample_worth => problem.test_samples.filter(|_| share).map(|samples| percent(1.0 / samples as f64, 2)),
        check => check_interval(problem),
        sentence => sentence,
        notes => notes,
        rows => rows,
        tried => tried,
        counted => places.iter().map(|place| counted(place.entry, share)).collect::<Vec<_>>(),
        tied => tied,
        at_edge => edge(Edge::Lowest) || edge(Edge::Highest),
        ran => ran.count(),
        loss => html(&drawings.loss),
        sensitivity => html(&drawings.sensitivity),
        capped => figures::is_capped(problem),
        reached => html(&drawings.target),
    }
}

/// How many updates apart the target is looked for.
fn check_interval(problem: &ProblemSummary) -> Option<String> {
    let curves = problem.entries.iter().map(|entry| &entry.curve);
    let pairs = curves.flat_map(|curve| curve.windows(2));
    let steps = pairs.filter_map(|ends| ends[1].step.checked_sub(ends[0].step));
    steps.max().map(|steps| count(steps as f64))
}

/// A cell of a table: the median, and the interval below it.
fn cell(interval: Option<Interval>, format: impl Fn(f64) -> String) -> Value {
    match interval {
        None => context! { median => "–" },
        Some(interval) => context! {
            median => format(interval.median),
            range => range(interval, format),
        },
    }
}

fn row(place: &Place, measure: Measure) -> Value {
    let entry = place.entry;
    let ran = entry.runs > 0;
    let per_step = entry.seconds_per_step;
    let share = entry.optimizer_seconds_per_step / per_step;
    context! {
        rank => place.rank.map_or("–".to_string(), |rank| rank.to_string()),
        tried => entry.tried.len(),
        tied => place.tied,
        optimizer => entry.optimizer.as_str(),
        lr => entry.lr.map_or("–".to_string(), number),
        edge => figures::edge_mark(entry.edge),
        edge_words => match entry.edge {
            Edge::Lowest => "the lowest that was tried",
            Edge::Highest => "the highest that was tried",
            Edge::Inside | Edge::None => "",
        },
        train => cell(entry.train_loss, number),
        test => cell(entry.test_loss, number),
        metric => cell(entry.test_metric, |x| measure.format(x)),
        runs => entry.runs,
        diverged => if ran { format!("{} of {}", entry.diverged, entry.runs) } else { "all rates".to_string() },
        some_diverged => entry.diverged > 0 || !ran,
        reached => if ran { format!("{} of {}", entry.reached, entry.runs) } else { "–".to_string() },
        all_reached => entry.reached == entry.runs,
        steps => cell(entry.steps_to_target, count),
        seconds => cell(entry.seconds_to_target, seconds),
        per_step => if ran { three(1e3 * per_step) } else { "–".to_string() },
        share => if ran && share.is_finite() { percent(share, 0) } else { "–".to_string() },
        state => if ran { bytes(entry.state_bytes) } else { "–".to_string() },
        peak => entry.peak_bytes.map_or("–".to_string(), bytes),
    }
}

fn tried(entry: &Entry, share: bool) -> Value {
    let metric = |x| if share { percent(x, 1) } else { number(x) };
    let rates = entry.tried.iter().map(|tried| {
        context! {
            lr => number(tried.lr),
            chosen => Some(tried.lr) == entry.lr,
            loss => tried.validation.loss.map_or("diverged".to_string(), number),
            metric => tried.validation.metric.map_or("–".to_string(), metric),
        }
    });
    context! {
        optimizer => entry.optimizer.as_str(),
        count => entry.tried.len(),
        rates => rates.collect::<Vec<_>>(),
    }
}

fn counted(entry: &Entry, share: bool) -> Value {
    let metric = |x| if share { percent(x, 1) } else { number(x) };
    let loss = |loss: Option<f64>| loss.map_or("diverged".to_string(), number);
    let runs = entry.counted.iter().map(|run| {
        context! {
            seed => run.seed,
            train => loss(run.train.loss),
            test => loss(run.test.loss),
            metric => run.test.metric.map_or("–".to_string(), metric),
            steps => run.steps_to_target.map_or("–".to_string(), |steps| count(steps as f64)),
        }
    });
    context! {
        optimizer => entry.optimizer.as_str(),
        count => entry.counted.len(),
        runs => runs.collect::<Vec<_>>(),
    }
}
