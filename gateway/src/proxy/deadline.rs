//! The deadlines of one attempt: to its first byte, between bytes, and of the whole answer. The one place of this room that
//! reads a clock; it raises an error and never says what follows from it.

use pingora::{Error, ErrorType};
use pingora_timeout::fast_timeout::fast_sleep;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// No response header in time.
pub(super) const FIRST_BYTE_TIMEOUT: ErrorType = ErrorType::Custom("first_byte_timeout");
/// A pause inside the answer was too long.
pub(super) const IDLE_TIMEOUT: ErrorType = ErrorType::Custom("idle_timeout");
/// The whole answer took too long.
pub(super) const TOTAL_TIMEOUT: ErrorType = ErrorType::Custom("total_timeout");

/// Pingora's coarse timer (10 ms): registering it wakes no other thread, as a timer of tokio's would.
type Timer = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What has passed.
pub(super) enum Passed {
    /// The time of what is held; asked for once.
    Hold,
    /// The time after which the attempt may be hedged; asked for once.
    Hedge,
    /// A deadline: the attempt is over.
    Deadline(Box<Error>),
}

/// What comes next.
enum Next {
    Hold,
    Hedge,
    /// The error that its passing is.
    Deadline(ErrorType),
}

/// The deadlines of one attempt, on one lazily re-armed timer.
#[derive(Default)]
pub(super) struct Clock {
    /// When the attempt started.
    pub(super) started: Option<Instant>,
    first_byte: Duration,
    idle: Duration,
    total: Option<Instant>,
    /// When what is held is let go.
    pub(super) hold: Option<Instant>,
    /// When a second attempt may begin beside this one.
    pub(super) hedge: Option<Instant>,
    /// When a stream is too late, and for what.
    pub(super) pace: Option<(Instant, ErrorType)>,
    /// When bytes last came.
    pub(super) progress: Option<Instant>,
    alarm: Alarm,
}

/// One lazily re-armed timer: waiting again, for later, costs a look at it.
#[derive(Default)]
pub(super) struct Alarm {
    /// When the timer fires, and the timer.
    timer: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Waits until `at` has really passed.
    pub(super) async fn passes(&mut self, at: Instant) {
        loop {
            // A timer that runs, and not too long, needs no look at the clock: an answer's every chunk comes by here.
            if let Some((_, timer)) = self.timer.as_mut().filter(|(fires, _)| *fires <= at) {
                timer.as_mut().await;
                self.timer = None;
                continue;
            }
            let now = now();
            if now >= at {
                return;
            }
            self.timer = Some((at, Box::pin(fast_sleep(at - now))));
        }
    }
}

impl Clock {
    /// Deadlines of an attempt that has not started: to the first byte, between bytes, and the end of everything.
    pub(super) fn new(first_byte: Duration, idle: Duration, total: Option<Instant>) -> Self {
        Self { first_byte, idle, total, ..Self::default() }
    }

    /// What comes next, and when.
    fn next(&self) -> Option<(Instant, Next)> {
        let (at, kind) = self.deadline()?;
        let (at, next) = match self.hold {
            Some(hold) if hold < at => (hold, Next::Hold),
            _ => (at, Next::Deadline(kind)),
        };
        match self.hedge {
            Some(hedge) if hedge < at => Some((hedge, Next::Hedge)),
            _ => Some((at, next)),
        }
    }

    fn deadline(&self) -> Option<(Instant, ErrorType)> {
        let (at, kind) = match (self.progress, self.started) {
            (Some(progress), _) => (progress + self.idle, IDLE_TIMEOUT),
            (None, Some(started)) => (started + self.first_byte, FIRST_BYTE_TIMEOUT),
            (None, None) => return None,
        };
        let (at, kind) = match &self.pace {
            Some((late, kind)) if *late < at => (*late, kind.clone()),
            _ => (at, kind),
        };
        match self.total {
            Some(total) if total < at && self.progress.is_some() => Some((total, TOTAL_TIMEOUT)),
            _ => Some((at, kind)),
        }
    }

    /// Waits until a deadline has really passed.
    pub(super) async fn expired(&mut self) -> Box<Error> {
        loop {
            if let Passed::Deadline(error) = self.passed().await {
                return error;
            }
        }
    }

    /// The same, or until what is held is to be let go.
    pub(super) async fn passed(&mut self) -> Passed {
        let Some((at, next)) = self.next() else { return std::future::pending().await };
        self.alarm.passes(at).await;
        match next {
            Next::Hold => {
                self.hold = None;
                Passed::Hold
            }
            Next::Hedge => {
                self.hedge = None;
                Passed::Hedge
            }
            Next::Deadline(kind) => {
                let mut error = Error::new(kind);
                error.as_up();
                Passed::Deadline(error)
            }
        }
    }
}

/// The present, for deadlines.
#[allow(clippy::disallowed_methods, reason = "the deadlines of an attempt are real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
