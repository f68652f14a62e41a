//! [`Matcher`]: one operator, its values, the transforms before it and the negation after it.
//!
//! Values of one matcher are joined by OR. Everything takes time linear in the value: regular expressions run without
//! backtracking. It never knows where a value comes from.

use super::transform::Transform;
use super::view::{Country, Place};
use crate::domain::{Network, NetworkSet};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Values of one matcher at most, as Front Door has it for address lists.
pub const VALUES_MAX: usize = 600;
/// Longest value, in bytes.
pub const VALUE_LENGTH_MAX: usize = 1024;
/// Memory of one compiled expression, in bytes.
const REGEX_SIZE_MAX: usize = 256 * 1024;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// There is a value at all.
    Any,
    /// The address lies in one of the networks.
    IpMatch,
    /// The address is registered in one of the countries.
    CountryMatch,
    /// The address belongs to one of the autonomous systems.
    AsnMatch,
    /// The same bytes.
    Equal,
    /// A part of it.
    Contains,
    /// Its beginning.
    BeginsWith,
    /// Its end.
    EndsWith,
    /// Fewer bytes than this number.
    LessThan,
    /// So many bytes or fewer.
    LessThanOrEqual,
    /// More bytes than this number.
    GreaterThan,
    /// So many bytes or more.
    GreaterThanOrEqual,
    /// An expression matches somewhere in it.
    RegEx,
}

/// One comparison, ready to run.
#[derive(Clone, Debug)]
pub struct Matcher {
    test: Test,
    transforms: Box<[Transform]>,
    negate: bool,
}

/// Why a [`Matcher`] cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadMatch {
    /// Which of the values; `None` where it is the whole.
    pub index: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// Where a value matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit<'v> {
    /// The value as compared.
    pub value: Cow<'v, [u8]>,
    /// The matching part of it.
    pub range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Test {
    Any,
    Networks(Arc<NetworkSet>),
    Countries(Box<[Country]>),
    Systems(Box<[u32]>),
    /// Sorted.
    Equal(Box<[Box<[u8]>]>),
    Contains(Box<[Finder<'static>]>),
    BeginsWith(Box<[Box<[u8]>]>),
    EndsWith(Box<[Box<[u8]>]>),
    /// The length is in one of the ranges.
    Length(Box<[(usize, usize)]>),
    Expressions(Box<[Regex]>),
}

impl Operator {
    /// Every operator, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::Any,
        Self::IpMatch,
        Self::CountryMatch,
        Self::AsnMatch,
        Self::Equal,
        Self::Contains,
        Self::BeginsWith,
        Self::EndsWith,
        Self::LessThan,
        Self::LessThanOrEqual,
        Self::GreaterThan,
        Self::GreaterThanOrEqual,
        Self::RegEx,
    ];

    /// Whether it judges an address and not bytes.
    #[must_use]
    pub const fn is_of_address(self) -> bool {
        matches!(self, Self::IpMatch | Self::CountryMatch | Self::AsnMatch)
    }
}

impl Matcher {
    /// A matcher of `operator` with `values` (none for [`Operator::Any`]).
    ///
    /// # Errors
    /// [`BadMatch`] for values that the operator cannot take, and for too many or too long ones.
    pub fn new<S: AsRef<str>>(
        operator: Operator,
        values: &[S],
        transforms: &[Transform],
        negate: bool,
    ) -> Result<Self, BadMatch> {
        let whole = |what: &str| Err(BadMatch { index: None, what: what.to_owned(), help: None });
        if operator == Operator::Any && !values.is_empty() {
            return whole("`any` takes no values");
        }
        if operator != Operator::Any && values.is_empty() {
            return whole("needs at least one value");
        }
        if values.len() > VALUES_MAX {
            return whole(&format!("has {} values, at most {VALUES_MAX} are allowed", values.len()));
        }
        if transforms.iter().enumerate().any(|(index, one)| transforms.iter().take(index).any(|other| other == one)) {
            return whole("names a transform twice");
        }
        if operator.is_of_address() && !transforms.is_empty() {
            return whole("an address has nothing to transform");
        }
        let test = Test::new(operator, values)?;
        Ok(Self { test, transforms: transforms.into(), negate })
    }

    /// A matcher of addresses in a set that others may use too.
    #[must_use]
    pub fn networks(set: Arc<NetworkSet>, negate: bool) -> Self {
        Self { test: Test::Networks(set), transforms: Box::default(), negate }
    }

    /// Whether it asks for a country or an autonomous system: the address's [`Place`] must be looked up for it.
    #[must_use]
    pub const fn needs_place(&self) -> bool {
        matches!(self.test, Test::Countries(_) | Test::Systems(_))
    }

    /// Judges an address and where it is registered; without an address no network matches.
    #[must_use]
    pub fn takes_address(&self, address: Option<IpAddr>, place: Place) -> bool {
        let found = match &self.test {
            Test::Any => address.is_some(),
            Test::Networks(set) => address.is_some_and(|address| set.contains(address)),
            Test::Countries(countries) => countries.contains(&place.country),
            Test::Systems(systems) => place.asn.is_some_and(|system| systems.contains(&system)),
            _ => address.is_some_and(|address| self.find(address.to_canonical().to_string().as_bytes()).is_some()),
        };
        found != self.negate
    }

    /// Judges the values of a variable: `Some` when the condition holds. A negated one holds where no value matches, so
    /// also where there is none, and has no hit to show.
    #[must_use]
    pub fn judge<'v>(&self, values: impl IntoIterator<Item = &'v [u8]>) -> Option<Option<Hit<'v>>> {
        let hit = values.into_iter().find_map(|value| self.find(value));
        match (hit, self.negate) {
            (Some(hit), false) => Some(Some(hit)),
            (None, true) => Some(None),
            _ => None,
        }
    }

    /// Whether the condition holds for the values of a variable.
    #[must_use]
    pub fn takes<'v>(&self, values: impl IntoIterator<Item = &'v [u8]>) -> bool {
        self.judge(values).is_some()
    }

    /// Looks for a match in one value, the negation aside.
    fn find<'v>(&self, value: &'v [u8]) -> Option<Hit<'v>> {
        let value = Transform::apply_all(&self.transforms, value);
        let range = self.test.find(&value)?;
        Some(Hit { value, range })
    }
}

