//! The context of one request. It grows by whole stages, each a struct complete at birth.

use super::hedge::race::Hedged;
use super::live::Live;
use super::overload::Begun;
use super::pin::{Listing, Seal};
use super::wrapper::Desk;
use crate::domain::{Caller, ClientCertificate, Denial, Failure, Fault, Moment, Outcome, Throttle, Zones};
use crate::openai::facts::Facts;
use crate::openai::operation::{Operation, Shape};
use crate::openai::spillover::Spillover;
use crate::openai::sse::{BodyScanner, Scanner, Stripper};
use crate::policy::distance::Spot;
use crate::policy::eject::Recorded;
use crate::policy::rules::Matched;
use crate::policy::screen::finding::Findings;
use crate::policy::screen::ruleset::{Policy, Screening};
use crate::policy::screen::view::Country;
use crate::state::{ChainKey, Presence, Reservation, Reserved, Stay, Ticket, Tried, Wanted};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// Everything known about one request, stage by stage.
pub struct RequestContext {
    /// Pinned at birth: one request, one configuration.
    pub(super) arrival: Arrival,
    /// Whom it comes from; none where nobody is asked.
    pub(super) caller: Option<Caller>,
    /// Its place among the requests of its consumer.
    pub(super) stay: Option<Stay>,
    /// Its place among the requests in flight.
    pub(super) begun: Option<Begun>,
    /// After `accept`.
    pub(super) envelope: Option<Envelope>,
    /// After the rules engine, where there are rules.
    pub(super) ruled: Option<Ruled>,
    /// What the web application firewall found, where it has a policy for the request.
    pub(super) screened: Option<Box<Screened>>,
    /// After `route`: where its data may be processed.
    pub(super) residence: Option<Residence>,
    /// Where its ids lead, where it is about something stored.
    pub(super) pin: Option<Box<Pin>>,
    /// After `admit`.
    pub(super) admission: Option<Admission>,
    /// What it has taken of its usage limits, where some hold.
    pub(super) limited: Option<Box<Limited>>,
    /// From the first `select` on.
    pub(super) attempts: Attempts,
    /// From the response header on.
    pub(super) relay: Option<Relay>,
    /// This is no request of its own but the second attempt of one.
    pub(super) hedge: Option<Arc<Hedged>>,
    /// What the gateway itself answered, where it did.
    pub(super) verdict: Option<Verdict>,
}

/// A request has come in.
pub(super) struct Arrival {
    pub(super) at: Moment,
    pub(super) live: Arc<Live>,
    /// Counts this request as in flight until the context is dropped.
    _presence: Presence,
}

/// What the request line and headers say.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) request_id: HeaderValue,
    /// The client's address, behind trusted hops the one that they tell; port 0 where they tell none.
    pub(super) client: Option<SocketAddr>,
    /// The trusted hop whose connection it is, where it is not the client's own.
    pub(super) hop: Option<SocketAddr>,
    pub(super) http2: bool,
    pub(super) tls: bool,
    /// The client's certificate, where the listener asks for one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    pub(super) upgrade: bool,
    /// `x-stainless-retry-count`: how often the SDK has tried this before.
    pub(super) sdk_retries: u32,
}

/// What rules have decided about a request.
#[derive(Clone)]
pub(super) struct Ruled {
    pub(super) matched: Matched,
    /// What the client asked for, where a rule has rewritten it.
    pub(super) asked: Option<Uri>,
}

/// One request under one policy.
pub(super) struct Screened {
    pub(super) policy: Arc<Policy>,
    pub(super) screening: Screening,
    /// The body decides.
    pub(super) waits: bool,
}

impl Screened {
    /// The policy's name.
    pub(super) fn policy(&self) -> &Arc<str> {
        &self.policy.name
    }

    /// What was found.
    pub(super) const fn findings(&self) -> &Findings {
        self.screening.findings()
    }

    /// The body's beginning as far as it is looked at, where it is waited for.
    pub(super) fn body<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body.get(..self.policy.body_size_max).unwrap_or(body)
    }
}

