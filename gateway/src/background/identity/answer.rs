//! What a token endpoint says, taken with suspicion: a token that a header can carry, for a time that can be. What passes is told
//! anew to the credential that asked; nothing else is. Quotes nothing that could be a credential.

use crate::domain::Secret;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Largest answer, bytes; a token with many groups has some kilobytes.
pub(super) const ANSWER_SIZE_MAX: usize = 64 * 1024;
/// Longest token, bytes.
const TOKEN_LENGTH_MAX: usize = 16 * 1024;
/// No token is believed to live longer: then another is got, which costs nothing.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest word of an error that is passed on.
const WORD_LENGTH_MAX: usize = 64;

/// A token as it was got.
#[derive(Debug)]
pub(in crate::background) struct Got {
    /// `Bearer …`, marked sensitive.
    pub(in crate::background) header: HeaderValue,
    /// How long it can be shown.
    pub(in crate::background) life: Duration,
}

impl Got {
    /// Of a token that ends at `end`; both are Unix time in seconds.
    pub(super) fn new(token: &str, end: i64, now: u64) -> Result<Self, String> {
        let header = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut header = header.map_err(|_error| "the token is none that a header could carry".to_owned())?;
        header.set_sensitive(true);
        let life = u64::try_from(end).ok().and_then(|end| end.checked_sub(now)).filter(|life| *life > 0);
        Ok(Self { header, life: Duration::from_secs(life.ok_or("the token has expired already")?) })
    }
}

/// How the credentials of `azure_identity` want to be told of a token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    /// As Entra ID does.
    Directory,
    /// As a machine or App Service does.
    Machine,
    /// As the Azure CLI does.
    Cli,
}

/// A token that can be used, for a time that can be.
#[derive(Debug)]
pub(super) struct Vetted {
    token: Secret,
    life: Duration,
}

impl Vetted {
    /// The answer that says this and nothing more.
    pub(super) fn told(&self, dialect: Dialect, now: u64) -> String {
        let (token, life) = (self.token.expose(), self.life.as_secs());
        let end = now.saturating_add(life);
        let told = match dialect {
            Dialect::Directory => json!({"access_token": token, "token_type": "Bearer", "expires_in": life}),
            Dialect::Machine => {
                json!({"access_token": token, "token_type": "Bearer", "expires_on": end.to_string(), "resource": ""})
            }
            Dialect::Cli => json!({"accessToken": token, "tokenType": "Bearer", "expires_on": end}),
        };
        told.to_string()
    }
}

/// What an endpoint of Entra ID, a machine or the Azure CLI answers.
#[derive(Deserialize)]
struct Told {
    #[serde(alias = "accessToken")]
    access_token: String,
    #[serde(alias = "tokenType")]
    token_type: String,
    expires_in: Option<Value>,
    expires_on: Option<Value>,
}

/// What it answers when it refuses.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_codes: Vec<u64>,
}

/// Takes an answer apart; `now` is Unix time in seconds.
pub(super) fn vet(body: &[u8], now: u64) -> Result<Vetted, String> {
    let told: Told = serde_json::from_slice(body).map_err(|_error| "the answer holds no token".to_owned())?;
    if !told.token_type.eq_ignore_ascii_case("bearer") {
        return Err("the token is of another type than Bearer".to_owned());
    }
    let token = Secret::new(&told.access_token);
    let visible = told.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.expose().is_empty() || token.expose().len() > TOKEN_LENGTH_MAX || !visible {
        return Err("the token is none that a header could carry".to_owned());
    }
    Ok(Vetted { token, life: life(&told, now)? })
}

fn life(told: &Told, now: u64) -> Result<Duration, String> {
    let left = match (&told.expires_in, &told.expires_on) {
        (Some(seconds), _) => whole(seconds),
        (None, Some(end)) => whole(end).map(|end| end.saturating_sub(i128::from(now))),
        (None, None) => return Err("the answer does not say when the token expires".to_owned()),
    };
    let left = left.ok_or("the answer says nonsense about when the token expires")?;
    let left = u64::try_from(left).ok().filter(|left| *left > 0).ok_or("the token has expired already")?;
    Ok(Duration::from_secs(left).min(LIFE_MAX))
}

