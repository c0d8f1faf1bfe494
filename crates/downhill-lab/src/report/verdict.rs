//! What the numbers allow to be said.

use std::cmp::Ordering;

use super::format::{count, list, number, percent, range};
use crate::results::{Counted, Edge, Entry, Interval, ProblemSummary};
use crate::score::SIGNIFICANCE;
use crate::stats::{FEWEST_PAIRS, paired};

/// Fewer results than this have no interval worth the name.
const FEWEST: usize = 3;

/// What is said about a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which optimizer is the best, if one is.
    pub sentence: String,
    /// What has to be known about it.
    pub notes: Vec<String>,
}

/// What optimizers are ranked by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure<'a> {
    /// A metric.
    Metric {
        /// What it is called.
        name: &'a str,
        /// Whether more of it is better.
        higher_is_better: bool,
        /// It is a share, shown as a percentage with so many decimals.
        percent: Option<usize>,
    },
    /// The loss; lower is better.
    Loss,
}

impl<'a> Measure<'a> {
    /// The metric if there is one.
    pub fn of(problem: &'a ProblemSummary) -> Self {
        let metrics: Vec<Interval> = problem
            .entries
            .iter()
            .filter_map(|entry| entry.test_metric)
            .collect();
        match &problem.metric {
            Some(name) if !metrics.is_empty() => Self::Metric {
                name,
                higher_is_better: problem.higher_is_better,
                percent: is_share(problem).then(|| decimals(&metrics)),
            },
            _ => Self::Loss,
        }
    }

    /// What an optimizer has come to.
    pub fn value(self, entry: &Entry) -> Option<Interval> {
        match self {
            Self::Metric { .. } => entry.test_metric,
            Self::Loss => entry.test_loss,
        }
    }

    /// What is measured.
    pub fn name(self) -> String {
        match self {
            Self::Metric { name, .. } => format!("test {name}"),
            Self::Loss => "test loss".to_string(),
        }
    }

    /// A value of it.
    pub fn format(self, x: f64) -> String {
        match self {
            Self::Metric {
                percent: Some(decimals),
                ..
            } => percent(x, decimals),
            Self::Metric { .. } | Self::Loss => number(x),
        }
    }

    fn phrase(self, value: Interval) -> String {
        let median = self.format(value.median);
        match range(value, |x| self.format(x)) {
            Some(range) => format!("{} {median}, {range}", self.name()),
            None => format!("{} {median}", self.name()),
        }
    }

    fn higher_is_better(self) -> bool {
        match self {
            Self::Metric {
                higher_is_better, ..
            } => higher_is_better,
            Self::Loss => false,
        }
    }

    fn compare(self, a: Interval, b: Interval) -> Ordering {
        if self.higher_is_better() {
            b.median.total_cmp(&a.median)
        } else {
            a.median.total_cmp(&b.median)
        }
    }

    /// Whether the interval of the better one ends before that of the worse one begins.
    fn apart(self, better: Interval, worse: Interval) -> bool {
        if self.higher_is_better() {
            better.low > worse.high
        } else {
            better.high < worse.low
        }
    }
}

/// Whether the metric is a share of one, as an accuracy is, as far as its values tell.
pub fn is_share(problem: &ProblemSummary) -> bool {
    let entries = problem.entries.iter();
    let mut values = entries.flat_map(|entry| {
        let test = entry
            .test_metric
            .iter()
            .flat_map(|test| [test.low, test.high]);
        let tried = entry.tried.iter();
        test.chain(tried.filter_map(|tried| tried.validation.metric))
    });
    problem.higher_is_better && values.all(|x| (0.0..=1.0).contains(&x))
}

/// As few as show every difference between the ends of intervals, which is what is judged by.
fn decimals(metrics: &[Interval]) -> usize {
    let mut ends: Vec<f64> = metrics.iter().flat_map(|m| [m.low, m.high]).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let shown: Vec<String> = ends.iter().map(|end| percent(*end, 1)).collect();
    if shown.windows(2).any(|pair| pair[0] == pair[1]) {
        2
    } else {
        1
    }
}

/// An optimizer's place.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The optimizer.
    pub entry: &'a Entry,
    /// From 1; nothing without a result.
    pub rank: Option<usize>,
    /// Whether it cannot be told apart from the first.
    pub tied: bool,
}

