//! Statuses and errors, and the outcomes that they are.

use super::*;

fn status(code: u16) -> Outcome {
    by_status(StatusCode::from_u16(code).unwrap_or_default())
}

#[test]
fn every_status_has_its_outcome() {
    for (codes, outcome) in [
        (&[101, 200, 201, 204, 301][..], Outcome::Served),
        (&[400, 404, 409, 413, 415, 422], Outcome::ClientError),
        (&[401, 403], Outcome::BackendDenied),
        (&[429], Outcome::RateLimited),
        (&[408, 500, 502, 503, 504, 529], Outcome::ServerError),
    ] {
        for code in codes {
            assert_eq!(status(*code), outcome, "{code}");
        }
    }
}

#[test]
fn an_error_is_the_clients_the_backends_early_or_late() {
    let raised = |kind: ErrorType, source: ErrorSource| {
        let mut error = Error::new(kind);
        error.esource = source;
        error
    };
    for (kind, source, relayed, outcome) in [
        (DEPLOYMENT_MISSING, ErrorSource::Upstream, false, Outcome::DeploymentMissing),
        (CONTEXT_EXCEEDED, ErrorSource::Upstream, false, Outcome::ContextExceeded),
        (RATE_LIMITED, ErrorSource::Downstream, false, Outcome::RateLimited),
        (SERVER_ERROR, ErrorSource::Downstream, false, Outcome::ServerError),
        (STREAM_THROTTLED, ErrorSource::Upstream, false, Outcome::StreamThrottled),
        (STREAM_FAILED, ErrorSource::Upstream, false, Outcome::StreamFailed),
        (STREAM_BROKEN, ErrorSource::Upstream, false, Outcome::StreamBroken),
        (FIRST_BYTE_TIMEOUT, ErrorSource::Downstream, false, Outcome::TimedOut),
        (IDLE_TIMEOUT, ErrorSource::Downstream, true, Outcome::BrokenLate),
        (FIRST_TOKEN_LATE, ErrorSource::Downstream, false, Outcome::StreamStalled),
        (STALLED, ErrorSource::Downstream, true, Outcome::StreamStalled),
        (TOO_SLOW, ErrorSource::Upstream, true, Outcome::StreamStalled),
        (TOTAL_TIMEOUT, ErrorSource::Upstream, true, Outcome::BrokenLate),
        (ErrorType::ReadTimedout, ErrorSource::Upstream, false, Outcome::TimedOut),
        (ErrorType::ConnectionClosed, ErrorSource::Upstream, false, Outcome::BrokenEarly),
        (ErrorType::ConnectionClosed, ErrorSource::Upstream, true, Outcome::BrokenLate),
        (ErrorType::ConnectionClosed, ErrorSource::Downstream, false, Outcome::ClientGone),
        (ErrorType::WriteError, ErrorSource::Downstream, true, Outcome::ClientGone),
        (HEDGE_WON, ErrorSource::Downstream, false, Outcome::Outraced),
    ] {
        let label = format!("{kind:?} {source:?} {relayed}");
        assert_eq!(by_error(&raised(kind, source), relayed), outcome, "{label}");
    }
}
