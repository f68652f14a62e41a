//! [`scan`]: one pass over a JSON text: its top-level members, and whether nesting, keys and repetition keep to limits.
//!
//! Iterative and linear but for sorting the keys of an object; nothing of a value is copied. It judges no field.

use super::syntax::{self, Kind};
use std::borrow::Cow;
use std::ops::Range;

/// Top-level members that are told; more count as too many keys.
const MEMBERS_MAX: usize = 256;
/// Objects of so few keys are compared pair by pair.
const SMALL: usize = 8;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// What may not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) depth: usize,
    pub(super) keys: usize,
}

/// What a scan came to. Its members are those in front of what stopped it.
#[derive(Debug, Default)]
pub(super) struct Scan<'b> {
    pub(super) members: Vec<Member<'b>>,
    /// Where the first repeated key stands.
    pub(super) repeated: Option<Range<usize>>,
    /// Why the scan ended early.
    pub(super) stopped: Option<Stop>,
}

/// Why a scan ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// No JSON object, or none that ends; the byte where that shows.
    Syntax(usize),
    /// Deeper than the limit.
    Depth,
    /// More keys than the limit.
    Keys,
}

/// A top-level member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member<'b> {
    /// Its key, unescaped.
    pub(super) key: Cow<'b, [u8]>,
    pub(super) kind: Kind,
    /// The value as written.
    pub(super) raw: &'b [u8],
    /// Entries of an array, keys of an object.
    pub(super) entries: usize,
}

/// Scans one JSON object and nothing after it.
pub(super) fn scan(body: &[u8], bounds: Bounds) -> Scan<'_> {
    let mut scanner =
        Scanner { body, bounds, at: 0, open: Vec::new(), keys: Vec::new(), count: 0, scan: Scan::default() };
    if let Err(stop) = scanner.run() {
        scanner.scan.stopped = Some(stop);
    }
    scanner.scan
}

struct Scanner<'b> {
    body: &'b [u8],
    bounds: Bounds,
    at: usize,
    open: Vec<Open>,
    /// Keys of the open objects: hash and place of each.
    keys: Vec<(u64, Range<usize>)>,
    /// Keys so far.
    count: usize,
    scan: Scan<'b>,
}

/// An array or object that has not ended.
struct Open {
    object: bool,
    /// Where its keys begin in `keys`.
    keys: usize,
    entries: usize,
    /// Where it begins.
    start: usize,
}

/// What comes next.
enum Next {
    Value,
    Key,
    /// A value has ended: its type, where it began and its entries.
    After(Kind, usize, usize),
    End,
}

impl<'b> Scanner<'b> {
    fn run(&mut self) -> Result<(), Stop> {
        self.blanks();
        if self.peek() != Some(b'{') {
            return Err(Stop::Syntax(self.at));
        }
        let mut next = Next::Value;
        loop {
            next = match next {
                Next::Value => self.value()?,
                Next::Key => self.key()?,
                Next::After(kind, start, entries) => self.after(kind, start, entries)?,
                Next::End => break,
            };
        }
        self.blanks();
        if self.at == self.body.len() { Ok(()) } else { Err(Stop::Syntax(self.at)) }
    }

    fn value(&mut self) -> Result<Next, Stop> {
        self.blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => return self.enter(true),
            Some(b'[') => return self.enter(false),
            Some(b'"') => {
                self.at = syntax::string_end(self.body, start).map_err(Stop::Syntax)?;
                Kind::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.at = syntax::number_end(self.body, start).map_err(Stop::Syntax)?;
                Kind::Number
            }
            _ => {
                let (end, kind) = syntax::literal(self.body, start).ok_or(Stop::Syntax(start))?;
                self.at = end;
                kind
            }
        };
        Ok(Next::After(kind, start, 0))
    }

    fn enter(&mut self, object: bool) -> Result<Next, Stop> {
        if self.open.len() >= self.bounds.depth {
            return Err(Stop::Depth);
        }
        self.open.push(Open { object, keys: self.keys.len(), entries: 0, start: self.at });
        self.at += 1;
        self.blanks();
        match self.peek() {
            Some(b'}') if object => self.leave(),
            Some(b']') if !object => self.leave(),
            _ if object => Ok(Next::Key),
            _ => Ok(Next::Value),
        }
    }

    fn key(&mut self) -> Result<Next, Stop> {
        self.blanks();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(Stop::Syntax(start));
        }
        self.at = syntax::string_end(self.body, start).map_err(Stop::Syntax)?;
        self.count += 1;
        if self.count > self.bounds.keys || (self.open.len() == 1 && self.scan.members.len() >= MEMBERS_MAX) {
            return Err(Stop::Keys);
        }
        let place = start + 1..self.at - 1;
        self.keys.push((hash(&self.unescaped(&place)), place));
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(Stop::Syntax(self.at));
        }
        self.at += 1;
        Ok(Next::Value)
    }

    fn after(&mut self, kind: Kind, start: usize, entries: usize) -> Result<Next, Stop> {
        let raw = self.body.get(start..self.at).unwrap_or_default();
        let top = self.open.len() == 1;
        let Some(open) = self.open.last_mut() else { return Ok(Next::End) };
        open.entries += 1;
        let object = open.object;
        if top && let Some((_, place)) = self.keys.last() {
            let key = self.unescaped(place);
            self.scan.members.push(Member { key, kind, raw, entries });
        }
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(if object { Next::Key } else { Next::Value })
            }
            Some(b'}') if object => self.leave(),
            Some(b']') if !object => self.leave(),
            _ => Err(Stop::Syntax(self.at)),
        }
    }

    fn leave(&mut self) -> Result<Next, Stop> {
        self.at += 1;
        let Some(open) = self.open.pop() else { return Err(Stop::Syntax(self.at)) };
        if open.object {
            if self.scan.repeated.is_none() {
                self.scan.repeated = repeated(self.keys.get_mut(open.keys..).unwrap_or_default());
            }
            self.keys.truncate(open.keys);
        }
        let kind = if open.object { Kind::Object } else { Kind::Array };
        Ok(Next::After(kind, open.start, open.entries))
    }

    fn unescaped(&self, place: &Range<usize>) -> Cow<'b, [u8]> {
        let raw = self.body.get(place.clone()).unwrap_or_default();
        if memchr::memchr(b'\\', raw).is_none() {
            return Cow::Borrowed(raw);
        }
        let quoted = self.body.get(place.start.saturating_sub(1)..place.end + 1).unwrap_or_default();
        serde_json::from_slice::<String>(quoted).map_or(Cow::Borrowed(raw), |text| Cow::Owned(text.into_bytes()))
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

/// FNV-1a. Who makes two keys collide only has the own request refused.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// A key that is there twice.
fn repeated(keys: &mut [(u64, Range<usize>)]) -> Option<Range<usize>> {
    if keys.len() > SMALL {
        keys.sort_unstable_by_key(|(hash, place)| (*hash, place.start));
        return keys.windows(2).find_map(|pair| match pair {
            [(a, _), (b, place)] if a == b => Some(place.clone()),
            _ => None,
        });
    }
    let twice = |(index, (hash, _)): &(usize, &(u64, Range<usize>))| keys.iter().take(*index).any(|(h, _)| h == hash);
    keys.iter().enumerate().find(twice).map(|(_, (_, place))| place.clone())
}
