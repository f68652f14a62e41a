//! [`Opening`]: whether a stream has begun to answer, failed before it did, or has told nothing yet.
//!
//! Azure opens a 200 before it knows whether it can serve: chunks without a choice, a role without a text, `response.created`. Only
//! such known start-up events are waited behind; whatever else comes is taken for the beginning of the answer. The first event that
//! decides is the last one looked at, so that any chunking of a stream comes to the same.

use super::error::{StreamError, StreamErrorKind};
use super::json_type;
use serde_json::Value;

/// What the beginning of a stream has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing that a client waits for.
    Waiting,
    /// The answer: a delta, the end of an empty answer, or more start-up events than are waited for.
    Begun,
    /// An error, before anything else.
    Failed(StreamErrorKind),
}

/// Watches for it.
#[derive(Debug)]
pub(super) struct Watch {
    opening: Opening,
    /// Start-up events that may still come.
    left: u32,
}

/// Events of the Responses API that come before its first delta, and those that only keep a connection alive.
const STARTUP: [&[u8]; 7] = [
    b"response.created",
    b"response.queued",
    b"response.in_progress",
    b"response.output_item.added",
    b"response.content_part.added",
    b"keepalive",
    b"ping",
];

impl Watch {
    pub(super) const fn new(events_max: u32) -> Self {
        Self { opening: Opening::Waiting, left: events_max }
    }

    pub(super) const fn opening(&self) -> Opening {
        self.opening
    }

    /// The data of one event, with the error that it is.
    pub(super) fn event(&mut self, data: &[u8], error: Option<StreamError>) {
        if self.opening != Opening::Waiting {
            return;
        }
        self.left = self.left.saturating_sub(1);
        self.opening = match error {
            Some(error) => Opening::Failed(error.kind),
            None if self.left > 0 && is_startup(data) => Opening::Waiting,
            None => Opening::Begun,
        };
    }
}

/// Whether an event is of a known kind that carries nothing of the answer.
fn is_startup(data: &[u8]) -> bool {
    if let Some(kind) = json_type(data) {
        return STARTUP.contains(&kind);
    }
    let Ok(event) = serde_json::from_slice::<Value>(data) else { return false };
    if let Some(kind) = event.get("type").and_then(Value::as_str) {
        return STARTUP.contains(&kind.as_bytes());
    }
    let choices = event.get("choices").and_then(Value::as_array);
    is_empty(event.get("usage")) && choices.is_some_and(|choices| choices.iter().all(is_quiet))
}

