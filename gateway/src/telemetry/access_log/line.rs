//! One access log line, printed field by field: [`print()`]. A new field of the record gets its line here; the order is the
//! order in the file. By hand, since a general serializer cost more than routing and selection together.

use super::super::clock::Timestamp;
use super::{
    AttemptRecord, AzureRecord, FIELD_LENGTH_MAX, NAMES_MAX, PATH_LENGTH_MAX, Record, TokensRecord, WafRecord, cut,
};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Billionths in one.
const BILLION: u64 = 1_000_000_000;

/// What a thread keeps between lines: the buffer, and the second it last printed with its text.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) line: Vec<u8>,
    second: u64,
    stamp: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { line: Vec::with_capacity(1024), second: u64::MAX, stamp: Vec::new() }
    }

    /// `2026-11-21T04:39:38.123Z`; the part before the milliseconds is made once a second.
    fn time(&mut self, Timestamp(unix_ms): Timestamp) {
        let (second, ms) = (unix_ms / 1000, unix_ms % 1000);
        if second != self.second {
            self.stamp = Timestamp(second * 1000).to_string().into_bytes();
            self.stamp.truncate(self.stamp.len().saturating_sub("000Z".len()));
            self.second = second;
        }
        self.line.extend_from_slice(&self.stamp);
        thousandths(&mut self.line, ms);
        self.line.push(b'Z');
    }
}

/// `,"name":`, at the price of one copy.
macro_rules! key {
    ($out:expr, $name:literal) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}

/// Prints `record` into the emptied buffer, its line end included.
pub(super) fn print(record: &Record<'_>, scratch: &mut Scratch) {
    scratch.line.clear();
    scratch.line.extend_from_slice(b"{\"time\":\"");
    scratch.time(record.time);
    let out = &mut scratch.line;
    out.push(b'"');
    client(out, record);
    request(out, record);
    answer(out, record);
    out.extend_from_slice(b"}\n");
}

/// Who asked, and how.
fn client(out: &mut Vec<u8>, record: &Record<'_>) {
    key!(out, "request_id");
    text(out, cut(&record.request_id, FIELD_LENGTH_MAX));
    if let Some(id) = &record.trace_id {
        key!(out, "trace_id");
        text(out, cut(id, FIELD_LENGTH_MAX));
    }
    key!(out, "client");
    optional(out, record.client, address);
    if let Some(subject) = &record.client_subject {
        key!(out, "client_subject");
        text(out, cut(subject, FIELD_LENGTH_MAX));
    }
    if let Some(fingerprint) = &record.client_fingerprint {
        key!(out, "client_fingerprint");
        text(out, fingerprint);
    }
    if let Some(consumer) = &record.consumer {
        key!(out, "consumer");
        text(out, consumer);
    }
    if let Some(plan) = &record.plan {
        key!(out, "plan");
        text(out, plan);
    }
    if let Some(proof) = record.proof {
        key!(out, "proof");
        text(out, proof);
    }
    if let Some(unproven) = record.unproven {
        key!(out, "unproven");
        text(out, unproven);
    }
    if let Some(country) = &record.country {
        key!(out, "country");
        text(out, country);
    }
    if !record.residency.is_empty() {
        key!(out, "residency");
        names(out, &record.residency);
    }
    if let Some(peer) = record.peer {
        key!(out, "peer");
        address(out, peer);
    }
    key!(out, "listener");
    optional(out, record.listener.as_deref(), text);
    key!(out, "protocol");
    text(out, record.protocol);
}

/// What was asked for, and where it was sent.
fn request(out: &mut Vec<u8>, record: &Record<'_>) {
    key!(out, "method");
    text(out, cut(&record.method, FIELD_LENGTH_MAX));
    key!(out, "host");
    optional(out, record.host.as_deref().map(|host| cut(host, FIELD_LENGTH_MAX)), text);
    key!(out, "path");
    text(out, cut(&record.path, PATH_LENGTH_MAX));
    if !record.rules.is_empty() {
        key!(out, "rules");
        names(out, &record.rules);
    }
    key!(out, "route");
    optional(out, record.route.as_deref(), text);
    key!(out, "pool");
    optional(out, record.pool.as_deref(), text);
    key!(out, "operation");
    optional(out, record.operation, text);
    key!(out, "deployment");
    optional(out, record.deployment.as_deref().map(|name| cut(name, FIELD_LENGTH_MAX)), text);
    if let Some(alias) = &record.alias {
        key!(out, "alias");
        text(out, cut(alias, FIELD_LENGTH_MAX));
    }
    key!(out, "stream");
    out.extend_from_slice(if record.stream { b"true" } else { b"false" });
    if record.pinned {
        key!(out, "pinned");
        out.extend_from_slice(b"true");
    }
    if let Some(flaw) = record.id_flaw {
        key!(out, "id_flaw");
        text(out, flaw);
    }
}

