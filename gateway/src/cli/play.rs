//! `tidegate simulate` and `tidegate demo`: words to options, and how it ended.

use super::arguments::{Demo, Simulate};
use super::{Failure, failed, invalid, print, takes_color};
use crate::demo::{self, DemoOptions, View};
use crate::domain::Secret;
use crate::simulator::{self, Latency, SimulateError, SimulateOptions, Started};
use std::fmt::Write;
use std::future::Future;
use std::io::IsTerminal;

/// Runs regions until SIGINT, SIGTERM or the duration ends them.
pub(super) fn simulate(options: Simulate) -> Result<(), Failure> {
    let secure = options.certificate.is_some();
    let duration = options.duration;
    let regions = SimulateOptions {
        regions: options.regions,
        deployments: options.deployments,
        script: options.script,
        seed: options.seed,
        api_key: options.api_key.map(|key| Secret::new(&key)),
        latency: Latency {
            first_token: options.first_token,
            per_token: options.per_token,
            jitter: f64::from(options.jitter) / 100.0,
            ..Latency::default()
        },
        tokens_out: options.tokens,
        tls: options.certificate.zip(options.key),
    };
    let running = simulator::run(regions, |started| print(&introduction(started, secure)));
    let ended = block_on(async {
        match duration {
            None => running.await,
            Some(limit) => tokio::time::timeout(limit, running).await.unwrap_or(Ok(())),
        }
    })?;
    ended.map_err(|error| match error {
        SimulateError::Start(..) => failed(chain(&error)),
        wrong => invalid(format!("tidegate: {}", chain(&wrong))),
    })
}

/// Where each region is and how its faults are controlled.
fn introduction(started: &[Started], secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    let width = started.iter().map(|one| one.region.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Started { region, address, .. } in started {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{region:width$}  {scheme}://{address}  faults: {scheme}://{address}/_sim/faults");
    }
    text.push_str("Stop with Ctrl-C.\n");
    text
}

/// Plays the demo; code 1 when a client saw an error.
pub(super) fn demo(options: &Demo) -> Result<(), Failure> {
    let terminal = std::io::stdout().is_terminal();
    let program = std::env::current_exe().map_err(|error| failed(format!("cannot find my own program: {error}")))?;
    let options = DemoOptions {
        duration: options.duration,
        rate: options.rate,
        port: options.port,
        view: if options.plain || !terminal { View::Lines } else { View::Live },
        color: takes_color(),
        program,
    };
    let verdict = block_on(demo::run(options))?.map_err(|error| failed(chain(&error)))?;
    if verdict.client_errors == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(future);
    // What still hangs on purpose must not hold the end up.
    runtime.shutdown_background();
    Ok(ended)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}
