//! Puts the playground into a folder that any host of static files serves.
//!
//! ```text
//! cargo run --package downhill-playground-site -- FOLDER
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

/// What is there beside the module.
const FILES: [(&str, &str); 4] = [
    ("index.html", include_str!("../web/index.html")),
    ("style.css", include_str!("../web/style.css")),
    ("boot.js", include_str!("../web/boot.js")),
    ("worker.js", include_str!("../web/worker.js")),
];

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let folder = match (arguments.next(), arguments.next()) {
        (None, _) => PathBuf::from("target/playground"),
        (Some(folder), None) if folder != "--help" => folder.into(),
        _ => {
            eprintln!(
                "the only argument is the folder to put the playground into [default: target/playground]"
            );
            return ExitCode::from(2);
        }
    };
    match bundle(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bundle(folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--package", "downhill-playground", "--lib"]);
    build.args(["--profile", "web", "--target", TARGET]);
    build.arg("--target-dir").arg(&target).current_dir(&root);
    // The random numbers of what Burn brings along come from the browser.
    build.env(
        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
        r#"--cfg getrandom_backend="wasm_js""#,
    );
    let built = build.status().context("cannot run cargo")?;
    ensure!(
        built.success(),
        "the module cannot be built; is the target there? `rustup target add {TARGET}`"
    );
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let module = target.join(TARGET).join("web/downhill_playground.wasm");
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&module).out_name("playground");
    bindgen.web(true)?.typescript(false);
    bindgen.omit_default_module_path(false);
    bindgen
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen.generate(folder)?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("the playground is in {}", folder.display());
    Ok(())
}
