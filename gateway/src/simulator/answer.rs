//! The good answer to a request: which document or stream, at which pace, in which manner.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::body::{Body, Shape, Source, Strike};
use super::call::Call;
use super::clock;
use super::draft::{Draft, FILL};
use super::events::{self, Events, Frame, Pace};
use super::facts::Facts;
use super::headers;
use super::plan::Plan;
use super::responses;
use super::target::Operation;
use super::visit::{Manner, Visit};

/// Dimensions of an embedding when the request names none.
const DIMENSIONS: u32 = 1536;
/// Most vectors and dimensions that are made.
const VECTORS_MAX: u64 = 2048;
const DIMENSIONS_MAX: u32 = 4096;
/// Most images that are made.
const IMAGES_MAX: u32 = 10;
/// Bytes of a recording.
const SPEECH: u64 = 16 * 1024;
/// Bodies up to this size leave as one piece.
const WHOLE_MAX: usize = 256 * 1024;

/// How long this answer takes: to its first token, and between two.
#[derive(Clone, Copy, Debug)]
struct Tempo {
    first: Duration,
    step: Duration,
}

/// Answers that need no deployment.
pub(crate) fn without_plan(visit: &Visit<'_>) -> Option<(StatusCode, Bytes)> {
    match visit.target.operation {
        Operation::Alive => Some((StatusCode::OK, Bytes::new())),
        Operation::Models => Some(models(visit)),
        _ => None,
    }
}

/// Serves the plan.
pub(crate) async fn answer(visit: &Visit<'_>, mut call: Call, plan: Plan, manner: Manner) -> Response<Body> {
    let tempo = tempo(visit);
    let draft = draft(visit, &plan, manner);
    call.settle_later(Arc::clone(&plan.deployment), plan.charged, plan.prompt.saturating_add(plan.tokens));
    let mut head = visit.headers();
    headers::served(&mut head, &plan.deployment, visit.head.headers.get("x-ms-client-request-id"));
    if let Some(from) = &plan.from {
        headers::spilled(&mut head, from);
    }
    if let Some(budget) = &plan.budget {
        headers::budget(&mut head, budget);
    }
    let operation = visit.target.operation;
    let frame = if plan.facts.is_stream() { frame(operation, &draft, &plan) } else { None };
    if operation == Operation::Responses && plan.facts.store != Some(false) {
        visit.shared.stored.lock().insert(&responses::id(&draft), responses::document(&draft, &plan.facts));
    }
    if operation == Operation::Chat && plan.facts.store == Some(true) {
        visit.shared.things.lock().store(serde_json::from_str(&draft.chat()).unwrap_or_default());
    }
    let steps = if frame.is_some() { 0 } else { u32::try_from(plan.tokens).unwrap_or(u32::MAX) };
    let pause = tempo.first.saturating_add(tempo.step.saturating_mul(steps));
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    if let Some(frame) = frame {
        head.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, must-revalidate"));
        head.insert("x-accel-buffering", HeaderValue::from_static("no"));
        let pace = Pace { start: clock::now(), step: tempo.step, stamp: visit.wish.stamp };
        let mut shape = manner.shape;
        if let Some(after) = visit.wish.stall_after {
            shape.strike = Some((after, Strike::Stall(None)));
        }
        return visit.shaped(call, head, Source::Events(Events::new(&draft, frame, pace)), shape);
    }
    if operation == Operation::Speech {
        head.insert(CONTENT_TYPE, HeaderValue::from_static("audio/mpeg"));
        let tag = Bytes::from(format!("ID3{}", draft.marker));
        let source = Source::Filled(Some(tag), visit.wish.size.unwrap_or(SPEECH), None);
        return visit.shaped(call, head, source, manner.shape);
    }
    whole(visit, call, head, document(operation, &draft, &plan.facts), manner)
}

/// The events of a stream, where the operation has them.
fn frame(operation: Operation, draft: &Draft, plan: &Plan) -> Option<Frame> {
    match operation {
        Operation::Chat => Some(events::chat(draft, plan.facts.includes_usage())),
        Operation::Completions => Some(events::completion(draft, plan.facts.includes_usage())),
        Operation::Responses => Some(responses::frame(draft, &plan.facts)),
        _ => None,
    }
}

