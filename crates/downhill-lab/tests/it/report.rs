//! The report says what the numbers allow, and is a page that needs nothing but itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use downhill_lab::report::{ReportError, Written, verdict, write};
use downhill_lab::results::{Comparison, Counted, Edge, Entry, Interval, ProblemSummary, Score};
use serde_json::json;

fn comparison() -> Comparison {
    serde_json::from_str(include_str!("comparison.json")).unwrap()
}

/// A folder that is not there yet.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("report")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    folder
}

fn entry<'a>(problem: &'a mut ProblemSummary, name: &str) -> &'a mut Entry {
    let mut entries = problem.entries.iter_mut();
    entries.find(|entry| entry.optimizer == name).unwrap()
}

/// The digits with some of the optimizers, in this order.
fn digits(names: &[&str]) -> ProblemSummary {
    let mut problem = comparison().problems.remove(0);
    let entries = names.iter().map(|name| entry(&mut problem, name).clone());
    problem.entries = entries.collect();
    problem
}

fn interval(low: f64, median: f64, high: f64) -> Option<Interval> {
    Some(Interval { median, low, high })
}

fn with_metric(problem: &mut ProblemSummary, name: &str, low: f64, median: f64, high: f64) {
    entry(problem, name).test_metric = interval(low, median, high);
}

fn without_notes(mut problem: ProblemSummary) -> String {
    // Long enough that chance is no matter.
    for entry in &mut problem.entries {
        entry.runs = 20;
        entry.reached = 20;
    }
    verdict(&problem).sentence
}

#[test]
fn a_clear_winner_is_said_to_be_best() {
    let mut problem = digits(&["sgd", "adam", "nadam"]);
    with_metric(&mut problem, "nadam", 0.972, 0.978, 0.981);
    with_metric(&mut problem, "adam", 0.960, 0.965, 0.971);
    with_metric(&mut problem, "sgd", 0.940, 0.949, 0.950);
    assert_eq!(
        without_notes(problem.clone()),
        "nadam is best (test accuracy 97.8 %, 97.2 to 98.1 %); adam comes next (test accuracy 96.5 %, \
         96.0 to 97.1 %)."
    );
    // With as few as five it is said how easily chance does the same: 2 of 252 ways to arrange them.
    let notes = verdict(&problem).notes;
    assert!(notes[0].contains("With as few as 5 runs"), "{notes:?}");
    assert!(notes[0].contains("by chance in 0.8 %"), "{notes:?}");
}

#[test]
fn what_overlaps_is_a_tie() {
    let mut problem = digits(&["sgd", "adam", "adamw", "nadam"]);
    with_metric(&mut problem, "nadam", 0.972, 0.978, 0.981);
    with_metric(&mut problem, "adam", 0.960, 0.975, 0.979);
    with_metric(&mut problem, "adamw", 0.968, 0.970, 0.972);
    with_metric(&mut problem, "sgd", 0.940, 0.949, 0.950);
    assert_eq!(
        without_notes(problem.clone()),
        "nadam comes first (test accuracy 97.8 %, 97.2 to 98.1 %); adam and adamw cannot be told apart \
         from it, sgd is behind."
    );
    with_metric(&mut problem, "sgd", 0.940, 0.949, 0.980);
    assert_eq!(
        without_notes(problem.clone()),
        "No winner: nadam comes first (test accuracy 97.8 %, 97.2 to 98.1 %), but none of the others can \
         be told apart from it."
    );
    problem.entries.truncate(2);
    with_metric(&mut problem, "adam", 0.960, 0.975, 0.979);
    assert!(without_notes(problem).starts_with("No winner: adam comes first"));
}

/// The accuracy of each seed, and what it comes to.
fn counted(problem: &mut ProblemSummary, name: &str, accuracies: &[f64]) {
    let mut sorted = accuracies.to_vec();
    sorted.sort_by(f64::total_cmp);
    with_metric(
        problem,
        name,
        sorted[0],
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
    );
    let score = |metric: &f64| Score {
        loss: Some(1.0 - metric),
        metric: Some(*metric),
    };
    let runs = accuracies.iter().enumerate().map(|(at, metric)| Counted {
        seed: at as u32 + 1,
        diverged_at: None,
        train: score(metric),
        test: score(metric),
        steps_to_target: None,
    });
    entry(problem, name).counted = runs.collect();
}