impl Test {
    fn new<S: AsRef<str>>(operator: Operator, values: &[S]) -> Result<Self, BadMatch> {
        for (index, value) in values.iter().map(AsRef::as_ref).enumerate() {
            if value.len() > VALUE_LENGTH_MAX {
                return Err(bad(index, format!("is longer than {VALUE_LENGTH_MAX} bytes"), None));
            }
            if value.is_empty() && matches!(operator, Operator::Contains | Operator::BeginsWith | Operator::EndsWith) {
                return Err(bad(index, "is empty and would match everything".to_owned(), Some("any".to_owned())));
            }
        }
        Ok(match operator {
            Operator::Any => Self::Any,
            Operator::IpMatch => {
                let set: NetworkSet = each(values, network)?.into_iter().collect();
                Self::Networks(Arc::new(set))
            }
            Operator::CountryMatch => Self::Countries(each(values, country)?.into()),
            Operator::AsnMatch => Self::Systems(each(values, system)?.into()),
            Operator::Equal => {
                let mut texts = literals(values);
                texts.sort_unstable();
                Self::Equal(texts.into())
            }
            Operator::Contains => {
                Self::Contains(values.iter().map(|value| Finder::new(value.as_ref()).into_owned()).collect())
            }
            Operator::BeginsWith => Self::BeginsWith(literals(values).into()),
            Operator::EndsWith => Self::EndsWith(literals(values).into()),
            Operator::LessThan => Self::lengths(values, |n| (0, n.checked_sub(1)))?,
            Operator::LessThanOrEqual => Self::lengths(values, |n| (0, Some(n)))?,
            Operator::GreaterThan => Self::lengths(values, |n| (n.saturating_add(1), Some(usize::MAX)))?,
            Operator::GreaterThanOrEqual => Self::lengths(values, |n| (n, Some(usize::MAX)))?,
            Operator::RegEx => Self::Expressions(each(values, expression)?.into()),
        })
    }

