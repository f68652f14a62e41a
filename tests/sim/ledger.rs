//! What happened, for the questions a scenario asks afterwards.

use crate::region::Micros;
use std::time::Duration;
use tidegate::domain::Outcome;

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) at: Micros,
    pub(crate) backend: usize,
}

/// How one request of a client ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) arrived: Micros,
    pub(crate) at: Micros,
    /// The last attempt's outcome; none where no attempt was made.
    pub(crate) outcome: Option<Outcome>,
    /// An attempt ran into its first-byte timeout.
    pub(crate) waited: bool,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ended: Vec<Ended>,
    /// Moments at which a backend was set aside or came back.
    pub(crate) changes: Vec<(Micros, usize)>,
    /// Requests that found everything throttled.
    pub(crate) all_throttled: u64,
}

fn micros(seconds: f64) -> Micros {
    u64::try_from(Duration::from_secs_f64(seconds).as_micros()).unwrap()
}

impl Ledger {
    /// Attempts on `backend` between two times in seconds.
    pub(crate) fn attempts_on(&self, backend: usize, from: f64, to: f64) -> usize {
        let span = micros(from)..micros(to);
        self.attempts.iter().filter(|a| a.backend == backend && span.contains(&a.at)).count()
    }

    /// All attempts between two times in seconds.
    pub(crate) fn attempts(&self, from: f64, to: f64) -> usize {
        let span = micros(from)..micros(to);
        self.attempts.iter().filter(|a| span.contains(&a.at)).count()
    }

    /// Requests that arrived between two times in seconds.
    pub(crate) fn arrived(&self, from: f64, to: f64) -> impl Iterator<Item = &Ended> {
        let span = micros(from)..micros(to);
        self.ended.iter().filter(move |e| span.contains(&e.arrived))
    }

    /// Requests served to their end between two times in seconds.
    pub(crate) fn served(&self, from: f64, to: f64) -> usize {
        let span = micros(from)..micros(to);
        self.ended.iter().filter(|e| e.outcome == Some(Outcome::Served) && span.contains(&e.at)).count()
    }
}
