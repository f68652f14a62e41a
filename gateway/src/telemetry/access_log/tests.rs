//! Tests of the access log: what a line says, and what a slow, full or moved file costs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::config::snapshot::AccessLog as Target;
use prometheus::IntCounter;
use serde_json::Value;
use std::fs;
use std::sync::mpsc;

fn attempt(backend: &'static str, outcome: &'static str, status: u16, micros: u64) -> AttemptRecord<'static> {
    AttemptRecord {
        azure: None,
        backend: backend.into(),
        region: format!("{backend}central").into(),
        outcome,
        status: Some(status),
        throttle: (status == 429).then_some("token_rate"),
        failure: (status >= 500).then_some("overloaded"),
        took: Duration::from_micros(micros),
        hedge: false,
    }
}

fn record() -> Record<'static> {
    Record {
        time: Timestamp(1_709_251_199_999),
        request_id: "0123456789abcdef".into(),
        trace_id: None,
        client: Some("192.0.2.7:4711".parse().unwrap()),
        client_subject: None,
        client_fingerprint: None,
        peer: None,
        listener: Some("public".into()),
        protocol: "HTTP/1.1",
        method: "POST".into(),
        host: Some("gateway.example".into()),
        path: "/openai/v1/chat/completions".into(),
        rules: Vec::new(),
        route: Some("chat".into()),
        pool: Some("chat".into()),
        operation: Some("chat_completions"),
        deployment: Some("gpt-prod".into()),
        alias: None,
        stream: true,
        status: Some(200),
        ending: "served",
        code: None,
        limit: None,
        country: Some("SE".into()),
        residency: vec!["eu", "sweden"],
        processing: Some("eu".into()),
        served_by: Some("francecentral/france".into()),
        attempts: vec![attempt("sweden", "rate_limited", 429, 12_345), attempt("france", "served", 200, 300_000)],
        hedge: None,
        waf: Vec::new(),
        consumer: None,
        plan: None,
        proof: None,
        unproven: None,
        pinned: false,
        id_flaw: None,
        bytes_in: 1024,
        bytes_out: 2048,
        tokens: Some(Usage { prompt: 7, completion: 5, cached: 3, reasoning: 2 }.into()),
        cost: None,
        first_byte: Some(Duration::from_micros(312_345)),
        total: Duration::from_secs(2),
        user_agent: Some("OpenAI/Python 1.2.3".into()),
        sdk_retry_count: 0,
        generation: 8,
    }
}

fn printed(record: &Record<'_>) -> Vec<u8> {
    let mut scratch = line::Scratch::new();
    line::print(record, &mut scratch);
    scratch.line
}

fn counters() -> (IntCounter, IntCounter) {
    (IntCounter::new("written", "w").unwrap(), IntCounter::new("dropped", "d").unwrap())
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_everything_about_its_request() {
    let line: Value = serde_json::from_slice(&printed(&record())).unwrap();
    assert_eq!(line["time"], "2024-02-29T23:59:59.999Z");
    assert_eq!(line["client"], "192.0.2.7:4711");
    assert_eq!(line["ending"], "served");
    assert_eq!(line["first_byte_ms"], 312.345);
    assert_eq!(line["tokens"]["reasoning"], 2);
    assert_eq!(line["attempts"][0]["outcome"], "rate_limited");
    assert_eq!(
        (&line["attempts"][0]["throttle"], line["attempts"][1].get("throttle")),
        (&Value::from("token_rate"), None)
    );
    assert_eq!((line["attempts"][0].get("failure"), line["attempts"][1].get("failure")), (None, None));
    assert_eq!(line["attempts"][0]["ms"], 12.345);
    assert_eq!(line["attempts"][1]["region"], "francecentral");
    assert_eq!(line["served_by"], "francecentral/france");
    assert_eq!((&line["country"], &line["processing"]), (&"SE".into(), &"eu".into()));
    assert_eq!(line["residency"], serde_json::json!(["eu", "sweden"]));
    assert_eq!(line["attempts"][1]["ms"], 300.0);
    assert_eq!(line["total_ms"], 2000.0);
    assert!(line.get("code").is_none());
    let failed = Record { attempts: vec![attempt("sweden", "server_error", 500, 1)], ..record() };
    let failed: Value = serde_json::from_slice(&printed(&failed)).unwrap();
    assert_eq!(
        (&failed["attempts"][0]["failure"], failed["attempts"][0].get("throttle")),
        (&"overloaded".into(), None)
    );
    let bare = Record { client: Some("[2001:db8::7]:4711".parse().unwrap()), listener: None, status: None, ..record() };
    let line: Value = serde_json::from_slice(&printed(&bare)).unwrap();
    assert_eq!(line["client"], "[2001:db8::7]:4711");
    assert!(line["listener"].is_null() && line["status"].is_null());
}

#[test]
fn long_and_hostile_fields_are_cut_and_escaped() {
    let long = format!("a\"\n{}", "ü".repeat(2000));
    let hostile = Record {
        request_id: long.as_str().into(),
        trace_id: Some(long.as_str().into()),
        method: long.as_str().into(),
        host: Some(long.as_str().into()),
        path: long.as_str().into(),
        deployment: Some(long.as_str().into()),
        user_agent: Some(long.as_str().into()),
        ..record()
    };
    let line = printed(&hostile);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    assert!(line.len() < 3000, "{}", line.len());
    let line: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["request_id"].as_str().unwrap().get(..5), Some("a\"\nü"));
    assert!(line["user_agent"].as_str().unwrap().len() <= FIELD_LENGTH_MAX);
}

