//! `downhill merge`: the runs of several folders in one.

use std::io::{self, Write};
use std::path::PathBuf;

use downhill_lab::store::Runs;

use super::runs::{RUNS, store};
use super::{Failure, failed, printable_path, usage};

/// Put the runs of several folders into one
///
/// The folders are those of `downhill compare --shard`, made with the same other options. The same command without
/// `--shard`, with `--out` the folder that they are put into, finds all runs there and writes the report.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs, which stay as they are
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,

    /// Folder that the runs are put into, beside those that are there
    #[arg(long, value_name = "DIR", default_value = "comparison")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut shares = Vec::new();
    for folder in &args.folders {
        let file = folder.join(RUNS);
        if !Runs::are_at(&file) {
            let folder = printable_path(folder);
            return Err(usage(format!("there are no runs in {folder}")));
        }
        shares.push(Runs::read(file).map_err(usage)?);
    }
    let mut store = store(&args.out)?;
    let mut added = 0;
    for share in &shares {
        added += store.merge(share).map_err(failed)?;
    }
    let mut stdout = io::stdout().lock();
    let (runs, out) = (store.runs().len(), printable_path(&args.out));
    writeln!(stdout, "{runs} runs are in {out}, of which {added} are new")?;
    Ok(())
}
