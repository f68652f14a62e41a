//! The command line: words to a command, a command's end to an exit code. Decides nothing about a request.
//!
//! Exit codes: 0 done, 1 running failed, 2 wrong words or a configuration that is not valid. Results go to standard
//! output, everything else to standard error. The environment is read here and nowhere else in the room.

mod arguments;
mod check;
mod explain;
mod key;
mod play;
mod run;
mod span;
mod usage;

pub use span::{SpanError, parse_span};

use arguments::{Arguments, Command};
use clap::Parser;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Why a command ends badly; the text is what the user reads.
#[derive(Debug)]
enum Failure {
    /// Running failed: exit code 1.
    Failed(String),
    /// The words or the configuration are wrong: exit code 2.
    Invalid(String),
    /// Everything is said already: exit code 1.
    Told,
}

/// Reads the command line, does what it says, and tells how that ended.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are "errors" of clap's with code 0. A closed terminal is nobody's loss.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => {
            tell(&text);
            ExitCode::from(1)
        }
        Err(Failure::Invalid(text)) => {
            tell(&text);
            ExitCode::from(2)
        }
        Err(Failure::Told) => ExitCode::from(1),
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::check(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Usage(options) => usage::usage(&options),
        Command::Schema => {
            print(&crate::config::schema());
            Ok(())
        }
        Command::Key { command } => key::key(&command),
        Command::Simulate(options) => play::simulate(options),
        Command::Demo(options) => play::demo(&options),
    }
}

/// A configuration and its warnings.
fn load(path: &Path) -> Result<(crate::config::snapshot::Snapshot, Vec<crate::config::Problem>), Failure> {
    crate::config::load(path, &environment).map_err(invalid)
}

fn invalid(problem: impl Display) -> Failure {
    Failure::Invalid(problem.to_string())
}

fn failed(problem: impl Display) -> Failure {
    Failure::Failed(format!("tidegate: {problem}"))
}

#[allow(clippy::disallowed_methods, reason = "the one place where the command line reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Writes a result. Whoever closed the pipe has read enough: that is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a message for the user.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether standard output takes colours: a terminal, and nobody said no (<https://no-color.org>).
fn takes_color() -> bool {
    std::io::stdout().is_terminal()
        && environment("NO_COLOR").is_none_or(|value| value.is_empty())
        && environment("TERM").is_none_or(|terminal| terminal != "dumb")
}
