//! `tidegate demo`: the real gateway as a child process, three simulated regions, a steady mixed load, and a story: one
//! region goes dark and comes back, another runs into its quota. Decides nothing about requests; it only watches them.

mod child;
pub mod http;
mod live;
mod load;
mod paint;
mod show;
mod stage;
mod story;
mod tally;
mod words;

pub use stage::StageError;

use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What the demo is told.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// How long it runs.
    pub duration: Duration,
    /// Requests per second.
    pub rate: u32,
    /// Port of the gateway; 0: any free one.
    pub port: u16,
    /// How it shows itself.
    pub view: View,
    /// Whether colours may be used.
    pub color: bool,
    /// The program to run as the gateway: this one.
    pub program: PathBuf,
}

/// How the demo shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A picture that is redrawn twice a second.
    Live,
    /// One line a second.
    Lines,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Requests that came to an end.
    pub requests: u64,
    /// Of these, requests whose client saw an error.
    pub client_errors: u64,
}

/// Plays the demo to its end, or until SIGINT or SIGTERM. The gateway has ended and its files are gone afterwards.
///
/// # Errors
/// [`StageError`] when regions or gateway do not start.
pub async fn run(options: DemoOptions) -> Result<Verdict, StageError> {
    // Heard from the start, so that no early Ctrl-C leaves a child behind.
    let mut stop = std::pin::pin!(told_to_stop());
    let stage = tokio::select! {
        stage = stage::Stage::set(&options) => stage?,
        () = &mut stop => return Ok(Verdict { requests: 0, client_errors: 0 }),
    };
    let verdict = show::play(&stage, &options, stop).await;
    stage.strike().await;
    Ok(verdict)
}

/// SIGINT or SIGTERM; never where signals cannot be heard.
async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
