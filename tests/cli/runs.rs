//! What the tests share that run the examples as their users run them.
#![allow(dead_code)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// Cargo builds the examples before it runs the tests, next to the test programs' folder.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is missing: run `cargo test`, or `cargo build --examples` first",
        path.display()
    );
    let mut command = Command::new(path);
    command.env("RUST_BACKTRACE", "1").env_remove("NO_COLOR");
    command
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a run printed, which must have gone well and have said nothing else.
#[track_caller]
pub fn printed(output: &Output) -> String {
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    text(&output.stdout).to_string()
}

/// The same, as a JSON object a line.
#[track_caller]
pub fn objects(output: &Output) -> Vec<Value> {
    let printed = printed(output);
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The error message of a run that must have ended with this exit code, in words and without output.
#[track_caller]
pub fn message(code: i32, output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    for noise in ["panicked", "backtrace", "\u{1b}["] {
        assert!(!message.contains(noise), "{message}");
    }
    if code == 2 {
        assert_eq!(text(&output.stdout), "");
        assert!(
            message.contains("For more information, try '--help'."),
            "{message}"
        );
    }
    message.to_string()
}

/// A folder that is removed again.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        let name = format!("downhill-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, contents: &str) -> String {
        fs::write(self.0.join(name), contents).unwrap();
        self.path(name)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
