//! Compiles how a pool's streams are relayed.

use super::{positive, size, zero_or_more};
use crate::config::file::{self, Period, Switch};
use crate::config::report::Report;
use crate::config::snapshot::{Gate, Pace};
use crate::policy::pace::FirstToken;
use std::time::Duration;

const RATE_MAX: u64 = 1024 * 1024;

/// The gate of the streams at `path`, and what they must keep to.
pub(super) fn compile(typed: &file::Streams, path: &str, report: &mut Report<'_>) -> (Option<Gate>, Pace) {
    let gate = gate(&typed.gate, &format!("{path}.gate"), report);
    let first_token = typed.first_token.as_ref().map(|first| FirstToken {
        base: positive(first.base, &format!("{path}.first_token.base"), report),
        per_1000_tokens: zero_or_more(first.per_1000_tokens, &format!("{path}.first_token.per_1000_tokens"), report),
    });
    let stall = zero_or_more(typed.stall, &format!("{path}.stall"), report);
    let rate = size(typed.rate_min, 0, RATE_MAX, &format!("{path}.rate_min"), report);
    let window = positive(typed.rate_window, &format!("{path}.rate_window"), report);
    let due = u128::from(rate).saturating_mul(window.as_millis()).div_ceil(1000);
    let due = u64::try_from(due).unwrap_or(u64::MAX);
    (gate, Pace { first_token, stall: (!stall.is_zero()).then_some(stall), rate: (due > 0).then_some((due, window)) })
}

/// Longest time that a stream is held: clients and what is in front of us wait for a header.
const GATE_TIME_MAX: Duration = Duration::from_secs(60);
const GATE_BYTES_MAX: u64 = 1024 * 1024;

fn gate(typed: &Switch<file::Gate>, path: &str, report: &mut Report<'_>) -> Option<Gate> {
    let Switch::On(typed) = typed else { return None };
    let time = positive(typed.time, &format!("{path}.time"), report);
    if time > GATE_TIME_MAX {
        let message = format!("{} is longer than {}", typed.time, Period(GATE_TIME_MAX));
        report.problem(&format!("{path}.time"), message, None);
    }
    let bytes = size(typed.bytes, 1, GATE_BYTES_MAX, &format!("{path}.bytes"), report);
    Some(Gate { events: typed.events, bytes: usize::try_from(bytes).unwrap_or(usize::MAX), time })
}
