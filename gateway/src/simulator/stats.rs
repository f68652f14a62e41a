//! What a region counts and remembers of the requests that reached it. Every table has a limit.
//!
//! Control requests (`/_sim/…`) are never counted; probes are counted apart.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::target::Operation;
use crate::domain::Moment;

/// Different keys per table; later ones are counted as `other`.
const KEYS_MAX: usize = 256;
/// Call times remembered.
const CALLS_MAX: usize = 16_384;

/// A reading of a region's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// The region's slug.
    pub region: String,
    /// Requests received, probes not included.
    pub requests: u64,
    /// Requests for the models list, the health path, and `HEAD`.
    pub probes: u64,
    /// Connections that ended without a request.
    pub bare_connections: u64,
    /// Requests by path, query not included.
    pub by_path: BTreeMap<String, u64>,
    /// Requests by operation label.
    pub by_operation: BTreeMap<String, u64>,
    /// Requests by deployment.
    pub by_deployment: BTreeMap<String, u64>,
    /// Answers by status, probes included.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests that met a fault.
    pub faulted: u64,
    /// Calls that the client left before their end, during reading, waiting or answering.
    pub aborted: u64,
    /// Calls in progress, probes included.
    pub in_flight: u64,
    /// The most calls that were ever in progress at once.
    pub in_flight_max: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections ever accepted.
    pub connections_accepted: u64,
    /// Bytes of request bodies received.
    pub body_bytes: u64,
    /// When requests (not probes) arrived, in ms since the region's start; the latest 16384.
    pub calls_ms: VecDeque<u64>,
    /// The latest requests, probes included.
    pub records: VecDeque<Record>,
}

/// One remembered request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Number of the request, from 0.
    pub number: u64,
    /// `POST`, …
    pub method: String,
    /// The request target.
    pub path_and_query: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// All headers in order, names in lower case; bytes outside UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body, as far as it was read.
    pub body_len: u64,
    /// SHA-256 of the whole body in hex; empty while or when it was not read to its end.
    pub body_sha256: String,
    /// Arrival, in ms since the region's start.
    pub at_ms: u64,
    /// Arrival on the machine's monotonic clock, in µs.
    pub at_us: u64,
    /// Status of the answer; 0 while or when there was none.
    pub status: u16,
    /// The call has ended, by whichever side.
    pub ended: bool,
    /// The client left before the end.
    pub aborted: bool,
    /// Completion tokens of a stream that were sent, known at its end.
    pub tokens_sent: u64,
}

impl Record {
    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The live counters.
#[derive(Debug)]
pub(crate) struct Tally {
    stats: Stats,
    records_max: usize,
    /// Number of the oldest record kept.
    oldest: u64,
    next: u64,
}

impl Tally {
    pub(crate) fn new(region: &str, records_max: usize) -> Self {
        let stats = Stats { region: region.to_owned(), ..Stats::default() };
        Self { stats, records_max, oldest: 0, next: 0 }
    }

    /// Counts an arrival and gives it its number.
    pub(crate) fn arrive(&mut self, head: &http::request::Parts, operation: Operation, since: (Moment, Moment)) -> u64 {
        let (start, now) = since;
        let at_ms = u64::try_from(now.since(start).as_millis()).unwrap_or(u64::MAX);
        let (number, stats) = (self.next, &mut self.stats);
        self.next += 1;
        stats.in_flight += 1;
        stats.in_flight_max = stats.in_flight_max.max(stats.in_flight);
        if operation.is_probe() {
            stats.probes += 1;
        } else {
            stats.requests += 1;
            bump(&mut stats.by_path, head.uri.path());
            bump(&mut stats.by_operation, operation.label());
            if stats.calls_ms.len() >= CALLS_MAX {
                stats.calls_ms.pop_front();
            }
            stats.calls_ms.push_back(at_ms);
        }
        if self.records_max > 0 {
            if stats.records.len() >= self.records_max {
                stats.records.pop_front();
            }
            stats.records.push_back(record(head, number, at_ms, now));
            self.oldest = stats.records.front().map_or(number, |record| record.number);
        }
        number
    }

    pub(crate) fn deployment(&mut self, name: &str) {
        bump(&mut self.stats.by_deployment, name);
    }

    pub(crate) fn body(&mut self, number: u64, len: u64, sha256: Option<String>) {
        self.stats.body_bytes = self.stats.body_bytes.saturating_add(len);
        if let Some(record) = self.record(number) {
            record.body_len = len;
            record.body_sha256 = sha256.unwrap_or_default();
        }
    }

