//! The optimizers on every backend that is compiled in.

#[path = "../common/mod.rs"]
mod common;

mod behaviour;
mod conformance;
mod golden;
mod module;
mod mutants;
mod nan;
mod pages;
mod promises;
mod settings;
mod values;

/// Compares what stands between two marks of a page with what should, or writes it where
/// `DOWNHILL_WRITE_GOLDEN` is set.
fn generated(page: &str, mark: &str, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&start).expect(page);
    let (found, after) = rest.split_once(&end).expect(page);
    if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{start}{expected}{end}{after}")).unwrap();
        return;
    }
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{page}");
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{page}");
}