/// All optimizers by the median of what they are measured by, those without a result last.
pub fn places<'a>(problem: &'a ProblemSummary) -> Vec<Place<'a>> {
    let measure = Measure::of(problem);
    let mut entries: Vec<&Entry> = problem.entries.iter().collect();
    entries.sort_by(|a, b| match (measure.value(a), measure.value(b)) {
        (Some(a), Some(b)) => measure.compare(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    let first = entries.first().copied();
    let paired = paired_with_first(measure, &entries);
    let place = |(i, entry): (usize, &'a Entry)| {
        let value = measure.value(entry);
        Place {
            entry,
            rank: value.map(|_| i + 1),
            tied: match (
                first.and_then(|first| Some((first, measure.value(first)?))),
                value,
            ) {
                (Some((first, best)), Some(value)) if i > 0 => {
                    let few = results(first).min(results(entry)) < FEWEST;
                    let mut paired = paired.iter();
                    match paired.find(|(name, _)| *name == entry.optimizer) {
                        Some((_, p)) => *p > SIGNIFICANCE,
                        None => few || !measure.apart(best, value),
                    }
                }
                _ => false,
            },
        }
    };
    entries.into_iter().enumerate().map(place).collect()
}

/// What an optimizer came to from each seed, if that is known and it has a result from every one.
fn of_seeds(measure: Measure<'_>, entry: &Entry) -> Option<Vec<f64>> {
    let value = |counted: &Counted| match measure {
        Measure::Metric { .. } => counted.test.metric,
        Measure::Loss => counted.test.loss,
    };
    let values: Option<Vec<f64>> = entry.counted.iter().map(value).collect();
    values.filter(|values| !values.is_empty())
}

/// How often chance parts any two as far as each is from the first, by the differences of their runs from each seed:
/// of those that have a result from every seed. Nothing if the first has not.
fn paired_with_first<'a>(measure: Measure<'_>, entries: &[&'a Entry]) -> Vec<(&'a str, f64)> {
    let Some((first, others)) = entries.split_first() else {
        return Vec::new();
    };
    let Some(best) = of_seeds(measure, first) else {
        return Vec::new();
    };
    let seeds = best.len();
    let others = others.iter().filter_map(|entry| {
        let values = of_seeds(measure, entry)?;
        (values.len() == seeds).then_some((entry.optimizer.as_str(), values))
    });
    let (names, values): (Vec<&str>, Vec<Vec<f64>>) = others.unzip();
    let all: Vec<Vec<f64>> = core::iter::once(best).chain(values).collect();
    names.into_iter().zip(paired(&all)).collect()
}

fn results(entry: &Entry) -> usize {
    entry.runs.saturating_sub(entry.diverged)
}

/// What the numbers allow to be said about a problem.
pub fn verdict(problem: &ProblemSummary) -> Verdict {
    let mut notes = Vec::new();
    let sentence = sentence(problem, &mut notes);
    for entry in &problem.entries {
        notes.extend(of_edge(entry));
        notes.extend(of_divergence(entry));
    }
    notes.extend(of_target(problem));
    Verdict { sentence, notes }
}

fn sentence(problem: &ProblemSummary, notes: &mut Vec<String>) -> String {
    let measure = Measure::of(problem);
    let places = places(problem);
    let ranked: Vec<(&Entry, Interval)> = places
        .iter()
        .filter_map(|place| Some((place.entry, measure.value(place.entry)?)))
        .collect();
    let Some((first, best)) = ranked.first().copied() else {
        return match &problem.entries[..] {
            [] => "No optimizer was run.".to_string(),
            entries if entries.iter().all(|entry| entry.edge == Edge::None) => {
                "No optimizer has a result: each diverged at every learning rate.".to_string()
            }
            _ => "No optimizer has a result: too many runs diverged.".to_string(),
        };
    };
    let name = &first.optimizer;
    let phrase = measure.phrase(best);
    let names = |tied: bool| -> Vec<&str> {
        let others = places.iter().skip(1);
        let others = others.filter(|place| place.rank.is_some() && place.tied == tied);
        others.map(|place| place.entry.optimizer.as_str()).collect()
    };
    let (tied, behind) = (names(true), names(false));
    if ranked.len() == 1 {
        return match problem.entries.len() {
            1 => format!("{name} has {phrase}; nothing was compared with it."),
            _ => format!("{name} is the only one with a result ({phrase})."),
        };
    }
    let seeds = results(first);
    if seeds < FEWEST {
        let runs = if seeds == 1 { "one run" } else { "two runs" };
        return format!(
            "{name} comes first ({phrase}), but {runs} cannot tell it apart from the others."
        );
    }
    let paired = of_seeds(measure, first).map(|values| values.len());
    if let Some(seeds) = paired {
        if seeds < FEWEST_PAIRS && behind.is_empty() {
            return format!(
                "{name} comes first ({phrase}), but runs from {seeds} seeds cannot tell it apart from the others: it takes \
                 {FEWEST_PAIRS}."
            );
        }
        if !behind.is_empty() {
            notes.push(
                "Optimizers are told apart by the differences of their runs from each seed, together: chance parts any two \
                 of these as far in at most 5 % of comparisons."
                    .to_string(),
            );
        }
    }
    // The smallest sample of those that are said to differ decides how easily chance does it.
    let fewest = ranked
        .iter()
        .filter(|(entry, _)| behind.contains(&entry.optimizer.as_str()))
        .map(|(entry, _)| results(entry))
        .fold(seeds, usize::min);
    if paired.is_none() && !behind.is_empty() && fewest <= 5 {
        notes.push(format!(
            "With as few as {fewest} runs an interval is the range of the results; two equal optimizers come out \
             this far apart by chance in {} of comparisons.",
            percent(chance(fewest), 1)
        ));
    }
    if tied.is_empty() {
        let (second, value) = ranked[1];
        return format!(
            "{name} is best ({phrase}); {} comes next ({}).",
            second.optimizer,
            measure.phrase(value)
        );
    }
    let all = behind.is_empty();
    match tied.len() {
        n if all && n > 1 => format!(
            "No winner: {name} comes first ({phrase}), but none of the others can be told apart from it."
        ),
        _ if all => format!(
            "No winner: {name} comes first ({phrase}), but {} cannot be told apart from it.",
            list(&tied)
        ),
        _ => format!(
            "{name} comes first ({phrase}); {} cannot be told apart from it, {} {} behind.",
            list(&tied),
            list(&behind),
            if behind.len() == 1 { "is" } else { "are" }
        ),
    }
}

/// How often all of `n` numbers are below all of `n` others, or above, if all are from one distribution.
fn chance(n: usize) -> f64 {
    let ways = (1..=n).map(|i| (n + i) as f64 / i as f64).product::<f64>();
    2.0 / ways
}

fn of_edge(entry: &Entry) -> Option<String> {
    let (name, lr) = (&entry.optimizer, number(entry.lr.unwrap_or(f64::NAN)));
    match entry.edge {
        Edge::Inside => None,
        Edge::Highest => Some(format!(
            "{name}: its best learning rate is the highest that was tried ({lr}); a higher one may be \
             better, so that the comparison may understate it."
        )),
        Edge::Lowest => Some(format!(
            "{name}: its best learning rate is the lowest that was tried ({lr}); a lower one may be \
             better, so that the comparison may understate it."
        )),
        Edge::None => Some(match entry.tried.len() {
            1 => format!("{name} diverged at the learning rate that was tried."),
            tried => {
                format!("{name} diverged at each of the {tried} learning rates that were tried.")
            }
        }),
    }
}

fn of_divergence(entry: &Entry) -> Option<String> {
    let (name, runs, diverged) = (&entry.optimizer, entry.runs, entry.diverged);
    let left = results(entry);
    match diverged {
        0 => None,
        _ if entry.test_loss.is_none() => Some(format!(
            "{name} diverged in {diverged} of {runs} counted runs: too many for a result."
        )),
        _ => Some(format!(
            "{name} diverged in {diverged} of {runs} counted runs; its numbers are of the other {left}."
        )),
    }
}

fn of_target(problem: &ProblemSummary) -> Option<String> {
    let ran: Vec<&Entry> = problem.entries.iter().filter(|e| e.runs > 0).collect();
    if ran.is_empty() {
        return None;
    }
    let mut reached: Vec<(&Entry, Interval)> = ran
        .iter()
        .filter_map(|entry| Some((*entry, entry.steps_to_target?)))
        .collect();
    reached.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let missed: Vec<String> = ran
        .iter()
        .filter(|entry| entry.reached < entry.runs)
        .map(|entry| format!("{} ({} of {})", entry.optimizer, entry.reached, entry.runs))
        .collect();
    let Some((first, best)) = reached.first().copied() else {
        return Some(format!(
            "Target ({}): no optimizer reached it in most of its runs.",
            problem.target
        ));
    };
    let level: Vec<&str> = reached[1..]
        .iter()
        .filter(|(entry, steps)| {
            first.reached.min(entry.reached) < FEWEST || best.high >= steps.low
        })
        .map(|(entry, _)| entry.optimizer.as_str())
        .collect();
    let steps = match range(best, count) {
        Some(range) => format!("{} steps, {range}", count(best.median)),
        None => format!("{} steps", count(best.median)),
    };
    let mut note = format!("Target ({}): ", problem.target);
    note += &match (reached.len(), &level[..]) {
        (1, _) => format!("only {} reached it in most runs ({steps})", first.optimizer),
        (_, []) => format!(
            "{} reached it in the fewest steps ({steps})",
            first.optimizer
        ),
        (_, level) => format!(
            "{} comes first ({steps}), and {} cannot be told apart from it",
            first.optimizer,
            list(level)
        ),
    };
    if !missed.is_empty() {
        note += &format!("; not reached in every run by {}", list(&missed));
    }
    Some(note + ".")
}
