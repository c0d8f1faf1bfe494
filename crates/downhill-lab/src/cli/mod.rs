//! The command line: one file for each command.

mod advise;
mod bench;
mod checkpoint;
mod compare;
mod config;
mod device;
mod explain;
mod find_lr;
mod leaderboard;
mod list;
mod merge;
mod playground;
mod plot;
mod runs;
pub mod schedule;
mod terminal;
mod trace;

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind as UsageError};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use downhill_problems::{self as problems, AnyProblem};
use serde::Serialize;

use downhill_plot::number;

/// Compares optimizers fairly, and shows what they do.
#[derive(Parser)]
#[command(name = "downhill", version, after_help = EXIT_STATUS)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  all went well
  1  something failed while it ran; what was finished is kept
  2  the command line, or a file that it names, is wrong
  130  interrupted with Ctrl-C; what was finished is kept";

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Explain(explain::Args),
    Config(config::Args),
    Compare(compare::Args),
    Leaderboard(leaderboard::Args),
    Advise(advise::Args),
    Playground(playground::Args),
    Merge(merge::Args),
    Schedule(schedule::Args),
    FindLr(find_lr::Args),
    Trace(trace::Args),
    Bench(bench::Args),
    Checkpoint(checkpoint::Args),
    /// Print a script that completes `downhill` commands in a shell
    #[command(after_help = "For bash: downhill completions bash > \
        ~/.local/share/bash-completion/completions/downhill")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "To read it: downhill man | man -l -")]
    Man,
}

/// Why a command did not do what it was asked for.
pub enum Failure {
    /// The command line, or a file that it names, is wrong.
    Usage(String),
    /// Something failed on the way.
    Failed(String),
    /// Somebody interrupted it.
    Interrupted(String),
    /// The output has no reader any more, or cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// What is wrong with the command line or a file.
pub fn usage(message: impl Display) -> Failure {
    Failure::Usage(message.to_string())
}

/// What went wrong on the way.
pub fn failed(message: impl Display) -> Failure {
    Failure::Failed(message.to_string())
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::List(args) => list::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Config(args) => config::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Leaderboard(args) => leaderboard::run(args),
        Command::Advise(args) => advise::run(args),
        Command::Playground(args) => playground::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Schedule(args) => schedule::run(args),
        Command::FindLr(args) => find_lr::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Checkpoint(args) => checkpoint::run(args),
        Command::Completions { shell } => completions(*shell),
        Command::Man => man(),
    };
    end::<Cli>(result)
}

/// The exit status, and a message where one is due.
fn end<C: CommandFactory>(result: Result<(), Failure>) -> ExitCode {
    let (code, message) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => C::command()
            .error(UsageError::ValueValidation, printable_lines(&message))
            .exit(),
        // Whoever read the output, `head` for one, has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(Failure::Output(error)) => (1, format!("cannot write the output: {error}")),
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Interrupted(message)) => (130, message),
    };
    // `eprintln!` would panic if standard error is closed.
    let _ = writeln!(io::stderr(), "error: {}", printable_lines(&message));
    ExitCode::from(code)
}

/// A text from a file, in which nothing acts on the terminal: control characters, and those that turn the
/// direction of what follows, are written as escapes.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// The same of several lines.
fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// The same of a file's name.
pub fn printable_path(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// JSON in one line, with the escapes of JSON for the same characters: those after ASCII it may have as
/// they are.
pub fn json(value: &impl Serialize) -> io::Result<String> {
    let mut json = String::new();
    for c in serde_json::to_string(value)?.chars() {
        if acts(c) {
            json += &format!("\\u{:04x}", u32::from(c));
        } else {
            json.push(c);
        }
    }
    Ok(json)
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "downhill", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    manual_of_subcommands(&command, "downhill", &mut page)?;
    Ok(io::stdout().write_all(&page)?)
}

fn manual_of_subcommands(command: &clap::Command, of: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for command in command.get_subcommands() {
        let name = format!("{of} {}", command.get_name());
        let man = clap_mangen::Man::new(command.clone().display_name(name.clone()));
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        manual_of_subcommands(command, &name, page)?;
    }
    Ok(())
}

/// A table as wide as the terminal, or as 80 columns where it does not tell.
pub fn table(header: impl IntoIterator<Item = impl Into<comfy_table::Cell>>) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(
            header
                .into_iter()
                .map(Into::into)
                .collect::<Vec<comfy_table::Cell>>(),
        );
    // Some pseudo-terminals say that they have no width at all.
    if !io::stdout().is_terminal() || table.width().is_some_and(|columns| columns < 40) {
        table.set_width(if io::stdout().is_terminal() { 80 } else { 120 });
    }
    table
}

/// The problem of a name, for clap.
fn problem(name: &str) -> Result<AnyProblem, String> {
    problems::by_name(name).map_err(|error| error.to_string())
}
