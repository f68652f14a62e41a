//! [`Out`]: what goes on of a chunk: a piece of it as it is, or a copy where something was taken out or put in.

use bytes::Bytes;
use std::ops::Range;

pub(super) struct Out<'c> {
    pub(super) chunk: &'c Bytes,
    copied: Vec<u8>,
    kept: Range<usize>,
}

impl<'c> Out<'c> {
    pub(super) const fn new(chunk: &'c Bytes) -> Self {
        Self { chunk, copied: Vec::new(), kept: 0..0 }
    }

    /// This range of the chunk goes on as it is.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if self.kept.is_empty() {
            self.kept = range;
        } else if self.kept.end == range.start {
            self.kept.end = range.end;
        } else {
            self.flush();
            self.kept = range;
        }
    }

    /// These bytes go on next.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.flush();
        self.copied.extend_from_slice(bytes);
    }

    /// Something was taken out or put in.
    pub(super) const fn is_changed(&self) -> bool {
        !self.copied.is_empty()
    }

    fn flush(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.copied.extend_from_slice(self.chunk.get(kept).unwrap_or_default());
    }

    pub(super) fn finish(mut self) -> Bytes {
        if self.copied.is_empty() && self.kept.end <= self.chunk.len() {
            return self.chunk.slice(self.kept);
        }
        self.flush();
        Bytes::from(self.copied)
    }
}
