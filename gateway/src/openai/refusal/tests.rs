#![allow(clippy::unwrap_used, reason = "tests may panic")]
use super::*;
use crate::domain::Unproven;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn every_denial_has_its_row() {
    for (denial, status, code, retry) in [
        (Denial::HostMissing, 400, "host_missing", false),
        (Denial::UriTooLong { limit: 9 }, 414, "uri_too_long", false),
        (Denial::HeadersTooLarge { limit: 9 }, 431, "headers_too_large", false),
        (Denial::BadFraming { what: "x" }, 400, "bad_framing", false),
        (Denial::BadPath { what: "x" }, 400, "bad_path", false),
        (Denial::Unauthenticated { why: Unproven::Missing, consumer: None }, 401, "invalid_api_key", false),
        (Denial::NotAllowed { what: "x" }, 403, "not_allowed", false),
        (Denial::ResidencyUnknown, 403, "residency_unknown", false),
        (Denial::ResidencyConflict, 403, "residency_conflict", false),
        (Denial::ResidencyUnserved, 403, "residency_unserved", false),
        (Denial::RouteNotFound, 404, "route_not_found", false),
        (Denial::DeploymentNotFound { deployment: "d".to_owned() }, 404, "deployment_not_found", false),
        (Denial::IdNotTaken { flaw: IdFlaw::Torn, kind: "x" }, 400, "ids_of_two_backends", false),
        (Denial::ListRefused, 403, "list_refused", false),
        (Denial::OperationUnknown, 404, "unknown_operation", false),
        (Denial::BodyTooLarge { limit: 9 }, 413, "body_too_large", false),
        (Denial::HeaderTimeout, 408, "header_timeout", true),
        (Denial::BodyTimeout, 408, "body_timeout", true),
        (Denial::BodyIncomplete, 400, "body_incomplete", false),
        (Denial::BadJson { what: "x".to_owned() }, 400, "bad_json", false),
        (Denial::BadField { param: "model", what: "x" }, 400, "invalid_value", false),
        (Denial::BadMultipart { what: "x" }, 400, "bad_multipart", false),
        (Denial::MethodNotAllowed, 405, "method_not_allowed", false),
        (Denial::CorsRefused { what: "x" }, 403, "cors_refused", false),
        (Denial::NotFromFrontDoor, 403, "front_door_required", false),
        (Denial::LoopDetected, 508, "loop_detected", false),
        (Denial::Blocked { status: 406, body: None }, 406, "request_blocked", false),
        (Denial::BodyRefused { what: "x".to_owned() }, 400, "body_refused", false),
        (Denial::MediaTypeRefused { what: "x".to_owned() }, 415, "unsupported_media_type", false),
        (Denial::CeilingPassed { param: "n", max: 4 }, 400, "invalid_value", false),
        (Denial::Incapable { what: "take images".to_owned() }, 400, "unsupported_by_backends", false),
        (Denial::ContextExceeded { max: 8192 }, 400, "context_length_exceeded", false),
        (Denial::ContextExceeded { max: 0 }, 400, "context_length_exceeded", false),
        (Denial::Overloaded { retry_after: seconds(1) }, 503, "overloaded", true),
        (Denial::Shed { retry_after: seconds(1) }, 503, "shed", true),
    ] {
        let refusal = Refusal::from(&denial);
        let kind = if status >= 500 { SERVER } else { REQUEST };
        assert_eq!((refusal.status, refusal.code, refusal.kind), (status, code, kind), "{denial:?}");
        assert_eq!(refusal.should_retry, Some(retry), "{denial:?}");
    }
}