#[test]
fn runs_from_one_seed_are_compared_with_each_other() {
    let mut problem = digits(&["adam", "nadam"]);
    // The ranges overlap, and one is ahead from every seed.
    let ahead = [0.95, 0.97, 0.96, 0.98, 0.94, 0.99];
    let behind = ahead.map(|accuracy| accuracy - 0.01);
    counted(&mut problem, "nadam", &ahead);
    counted(&mut problem, "adam", &behind);
    let said = verdict(&problem);
    assert!(said.sentence.starts_with("nadam is best"), "{said:?}");
    assert!(
        said.notes[0].contains("by the differences of their runs from each seed"),
        "{said:?}"
    );

    // From one seed it is the other way round.
    let mut mixed = behind;
    mixed[0] = 0.96;
    counted(&mut problem, "adam", &mixed);
    assert!(
        verdict(&problem).sentence.starts_with("No winner: nadam"),
        "{:?}",
        verdict(&problem)
    );

    counted(&mut problem, "nadam", &ahead[..5]);
    counted(&mut problem, "adam", &behind[..5]);
    let sentence = verdict(&problem).sentence;
    let expected = "but runs from 5 seeds cannot tell it apart from the others: it takes 6.";
    assert!(sentence.ends_with(expected), "{sentence}");
}

#[test]
fn intervals_that_differ_look_different() {
    let mut problem = digits(&["adam", "nadam"]);
    with_metric(&mut problem, "nadam", 0.97310, 0.978, 0.981);
    with_metric(&mut problem, "adam", 0.970, 0.971, 0.97309);
    let sentence = without_notes(problem);
    assert!(sentence.starts_with("nadam is best"), "{sentence}");
    assert!(sentence.contains("97.80 %, 97.31 to 98.10 %"), "{sentence}");
}

#[test]
fn a_rate_at_the_edge_is_said() {
    let mut problem = digits(&["sgd", "adam"]);
    entry(&mut problem, "sgd").edge = Edge::Highest;
    entry(&mut problem, "sgd").lr = Some(3.162);
    entry(&mut problem, "adam").edge = Edge::Lowest;
    let notes = verdict(&problem).notes.join("\n");
    assert!(
        notes.contains("sgd: its best learning rate is the highest that was tried (3.162)"),
        "{notes}"
    );
    assert!(
        notes.contains("adam: its best learning rate is the lowest that was tried"),
        "{notes}"
    );
}

#[test]
fn divergence_is_said() {
    let mut problem = digits(&["sgd", "adam", "nadam"]);
    entry(&mut problem, "adam").diverged = 2;
    let notes = verdict(&problem).notes.join("\n");
    assert!(
        notes.contains("adam diverged in 2 of 5 counted runs; its numbers are of the other 3."),
        "{notes}"
    );

    for entry in &mut problem.entries {
        entry.diverged = 4;
        (entry.train_loss, entry.test_loss, entry.test_metric) = (None, None, None);
    }
    let said = verdict(&problem);
    assert_eq!(
        said.sentence,
        "No optimizer has a result: too many runs diverged."
    );
    let notes = said.notes.join("\n");
    let words = "adam diverged in 4 of 5 counted runs: too many for a result.";
    assert!(notes.contains(words), "{notes}");

    for entry in &mut problem.entries {
        (entry.edge, entry.lr, entry.runs, entry.diverged) = (Edge::None, None, 0, 0);
        for tried in &mut entry.tried {
            tried.validation = Default::default();
        }
        entry.curve.clear();
        (entry.steps_to_target, entry.seconds_to_target) = (None, None);
    }
    let said = verdict(&problem);
    assert_eq!(
        said.sentence,
        "No optimizer has a result: each diverged at every learning rate."
    );
    assert_eq!(said.notes.len(), 3);

    // And there is a report of it nevertheless.
    let mut comparison = comparison();
    comparison.problems = vec![problem];
    let written = write(&comparison, &folder("diverged")).unwrap();
    let html = fs::read_to_string(&written.report).unwrap();
    assert!(html.contains("each diverged at every learning rate"));
    // Only which rates were tried can be drawn.
    assert_eq!(written.figures.len(), 2);
}

