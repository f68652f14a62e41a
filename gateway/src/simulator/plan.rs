//! What a request is to be answered with: the checks Azure makes, in its order, then the numbers of the answer.
//!
//! Faults are not its business: they are carried out in `serve.rs` around it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::deployment::Deployment;
use super::facts::{Facts, Text};
use super::headers;
use super::options::Style;
use super::preset::{self, Refusal, Scene};
use super::quota::{Budget, Exceeded};
use super::shared::Shared;
use super::target::{Operation, Target};
use crate::domain::Moment;

/// Completion tokens that Azure assumes at admission when the request has no ceiling.
const TOKENS_ASSUMED: u64 = 16;
/// Longest completion that is made.
const TOKENS_MAX: u64 = 100_000;
/// Largest answer that `x-sim-size` can ask for, in bytes.
const SIZE_MAX: u64 = 1024 * 1024 * 1024;

/// What a request's own `x-sim-*` headers ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) tokens: Option<u64>,
    pub(crate) chunk: Option<Duration>,
    pub(crate) first: Option<Duration>,
    pub(crate) size: Option<u64>,
    pub(crate) stamp: bool,
    /// Text of which every content event is one token of the models' own tokenizers.
    pub(crate) words: bool,
    /// Silence after so many events, until the client leaves.
    pub(crate) stall_after: Option<u64>,
}

impl Wish {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        Self {
            tokens: number("x-sim-tokens"),
            chunk: number("x-sim-chunk-ms").map(Duration::from_millis),
            first: number("x-sim-first-ms").map(Duration::from_millis),
            size: number("x-sim-size").map(|size| size.min(SIZE_MAX)),
            stamp: number("x-sim-stamp") == Some(1),
            words: number("x-sim-words") == Some(1),
            stall_after: number("x-sim-stall-after"),
        }
    }
}

/// A request that will be served.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) deployment: Arc<Deployment>,
    /// The deployment asked for, which was full: Azure's own spillover.
    pub(crate) from: Option<Arc<Deployment>>,
    pub(crate) facts: Facts,
    pub(crate) prompt: u64,
    pub(crate) tokens: u64,
    /// The request's ceiling cut the completion.
    pub(crate) cut: bool,
    /// What admission charged.
    pub(crate) charged: u64,
    pub(crate) budget: Option<Budget>,
}

/// A refusal and the budgets that go with it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) budget: Option<Budget>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, budget: None }
    }
}

/// One request as the checks see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) wish: Wish,
    /// `x-ms-spillover-deployment`
    pub(crate) spillover: Option<&'a str>,
    pub(crate) now: Moment,
}

