//! The binary `tidegate`, until the command line has its own room: run, check and schema.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tidegate::{config, server, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "tidegate", version, about = "An edge load balancer for multi-region Azure OpenAI")]
enum Command {
    /// Runs the gateway.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Take the listeners over from a running process.
        #[arg(long)]
        upgrade: bool,
    },
    /// Checks a configuration.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Print the effective configuration.
        #[arg(long)]
        print: bool,
    },
    /// Prints the JSON Schema of the configuration.
    Schema,
}

#[allow(clippy::disallowed_methods, reason = "the binary reads the environment for the configuration")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Run { config: path, upgrade } => {
            let (snapshot, warnings) = match config::load(&path, &environment) {
                Ok(loaded) => loaded,
                Err(problems) => {
                    eprintln!("{problems}");
                    return ExitCode::from(2);
                }
            };
            telemetry::logging::start(environment("RUST_LOG").as_deref());
            for warning in warnings {
                log::warn!("{warning}");
            }
            match server::run(snapshot, &server::StartOptions { config: path, upgrade }) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("tidegate: {error}");
                    ExitCode::from(1)
                }
            }
        }
        Command::Check { config: path, print } => match config::load(&path, &environment) {
            Ok(_) if print => match config::effective(&path, &environment) {
                Ok(text) => {
                    print!("{text}");
                    ExitCode::SUCCESS
                }
                Err(problems) => {
                    eprintln!("{problems}");
                    ExitCode::from(2)
                }
            },
            Ok(_) => {
                println!("{}: ok", path.display());
                ExitCode::SUCCESS
            }
            Err(problems) => {
                eprintln!("{problems}");
                ExitCode::from(2)
            }
        },
        Command::Schema => {
            print!("{}", config::schema());
            ExitCode::SUCCESS
        }
    }
}