/// The usage limits of one request.
pub(super) struct Limited {
    /// Those that hold, with the names of their buckets as soon as these are known.
    pub(super) holding: Vec<(usize, Option<ChainKey>)>,
    pub(super) reserved: Reserved,
    /// Tokens of the prompt, as estimated.
    pub(super) prompt: u64,
    /// They were counted, not told by the length of the body.
    pub(super) counted: bool,
    /// The limit that refused.
    pub(super) refusing: Option<usize>,
}

/// Where the data of a request may be processed, and where its client is as far as that was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Residence {
    pub(super) zones: Zones,
    /// The client's country, where it was looked up.
    pub(super) country: Option<Country>,
    /// Where its client is, where nearness counts from there.
    pub(super) client: Option<Spot>,
    /// The backends of its pool that are outside of the zones.
    pub(super) barred: Tried,
}

/// A request about something stored.
pub(super) struct Pin {
    /// The resource on which that is; none where something may be created anywhere.
    pub(super) resource: Option<u64>,
    /// Path and query with Azure's ids, where they had sealed ones.
    pub(super) target: Option<String>,
    /// The answer's ids are sealed for this consumer.
    pub(super) seals: Option<u64>,
    /// Where in the lists of its pool it is, where these stand for one.
    pub(super) list: Option<Box<Listing>>,
}

impl Pin {
    /// The same for another attempt of a request that lists nothing.
    pub(super) fn again(&self) -> Self {
        Self { resource: self.resource, target: self.target.clone(), seals: self.seals, list: None }
    }

    /// One resource alone can answer.
    pub(super) const fn is_bound(&self) -> bool {
        self.resource.is_some()
    }
}

/// Read, routed and admitted.
pub(super) struct Admission {
    pub(super) route: usize,
    pub(super) pool: usize,
    pub(super) operation: Operation,
    /// Where the path names what, to rewrite it for a backend.
    pub(super) shape: Shape,
    /// The deployment asked for, in path or body, or what the name there stands for.
    pub(super) deployment: Option<String>,
    /// What the client calls it, where that is an alias.
    pub(super) alias: Option<String>,
    pub(super) facts: Facts,
    /// The body is a multipart form: `model` is a part of it.
    pub(super) multipart: bool,
    pub(super) body: Bytes,
    /// Holds the body's share of the process-wide budget.
    pub(super) _memory: Option<Reservation>,
    /// Where the session that replaces the downstream one, replay or tunnel, gets its orders.
    pub(super) desk: Arc<Desk>,
    /// When no further attempt may be waited for.
    pub(super) deadline: Moment,
    pub(super) attempts_max: u32,
}

impl Admission {
    /// The same for another attempt beside this one, whose memory it leans on.
    pub(super) fn again(&self) -> Self {
        let Self { route, pool, operation, shape, multipart, deadline, attempts_max, .. } = *self;
        Self {
            route,
            pool,
            operation,
            shape,
            multipart,
            deadline,
            attempts_max,
            deployment: self.deployment.clone(),
            alias: self.alias.clone(),
            facts: self.facts.clone(),
            body: self.body.clone(),
            _memory: None,
            desk: Arc::default(),
        }
    }
}

/// The attempts so far.
#[derive(Default)]
pub(super) struct Attempts {
    /// Attempts begun.
    pub(super) count: u32,
    /// What it asks of a pick: the backends tried and barred, the cost of an attempt.
    pub(super) wanted: Wanted,
    /// Tokens of the prompt, as counted or by its length.
    pub(super) prompt: u64,
    /// The attempt under way.
    pub(super) current: Option<Current>,
    /// The last one, where its answer is relayed and has not told yet what it is about.
    pub(super) unclear: Option<Box<Unclear>>,
    /// Picked by `classify` for the next attempt.
    pub(super) next: Option<Ticket>,
    /// It failed so while a second attempt runs: what follows is decided when that one is over.
    pub(super) pending: Option<Outcome>,
    /// Finished ones, for the access log.
    pub(super) trail: Vec<Step>,
}

