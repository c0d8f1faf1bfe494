//! Which sources a program was built from, as far as can be told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What a result is of, besides its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The commit, if the program was built in a checkout that is still there.
    pub commit: Option<String>,
    /// Whether the sources had changes that were not committed.
    pub changed: bool,
    /// Git's hash of `Cargo.lock`, which names the version of every dependency.
    pub lockfile: Option<String>,
    /// How it was compiled.
    pub profile: String,
}

/// The sources of this program.
pub static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&root).args(args);
        let output = command.output().ok().filter(|done| done.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_string())
    };
    // A package that was unpacked within some other repository is not of that one.
    let is_own = git(&["ls-files", "crates/downhill-lab/src/source.rs"]);
    let commit = is_own
        .filter(|files| !files.is_empty())
        .and_then(|_| git(&["rev-parse", "HEAD"]));
    let changes = git(&["status", "--porcelain", "--", "crates/*/src", "Cargo.lock"]);
    Source {
        changed: commit.is_some() && changes.is_none_or(|changes| !changes.is_empty()),
        lockfile: commit
            .as_ref()
            .and_then(|_| git(&["hash-object", "Cargo.lock"])),
        commit,
        profile: match cfg!(debug_assertions) {
            true => "dev".to_string(),
            false => "release".to_string(),
        },
    }
});

/// The date, in UTC, as 2026-01-31.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

/// The version of this library, which runs are taken for the same by: with `+changed` if its sources have changes that
/// are not committed.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let changed = if SOURCE.changed { "+changed" } else { "" };
        format!("{}{changed}", env!("CARGO_PKG_VERSION"))
    });
    &VERSION
}

/// The processor and the operating system as far as they tell, and how many runs share them.
pub fn machine(jobs: usize) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let at_once = match jobs {
        1 => String::new(),
        jobs => format!(", {jobs} runs at once"),
    };
    format!(
        "{}, {} threads, {} {}{at_once}",
        model.unwrap_or("unknown processor"),
        std::thread::available_parallelism().map_or(1, usize::from),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}
