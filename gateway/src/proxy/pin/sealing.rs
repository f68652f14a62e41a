//! [`Seal`]: the ids of one answer, sealed as it passes.

use super::opening::{CONTENT, is_of_a_turn};
use crate::openai::answer::Media;
use crate::openai::ids::{Answer, Edit, Place};
use crate::policy::seal::{Owner, Sealer, split};
use bytes::Bytes;

/// Seals the ids of one answer.
pub(in crate::proxy) struct Seal {
    answer: Answer,
    sealing: Sealing,
}

pub(super) struct Sealing {
    pub(super) sealer: Sealer,
    pub(super) owner: Owner,
}

impl Seal {
    /// Seals an answer of this resource for this consumer; `None` where it has no ids.
    pub(in crate::proxy) fn new(media: Media, sealer: &Sealer, owner: Owner) -> Option<Self> {
        let answer = match media {
            Media::Json => Answer::json(),
            Media::EventStream => Answer::events(),
            Media::Other => return None,
        };
        Some(Self { answer, sealing: Sealing { sealer: sealer.clone(), owner } })
    }

    /// Seals what passes. `end`: it is the last.
    pub(in crate::proxy) fn pass(&mut self, body: &mut Option<Bytes>, end: bool) {
        let passed = body.take().map(|chunk| self.answer.feed(&chunk, &mut self.sealing));
        let rest = if end { self.answer.finish() } else { Bytes::new() };
        *body = match passed {
            Some(passed) if rest.is_empty() => Some(passed),
            Some(passed) => Some([passed, rest].concat().into()),
            None => (!rest.is_empty()).then_some(rest),
        };
    }
}

impl Edit for Sealing {
    fn text(&mut self, _place: Place, text: &str) -> Option<String> {
        let (prefix, rest) = split(text).filter(|parts| !is_of_a_turn(*parts))?;
        self.sealer.seal(self.owner, prefix, rest.as_bytes())
    }

    fn end_content(&mut self, digest: [u8; 16]) -> Option<String> {
        let sealed = self.sealer.seal(self.owner, CONTENT, &digest)?;
        let joint = CONTENT.len().saturating_sub(1);
        sealed.get(joint..).map(str::to_owned)
    }
}