/// What the body says; `Err` with serde's text when it is no JSON of ours.
pub(crate) fn facts(target: &Target<'_>, body: &[u8]) -> Result<Facts, String> {
    if target.operation.is_multipart() {
        let model = super::facts::multipart_field(body, "model").map(str::to_owned);
        return Ok(Facts { model, ..Facts::default() });
    }
    let bare = [Operation::StoredResponse, Operation::Thing, Operation::Models, Operation::Alive, Operation::Unknown];
    if bare.contains(&target.operation) {
        return Ok(Facts::default());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// A wrong or missing key, or a path that does not exist: what comes before the body matters.
pub(crate) fn entrance(shared: &Shared, headers: &HeaderMap, target: &Target<'_>) -> Result<(), Refusal> {
    if !key_fits(shared, headers) {
        return Err(named("401_key", scene(shared, target, None)));
    }
    let foreign = match shared.options.style {
        Style::Both => false,
        Style::Classic => target.v1,
        Style::V1 => !target.v1,
    };
    let lost = target.version_missing || target.operation == Operation::Unknown || foreign;
    if lost && target.operation != Operation::Alive {
        return Err(named("404_route", scene(shared, target, None)));
    }
    if target.v1 && shared.options.style == Style::V1 && target.api_version.is_some_and(is_dated) {
        let body = preset::error("BadRequest", "API version not supported");
        return Err(Refusal { status: 400, body, html: false, retry_after: None });
    }
    if target.operation == Operation::Realtime {
        let Some(name) = target.deployment else { return Err(invalid("you must provide a model parameter", None)) };
        if shared.deployments.find(name).is_none() {
            return Err(named("404_deployment", scene(shared, target, None)));
        }
    }
    Ok(())
}

/// A version of the classic API.
fn is_dated(api_version: &str) -> bool {
    api_version.starts_with("20")
}

/// The checks on a request that creates something, and its admission.
pub(crate) fn plan(shared: &Shared, request: &Request<'_>, facts: Result<Facts, String>) -> Result<Plan, Refused> {
    let target = &request.target;
    let facts = facts.map_err(|what| {
        let text = format!("We could not parse the JSON body of your request: {what}.");
        invalid(&text, None)
    })?;
    // On v1 it is the body's word alone.
    let Some(name) = target.deployment.or(facts.model.as_deref()) else {
        return Err(invalid("you must provide a model parameter", None).into());
    };
    let deployment =
        shared.deployments.find(name).ok_or_else(|| named("404_deployment", scene(shared, target, None)))?;
    required(target.operation, &facts)?;
    if let Some(id) = facts.previous_response_id.as_deref().filter(|id| !shared.stored.lock().contains(id)) {
        let text = format!("Previous response with id '{id}' not found.");
        let body = preset::invalid_request(&text, Some("previous_response_id"), Some("previous_response_not_found"));
        return Err(Refusal { status: 400, body, html: false, retry_after: None }.into());
    }
    if let Some(id) = facts.conversation_id().filter(|id| !shared.things.lock().contains(id)) {
        let body =
            preset::invalid_request(&format!("Conversation with id '{id}' not found."), Some("conversation"), None);
        return Err(Refusal { status: 404, body, html: false, retry_after: None }.into());
    }
    let prompt = facts.prompt_tokens();
    let length = prompt.saturating_add(facts.ceiling().unwrap_or(0));
    if let Some(max) = deployment.context_tokens.filter(|max| length > *max) {
        return Err(too_long(max, length).into());
    }
    let generates = matches!(target.operation, Operation::Chat | Operation::Completions | Operation::Responses);
    let wanted = request.wish.tokens.unwrap_or_else(|| u64::from(shared.options.tokens_out)).clamp(1, TOKENS_MAX);
    let tokens = match target.operation {
        Operation::Embeddings => 0,
        _ => wanted.min(facts.ceiling().unwrap_or(TOKENS_MAX).max(1)),
    };
    let assumed = if generates { facts.ceiling().unwrap_or(TOKENS_ASSUMED) } else { 0 };
    let charged = prompt.saturating_add(assumed.saturating_mul(facts.best_of.unwrap_or(1).max(1)));
    let verdict = deployment.admit(request.now, charged);
    if verdict.exceeded.is_some()
        && let Some(spilled) = request.spillover.and_then(|name| shared.deployments.find(name))
        && spilled.admit(request.now, charged).exceeded.is_none()
    {
        let from = Some(Arc::clone(&deployment));
        let cut = generates && tokens < wanted;
        return Ok(Plan { deployment: spilled, from, facts, prompt, tokens, cut, charged, budget: None });
    }
    if let Some((exceeded, wait)) = verdict.exceeded {
        let preset = match exceeded {
            Exceeded::Tokens => "429_tokens",
            Exceeded::Requests => "429_requests",
            Exceeded::Utilization => "429_ptu",
        };
        let scene = Scene { retry_after: Some(wait), model: &deployment.model, ..scene(shared, target, None) };
        return Err(Refused { refusal: named(preset, scene), budget: verdict.budget });
    }
    let cut = generates && tokens < wanted;
    Ok(Plan { deployment, from: None, facts, prompt, tokens, cut, charged, budget: verdict.budget })
}

/// Where an error's text comes from.
pub(crate) fn scene<'a>(shared: &'a Shared, target: &Target<'a>, retry_after: Option<Duration>) -> Scene<'a> {
    Scene {
        operation: target.operation.azure_name(),
        api_version: target.api_version.unwrap_or("v1"),
        model: "gpt-4o",
        region: &shared.display,
        retry_after,
    }
}

/// A preset that is known to exist.
pub(crate) fn named(preset: &str, scene: Scene<'_>) -> Refusal {
    preset::refusal(preset, scene).unwrap_or(Refusal {
        status: 500,
        body: preset::error("InternalServerError", "no such preset"),
        html: false,
        retry_after: None,
    })
}

/// The 400 for a request that is longer than the model's context.
fn too_long(max: u64, length: u64) -> Refusal {
    let text = format!(
        "This model's maximum context length is {max} tokens. However, you requested {length} tokens. Please reduce the \
         length of the messages or completion."
    );
    let body = preset::invalid_request(&text, Some("messages"), Some("context_length_exceeded"));
    Refusal { status: 400, body, html: false, retry_after: None }
}

/// A 400 in OpenAI's shape.
pub(crate) fn invalid(message: &str, param: Option<&str>) -> Refusal {
    Refusal { status: 400, body: preset::invalid_request(message, param, None), html: false, retry_after: None }
}

fn key_fits(shared: &Shared, headers: &HeaderMap) -> bool {
    let Some(key) = shared.options.api_key.as_deref() else { return true };
    let bearer = || headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    headers.get("api-key").is_some_and(|value| value.as_bytes() == key.as_bytes()) || bearer() == Some(key)
}

fn required(operation: Operation, facts: &Facts) -> Result<(), Refusal> {
    let missing = |text: &Option<Text>| text.is_none_or(|text| text.items == 0);
    match operation {
        Operation::Chat if missing(&facts.messages) => {
            Err(invalid("'messages' is a required property", Some("messages")))
        }
        Operation::Chat if facts.messages.is_some_and(|messages| !messages.is_array) => {
            Err(invalid("Invalid type for 'messages': expected an array of objects.", Some("messages")))
        }
        Operation::Embeddings if missing(&facts.input) => Err(invalid("'input' is a required property", Some("input"))),
        Operation::Responses if missing(&facts.input) => {
            Err(invalid("Missing required parameter: 'input'.", Some("input")))
        }
        Operation::Images if missing(&facts.prompt) => Err(invalid("'prompt' is a required property", Some("prompt"))),
        _ => Ok(()),
    }
}

/// Headers of a refusal.
pub(crate) fn refusal_headers(headers: &mut HeaderMap, refused: &Refused) {
    if let Some(budget) = &refused.budget {
        headers::budget(headers, budget);
    }
    if let Some(wait) = refused.refusal.retry_after {
        headers::retry_after(headers, wait);
    }
    if refused.refusal.html {
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
    }
}
