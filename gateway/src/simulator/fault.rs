//! [`FaultRule`]: what goes wrong on purpose, how often, and for which requests. Decides which rule a request meets.
//!
//! Never touches a socket: carrying a fault out is the business of `serve.rs` and `body.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::target::Operation;

/// Rules that may be in force at once.
const RULES_MAX: usize = 64;

/// What goes wrong. "Chunks" are events of a stream (1 = `prompt_filter_results`, 2 = role, 3… = content; 0 = before
/// any), or eighths of a whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Answer with a status.
    Status(StatusFault),
    /// Read the request and say nothing for `for_ms`, then answer; without `for_ms` until the client leaves.
    HangBeforeHeaders {
        /// How long; forever when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Send the header at once and the first byte of the body after `ms`.
    SlowFirstByte {
        /// How long.
        ms: u64,
    },
    /// Fall silent inside the body, for `for_ms` or until the client leaves.
    StallMidStream {
        /// Chunks sent before.
        after_chunks: u64,
        /// How long; forever when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Reset the TCP connection (RST) instead of answering.
    ResetBeforeHeaders {},
    /// Reset the TCP connection (RST) inside the body.
    ResetAfter {
        /// Chunks sent before.
        chunks: u64,
    },
    /// Close the TCP connection (FIN) instead of answering.
    CloseBeforeHeaders {},
    /// End the body short: no last chunk, or fewer bytes than `content-length`; over HTTP/2 a stream reset.
    Truncate {
        /// Chunks sent before.
        after_chunks: u64,
    },
    /// Send the body one byte at a time.
    Drip {
        /// Pause after each byte.
        byte_ms: u64,
    },
    /// An error event inside a 200 stream, which then ends without `[DONE]`.
    ErrorInStream {
        /// Chunks sent before.
        after_chunks: u64,
        /// `no_capacity`, `server_error`, `overload`, `user_error`, `event_error`.
        preset: String,
    },
    /// 200 with a page of HTML.
    #[serde(rename = "html_200")]
    Html200 {},
    /// Refuse connections, as long as the rule is in force. Live connections are closed.
    Refuse {
        /// Leave live connections alone.
        #[serde(default)]
        keep_connections: bool,
        /// Ends by itself after this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Answer before the request's body is read; the body is then read and thrown away.
    EarlyAnswer(StatusFault),
    /// Never read the request's body, never answer.
    NeverRead {},
    /// A `usage` full of nonsense.
    BadUsage {},
    /// Answer, then end the connection in an orderly way (`connection: close`, `GOAWAY`).
    Goaway {},
}

/// The answer of a [`FaultKind::Status`]: a preset, a status of one's own, or a preset with changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusFault {
    /// Name of one of [`super::PRESETS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The preset's when absent, else 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The preset's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Added last, replacing equal names; an empty value takes the header out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Wait for text, `retry-after-ms` and `retry-after` (seconds, rounded up).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// `retry-after` as written: seconds, a float, a date, garbage. Then `retry-after-ms` is sent only if named too.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text_or_number")]
    pub retry_after: Option<String>,
    /// Wait this long before answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl StatusFault {
    /// A preset as it is.
    #[must_use]
    pub fn preset(name: &str) -> Self {
        Self { preset: Some(name.to_owned()), ..Self::default() }
    }

    /// A status with a short JSON error body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The same with an advised wait in milliseconds.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

/// Which requests a rule meets. Absent fields match all, except that probes are met only by `operation` `any`, `alive`
/// or `models`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultMatch {
    /// `chat`, `completions`, `embeddings`, `responses`, `stored_response`, `thing`, `images`, `transcriptions`,
    /// `translations`, `speech`, `models`, `realtime`, `alive`, `unknown`, or `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Whether the request asks for a stream. Not seen by `early_answer` and `never_read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// The deployment's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
}

/// One fault: what, how often, for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRule {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How many times; until removed when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Share of the matching requests, 0 to 1.
    #[serde(default = "whole")]
    pub share: f64,
    /// For whom.
    #[serde(default, rename = "match")]
    pub matching: FaultMatch,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

const fn whole() -> f64 {
    1.0
}

impl FaultRule {
    /// `kind` for every request until removed.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, count: None, share: whole(), matching: FaultMatch::default() }
    }

    /// A preset's answer for every request until removed.
    #[must_use]
    pub fn preset(name: &str) -> Self {
        Self::new(FaultKind::Status(StatusFault::preset(name)))
    }

    /// At most `count` times.
    #[must_use]
    pub const fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// For a share of the matching requests.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// For one operation, by its label, or `any`.
    #[must_use]
    pub fn operation(mut self, label: &str) -> Self {
        self.matching.operation = Some(label.to_owned());
        self
    }

    /// For streams, or for everything else.
    #[must_use]
    pub const fn stream(mut self, stream: bool) -> Self {
        self.matching.stream = Some(stream);
        self
    }
}

