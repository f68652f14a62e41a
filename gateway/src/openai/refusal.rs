//! [`Refusal`]: **the one table** of what clients see when the gateway itself answers.
//!
//! Every [`Denial`] and every [`Fault`] becomes a status, a stable code, a helpful message and an honest word on
//! retrying, in the shape the OpenAI SDKs parse. No message names an address, a backend or a credential.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{Denial, Fault, IdFlaw, LimitName, Quantity};

/// A client is told to try again when a backend is back within this time.
const SOON: Duration = Duration::from_secs(10);

const REQUEST: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const RATE: &str = "rate_limit_error";
const QUOTA: &str = "insufficient_quota";
const CERTIFICATE: &str = "This listener does not accept the client's certificate. Connect anew with a valid one.";
/// Names no kind of credential that a browser would ask its user for.
const CHALLENGE: &str = "Bearer realm=\"tidegate\"";

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable, machine-readable code.
    pub code: &'static str,
    /// `type` of the body: `invalid_request_error`, `server_error` or `rate_limit_error`.
    pub kind: &'static str,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// For people.
    pub message: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Value of `x-should-retry`, which the SDKs obey before the status; nothing leaves it to them.
    pub should_retry: Option<bool>,
    /// Value of `www-authenticate`: how to come in.
    pub challenge: Option<&'static str>,
    /// A body of the operator's own, in place of the usual one.
    pub page: Option<Arc<str>>,
}

/// The table, first half: the client can do something about it.
impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        let no = |status, code, message: &str| Self::denied(status, code, message.to_owned());
        match denial {
            Denial::HostMissing => no(400, "host_missing", "The request names no host."),
            Denial::HostInvalid => no(400, "host_invalid", "The request names a host that is none."),
            Denial::UriTooLong { limit } => {
                no(414, "uri_too_long", &format!("The request target is longer than {limit} bytes."))
            }
            Denial::HeadersTooLarge { limit } => {
                no(431, "headers_too_large", &format!("The request headers are larger than {limit} bytes."))
            }
            Denial::BadFraming { what } => no(400, "bad_framing", &format!("The request framing is invalid: {what}.")),
            Denial::BadPath { what } => no(400, "bad_path", &format!("The request path is invalid: {what}.")),
            Denial::Unauthenticated { .. } => Self::unauthenticated(),
            Denial::TooManyFailures { retry_after } => Self::guessing(*retry_after),
            Denial::ResidencyUnknown | Denial::ResidencyConflict | Denial::ResidencyUnserved => {
                Self::unbindable(denial)
            }
            Denial::NotAllowed { what } => no(403, "not_allowed", &format!("This consumer is not allowed to {what}.")),
            Denial::RouteNotFound => no(404, "route_not_found", "No route serves this host and path."),
            Denial::DeploymentNotFound { deployment } => Self {
                param: Some("model"),
                ..no(404, "deployment_not_found", &format!("No route serves the deployment `{deployment}`."))
            },
            Denial::IdNotTaken { .. } | Denial::ListRefused | Denial::OperationUnknown => Self::of_stored(denial),
            Denial::BodyTooLarge { limit } => {
                no(413, "body_too_large", &format!("The request body is larger than {limit} bytes."))
            }
            Denial::HeaderTimeout => Self::late("header_timeout", "The request header did not arrive in time."),
            Denial::BodyTimeout => Self::late("body_timeout", "The request body did not arrive in time."),
            Denial::BodyIncomplete => no(400, "body_incomplete", "The request body ended before its stated length."),
            Denial::BadJson { what } => no(400, "bad_json", &format!("The request body is no valid JSON: {what}.")),
            Denial::BadField { param, what } => {
                Self { param: Some(param), ..no(400, "invalid_value", &format!("`{param}` {what}.")) }
            }
            Denial::BadMultipart { what } => no(400, "bad_multipart", &format!("The form is unreadable: {what}.")),
            Denial::ClientCertificateRefused => no(403, "client_certificate_refused", CERTIFICATE),
            Denial::MethodNotAllowed => no(405, "method_not_allowed", "This method is not served."),
            Denial::CorsRefused { what } => no(403, "cors_refused", &format!("The preflight is refused: {what}.")),
            Denial::NotFromFrontDoor => {
                no(403, "front_door_required", "This listener takes requests through its Front Door only.")
            }
            Denial::LoopDetected => Self::looping(),
            Denial::Blocked { status, body } => {
                Self { page: body.clone(), ..no(*status, "request_blocked", "The request is blocked.") }
            }
            Denial::BodyRefused { what } => no(400, "body_refused", &format!("The request body is refused: {what}.")),
            Denial::MediaTypeRefused { what } => {
                no(415, "unsupported_media_type", &format!("The request is refused: {what}."))
            }
            Denial::RateLimited { retry_after } => Self::rate_limited(*retry_after),
            Denial::LimitReached { limit, what, retry_after } => Self::limited(limit, *what, *retry_after),
            Denial::QuotaGone { limit, what, retry_after } => Self::gone(limit, *what, *retry_after),
            Denial::CeilingPassed { param, max } => Self::over(param, *max),
            Denial::Incapable { what } => Self::incapable(what),
            Denial::ContextExceeded { max } => Self::too_long(*max),
            Denial::Shed { retry_after } => {
                Self::full(*retry_after, "shed", "The gateway is at its limit. Try again shortly.")
            }
            Denial::Overloaded { retry_after } => Self::full(
                *retry_after,
                "overloaded",
                "The gateway is at its limit of request bodies. Try again shortly.",
            ),
        }
    }
}