/// A choice of a chat's or completion's chunk without text, tool call, refusal, reasoning or end.
fn is_quiet(choice: &Value) -> bool {
    let delta = match choice.get("delta") {
        Some(Value::Object(delta)) => delta.iter().all(|(key, value)| key == "role" || is_empty(Some(value))),
        delta => is_empty(delta),
    };
    delta && is_empty(choice.get("text")) && is_empty(choice.get("finish_reason"))
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scanner;
    use super::Opening::{Begun, Failed, Waiting};
    use super::*;

    const FILTER: &str =
        "data: {\"id\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}],\"usage\":null}\n\n";
    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"finish_reason\":null}]}\n\n";
    const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    const CAPACITY: &str =
        "data: {\"type\":\"error\",\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\"}}\n\n";
    const CREATED: &str =
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n";

    /// The opening of a stream, whole and in pieces of many sizes.
    fn opening(stream: &str, events_max: u32) -> Opening {
        let mut whole = Scanner::opening(events_max);
        whole.feed(stream.as_bytes());
        for size in [1, 2, 3, 7, 64] {
            let mut pieces = Scanner::opening(events_max);
            stream.as_bytes().chunks(size).for_each(|piece| pieces.feed(piece));
            assert_eq!(pieces.opened(), whole.opened(), "pieces of {size}: {stream}");
        }
        whole.opened()
    }

    fn chunk(data: &str) -> Opening {
        opening(&format!("data: {data}\n\n"), 9)
    }

    #[test]
    fn the_first_event_that_decides_is_the_last_one_looked_at() {
        let capacity = Failed(StreamErrorKind::TooManyRequests);
        let server = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\"}\n\n";
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}\n\n";
        let filter = "data: {\"error\":{\"code\":\"content_filter\"}}\n\n";
        for (events, want) in [
            (&[][..], Waiting),
            (&[": alive\n\n", "event: x\n\n", FILTER, ROLE], Waiting),
            (&[FILTER, ROLE, DELTA], Begun),
            (&[CAPACITY], capacity),
            (&[FILTER, CAPACITY], capacity),
            (&[FILTER, ROLE, ": alive\n\n", CAPACITY], capacity),
            (&[CAPACITY, DELTA], capacity),
            (&[FILTER, DELTA, CAPACITY], Begun),
            (&[CREATED, server], Failed(StreamErrorKind::ServerError)),
            (&[CREATED, failed], Failed(StreamErrorKind::ServerError)),
            (&["event: error\n\n", DELTA], Failed(StreamErrorKind::ServerError)),
            (&[ROLE, filter], Failed(StreamErrorKind::UserError)),
            (&[ROLE, "data: [DONE]\n\n", CAPACITY], Begun),
            (&["data: no json\n\n", CAPACITY], Begun),
        ] {
            assert_eq!(opening(&events.concat(), 9), want, "{events:?}");
        }
    }

    #[test]
    fn what_a_client_waits_for_is_the_beginning() {
        for data in [
            r#"{"choices":[{"delta":{"refusal":"no"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","tool_calls":[{"index":0}]}}]}"#,
            r#"{"choices":[{"delta":{"function_call":{"name":"f"}}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"audio":{"id":"a"}}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#,
            r#"{"choices":[{"delta":{"content":""}},{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[{"text":"a"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"type":"response.reasoning_summary_text.delta","delta":"a"}"#,
            r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#,
            r#"{"type":"response.completed","response":{}}"#,
            r#"{"type":"transcript.text.delta","delta":"a"}"#,
            r#"{"object":"thread.run"}"#,
            "[]",
        ] {
            assert_eq!(chunk(data), Begun, "{data}");
        }
        for data in [
            r#"{"choices":[{"delta":{"role":"assistant","tool_calls":[]},"text":""}]}"#,
            r#"{"choices":[{"index":0,"content_filter_results":{"hate":{"filtered":false}}}]}"#,
            r#"{"sequence_number":1,"type":"response.in_progress"}"#,
            r#"{"type":"response.output_item.added","item":{"type":"reasoning"}}"#,
        ] {
            assert_eq!(chunk(data), Waiting, "{data}");
        }
    }

    #[test]
    fn no_more_start_up_events_are_waited_behind_than_allowed() {
        for (allowed, want) in [(1, Begun), (2, Begun), (3, Failed(StreamErrorKind::TooManyRequests))] {
            assert_eq!(opening(&[FILTER, ROLE, CAPACITY].concat(), allowed), want, "{allowed}");
        }
    }

    #[test]
    fn a_start_up_event_of_any_length_is_known_by_its_type() {
        let created = |kind: &str| {
            let tools = "t".repeat(300_000);
            format!("data: {{\"type\":\"{kind}\",\"response\":{{\"tools\":\"{tools}\"}}}}\n\n{CAPACITY}")
        };
        for (kind, want) in [
            ("response.created", Failed(StreamErrorKind::TooManyRequests)),
            ("error", Failed(StreamErrorKind::ServerError)),
            ("response.output_text.delta", Begun),
        ] {
            let mut scanner = Scanner::opening(9);
            created(kind).as_bytes().chunks(4096).for_each(|piece| scanner.feed(piece));
            assert_eq!(scanner.opened(), want, "{kind}");
        }
    }
}
