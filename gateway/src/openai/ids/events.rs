//! [`Events`]: the documents in the events of a stream, each on one or more `data:` lines.

use super::Edit;
use super::walk::Walk;
use crate::openai::out::Out;
use memchr::memchr2;

/// The field that carries a document.
const DATA: &[u8] = b"data:";

/// Where in a stream we are.
#[derive(Debug)]
pub(super) struct Events {
    walk: Walk,
    line: Line,
    /// The last byte was a carriage return: a line feed now belongs to it.
    after_return: bool,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many bytes of `data:` have come, and nothing else.
    Field(usize),
    Data,
    Other,
}

impl Default for Events {
    fn default() -> Self {
        Self { walk: Walk::of_answer(), line: Line::Field(0), after_return: false }
    }
}

impl Events {
    /// The next chunk of the stream.
    pub(super) fn feed(&mut self, edit: &mut dyn Edit, out: &mut Out<'_>) {
        let chunk = out.chunk;
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_return) && rest.first() == Some(&b'\n') {
                out.keep(at..at + 1);
                at += 1;
                continue;
            }
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (end, ended) = (at + length, length < rest.len());
            let begin = at + self.field(rest.get(..length).unwrap_or_default());
            out.keep(at..begin);
            match self.line {
                Line::Data => self.walk.feed(begin..end, edit, out),
                Line::Field(_) | Line::Other => out.keep(begin..end),
            }
            if !ended {
                return;
            }
            self.end_line(rest.get(length) == Some(&b'\r'), out);
            out.keep(end..end + 1);
            at = end + 1;
        }
    }

    /// The stream is over.
    pub(super) fn flush(&mut self, out: &mut Out<'_>) {
        self.walk.flush(out);
    }

    /// Reads of a line what says which field it is: bytes of it.
    fn field(&mut self, line: &[u8]) -> usize {
        let Line::Field(known) = self.line else { return 0 };
        let wanted = DATA.get(known..).unwrap_or_default();
        let count = line.len().min(wanted.len());
        self.line = match line.get(..count) == wanted.get(..count) {
            true if count == wanted.len() => Line::Data,
            true => Line::Field(known + count),
            false => Line::Other,
        };
        count
    }

    fn end_line(&mut self, by_return: bool, out: &mut Out<'_>) {
        // No string of a document goes over the end of its line.
        self.walk.flush(out);
        if let Line::Field(0) = self.line {
            self.walk.begin();
        }
        self.line = Line::Field(0);
        self.after_return = by_return;
    }
}
