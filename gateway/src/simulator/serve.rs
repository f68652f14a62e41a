//! A request's life in a region, from top to bottom: count, early faults, read, faults, checks, admission, answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::answer;
use super::api;
use super::body::{Body, Shape, Source, Strike};
use super::call::Call;
use super::clock;
use super::control::Control;
use super::fault::{FaultKind, Sight, StatusFault};
use super::headers;
use super::plan::{self, Request, Wish};
use super::preset;
use super::realtime;
use super::receive::{Unreadable, receive};
use super::responses;
use super::shared::Shared;
use super::socket::{Connection, Cut};
use super::target::{Operation, Target};
use super::things::{Asked, Told};
use super::visit::{Manner, Visit};

/// Page of the `html_200` fault.
const HTML: &str =
    "<!DOCTYPE html>\r\n<html><head><title>Welcome</title></head><body>Please sign in.</body></html>\r\n";

/// Bytes of a piece of a thing's events: they end anywhere.
const PIECE: usize = 37;

/// Answers one request. Does not return where a fault leaves it without an answer.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/_sim/") {
        connection.mark_control();
        return api::answer(&Control { shared }, &head, body).await;
    }
    connection.count_request();
    let now = clock::now();
    let target = Target::parse(&head.method, &head.uri);
    let id = shared.next_id();
    let wish = Wish::read(&head.headers);
    let visit = Visit { shared: &shared, connection: &connection, head: &head, target, wish, id, now };
    let call = Call::begin(&shared, &head, target.operation, now);
    let sight = Sight { operation: target.operation, deployment: target.deployment, stream: None };
    match shared.draw(sight, true) {
        Some(FaultKind::EarlyAnswer(fault)) => {
            // The rest of the body is thrown away behind the answer, so that the client gets to read it.
            tokio::spawn(async move {
                let mut body = body;
                while let Some(Ok(_)) = body.frame().await {}
            });
            visit.status(call, &fault).await
        }
        Some(_) => {
            let _unread = body;
            std::future::pending().await
        }
        None => visit.read(call, body).await,
    }
}

