//! [`Walk`]: goes along a JSON document in chunks of any size and stops at the texts that may be ids.
//!
//! It validates nothing: what is no JSON passes as it is. It remembers a few bytes for each level of nesting, at most 64 of them;
//! what is deeper is not looked into.

use super::content::Content;
use super::keys::{self, Kind};
use super::{Edit, Place};
use crate::openai::out::Out;
use memchr::memchr2;
use std::borrow::Cow;
use std::ops::Range;

/// Levels of nesting that are looked into.
const DEPTH_MAX: usize = 64;
/// Longest key that is looked at, in bytes as written.
const KEY_MAX: usize = 256;
/// Longest text of a place that is waited for, in bytes; no id is as long.
const HELD_MAX: usize = 2048;

/// Where in a document we are.
#[derive(Debug)]
pub(super) struct Walk {
    answer: bool,
    levels: Vec<Level>,
    /// Levels below the last one that are not looked into.
    deeper: u32,
    at: At,
    /// The last byte was a backslash that begins an escape.
    escaped: bool,
    /// What has come of a key or a text that a chunk has cut.
    held: Vec<u8>,
    content: Content,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    object: bool,
    /// Of an array's elements, or of the value behind the last key.
    kind: Kind,
    /// Behind a colon.
    value: bool,
    /// It stands where an id may.
    named: bool,
    /// It says of itself that it refers to something.
    reference: bool,
    /// Its id was left as it is.
    left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Outside of strings.
    Between,
    Key,
    /// In a string that is nothing to us.
    Text,
    /// In one whose text is needed as a whole.
    Held(Kind),
    /// In encrypted content that passes.
    Content,
}

impl Walk {
    /// At the beginning of a request's body, which comes in one piece.
    pub(super) fn of_request() -> Self {
        Self { answer: false, ..Self::of_answer() }
    }

    /// At the beginning of an answer.
    pub(super) fn of_answer() -> Self {
        Self {
            answer: true,
            levels: Vec::new(),
            deeper: 0,
            at: At::Between,
            escaped: false,
            held: Vec::new(),
            content: Content::default(),
        }
    }

    /// Another document begins.
    pub(super) fn begin(&mut self) {
        self.levels.clear();
        self.deeper = 0;
        self.at = At::Between;
        self.escaped = false;
    }

    /// Goes along `range` of the chunk of `out`.
    pub(super) fn feed(&mut self, range: Range<usize>, edit: &mut dyn Edit, out: &mut Out<'_>) {
        let chunk = out.chunk;
        let mut at = range.start;
        while let Some(rest) = chunk.get(at..range.end).filter(|rest| !rest.is_empty()) {
            if self.at == At::Between {
                let taken = self.between(rest, edit);
                out.keep(at..at + taken);
                at += taken;
                continue;
            }
            let (taken, ended) = self.string(rest);
            let end = at + taken - usize::from(ended);
            let part = chunk.get(at..end).unwrap_or_default();
            match self.at {
                At::Held(kind) => self.held_text((kind, ended), part, at..end, (edit, out)),
                At::Key => {
                    self.key(part, ended);
                    out.keep(at..end);
                }
                At::Content => {
                    self.content.feed(part);
                    out.keep(at..end);
                    if ended && let Some(more) = edit.end_content(std::mem::take(&mut self.content).finish()) {
                        out.copy(more.as_bytes());
                    }
                }
                At::Between | At::Text => out.keep(at..end),
            }
            if ended {
                self.at = At::Between;
                out.keep(end..at + taken);
            }
            at += taken;
        }
    }

    /// Lets what is held go: nothing more of its string comes.
    pub(super) fn flush(&mut self, out: &mut Out<'_>) {
        let held = std::mem::take(&mut self.held);
        if let At::Held(_) = self.at {
            out.copy(&held);
            self.at = At::Text;
        }
    }

