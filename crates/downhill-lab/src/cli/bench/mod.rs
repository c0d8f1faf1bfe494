//! `downhill bench`: how long things take.

mod model;
mod step;

use std::io::{self, Write};

use clap::Subcommand;
use downhill_lab::bench::{Pair, pair, pairs};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failure, failed};

/// Measure how long things take
#[derive(clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Step(step::Args),
    Model(model::Args),
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Step(args) => step::run(args),
        What::Model(args) => model::run(args),
    }
}

/// The optimizers that a name stands for.
#[derive(Clone)]
struct Chosen(Vec<Pair>);

impl Chosen {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Self(pairs())),
            name => pair(name)
                .map(|pair| Self(vec![pair]))
                .map_err(|error| error.to_string()),
        }
    }
}

/// A bar of so many rounds.
fn bar(total: u64) -> Result<ProgressBar, Failure> {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {eta} left");
    bar.set_style(style.map_err(failed)?);
    Ok(bar)
}

fn warn_of_development(stdout: &mut impl Write) -> io::Result<()> {
    if cfg!(debug_assertions) {
        let slow = "This is a development build, and slow: measure one made with --release.";
        writeln!(stdout, "{slow}")?;
    }
    Ok(())
}
