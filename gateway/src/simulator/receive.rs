//! Reading a request's body: counted, hashed on the way, kept only where its content is needed.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use super::call::Call;

/// Largest body that is kept.
const KEPT_MAX: usize = 64 * 1024 * 1024;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge,
    Broken,
}

/// Reads to the end. `keep`: return the bytes (at most 64 MiB), else nothing; `hash`: report the SHA-256.
pub(crate) async fn receive(mut body: Incoming, call: &mut Call, keep: bool, hash: bool) -> Result<Bytes, Unreadable> {
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut hasher = hash.then(Sha256::new);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Unreadable::Broken) };
        let Ok(data) = frame.into_data() else { continue };
        call.receive(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if let Some(hasher) = &mut hasher {
            hasher.update(&data);
        }
        if !keep {
            continue;
        }
        if first.len() + rest.len() + data.len() > KEPT_MAX {
            return Err(Unreadable::TooLarge);
        }
        // Most bodies come in one frame: no copy then.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    call.received(hasher.map(|hasher| hex(&hasher.finalize())));
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
