//! The page of promises names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file with tests: those of the workspace's folders `tests`, and the sources with tests of units.
fn sources() -> Vec<String> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["tests", "crates"] {
        collect(&root.join(folder), &mut files);
    }
    // This one names them all.
    files.retain(|file| !file.ends_with("promises.rs"));
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/promises.md");
    let page = fs::read_to_string(page).unwrap();
    let sources = sources();
    // Odd parts stand between backticks.
    let quoted = page.split('`').skip(1).step_by(2);
    let names = quoted.filter(|name| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.contains('_') && name.chars().all(letters) || *name == "edges"
    });
    let mut count = 0;
    for name in names {
        let declared = format!("fn {name}(");
        let exists = sources.iter().any(|source| source.contains(&declared));
        assert!(exists, "there is no test `{name}`");
        count += 1;
    }
    assert!(count > 50, "only {count} names were found");
}