    fn lengths<S: AsRef<str>>(values: &[S], range: fn(usize) -> (usize, Option<usize>)) -> Result<Self, BadMatch> {
        let counts = each(values, |text, index| {
            text.parse::<usize>().map_err(|_error| {
                let help = "this operator compares the length: write a whole number of bytes".to_owned();
                bad(index, format!("`{text}` is no number of bytes"), Some(help))
            })
        })?;
        // Nothing is shorter than 0 bytes: that range stays away.
        Ok(Self::Length(counts.into_iter().map(range).filter_map(|(low, high)| Some((low, high?))).collect()))
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        let all = 0..value.len();
        match self {
            Self::Any => Some(all),
            Self::Equal(texts) => texts.binary_search_by(|text| (**text).cmp(value)).ok().map(|_| all),
            Self::Contains(finders) => finders.iter().find_map(|finder| {
                let start = finder.find(value)?;
                Some(start..start + finder.needle().len())
            }),
            Self::BeginsWith(texts) => texts.iter().find(|text| value.starts_with(text)).map(|text| 0..text.len()),
            Self::EndsWith(texts) => {
                texts.iter().find(|text| value.ends_with(text)).map(|text| value.len() - text.len()..value.len())
            }
            Self::Length(ranges) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&value.len())).then_some(all)
            }
            Self::Expressions(regexes) => regexes.iter().find_map(|regex| regex.find(value)).map(|found| found.range()),
            // An address written in a header.
            Self::Networks(set) => address(value).is_some_and(|address| set.contains(address)).then_some(all),
            Self::Countries(_) | Self::Systems(_) => None,
        }
    }
}

fn bad(index: usize, what: String, help: Option<String>) -> BadMatch {
    BadMatch { index: Some(index), what, help }
}

fn each<S: AsRef<str>, T>(values: &[S], read: impl Fn(&str, usize) -> Result<T, BadMatch>) -> Result<Vec<T>, BadMatch> {
    values.iter().enumerate().map(|(index, value)| read(value.as_ref(), index)).collect()
}

fn literals<S: AsRef<str>>(values: &[S]) -> Vec<Box<[u8]>> {
    values.iter().map(|value| value.as_ref().as_bytes().into()).collect()
}

fn address(value: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

fn network(text: &str, index: usize) -> Result<Network, BadMatch> {
    text.parse().map_err(|error| {
        let help = "write an address or a block: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32".to_owned();
        bad(index, format!("`{text}` {error}"), Some(help))
    })
}

fn country(text: &str, index: usize) -> Result<Country, BadMatch> {
    Country::new(text).ok_or_else(|| {
        let help = "write two letters (ISO 3166-1): SE, FR, US; ZZ is unknown".to_owned();
        bad(index, format!("`{text}` is no country code"), Some(help))
    })
}

fn system(text: &str, index: usize) -> Result<u32, BadMatch> {
    let digits = text.strip_prefix("AS").unwrap_or(text);
    digits.parse().map_err(|_error| {
        bad(index, format!("`{text}` is no AS number"), Some("write the number: 8075 or AS8075".to_owned()))
    })
}

fn expression(text: &str, index: usize) -> Result<Regex, BadMatch> {
    if let Some(place) = possessive(text.as_bytes()) {
        let what = format!("has a possessive quantifier at byte {place}, which Front Door's subset does not know");
        return Err(bad(index, what, Some("drop the second `+`: matching never backtracks anyway".to_owned())));
    }
    if text.contains("(?R)") {
        return Err(bad(index, "asks for recursion, which needs more than linear time".to_owned(), None));
    }
    let built = RegexBuilder::new(text).size_limit(REGEX_SIZE_MAX).dfa_size_limit(REGEX_SIZE_MAX).build();
    built.map_err(|error| {
        let said = error.to_string();
        let reason = said.lines().last().unwrap_or_default();
        let what = format!("is no expression we can run: {}", reason.strip_prefix("error: ").unwrap_or(reason));
        let help = "known are literals, classes, groups, alternation and greedy or lazy repetition; no back-references, \
                    look-around, recursion, conditionals, atomic groups, \\C, \\R or \\K";
        bad(index, what, Some(help.to_owned()))
    })
}

/// Where a `+` follows a repetition, outside of escapes and classes.
fn possessive(text: &[u8]) -> Option<usize> {
    let (mut escaped, mut class, mut repetition) = (false, false, false);
    for (place, byte) in text.iter().enumerate() {
        if escaped {
            (escaped, repetition) = (false, false);
            continue;
        }
        match byte {
            b'\\' => (escaped, repetition) = (true, false),
            b'[' => (class, repetition) = (true, false),
            b']' => (class, repetition) = (false, false),
            b'+' if repetition && !class => return Some(place),
            b'?' if repetition => repetition = false,
            b'*' | b'+' | b'?' | b'}' => repetition = !class,
            _ => repetition = false,
        }
    }
    None
}

#[cfg(test)]
mod tests;