/// What became of it.
fn answer(out: &mut Vec<u8>, record: &Record<'_>) {
    key!(out, "status");
    optional(out, record.status, number);
    key!(out, "ending");
    text(out, record.ending);
    if let Some(code) = record.code {
        key!(out, "code");
        text(out, code);
    }
    if let Some(limit) = &record.limit {
        key!(out, "limit");
        text(out, limit);
    }
    key!(out, "served_by");
    optional(out, record.served_by.as_deref(), text);
    if let Some(place) = &record.processing {
        key!(out, "processing");
        text(out, place);
    }
    key!(out, "attempts");
    attempts(out, &record.attempts);
    if let Some(hedge) = record.hedge {
        key!(out, "hedge");
        text(out, hedge);
    }
    if !record.waf.is_empty() {
        key!(out, "waf");
        findings(out, &record.waf);
    }
    key!(out, "bytes_in");
    number(out, record.bytes_in);
    key!(out, "bytes_out");
    number(out, record.bytes_out);
    if let Some(used) = record.tokens {
        key!(out, "tokens");
        tokens(out, used);
    }
    if let Some(billionths) = record.cost {
        key!(out, "cost");
        number(out, billionths / BILLION);
        // Writing to a Vec does not fail.
        let _ = write!(out, ".{:09}", billionths % BILLION);
    }
    key!(out, "first_byte_ms");
    optional(out, record.first_byte, millis);
    key!(out, "total_ms");
    millis(out, record.total);
    key!(out, "user_agent");
    optional(out, record.user_agent.as_deref().map(|agent| cut(agent, FIELD_LENGTH_MAX)), text);
    key!(out, "sdk_retry_count");
    number(out, record.sdk_retry_count);
    key!(out, "generation");
    number(out, record.generation);
}

fn attempts(out: &mut Vec<u8>, attempts: &[AttemptRecord<'_>]) {
    out.push(b'[');
    for (index, attempt) in attempts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"backend\":" } else { b",{\"backend\":" });
        text(out, &attempt.backend);
        key!(out, "region");
        text(out, &attempt.region);
        key!(out, "outcome");
        text(out, attempt.outcome);
        if let Some(status) = attempt.status {
            key!(out, "status");
            number(out, status);
        }
        if let Some(throttle) = attempt.throttle {
            key!(out, "throttle");
            text(out, throttle);
        }
        if let Some(failure) = attempt.failure {
            key!(out, "failure");
            text(out, failure);
        }
        if let Some(azure) = &attempt.azure {
            key!(out, "azure");
            spillover(out, azure);
        }
        key!(out, "ms");
        millis(out, attempt.took);
        if attempt.hedge {
            key!(out, "hedge");
            out.extend_from_slice(b"true");
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Each of them, told or not: a spillover is rare.
fn spillover(out: &mut Vec<u8>, azure: &AzureRecord<'_>) {
    out.extend_from_slice(b"{\"from\":");
    optional(out, azure.from.as_deref(), text);
    key!(out, "deployment");
    optional(out, azure.deployment.as_deref(), text);
    key!(out, "error");
    optional(out, azure.error.as_deref(), text);
    out.push(b'}');
}

fn findings(out: &mut Vec<u8>, findings: &[WafRecord<'_>]) {
    out.push(b'[');
    for (index, finding) in findings.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"rule\":" } else { b",{\"rule\":" });
        text(out, cut(&finding.rule, FIELD_LENGTH_MAX));
        key!(out, "variable");
        text(out, cut(&finding.variable, FIELD_LENGTH_MAX));
        key!(out, "data");
        text(out, cut(&finding.data, FIELD_LENGTH_MAX));
        key!(out, "action");
        text(out, finding.action);
        key!(out, "score");
        number(out, finding.score);
        key!(out, "mode");
        text(out, finding.mode);
        out.push(b'}');
    }
    out.push(b']');
}

fn names(out: &mut Vec<u8>, names: &[&str]) {
    for (index, name) in names.iter().take(NAMES_MAX).enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        text(out, name);
    }
    out.push(b']');
}

fn tokens(out: &mut Vec<u8>, tokens: TokensRecord) {
    out.extend_from_slice(b"{\"prompt\":");
    number(out, tokens.prompt);
    key!(out, "completion");
    number(out, tokens.completion);
    key!(out, "cached");
    number(out, tokens.cached);
    key!(out, "reasoning");
    number(out, tokens.reasoning);
    if tokens.counted {
        out.extend_from_slice(b",\"counted\":true");
    }
    out.push(b'}');
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, print: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => print(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn number<N: itoa::Integer>(out: &mut Vec<u8>, number: N) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Milliseconds with three decimals.
fn millis(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    out.push(b'.');
    thousandths(out, micros % 1000);
}

/// Three digits.
fn thousandths(out: &mut Vec<u8>, below_1000: u64) {
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    out.extend_from_slice(&[digit(below_1000 / 100), digit(below_1000 / 10), digit(below_1000)]);
}

/// Without a port where there is none: behind trusted hops nobody tells it.
fn address(out: &mut Vec<u8>, address: SocketAddr) {
    out.push(b'"');
    match address {
        SocketAddr::V4(v4) => {
            dotted(out, *v4.ip());
            if v4.port() > 0 {
                out.push(b':');
                number(out, v4.port());
            }
        }
        // Writing to a Vec does not fail.
        SocketAddr::V6(v6) if v6.port() == 0 => drop(write!(out, "{}", v6.ip())),
        SocketAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
    out.push(b'"');
}

/// Appends `192.0.2.7`, at a tenth of the price of `Display`.
pub fn dotted(out: &mut Vec<u8>, ip: Ipv4Addr) {
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        number(out, octet);
    }
}

/// A JSON string (RFC 8259, 7): quotes, backslashes and control characters are escaped.
fn text(out: &mut Vec<u8>, text: &str) {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    out.push(b'"');
    // Without an early exit the search is done sixteen bytes at a time.
    if text.bytes().fold(false, |found, byte| found | special(byte)) {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => drop(write!(out, "\\u{byte:04x}")),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}
