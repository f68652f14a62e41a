//! [`About`]: what the error in a body, or in an event of a stream, is about, where the header does not tell.
//!
//! Azure tells kinds of 429 apart by its sentences alone. They are looked for, and kept nowhere.

use super::throttle::LONG;
use crate::domain::Throttle;
use serde_json::Value;
use std::time::Duration;

/// Longest beginning of an error's body that is looked at, in bytes.
pub const PREFIX_MAX: usize = 2 * 1024;
/// Longest wait believed.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What an error says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What a 429 is about.
    pub throttle: Option<Throttle>,
    /// The time that its text names.
    pub wait: Option<Duration>,
    /// The region is short of the model, whatever the status.
    pub overloaded: bool,
    /// The content filter has refused.
    pub filtered: bool,
}

/// Reads the beginning of a body. `None`: it does not tell yet; a prefix of [`PREFIX_MAX`] or more always tells.
#[must_use]
pub fn about(prefix: &[u8]) -> Option<About> {
    match serde_json::from_slice::<Value>(prefix) {
        Ok(body) => Some(About::of(body.get("error").unwrap_or(&body))),
        Err(error) if error.is_eof() && prefix.len() < PREFIX_MAX => None,
        Err(_) => Some(About::default()),
    }
}

impl About {
    /// It says nothing.
    pub const NONE: Self = Self { throttle: None, wait: None, overloaded: false, filtered: false };

    /// Reads an error's fields.
    pub(super) fn of(error: &Value) -> Self {
        let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let (code, kind, message) = (text("code"), text("type"), text("message"));
        let inner = ["inner_error", "innererror"].iter().find_map(|key| error.get(*key)?.get("code")?.as_str());
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let is = |words: &[&str]| words.iter().any(|word| code == *word || kind == *word);
        let wait = wait(&message);
        let overloaded = is(&["no_capacity", "overloaded", "overloaded_error"])
            || says(&["high demand", "currently overloaded", "no capacity"]);
        let throttle = if is(&["insufficient_quota"]) || wait.is_some_and(|wait| wait >= LONG) {
            Some(Throttle::DayQuota)
        } else if overloaded {
            Some(Throttle::Capacity)
        } else if says(&["token rate limit", "tokens per minute", "(tpm)"]) {
            Some(Throttle::TokenRate)
        } else if says(&["call rate limit", "request rate limit", "requests per minute", "(rpm)"]) {
            Some(Throttle::CallRate)
        } else if says(&["provisioned"]) {
            Some(Throttle::Provisioned)
        } else {
            None
        };
        let filtered = is(&["content_filter", "responsibleaipolicyviolation"])
            || inner.is_some_and(|code| code.eq_ignore_ascii_case("ResponsibleAIPolicyViolation"));
        Self { throttle, wait, overloaded, filtered }
    }
}

/// `retry after 60 seconds`, as Azure writes it.
fn wait(message: &str) -> Option<Duration> {
    let (_, after) = message.split_once("retry after ")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    let unit = after.strip_prefix(digits)?.trim_start();
    let number: u64 = digits.parse().ok()?;
    let wait = if unit.starts_with("milliseconds") {
        Duration::from_millis(number)
    } else if unit.starts_with("second") {
        Duration::from_secs(number)
    } else {
        return None;
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

    fn error(code: &str, kind: &str, message: &str) -> String {
        serde_json::json!({"error": {"code": code, "type": kind, "message": message, "param": null}}).to_string()
    }

    #[test]
    fn azures_sentences_are_told_apart() {
        use Throttle::{CallRate, Capacity, DayQuota, Provisioned, TokenRate};
        let classic = "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-15-preview have exceeded ";
        let tokens = format!(
            "{classic}token rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds. Please go here"
        );
        let calls =
            format!("{classic}call rate limit of your current OpenAI S0 pricing tier. Please retry after 9 seconds.");
        let bare = format!("{classic}call rate limit of your current OpenAI S0 pricing tier.");
        let newer = "Your requests to gpt-4.1-nano for gpt-4.1-nano in Sweden Central have exceeded the token rate limit for your current AIServices S0 pricing tier.";
        let day = format!("{newer} Please retry after 86400 seconds. Please contact Azure support service");
        let newer = format!("{newer} Please retry after 45 seconds.");
        let short = "The system is currently experiencing high demand and cannot process your request. consider switching to Provisioned Throughput.";
        let overloaded = "That model is currently overloaded with other requests. You can retry your request";
        for (code, kind, message, throttle, wait, is_overloaded) in [
            ("429", "", tokens.as_str(), Some(TokenRate), Some(60), false),
            ("429", "", &calls, Some(CallRate), Some(9), false),
            ("429", "", &bare, Some(CallRate), None, false),
            ("429", "", &newer, Some(TokenRate), Some(45), false),
            ("429", "", &day, Some(DayQuota), Some(86_400), false),
            ("no_capacity", "too_many_requests", short, Some(Capacity), None, true),
            ("", "server_error", overloaded, Some(Capacity), None, true),
            (
                "insufficient_quota",
                "insufficient_quota",
                "You exceeded your current quota",
                Some(DayQuota),
                None,
                false,
            ),
            ("429", "", "The provisioned deployment is at its capacity.", Some(Provisioned), None, false),
            ("429", "", "Slow down.", None, None, false),
            ("InternalServerError", "server_error", "The server had an error", None, None, false),
        ] {
            let want =
                About { throttle, wait: wait.map(Duration::from_secs), overloaded: is_overloaded, filtered: false };
            assert_eq!(about(error(code, kind, message).as_bytes()), Some(want), "{message}");
        }
    }

    #[test]
    fn the_content_filter_is_known_by_its_codes() {
        let inner = r#"{"error":{"code":"400","inner_error":{"code":"ResponsibleAIPolicyViolation"},"message":"x"}}"#;
        let older = r#"{"error":{"code":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
        for (body, filtered) in [
            (error("content_filter", "", "x").as_str(), true),
            (inner, true),
            (older, true),
            (&error("context_length_exceeded", "invalid_request_error", "content_filter"), false),
        ] {
            assert_eq!(about(body.as_bytes()).map(|about| about.filtered), Some(filtered), "{body}");
        }
    }

    #[test]
    fn waits_that_cannot_be_are_none_and_long_ones_a_day() {
        for (text, want) in [
            ("Please retry after 0 seconds.", Some(0)),
            ("retry after 1 second", Some(1)),
            ("retry after 99999999 seconds", Some(86_400)),
            ("retry after 99999999999999999999999999 seconds", None),
            ("retry after -5 seconds", None),
            ("retry after NaN seconds", None),
            ("retry after 5 minutes", None),
            ("retry after ", None),
        ] {
            assert_eq!(wait(&text.to_ascii_lowercase()), want.map(Duration::from_secs), "{text}");
        }
        assert_eq!(wait("retry after 250 milliseconds"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn what_breaks_off_does_not_tell_yet() {
        let whole = error("no_capacity", "too_many_requests", "x");
        for cut in 0..whole.len() {
            assert_eq!(about(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        for body in ["<html>", "null", "[]", "\"no_capacity\"", "7"] {
            assert_eq!(about(body.as_bytes()), Some(About::default()), "{body}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_body_is_survived(body in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}", tail in 0_usize..9) {
            let _unread = about(&body);
            let _unread = about(error(&text, &text, &format!("retry after {text}")).as_bytes());
            let mut long = body;
            long.resize(PREFIX_MAX + tail, b'{');
            prop_assert!(about(&long).is_some());
        }
    }
}
