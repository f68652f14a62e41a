//! The admin listener: `/metrics` for Prometheus, `/livez` and `/readyz` for load balancers, `/backends`, `/limits`, `/usage` and `/version`
//! for people. Only reads, only GET and HEAD, and shows no secret and no prompt.

mod limits;

use super::Shared;
use crate::domain::{BackendId, Moment};
use crate::state::{BackendReport, Fleet, PoolState};
use crate::telemetry::{Metrics, clock};
use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A client that is slower than this with its request is not waited for; nor is an idle connection.
const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The admin listener as a service of Pingora's server.
#[must_use]
pub fn service(shared: Shared, address: SocketAddr) -> Service<Admin> {
    let mut service = Service::new("admin".to_owned(), Admin { shared });
    service.threads = Some(1);
    service.add_tcp(&address.to_string());
    service
}

/// Answers the admin listener's requests.
#[derive(Clone, Debug)]
pub struct Admin {
    shared: Shared,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        session.set_write_timeout(Some(PATIENCE));
        let request = session.req_header();
        let (method, path) = (request.method.clone(), request.uri.path().to_owned());
        if method != Method::GET && method != Method::HEAD {
            // Whatever body comes along is not read.
            session.set_keepalive(None);
        }
        self.answer(&method, &path)
    }
}

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<Vec<u8>> {
        if method != Method::GET && method != Method::HEAD {
            let body = json!({ "error": "only GET and HEAD are answered here" });
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, JSON, print(&body));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = self.page(path, clock::now());
        if method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }

    fn page(&self, path: &str, now: Moment) -> Response<Vec<u8>> {
        let fleet = self.shared.fleets.load_full();
        match path {
            "/metrics" => {
                gauge(&fleet, &self.shared, now);
                respond(StatusCode::OK, Metrics::CONTENT_TYPE, self.shared.metrics.render())
            }
            "/livez" => respond(StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" => {
                let draining = self.shared.draining.load(Ordering::Acquire);
                let lacking = lacking(&fleet, now);
                let starting = !self.shared.listening.load(Ordering::Acquire);
                let ready = !starting && !draining && lacking.is_empty();
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({ "ready": ready, "starting": starting, "draining": draining, "lacking": lacking });
                respond(status, JSON, print(&body))
            }
            "/backends" => {
                let body = json!({
                    "generation": fleet.snapshot.generation,
                    "digest": fleet.snapshot.digest,
                    "backends": fleet.report(now),
                });
                respond(StatusCode::OK, JSON, print(&body))
            }
            "/limits" => respond(StatusCode::OK, JSON, print(&limits::page(&fleet, now))),
            "/usage" => {
                let mut body = limits::page(&fleet, now);
                if let Some(fields) = body.as_object_mut() {
                    fields.insert("spent".to_owned(), json!(self.shared.metrics.spendings()));
                }
                respond(StatusCode::OK, JSON, print(&body))
            }
            "/version" => {
                let body = json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "generation": fleet.snapshot.generation,
                    "digest": fleet.snapshot.digest,
                });
                respond(StatusCode::OK, JSON, print(&body))
            }
            _ => {
                let pages = ["/metrics", "/livez", "/readyz", "/backends", "/limits", "/usage", "/version"];
                respond(StatusCode::NOT_FOUND, JSON, print(&json!({ "error": "no such page", "pages": pages })))
            }
        }
    }
}

/// The required pools that cannot serve, for people.
fn lacking(fleet: &Fleet, now: Moment) -> Vec<Value> {
    let describe = |state: &PoolState| {
        let count = state.backends().count();
        let unresolved = state.backends().filter(|backend| backend.addresses().count() == 0).count();
        json!({ "pool": state.name().as_str(), "backends": count, "eligible": 0, "unresolved": unresolved })
    };
    fleet.lacking(now).map(describe).collect()
}

/// Sets the gauges that mirror live state, which is cheaper at a scrape than at each change.
fn gauge(fleet: &Fleet, shared: &Shared, now: Moment) {
    shared.metrics.body_memory.set(i64::try_from(shared.memory.held()).unwrap_or(i64::MAX));
    shared.metrics.waf_uncounted(fleet.rates.uncounted());
    let limits = &shared.metrics.limits;
    limits.buckets.set(i64::try_from(fleet.limits.len()).unwrap_or(i64::MAX));
    limits.crowded.inc_by(fleet.limits.crowded().saturating_sub(limits.crowded.get()));
    for pool in &fleet.pools {
        shared.metrics.pool(pool.name()).eligible.set(i64::try_from(pool.eligible_count(now)).unwrap_or(i64::MAX));
    }
    let backends = fleet.snapshot.pools.iter().flat_map(|pool| &pool.backends);
    for (backend, report) in backends.zip(fleet.report(now)) {
        show(&backend.id, &backend.region, &report, &shared.metrics);
    }
}

fn show(id: &BackendId, region: &crate::domain::Region, report: &BackendReport, metrics: &Metrics) {
    let meters = metrics.backend(id, region);
    meters.eligible.set(i64::from(report.eligible));
    let resting = report.until_ms.filter(|_| report.state == "resting");
    meters.resting.set(Duration::from_millis(resting.unwrap_or(0)).as_secs_f64());
    meters.headroom_tokens.set(report.quota.tokens_share());
    meters.headroom_requests.set(report.quota.requests_share());
    meters.utilization.set(report.utilization.unwrap_or(0.0));
    meters.quota_cut.set(i64::from(report.quota.cut));
}

fn print(body: &Value) -> Vec<u8> {
    let mut text = body.to_string().into_bytes();
    text.push(b'\n');
    text
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