#[test]
fn without_a_metric_the_loss_decides() {
    let mut problem = digits(&["adam", "nadam"]);
    problem.metric = None;
    for (name, loss) in [("adam", 0.2), ("nadam", 3e-9)] {
        entry(&mut problem, name).test_metric = None;
        entry(&mut problem, name).test_loss = interval(0.9 * loss, loss, 1.1 * loss);
    }
    assert_eq!(
        without_notes(problem),
        "nadam is best (test loss 3e-9, 2.7e-9 to 3.3e-9); adam comes next (test loss 0.2, 0.18 to 0.22)."
    );
}

#[test]
fn less_of_a_metric_may_be_better() {
    let mut problem = digits(&["adam", "nadam"]);
    (problem.metric, problem.higher_is_better) = (Some("perplexity".to_string()), false);
    with_metric(&mut problem, "adam", 5.5, 5.6, 5.7);
    with_metric(&mut problem, "nadam", 5.1, 5.2, 5.3);
    assert_eq!(
        without_notes(problem),
        "nadam is best (test perplexity 5.2, 5.1 to 5.3); adam comes next (test perplexity 5.6, 5.5 to \
         5.7)."
    );
}

#[test]
fn a_target_that_is_missed_is_said() {
    let mut problem = digits(&["sgd", "adam", "nadam"]);
    for (name, reached, steps) in [
        ("sgd", 0, None),
        ("adam", 4, interval(280.0, 300.0, 320.0)),
        ("nadam", 5, interval(180.0, 200.0, 220.0)),
    ] {
        entry(&mut problem, name).reached = reached;
        entry(&mut problem, name).steps_to_target = steps;
    }
    assert_eq!(
        verdict(&problem).notes.last().unwrap(),
        "Target (validation accuracy of 0.965 or more): nadam reached it in the fewest steps (200 steps, \
         180 to 220); not reached in every run by sgd (0 of 5) and adam (4 of 5)."
    );
    entry(&mut problem, "adam").steps_to_target = interval(210.0, 300.0, 320.0);
    let note = verdict(&problem).notes.pop().unwrap();
    assert!(
        note.contains("nadam comes first (200 steps, 180 to 220), and adam cannot be told apart"),
        "{note}"
    );
    for entry in &mut problem.entries {
        (entry.reached, entry.steps_to_target) = (1, None);
    }
    let note = verdict(&problem).notes.pop().unwrap();
    assert!(
        note.ends_with("no optimizer reached it in most of its runs."),
        "{note}"
    );
}

#[test]
fn one_seed_or_two_decide_nothing() {
    let mut problem = digits(&["sgd", "adam", "nadam"]);
    for (runs, words) in [(1, "one run"), (2, "two runs")] {
        for (i, entry) in problem.entries.iter_mut().enumerate() {
            let metric = 0.9 + 0.03 * i as f64;
            (entry.runs, entry.test_metric) = (runs, interval(metric, metric, metric));
        }
        assert_eq!(
            verdict(&problem).sentence,
            format!(
                "nadam comes first (test accuracy 96.0 %), but {words} cannot tell it apart from the others."
            )
        );
    }
    // An optimizer of which few runs are left neither.
    for entry in &mut problem.entries {
        entry.runs = 5;
    }
    entry(&mut problem, "sgd").diverged = 3;
    let sentence = verdict(&problem).sentence;
    assert!(
        sentence.ends_with("sgd cannot be told apart from it, adam is behind."),
        "{sentence}"
    );
}

#[test]
fn one_optimizer_is_compared_with_nothing() {
    let mut problem = digits(&["adam"]);
    with_metric(&mut problem, "adam", 0.960, 0.975, 0.979);
    assert_eq!(
        verdict(&problem).sentence,
        "adam has test accuracy 97.5 %, 96.0 to 97.9 %; nothing was compared with it."
    );
    problem.entries.clear();
    assert_eq!(verdict(&problem).sentence, "No optimizer was run.");
}

/// Everything between quotes or tags of one kind.
fn all<'a>(text: &'a str, begin: &str, end: char) -> Vec<&'a str> {
    let parts = text.split(begin).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}