    pub(crate) fn status(&mut self, number: u64, status: u16) {
        *self.stats.by_status.entry(status).or_default() += 1;
        if let Some(record) = self.record(number) {
            record.status = status;
        }
    }

    pub(crate) fn faulted(&mut self) {
        self.stats.faulted += 1;
    }

    pub(crate) fn end(&mut self, number: u64, aborted: bool, tokens_sent: u64) {
        self.stats.in_flight = self.stats.in_flight.saturating_sub(1);
        self.stats.aborted += u64::from(aborted);
        if let Some(record) = self.record(number) {
            record.ended = true;
            record.aborted = aborted;
            record.tokens_sent = tokens_sent;
        }
    }

    pub(crate) fn connected(&mut self) {
        self.stats.connections_open += 1;
        self.stats.connections_accepted += 1;
    }

    pub(crate) fn disconnected(&mut self, bare: bool) {
        self.stats.connections_open = self.stats.connections_open.saturating_sub(1);
        self.stats.bare_connections += u64::from(bare);
    }

    /// A copy with at most `records` of the latest records.
    pub(crate) fn read(&self, records: usize) -> Stats {
        Stats { records: self.latest(records), ..self.without_records() }
    }

    /// Forgets everything but what is in progress.
    pub(crate) fn reset(&mut self) {
        let old = &self.stats;
        self.stats = Stats {
            region: old.region.clone(),
            in_flight: old.in_flight,
            in_flight_max: old.in_flight,
            connections_open: old.connections_open,
            ..Stats::default()
        };
        self.oldest = self.next;
    }

    fn latest(&self, records: usize) -> VecDeque<Record> {
        let skip = self.stats.records.len().saturating_sub(records);
        self.stats.records.iter().skip(skip).cloned().collect()
    }

    fn without_records(&self) -> Stats {
        let stats = &self.stats;
        Stats {
            region: stats.region.clone(),
            by_path: stats.by_path.clone(),
            by_operation: stats.by_operation.clone(),
            by_deployment: stats.by_deployment.clone(),
            by_status: stats.by_status.clone(),
            calls_ms: stats.calls_ms.clone(),
            records: VecDeque::new(),
            ..*stats
        }
    }

    fn record(&mut self, number: u64) -> Option<&mut Record> {
        let index = usize::try_from(number.checked_sub(self.oldest)?).ok()?;
        self.stats.records.get_mut(index)
    }
}

fn bump(table: &mut BTreeMap<String, u64>, key: &str) {
    if let Some(count) = table.get_mut(key) {
        *count += 1;
        return;
    }
    let key = if table.len() < KEYS_MAX { key } else { "other" };
    *table.entry(key.to_owned()).or_default() += 1;
}

fn record(head: &http::request::Parts, number: u64, at_ms: u64, now: Moment) -> Record {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Record {
        number,
        method: head.method.to_string(),
        path_and_query: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        version: format!("{:?}", head.version),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        at_ms,
        at_us: now.as_micros(),
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    fn head(path: &str) -> http::request::Parts {
        http::Request::builder().uri(path).header("a", "b").body(()).unwrap().into_parts().0
    }

    #[test]
    fn records_are_bounded_and_updated_by_number() {
        let mut tally = Tally::new("x", 2);
        let since = (Moment::ZERO, Moment::from_micros(5000));
        let numbers: Vec<_> = (0..3).map(|_| tally.arrive(&head("/p?q"), Operation::Chat, since)).collect();
        tally.body(numbers[2], 3, Some("ff".into()));
        tally.status(numbers[0], 200);
        tally.end(numbers[2], true, 7);
        let stats = tally.read(1000);
        assert_eq!((stats.requests, stats.in_flight, stats.in_flight_max, stats.aborted), (3, 2, 3, 1));
        assert_eq!(stats.records.len(), 2);
        assert_eq!((stats.records[1].body_len, stats.records[1].aborted), (3, true));
        assert_eq!(stats.records[1].tokens_sent, 7);
        assert_eq!(stats.records[1].header("a"), Some("b"));
        assert_eq!((stats.by_path["/p"], stats.by_status[&200], stats.calls_ms[0]), (3, 1, 5));
        tally.reset();
        assert_eq!((tally.read(10).requests, tally.read(10).in_flight), (0, 2));
        let number = tally.arrive(&head("/"), Operation::Models, since);
        tally.status(number, 401);
        assert_eq!((tally.read(10).probes, tally.read(10).records[0].status), (1, 401));
    }

    #[test]
    fn tables_have_a_limit() {
        let mut table = BTreeMap::new();
        for i in 0..1000 {
            bump(&mut table, &format!("{i}"));
        }
        assert_eq!(table.len(), KEYS_MAX + 1);
    }
}
