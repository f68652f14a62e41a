//! Validated names. A value of one of these types is fit for a log line, a metric label and a header value.

use std::fmt;
use std::sync::Arc;

/// Longest name accepted, in bytes.
const NAME_LENGTH_MAX: usize = 64;

/// Why a string is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The string is longer than 64 bytes.
    #[error("a name has at most {NAME_LENGTH_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// The string holds a character outside `A-Z a-z 0-9 . _ -`.
    #[error("a name is made of letters, digits, `.`, `_` and `-`; found `{0}`")]
    Character(char),
}

fn validate(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `text` (1 to 64 bytes of letters, digits, `.`, `_`, `-`) and takes a copy.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                validate(text).map(|()| Self(text.into()))
            }

            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// Name of a pool.
    PoolName
);
name!(
    /// Name of a backend, unique within its pool.
    BackendName
);
name!(
    /// Name of a route.
    RouteName
);
name!(
    /// Name of a rule of the rules engine.
    RuleName
);
name!(
    /// Name of a listener.
    ListenerName
);
name!(
    /// Name of a consumer.
    ConsumerName
);
name!(
    /// Name of a plan.
    PlanName
);
name!(
    /// Name of a usage limit.
    LimitName
);
name!(
    /// Name of a quota that backends share.
    QuotaName
);
name!(
    /// Name of a key of sealed ids.
    KeyName
);
name!(
    /// Name of an issuer of tokens.
    IssuerName
);
name!(
    /// Name of a residency.
    ZoneName
);
name!(
    /// Name of one of our own identities at Microsoft Entra ID.
    IdentityName
);
name!(
    /// Azure region slug, such as `swedencentral`.
    Region
);
name!(
    /// Azure OpenAI deployment name.
    DeploymentName
);

/// A backend's identity: stable over reloads while pool and backend keep their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId {
    /// The pool it belongs to.
    pub pool: PoolName,
    /// Its name within the pool.
    pub backend: BackendName,
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(PoolName::new("chat-eu_1.a").is_ok());
        assert_eq!(PoolName::new(""), Err(NameError::Empty));
        assert_eq!(PoolName::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(PoolName::new(&"x".repeat(65)), Err(NameError::TooLong(65)));
    }
}
