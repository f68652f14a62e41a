//! What must hold for any bytes: shared by the fuzz targets and by the test that runs the corpora on stable.
//!
//! Each property takes raw input and panics when it is broken. The including file names `openai`.

use std::time::Duration;

use super::openai::operation::{Destination, Speaks, Style};
use super::openai::{answer, facts, operation, sse, throttle};

/// Any chunking of a stream equals the whole. The first byte chooses the chunk size.
pub(super) fn sse(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let size = usize::from(*size).max(1);
    let (mut whole, mut pieces) = (sse::Scanner::new(), sse::Scanner::new());
    whole.feed(stream);
    stream.chunks(size).for_each(|piece| pieces.feed(piece));
    for finish in [false, true] {
        if finish {
            whole.finish();
            pieces.finish();
        }
        assert_eq!(whole.events(), pieces.events());
        assert_eq!(whole.done(), pieces.done());
        assert_eq!(whole.at_boundary(), pieces.at_boundary());
        assert_eq!(whole.usage(), pieces.usage());
        assert_eq!(whole.error(), pieces.error());
    }
    let (mut whole, mut pieces) = (sse::BodyScanner::new(), sse::BodyScanner::new());
    whole.feed(stream);
    stream.chunks(size).for_each(|piece| pieces.feed(piece));
    assert_eq!(whole.usage(), pieces.usage());
}

/// What we accept is JSON, and the model's span is its string.
pub(super) fn facts(data: &[u8]) {
    let _missing = answer::is_deployment_missing(data);
    let _form = facts::from_multipart("multipart/form-data; boundary=XX", data);
    let Ok(found) = facts::from_json(data, false) else { return };
    assert!(std::str::from_utf8(data).is_ok());
    if let Some(model) = found.model {
        let raw = data.get(model.span).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<String>(raw).ok(), Some(model.value));
    }
}

/// Advice is 0 to 24 hours. The first byte chooses the header.
pub(super) fn throttle(data: &[u8]) {
    const NAMES: [&str; 5] = [
        "retry-after-ms",
        "retry-after",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
        "x-rate-limit-reset-tokens",
    ];
    let Some((choice, value)) = data.split_first() else { return };
    let Some(name) = NAMES.get(usize::from(*choice) % NAMES.len()) else { return };
    let Ok(value) = http::HeaderValue::from_bytes(value) else { return };
    let headers = http::HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]);
    let advice = throttle::advice(&headers, 1_700_000_000);
    assert!(advice.is_none_or(|advice| advice.wait <= Duration::from_secs(86_400)));
}

/// A rewritten path reads back as the same operation on the new deployment, with no credential in its query.
pub(super) fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let scrubbed = operation::scrub_query(query);
    assert_eq!(scrubbed.split('&').count(), query.split('&').count());
    let Ok(target) = operation::parse(path) else { return };
    for speaks in [Speaks::Same, Speaks::Classic, Speaks::V1] {
        let Some(style) = target.style_at(speaks) else { continue };
        let to = Destination { base_path: "", style, deployment: Some("b"), api_version: Some("v") };
        let out = operation::rewrite_path(&target, &to, Some(query));
        let (path, query) = out.split_once('?').unwrap_or((&out, ""));
        let keys = || query.split('&').filter_map(|pair| pair.split('=').next());
        assert!(!keys().any(|key| key.eq_ignore_ascii_case("api-key")));
        match operation::parse(path) {
            Ok(back) => {
                assert_eq!((back.style, back.operation, back.rest), (style, target.operation, target.rest));
                let put_in = style == Style::Classic && target.style != style && target.operation.deployment_in_path();
                let kept = style == Style::Classic && target.deployment.is_some();
                assert_eq!(back.deployment.as_deref(), (kept || put_in).then_some("b"));
            }
            Err(problem) => assert!(path.contains('?') || target.rest.contains('?'), "{problem}: {path}"),
        }
    }
}
