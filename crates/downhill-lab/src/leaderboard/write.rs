//! The files of a leaderboard.

use std::fmt::Write as _;
use std::path::Path;

use downhill_plot::significant;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::{Finish, Line, Standings, Track};
use crate::report::{ReportError, Staged};

/// Writes `index.html`, the page about it all that needs nothing but itself, `leaderboard.json` with everything,
/// `runs.csv` with a row for every run that counts, `scores.svg` and `README.md` with the standings into a folder, which
/// is created if there is none. Files of these names are replaced, each as a whole and none before all are ready.
///
/// # Errors
///
/// If one of them cannot be written.
pub fn write(standings: &Standings, folder: &Path) -> Result<(), ReportError> {
    let mut json = serde_json::to_string(standings)?;
    json.push('\n');
    let mut staged = Staged::default();
    staged.folder(folder)?;
    staged.text(&folder.join("leaderboard.json"), &json)?;
    staged.text(&folder.join("runs.csv"), &csv(standings))?;
    staged.text(&folder.join("README.md"), &markdown(standings))?;
    let scores = rendered(standings, "scores.svg", include_str!("scores.svg"))?;
    staged.text(&folder.join("scores.svg"), &scores)?;
    let page = rendered(standings, "page.html", include_str!("page.html"))?;
    staged.text(&folder.join("index.html"), &page)?;
    staged.finish()
}

/// A template with the standings in it. Escaping is decided by the name.
fn rendered(
    standings: &Standings,
    name: &'static str,
    template: &'static str,
) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("number", |x: f64| significant(x, 3));
    environment.add_filter("percent", |x: f64| format!("{:.0} %", 100.0 * x));
    environment.add_template(name, template)?;
    let template = environment.get_template(name)?;
    let standings = Value::from(Serde(standings));
    let mut text = template.render(context! { standings })?.trim().to_string();
    text.push('\n');
    Ok(text)
}

fn csv(standings: &Standings) -> String {
    let mut csv = "optimizer,problem,track,setup,learning_rate,seed,steps_to_target,shortfall,\
                   test_loss,test_metric,diverged_at,seconds_per_step\n"
        .to_string();
    let shown = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let counted = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    for line in &standings.optimizers {
        for (cell, problem) in line.cells.iter().zip(&standings.problems) {
            for (track, (setup, finishes)) in &cell.tracks {
                for finish in finishes {
                    let _ = writeln!(
                        csv,
                        "{},{},{},{setup},{},{},{},{},{},{},{},{}",
                        line.name,
                        problem.name,
                        name(*track),
                        line.setups[*setup].lr,
                        finish.seed,
                        counted(finish.steps),
                        shown(finish.shortfall),
                        shown(finish.test.loss),
                        shown(finish.test.metric),
                        counted(finish.diverged_at),
                        cell.seconds_per_step[0]
                    );
                }
            }
        }
    }
    csv
}

fn name(track: Track) -> &'static str {
    match track {
        Track::Tuned => "tuned",
        Track::OneSetting => "one_setting",
    }
}

fn markdown(standings: &Standings) -> String {
    let Standings {
        setups,
        seeds,
        problems,
        version,
        date,
        machine,
        command,
        ..
    } = standings;
    let mut page = format!(
        "# Leaderboard\n\n\
         {} optimizers on {} problems, each tried with {setups} settings and counted from {} seeds. The *score* is \
         AlgoPerf's: the share of problems whose target is reached, less where another optimizer takes fewer steps, from \
         0 to 1; in brackets what chance moves it between (95 %). *Tuned*: the best of the settings on each problem. \
         *One setting*: the best of them on all problems together, and so chosen on the very problems that it is measured \
         on. A star marks what cannot be told apart from the best.\n\n\
         ![Scores and their intervals](scores.svg)\n\n\
         The problems are small, and a score depends on who is compared: `index.html` says more about the limits.\n\n\
         | | optimizer | tuned | rank | one setting | rank | reached | robust | state |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        standings.optimizers.len(),
        problems.len(),
        seeds.len(),
    );
    for (at, (place, one, line)) in standings.by_steps().enumerate() {
        let star = |tied| if tied { "*" } else { "" };
        let _ = writeln!(
            page,
            "| {} | `{}` | {:.2}{} ({:.2} to {:.2}) | {} to {} | {:.2}{} ({:.2} to {:.2}) | {} to {} | {} of {} | {} | {:.1} |",
            at + 1,
            place.optimizer,
            place.score,
            star(place.tied),
            place.low,
            place.high,
            place.rank_low,
            place.rank_high,
            one.score,
            star(one.tied),
            one.low,
            one.high,
            one.rank_low,
            one.rank_high,
            place.reached,
            problems.len(),
            line.robustness
                .map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share)),
            line.state_bytes_per_parameter,
        );
    }
    page += "\n*Robust*: the share of the settings whose validation loss is within a tenth of the best one's. *State*: \
             bytes that the optimizer keeps for each number that is learned.\n\n\
             ## Problems\n\n| | target | steps | parameters | who was first |\n|---|---|---|---|---|\n";
    for (at, problem) in problems.iter().enumerate() {
        let _ = writeln!(
            page,
            "| `{}`: {} | {} | {} | {} | {} |",
            problem.name,
            problem.description,
            problem.target,
            problem.steps,
            problem.parameters,
            fastest(&standings.optimizers, at),
        );
    }
    let commit = standings.source.commit.as_deref().unwrap_or("unknown");
    let changed = if standings.source.changed {
        ", with changes"
    } else {
        ""
    };
    let _ = write!(
        page,
        "\n## To repeat it\n\n```text\n{command}\n```\n\n\
         Version {version}, commit {commit}{changed}, {date}; {machine}. Seconds are of this machine, everything else \
         is the same on every one. All settings are in `leaderboard.json`, all counted runs in `runs.csv`.\n",
    );
    page
}

/// Who took the fewest steps on a problem, in the median, on the tuned track: three of them.
fn fastest(optimizers: &[Line], problem: usize) -> String {
    let steps = |finishes: &[Finish]| {
        let mut steps: Vec<u64> = finishes
            .iter()
            .map(|finish| finish.steps.unwrap_or(u64::MAX))
            .collect();
        steps.sort_unstable();
        steps[(steps.len() - 1) / 2]
    };
    let mut all: Vec<(u64, &str)> = optimizers
        .iter()
        .filter_map(|line| {
            Some((
                steps(&line.cells[problem].tracks.get(&Track::Tuned)?.1),
                line.name.as_str(),
            ))
        })
        .filter(|(steps, _)| *steps < u64::MAX)
        .collect();
    all.sort_unstable();
    let first = all
        .iter()
        .take(3)
        .map(|(steps, name)| format!("`{name}` {steps}"));
    match all.is_empty() {
        true => "nobody".to_string(),
        false => first.collect::<Vec<_>>().join(", "),
    }
}
