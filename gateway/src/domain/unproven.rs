//! [`Unproven`]: why a client is not who it would have to be. For log and metric only: the client hears the same every time.

use super::TokenFlaw;

/// Why a client is not who it would have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unproven {
    /// It shows no credential.
    Missing,
    /// What it shows is no credential at all, or a key of ours with a slip in it.
    Malformed,
    /// Nobody has this key.
    Unknown,
    /// The id of a key is known, its secret is another.
    Wrong,
    /// The key is not good yet.
    NotYet,
    /// The key is good no more.
    Expired,
    /// The consumer is switched off.
    Disabled,
    /// Its credentials are of different consumers.
    Conflict,
    /// Too many have failed from its address: it was not looked at.
    Throttled,
    /// Its token is wrong.
    Token(TokenFlaw),
}

impl Unproven {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 9 + TokenFlaw::ALL.len()] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Wrong,
        Self::NotYet,
        Self::Expired,
        Self::Disabled,
        Self::Conflict,
        Self::Throttled,
        Self::Token(TokenFlaw::Malformed),
        Self::Token(TokenFlaw::Header),
        Self::Token(TokenFlaw::Issuer),
        Self::Token(TokenFlaw::Audience),
        Self::Token(TokenFlaw::KeysMissing),
        Self::Token(TokenFlaw::KeyUnknown),
        Self::Token(TokenFlaw::Algorithm),
        Self::Token(TokenFlaw::Signature),
        Self::Token(TokenFlaw::Claims),
        Self::Token(TokenFlaw::Expired),
        Self::Token(TokenFlaw::NotYetValid),
        Self::Token(TokenFlaw::Directory),
        Self::Token(TokenFlaw::Scope),
        Self::Token(TokenFlaw::Consumer),
        Self::Token(TokenFlaw::Residency),
    ];

    /// Label in metrics and access log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Token(flaw) => flaw.label(),
        }
    }
}
