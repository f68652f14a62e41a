//! [`Events`]: a stream's events in order, each at its time. `azure.md` 3.6 has their shape.
//!
//! Says what comes next and when; sleeping and breaking off are the business of `body.rs`.

use std::time::Duration;
use std::vec::IntoIter;

use bytes::Bytes;

use super::draft::{Draft, SAFE, WORD};
use crate::domain::Moment;

const DONE: &[u8] = b"data: [DONE]\n\n";

/// The next thing to do in a body.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    End,
}

/// A stream: some events, `total` content events that are paced, some events.
#[derive(Debug)]
pub(crate) struct Events {
    head: IntoIter<Bytes>,
    /// Around the text of a content event.
    before: String,
    after: String,
    marker: String,
    words: bool,
    total: u64,
    next: u64,
    /// The `sequence_number` of the first content event, where events are numbered.
    sequence: Option<u64>,
    tail: IntoIter<Bytes>,
    pace: Pace,
}

/// When content events are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Of the first.
    pub(crate) start: Moment,
    /// Between two.
    pub(crate) step: Duration,
    /// Put the time of sending into each.
    pub(crate) stamp: bool,
}

/// The fixed parts of a stream.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) head: Vec<Bytes>,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) sequence: Option<u64>,
    pub(crate) tail: Vec<Bytes>,
}

impl Events {
    pub(crate) fn new(draft: &Draft, frame: Frame, pace: Pace) -> Self {
        Self {
            head: frame.head.into_iter(),
            before: frame.before,
            after: frame.after,
            marker: draft.marker.clone(),
            words: draft.words,
            total: draft.tokens,
            next: 1,
            sequence: frame.sequence,
            tail: frame.tail.into_iter(),
            pace,
        }
    }

    /// Content events made so far: as many tokens.
    pub(crate) const fn tokens(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn step(&mut self, now: Moment) -> Step {
        if let Some(event) = self.head.next() {
            return Step::Send(event);
        }
        if self.next > self.total {
            return self.tail.next().map_or(Step::End, Step::Send);
        }
        let pause = u32::try_from(self.next - 1).unwrap_or(u32::MAX);
        let due = self.pace.start.after(self.pace.step.saturating_mul(pause));
        if now < due {
            return Step::Wait(now.until(due));
        }
        let event = self.content(now);
        self.next += 1;
        Step::Send(event)
    }

    fn content(&self, now: Moment) -> Bytes {
        use std::fmt::Write as _;
        let Self { before, after, marker, next, .. } = self;
        let mut event = String::with_capacity(before.len() + after.len() + 96);
        event.push_str(before);
        if self.words {
            event.push_str(WORD);
        } else {
            event.push_str(if *next == 1 { marker } else { "" });
            // Writing to a string cannot fail.
            let _ = write!(event, " token{next}");
        }
        event.push_str(after);
        if let Some(first) = self.sequence {
            let _ = write!(event, r#","sequence_number":{}"#, first.saturating_add(next - 1));
        }
        let _ = write!(event, r#","x_sim_index":{next}"#);
        if self.pace.stamp {
            let _ = write!(event, r#","x_sim_at_us":{}"#, now.as_micros());
        }
        event.push_str("}\n\n");
        Bytes::from(event)
    }
}

/// The first event of chat and completions: verdicts on the prompt, no choice.
fn prompt_filter(include_usage: bool) -> Bytes {
    let usage = if include_usage { r#","usage":null"# } else { "" };
    Bytes::from(format!(
        "data: {{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{{\"prompt_index\":0,\"content_filter_results\":{SAFE}}}]{usage}}}\n\n"
    ))
}

/// Completions: filter results of the prompt, text, finish, usage if asked for, `[DONE]`.
pub(crate) fn completion(draft: &Draft, include_usage: bool) -> Frame {
    let (before, after) = draft.completion_chunk(None, include_usage);
    let (open, close) = draft.completion_chunk(Some(draft.finish_reason()), include_usage);
    let mut tail = vec![Bytes::from(format!("{open}{close}}}\n\n"))];
    if include_usage {
        tail.push(Bytes::from(draft.completion_usage()));
    }
    tail.push(Bytes::from_static(DONE));
    Frame { head: vec![prompt_filter(include_usage)], before, after, sequence: None, tail }
}

/// Chat: filter results of the prompt, role, content, finish, usage if asked for, `[DONE]`.
pub(crate) fn chat(draft: &Draft, include_usage: bool) -> Frame {
    let whole = |delta: &str, finish: Option<&str>| {
        let (before, after) = draft.chat_chunk(delta, finish, include_usage);
        Bytes::from(format!("{before}{after}}}\n\n"))
    };
    let (open, after) = draft.chat_chunk("", None, include_usage);
    let mut tail = vec![whole("{}", Some(draft.finish_reason()))];
    if include_usage {
        tail.push(Bytes::from(draft.chat_usage()));
    }
    tail.push(Bytes::from_static(DONE));
    let role = whole(r#"{"content":"","refusal":null,"role":"assistant"}"#, None);
    Frame {
        head: vec![prompt_filter(include_usage), role],
        before: format!("{open}{{\"content\":\""),
        after: format!("\"}}{after}"),
        sequence: None,
        tail,
    }
}
