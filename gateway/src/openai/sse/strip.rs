//! [`Stripper`]: takes the usage chunk out of a stream for a client that did not ask for one.
//!
//! Only that event goes. Everything else leaves in the step in which it came, byte for byte; nothing waits but the beginning of an
//! event that may turn out to be the one, up to 8 KiB of it. Any chunking of a stream gives the same bytes as the whole.

use crate::openai::out::Out;
use bytes::Bytes;
use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::ops::Range;

/// Longest usage event, in bytes: ten times what they are.
const EVENT_MAX: usize = 8 * 1024;
/// How an event begins that may be one.
const BEGINNINGS: [&[u8]; 2] = [b"data: {", b"data:{"];

/// The filter of one stream.
#[derive(Debug, Default)]
pub struct Stripper {
    /// The beginning of an event that is not over yet.
    held: Vec<u8>,
    /// The event under way is not the one: its rest passes as it comes.
    passing: bool,
    /// The line under way has no byte yet.
    blank: bool,
    after_return: bool,
    /// The event that ended with the last return was taken out: a line feed that follows goes too.
    removed: bool,
}

impl Stripper {
    /// At the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: Vec::new(), passing: false, blank: true, after_return: false, removed: false }
    }

    /// What of the stream may go on after `chunk` has come. Not copied where it goes on as it came.
    #[must_use]
    pub fn feed(&mut self, chunk: &Bytes) -> Bytes {
        // Nothing has come: what the last byte was still holds.
        if chunk.is_empty() {
            return Bytes::new();
        }
        let mut out = Out::new(chunk);
        let mut start = 0;
        if std::mem::take(&mut self.after_return) && chunk.first() == Some(&b'\n') {
            start = 1;
            self.inside(0..1, &mut out);
        }
        let mut at = start;
        while let Some(found) = chunk.get(at..).and_then(|rest| memchr2(b'\n', b'\r', rest)) {
            let line_end = at.saturating_add(found);
            let is_return = chunk.get(line_end) == Some(&b'\r');
            let next = line_end.saturating_add(1);
            let feed = is_return && chunk.get(next) == Some(&b'\n');
            let ends_event = self.blank && found == 0;
            at = if feed { next.saturating_add(1) } else { next };
            self.blank = true;
            self.after_return = is_return && at == chunk.len() && !feed;
            if ends_event {
                self.event(start..at, &mut out);
                start = at;
            }
        }
        if at < chunk.len() {
            self.blank = false;
        }
        self.rest(start..chunk.len(), &mut out);
        out.finish()
    }

    /// The stream is over: what was held of an event without its end.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if is_usage(&held) { Bytes::new() } else { Bytes::from(held) }
    }

    /// A line feed that belongs to the return before it: to an event that is under way, or to the one that is over.
    fn inside(&mut self, range: Range<usize>, out: &mut Out<'_>) {
        if self.held.is_empty() {
            if !self.removed {
                out.keep(range);
            }
        } else {
            self.held.push(b'\n');
        }
    }

    /// An event is over; `range` is what of it is in this chunk.
    fn event(&mut self, range: Range<usize>, out: &mut Out<'_>) {
        let part = out.chunk.get(range.clone()).unwrap_or_default();
        if std::mem::take(&mut self.passing) {
            self.removed = false;
            out.keep(range);
            return;
        }
        self.removed = if self.held.is_empty() {
            is_usage(part)
        } else {
            self.held.extend_from_slice(part);
            is_usage(&self.held)
        };
        if self.held.is_empty() {
            if !self.removed {
                out.keep(range);
            }
        } else {
            let held = std::mem::take(&mut self.held);
            if !self.removed {
                out.copy(&held);
            }
        }
    }

    /// The chunk ends inside an event: held as long as it may be the one.
    fn rest(&mut self, range: Range<usize>, out: &mut Out<'_>) {
        if range.is_empty() {
            return;
        }
        self.removed = false;
        if self.passing {
            out.keep(range);
            return;
        }
        let part = out.chunk.get(range.clone()).unwrap_or_default();
        let known = self.held.len();
        let beginning = self.held.iter().chain(part).take(BEGINNINGS.iter().map(|b| b.len()).max().unwrap_or(0));
        let may_be = BEGINNINGS.iter().any(|wanted| wanted.iter().zip(beginning.clone()).all(|(a, b)| a == b));
        if may_be && known.saturating_add(part.len()) <= EVENT_MAX {
            self.held.extend_from_slice(part);
            return;
        }
        self.passing = true;
        if known == 0 {
            out.keep(range);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(part);
            out.copy(&held);
        }
    }
}

