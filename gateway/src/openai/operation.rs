//! [`parse`]: from a request path to style, operation and deployment; [`rewrite_path()`]: back, for one backend.
//!
//! Both sides see the same path: escapes are decoded before anything is compared, and whatever a backend might
//! normalise differently (dot segments, empty segments, control characters) is refused. It never decides a route.

use std::borrow::Cow;

use http::Method;
use memchr::memchr;

use crate::domain::Denial;

pub(super) mod percent;
mod query;
mod translate;

pub use query::{
    api_version_in_query, deployment_in_query, parameters, scrub_query, without_credentials, without_parameters,
};
pub use translate::{Destination, Speaks, rewrite_path};

/// Longest deployment name in a path or a query, in bytes after decoding.
const DEPLOYMENT_LENGTH_MAX: usize = 256;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Family of URL shapes.
    pub style: Style,
    /// The call.
    pub operation: Operation,
    /// Deployment named in the path, percent-decoded. Names in bodies and queries are found elsewhere.
    pub deployment: Option<Cow<'a, str>>,
    /// The path after `/openai/deployments/{d}`, `/openai/v1`, `/v1` or `/openai`, as received; the whole path for
    /// [`Style::Other`].
    pub rest: &'a str,
}

/// A [`Target`] without what it borrows: enough to have it again from the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    style: Style,
    operation: Operation,
    named: bool,
    rest_at: usize,
}

/// Family of URL shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// `/openai/deployments/{d}/…` and the rest of `/openai/…`, with `api-version` in the query.
    Classic,
    /// `/openai/v1/…`, and `/v1/…` for clients that were given `…/v1` as their base: the deployment is `model`.
    V1,
    /// Anything else.
    Other,
}

/// The call a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `/chat/completions`
    ChatCompletions,
    /// `/completions`
    Completions,
    /// `/embeddings`
    Embeddings,
    /// `/responses` and `/responses/compact`; calls on one stored response are [`Operation::Other`] and bound.
    Responses,
    /// `/images/generations`
    ImagesGenerations,
    /// `/images/edits`
    ImagesEdits,
    /// `/audio/transcriptions`
    AudioTranscriptions,
    /// `/audio/translations`
    AudioTranslations,
    /// `/audio/speech`
    AudioSpeech,
    /// `/models` and `/models/{m}`; classic also `/deployments` and `/deployments/{d}`
    Models,
    /// `/realtime`, a WebSocket
    Realtime,
    /// Any other call.
    Other,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PathProblem {
    /// What is wrong, for the message.
    pub what: &'static str,
}

impl From<PathProblem> for Denial {
    fn from(problem: PathProblem) -> Self {
        Self::BadPath { what: problem.what }
    }
}

/// Reads a request path, without its query.
///
/// # Errors
/// [`PathProblem`] for bad escapes, text that is not UTF-8, dot segments, empty segments, control characters and
/// malformed deployments.
pub fn parse(path: &str) -> Result<Target<'_>, PathProblem> {
    let decoded = percent::decode(path).ok_or(PathProblem { what: "a percent escape is malformed or not UTF-8" })?;
    screen(&decoded)?;
    if let Some(rest) = after_segment(path, "openai") {
        if let Some(rest) = after_segment(rest, "v1") {
            return Ok(Target { style: Style::V1, operation: Operation::of(rest), deployment: None, rest });
        }
        return classic(rest);
    }
    if let Some(rest) = after_segment(path, "v1") {
        return Ok(Target { style: Style::V1, operation: Operation::of(rest), deployment: None, rest });
    }
    Ok(Target { style: Style::Other, operation: Operation::Other, deployment: None, rest: path })
}

impl Shape {
    /// Family of the URL.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    /// The target again. `path` is the one that was parsed, `deployment` what it names where it names one.
    #[must_use]
    pub fn target<'a>(&self, path: &'a str, deployment: Option<&'a str>) -> Target<'a> {
        Target {
            style: self.style,
            operation: self.operation,
            deployment: deployment.filter(|_| self.named).map(Cow::Borrowed),
            rest: path.get(self.rest_at..).unwrap_or_default(),
        }
    }
}

