//! A client's assertion: a JSON Web Token by which an application proves itself with its certificate, signed here and good for
//! five minutes at one token endpoint.

use crate::config::snapshot::SigningKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair;
use ring::signature::RSA_PSS_SHA256;
use serde_json::{Value, json};

/// How long it is good, seconds.
const LIFE: u64 = 300;
/// How far the clocks may differ, seconds.
const LEEWAY: u64 = 30;

/// The assertion of `client_id` for `audience`; `now` is Unix time in seconds.
pub(super) fn sign(key: &SigningKey, client_id: &str, audience: &str, now: u64) -> Result<String, String> {
    let random = SystemRandom::new();
    let mut id = [0; 16];
    random.fill(&mut id).map_err(|_error| "no random number")?;
    let pair = KeyPair::from_pkcs8(&key.key).or_else(|_error| KeyPair::from_der(&key.key));
    let pair = pair.map_err(|_error| "the key cannot be used")?;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(key.fingerprint)});
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": URL_SAFE_NO_PAD.encode(id),
        "iat": now, "nbf": now.saturating_sub(LEEWAY), "exp": now.saturating_add(LIFE),
    });
    let message = format!("{}.{}", part(&head), part(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature).map_err(|_error| "it cannot be signed")?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
