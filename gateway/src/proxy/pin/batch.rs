//! The input of a batch on its way in. Its lines are calls: their models and ids are the client's words, and Azure must find its own.

use super::super::live::Live;
use super::super::route::{Call, is_multipart};
use super::opening::Opening;
use crate::openai::{batch, ids};
use crate::policy::seal;
use bytes::Bytes;
use http::{Method, header};
use std::ops::Range;

/// Where the lines stand, where the call uploads some.
fn lines((request, target): Call<'_>, body: &Bytes) -> Option<Range<usize>> {
    if request.method != Method::POST
        || target.bound() != Some("files")
        || target.rest.trim_end_matches('/') != "/files"
    {
        return None;
    }
    let content_type = request.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if is_multipart(content_type) { batch::lines(content_type, body) } else { None }
}

/// Puts the deployments in the lines for which aliases stand there.
pub(super) fn name(call: Call<'_>, body: &mut Bytes, live: &Live) {
    let aliases = &live.fleet.snapshot.models.aliases;
    if !aliases.is_empty()
        && let Some(lines) = lines(call, body)
        && let Some(named) = batch::rename(body, lines, |model| aliases.resolve(model).map(|name| name.as_str()))
    {
        *body = named;
    }
}

/// The body with the ids of its lines opened; `None` where there are none.
pub(super) fn open(call: Call<'_>, body: &Bytes, opening: &mut Opening<'_>) -> Option<Bytes> {
    let lines = lines(call, body).filter(|lines| body.get(lines.clone()).is_some_and(seal::may_hold))?;
    opening.strict = false;
    ids::lines(body, lines, opening)
}
