//! [`Condition`]: one thing of a request and what it must be. Text and addresses are compared by the screen's matcher,
//! numbers here.

use crate::policy::screen::matching::Matcher;
use crate::policy::screen::view::{View, is_named};
use http::HeaderName;

/// What a rule can see of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, target, headers, addresses.
    pub view: View<'a>,
    /// Host without port, lower case.
    pub host: &'a str,
    /// `1.0`, `1.1` or `2`.
    pub http_version: &'static str,
    /// `1.2` or `1.3`; absent in plain text.
    pub tls_version: Option<&'static str>,
    /// Port that the client connected to.
    pub server_port: Option<u16>,
    /// Bytes of the body; absent while that is not known.
    pub body_size: Option<u64>,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Method.
    Method,
    /// `1.0`, `1.1` or `2`.
    HttpVersion,
    /// `http` or `https`.
    Scheme,
    /// Host without port, lower case.
    Host,
    /// Path as sent.
    Path,
    /// Last segment of the path.
    FileName,
    /// What follows the last dot of the last segment.
    FileExtension,
    /// Scheme, host, path and query.
    Url,
    /// Query as sent.
    QueryString,
    /// Values of an argument of the query.
    QueryArgument(String),
    /// Values of a header.
    RequestHeader(HeaderName),
    /// Values of a cookie.
    Cookie(String),
    /// `1.2` or `1.3`.
    TlsVersion,
    /// `mobile` or `desktop`, see `device_type`.
    DeviceType,
    /// The client's address.
    ClientAddress,
    /// Address of who is connected to us.
    SocketAddress,
    /// Port that the client connected to.
    ServerPort,
    /// Bytes of the body.
    BodySize,
}

/// One condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What it looks at.
    pub variable: Variable,
    /// What it must be.
    pub test: Test,
}

/// What a variable must be.
#[derive(Clone, Debug)]
pub enum Test {
    /// Of text and addresses.
    Matcher(Matcher),
    /// Of ports and sizes.
    Number(Number),
}

/// A comparison of a number. Values are joined by OR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Lowest and highest number of each value.
    pub ranges: Vec<(u64, u64)>,
    /// The opposite. It holds, too, where there is no number.
    pub negate: bool,
}

impl Number {
    fn takes(&self, number: Option<u64>) -> bool {
        let found = number.is_some_and(|number| self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&number)));
        found != self.negate
    }
}

impl Condition {
    /// It asks for the size of the body.
    #[must_use]
    pub fn needs_body_size(&self) -> bool {
        self.variable == Variable::BodySize
    }

    /// It asks where an address is registered.
    #[must_use]
    pub const fn needs_place(&self) -> bool {
        matches!(&self.test, Test::Matcher(matcher) if matcher.needs_place())
    }

    /// Whether it holds. Where the request has no such thing, only a negation does.
    #[must_use]
    pub fn holds(&self, request: &Request<'_>) -> bool {
        match &self.test {
            Test::Number(number) => number.takes(match self.variable {
                Variable::ServerPort => request.server_port.map(u64::from),
                _ => request.body_size,
            }),
            Test::Matcher(matcher) => self.matches(matcher, request),
        }
    }

    fn matches(&self, matcher: &Matcher, request: &Request<'_>) -> bool {
        let view = &request.view;
        let one = |text: &str| matcher.takes([text.as_bytes()]);
        let maybe = |text: Option<&[u8]>| matcher.takes(text);
        match &self.variable {
            Variable::Method => one(view.method),
            Variable::HttpVersion => one(request.http_version),
            Variable::Scheme => one(scheme(view)),
            Variable::Host => one(request.host),
            Variable::Path => maybe(Some(view.path())),
            Variable::FileName => maybe(file_name(view.path())),
            Variable::FileExtension => maybe(file_extension(view.path())),
            Variable::Url => maybe(Some(&url(view))),
            Variable::QueryString => maybe(view.query()),
            Variable::QueryArgument(name) => {
                matcher.takes(view.arguments().filter(|(own, _)| is_named(own, name)).map(|(_, value)| value))
            }
            Variable::RequestHeader(name) => matcher.takes(view.header(name)),
            Variable::Cookie(name) => {
                matcher.takes(view.cookies().filter(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value))
            }
            Variable::TlsVersion => maybe(request.tls_version.map(str::as_bytes)),
            Variable::DeviceType => one(device_type(view)),
            Variable::ClientAddress => matcher.takes_address(view.client, view.place),
            Variable::SocketAddress => matcher.takes_address(view.socket, view.socket_place),
            Variable::ServerPort | Variable::BodySize => false,
        }
    }
}

/// `mobile` where `User-Agent` says so, else `desktop`: browsers of phones and tablets call themselves `Mobi…`, `Android`,
/// `iPhone`, `iPad` or `Tablet`.
fn device_type(view: &View<'_>) -> &'static str {
    const WORDS: [&[u8]; 5] = [b"Mobi", b"Android", b"iPhone", b"iPad", b"Tablet"];
    let agent = view.header(&http::header::USER_AGENT).next().unwrap_or_default();
    let mobile = WORDS.iter().any(|word| memchr::memmem::find(agent, word).is_some());
    if mobile { "mobile" } else { "desktop" }
}

const fn scheme(view: &View<'_>) -> &'static str {
    if view.tls { "https" } else { "http" }
}

/// `https://host:port/path?query`, the host as sent.
fn url(view: &View<'_>) -> Vec<u8> {
    let mut url = Vec::with_capacity(8 + view.host.len() + view.target.len());
    url.extend_from_slice(scheme(view).as_bytes());
    url.extend_from_slice(b"://");
    url.extend_from_slice(view.host.as_bytes());
    url.extend_from_slice(view.target);
    url
}

fn file_name(path: &[u8]) -> Option<&[u8]> {
    path.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
}

fn file_extension(path: &[u8]) -> Option<&[u8]> {
    let name = file_name(path)?;
    let dot = memchr::memrchr(b'.', name)?;
    name.get(dot + 1..).filter(|extension| !extension.is_empty())
}
