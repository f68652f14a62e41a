//! [`Along`]: who reads the data of a stream's events along with the scanner: nobody, the count of what is produced, or the watch for
//! the beginning of the answer. It decides nothing.

use super::opening::{Opening, Watch};
use super::{Produced, StreamError};

/// The reader.
#[derive(Debug)]
pub(super) enum Along {
    Nobody,
    Count(Box<Produced>),
    Watch(Watch),
}

impl Along {
    pub(super) fn counting(produced: Option<Produced>) -> Self {
        produced.map_or(Self::Nobody, |produced| Self::Count(Box::new(produced)))
    }

    pub(super) const fn watching(events_max: u32) -> Self {
        Self::Watch(Watch::new(events_max))
    }

    /// The data of one event, with the first error of the stream.
    pub(super) fn event(&mut self, data: &[u8], error: Option<StreamError>) {
        match self {
            Self::Nobody => {}
            Self::Count(produced) => produced.event(data),
            Self::Watch(watch) => watch.event(data, error),
        }
    }

    /// The head of an event that was too long to keep.
    pub(super) fn oversize(&mut self, head: &[u8], error: Option<StreamError>) {
        if let Self::Watch(watch) = self {
            watch.event(head, error);
        }
    }

    /// So many bytes passed unread.
    pub(super) fn unread(&mut self, bytes: usize) {
        if let Self::Count(produced) = self {
            produced.unread(bytes);
        }
    }

    /// `[DONE]`, or an error event without data: no event that anything is produced by.
    pub(super) fn end(&mut self, error: Option<StreamError>) {
        if let Self::Watch(watch) = self {
            watch.event(b"", error);
        }
    }

    pub(super) fn produced(&self) -> Option<u64> {
        match self {
            Self::Count(produced) => Some(produced.tokens()),
            Self::Nobody | Self::Watch(_) => None,
        }
    }

    pub(super) const fn opened(&self) -> Opening {
        match self {
            Self::Watch(watch) => watch.opening(),
            Self::Nobody | Self::Count(_) => Opening::Begun,
        }
    }
}
