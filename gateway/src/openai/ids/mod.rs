//! Where ids of stored things stand: in paths and queries ([`target()`]), in JSON and form bodies ([`body`], [`form()`]), in answers and
//! their events ([`Answer`]). It finds the places and puts other texts there; what an id is and means is the [`Edit`]'s business.
//!
//! Ids are told by the keys under which they stand, never by what a text looks like: `id`, `…_id`, `…_ids` and a few more. Nothing
//! under keys whose value is the client's own (`metadata`, schemas, arguments) is looked at.

mod content;
mod events;
mod form;
mod keys;
mod target;
mod walk;

pub use content::digest;
pub use form::form;
pub use target::target;

use super::out::Out;
use bytes::Bytes;
use events::Events;
use memchr::memchr;
use std::ops::Range;
use walk::Walk;

/// What the place says about the text that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A segment of the path that names what the call is about.
    Path,
    /// A reference to something stored: `previous_response_id`, `file_ids`, `after`.
    Reference,
    /// The id of an object: of something stored, or of the client's own making.
    Own,
    /// The same of the document's outermost object.
    Root,
    /// Content that only its resource can decrypt.
    Content,
}

/// Who says what stands in a place instead.
pub trait Edit {
    /// The text of a place: what stands there instead, without quotes and without need of escapes.
    fn text(&mut self, place: Place, text: &str) -> Option<String>;

    /// An answer's encrypted content is over; [`digest`] of it is this. What is put behind it.
    fn end_content(&mut self, _digest: [u8; 16]) -> Option<String> {
        None
    }

    /// The id of something that was said to be a reference (`item_reference`) was left as it is.
    fn left_reference(&mut self) {}
}

/// A JSON body of a request with other texts; `None` where nothing changes.
pub fn body(body: &Bytes, edit: &mut dyn Edit) -> Option<Bytes> {
    let mut out = Out::new(body);
    let mut walk = Walk::of_request();
    walk.feed(0..body.len(), edit, &mut out);
    walk.flush(&mut out);
    out.is_changed().then(|| out.finish())
}

/// The same of a body in which each of the `lines` is a JSON document.
pub fn lines(body: &Bytes, lines: Range<usize>, edit: &mut dyn Edit) -> Option<Bytes> {
    let mut out = Out::new(body);
    out.keep(0..lines.start);
    let mut walk = Walk::of_request();
    let mut at = lines.start;
    while let Some(rest) = body.get(at..lines.end).filter(|rest| !rest.is_empty()) {
        let end = at + memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        walk.begin();
        walk.feed(at..end, edit, &mut out);
        walk.flush(&mut out);
        at = end;
    }
    out.keep(lines.end..body.len());
    out.is_changed().then(|| out.finish())
}

/// An answer on its way, rewritten as it comes: nothing is held but an id, or the beginning of a key, that a chunk has cut.
#[derive(Debug)]
pub struct Answer(Form);

#[derive(Debug)]
enum Form {
    /// One JSON document.
    Json(Walk),
    /// Events, each with a JSON document.
    Events(Events),
}

impl Answer {
    /// A JSON document.
    #[must_use]
    pub fn json() -> Self {
        Self(Form::Json(Walk::of_answer()))
    }

    /// A stream of events.
    #[must_use]
    pub fn events() -> Self {
        Self(Form::Events(Events::default()))
    }

    /// What of the answer may go on after `chunk` has come. Not copied where it goes on as it came.
    pub fn feed(&mut self, chunk: &Bytes, edit: &mut dyn Edit) -> Bytes {
        let mut out = Out::new(chunk);
        match &mut self.0 {
            Form::Json(walk) => walk.feed(0..chunk.len(), edit, &mut out),
            Form::Events(events) => events.feed(edit, &mut out),
        }
        out.finish()
    }

    /// The answer is over: what was held of an id without its end.
    pub fn finish(&mut self) -> Bytes {
        let nothing = Bytes::new();
        let mut out = Out::new(&nothing);
        match &mut self.0 {
            Form::Json(walk) => walk.flush(&mut out),
            Form::Events(events) => events.flush(&mut out),
        }
        out.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
