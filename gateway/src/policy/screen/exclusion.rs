//! [`Exclusion`]: a value that some rules do not judge. Its name is judged still, and so is everything beside it.
//!
//! Made for the built-in rules; a second source of rules brings its own rule sets and uses the rest as it is.

/// Where an excluded value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header; its name without regard to case.
    Header,
    /// A cookie.
    Cookie,
    /// An argument of the query.
    Query,
    /// A top-level field of a JSON body.
    Json,
}

/// How an exclusion compares names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every name.
    Any,
    /// This name.
    Equals(String),
    /// Names that begin so.
    StartsWith(String),
    /// Names that end so.
    EndsWith(String),
    /// Names that hold this.
    Contains(String),
}

/// A value that some rules do not judge. `R` names the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion<R> {
    /// Where it stands.
    pub place: Place,
    /// Its names.
    pub selector: Selector,
    /// Which rules leave it alone.
    pub rules: R,
}

impl<R> Exclusion<R> {
    /// Whether this is about the value named `name`, decoded, at `place`.
    #[must_use]
    pub fn covers(&self, place: Place, name: &[u8]) -> bool {
        self.place == place && self.selector.selects(name, place == Place::Header)
    }
}

impl Selector {
    fn selects(&self, name: &[u8], fold: bool) -> bool {
        let same = |a: &[u8], b: &str| if fold { a.eq_ignore_ascii_case(b.as_bytes()) } else { a == b.as_bytes() };
        match self {
            Self::Any => true,
            Self::Equals(text) => same(name, text),
            Self::StartsWith(text) => name.get(..text.len()).is_some_and(|head| same(head, text)),
            Self::EndsWith(text) => {
                name.len().checked_sub(text.len()).and_then(|at| name.get(at..)).is_some_and(|tail| same(tail, text))
            }
            Self::Contains(text) if text.is_empty() => true,
            Self::Contains(text) => name.windows(text.len()).any(|part| same(part, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_selects_its_names() {
        let text = || "to".to_owned();
        for (selector, yes, no) in [
            (Selector::Any, &["", "x"][..], &[][..]),
            (Selector::Equals(text()), &["to"], &["To", "too", "", "ot"]),
            (Selector::StartsWith(text()), &["to", "token"], &["Token", "into", "t"]),
            (Selector::EndsWith(text()), &["to", "into"], &["INTO", "token", "o"]),
            (Selector::Contains(text()), &["to", "stop"], &["STOP", "t", ""]),
        ] {
            let exclusion = Exclusion { place: Place::Query, selector, rules: () };
            for name in yes {
                assert!(exclusion.covers(Place::Query, name.as_bytes()), "{exclusion:?} {name}");
            }
            for name in no {
                assert!(!exclusion.covers(Place::Query, name.as_bytes()), "{exclusion:?} {name}");
            }
            assert!(!exclusion.covers(Place::Cookie, b"to"));
        }
        let header = Exclusion { place: Place::Header, selector: Selector::StartsWith("X-App".to_owned()), rules: () };
        assert!(header.covers(Place::Header, b"x-app-id") && !header.covers(Place::Header, b"x-other"));
    }
}