/// The chunk that `include_usage` adds: no choice, and a usage that is an object. Events before it carry `"usage":null`.
#[derive(Deserialize)]
struct Chunk<'a> {
    choices: Vec<IgnoredAny>,
    #[serde(borrow)]
    usage: &'a RawValue,
}

fn is_usage(event: &[u8]) -> bool {
    // Most events are told apart by this.
    if memmem::find(event, b"\"usage\"").is_none() {
        return false;
    }
    let Some(data) = event.strip_prefix(b"data:") else { return false };
    // A second line would be part of the data, or another field: nobody sends that in the chunk we look for.
    let data = data.trim_ascii();
    if memchr2(b'\n', b'\r', data).is_some() {
        return false;
    }
    serde_json::from_slice::<Chunk<'_>>(data)
        .is_ok_and(|chunk| chunk.choices.is_empty() && chunk.usage.get().starts_with('{'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;
    use proptest::prelude::{Just, ProptestConfig, any, prop, prop_assert_eq, prop_oneof, proptest};

    const FIRST: &str = "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n";
    const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{}\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    /// What goes on of `stream` in chunks that end at `cuts`.
    fn strip(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut stripper = Stripper::new();
        let mut out = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            out.extend_from_slice(&stripper.feed(&Bytes::copy_from_slice(&stream[from..cut])));
            assert!(stripper.held.len() <= EVENT_MAX);
            from = cut;
        }
        out.extend_from_slice(&stripper.finish());
        out
    }

    fn everywhere(stream: &str, want: &str) {
        for cut in 0..=stream.len() {
            for cuts in [&[cut][..], &[cut, cut]] {
                let told = strip(stream.as_bytes(), cuts);
                assert_eq!(String::from_utf8_lossy(&told), want, "{cuts:?} of {stream:?}");
            }
        }
    }

    #[test]
    fn the_usage_chunk_goes_and_nothing_else() {
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let with = |text: &str| text.replace("\n\n", end);
            let (whole, want) = ([FIRST, DELTA, USAGE, DONE].concat(), [FIRST, DELTA, DONE].concat());
            everywhere(&with(&whole), &with(&want));
            everywhere(&with(&[USAGE, USAGE, DONE].concat()), &with(DONE));
        }
        for kept in [
            ": ping\n\ndata: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "event: x\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\nid: 1\n\n",
            "\n\n\ndata: {\"usage\":{\"prompt_tokens\":1}}\n\ndata: {\"choices\":[],\"usage\":{",
            "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}",
        ] {
            everywhere(kept, kept);
        }
        everywhere(USAGE.trim_end(), "");
    }

    #[test]
    fn chunks_leave_in_the_step_in_which_they_came() {
        let mut stripper = Stripper::new();
        let chunk = Bytes::from([FIRST, DELTA].concat());
        let out = stripper.feed(&chunk);
        assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()), "not copied");
        assert_eq!(stripper.feed(&Bytes::from_static(b"data: {\"choi")), "");
        assert_eq!(stripper.feed(&Bytes::from_static(b"ces\":[1]}\n\n: a")), "data: {\"choices\":[1]}\n\n: a");
        assert_eq!(stripper.feed(&Bytes::from_static(b"nd")), "nd", "no event of ours is held");
        let mut stripper = Stripper::new();
        let long = format!("data: {{\"{}", "x".repeat(EVENT_MAX));
        assert_eq!(stripper.feed(&Bytes::from(long.clone())), long, "too long to be one");
        assert_eq!(stripper.feed(&Bytes::from_static(b"y")), "y");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_chunking_gives_the_bytes_of_the_whole(
            parts in prop::collection::vec(prop_oneof![
                Just(FIRST), Just(DELTA), Just(USAGE), Just(DONE), Just("\r"), Just("\n"), Just("data:"), Just("{"),
                Just("data: {\"choices\":[],\"usage\":{}}"), Just(": x\n"), Just("\r\n\r\n"), Just("}"),
            ], 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let stream = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(strip(&stream, &cuts), strip(&stream, &[]));
        }
    }
}
