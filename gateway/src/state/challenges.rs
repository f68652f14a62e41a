//! [`Challenges`]: the answers that an ACME server may ask for while a certificate is being obtained. It decides nothing:
//! `background` puts answers here, `proxy` gives them.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Most answers held: names of all orders under way.
const ANSWERS_MAX: usize = 1024;
/// Longest token, in bytes; Let's Encrypt's have 43.
const TOKEN_LENGTH_MAX: usize = 256;

/// Answers by their token; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<HashMap<Box<str>, Bytes>>>);

/// An answer that is given until this is dropped.
#[derive(Debug)]
pub struct Answer {
    token: Box<str>,
    challenges: Challenges,
}

impl Challenges {
    /// Answers `token` from now on; `None` where there are too many answers already, or for what is no token.
    #[must_use]
    pub fn give(&self, token: &str, answer: &str) -> Option<Answer> {
        let mut answers = self.0.lock();
        if answers.len() >= ANSWERS_MAX || !is_token(token) {
            return None;
        }
        answers.insert(token.into(), Bytes::copy_from_slice(answer.as_bytes()));
        Some(Answer { token: token.into(), challenges: self.clone() })
    }

    /// What to answer.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Bytes> {
        if !is_token(token) {
            return None;
        }
        self.0.lock().get(token).cloned()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.challenges.0.lock().remove(&self.token);
    }
}

/// Base64url (RFC 8555, 8.3): nothing that could lead out of a path.
fn is_token(token: &str) -> bool {
    (1..=TOKEN_LENGTH_MAX).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn an_answer_is_given_as_long_as_it_is_held() {
        let challenges = Challenges::default();
        let answer = challenges.give("token-1_A", "token-1_A.print").unwrap();
        assert_eq!(challenges.clone().find("token-1_A").unwrap(), "token-1_A.print");
        assert_eq!(challenges.find("token-2"), None);
        drop(answer);
        assert_eq!(challenges.find("token-1_A"), None);
    }

    #[test]
    fn answers_are_bounded_and_tokens_are_well_formed() {
        let challenges = Challenges::default();
        for bad in ["", "a/b", "..", "a b", "a%2Fb", "\u{e9}", &"a".repeat(TOKEN_LENGTH_MAX + 1)] {
            assert!(challenges.give(bad, "x").is_none() && challenges.find(bad).is_none(), "{bad}");
        }
        let held: Vec<_> = (0..ANSWERS_MAX + 5).filter_map(|n| challenges.give(&n.to_string(), "x")).collect();
        assert_eq!(held.len(), ANSWERS_MAX);
    }
}
