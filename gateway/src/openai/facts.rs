//! [`from_json`] and [`from_multipart`]: what routing and accounting need to know about a body, and nothing more.
//!
//! The whole body is validated once, values that do not matter are skipped without a copy, and nothing is judged that
//! the backend judges better (`messages`, ranges, unknown fields).

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::Denial;

mod multipart;

pub use multipart::{Part, from_multipart, front_part, parts};

/// Longest `model`, in bytes after unescaping.
const MODEL_LENGTH_MAX: usize = 256;
/// The same as written: every byte as a `\u00xx` escape, and two quotes.
const MODEL_RAW_LENGTH_MAX: usize = MODEL_LENGTH_MAX * 6 + 2;

/// What a body says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `model`, and where it stands.
    pub model: Option<ModelField>,
    /// The client wants a stream.
    pub stream: bool,
    /// The client wants the usage chunk at the end of a stream.
    pub include_usage: bool,
    /// Where the value of `stream_options` stands.
    pub stream_options: Option<Range<usize>>,
    /// The backend is to look things up in the client's own data: `data_sources`.
    pub own_data: bool,
    /// The largest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub max_tokens: Option<u64>,
    /// Answers asked for, `best_of` included: the larger of both.
    pub n: Option<u64>,
    /// The field that ties the request to state on one backend: `previous_response_id`, `conversation` or
    /// `background`.
    pub bound: Option<&'static str>,
    /// `store`, where it says something: whether the answer is to be stored. Without it responses are.
    pub store: Option<bool>,
    /// Where the value of `prompt_cache_key` stands.
    pub cache_key: Option<Range<usize>>,
    /// The same of `conversation`, or else of `user`.
    pub talk: Option<Range<usize>>,
    /// The same of what the model is to read: `messages`, `input` or `prompt`.
    pub prompt: Option<Range<usize>>,
}