impl Target<'_> {
    /// What of this target outlives `path`, the one that it was parsed from.
    #[must_use]
    pub fn shape(&self, path: &str) -> Shape {
        let rest_at = path.len().saturating_sub(self.rest.len());
        Shape { style: self.style, operation: self.operation, named: self.deployment.is_some(), rest_at }
    }

    /// What the method makes of it: chat completions are made by POST; any other call there is about those that are stored.
    #[must_use]
    pub fn asked_by(self, method: &Method) -> Self {
        let stored = self.operation == Operation::ChatCompletions && method != Method::POST;
        Self { operation: if stored { Operation::Other } else { self.operation }, ..self }
    }

    /// The kind of stored thing this path addresses, when one resource owns it: another backend cannot answer.
    #[must_use]
    pub fn bound(&self) -> Option<&'static str> {
        const FAMILIES: [&str; 13] = [
            "chat",
            "responses",
            "conversations",
            "assistants",
            "threads",
            "vector_stores",
            "files",
            "uploads",
            "batches",
            "fine_tuning",
            "evals",
            "containers",
            "videos",
        ];
        if self.style == Style::Other || self.operation != Operation::Other {
            return None;
        }
        let rest = percent::decode(self.rest)?;
        let first = rest.trim_start_matches('/').split('/').next()?;
        FAMILIES.into_iter().find(|family| *family == first)
    }
}

impl Operation {
    /// Every operation, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::ImagesGenerations,
        Self::ImagesEdits,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::AudioSpeech,
        Self::Models,
        Self::Realtime,
        Self::Other,
    ];

    /// Label in metrics and access log: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::ImagesGenerations => "images_generations",
            Self::ImagesEdits => "images_edits",
            Self::AudioTranscriptions => "audio_transcriptions",
            Self::AudioTranslations => "audio_translations",
            Self::AudioSpeech => "audio_speech",
            Self::Models => "models",
            Self::Realtime => "realtime",
            Self::Other => "other",
        }
    }

    /// Without a deployment in the path, the body's `model` (a JSON field or a form part) names it.
    #[must_use]
    pub const fn model_in_body(self) -> bool {
        !matches!(self, Self::Models | Self::Realtime | Self::Other)
    }

    fn of(rest: &str) -> Self {
        let decoded = percent::decode(rest).unwrap_or_default();
        match decoded.strip_suffix('/').unwrap_or(&decoded) {
            "/chat/completions" => Self::ChatCompletions,
            "/completions" => Self::Completions,
            "/embeddings" => Self::Embeddings,
            "/responses" | "/responses/compact" => Self::Responses,
            "/images/generations" => Self::ImagesGenerations,
            "/images/edits" => Self::ImagesEdits,
            "/audio/transcriptions" => Self::AudioTranscriptions,
            "/audio/translations" => Self::AudioTranslations,
            "/audio/speech" => Self::AudioSpeech,
            "/realtime" => Self::Realtime,
            "/models" | "/deployments" => Self::Models,
            other if other.strip_prefix("/models/").is_some_and(|id| !id.contains('/')) => Self::Models,
            _ => Self::Other,
        }
    }
}

/// `rest` is what follows `/openai`.
fn classic(rest: &str) -> Result<Target<'_>, PathProblem> {
    let Some(named) = after_segment(rest, "deployments").and_then(|named| named.strip_prefix('/')) else {
        return Ok(Target { style: Style::Classic, operation: Operation::of(rest), deployment: None, rest });
    };
    let end = memchr(b'/', named.as_bytes()).unwrap_or(named.len());
    let (raw, rest) = named.split_at_checked(end).unwrap_or((named, ""));
    let deployment = percent::decode(raw).unwrap_or_default();
    check_deployment(&deployment)?;
    let operation = if rest.is_empty() { Operation::Models } else { Operation::of(rest) };
    Ok(Target { style: Style::Classic, operation, deployment: Some(deployment), rest })
}

fn check_deployment(name: &str) -> Result<(), PathProblem> {
    if name.is_empty() {
        return Err(PathProblem { what: "the deployment name is empty" });
    }
    if name.len() > DEPLOYMENT_LENGTH_MAX {
        return Err(PathProblem { what: "the deployment name is longer than 256 bytes" });
    }
    if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err(PathProblem { what: "the deployment name holds a slash or a control character" });
    }
    Ok(())
}

/// Refuses what another server might read as a different path. `decoded` is the path without escapes.
fn screen(decoded: &str) -> Result<(), PathProblem> {
    let bytes = decoded.as_bytes();
    if bytes.iter().any(u8::is_ascii_control) || (!decoded.is_ascii() && decoded.chars().any(char::is_control)) {
        return Err(PathProblem { what: "the path holds a control character" });
    }
    if bytes.windows(2).any(|pair| pair == b"//") {
        return Err(PathProblem { what: "the path holds an empty segment (`//`)" });
    }
    let dotted = memchr(b'.', bytes).is_some();
    if dotted && decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err(PathProblem { what: "the path holds a `.` or `..` segment" });
    }
    Ok(())
}

/// What follows when the first segment of `path`, decoded, is `name`: empty, or it begins with a slash.
fn after_segment<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let inner = path.strip_prefix('/')?;
    let (segment, rest) = inner.split_at_checked(memchr(b'/', inner.as_bytes()).unwrap_or(inner.len()))?;
    (segment == name || percent::decode(segment)? == name).then_some(rest)
}

#[cfg(test)]
mod tests;
