//! [`Rule`]: one custom rule as Front Door has it: conditions that must all hold, and what is done then.
//!
//! It knows which part of the request a condition looks at; it never acts.

use super::finding::{Deed, Finding, Mode, Severity};
use super::matching::{Hit, Matcher};
use super::redact::is_secret_name;
use super::view::{Country, Place, View, is_named};
use http::HeaderName;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// One custom rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name: id in log and metrics.
    pub name: Arc<str>,
    /// Its mode under its policy's.
    pub mode: Mode,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// What is done then.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Passes the request, the built-in rules included.
    Allow,
    /// Refuses it with the policy's answer.
    Block,
    /// Notes it and goes on.
    Log,
    /// Sends the client to the policy's address.
    Redirect,
    /// Adds to the score and goes on.
    AnomalyScore(Severity),
    /// Refuses what comes more often than this.
    RateLimit(RateLimit),
}

/// So many matching requests in a window, per group.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Names its counters; the same across reloads.
    pub id: Arc<str>,
    /// Requests that pass in a window.
    pub threshold: u32,
    /// One or five minutes.
    pub window: Duration,
    /// Who shares a counter.
    pub group: Group,
}

/// Who shares a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// Requests over connections from one address (IPv6: one /64).
    SocketAddr,
    /// Requests of one client address (IPv6: one /64).
    RemoteAddr,
    /// Requests from one country.
    Country,
    /// Requests with one value of this header; those without it share one, too.
    Header(HeaderName),
    /// All requests.
    None,
}

/// Whose counter a request is counted in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Everybody's.
    All,
    /// An address's, or that of the /64 that begins with it; `None` where none is known.
    Address(Option<IpAddr>),
    /// A country's.
    Country(Country),
    /// A header value's; `None` without the header.
    Text(Option<Cow<'a, [u8]>>),
}

/// One condition.
#[derive(Clone, Debug)]
pub struct Condition {
    variable: Variable,
    matcher: Matcher,
    label: Arc<str>,
    secret: bool,
}

/// What a condition looks at: Front Door's match variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The client's address.
    RemoteAddr,
    /// The address that is connected.
    SocketAddr,
    /// The method.
    RequestMethod,
    /// The query, or one argument of it.
    QueryString(Option<Box<str>>),
    /// All fields of a form, or one.
    PostArgs(Option<Box<str>>),
    /// Path and query as sent.
    RequestUri,
    /// One header.
    RequestHeader(HeaderName),
    /// The body's beginning.
    RequestBody,
    /// All cookies, or one.
    Cookies(Option<Box<str>>),
}

/// A rule's conditions hold, with what the last of them found.
#[derive(Debug, Default)]
pub(super) struct Match {
    pub(super) variable: Option<Arc<str>>,
    pub(super) data: String,
}

impl Variable {
    /// Whether it is known only once the body is read.
    #[must_use]
    pub const fn is_of_body(&self) -> bool {
        matches!(self, Self::RequestBody | Self::PostArgs(_))
    }

    /// Whether it is an address.
    #[must_use]
    pub const fn is_address(&self) -> bool {
        matches!(self, Self::RemoteAddr | Self::SocketAddr)
    }

    /// Its name in the log, selector included.
    fn label(&self) -> String {
        let (name, selector) = match self {
            Self::RemoteAddr => ("RemoteAddr", None),
            Self::SocketAddr => ("SocketAddr", None),
            Self::RequestMethod => ("RequestMethod", None),
            Self::QueryString(selector) => ("QueryString", selector.as_deref()),
            Self::PostArgs(selector) => ("PostArgs", selector.as_deref()),
            Self::RequestUri => ("RequestUri", None),
            Self::RequestHeader(name) => ("RequestHeader", Some(name.as_str())),
            Self::RequestBody => ("RequestBody", None),
            Self::Cookies(selector) => ("Cookies", selector.as_deref()),
        };
        selector.map_or_else(|| name.to_owned(), |selector| format!("{name}:{selector}"))
    }

    fn is_secret(&self) -> bool {
        match self {
            Self::Cookies(_) => true,
            Self::RequestHeader(name) => is_secret_name(name.as_str().as_bytes()),
            Self::QueryString(Some(name)) | Self::PostArgs(Some(name)) => is_secret_name(name.as_bytes()),
            _ => false,
        }
    }
}

impl Condition {
    /// `matcher` on `variable`.
    #[must_use]
    pub fn new(variable: Variable, matcher: Matcher) -> Self {
        Self { label: variable.label().into(), secret: variable.is_secret(), variable, matcher }
    }