/// The `model` of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelField {
    /// Its value, unescaped: 1 to 256 bytes without control characters.
    pub value: String,
    /// Its bytes in the body: a JSON string with its quotes, or the raw value of a form part.
    pub span: Range<usize>,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsProblem {
    /// No JSON object, or one that breaks off.
    #[error("{what}")]
    Json {
        /// What is wrong and where; never a piece of the body.
        what: String,
    },
    /// A field is missing, repeated or of the wrong type.
    #[error("`{param}`: {what}")]
    Field {
        /// The field.
        param: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A multipart body that cannot be read.
    #[error("{what}")]
    Multipart {
        /// What is wrong.
        what: &'static str,
    },
}

impl FactsProblem {
    /// The refusal of a request whose deployment is in its body, and is not there.
    pub const MODEL_MISSING: Self = Self::Field { param: "model", what: "is required: it names the deployment" };
}

impl From<FactsProblem> for Denial {
    fn from(problem: FactsProblem) -> Self {
        match problem {
            FactsProblem::Json { what } => Self::BadJson { what },
            FactsProblem::Field { param, what } => Self::BadField { param, what },
            FactsProblem::Multipart { what } => Self::BadMultipart { what },
        }
    }
}

/// Reads a JSON body: one UTF-8 object and nothing after it, checked to the end. Nesting costs one byte a level and
/// no stack. With `require_model`, the deployment is in `model`; without, an empty `model` counts as none.
///
/// # Errors
/// [`FactsProblem`] when the body is no JSON object, or one of the fields that we act on is repeated or of the wrong
/// type.
pub fn from_json(body: &[u8], require_model: bool) -> Result<Facts, FactsProblem> {
    if body.is_empty() {
        return Err(FactsProblem::Json { what: "the body is empty".to_owned() });
    }
    // Skipped strings are not checked for UTF-8 by the parser.
    let text = std::str::from_utf8(body).map_err(|error| FactsProblem::Json {
        what: format!("the body is not UTF-8 at byte {}", error.valid_up_to()),
    })?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
    if let Some(param) = fields.repeated {
        return Err(FactsProblem::Field { param, what: "is given twice" });
    }
    let model = match fields.model {
        Some(raw) => model_field(body, raw, require_model)?,
        None => None,
    };
    if require_model && model.is_none() {
        return Err(FactsProblem::MODEL_MISSING);
    }
    let stream = match fields.stream.map(RawValue::get) {
        Some("true") => true,
        Some("false" | "null") | None => false,
        Some(_) => return Err(FactsProblem::Field { param: "stream", what: "must be true, false or null" }),
    };
    Ok(Facts {
        model,
        stream,
        include_usage: fields.include_usage,
        stream_options: fields.stream_options.map(|raw| span(body, raw)),
        own_data: fields.own_data,
        max_tokens: fields.max_tokens,
        n: fields.n,
        bound: fields.bound,
        store: fields.store,
        cache_key: fields.cache_key.map(|raw| span(body, raw)),
        talk: fields.conversation.or(fields.user).map(|raw| span(body, raw)),
        prompt: fields.prompt.map(|raw| span(body, raw)),
    })
}

/// A text without what the parser quotes from the body.
fn json_problem(error: &serde_json::Error) -> FactsProblem {
    let what = if error.is_data() { "the body must be one JSON object".to_owned() } else { error.to_string() };
    FactsProblem::Json { what }
}

fn model_field(body: &[u8], raw: &RawValue, required: bool) -> Result<Option<ModelField>, FactsProblem> {
    let problem = |what| FactsProblem::Field { param: "model", what };
    let text = raw.get();
    if text == "null" || (text == "\"\"" && !required) {
        return Ok(None);
    }
    if !text.starts_with('"') {
        return Err(problem("must be a string"));
    }
    if text.len() > MODEL_RAW_LENGTH_MAX {
        return Err(problem("is longer than 256 bytes"));
    }
    let value: String =
        serde_json::from_str(text).map_err(|_error: serde_json::Error| problem("holds an unpaired surrogate"))?;
    check_model(&value)?;
    Ok(Some(ModelField { value, span: span(body, raw) }))
}

/// `raw` borrows from `body`: the difference of the addresses is its place.
pub(super) fn span(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start.saturating_add(raw.get().len())
}

fn check_model(value: &str) -> Result<(), FactsProblem> {
    let what = if value.is_empty() {
        "must not be empty"
    } else if value.len() > MODEL_LENGTH_MAX {
        "is longer than 256 bytes"
    } else if value.chars().any(char::is_control) {
        "holds a control character"
    } else {
        return Ok(());
    };
    Err(FactsProblem::Field { param: "model", what })
}

/// The fields we act on, as they stand in the body.
#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Option<&'a RawValue>,
    include_usage: bool,
    own_data: bool,
    max_tokens: Option<u64>,
    n: Option<u64>,
    bound: Option<&'static str>,
    store: Option<bool>,
    cache_key: Option<&'a RawValue>,
    conversation: Option<&'a RawValue>,
    user: Option<&'a RawValue>,
    prompt: Option<&'a RawValue>,
    repeated: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: Key, raw: &'a RawValue) {
        match key {
            Key::Model if self.model.replace(raw).is_some() => self.repeated = Some("model"),
            Key::Stream if self.stream.replace(raw).is_some() => self.repeated = Some("stream"),
            Key::StreamOptions if self.stream_options.replace(raw).is_some() => self.repeated = Some("stream_options"),
            Key::StreamOptions => self.include_usage = StreamOptions::wants_usage(raw),
            Key::OwnData => self.own_data = raw.get() != "null",
            // The largest ceiling counts: an estimate must not be talked down by a second field.
            Key::Ceiling => self.max_tokens = self.max_tokens.max(number(raw)),
            Key::N => self.n = self.n.max(number(raw)),
            Key::Bound(name) if raw.get() != "null" => {
                self.bound = Some(name);
                if name == "conversation" {
                    self.conversation = Some(raw);
                }
            }
            Key::Background if raw.get() == "true" => self.bound = Some("background"),
            // What is stored by one reading is stored.
            Key::Store => self.store = self.store.max(raw.get().parse().ok()),
            Key::Cache if is_text(raw) => self.cache_key = Some(raw),
            Key::User if is_text(raw) => self.user = Some(raw),
            Key::Prompt => self.prompt = Some(raw),
            Key::Model | Key::Stream | Key::Bound(_) | Key::Background | Key::Cache | Key::User | Key::Other => {}
        }
    }
}

/// A string that says something.
fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"') && raw.get().len() > 2
}

/// A whole number, or nothing: what else may stand there is the backend's to judge.
fn number(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Other => drop(map.next_value::<IgnoredAny>()?),
                        key => fields.take(key, map.next_value::<&'de RawValue>()?),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A top-level key, as far as we care.
#[derive(Clone, Copy)]
enum Key {
    Model,
    Stream,
    StreamOptions,
    OwnData,
    Ceiling,
    N,
    Bound(&'static str),
    Background,
    Store,
    Cache,
    User,
    Prompt,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "model" => Key::Model,
                    "stream" => Key::Stream,
                    "stream_options" => Key::StreamOptions,
                    "data_sources" | "dataSources" => Key::OwnData,
                    "max_tokens" | "max_completion_tokens" | "max_output_tokens" => Key::Ceiling,
                    "n" | "best_of" => Key::N,
                    "previous_response_id" => Key::Bound("previous_response_id"),
                    "conversation" => Key::Bound("conversation"),
                    "background" => Key::Background,
                    "store" => Key::Store,
                    "prompt_cache_key" => Key::Cache,
                    "user" => Key::User,
                    "messages" | "input" | "prompt" => Key::Prompt,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Text)
    }
}

/// `stream_options`, of which one flag matters.
#[derive(serde::Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

impl StreamOptions {
    fn wants_usage(raw: &RawValue) -> bool {
        serde_json::from_str::<Option<Self>>(raw.get())
            .ok()
            .flatten()
            .and_then(|options| options.include_usage)
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