/// A whole number, as one or as text: the services differ.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.parse::<i64>().ok().map(i128::from),
        _ => None,
    }
}

/// Why it refuses: the status, and the words of the protocol where it says some.
pub(in crate::background) fn refusal(status: u16, body: &[u8]) -> String {
    let told: Refusal = serde_json::from_slice(body).unwrap_or_default();
    // Key Vault and others have a map there.
    let error = told.error.as_str().or_else(|| told.error.get("code").and_then(Value::as_str));
    let is_word = |text: &&str| {
        !text.is_empty()
            && text.len() <= WORD_LENGTH_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    let mut text = format!("status {status}");
    if let Some(error) = error.filter(is_word) {
        text.push_str(&format!(", {error}"));
    }
    if let Some(code) = told.error_codes.first() {
        text.push_str(&format!(", AADSTS{code}"));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn told(rest: &str) -> Result<u64, String> {
        let body = format!(r#"{{"access_token":"abc","token_type":"Bearer"{rest}}}"#);
        vet(body.as_bytes(), NOW).map(|vetted| vetted.life.as_secs())
    }

    #[test]
    fn the_end_of_a_token_is_understood_in_every_way_that_azure_tells_it() {
        for (rest, life) in [
            (r#","expires_in":3599"#, 3599),
            (r#","expires_in":"3599""#, 3599),
            (r#","expires_on":"1000600""#, 600),
            (r#","expires_on":1000600"#, 600),
            (r#","expires_in":3599,"expires_on":"nonsense""#, 3599),
            (r#","expires_in":86401"#, 86_400),
            (r#","expires_in":9223372036854775807"#, 86_400),
            (r#","expires_on":18446744073709551615"#, 86_400),
        ] {
            assert_eq!(told(rest), Ok(life), "{rest}");
        }
    }

    #[test]
    fn an_end_that_cannot_be_is_refused() {
        for rest in [
            "",
            r#","expires_in":0"#,
            r#","expires_in":-5"#,
            r#","expires_in":-9223372036854775808"#,
            r#","expires_in":1.5"#,
            r#","expires_in":1e300"#,
            r#","expires_in":"soon""#,
            r#","expires_in":"99999999999999999999999""#,
            r#","expires_in":[3600]"#,
            r#","expires_on":"1000000""#,
            r#","expires_on":"2099-01-01""#,
            r#","expires_in":null"#,
        ] {
            assert!(told(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn an_answer_that_is_no_token_is_refused_and_not_quoted() {
        let long =
            format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":1}}"#, "a".repeat(16 * 1024 + 1));
        for body in [
            "",
            "canary",
            "[]",
            "null",
            r#"{"access_token":5,"token_type":"Bearer","expires_in":1}"#,
            r#"{"access_token":"canary","expires_in":1}"#,
            r#"{"access_token":"canary","token_type":"mac","expires_in":1}"#,
            r#"{"access_token":"","token_type":"Bearer","expires_in":1}"#,
            r#"{"access_token":"canary\r\nx: y","token_type":"Bearer","expires_in":1}"#,
            r#"{"access_token":"canary canary","token_type":"Bearer","expires_in":1}"#,
            r#"{"access_token":"canäry","token_type":"Bearer","expires_in":1}"#,
            &long,
        ] {
            let why = vet(body.as_bytes(), NOW).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
        let vetted = vet(br#"{"accessToken":"canary","tokenType":"bearer","expires_on":1000009}"#, NOW).unwrap();
        let got = Got::new("canary", 1_000_009, NOW).unwrap();
        assert_eq!((got.header.to_str().unwrap(), got.life), ("Bearer canary", Duration::from_secs(9)));
        let printed = format!("{vetted:?} {got:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn a_refusal_tells_the_words_of_the_protocol_alone() {
        for (body, told) in [
            (
                r#"{"error":"invalid_client","error_description":"canary","error_codes":[7000215]}"#,
                "status 401, invalid_client, AADSTS7000215",
            ),
            (r#"{"error":{"code":"Forbidden","message":"canary"}}"#, "status 401, Forbidden"),
            (r#"{"error":"canary secret 5"}"#, "status 401"),
            ("canary", "status 401"),
        ] {
            assert_eq!(refusal(401, body.as_bytes()), told);
        }
    }
}
