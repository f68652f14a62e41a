//! `tidegate run`: load, start the log, serve. Everything after that is the server's.

use super::arguments::Run;
use super::{Failure, environment, failed, invalid};
use crate::background::vault;
use crate::config::{self, Sources};
use crate::server::{self, StartOptions};
use crate::telemetry::logging;
use std::io::Read;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until a signal ends the process.
pub(super) fn run(options: Run) -> Result<(), Failure> {
    outlive_reload();
    logging::start(environment("RUST_LOG").as_deref());
    let path = &options.config.path;
    let secrets = vault::at_start(path, &environment);
    let sources = Sources { environment: &environment, vault: &|secret| secrets.get(secret) };
    let (snapshot, warnings) = config::load_with(path, sources).map_err(invalid)?;
    for warning in &warnings {
        log::warn!("{warning}");
    }
    if options.until_stdin_closes {
        end_with_stdin();
    }
    let start = StartOptions { config: options.config.path, upgrade: options.upgrade, secrets };
    server::run(snapshot, &start).map_err(failed)
}

/// A SIGHUP ends a process that does not handle it. Whoever reloads us while we start means no harm: from here on it is
/// heard by nobody, until the server listens to it. (Once asked for, tokio's handler stays for the life of the process.)
fn outlive_reload() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let _inside = runtime.enter();
    // Fails only where signals cannot be handled at all.
    let _ = signal(SignalKind::hangup());
}

/// Ends this process when whoever holds the other end of standard input is gone, however that came.
fn end_with_stdin() {
    let wait = || {
        let mut buffer = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut buffer), Ok(read) if read > 0) {}
        std::process::exit(0)
    };
    if let Err(error) = std::thread::Builder::new().name("stdin".to_owned()).spawn(wait) {
        log::warn!("standard input is not watched: {error}");
    }
}
