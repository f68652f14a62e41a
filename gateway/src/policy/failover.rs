//! The failover rule: what follows an attempt's outcome. [`next`] is the whole of it. Never chooses the backend.

use crate::domain::Outcome;
use std::time::Duration;

/// Parameters of failover in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Attempts per request, the first included.
    pub attempts_max: u32,
    /// From arrival to the first byte of the answer, over all attempts.
    pub deadline: Duration,
    /// From the start of one attempt to its response header, for answers that do not stream.
    pub first_byte_timeout: Duration,
    /// The same for answers that stream.
    pub stream_first_byte_timeout: Duration,
    /// Failovers allowed on top of the client's requests, as a share of them (0 to 1). A failover that is served costs nothing.
    pub budget: f64,
    /// Failovers per second that are allowed whatever the share says.
    pub budget_min: u32,
}

/// Where a request stands when an attempt has come to its outcome.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, read by one table")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Attempts made, this one included.
    pub attempts: u32,
    /// Attempts allowed: see [`attempts_allowed`].
    pub attempts_max: u32,
    /// Another backend could take an attempt now.
    pub eligible_left: bool,
    /// The request's deadline to the first byte has passed.
    pub deadline_passed: bool,
    /// A byte of an answer went to the client.
    pub relayed: bool,
    /// The pool's retry budget grants a failover.
    pub budget: bool,
    /// A request that was sent, and perhaps worked on, may be sent again.
    pub replayable: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Relay what this attempt received, as received.
    Relay,
    /// Make another attempt on another backend.
    NextAttempt,
    /// Nothing to relay: answer for ourselves.
    Refuse(Refusal),
    /// The answer broke after bytes were relayed: end it honestly and count it.
    EndStream,
    /// Nobody waits for an answer any more: settle.
    Settle,
}

/// Why we answer for ourselves after the last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 502: no connection, or it broke before its header.
    Unreachable,
    /// 504: no header in time.
    DeadlinePassed,
    /// 502: the backend refuses our credential or deployment.
    BackendMisconfigured,
    /// 503: the stream was an error; its 200 is not the client's.
    Failing,
    /// 400: the prompt is too long for the backends that are free.
    ContextExceeded,
}

/// The failover rule.
///
/// *Repeat* means: an attempt is left, another backend is eligible, the deadline is not past, nothing was relayed and
/// the retry budget grants it.
///
/// | Outcome | repeat | otherwise |
/// |---|---|---|
/// | `Served`, `ClientError`, `ContentFiltered` | relay | relay |
/// | `RateLimited` (429) | next attempt | relay |
/// | `ServerError` (408, 5xx) | next attempt | relay as received |
/// | `ConnectFailed` (nothing sent) | next attempt | 502 |
/// | `TimedOut` before the header | next attempt if `replayable` | 504 |
/// | `BrokenEarly` | next attempt if `replayable` | 502 |
/// | `BackendDenied`, `DeploymentMissing` | next attempt | 502, never the backend's own text |
/// | `ContextExceeded` (400, and a larger context elsewhere) | next attempt there | 400 |
/// | `StreamThrottled` | next attempt | 429 with the soonest return |
/// | `StreamFailed` | next attempt | 503 |
/// | `StreamBroken` before its first delta | next attempt if `replayable` | 502 |
/// | `StreamStalled` before anything was relayed | next attempt if `replayable` | 504 |
/// | `BrokenLate` | never | end the stream |
/// | `ClientGone`, `Outraced` | never | settle |
///
/// Once a byte was relayed every transport outcome ends the stream.
#[must_use]
pub const fn next(outcome: Outcome, situation: &Situation) -> Next {
    let repeat = situation.attempts < situation.attempts_max
        && situation.eligible_left
        && !situation.deadline_passed
        && !situation.relayed
        && situation.budget;
    match outcome {
        Outcome::ClientGone | Outcome::Outraced => Next::Settle,
        Outcome::BrokenLate => Next::EndStream,
        Outcome::ConnectFailed
        | Outcome::TimedOut
        | Outcome::BrokenEarly
        | Outcome::StreamThrottled
        | Outcome::StreamFailed
        | Outcome::StreamBroken
        | Outcome::StreamStalled
            if situation.relayed =>
        {
            Next::EndStream
        }
        Outcome::Served | Outcome::ClientError | Outcome::ContentFiltered => Next::Relay,
        Outcome::RateLimited | Outcome::ServerError | Outcome::BackendDenied | Outcome::DeploymentMissing if repeat => {
            Next::NextAttempt
        }
        Outcome::ConnectFailed | Outcome::StreamThrottled | Outcome::StreamFailed | Outcome::ContextExceeded
            if repeat =>
        {
            Next::NextAttempt
        }
        Outcome::TimedOut | Outcome::BrokenEarly | Outcome::StreamBroken | Outcome::StreamStalled
            if repeat && situation.replayable =>
        {
            Next::NextAttempt
        }
        Outcome::RateLimited | Outcome::ServerError => Next::Relay,
        Outcome::StreamThrottled | Outcome::StreamFailed => Next::Refuse(Refusal::Failing),
        Outcome::ConnectFailed | Outcome::BrokenEarly | Outcome::StreamBroken => Next::Refuse(Refusal::Unreachable),
        Outcome::TimedOut | Outcome::StreamStalled => Next::Refuse(Refusal::DeadlinePassed),
        Outcome::BackendDenied | Outcome::DeploymentMissing => Next::Refuse(Refusal::BackendMisconfigured),
        Outcome::ContextExceeded => Next::Refuse(Refusal::ContextExceeded),
    }
}