/// The page loads nothing, and runs nothing.
fn assert_self_contained(html: &str) {
    for attribute in [
        "href=\"",
        "src=\"",
        "srcset=\"",
        "poster=\"",
        "data=\"",
        "action=\"",
    ] {
        for target in all(html, attribute, '"') {
            assert!(target.starts_with('#'), "{attribute}{target}");
        }
    }
    for forbidden in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "url(",
        "javascript:",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert_eq!(html.matches("//").count(), 0, "an address");
}

fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for tag in all(xml, "<", '>') {
        assert!(!tag.contains('<'), "{tag}");
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Every chunk is whole; the size in pixels. A browser decodes the rest, in another test.
fn png_size(bytes: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let (mut at, mut names) = (8, Vec::new());
    while at < bytes.len() {
        let end = at + 8 + number(at) as usize;
        assert_eq!(crc(&bytes[at + 4..end]), number(end));
        names.push(&bytes[at + 4..at + 8]);
        at = end + 4;
    }
    assert_eq!(names.first(), Some(&&b"IHDR"[..]));
    assert!(names.contains(&&b"IDAT"[..]));
    assert_eq!(names.last(), Some(&&b"IEND"[..]));
    (number(16), number(20))
}

/// The report of the whole sample, made once for all tests that only read it.
fn sample() -> &'static Written {
    static SAMPLE: std::sync::OnceLock<Written> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| write(&comparison(), &folder("sample")).unwrap())
}

#[test]
fn the_files_are_whole() {
    let comparison = comparison();
    let Written {
        report,
        comparison: numbers,
        figures,
    } = sample();
    let html = fs::read_to_string(report).unwrap();
    assert_self_contained(&html);
    for problem in &comparison.problems {
        assert!(html.contains(&format!(">{}</h2>", problem.problem)));
    }
    for words in [
        "≈",
        "↑",
        "not reached in every run by",
        "Performance profile",
        "1 of 5",
    ] {
        assert!(html.contains(words), "{words}");
    }
    let ids = all(&html, " id=\"", '"');
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id is used twice");
    for target in all(&html, "href=\"#", '"').iter() {
        assert!(unique.contains(target), "{target}");
    }
    for svg in all(&html, "aria-labelledby=\"", '"') {
        assert!(svg.split(' ').all(|id| unique.contains(&id)), "{svg}");
    }

    let read: Comparison = serde_json::from_str(&fs::read_to_string(numbers).unwrap()).unwrap();
    assert_eq!(read, comparison);

    // Three drawings of each problem and the profile, in two formats.
    assert_eq!(figures.len(), 2 * (3 * 3 + 1));
    for figure in figures {
        if figure.extension().unwrap() == "svg" {
            let svg = fs::read_to_string(figure).unwrap();
            assert_well_formed(&svg);
            assert!(svg.contains("<title") && svg.contains("<desc"));
        } else {
            let (width, height) = png_size(&fs::read(figure).unwrap());
            assert!(width == 1680 && height > 300, "{width} x {height}");
        }
    }
    let folder = report.parent().unwrap();
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(count(folder), 3);
    assert_eq!(count(&folder.join("figures")), figures.len());
}

#[test]
fn what_comes_from_outside_is_only_text() {
    let hostile = "<script>alert(\"x\")</script>' onload='y' & </svg>{{ 7 * 7 }}\u{1b}";
    let mut comparison = comparison();
    comparison.problems.truncate(2);
    comparison.command = hostile.into();
    comparison.version = hostile.into();
    comparison.burn = hostile.into();
    comparison.device = hostile.into();
    comparison.machine = hostile.into();
    comparison.schedule = Some(json!({ hostile: hostile }));
    for problem in &mut comparison.problems {
        // Two problems of one name keep their files apart.
        problem.problem = format!("../{hostile}");
        problem.description = hostile.into();
        problem.target = hostile.into();
        problem.metric = problem.metric.take().map(|_| hostile.into());
        problem.entries.truncate(3);
        for (i, entry) in problem.entries.iter_mut().enumerate() {
            entry.optimizer = format!("{hostile}{i}");
            entry.config = json!({ "name": hostile });
        }
    }
    let folder = folder("hostile");
    let written = write(&comparison, &folder).unwrap();
    let html = fs::read_to_string(&written.report).unwrap();
    assert!(!html.contains("<script"));
    assert!(!html.contains(">{{ 49 }}") && html.contains("{{ 7 * 7 }}"));
    // A quote that ends an attribute would be before a word with an equals sign.
    assert!(!html.contains("' onload"));
    for tag in all(&html, "<", '>') {
        // Without the values of attributes.
        let mut bare = tag.split('"').step_by(2);
        assert!(bare.all(|part| !part.contains("alert")), "{tag}");
    }
    for figure in &written.figures {
        assert_eq!(figure.parent().unwrap(), folder.join("figures"));
        if figure.extension().unwrap() == "svg" {
            let svg = fs::read_to_string(figure).unwrap();
            assert_well_formed(&svg);
            assert!(!svg.contains("<script") && !svg.contains('\u{1b}'));
        }
    }
    let mut files = written.figures.clone();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), written.figures.len());
}

