//! [`Caller`]: whom a request comes from, and how that was proved. It proves nothing itself.

use super::Zones;
use std::sync::Arc;

/// Most claims that are kept of a token, and the longest text of one, in bytes.
const CLAIMS_MAX: usize = 16;
const CLAIM_LENGTH_MAX: usize = 256;

/// Whom a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Index among the consumers of the configuration that the request has pinned.
    pub consumer: usize,
    /// How that was proved.
    pub proof: Proof,
    /// The zones that its token says.
    pub zones: Zones,
    /// What its token says, as far as the configuration asks for it.
    pub claims: Option<Arc<Claims>>,
}

/// How a caller has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// An API key.
    Key,
    /// A signed token.
    Token,
    /// The certificate of its connection.
    Certificate,
    /// Nothing: it is the anonymous consumer.
    Anonymous,
}

impl Proof {
    /// Every proof, for tables and tests.
    pub const ALL: [Self; 4] = [Self::Key, Self::Token, Self::Certificate, Self::Anonymous];

    /// Word in metrics and access log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Claims of a token by name, as text: only those that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(Vec<(Box<str>, Box<str>)>);

impl Claims {
    /// Takes the claims over, sorted by name; the first of a name counts. At most 16 are kept. A value longer than 256 bytes
    /// is left out as a whole, since a part of it may be another's.
    #[must_use]
    pub fn new(claims: impl IntoIterator<Item = (Box<str>, Box<str>)>) -> Self {
        let short = claims.into_iter().filter(|(_, value)| value.len() <= CLAIM_LENGTH_MAX);
        let mut kept: Vec<_> = short.take(CLAIMS_MAX).collect();
        kept.sort_by(|(one, _), (other, _)| one.cmp(other));
        kept.dedup_by(|later, first| later.0 == first.0);
        Self(kept)
    }

    /// The claim of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(index).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_found_by_name_and_bounded() {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let long = "x".repeat(CLAIM_LENGTH_MAX + 1);
        let claims = Claims::new([pair("tid", "t"), pair("azp", "a"), pair("tid", "other"), pair("oid", &long)]);
        assert_eq!((claims.get("tid"), claims.get("azp")), (Some("t"), Some("a")));
        assert_eq!((claims.get("oid"), claims.get("")), (None, None));
        let many = Claims::new((0..100).map(|n| pair(&n.to_string(), "v")));
        assert_eq!(many.0.len(), CLAIMS_MAX);
    }
}
