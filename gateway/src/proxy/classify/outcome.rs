//! The outcome of an attempt, by what was received of it or by the error that ended it.

use super::super::deadline::{FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT};
use super::super::hedge::race::HEDGE_WON;
use super::super::hold::{
    CONTEXT_EXCEEDED, DEPLOYMENT_MISSING, RATE_LIMITED, SERVER_ERROR, STREAM_BROKEN, STREAM_FAILED, STREAM_THROTTLED,
};
use super::super::pace::{FIRST_TOKEN_LATE, STALLED, TOO_SLOW};
use crate::domain::Outcome;
use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// The outcome of a status that a backend sent.
pub(in crate::proxy) fn by_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        401 | 403 => Outcome::BackendDenied,
        408 | 500.. => Outcome::ServerError,
        429 => Outcome::RateLimited,
        400..500 => Outcome::ClientError,
        _ => Outcome::Served,
    }
}

/// The outcome of an error that Pingora or the replay session raised while proxying.
pub(in crate::proxy) fn by_error(error: &Error, relayed: bool) -> Outcome {
    let kind = error.root_etype();
    if *kind == HEDGE_WON {
        return Outcome::Outraced;
    }
    if *kind == DEPLOYMENT_MISSING {
        return Outcome::DeploymentMissing;
    }
    if *kind == RATE_LIMITED {
        return Outcome::RateLimited;
    }
    if *kind == SERVER_ERROR {
        return Outcome::ServerError;
    }
    if *kind == CONTEXT_EXCEEDED {
        return Outcome::ContextExceeded;
    }
    if *kind == STREAM_THROTTLED {
        return Outcome::StreamThrottled;
    }
    if *kind == STREAM_FAILED {
        return Outcome::StreamFailed;
    }
    if *kind == STREAM_BROKEN {
        return Outcome::StreamBroken;
    }
    if [FIRST_TOKEN_LATE, STALLED, TOO_SLOW].contains(kind) {
        return Outcome::StreamStalled;
    }
    if *kind == IDLE_TIMEOUT || *kind == TOTAL_TIMEOUT {
        return if relayed { Outcome::BrokenLate } else { Outcome::TimedOut };
    }
    if *kind == FIRST_BYTE_TIMEOUT {
        return Outcome::TimedOut;
    }
    if *error.esource() == ErrorSource::Downstream {
        return Outcome::ClientGone;
    }
    match kind {
        _ if relayed => Outcome::BrokenLate,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::TimedOut,
        _ => Outcome::BrokenEarly,
    }
}

#[cfg(test)]
mod tests;
