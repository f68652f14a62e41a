//! The Responses API: its document, its events, and what is kept of it by id.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::draft::Draft;
use super::events::Frame;
use super::facts::Facts;
use super::preset::{self, Refusal};
use super::shared::Shared;

/// Number of the first delta event: four events come before it.
const FIRST_DELTA: u64 = 4;

/// How encrypted content begins; behind it stands where it was made.
const ENCRYPTED: &str = "gAAAAA";

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// The refusal of encrypted content that another region has made.
pub(crate) fn of_another_region(body: &[u8], region: &str) -> Option<Refusal> {
    let ours = plain(region);
    let begin = format!("\"{ENCRYPTED}");
    let mut found = memchr::memmem::find_iter(body, &begin);
    let wrong = found.any(|at| {
        let content = body.get(at + begin.len()..).unwrap_or_default();
        let end = memchr::memchr(b'"', content).unwrap_or(content.len());
        !content.starts_with(ours.as_bytes()) || !content.get(..end).is_some_and(|content| content.ends_with(b"=="))
    });
    wrong.then(|| {
        let body = preset::invalid_request(
            "The encrypted content could not be verified.",
            Some("input"),
            Some("invalid_encrypted_content"),
        );
        Refusal { status: 400, body, html: false, retry_after: None }
    })
}

/// The response's id.
pub(crate) fn id(draft: &Draft) -> String {
    format!("resp_{}", draft.id)
}

/// The finished response.
pub(crate) fn document(draft: &Draft, facts: &Facts) -> String {
    object(draft, facts, true).to_string()
}

/// The events of a stream around its text deltas.
pub(crate) fn frame(draft: &Draft, facts: &Facts) -> Frame {
    let message = format!("msg_{}", draft.id);
    let place = || json!({"item_id": message, "output_index": 0, "content_index": 0});
    let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let started = object(draft, facts, false);
    let head = vec![
        event("response.created", 0, json!({ "response": started })),
        event("response.in_progress", 1, json!({ "response": started })),
        event("response.output_item.added", 2, json!({"output_index": 0, "item": item(draft, "in_progress", &[])})),
        event("response.content_part.added", 3, merged(place(), json!({"part": part("")}))),
    ];
    let (text, after) = (draft.text(), FIRST_DELTA.saturating_add(draft.tokens));
    let last = if draft.cut { "response.incomplete" } else { "response.completed" };
    let tail = vec![
        event("response.output_text.done", after, merged(place(), json!({"text": text, "logprobs": []}))),
        event("response.content_part.done", after + 1, merged(place(), json!({"part": part(&text)}))),
        event(
            "response.output_item.done",
            after + 2,
            json!({"output_index": 0, "item": item(draft, status(draft), &[part(&text)])}),
        ),
        event(last, after + 3, json!({"response": object(draft, facts, true)})),
    ];
    let before = format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"item_id\":\"{message}\",\"output_index\":0,\"content_index\":0,\"delta\":\""
    );
    Frame { head, before, after: r#"","logprobs":[]"#.to_owned(), sequence: Some(FIRST_DELTA), tail }
}

/// GET and DELETE by id, `/input_items`, `/cancel`.
pub(crate) fn stored(shared: &Shared, method: &Method, path: &str) -> (StatusCode, Bytes) {
    let (id, rest) = path.split_once('/').unwrap_or((path, ""));
    let mut stored = shared.stored.lock();
    let Some(body) = stored.get(id) else {
        let text = format!("Response with id '{id}' not found.");
        return (StatusCode::NOT_FOUND, Bytes::from(preset::invalid_request(&text, None, None)));
    };
    let document = match (method, rest) {
        (&Method::GET, "") | (&Method::POST, "cancel") => body,
        (&Method::GET, "input_items") => {
            json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false}).to_string()
        }
        (&Method::DELETE, "") => {
            stored.remove(id);
            json!({"id": id, "object": "response", "deleted": true}).to_string()
        }
        _ => return (StatusCode::NOT_FOUND, Bytes::from(preset::error("404", "Resource not found"))),
    };
    (StatusCode::OK, Bytes::from(document))
}

const fn status(draft: &Draft) -> &'static str {
    if draft.cut { "incomplete" } else { "completed" }
}

fn item(draft: &Draft, status: &str, content: &[Value]) -> Value {
    let id = format!("msg_{}", draft.id);
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

fn object(draft: &Draft, facts: &Facts, done: bool) -> Value {
    let model: Value = serde_json::from_str(&draft.model_json).unwrap_or_default();
    let content = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": draft.text()});
    let mut output = if done { vec![item(draft, status(draft), &[content])] } else { Vec::new() };
    if done && facts.wants_reasoning() {
        let content = format!("{ENCRYPTED}{}{}==", plain(&draft.marker), draft.id);
        let reasoning =
            json!({"id": format!("rs_{}", draft.id), "type": "reasoning", "summary": [], "encrypted_content": content});
        output.insert(0, reasoning);
    }
    let cut = done && draft.cut;
    json!({
        "id": id(draft), "object": "response", "created_at": draft.created, "model": model,
        "status": if done { status(draft) } else { "in_progress" },
        "background": false, "error": null, "instructions": null, "metadata": {}, "output": output,
        "incomplete_details": if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
        "max_output_tokens": facts.max_output_tokens, "parallel_tool_calls": true,
        "previous_response_id": facts.previous_response_id, "reasoning": {"effort": null, "summary": null},
        "service_tier": "default", "store": facts.store.unwrap_or(true), "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "usage": if done { usage(draft) } else { Value::Null }, "user": null,
    })
}

fn usage(draft: &Draft) -> Value {
    if draft.bad_usage {
        return json!({"input_tokens": -1, "output_tokens": "many", "total_tokens": 1e30});
    }
    json!({
        "input_tokens": draft.prompt, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": draft.tokens, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": draft.prompt.saturating_add(draft.tokens),
    })
}

fn event(name: &str, number: u64, fields: Value) -> Bytes {
    let data = merged(json!({"type": name, "sequence_number": number}), fields);
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// The fields of both objects.
fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut first, second) {
        fields.extend(more);
    }
    first
}
