//! `downhill playground`: the page with valleys and schedules, on this machine.

use std::io::{self, Write};
use std::path::PathBuf;

use downhill_playground_site::serve;

use super::{Failure, failed, printable_path, usage};

/// Serve the playground, optimizers and schedules in the browser, on this machine
///
/// `cargo run --package downhill-playground-site` puts it into the folder. It is served to this machine alone, until
/// Ctrl-C.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the playground
    #[arg(long, value_name = "DIR", default_value = "target/playground")]
    dir: PathBuf,

    /// Port; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let folder = printable_path(&args.dir);
    if !args.dir.join("index.html").is_file() {
        return Err(usage(format!(
            "there is no playground in {folder}; `cargo run --package downhill-playground-site` puts it there"
        )));
    }
    let served = serve(&args.dir, args.port);
    let (address, server) =
        served.map_err(|error| failed(format!("cannot serve {folder}: {error}")))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    server.join().map_err(failed)
}