/// Why a fault was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not the JSON of a rule, or of a list of rules.
    #[error("not a fault rule: {0}")]
    Shape(String),
    /// No such preset.
    #[error("no preset is named `{0}`")]
    Preset(String),
    /// More rules than may be in force at once.
    #[error("at most {RULES_MAX} fault rules may be in force")]
    TooMany,
}

/// What a request shows to the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) operation: Operation,
    pub(crate) deployment: Option<&'a str>,
    /// Absent while the body is unread.
    pub(crate) stream: Option<bool>,
}

/// The rules in force, in the order of their coming.
#[derive(Debug)]
pub(crate) struct Faults {
    rules: Vec<FaultRule>,
    chance: fastrand::Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), chance: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn add(&mut self, rule: FaultRule) -> Result<(), FaultError> {
        rule.check()?;
        if self.rules.len() >= RULES_MAX {
            return Err(FaultError::TooMany);
        }
        self.rules.push(rule);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn remove_refusals(&mut self) {
        self.rules.retain(|rule| !matches!(rule.kind, FaultKind::Refuse { .. }));
    }

    pub(crate) fn list(&self) -> Vec<FaultRule> {
        self.rules.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// The first matching rule whose draw comes up, used once. `early`: only those that act before the body is read.
    pub(crate) fn draw(&mut self, sight: Sight<'_>, early: bool) -> Option<FaultKind> {
        let chance = &mut self.chance;
        let index = self.rules.iter().position(|rule| {
            rule.kind.is_early() == early
                && !matches!(rule.kind, FaultKind::Refuse { .. })
                && rule.matching.meets(sight)
                && (rule.share >= 1.0 || chance.f64() < rule.share)
        })?;
        let rule = self.rules.get_mut(index)?;
        let kind = rule.kind.clone();
        if let Some(count) = &mut rule.count {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.rules.remove(index);
            }
        }
        Some(kind)
    }
}

impl FaultMatch {
    fn meets(&self, sight: Sight<'_>) -> bool {
        let operation = match self.operation.as_deref() {
            None => !sight.operation.is_probe(),
            Some("any") => true,
            Some(label) => label == sight.operation.label(),
        };
        operation
            && (self.stream.is_none() || sight.stream.is_none() || self.stream == sight.stream)
            && (self.deployment.is_none() || self.deployment.as_deref() == sight.deployment)
    }
}

impl FaultKind {
    const fn is_early(&self) -> bool {
        matches!(self, Self::EarlyAnswer(_) | Self::NeverRead {})
    }
}

impl FaultRule {
    /// One rule or a list of rules from JSON.
    ///
    /// # Errors
    /// [`FaultError::Shape`] with serde's text.
    pub fn parse(json: &[u8]) -> Result<Vec<Self>, FaultError> {
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|e| FaultError::Shape(e.to_string()))?;
        let list = if value.is_array() { value } else { serde_json::Value::Array(vec![value]) };
        serde_json::from_value(list).map_err(|e| FaultError::Shape(e.to_string()))
    }

    /// Whether its presets exist.
    pub(crate) fn check(&self) -> Result<(), FaultError> {
        let unknown = match &self.kind {
            FaultKind::Status(fault) | FaultKind::EarlyAnswer(fault) => {
                fault.preset.as_ref().filter(|name| !super::preset::PRESETS.contains(&name.as_str()))
            }
            FaultKind::ErrorInStream { preset, .. } => {
                Some(preset).filter(|name| super::preset::stream_error(name).is_none())
            }
            _ => None,
        };
        unknown.map_or(Ok(()), |name| Err(FaultError::Preset(name.clone())))
    }
}

#[cfg(test)]
mod tests;
