//! [`BodyPolicy`]: the shape that the body of an inference request must have. Its text is never searched: a prompt may
//! hold SQL, scripts and shell commands.
//!
//! One pass, and only where a policy is on. What is not JSON at all is noted here and refused by `openai::facts`, as
//! without a policy. Each rule is certain, so one in `prevent` refuses by itself, whatever the score.

mod field;
mod scanner;
mod syntax;

#[cfg(test)]
mod tests;

use super::builtin::Builtin;
use super::finding::{Findings, Mode};
use super::redact::redacted;
use field::Wrong;
use scanner::{Bounds, Stop};

/// Longest media type or key in a finding, in bytes.
const SHOWN_MAX: usize = 64;

const MEDIA_TYPE: &str = "TG-2001";
const NOT_UTF8: &str = "TG-2002";
const NOT_JSON: &str = "TG-2003";
const DEEP: &str = "TG-2004";
const KEYS: &str = "TG-2005";
const REPEATED: &str = "TG-2006";
const TYPE: &str = "TG-2007";
const RANGE: &str = "TG-2008";
const UNKNOWN: &str = "TG-2009";

/// The shape that a body must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPolicy {
    /// Media types that pass, lower case, without parameters.
    pub media_types: Vec<String>,
    /// Deepest nesting.
    pub depth_max: usize,
    /// Keys of all objects together.
    pub keys_max: usize,
    /// Longest `model`, in bytes.
    pub model_length_max: usize,
    /// Most `messages`.
    pub messages_max: usize,
    /// Most entries of `input`.
    pub input_max: usize,
    /// Largest `n`.
    pub n_max: u64,
    /// Largest `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub max_tokens_max: u64,
    /// What becomes of top-level fields that are not known.
    pub unknown_keys: UnknownKeys,
    /// More top-level fields that are known.
    pub known_keys: Vec<String>,
}

/// What becomes of top-level fields that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKeys {
    /// They pass.
    Allow,
    /// They pass and are noted.
    Log,
    /// The request is refused.
    Deny,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The rule.
    pub rule: &'static str,
    /// It is the media type, not the body.
    pub media_type: bool,
    /// What is wrong, for the client: a sentence without its end.
    pub what: String,
}

impl BodyPolicy {
    /// Adds what is wrong with a body to `findings`, and says whether it is refused. Modes, scores and excluded fields
    /// are those of `builtin`.
    #[must_use]
    pub fn judge(
        &self,
        content_type: Option<&[u8]>,
        body: &[u8],
        builtin: &Builtin,
        findings: &mut Findings,
    ) -> Option<Refused> {
        let mut judgement = Judgement { policy: self, builtin, findings, refused: None };
        match self.media(content_type) {
            Media::Form => {}
            Media::Text => judgement.text(body),
            Media::Refused => {
                let sent = content_type.unwrap_or(b"(none)");
                let what = "the media type of the body is not accepted; send application/json".to_owned();
                judgement.note((MEDIA_TYPE, Mode::Prevent), "RequestHeader:content-type", shown(sent), what);
            }
        }
        judgement.refused
    }

    fn media(&self, content_type: Option<&[u8]>) -> Media {
        let text = content_type.and_then(|sent| std::str::from_utf8(sent).ok()).unwrap_or_default();
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim();
        if !self.media_types.iter().any(|allowed| essence.eq_ignore_ascii_case(allowed)) {
            return Media::Refused;
        }
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            return Media::Form;
        }
        let charset = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let mut charset = charset.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        if charset.all(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
            Media::Text
        } else {
            Media::Refused
        }
    }
}

/// How a body is read.
enum Media {
    Text,
    Form,
    Refused,
}

/// One body under judgement.
struct Judgement<'j> {
    policy: &'j BodyPolicy,
    builtin: &'j Builtin,
    findings: &'j mut Findings,
    refused: Option<Refused>,
}

impl Judgement<'_> {
    fn text(&mut self, body: &[u8]) {
        if let Err(error) = std::str::from_utf8(body) {
            self.builtin.note((NOT_UTF8, Mode::Prevent), "RequestBody", at(error.valid_up_to()), self.findings);
            return;
        }
        let bounds = Bounds { depth: self.policy.depth_max, keys: self.policy.keys_max };
        let scan = scanner::scan(body, bounds);
        match scan.stopped {
            Some(Stop::Syntax(place)) => {
                self.builtin.note((NOT_JSON, Mode::Prevent), "RequestBody", at(place), self.findings);
                return;
            }
            Some(Stop::Depth) => {
                let what = format!("the body is nested deeper than {} levels", bounds.depth);
                self.note((DEEP, Mode::Prevent), "RequestBody", String::new(), what);
            }
            Some(Stop::Keys) => {
                let what = format!("the body has more than {} keys, or 256 at its top", bounds.keys);
                self.note((KEYS, Mode::Prevent), "RequestBody", String::new(), what);
            }
            None => {}
        }
        if let Some(place) = scan.repeated {
            let key = shown(body.get(place.clone()).unwrap_or_default());
            let what = format!("the key `{key}` is there twice in one object (byte {})", place.start);
            self.note((REPEATED, Mode::Prevent), "RequestBody", key, what);
        }
        for member in &scan.members {
            self.member(member);
        }
    }

    fn member(&mut self, member: &scanner::Member<'_>) {
        let name = || shown(&member.key);
        let variable = || format!("RequestBody:{}", name());
        let (rule, what) = match field::check(member, self.policy) {
            Some(Wrong::Kind(expected)) => (TYPE, format!("`{}` must be {expected}", name())),
            Some(Wrong::Range(range)) => (RANGE, format!("`{}` {range}", name())),
            None if field::is_known(&member.key, self.policy) => return,
            None => {
                let cap = match self.policy.unknown_keys {
                    UnknownKeys::Allow => return,
                    UnknownKeys::Log => Mode::Detect,
                    UnknownKeys::Deny => Mode::Prevent,
                };
                if !self.builtin.excludes_field(UNKNOWN, &member.key) {
                    let what = format!("`{}` is not a field of this request", name());
                    self.note((UNKNOWN, cap), &variable(), String::new(), what);
                }
                return;
            }
        };
        if !self.builtin.excludes_field(rule, &member.key) {
            self.note((rule, Mode::Prevent), &variable(), String::new(), what);
        }
    }

    fn note(&mut self, rule: (&'static str, Mode), variable: &str, data: String, what: String) {
        let mode = self.builtin.note(rule, variable, data, self.findings);
        if mode == Mode::Prevent && self.refused.is_none() {
            self.refused = Some(Refused { rule: rule.0, media_type: rule.0 == MEDIA_TYPE, what });
        }
    }
}

fn shown(text: &[u8]) -> String {
    redacted(text, 0..text.len(), SHOWN_MAX)
}

fn at(place: usize) -> String {
    format!("byte {place}")
}