fn document(operation: Operation, draft: &Draft, facts: &Facts) -> String {
    match operation {
        Operation::Embeddings => {
            let count = facts.input.map_or(1, |input| if input.is_tokens { 1 } else { input.items });
            let dimensions = facts.dimensions.unwrap_or(DIMENSIONS).min(DIMENSIONS_MAX);
            draft.embeddings(count.min(VECTORS_MAX), dimensions, facts.encoding_format.as_deref() == Some("base64"))
        }
        Operation::Completions => draft.completion(),
        Operation::Responses => responses::document(draft, facts),
        Operation::Images | Operation::ImageEdits => {
            let whole = facts.response_format.as_ref().is_some_and(|format| format == "b64_json");
            draft.images(facts.n.unwrap_or(1).min(IMAGES_MAX), whole)
        }
        Operation::Transcriptions | Operation::Translations => draft.transcription(),
        _ => draft.chat(),
    }
}

/// Sends a document, filled up to the size that the request asked for.
fn whole(visit: &Visit<'_>, call: Call, mut head: HeaderMap, document: String, manner: Manner) -> Response<Body> {
    if let Some((open, close)) = document.split_once(FILL) {
        let bare = open.len() + close.len();
        let size = visit.wish.size.unwrap_or(0).max(u64::try_from(bare).unwrap_or(0));
        let left = size.saturating_sub(u64::try_from(bare).unwrap_or(0));
        head.insert(CONTENT_LENGTH, HeaderValue::from(size));
        let source = Source::Filled(Some(Bytes::from(open.to_owned())), left, Some(Bytes::from(close.to_owned())));
        return visit.shaped(call, head, source, manner.shape);
    }
    let bytes = Bytes::from(document);
    if manner.shape == Shape::default() && bytes.len() <= WHOLE_MAX {
        return visit.answer(call, StatusCode::OK, head, bytes);
    }
    head.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    visit.shaped(call, head, Source::eighths(bytes), manner.shape)
}

fn tempo(visit: &Visit<'_>) -> Tempo {
    let latency = visit.shared.latency();
    let vary = |duration: Duration| {
        if latency.jitter <= 0.0 || duration.is_zero() {
            return duration;
        }
        let share = latency.jitter.min(1.0) * (visit.shared.chance(visit.id).f64() * 2.0 - 1.0);
        duration.mul_f64((1.0 + share).max(0.0))
    };
    Tempo {
        first: visit.wish.first.unwrap_or_else(|| vary(latency.first_token)),
        step: visit.wish.chunk.unwrap_or_else(|| vary(latency.per_token)),
    }
}

/// The unique part of an id.
pub(crate) fn unique(visit: &Visit<'_>) -> String {
    format!("{:016x}{:08x}", visit.shared.options.seed ^ visit.shared.started.as_micros(), visit.id)
}

fn draft(visit: &Visit<'_>, plan: &Plan, manner: Manner) -> Draft {
    Draft {
        id: unique(visit),
        created: clock::unix_seconds(),
        marker: format!("[{}/{}]", visit.shared.options.region, plan.deployment.name),
        model_json: plan.deployment.model_json.clone(),
        prompt: plan.prompt,
        tokens: plan.tokens,
        cut: plan.cut,
        bad_usage: manner.bad_usage,
        words: visit.wish.words,
        fill: visit.wish.size.is_some() && !plan.facts.is_stream() && visit.target.operation == Operation::Chat,
    }
}

fn models(visit: &Visit<'_>) -> (StatusCode, Bytes) {
    let model = |name: &str| {
        serde_json::json!({"id": name, "object": "model", "status": "succeeded", "lifecycle_status": "generally-available",
            "capabilities": {"inference": true, "chat_completion": true, "embeddings": true}})
    };
    let names = visit.shared.deployments.names();
    let document = match visit.target.id {
        Some(id) => model(id),
        None => serde_json::json!({"object": "list", "data": names.iter().map(|name| model(name)).collect::<Vec<_>>()}),
    };
    (StatusCode::OK, Bytes::from(document.to_string()))
}
