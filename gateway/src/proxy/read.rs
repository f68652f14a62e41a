//! Station 4, read: the whole request body, bounded in bytes, time and in what the process holds.
//!
//! It never interprets the body. An `Expect: 100-continue` is answered here, since the backend is chosen later.

use crate::config::snapshot::Limits;
use crate::domain::{Denial, Moment};
use crate::state::{BodyMemory, Reservation};
use crate::telemetry::clock;
use bytes::{Bytes, BytesMut};
use futures::poll;
use http::header;
use pingora::protocols::http::ServerSession;
use pingora_timeout::timeout;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Told to clients that find the body memory full.
const MEMORY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there is no body.
pub(super) enum Unread {
    /// We refuse it.
    Denied(Denial),
    /// The client left or broke the protocol while sending.
    ClientGone,
}

impl From<Denial> for Unread {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Reads the body to its end.
pub(super) async fn read(
    session: &mut ServerSession,
    limits: &Limits,
    memory: &BodyMemory,
) -> Result<(Bytes, Reservation), Unread> {
    let stated = stated_length(session);
    if stated.is_some_and(|length| length > limits.body_size_max) {
        return Err(Denial::BodyTooLarge { limit: limits.body_size_max }.into());
    }
    let mut held = memory.reserve(0).ok_or_else(memory_full)?;
    if expects_continue(session) {
        session.write_continue_response().await.map_err(|_gone| Unread::ClientGone)?;
    }
    let end = clock::now().after(limits.body_timeout);
    let mut first = match step(session, limits, end).await? {
        Some(first) => first,
        None => return complete(Bytes::new(), stated, held),
    };
    hold(&mut held, 0, first.len(), limits)?;
    // The common small body arrives in one piece, and is neither copied nor waited for again.
    let mut whole = BytesMut::new();
    let mut total = first.len();
    let mut pace: Option<Pace> = None;
    while !session.is_body_done()
        && let Some(part) = step(session, limits, end).await?
    {
        let now = clock::now();
        pace.get_or_insert(Pace { since: now, bytes: 0 }).keep(part.len(), now, limits)?;
        hold(&mut held, total, part.len(), limits)?;
        if whole.is_empty() {
            whole.reserve(usize::try_from(stated.unwrap_or(0)).unwrap_or(0).max(first.len() + part.len()));
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        total += part.len();
        whole.extend_from_slice(&part);
    }
    complete(if whole.is_empty() { first } else { whole.freeze() }, stated, held)
}

/// How fast a body arrives that does not come in one piece.
struct Pace {
    since: Moment,
    bytes: u64,
}

impl Pace {
    /// Looks at the average at the end of each window.
    fn keep(&mut self, more: usize, now: Moment, limits: &Limits) -> Result<(), Denial> {
        self.bytes += more as u64;
        let passed = now.since(self.since);
        if passed < limits.body_rate_window {
            return Ok(());
        }
        let slow = u128::from(self.bytes) * 1_000_000 < u128::from(limits.body_rate_min) * passed.as_micros();
        *self = Self { since: now, bytes: 0 };
        if slow { Err(Denial::BodyTimeout) } else { Ok(()) }
    }
}

fn complete(body: Bytes, stated: Option<u64>, held: Reservation) -> Result<(Bytes, Reservation), Unread> {
    if stated.is_some_and(|length| length != body.len() as u64) {
        return Err(Denial::BodyIncomplete.into());
    }
    Ok((body, held))
}

fn hold(held: &mut Reservation, total: usize, more: usize, limits: &Limits) -> Result<(), Unread> {
    if (total + more) as u64 > limits.body_size_max {
        return Err(Denial::BodyTooLarge { limit: limits.body_size_max }.into());
    }
    held.grow(more as u64).ok_or_else(memory_full)
}

fn memory_full() -> Unread {
    Denial::Overloaded { retry_after: MEMORY_RETRY_AFTER }.into()
}

/// One read, within the pause limit and the limit of the whole body.
async fn step(session: &mut ServerSession, limits: &Limits, end: Moment) -> Result<Option<Bytes>, Unread> {
    let mut reading = pin!(session.read_request_body());
    // What has come already needs no timer.
    let read = match poll!(reading.as_mut()) {
        Poll::Ready(read) => read,
        Poll::Pending => {
            let left = clock::now().until(end).min(limits.body_idle_timeout);
            timeout(left, reading).await.map_err(|_elapsed| Denial::BodyTimeout)?
        }
    };
    read.map_err(|_broken| Unread::ClientGone)
}

fn stated_length(session: &ServerSession) -> Option<u64> {
    let text = session.get_header(header::CONTENT_LENGTH)?.to_str().ok()?;
    // All digits (the screen saw to that): what does not fit 64 bits is too large in any case.
    Some(text.parse().unwrap_or(u64::MAX))
}

/// HTTP/1.0 has no `100 Continue`.
fn expects_continue(session: &ServerSession) -> bool {
    session.req_header().version > http::Version::HTTP_10
        && session.get_header(header::EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