#[test]
fn limits_are_told_by_what_is_scarce() {
    let limit = LimitName::new("team").unwrap();
    for (what, code) in [
        (Quantity::Requests, "requests_limit_reached"),
        (Quantity::Tokens, "tokens_limit_reached"),
        (Quantity::Concurrency, "concurrency_limit_reached"),
    ] {
        let reached = Denial::LimitReached { limit: limit.clone(), what, retry_after: seconds(3) };
        let refusal = Refusal::from(&reached);
        assert_eq!((refusal.status, refusal.code, refusal.kind), (429, code, RATE));
        assert_eq!((refusal.retry_after, refusal.should_retry), (Some(seconds(3)), Some(true)));
        let gone = Refusal::from(&Denial::QuotaGone { limit: limit.clone(), what, retry_after: seconds(3) });
        assert_eq!((gone.status, gone.code, gone.kind), (403, "quota_exhausted", QUOTA));
        assert_eq!((gone.retry_after, gone.should_retry), (Some(seconds(3)), Some(false)));
    }
}

#[test]
fn an_id_that_does_not_open_is_not_found_whatever_the_reason() {
    let told = |flaw| Refusal::from(&Denial::IdNotTaken { flaw, kind: "thread" });
    for flaw in IdFlaw::ALL.into_iter().filter(|flaw| *flaw != IdFlaw::Torn) {
        assert_eq!(told(flaw), told(IdFlaw::Unsealed));
    }
    let told = told(IdFlaw::Foreign);
    assert_eq!((told.status, told.code, told.kind, told.should_retry), (404, "not_found", REQUEST, Some(false)));
    assert_eq!(told.message, "No thread with this id was found.");
}

#[test]
fn a_guesser_hears_the_same_every_time() {
    let told = |why, consumer| Refusal::from(&Denial::Unauthenticated { why, consumer });
    for why in Unproven::ALL {
        assert_eq!(told(why, Some(7)), told(Unproven::Missing, None));
    }
}

#[test]
fn every_fault_has_its_row() {
    for (fault, status, code, retry) in [
        (Fault::AllThrottled { retry_after: seconds(10) }, 429, "all_backends_throttled", Some(true)),
        (Fault::AllThrottled { retry_after: seconds(11) }, 429, "all_backends_throttled", Some(false)),
        (Fault::NoBackend { retry_after: seconds(5) }, 503, "no_backend_available", Some(true)),
        (Fault::NoBackend { retry_after: seconds(60) }, 503, "no_backend_available", Some(false)),
        (Fault::Unreachable { retry_after: seconds(2) }, 502, "backend_unreachable", Some(true)),
        (Fault::BackendMisconfigured, 502, "backend_misconfigured", Some(false)),
        (Fault::ResidencyViolated, 503, "residency_violated", Some(false)),
        (Fault::DeadlinePassed, 504, "deadline_passed", Some(false)),
        (Fault::Internal, 500, "internal_error", None),
    ] {
        let refusal = Refusal::from(&fault);
        let kind = if status == 429 { RATE } else { SERVER };
        assert_eq!((refusal.status, refusal.code, refusal.kind), (status, code, kind), "{fault:?}");
        assert_eq!(refusal.should_retry, retry, "{fault:?}");
    }
}

#[test]
fn waits_are_rounded_up() {
    for (wait, whole, millis, retry) in [
        (Duration::ZERO, "1", "0", "true"),
        (Duration::from_micros(1), "1", "1", "true"),
        (Duration::from_millis(1001), "2", "1001", "true"),
        (seconds(10), "10", "10000", "true"),
        (seconds(60), "60", "60000", "false"),
    ] {
        assert_eq!((retry_after(wait).as_str(), retry_after_ms(wait).as_str()), (whole, millis));
        assert_eq!(should_retry(wait), retry);
    }
}

#[test]
fn bodies_are_what_the_sdks_parse() {
    let absurd = Denial::DeploymentNotFound { deployment: "\"}\u{2028}\\".to_owned() };
    let body: serde_json::Value = serde_json::from_slice(&Refusal::from(&absurd).body()).unwrap();
    let want = serde_json::json!({"error": {
        "message": "No route serves the deployment `\"}\u{2028}\\`.", "type": "invalid_request_error",
        "param": "model", "code": "deployment_not_found",
    }});
    assert_eq!(body, want);
}
