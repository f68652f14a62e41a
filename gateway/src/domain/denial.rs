//! [`Denial`] and [`Fault`]: why the gateway itself answers. `openai::refusal` maps each to status, code and body.

use super::{IdFlaw, LimitName, Unproven};
use std::sync::Arc;
use std::time::Duration;

/// We refuse the request: the client can do something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// HTTP/1.1 without `Host`, or HTTP/2 without an authority.
    HostMissing,
    /// A `Host` that is neither a name nor an address, where it would be repeated.
    HostInvalid,
    /// Request target longer than the limit, in bytes.
    UriTooLong {
        /// The configured limit in bytes.
        limit: usize,
    },
    /// Header block over the limit of bytes or count.
    HeadersTooLarge {
        /// The configured limit in bytes.
        limit: usize,
    },
    /// Framing headers that contradict each other, or a content coding that we cannot read.
    BadFraming {
        /// What is wrong, for the message.
        what: &'static str,
    },
    /// A path that does not decode to UTF-8, or a malformed deployment in it.
    BadPath {
        /// What is wrong, for the message.
        what: &'static str,
    },
    /// Nobody is known by what the client shows, or it shows nothing.
    Unauthenticated {
        /// Why, for log and metric alone.
        why: Unproven,
        /// Index of the consumer whose the credential would have been, for the log alone.
        consumer: Option<usize>,
    },
    /// Too many have failed to authenticate from the client's address.
    TooManyFailures {
        /// When the minute ends.
        retry_after: Duration,
    },
    /// The consumer may not do that.
    NotAllowed {
        /// What it may not, for the message.
        what: &'static str,
    },
    /// Nothing is configured for the client's country or for what its token says about residency.
    ResidencyUnknown,
    /// What is said about the request's residency has nothing in common.
    ResidencyConflict,
    /// No backend of the pool is inside the zones that bind the request.
    ResidencyUnserved,
    /// No route matches host and path.
    RouteNotFound,
    /// A route matches host and path, none the deployment.
    DeploymentNotFound {
        /// The deployment the client asked for, cut to 64 bytes and free of control characters.
        deployment: String,
    },
    /// An id of something stored is not taken.
    IdNotTaken {
        /// Why, for log and metric alone; the client is told one thing but for [`IdFlaw::Torn`].
        flaw: IdFlaw,
        /// What the id seems to be of, for the message.
        kind: &'static str,
    },
    /// A list of everything that a resource stores.
    ListRefused,
    /// A call that we do not know, where these are refused.
    OperationUnknown,
    /// Body longer than the limit, in bytes.
    BodyTooLarge {
        /// The configured limit in bytes.
        limit: u64,
    },
    /// The header did not arrive in time.
    HeaderTimeout,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body ended before its stated length.
    BodyIncomplete,
    /// The body is no JSON object, or breaks off.
    BadJson {
        /// Byte offset or position text, and what is wrong.
        what: String,
    },
    /// A field is missing or has the wrong type.
    BadField {
        /// The field, such as `model`.
        param: &'static str,
        /// What is wrong, for the message.
        what: &'static str,
    },
    /// A multipart body without a readable `model` field where one is needed.
    BadMultipart {
        /// What is wrong, for the message.
        what: &'static str,
    },
    /// The client's certificate, or its lack of one, is not good enough any more.
    ClientCertificateRefused,
    /// Method or protocol feature that is not proxied (CONNECT, TRACE).
    MethodNotAllowed,
    /// A preflight that asks for more than the configuration allows.
    CorsRefused {
        /// What is wrong, for the message.
        what: &'static str,
    },
    /// The listener takes the requests of certain Front Doors only, and this is none.
    NotFromFrontDoor,
    /// The request was here before, or has passed too many gateways of our kind.
    LoopDetected,
    /// A policy of the web application firewall blocks the request.
    Blocked {
        /// The policy's status.
        status: u16,
        /// The policy's body; the usual error where there is none.
        body: Option<Arc<str>>,
    },
    /// The body of an inference request has a shape that the policy does not take.
    BodyRefused {
        /// What is wrong, for the message; never the body's text.
        what: String,
    },
    /// The media type of the body is none that the policy takes.
    MediaTypeRefused {
        /// What is wrong, for the message.
        what: String,
    },
    /// A rate limit of the web application firewall is reached.
    RateLimited {
        /// When the window ends.
        retry_after: Duration,
    },
    /// A usage limit has too little left for the request.
    LimitReached {
        /// The limit.
        limit: LimitName,
        /// What there is too little of.
        what: Quantity,
        /// When there will be enough.
        retry_after: Duration,
    },
    /// A quota has too little left for the request; it is renewed with its period.
    QuotaGone {
        /// The limit.
        limit: LimitName,
        /// What there is too little of.
        what: Quantity,
        /// When the next period begins.
        retry_after: Duration,
    },
    /// The request asks for more than one request may.
    CeilingPassed {
        /// The field that asks for it.
        param: &'static str,
        /// The most that may be asked for.
        max: u64,
    },
    /// No backend of the pool can do what the request needs.
    Incapable {
        /// What none of them can do.
        what: String,
    },
    /// The request's prompt is too long for every backend.
    ContextExceeded {
        /// The largest context, in tokens of prompt and answer; zero where it is not known.
        max: u64,
    },
    /// The process is at its ceiling of requests or memory.
    Shed {
        /// When to come back.
        retry_after: Duration,
    },
    /// The gateway holds as many body bytes as it may.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
}

/// What a usage limit may have too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Requests in some time.
    Requests,
    /// Tokens in some time.
    Tokens,
    /// Requests or streams at the same time.
    Concurrency,
}

/// We failed, or nothing could be reached: the client can only try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every backend of the pool rests after a 429.
    AllThrottled {
        /// The soonest real return time.
        retry_after: Duration,
    },
    /// No backend is eligible for another reason (ejected, unhealthy, disabled, unresolved).
    NoBackend {
        /// When one may be back.
        retry_after: Duration,
    },
    /// The last attempt could not connect or broke before its header.
    Unreachable {
        /// When to come back.
        retry_after: Duration,
    },
    /// The last attempt was answered with a refusal of our own credential or deployment.
    BackendMisconfigured,
    /// The deadline passed before a response header.
    DeadlinePassed,
    /// The backend that was chosen is outside the zones that bind the request: a bug, stopped before anything was sent.
    ResidencyViolated,
    /// A bug or an unexpected state; detail is in the process log.
    Internal,
}
