//! The book's page with the formula of every optimizer, and its pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use downhill_lab::explain::Explanation;
use downhill_optim::OptimizerConfig;

/// A step in which a bias correction still shows.
const STEP: u64 = 10;

/// Compares a file with what should be in it, or writes it where `DOWNHILL_WRITE_GOLDEN` is set.
fn generated(path: &Path, expected: &str) {
    if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
        fs::write(path, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let same = found == expected;
    let shown = path.display();
    assert!(
        same,
        "{shown} is not what `downhill explain` says: write it with DOWNHILL_WRITE_GOLDEN=1"
    );
}

#[test]
fn this_page_has_the_formula_of_every_optimizer_that_is_one_rule() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/src");
    let mut page = String::from(
        "# Formulas\n\n\
         What a step computes, as `downhill explain NAME` prints it: written down by the rule itself, which runs as \
         one pass over memory on the CPU, and as one kernel on a GPU. Numbers are named by the settings that they are \
         made of; `t1`, `t2` and so on are results. The pictures are of the last part, which moves the parameter.\n\n\
         Wrappers and methods of matrices are made of several pieces, and not here.\n",
    );
    let mut names = Vec::new();
    for info in OptimizerConfig::all() {
        let config = OptimizerConfig::by_name(info.name).unwrap();
        let lr = config.default_learning_rate();
        let Some(explanation) = Explanation::new(&config, lr, STEP).unwrap() else {
            continue;
        };
        let name = info.name;
        write!(
            page,
            "\n## {name}\n\n{}.\n\n\
             <details><summary>Step {STEP}: {} bytes for each parameter</summary>\n\n\
             ```text\n{explanation}```\n\n\
             ![Data flow of {name}](formulas/{name}.svg)\n\n\
             </details>\n",
            info.description, explanation.bytes_per_parameter
        )
        .unwrap();
        generated(
            &book.join(format!("formulas/{name}.svg")),
            &explanation.svg(),
        );
        names.push(format!("{name}.svg"));
    }
    generated(&book.join("formulas.md"), &page);
    let pictures = fs::read_dir(book.join("formulas")).unwrap();
    for picture in pictures {
        let picture = picture.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&picture), "{picture} is of no optimizer");
    }
}
