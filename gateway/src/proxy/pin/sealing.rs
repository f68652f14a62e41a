//! [`Seal`]: the ids of one answer, sealed as it passes.

use super::opening::{CONTENT, is_of_a_turn};
use crate::openai::answer::Media;
use crate::openai::ids::{Answer, Edit, Place};
use crate::openai::page::{Page, Turn};
use crate::policy::seal::{Owner, Sealer, split};
use bytes::Bytes;

/// Seals the ids of one answer.
pub(in crate::proxy) struct Seal {
    answer: Answer,
    sealing: Sealing,
    /// It is a page of a list of several resources.
    pub(super) page: Option<Page>,
}

pub(super) struct Sealing {
    sealer: Sealer,
    owner: Owner,
    /// Every id; else that of the document alone.
    all: bool,
    /// What was sealed last, and how: each event of a stream tells its id again.
    last: (String, String),
}

impl Sealing {
    pub(super) fn new(sealer: Sealer, owner: Owner, all: bool) -> Self {
        Self { sealer, owner, all, last: (String::new(), String::new()) }
    }
}

impl Seal {
    /// Seals an answer of this resource for this consumer, `all` its ids or only the document's own; `None` where it has none.
    pub(in crate::proxy) fn new(media: Media, (sealer, owner): (&Sealer, Owner), all: bool) -> Option<Self> {
        let answer = match media {
            Media::Json => Answer::json(),
            Media::EventStream => Answer::events(),
            Media::Other => return None,
        };
        Some(Self { answer, sealing: Sealing::new(sealer.clone(), owner, all), page: None })
    }

    /// Seals what passes. `end`: it is the last.
    pub(in crate::proxy) fn pass(&mut self, body: &mut Option<Bytes>, end: bool) {
        let chunk = body.take().map(|chunk| match &mut self.page {
            Some(page) => page.feed(&chunk),
            None => chunk,
        });
        let passed = chunk.map(|chunk| self.answer.feed(&chunk, &mut self.sealing));
        let rest = if end { self.answer.finish() } else { Bytes::new() };
        *body = match passed {
            Some(passed) if rest.is_empty() => Some(passed),
            Some(passed) => Some([passed, rest].concat().into()),
            None => (!rest.is_empty()).then_some(rest),
        };
    }

    /// What the page is, once, as soon as it is known.
    pub(in crate::proxy) fn turn(&mut self, end: bool) -> Option<Turn> {
        self.page.as_mut()?.turn(end)
    }
}

impl Edit for Sealing {
    fn text(&mut self, place: Place, text: &str) -> Option<String> {
        if !self.all && place != Place::Root {
            return None;
        }
        if self.last.0 == text && !text.is_empty() {
            return Some(self.last.1.clone());
        }
        let (prefix, rest) = split(text).filter(|parts| !is_of_a_turn(*parts))?;
        let sealed = self.sealer.seal(self.owner, prefix, rest.as_bytes())?;
        text.clone_into(&mut self.last.0);
        sealed.clone_into(&mut self.last.1);
        Some(sealed)
    }

    fn end_content(&mut self, digest: [u8; 16]) -> Option<String> {
        let sealed = self.sealer.seal(self.owner, CONTENT, &digest).filter(|_| self.all)?;
        let joint = CONTENT.len().saturating_sub(1);
        sealed.get(joint..).map(str::to_owned)
    }
}