/// The table, second half: the client can only try again.
impl From<&Fault> for Refusal {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::AllThrottled { retry_after } => Self {
                kind: RATE,
                ..Self::failed(429, "all_backends_throttled", "Every backend is at its rate limit.", Some(*retry_after))
            },
            Fault::NoBackend { retry_after } => {
                Self::failed(503, "no_backend_available", "No backend is available.", Some(*retry_after))
            }
            Fault::Unreachable { retry_after } => {
                Self::failed(502, "backend_unreachable", "No backend could be reached.", Some(*retry_after))
            }
            Fault::BackendMisconfigured => {
                let message = "The backends refuse the gateway. Its operator has been told.";
                Self::failed(502, "backend_misconfigured", message, None)
            }
            Fault::ResidencyViolated => {
                let message = "The request would have left the region where it may be processed, and was stopped.";
                Self::failed(503, "residency_violated", message, None)
            }
            Fault::DeadlinePassed => {
                Self::failed(504, "deadline_passed", "No backend answered before the deadline.", None)
            }
            // A bug need not strike twice: the SDK may decide.
            Fault::Internal => {
                let failed = Self::failed(500, "internal_error", "The gateway failed on this request.", None);
                Self { should_retry: None, ..failed }
            }
        }
    }
}

impl Refusal {
    fn denied(status: u16, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            kind: REQUEST,
            param: None,
            message,
            retry_after: None,
            should_retry: Some(false),
            challenge: None,
            page: None,
        }
    }

    /// A rate limit of the firewall is reached.
    fn rate_limited(retry_after: Duration) -> Self {
        let message = "Too many requests. Come back when the window has ended.".to_owned();
        Self {
            kind: RATE,
            retry_after: Some(retry_after),
            should_retry: Some(retry_after <= SOON),
            ..Self::denied(429, "rate_limit_exceeded", message)
        }
    }

    /// It is not processed where it may not be.
    fn unbindable(denial: &Denial) -> Self {
        let (code, message) = match denial {
            Denial::ResidencyConflict => {
                ("residency_conflict", "What is said about where this request may be processed contradicts itself.")
            }
            Denial::ResidencyUnserved => {
                ("residency_unserved", "No backend for this request processes data where it may be processed.")
            }
            _ => ("residency_unknown", "It is not known where this request may be processed, so it is not."),
        };
        Self::denied(403, code, message.to_owned())
    }

    /// About what is stored: one answer for every id that does not open.
    fn of_stored(denial: &Denial) -> Self {
        let no = |status, code, message: &str| Self::denied(status, code, message.to_owned());
        match denial {
            Denial::IdNotTaken { flaw: IdFlaw::Torn, .. } => {
                no(400, "ids_of_two_backends", "The request names things that are stored in different places.")
            }
            Denial::IdNotTaken { kind, .. } => no(404, "not_found", &format!("No {kind} with this id was found.")),
            Denial::ListRefused => {
                no(403, "list_refused", "Lists of everything that is stored are not given here. Ask by id.")
            }
            _ => no(404, "unknown_operation", "This call is not known here."),
        }
    }

    /// The client was too slow, this time.
    fn late(code: &'static str, message: &str) -> Self {
        Self { should_retry: Some(true), ..Self::denied(408, code, message.to_owned()) }
    }

    /// One request asks for too much.
    fn over(param: &'static str, max: u64) -> Self {
        let message = format!("`{param}` asks for more than {max}, which is the most here.");
        Self { param: Some(param), ..Self::denied(400, "invalid_value", message) }
    }

    fn looping() -> Self {
        let message = "The request goes round in circles: a gateway is its own backend.".to_owned();
        Self { kind: SERVER, ..Self::denied(508, "loop_detected", message) }
    }

    /// No backend can do it: to wait is of no use.
    fn incapable(what: &str) -> Self {
        Self::denied(400, "unsupported_by_backends", format!("No backend of this deployment can {what}."))
    }

    /// No backend has a context that is long enough. The code is the one that clients know.
    fn too_long(max: u64) -> Self {
        let message = match max {
            0 => "The prompt is longer than the context of the backends that are free.".to_owned(),
            _ => format!("Prompt and answer are longer than {max} tokens, the largest context of the backends."),
        };
        Self { param: Some("messages"), ..Self::denied(400, "context_length_exceeded", message) }
    }

    /// A usage limit has too little left, and soon more.
    fn limited(limit: &LimitName, what: Quantity, retry_after: Duration) -> Self {
        let (code, quantity) = match what {
            Quantity::Requests => ("requests_limit_reached", "requests"),
            Quantity::Tokens => ("tokens_limit_reached", "tokens"),
            Quantity::Concurrency => ("concurrency_limit_reached", "requests at the same time"),
        };
        let message =
            format!("The limit of {quantity} of `{limit}` is reached. Come back in {} s.", whole_seconds(retry_after));
        let should_retry = Some(retry_after <= SOON);
        Self { kind: RATE, retry_after: Some(retry_after), should_retry, ..Self::denied(429, code, message) }
    }

    /// A quota has too little left until its period ends.
    fn gone(limit: &LimitName, what: Quantity, retry_after: Duration) -> Self {
        let quantity = if what == Quantity::Tokens { "tokens" } else { "requests" };
        let message = format!(
            "The quota of {quantity} of `{limit}` has too little left for this request. It is renewed in {} s.",
            whole_seconds(retry_after)
        );
        let denied = Self::denied(403, "quota_exhausted", message);
        Self { kind: QUOTA, retry_after: Some(retry_after), ..denied }
    }

    /// One answer whatever the cause: a guesser learns nothing.
    fn unauthenticated() -> Self {
        let denied = Self::denied(401, "invalid_api_key", "The request carries no valid API key or token.".to_owned());
        Self { challenge: Some(CHALLENGE), ..denied }
    }

    /// Even what is right is not looked at.
    fn guessing(retry_after: Duration) -> Self {
        let message = "Too many failed attempts to authenticate from this address.".to_owned();
        Self { kind: RATE, retry_after: Some(retry_after), ..Self::denied(429, "too_many_failures", message) }
    }

    /// We are at a limit of ours, and soon below it.
    fn full(retry_after: Duration, code: &'static str, message: &str) -> Self {
        let denied = Self::denied(503, code, message.to_owned());
        Self { kind: SERVER, retry_after: Some(retry_after), should_retry: Some(true), ..denied }
    }

    /// Every attempt is used up: only a backend that is soon back makes another try worth its load.
    fn failed(status: u16, code: &'static str, message: &str, retry_after: Option<Duration>) -> Self {
        let soon = retry_after.is_some_and(|wait| wait <= SOON);
        let message = message.to_owned();
        Self {
            status,
            code,
            kind: SERVER,
            param: None,
            message,
            retry_after,
            should_retry: Some(soon),
            challenge: None,
            page: None,
        }
    }

    /// Media type of the body: the operator's own is told by its beginning.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.page.as_deref().map(|page| page.trim_start().as_bytes().first()) {
            None | Some(Some(b'{' | b'[')) => "application/json",
            Some(Some(b'<')) => "text/html; charset=utf-8",
            Some(_) => "text/plain; charset=utf-8",
        }
    }

    /// The body: `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn body(&self) -> Bytes {
        if let Some(page) = &self.page {
            return Bytes::copy_from_slice(page.as_bytes());
        }
        let body = serde_json::json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        Bytes::from(body.to_string())
    }
}

fn whole_seconds(wait: Duration) -> String {
    retry_after(wait)
}

/// Value of `retry-after`: whole seconds, rounded up, at least 1.
#[must_use]
pub fn retry_after(wait: Duration) -> String {
    wait.as_micros().div_ceil(1_000_000).max(1).to_string()
}

/// Value of `retry-after-ms`: milliseconds, rounded up.
#[must_use]
pub fn retry_after_ms(wait: Duration) -> String {
    wait.as_micros().div_ceil(1000).to_string()
}

/// Value of `x-should-retry` when a backend is back after `wait`.
#[must_use]
pub fn should_retry(wait: Duration) -> &'static str {
    if wait <= SOON { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