    /// What it sees: `Some` when it holds.
    fn judge<'v>(&self, view: &View<'v>) -> Option<Sight<'v>> {
        let hit = match &self.variable {
            Variable::RemoteAddr => return self.judge_address(view.client, view.place),
            Variable::SocketAddr => return self.judge_address(view.socket, view.socket_place),
            Variable::RequestMethod => self.matcher.judge([view.method.as_bytes()]),
            Variable::QueryString(None) => self.matcher.judge(view.query()),
            Variable::QueryString(Some(name)) => self.matcher.judge(named(view.arguments(), name)),
            Variable::PostArgs(None) => self.matcher.judge(view.form().map(|(_, value)| value)),
            Variable::PostArgs(Some(name)) => self.matcher.judge(named(view.form(), name)),
            Variable::RequestUri => self.matcher.judge([view.target]),
            Variable::RequestHeader(name) => self.matcher.judge(view.header(name)),
            Variable::RequestBody => self.matcher.judge(view.body),
            Variable::Cookies(None) => self.matcher.judge(view.cookies().map(|(_, value)| value)),
            Variable::Cookies(Some(name)) => self.matcher.judge(named(view.cookies(), name)),
        }?;
        Some(hit.map_or(Sight::Nothing, Sight::Hit))
    }

    fn judge_address(&self, address: Option<IpAddr>, place: Place) -> Option<Sight<'static>> {
        let country = self.matcher.needs_place().then_some(place.country);
        self.matcher.takes_address(address, place).then_some(Sight::Address(address, country))
    }
}

/// What a condition that holds has seen; put into words only once the whole rule matches.
enum Sight<'v> {
    Hit(Hit<'v>),
    Address(Option<IpAddr>, Option<Country>),
    Nothing,
}

impl Sight<'_> {
    fn data(self, secret: bool) -> String {
        match self {
            Self::Hit(Hit { value, range }) => Finding::data_of(&value, range, secret),
            Self::Address(address, country) => {
                let address = address.map(|address| address.to_canonical().to_string());
                let country = country.map(|country| country.to_string());
                address.into_iter().chain(country).collect::<Vec<_>>().join(" ")
            }
            Self::Nothing => String::new(),
        }
    }
}

fn named<'v>(pairs: impl Iterator<Item = (&'v [u8], &'v [u8])>, wanted: &str) -> impl Iterator<Item = &'v [u8]> {
    pairs.filter(move |(name, _)| is_named(name, wanted)).map(|(_, value)| value)
}

impl Rule {
    /// Whether a condition needs the body.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.conditions.iter().any(|condition| condition.variable.is_of_body())
    }

    /// Whether a condition or the grouping asks where an address is registered.
    #[must_use]
    pub fn needs_place(&self) -> bool {
        self.conditions.iter().any(|condition| condition.matcher.needs_place())
            || matches!(&self.action, Action::RateLimit(limit) if limit.group == Group::Country)
    }

    /// What it does, in a word.
    #[must_use]
    pub const fn deed(&self) -> Deed {
        match self.action {
            Action::Allow => Deed::Allow,
            Action::Block => Deed::Block,
            Action::Log => Deed::Log,
            Action::Redirect => Deed::Redirect,
            Action::AnomalyScore(_) => Deed::AnomalyScore,
            Action::RateLimit(_) => Deed::RateLimit,
        }
    }

    /// Judges the conditions that need the body, or the others; `Some` when all of them hold.
    pub(super) fn judge(&self, view: &View<'_>, of_body: bool) -> Option<Match> {
        let mut last = None;
        for condition in self.conditions.iter().filter(|condition| condition.variable.is_of_body() == of_body) {
            last = Some((condition, condition.judge(view)?));
        }
        Some(last.map_or_else(Match::default, |(condition, sight)| Match {
            variable: Some(Arc::clone(&condition.label)),
            data: sight.data(condition.secret),
        }))
    }
}

impl Group {
    /// Whose counter the request belongs to.
    #[must_use]
    pub fn key<'a>(&self, view: &View<'a>) -> Key<'a> {
        match self {
            Self::SocketAddr => Key::Address(view.socket.map(neighbourhood)),
            Self::RemoteAddr => Key::Address(view.client.map(neighbourhood)),
            Self::Country => Key::Country(view.place.country),
            Self::Header(name) => Key::Text(view.header(name).next().map(Cow::Borrowed)),
            Self::None => Key::All,
        }
    }
}

impl Key<'_> {
    /// The same key, on its own.
    pub(super) fn into_owned(self) -> Key<'static> {
        match self {
            Self::All => Key::All,
            Self::Address(address) => Key::Address(address),
            Self::Country(country) => Key::Country(country),
            Self::Text(text) => Key::Text(text.map(|text| Cow::Owned(text.into_owned()))),
        }
    }
}

/// One customer has a whole /64 of IPv6: its first address stands for all of it.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}
