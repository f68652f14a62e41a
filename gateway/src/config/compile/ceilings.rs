//! Compiles ceilings of the process: overload, and HTTP/2 with clients.

use super::{positive, size};
use crate::config::file;
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{Http2, Overload, Route};
use crate::policy::overload::{Ceilings, MemoryCeiling};
use http::{HeaderName, HeaderValue};
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// A client that waits longer than this has been served badly: better told at once.
const QUEUE_TIMEOUT_MAX: Duration = Duration::from_millis(250);

/// What the process does when it is asked for more than it can carry.
pub(super) fn overload(typed: &file::Overload, routes: Option<&[Route]>, report: &mut Report<'_>) -> Overload {
    let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let queue_timeout = positive(typed.queue_timeout, "overload.queue_timeout", report);
    if queue_timeout > QUEUE_TIMEOUT_MAX {
        let message = format!("{} is longer than 250ms", typed.queue_timeout);
        report.problem("overload.queue_timeout", message, None);
    }
    let ceilings = Ceilings {
        in_flight_max: count(typed.in_flight_max),
        batch_max: share_of(u64::from(typed.in_flight_max), typed.batch_share.fraction())
            .try_into()
            .unwrap_or(usize::MAX),
        queue_max: count(typed.queue_max),
        queue_timeout,
        memory: typed.memory.as_ref().map(|memory| ceiling(memory, report)),
    };
    let batch_header = typed.batch_header.as_ref().and_then(|header| batch_header(header, report));
    let batch_routes = routes.map(|routes| batch_routes(&typed.batch_routes, routes, report)).unwrap_or_default();
    Overload { ceilings, batch_header, batch_routes }
}

fn batch_routes(names: &[String], routes: &[Route], report: &mut Report<'_>) -> Vec<usize> {
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let route = routes.iter().position(|route| route.name.as_str() == name);
        if route.is_none() {
            let help = suggestion(name, routes.iter().map(|route| route.name.as_str()), "routes defined");
            report.problem(&format!("overload.batch_routes[{index}]"), format!("no route is named `{name}`"), help);
        }
        found.extend(route);
    }
    found
}

fn ceiling(typed: &file::Memory, report: &mut Report<'_>) -> MemoryCeiling {
    let max = size(typed.max, 16 * MIB, 1024 * 1024 * MIB, "overload.memory.max", report);
    let (shrink, refuse) = (typed.shrink.fraction(), typed.refuse.fraction());
    if shrink > refuse {
        report.problem("overload.memory.shrink", "is more than `refuse`", None);
    }
    MemoryCeiling { shrink: share_of(max, shrink), refuse: share_of(max, refuse) }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of a size below 2^50"
)]
fn share_of(whole: u64, share: f64) -> u64 {
    (whole as f64 * share) as u64
}

fn batch_header(typed: &file::BatchHeader, report: &mut Report<'_>) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(typed.name.as_bytes());
    if name.is_err() {
        report.problem("overload.batch_header.name", "is not a header name", None);
    }
    let value = HeaderValue::from_str(&typed.value);
    if value.is_err() {
        report.problem("overload.batch_header.value", "holds characters that no header may carry", None);
    }
    Some((name.ok()?, value.ok()?))
}

/// Limits of a client's HTTP/2 connection.
pub(super) fn http2(typed: &file::Http2, report: &mut Report<'_>) -> Http2 {
    let narrow = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let stream_window = size(typed.stream_window, 64 * KIB, 64 * MIB, "http2.stream_window", report);
    let connection_window = size(typed.connection_window, 64 * KIB, 256 * MIB, "http2.connection_window", report);
    if connection_window < stream_window {
        let message = format!("{} is less than `stream_window` ({})", typed.connection_window, typed.stream_window);
        report.problem("http2.connection_window", message, None);
    }
    Http2 {
        streams_max: typed.streams_max,
        header_list_max: narrow(size(typed.header_list_max, KIB, MIB, "http2.header_list_max", report)),
        resets_pending_max: count(typed.resets_pending_max),
        resets_forced_max: count(typed.resets_forced_max),
        stream_window: narrow(stream_window),
        connection_window: narrow(connection_window),
        stalled_timeout: positive(typed.stalled_timeout, "http2.stalled_timeout", report),
    }
}