/// Whatever comes out of a comparison has a report, and no figure has a coordinate that is no number.
#[test]
fn odd_numbers_are_drawn() {
    let mut comparison = small();
    let odd = [
        [0.0, 0.0, 0.0],
        [-3.0, 0.0, 1e300],
        [1e-320, 1e-300, 1.0],
        [2.0, 2.0, 2.0],
    ];
    let sample = comparison.problems.remove(0);
    for (i, [low, median, high]) in odd.into_iter().enumerate() {
        let mut problem = sample.clone();
        problem.metric = None;
        problem.steps = i as u64;
        for (j, entry) in problem.entries.iter_mut().enumerate() {
            entry.test_metric = None;
            entry.optimizer = format!("a name that is far too long for a label {j}").repeat(3);
            for interval in [
                &mut entry.train_loss,
                &mut entry.test_loss,
                &mut entry.steps_to_target,
                &mut entry.seconds_to_target,
            ] {
                *interval = self::interval(low, median, high);
            }
            for band in &mut entry.curve {
                (band.low, band.median, band.high) = (low, median, high);
            }
            for tried in &mut entry.tried {
                tried.validation.loss = Some(if tried.lr < 1e-3 { low } else { high });
            }
            entry.seconds_per_step = 0.0;
        }
        comparison.problems.push(problem);
    }
    let mut empty = sample.clone();
    empty.entries.clear();
    comparison.problems.push(empty);
    let written = write(&comparison, &folder("odd")).unwrap();
    for figure in &written.figures {
        let bytes = fs::read(figure).unwrap();
        if figure.extension().unwrap() == "svg" {
            let svg = String::from_utf8(bytes).unwrap();
            assert_well_formed(&svg);
            for attribute in all(&svg, "points=\"", '"') {
                assert!(!attribute.contains("NaN") && !attribute.contains("inf"));
            }
        } else {
            png_size(&bytes);
        }
    }
    comparison.problems.clear();
    write(&comparison, &folder("nothing")).unwrap();
}

fn small() -> Comparison {
    let mut comparison = comparison();
    comparison.problems = vec![digits(&["adam", "nadam"])];
    comparison
}

fn assert_not_writable(folder: &Path, named: &Path) {
    let error = write(&small(), folder).unwrap_err();
    assert!(matches!(error, ReportError::Write { .. }));
    let error = error.to_string();
    let words = format!("cannot write {}: ", named.display());
    assert!(error.starts_with(&words), "{error}");
}

#[test]
fn what_cannot_be_written_is_named_and_nothing_is_left() {
    // A file is where the folder should be.
    let place = folder("blocked");
    fs::write(&place, "a file").unwrap();
    let below = place.join("results");
    assert_not_writable(&below, &below);
    assert_eq!(fs::read_to_string(&place).unwrap(), "a file");
    fs::remove_file(&place).unwrap();

    // A folder is where a file should be: the last one, so that all others are ready by then.
    let page = place.join("report.html");
    fs::create_dir_all(&page).unwrap();
    assert_not_writable(&place, &page);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);

    // An earlier report stays as it was.
    fs::remove_dir(&page).unwrap();
    write(&small(), &place).unwrap();
    let svg = place.join("figures/digits-mlp-loss.svg");
    let before = fs::read(&svg).unwrap();
    let mut other = small();
    other.problems[0].entries.truncate(1);
    fs::remove_file(&page).unwrap();
    fs::create_dir(&page).unwrap();
    assert!(write(&other, &place).is_err());
    assert_eq!(fs::read(&svg).unwrap(), before);
    fs::remove_dir(&page).unwrap();
    write(&other, &place).unwrap();
    assert_ne!(fs::read(&svg).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let place = folder("read-only");
    fs::create_dir(&place).unwrap();
    let set = |mode| fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    if fs::write(place.join("probe"), "").is_ok() {
        println!("skipped: this user may write everywhere");
    } else {
        assert_not_writable(&place, &place.join("figures"));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    }
    set(0o755);
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    programs.find(|program| program.is_file())
}