    /// Goes on to the next string, and into it: bytes taken.
    fn between(&mut self, rest: &[u8], edit: &mut dyn Edit) -> usize {
        for (index, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.begin_string();
                    return index + 1;
                }
                b'{' | b'[' => self.enter(*byte == b'{'),
                b'}' | b']' => self.leave(edit),
                b':' | b',' if self.deeper == 0 => {
                    if let Some(level) = self.levels.last_mut() {
                        level.value = *byte == b':';
                    }
                }
                _ => {}
            }
        }
        rest.len()
    }

    /// Goes on to the end of the string: bytes taken, its quote included, and whether it has come.
    fn string(&mut self, rest: &[u8]) -> (usize, bool) {
        let mut at = usize::from(std::mem::take(&mut self.escaped));
        while let Some(found) = rest.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if rest.get(at) == Some(&b'"') {
                return (at + 1, true);
            }
            at += 2;
            if at > rest.len() {
                self.escaped = true;
                break;
            }
        }
        (rest.len(), false)
    }

    fn begin_string(&mut self) {
        self.held.clear();
        let level = self.levels.last().filter(|_| self.deeper == 0);
        self.at = match level {
            Some(Level { object: true, value: false, .. }) => At::Key,
            Some(Level { kind: Kind::Id(Place::Content), .. }) if self.answer => {
                self.content = Content::default();
                At::Content
            }
            Some(Level { kind: Kind::Type, .. }) if self.answer => At::Text,
            Some(Level { kind: kind @ (Kind::Id(_) | Kind::Type), .. }) => At::Held(*kind),
            Some(_) | None => At::Text,
        };
    }

    fn enter(&mut self, object: bool) {
        let kind = self.levels.last().map_or(Kind::Plain, |level| level.kind);
        if self.deeper > 0 || kind == Kind::Opaque || self.levels.len() >= DEPTH_MAX {
            self.deeper = self.deeper.saturating_add(1);
            return;
        }
        let named = object && matches!(kind, Kind::Id(_));
        // The elements of a list are what its key says; an object's keys speak for themselves.
        let kind = if object { Kind::Plain } else { kind };
        self.levels.push(Level { object, kind, value: false, named, reference: false, left: false });
    }

    fn leave(&mut self, edit: &mut dyn Edit) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some(level) = self.levels.pop()
            && level.reference
            && level.left
        {
            edit.left_reference();
        }
    }

    /// A part of a key; with `ended`, the last.
    fn key(&mut self, part: &[u8], ended: bool) {
        if !ended {
            let room = KEY_MAX.saturating_sub(self.held.len());
            self.held.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            return;
        }
        if !self.held.is_empty() {
            self.held.extend_from_slice(part);
        }
        let whole = if self.held.is_empty() { part } else { &self.held };
        let text = if whole.len() < KEY_MAX { unescaped(whole) } else { None };
        if let Some(level) = self.levels.last_mut() {
            level.kind = text.map_or(Kind::Plain, |key| keys::kind(&key, level.named));
        }
    }

    /// A part of a text that is needed as a whole; with its end, what it is told to be.
    fn held_text(
        &mut self,
        (kind, ended): (Kind, bool),
        part: &[u8],
        range: Range<usize>,
        (edit, out): (&mut dyn Edit, &mut Out<'_>),
    ) {
        if !ended {
            self.held.extend_from_slice(part);
            if self.held.len() > HELD_MAX && self.answer {
                self.flush(out);
            }
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            held.extend_from_slice(part);
        }
        let whole = if held.is_empty() { part } else { &held };
        match self.told(kind, whole, edit) {
            Some(text) => out.copy(text.as_bytes()),
            None if held.is_empty() => out.keep(range),
            None => out.copy(&held),
        }
    }

    /// What a whole text is told to be.
    fn told(&mut self, kind: Kind, whole: &[u8], edit: &mut dyn Edit) -> Option<String> {
        let text = unescaped(whole)?;
        match kind {
            Kind::Id(place) => {
                let outermost = place == Place::Own && self.levels.len() == 1;
                let told = edit.text(if outermost { Place::Root } else { place }, &text);
                if let Some(level) = self.levels.last_mut().filter(|_| told.is_none() && place == Place::Own) {
                    level.left = true;
                }
                told
            }
            Kind::Type => {
                if let Some(level) = self.levels.last_mut() {
                    level.reference |= text == "item_reference";
                }
                None
            }
            Kind::Plain | Kind::Opaque => None,
        }
    }
}

/// The text of a string as it stands between its quotes; `None` where it is none.
fn unescaped(written: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(written).ok()?;
    if memchr::memchr(b'\\', written).is_none() {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned)
}
