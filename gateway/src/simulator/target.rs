//! Which operation and deployment a request line means. Decides on the path alone; the body is `facts.rs`.

use super::things;

/// The operations a region knows. Labels are those of stats and of `match.operation` in a fault rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Chat,
    Completions,
    Embeddings,
    Responses,
    /// `/responses/{id}` and below.
    StoredResponse,
    /// Files, threads and what else is kept: `things.rs`.
    Thing,
    Images,
    ImageEdits,
    Transcriptions,
    Translations,
    Speech,
    Models,
    /// `/realtime`, a WebSocket.
    Realtime,
    /// Azure's own health path and every `HEAD`.
    Alive,
    Unknown,
}

impl Operation {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::StoredResponse => "stored_response",
            Self::Thing => "thing",
            Self::Images => "images",
            Self::ImageEdits => "image_edits",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Speech => "speech",
            Self::Models => "models",
            Self::Realtime => "realtime",
            Self::Alive => "alive",
            Self::Unknown => "unknown",
        }
    }

    /// The operation's name in Azure's 429 texts.
    pub(crate) const fn azure_name(self) -> &'static str {
        match self {
            Self::Completions => "Completions_Create",
            Self::Embeddings => "Embeddings_Create",
            Self::Responses | Self::StoredResponse => "Responses_Create",
            Self::Images => "ImageGenerations_Create",
            Self::ImageEdits => "ImageEdits_Create",
            Self::Transcriptions => "Transcriptions_Create",
            Self::Translations => "Translations_Create",
            Self::Speech => "Speech_Create",
            Self::Realtime => "Realtime_Create",
            Self::Chat | Self::Thing | Self::Models | Self::Alive | Self::Unknown => "ChatCompletions_Create",
        }
    }

    /// A probe's request: counted apart from the others.
    pub(crate) const fn is_probe(self) -> bool {
        matches!(self, Self::Models | Self::Alive)
    }

    /// The body is `multipart/form-data`.
    pub(crate) const fn is_multipart(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations | Self::ImageEdits)
    }
}

/// What a request line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) operation: Operation,
    /// From a classic path; v1 names it in the body.
    pub(crate) deployment: Option<&'a str>,
    /// What follows `/responses/` or `/models/`; of a thing, the whole.
    pub(crate) id: Option<&'a str>,
    pub(crate) api_version: Option<&'a str>,
    /// A classic path without `api-version`: Azure answers 404.
    pub(crate) version_missing: bool,
    /// `/openai/v1/…`
    pub(crate) v1: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn parse(method: &http::Method, uri: &'a http::Uri) -> Self {
        let api_version = uri.query().and_then(|query| {
            query.split('&').find_map(|pair| pair.strip_prefix("api-version=")).filter(|version| !version.is_empty())
        });
        let mut target = Self {
            operation: Operation::Unknown,
            deployment: None,
            id: None,
            api_version,
            version_missing: false,
            v1: false,
        };
        if method == http::Method::HEAD || uri.path() == "/status-0123456789abcdef" {
            target.operation = Operation::Alive;
            return target;
        }
        let Some(rest) = uri.path().strip_prefix("/openai/") else { return target };
        let tail = if let Some(tail) = rest.strip_prefix("v1/") {
            target.v1 = true;
            tail
        } else {
            target.version_missing = api_version.is_none();
            match rest.strip_prefix("deployments/").and_then(|rest| rest.split_once('/')) {
                Some((deployment, tail)) => {
                    target.deployment = Some(deployment);
                    tail
                }
                None => rest,
            }
        };
        (target.operation, target.id) = operation(method, tail);
        // A classic deployment operation without a deployment in the path does not exist, and the other way round.
        let needs = !rest.starts_with("v1/") && target.operation.needs_deployment();
        if needs != target.deployment.is_some() && target.operation != Operation::Unknown {
            target.operation = Operation::Unknown;
        }
        if target.operation == Operation::Realtime {
            let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            let key = if target.v1 { "model" } else { "deployment" };
            target.deployment = pairs.into_iter().find(|(own, _)| *own == key).map(|(_, name)| name);
        }
        target
    }
}

impl Operation {
    const fn needs_deployment(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::Completions
                | Self::Embeddings
                | Self::Images
                | Self::ImageEdits
                | Self::Transcriptions
                | Self::Translations
                | Self::Speech
        )
    }
}

fn operation<'a>(method: &http::Method, tail: &'a str) -> (Operation, Option<&'a str>) {
    if let Some(id) = tail.strip_prefix("responses/") {
        return (Operation::StoredResponse, Some(id));
    }
    let makes = tail == "chat/completions" && method == http::Method::POST;
    if !makes && things::is_about(tail) {
        return (Operation::Thing, Some(tail));
    }
    if let Some(id) = tail.strip_prefix("models/") {
        return (Operation::Models, Some(id));
    }
    if tail == "models" && method == http::Method::GET {
        return (Operation::Models, None);
    }
    if tail == "realtime" && method == http::Method::GET {
        return (Operation::Realtime, None);
    }
    if method != http::Method::POST {
        return (Operation::Unknown, None);
    }
    let operation = match tail {
        "chat/completions" => Operation::Chat,
        "completions" => Operation::Completions,
        "embeddings" => Operation::Embeddings,
        "responses" => Operation::Responses,
        "images/generations" => Operation::Images,
        "images/edits" => Operation::ImageEdits,
        "audio/transcriptions" => Operation::Transcriptions,
        "audio/translations" => Operation::Translations,
        "audio/speech" => Operation::Speech,
        _ => Operation::Unknown,
    };
    (operation, None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn target(method: http::Method, text: &'static str) -> (Operation, Option<&'static str>, bool) {
        let uri: &'static http::Uri = Box::leak(Box::new(http::Uri::from_static(text)));
        let target = Target::parse(&method, uri);
        (target.operation, target.deployment, target.version_missing)
    }

    #[test]
    fn classic_and_v1_paths() {
        let post = || http::Method::POST;
        let classic = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21";
        assert_eq!(target(post(), classic), (Operation::Chat, Some("gpt"), false));
        assert_eq!(target(post(), "/openai/deployments/gpt/embeddings"), (Operation::Embeddings, Some("gpt"), true));
        assert_eq!(target(post(), "/openai/v1/chat/completions"), (Operation::Chat, None, false));
        assert_eq!(target(post(), "/openai/chat/completions?api-version=1").0, Operation::Unknown);
        assert_eq!(target(post(), "/openai/responses?api-version=1").0, Operation::Responses);
        assert_eq!(target(http::Method::GET, "/openai/v1/responses/resp_1").0, Operation::StoredResponse);
        assert_eq!(target(http::Method::GET, "/openai/models?api-version=1").0, Operation::Models);
        assert_eq!(target(http::Method::HEAD, "/").0, Operation::Alive);
        assert_eq!(target(http::Method::GET, "/openai/v1/chat/completions").0, Operation::Thing);
        assert_eq!(target(http::Method::GET, "/openai/v1/completions").0, Operation::Unknown);
        assert_eq!(target(post(), "/v1/chat/completions").0, Operation::Unknown);
    }
}
