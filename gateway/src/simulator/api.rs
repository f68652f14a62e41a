//! `/_sim/…`: the control of a region for other processes, on the region's own port.
//!
//! `GET /_sim/stats[?records=N]` · `GET`, `POST`, `DELETE /_sim/fault` · `POST /_sim/reset` · `POST /_sim/latency` (ms).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::body::Body;
use super::control::Control;
use super::fault::FaultRule;
use super::options::{Latency, RECORDS_MAX};
use super::visit::response;

/// Longest control body.
const BODY_MAX: usize = 1024 * 1024;

/// A latency in milliseconds.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LatencyMs {
    connect: u64,
    first_token: u64,
    per_token: u64,
    jitter: f64,
}

/// Answers one control request.
pub(crate) async fn answer(control: &Control, head: &http::request::Parts, body: Incoming) -> Response<Body> {
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": "unreadable body"}));
    };
    match act(control, head, &body.to_bytes()) {
        Ok(document) => json(StatusCode::OK, &document),
        Err((status, error)) => json(status, &serde_json::json!({ "error": error })),
    }
}

fn act(control: &Control, head: &http::request::Parts, body: &[u8]) -> Result<serde_json::Value, (StatusCode, String)> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/_sim/stats") => {
            let query = head.uri.query().unwrap_or_default();
            let records = query.split('&').find_map(|pair| pair.strip_prefix("records="));
            let records = records.and_then(|text| text.parse().ok()).unwrap_or(RECORDS_MAX);
            serde_json::to_value(control.stats_with(records)).map_err(|e| bad(&e))
        }
        (&Method::GET, "/_sim/fault") => serde_json::to_value(control.faults()).map_err(|e| bad(&e)),
        (&Method::POST, "/_sim/fault") => {
            for rule in FaultRule::parse(body).map_err(|e| bad(&e))? {
                control.add_fault(rule).map_err(|e| bad(&e))?;
            }
            serde_json::to_value(control.faults()).map_err(|e| bad(&e))
        }
        (&Method::DELETE, "/_sim/fault") => {
            control.clear_faults();
            Ok(serde_json::json!([]))
        }
        (&Method::POST, "/_sim/reset") => {
            control.reset();
            Ok(serde_json::json!({}))
        }
        (&Method::POST, "/_sim/latency") => {
            let ms: LatencyMs = serde_json::from_slice(body).map_err(|e| bad(&e))?;
            control.set_latency(Latency {
                connect: Duration::from_millis(ms.connect),
                first_token: Duration::from_millis(ms.first_token),
                per_token: Duration::from_millis(ms.per_token),
                jitter: ms.jitter,
            });
            Ok(serde_json::json!({}))
        }
        _ => Err((StatusCode::NOT_FOUND, "no such control path".to_owned())),
    }
}

fn json(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response(status, headers, Body::Whole(Bytes::from(document.to_string())))
}
