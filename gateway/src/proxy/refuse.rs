//! Refuse: any denial or fault → one answer in OpenAI's shape; the table is `openai::refusal`. Preflights,
//! redirects and what ACME servers ask for are written here too.

use super::context::{Reply, RequestContext, Verdict};
use super::cors;
use super::header as fields;
use super::limits;
use super::relay::trail;
use super::rules;
use crate::openai::refusal::{self, Refusal};
use bytes::Bytes;
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
    /// What the client sees of a denial or fault.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Denied(denial) => Some(denial.into()),
            Self::Faulted(fault) => Some(fault.into()),
            Self::Answered(_) => None,
        }
    }
}

/// Writes the answer. The connection is kept where the request was read to its end.
pub(super) async fn refuse(session: &mut Session, ctx: &RequestContext, verdict: &Verdict) -> Result<u16> {
    let (mut answer, body) = match verdict {
        Verdict::Denied(denial) => refused(ctx, &denial.into())?,
        Verdict::Faulted(fault) => refused(ctx, &fault.into())?,
        Verdict::Answered(reply) => answered(reply)?,
    };
    if let Some(envelope) = &ctx.envelope {
        answer.insert_header("x-request-id", &envelope.request_id)?;
    }
    if ctx.limited.is_some() {
        fields::of_response(&mut answer, |headers| limits::tell(ctx, headers));
    }
    cors::mark(ctx, session.req_header(), &mut answer)?;
    rules::mark(ctx, session, &mut answer)?;
    let status = answer.status.as_u16();
    let bodiless = session.req_header().method == http::Method::HEAD || body.is_empty();
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
    Ok(status)
}

/// A denial or fault, in OpenAI's shape.
fn refused(ctx: &RequestContext, refusal: &Refusal) -> Result<(ResponseHeader, Bytes)> {
    let body = refusal.body();
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = ResponseHeader::build(status, Some(8))?;
    answer.insert_header(header::CONTENT_TYPE, refusal.media_type())?;
    answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    answer.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(challenge) = refusal.challenge {
        answer.insert_header(header::WWW_AUTHENTICATE, challenge)?;
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
    Ok((answer, body))
}

/// An answer of our own that is no refusal. A 204 has no length (RFC 9110, 8.6).
fn answered(reply: &Reply) -> Result<(ResponseHeader, Bytes)> {
    let mut answer = ResponseHeader::build(reply.status, Some(8))?;
    if reply.status != StatusCode::NO_CONTENT {
        answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()))?;
    }
    for (name, value) in &reply.fields {
        answer.append_header(name, value)?;
    }
    Ok((answer, reply.body.clone()))
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