/// A page with the report in frames of several widths, and with all pictures, which says in its title
/// what it found.
const PROBE: &str = r##"<!DOCTYPE html><meta charset="utf-8"><title>waiting</title><body><script>
const widths = [320, 390, 700, 1200];
const said = [];
const done = text => { said.push(text); if (said.length === widths.length + pictures.length) document.title = said.sort().join("|"); };
const pictures = PICTURES;
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.style.border = 0; frame.src = "report.html";
  frame.onload = () => {
    const page = frame.contentDocument.scrollingElement;
    done(`${width}: ${page.scrollWidth <= page.clientWidth ? "fits" : page.scrollWidth}, ${page.querySelectorAll("table").length} tables`);
  };
  document.body.append(frame);
}
for (const source of pictures) {
  const image = new Image();
  image.onload = () => done(`${source}: ${image.naturalWidth > 0 ? "decoded" : "empty"}`);
  image.onerror = () => done(`${source}: broken`);
  image.src = source;
}
</script>"##;

/// A comparison need not come from runs.
#[test]
fn steps_that_fall_are_no_reason_to_panic() {
    let mut comparison = comparison();
    for entry in comparison
        .problems
        .iter_mut()
        .flat_map(|problem| &mut problem.entries)
    {
        for (band, step) in entry
            .curve
            .iter_mut()
            .zip([u64::MAX, 40, 0].into_iter().cycle())
        {
            band.step = step;
        }
    }
    let written = write(&comparison, &folder("falling")).unwrap();
    assert!(written.report.is_file());
}

/// A browser finds nothing to complain of, and no width at which the page itself scrolls sideways.
#[test]
fn a_browser_shows_it() {
    let Some(chromium) = chromium() else {
        println!("skipped: there is no chromium");
        return;
    };
    let written = sample();
    let folder = written.report.parent().unwrap();
    let pictures: Vec<String> = written
        .figures
        .iter()
        .map(|figure| figure.strip_prefix(folder).unwrap().display().to_string())
        .collect();
    let place = self::folder("browser");
    fs::create_dir(&place).unwrap();
    let pages = place.join("pages");
    fs::create_dir_all(pages.join("figures")).unwrap();
    fs::copy(&written.report, pages.join("report.html")).unwrap();
    for (file, name) in written.figures.iter().zip(&pictures) {
        fs::copy(file, pages.join(name)).unwrap();
    }
    let probe = PROBE.replace("PICTURES", &json!(pictures).to_string());
    fs::write(pages.join("probe.html"), probe).unwrap();

    let open = |page: &str| {
        let output = Command::new(&chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                // Frames are asked for their size.
                "--allow-file-access-from-files",
                "--enable-logging=stderr",
                "--v=0",
                "--window-size=1280,900",
                "--virtual-time-budget=20000",
                "--dump-dom",
            ])
            .arg(format!(
                "--user-data-dir={}",
                place.join("profile").display()
            ))
            .arg(format!("file://{}", pages.join(page).display()))
            .output()
            .unwrap();
        assert!(output.status.success());
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        let console: Vec<&str> = messages
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        assert!(console.is_empty(), "{console:#?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(open("report.html").contains("Optimizers compared"));

    let dom = open("probe.html");
    let said = all(&dom, "<title>", '<')[0];
    for width in [320, 390, 700, 1200] {
        assert!(
            said.contains(&format!("{width}: fits, 12 tables")),
            "{said}"
        );
    }
    for picture in &pictures {
        assert!(said.contains(&format!("{picture}: decoded")), "{said}");
    }
}
