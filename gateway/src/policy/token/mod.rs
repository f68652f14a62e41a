//! Whether a signed token (JWT) proves who calls: `form` takes it apart, `keys` are what its issuer publishes,
//! `issuer` is what the configuration asks of it. Time is an argument, keys are given: nothing here fetches or waits.
//!
//! | # | Asked, in this order | Otherwise |
//! |---|---|---|
//! | 1 | three parts, at most 8 KiB, strict base64url, flat header and claims without repetition | `malformed` |
//! | 2 | no `crit`, `jku`, `jwk`, `x5u`, `x5c`, `b64`, `zip`, `enc`; `typ` absent, `JWT` or `at+jwt` | `header` |
//! | 3 | some configured issuer has this `iss`, and this `aud` | `issuer`, `audience` |
//! | 4 | that issuer has a key of this `kid` | `key_unknown`, `keys_missing` |
//! | 5 | the key's type, not the token, names the algorithms; the token's is one of them | `algorithm` |
//! | 6 | the signature | `signature` |
//! | 7 | `exp` is there and ahead, `nbf` and `iat` are not, all within the leeway | `claims`, `expired`, `not_yet_valid` |
//! | 8 | `tid` is one of the tenants, where they are listed | `tenant` |
//! | 9 | required claims | `scope` |
//! | 10 | a consumer for it | `consumer` |
//! | 11 | a zone for every value of the claim of residency, where one is looked at | `residency` |
//!
//! What is told to the client is one and the same for all of them but the last three ([`Flaw::is_genuine`]); the label goes to log and metric.

mod algorithm;
#[cfg(test)]
mod corpus;
mod form;
mod issuer;
mod keys;
#[cfg(test)]
mod tests;

pub use crate::domain::TokenFlaw as Flaw;
pub use algorithm::{Algorithm, Algorithms};
pub use form::{TOKEN_LENGTH_MAX, Token, looks_like};
pub use issuer::{Admitted, Claim, Issuer, IssuerPattern, Mapping, PLACEHOLDER, Requirement, ResidencyClaim};
pub use keys::{KEYS_MAX, Key, KeySet, KeySetError, SET_SIZE_MAX};
