//! [`Rule`]: one thing the built-in protection knows of, and the words for its parts. It matches nothing itself.

use super::super::finding::Severity;
use super::text::Text;

/// One thing the built-in protection knows of.
#[derive(Debug)]
pub struct Rule {
    /// Stable id, such as `TG-1101`: what logs, metrics, overrides and exclusions name.
    pub id: &'static str,
    /// Its group.
    pub group: Group,
    /// How grave it is.
    pub severity: Severity,
    /// What it finds, for people.
    pub finds: &'static str,
    pub(super) targets: Targets,
    pub(super) test: Test,
}

/// Rules of one kind, which overrides and exclusions can name together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Encodings with two meanings, control characters, header injection.
    Encoding,
    /// Secrets, version control, backups, assistants' directories.
    Files,
    /// Scanners and the paths they try.
    Scanner,
    /// Paths out of the directory, and the system files they lead to.
    Traversal,
    /// SQL and other queries.
    Sql,
    /// Script in pages.
    Script,
    /// Commands, templates, deserialisation, look-ups.
    Command,
    /// Requests that the server is made to send.
    Ssrf,
    /// The shape of a request body.
    Body,
}

/// Parts of a request that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Targets(u16);

/// Single targets there are.
pub(super) const TARGETS: usize = 10;

/// How a rule finds.
#[derive(Debug)]
pub(super) enum Test {
    /// One of these words is in a decoded form, ASCII case ignored.
    Words(&'static [&'static str]),
    /// One of these words is in a decoded form, and this pattern matches it.
    Pattern(&'static [&'static str], &'static str),
    /// This function says so of a value that is not plain text.
    Check(fn(&Text<'_>) -> bool),
    /// This function says so, for a decoded form.
    Detect(fn(&[u8]) -> bool),
    /// Found elsewhere: by counting, or in the body.
    Elsewhere,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::Encoding,
        Self::Files,
        Self::Scanner,
        Self::Traversal,
        Self::Sql,
        Self::Script,
        Self::Command,
        Self::Ssrf,
        Self::Body,
    ];

    /// Its name in the configuration and in logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Files => "files",
            Self::Scanner => "scanner",
            Self::Traversal => "traversal",
            Self::Sql => "sql",
            Self::Script => "script",
            Self::Command => "command",
            Self::Ssrf => "ssrf",
            Self::Body => "body",
        }
    }
}

impl Targets {
    pub(super) const NONE: Self = Self(0);
    pub(super) const METHOD: Self = Self(1);
    pub(super) const PATH: Self = Self(1 << 1);
    pub(super) const QUERY_NAME: Self = Self(1 << 2);
    pub(super) const QUERY_VALUE: Self = Self(1 << 3);
    pub(super) const COOKIE_NAME: Self = Self(1 << 4);
    pub(super) const COOKIE_VALUE: Self = Self(1 << 5);
    pub(super) const HEADER_NAME: Self = Self(1 << 6);
    /// Any header value but those below.
    pub(super) const HEADER_VALUE: Self = Self(1 << 7);
    pub(super) const USER_AGENT: Self = Self(1 << 8);
    pub(super) const REFERER: Self = Self(1 << 9);
    /// Names and values of query arguments.
    pub(super) const QUERY: Self = Self::QUERY_NAME.and(Self::QUERY_VALUE);
    /// Names and values of cookies.
    pub(super) const COOKIES: Self = Self::COOKIE_NAME.and(Self::COOKIE_VALUE);
    /// Values of all headers that are judged.
    pub(super) const HEADERS: Self = Self::HEADER_VALUE.and(Self::USER_AGENT).and(Self::REFERER);
    /// Query and cookies.
    pub(super) const ARGUMENTS: Self = Self::QUERY.and(Self::COOKIES);
    /// What clients write freely and servers use: arguments, and two headers.
    pub(super) const FREE: Self = Self::ARGUMENTS.and(Self::USER_AGENT).and(Self::REFERER);
    /// Path, arguments and headers.
    pub(super) const ALL: Self = Self::PATH.and(Self::ARGUMENTS).and(Self::HEADERS);

    pub(super) const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Every single target, in the order of [`Targets::index`].
    pub(super) fn each() -> [Self; TARGETS] {
        std::array::from_fn(|index| Self(1 << index))
    }

    /// The number of a single target.
    pub(super) const fn index(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}
