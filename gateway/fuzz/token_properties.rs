//! What must hold of tokens and key sets for any bytes: shared by the fuzz targets and by the test that runs the corpora on
//! stable.
//!
//! Each property takes raw input and panics when it is broken. The including file names `token`.

use super::token::{Algorithms, Issuer, IssuerPattern, KEYS_MAX, KeySet, Mapping, TOKEN_LENGTH_MAX, Token, looks_like};

/// A public key whose private half nobody has kept.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"}]}"#;

/// No text is admitted by a key that has signed nothing; what is read has the form of a token.
pub(super) fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(token) = Token::read(text) else { return };
    assert!(text.len() <= TOKEN_LENGTH_MAX && looks_like(text));
    let issuer = Issuer {
        names: vec![IssuerPattern::Exact("https://id.example/".into())],
        audiences: vec!["api://tidegate".into()],
        directories: Vec::new(),
        algorithms: Algorithms::ALL,
        requirements: Vec::new(),
        leeway: 60,
        residency: None,
        consumer: Mapping::One(0),
        kept: vec!["azp".into()],
    };
    let Ok(keys) = KeySet::read(KEYS.as_bytes()) else { return };
    assert!(issuer.admit(&token, &keys, 1_800_000_100).is_err());
}

/// A set holds at least one key, and no more than it may.
pub(super) fn jwks(data: &[u8]) {
    if let Ok(keys) = KeySet::read(data) {
        assert!((1..=KEYS_MAX).contains(&keys.len()) && !keys.is_empty());
    }
}