/// Attempts allowed for one request: a client that is itself repeating (`x-stainless-retry-count` of 1 or more) gets at
/// most one beyond the first, so that its repeats and ours do not multiply (azure.md 3.12).
#[must_use]
pub const fn attempts_allowed(attempts_max: u32, client_retries: u32) -> u32 {
    if client_retries >= 1 && attempts_max > 2 { 2 } else { attempts_max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Next::{EndStream, NextAttempt, Refuse, Relay, Settle};

    const FREE: Situation = Situation {
        attempts: 1,
        attempts_max: 3,
        eligible_left: true,
        deadline_passed: false,
        relayed: false,
        budget: true,
        replayable: true,
    };

    /// Outcome, with repeat, without.
    const TABLE: [(Outcome, Next, Next); 18] = [
        (Outcome::Served, Relay, Relay),
        (Outcome::ClientError, Relay, Relay),
        (Outcome::RateLimited, NextAttempt, Relay),
        (Outcome::ServerError, NextAttempt, Relay),
        (Outcome::ConnectFailed, NextAttempt, Refuse(Refusal::Unreachable)),
        (Outcome::TimedOut, NextAttempt, Refuse(Refusal::DeadlinePassed)),
        (Outcome::BrokenEarly, NextAttempt, Refuse(Refusal::Unreachable)),
        (Outcome::BackendDenied, NextAttempt, Refuse(Refusal::BackendMisconfigured)),
        (Outcome::DeploymentMissing, NextAttempt, Refuse(Refusal::BackendMisconfigured)),
        (Outcome::BrokenLate, EndStream, EndStream),
        (Outcome::ClientGone, Settle, Settle),
        (Outcome::StreamThrottled, NextAttempt, Refuse(Refusal::Failing)),
        (Outcome::StreamFailed, NextAttempt, Refuse(Refusal::Failing)),
        (Outcome::StreamBroken, NextAttempt, Refuse(Refusal::Unreachable)),
        (Outcome::StreamStalled, NextAttempt, Refuse(Refusal::DeadlinePassed)),
        (Outcome::ContentFiltered, Relay, Relay),
        (Outcome::ContextExceeded, NextAttempt, Refuse(Refusal::ContextExceeded)),
        (Outcome::Outraced, Settle, Settle),
    ];

    #[test]
    fn the_outcome_table_holds_for_every_reason_to_stop() {
        let stops = [
            Situation { attempts: 3, ..FREE },
            Situation { eligible_left: false, ..FREE },
            Situation { deadline_passed: true, ..FREE },
            Situation { budget: false, ..FREE },
        ];
        assert_eq!(TABLE.map(|row| row.0), Outcome::ALL, "every outcome has a row");
        for (outcome, repeat, otherwise) in TABLE {
            assert_eq!(next(outcome, &FREE), repeat, "{outcome:?}");
            for stop in &stops {
                assert_eq!(next(outcome, stop), otherwise, "{outcome:?} {stop:?}");
            }
        }
    }

    #[test]
    fn a_sent_request_is_repeated_only_where_it_may_be() {
        let once = Situation { replayable: false, ..FREE };
        assert_eq!(next(Outcome::TimedOut, &once), Refuse(Refusal::DeadlinePassed));
        assert_eq!(next(Outcome::BrokenEarly, &once), Refuse(Refusal::Unreachable));
        assert_eq!(next(Outcome::ConnectFailed, &once), NextAttempt, "nothing was sent");
        assert_eq!(next(Outcome::ServerError, &once), NextAttempt, "the backend answered that it did not");
    }

    #[test]
    fn nothing_follows_a_relayed_byte() {
        let relayed = Situation { relayed: true, ..FREE };
        for outcome in Outcome::ALL {
            assert_ne!(next(outcome, &relayed), NextAttempt, "{outcome:?}");
        }
        assert_eq!(next(Outcome::BrokenEarly, &relayed), EndStream);
    }

    #[test]
    fn repeats_of_client_and_gateway_do_not_multiply() {
        assert_eq!([0, 1, 5].map(|n| attempts_allowed(3, n)), [3, 2, 2]);
        assert_eq!(attempts_allowed(1, 4), 1);
    }
}
