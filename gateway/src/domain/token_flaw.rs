//! [`TokenFlaw`]: what is wrong with a signed token. For log and metric only; `policy::token` decides it.

/// What is wrong with a token. A closed set: each has its label in log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFlaw {
    /// It cannot be read, or is too large.
    Malformed,
    /// Its header asks for something that we never do.
    Header,
    /// No configured issuer has its `iss`.
    Issuer,
    /// It is not meant for us.
    Audience,
    /// The issuer's keys are not known, or too old to be trusted.
    KeysMissing,
    /// The issuer has no key of its `kid`.
    KeyUnknown,
    /// Its algorithm is none of its key's.
    Algorithm,
    /// Its signature is not its key's.
    Signature,
    /// A claim that we need is absent or of the wrong type.
    Claims,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Its Entra tenant is not one of ours.
    Directory,
    /// It lacks a required scope, role or other claim.
    Scope,
    /// No consumer is configured for it.
    Consumer,
    /// It does not say where its requests may be processed, or says what nobody knows.
    Residency,
}

impl TokenFlaw {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Header,
        Self::Issuer,
        Self::Audience,
        Self::KeysMissing,
        Self::KeyUnknown,
        Self::Algorithm,
        Self::Signature,
        Self::Claims,
        Self::Expired,
        Self::NotYetValid,
        Self::Directory,
        Self::Scope,
        Self::Consumer,
        Self::Residency,
    ];

    /// Its name in log and metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::KeysMissing => "token_keys_missing",
            Self::KeyUnknown => "token_key_unknown",
            Self::Algorithm => "token_algorithm",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Directory => "token_tenant",
            Self::Scope => "token_scope",
            Self::Consumer => "token_consumer",
            Self::Residency => "token_residency",
        }
    }

    /// The token is genuine and in force, but not allowed here: 403 instead of 401.
    #[must_use]
    pub const fn is_genuine(self) -> bool {
        matches!(self, Self::Scope | Self::Consumer | Self::Residency)
    }
}
