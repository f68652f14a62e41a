//! Refuse: any denial or fault → one answer in OpenAI's shape. The table is `openai::refusal`.

use super::context::{RequestContext, Verdict};
use super::relay::trail;
use crate::openai::refusal::{self, Refusal};
use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;
use pingora_timeout::timeout;
use std::time::Duration;

/// After an early answer we read on at most this long, and end after a pause of this length or this many bytes.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_IDLE: Duration = Duration::from_millis(250);
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Verdict {
    /// What the client sees.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Denied(denial) => denial.into(),
            Self::Faulted(fault) => fault.into(),
        }
    }
}

/// Writes the answer. The connection is kept where the request was read to its end.
pub(super) async fn refuse(session: &mut Session, ctx: &RequestContext, verdict: &Verdict) -> Result<u16> {
    let refusal = verdict.refusal();
    let request_id = ctx.envelope.as_ref().map(|e| e.request_id.clone());
    let body = refusal.body();
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = ResponseHeader::build(status, Some(8))?;
    answer.insert_header(header::CONTENT_TYPE, "application/json")?;
    answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    answer.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(id) = &request_id {
        answer.insert_header("x-request-id", id)?;
    }
    if let Some(wait) = refusal.retry_after {
        answer.insert_header("retry-after-ms", refusal::retry_after_ms(wait))?;
        answer.insert_header(header::RETRY_AFTER, refusal::retry_after(wait))?;
    }
    if let Some(should) = refusal.should_retry {
        answer.insert_header("x-should-retry", if should { "true" } else { "false" })?;
    }
    if ctx.arrival.live.fleet.snapshot.headers.attempts && ctx.attempts.count > 0 {
        answer.insert_header("x-tidegate-attempts", trail(ctx))?;
    }
    let bodiless = session.req_header().method == http::Method::HEAD;
    super::unwrap(session, ctx);
    let client = &mut session.downstream_session;
    let unread = !client.is_body_done();
    if unread {
        // What is left of the request is not read: the connection cannot carry another one.
        client.set_keepalive(None);
    }
    client.write_response_header(Box::new(answer)).await?;
    if bodiless {
        client.finish_body().await?;
    } else {
        client.write_response_body(body, true).await?;
    }
    if unread {
        linger(client).await;
    }
    Ok(refusal.status)
}

/// Reads on for a moment and throws away what comes: a connection that is closed with bytes unread is reset, and the
/// client may lose the answer. Who waits for `100 Continue` sends nothing more; HTTP/2 resets the stream alone.
async fn linger(client: &mut ServerSession) {
    if client.is_http2() || client.get_header(header::EXPECT).is_some() {
        return;
    }
    let discard = async {
        let mut left = LINGER_BYTES_MAX;
        while let Ok(Ok(Some(part))) = timeout(LINGER_IDLE, client.read_request_body()).await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whether the client came to its end or not: the answer is sent.
    let _ = timeout(LINGER, discard).await;
}