impl Visit<'_> {
    async fn read(&self, mut call: Call, body: Incoming) -> Response<Body> {
        // Only a classic form names its deployment in the path: nothing of it is needed.
        let keep = !(self.target.operation.is_multipart() && self.target.deployment.is_some());
        let body = match receive(body, &mut call, keep, self.shared.options.records_max > 0).await {
            Ok(body) => body,
            Err(Unreadable::TooLarge) => {
                let text = preset::error("413", "Request body too large.");
                return self.answer(call, StatusCode::PAYLOAD_TOO_LARGE, self.headers(), Bytes::from(text));
            }
            Err(Unreadable::Broken) => std::future::pending().await,
        };
        let facts = plan::facts(&self.target, &body);
        let stream = facts.as_ref().is_ok_and(super::facts::Facts::is_stream);
        let model = facts.as_ref().ok().and_then(|facts| facts.model.as_deref());
        let deployment = self.target.deployment.or(model);
        if let Some(name) = deployment {
            call.deployment(name);
        }
        let sight = Sight { operation: self.target.operation, deployment, stream: Some(stream) };
        let fault = self.shared.draw(sight, false);
        let mut manner = Manner::default();
        if let Some(fault) = fault {
            match self.strike(call, fault, &mut manner).await {
                Ok(response) => return response,
                Err(again) => call = again,
            }
        }
        if let Err(refusal) = plan::entrance(self.shared, &self.head.headers, &self.target) {
            return self.refuse(call, &refusal.into());
        }
        if self.target.operation == Operation::Realtime {
            return realtime::open(self, call, manner);
        }
        if let Some(response) = answer::without_plan(self) {
            return self.answer(call, response.0, self.headers(), response.1);
        }
        if self.target.operation == Operation::StoredResponse {
            let (status, body) = responses::stored(self.shared, &self.head.method, self.target.id.unwrap_or_default());
            return self.answer(call, status, self.headers(), body);
        }
        if self.target.operation == Operation::Thing {
            return self.thing(call, &body);
        }
        if self.target.operation == Operation::Responses
            && let Some(refusal) = responses::of_another_region(&body, &self.shared.options.region)
        {
            return self.refuse(call, &refusal.into());
        }
        let spillover = self.head.headers.get("x-ms-spillover-deployment").and_then(|value| value.to_str().ok());
        let request = Request { target: self.target, wish: self.wish, spillover, now: self.now };
        match plan::plan(self.shared, &request, facts) {
            Ok(plan) => answer::answer(self, call, plan, manner).await,
            Err(refused) => self.refuse(call, &refused),
        }
    }

    /// Carries out a fault before the header: an answer, or the call back for one with a changed `manner`.
    async fn strike(&self, mut call: Call, fault: FaultKind, manner: &mut Manner) -> Result<Response<Body>, Call> {
        let strike = |after: u64, strike: Strike| Some((after, strike));
        match fault {
            FaultKind::Status(fault) => return Ok(self.status(call, &fault).await),
            FaultKind::HangBeforeHeaders { for_ms: Some(ms) } => tokio::time::sleep(Duration::from_millis(ms)).await,
            FaultKind::HangBeforeHeaders { for_ms: None } => std::future::pending().await,
            FaultKind::ResetBeforeHeaders {} | FaultKind::CloseBeforeHeaders {} => {
                call.end();
                let reset = fault == FaultKind::ResetBeforeHeaders {};
                self.connection.end(if reset { Cut::Reset } else { Cut::Close });
                std::future::pending().await
            }
            FaultKind::Html200 {} => {
                let mut headers = self.headers();
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                return Ok(self.answer(call, StatusCode::OK, headers, Bytes::from_static(HTML.as_bytes())));
            }
            FaultKind::SlowFirstByte { ms } => manner.shape.first_byte = Some(Duration::from_millis(ms)),
            FaultKind::StallMidStream { after_chunks, for_ms } => {
                manner.shape.strike = strike(after_chunks, Strike::Stall(for_ms.map(Duration::from_millis)));
            }
            FaultKind::ResetAfter { chunks } => manner.shape.strike = strike(chunks, Strike::Reset),
            FaultKind::Truncate { after_chunks } => manner.shape.strike = strike(after_chunks, Strike::Truncate),
            FaultKind::Drip { byte_ms } => manner.shape.drip = Some(Duration::from_millis(byte_ms)),
            FaultKind::ErrorInStream { after_chunks, preset } => {
                manner.shape.strike = preset::stream_error(&preset).map(|event| (after_chunks, Strike::Event(event)));
            }
            FaultKind::BadUsage {} => manner.bad_usage = true,
            FaultKind::Goaway {} => {
                self.connection.end(Cut::Orderly);
                tokio::task::yield_now().await;
            }
            // Drawn elsewhere.
            FaultKind::Refuse { .. } | FaultKind::EarlyAnswer(_) | FaultKind::NeverRead {} => {}
        }
        Err(call)
    }

    async fn status(&self, call: Call, fault: &StatusFault) -> Response<Body> {
        if let Some(ms) = fault.delay_ms {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let seconds = fault.retry_after.as_deref().and_then(|text| text.parse::<u64>().ok()).map(Duration::from_secs);
        let wait = fault.retry_after_ms.map(Duration::from_millis).or(seconds);
        let mut refused = plan::Refused::from(plan::named(
            fault.preset.as_deref().unwrap_or("500"),
            plan::scene(self.shared, &self.target, wait),
        ));
        if let (None, Some(status)) = (&fault.preset, fault.status) {
            refused.refusal.body = preset::error(&status.to_string(), "A simulated fault.");
        }
        let refusal = &mut refused.refusal;
        refusal.status = fault.status.unwrap_or(refusal.status);
        if let Some(body) = &fault.body {
            refusal.body.clone_from(body);
        }
        let mut headers = self.headers();
        plan::refusal_headers(&mut headers, &refused);
        if let Some(text) = &fault.retry_after {
            headers.insert("retry-after", headers::text(text));
            if fault.retry_after_ms.is_none() {
                headers.remove("retry-after-ms");
            }
        }
        for (name, value) in &fault.headers {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            if value.is_empty() {
                headers.remove(&name);
            } else {
                headers.insert(name, headers::text(value));
            }
        }
        let status = StatusCode::from_u16(refused.refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.answer(call, status, headers, Bytes::from(refused.refusal.body))
    }

    fn thing(&self, call: Call, body: &[u8]) -> Response<Body> {
        let region = &self.shared.options.region;
        let asked = Asked {
            method: &self.head.method,
            tail: self.target.id.unwrap_or_default(),
            query: self.head.uri.query().unwrap_or_default(),
            v1: self.target.v1,
            body,
            unique: &answer::unique(self),
            marker: &format!("[{region}/things]"),
            unix: clock::unix_seconds(),
        };
        let told = self.shared.things.lock().answer(asked);
        let mut headers = self.headers();
        match told {
            Told::Json(status, text) => self.answer(call, status, headers, Bytes::from(text)),
            Told::File(content) => {
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                self.answer(call, StatusCode::OK, headers, content)
            }
            Told::Events(events) => {
                headers
                    .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
                self.shaped(call, headers, Source::Pieces(Bytes::from(events), PIECE), Shape::default())
            }
        }
    }

    fn refuse(&self, call: Call, refused: &plan::Refused) -> Response<Body> {
        let mut headers = self.headers();
        plan::refusal_headers(&mut headers, refused);
        let status = StatusCode::from_u16(refused.refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.answer(call, status, headers, Bytes::from(refused.refusal.body.clone()))
    }
}