#[test]
fn a_client_without_a_port_is_logged_as_an_address() {
    let behind = Record {
        client: Some("[2001:db8::7]:0".parse().unwrap()),
        peer: Some("10.0.0.1:4711".parse().unwrap()),
        ..record()
    };
    let line: Value = serde_json::from_slice(&printed(&behind)).unwrap();
    assert_eq!((&line["client"], &line["peer"]), (&"2001:db8::7".into(), &"10.0.0.1:4711".into()));
    let own: Value = serde_json::from_slice(&printed(&record())).unwrap();
    assert_eq!((&own["client"], own.get("peer")), (&"192.0.2.7:4711".into(), None));
}

#[test]
fn the_time_of_a_line_is_its_own() {
    let mut scratch = line::Scratch::new();
    for (unix_ms, text) in [
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
        (1_709_251_200_001, "2024-03-01T00:00:00.001Z"),
    ] {
        line::print(&Record { time: Timestamp(unix_ms), ..record() }, &mut scratch);
        assert_eq!(serde_json::from_slice::<Value>(&scratch.line).unwrap()["time"], text);
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_printed_as_json(text in proptest::prelude::any::<String>()) {
        let line: Value = serde_json::from_slice(&printed(&Record { route: Some(text.as_str().into()), ..record() })).unwrap();
        proptest::prop_assert_eq!(line["route"].as_str(), Some(text.as_str()));
    }
}

#[test]
fn lines_reach_the_file_and_a_reopened_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let metrics = Metrics::new().unwrap();
    let target = Target::File(path.clone());
    let log = AccessLog::start(&target, &metrics).unwrap();
    for _ in 0..1000 {
        log.log(&record());
    }
    fs::rename(&path, &moved).unwrap();
    log.reopen(&target).unwrap();
    log.log(&record());
    log.flush();
    assert_eq!(lines(&path).len() + lines(&moved).len(), 1001);
    assert_eq!((metrics.access_log_lines.get(), metrics.access_log_dropped.get()), (1001, 0));
}

#[test]
fn a_log_that_is_off_stays_empty_until_a_reload_names_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(&Target::Off, &Metrics::new().unwrap()).unwrap();
    log.log(&record());
    log.reopen(&Target::File(path.clone())).unwrap();
    log.log(&record());
    assert!(log.reopen(&Target::File(folder.path().join("no/such/folder"))).is_err());
    log.log(&record());
    log.flush();
    assert_eq!(lines(&path).len(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_lines_and_nothing_else() {
    let metrics = Metrics::new().unwrap();
    let log = AccessLog::start(&Target::File("/dev/full".into()), &metrics).unwrap();
    for _ in 0..100 {
        log.log(&record());
    }
    log.flush();
    assert_eq!((metrics.access_log_lines.get(), metrics.access_log_dropped.get()), (0, 100));
}

/// A destination that takes nothing until it is told to.
struct Stuck(mpsc::Receiver<()>, Arc<parking_lot::Mutex<Vec<u8>>>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_destination_never_blocks_and_memory_stays_bounded() {
    let (gate, waiting) = mpsc::channel();
    let taken = Arc::default();
    let (written, dropped) = counters();
    let sink = Sink::start(Box::new(Stuck(waiting, Arc::clone(&taken))), written.clone(), dropped.clone()).unwrap();
    let line = vec![b'x'; 1024 * 1024];
    for _ in 0..64 {
        sink.push(&line);
    }
    sink.flush(Duration::from_millis(10));
    assert!(dropped.get() >= 64 - 17, "at most two buffers of 8 lines are taken: {}", dropped.get());
    drop(gate);
    sink.flush(Duration::from_secs(20));
    assert_eq!(written.get() + dropped.get(), 64);
}

/// A destination that fails once, in the middle of a line.
struct Tears(Arc<parking_lot::Mutex<(usize, Vec<u8>)>>);

impl Write for Tears {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.0 += 1;
        match state.0 {
            1 => {
                state.1.extend_from_slice(&bytes[..3]);
                Ok(3)
            }
            2 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => {
                state.1.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_torn_line_does_not_spoil_the_next() {
    let state = Arc::default();
    let (written, dropped) = counters();
    let sink = Sink::start(Box::new(Tears(Arc::clone(&state))), written, dropped.clone()).unwrap();
    sink.push(b"first\n");
    while dropped.get() == 0 {
        std::thread::yield_now();
    }
    sink.push(b"second\n");
    sink.flush(Duration::from_secs(20));
    assert_eq!(state.lock().1, b"fir\nsecond\n");
}