/// The attempt under way.
pub(super) struct Current {
    pub(super) ticket: Ticket,
    pub(super) backend: usize,
    /// The socket of its connection, where that speaks HTTP/1.1.
    pub(super) socket: Option<RawFd>,
    pub(super) started: Moment,
    /// Set once the backend's answer was classified.
    pub(super) outcome: Option<Outcome>,
    pub(super) status: u16,
    /// What its 429 is about.
    pub(super) throttle: Option<Throttle>,
    /// What its 5xx says.
    pub(super) failure: Option<Failure>,
    /// It says that its region is short of the model.
    pub(super) short: bool,
    /// Its answer is relayed, and only its body tells what it is about.
    pub(super) unclear: bool,
    /// What Azure itself has spilled over.
    pub(super) spillover: Option<Box<Spillover>>,
    /// Its stream was asked for a usage that the client did not ask for.
    pub(super) asked_usage: bool,
    /// Its answer is held until it begins; only then is it a success.
    pub(super) gated: bool,
    /// How long to stay away, should it turn out to be a 429.
    pub(super) advice: Option<Duration>,
    /// Only the end of its connection ends the answer.
    pub(super) unframed: bool,
    /// A stale keep-alive connection was already replaced once.
    pub(super) fresh: bool,
    /// Version of the token of ours that it was sent with.
    pub(super) token: Option<u64>,
}

/// What is known of a 429 or a 5xx.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    pub(super) throttle: Option<Throttle>,
    pub(super) failure: Option<Failure>,
    /// Its region is short of the model.
    pub(super) short: bool,
}

/// A failure that is relayed before its body has told what it is about.
pub(super) struct Unclear {
    pub(super) ticket: Ticket,
    pub(super) kind: Kind,
    /// What its rest went by.
    pub(super) recorded: Recorded,
}

/// One finished attempt.
pub(super) struct Step {
    pub(super) backend: usize,
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    /// What its 429 was about.
    pub(super) throttle: Option<Throttle>,
    /// What its 5xx said.
    pub(super) failure: Option<Failure>,
    /// What Azure itself has spilled over.
    pub(super) spillover: Option<Box<Spillover>>,
    pub(super) took: Duration,
    /// It was the second attempt beside another.
    pub(super) hedge: bool,
}

/// An answer on its way to the client.
pub(super) struct Relay {
    pub(super) status: u16,
    pub(super) first_byte: Moment,
    pub(super) meter: Meter,
    /// The backend's framing cannot tell an end from a break: the events must.
    pub(super) unframed: bool,
    /// Takes the usage chunk out that the client did not ask for.
    pub(super) strip: Option<Box<Stripper>>,
    /// Seals the ids of the answer.
    pub(super) seal: Option<Box<Seal>>,
    /// Body bytes seen from the backend.
    pub(super) bytes: u64,
}

/// Reads usage on the fly.
pub(super) enum Meter {
    /// A server-sent event stream.
    Events(Box<Scanner>),
    /// One JSON answer.
    Body(Box<BodyScanner>),
    /// A refusal of the request, or a failure that has not told what it is about: its beginning, as far as it is looked at.
    Refusal(Vec<u8>),
    /// A WebSocket: nothing to read, counted while it is open.
    Tunnel,
    /// Nothing to read.
    Off,
}

/// What the gateway itself answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Denied(Denial),
    Faulted(Fault),
    /// On purpose: a preflight or a redirect.
    Answered(Reply),
}

/// An answer of our own that is no refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    /// Empty but for the answer to an ACME server.
    pub(super) body: Bytes,
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Reply> for Verdict {
    fn from(reply: Reply) -> Self {
        Self::Answered(reply)
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        Self::Faulted(fault)
    }
}

impl RequestContext {
    /// A request that has just come in.
    pub(super) fn new(at: Moment, live: Arc<Live>, presence: Presence) -> Self {
        Self {
            arrival: Arrival { at, live, _presence: presence },
            caller: None,
            stay: None,
            begun: None,
            envelope: None,
            ruled: None,
            screened: None,
            residence: None,
            pin: None,
            admission: None,
            limited: None,
            attempts: Attempts::default(),
            relay: None,
            hedge: None,
            verdict: None,
        }
    }
}
