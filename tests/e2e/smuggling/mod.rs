//! Request smuggling: a corpus of raw requests. Each is refused with its documented answer, or reaches the backend with one
//! unambiguous framing; what follows on the connection is served as itself or not at all, never swallowed or invented.
//!
//! The backend is a recorder of bytes: it says exactly what arrived.

mod codings;
mod lengths;
mod lines;
mod places;
mod recorder;

use crate::common::{ms, secs};
use harness::{Gateway, Raw, RawAnswer, Setup};
use recorder::Recorder;

/// One raw request and what must become of it.
pub(crate) struct Case {
    raw: Vec<u8>,
    want: Want,
}

/// What must become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Refused with this status and code; no code on HEAD. Nothing reaches the backend, and the connection ends.
    Refused(u16, &'static str),
    /// Never whole: the connection ends, with a 400 or without an answer. Nothing reaches the backend.
    Dropped,
    /// Reaches the backend with this method and target, and this body in one framing.
    Forwarded(&'static str, Vec<u8>),
}

/// A request that an attacker would like to see at the backend.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
/// An honest request behind each case.
const SECOND: &str = "GET /second HTTP/1.1\r\nhost: x\r\n\r\n";

/// The request as it is written.
pub(crate) fn case(raw: impl AsRef<[u8]>, want: Want) -> Case {
    Case { raw: raw.as_ref().to_vec(), want }
}

/// A POST with these header lines (each with its end) and this body.
pub(crate) fn post(fields: &str, body: &str, want: Want) -> Case {
    case(format!("POST /echo HTTP/1.1\r\nhost: x\r\n{fields}\r\n{body}"), want)
}

pub(crate) fn framing() -> Want {
    Want::Refused(400, "bad_framing")
}

/// Breaks HTTP itself: refused by the HTTP library, whatever the strictness.
pub(crate) fn broken() -> Want {
    framing()
}

pub(crate) fn echo(body: &str) -> Want {
    Want::Forwarded("POST /echo", body.as_bytes().to_vec())
}

pub(crate) fn get(target: &'static str) -> Want {
    Want::Forwarded(target, Vec::new())
}

async fn gateway(recorder: &Recorder, strictness: &str) -> Gateway {
    Setup::new()
        .top("limits: { body_idle_timeout: 1s }")
        .top(&format!("framing: {{ strictness: {strictness} }}"))
        .backend_at("a", "swedencentral", &recorder.url(), "")
        .start()
        .await
}

/// Every case of a table, each alone and with an honest request behind it.
async fn judge(cases: Vec<Case>) {
    let recorder = Recorder::start().await;
    let gateway = gateway(&recorder, "strictest").await;
    let mut wrong = Vec::new();
    for case in &cases {
        for behind in ["", SECOND] {
            if let Err(why) = one(&gateway, &recorder, case, behind).await {
                wrong.push(format!("{:?} + {behind:?}\n    wanted {:?}\n    {why}", text(&case.raw), case.want));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), cases.len() * 2, wrong.join("\n"));
}

async fn one(gateway: &Gateway, recorder: &Recorder, case: &Case, behind: &str) -> Result<(), String> {
    recorder.take();
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send([&case.raw[..], behind.as_bytes()].concat()).await;
    if case.want == Want::Dropped {
        raw.finish().await;
    }
    let answer = final_answer(&mut raw).await;
    let told = (answer.status, answer.code());
    let as_wanted = match &case.want {
        Want::Refused(status, code) => told == (*status, (*code).to_owned()),
        Want::Dropped => matches!(told.0, 0 | 400),
        // Pipelining is not promised: the connection may end instead.
        Want::Forwarded(..) => told.0 == 200 || (told.0 == 0 && !behind.is_empty()),
    };
    if !as_wanted {
        return Err(format!("told {told:?} {}", text(&answer.body)));
    }
    if case.want.ends() {
        if !raw.ends_within(secs(5)).await {
            return Err("the connection goes on".to_owned());
        }
    } else if !behind.is_empty() {
        // A second answer or the connection's end: then all that will arrive has arrived.
        final_answer(&mut raw).await;
    }
    if told.0 == 0 && matches!(case.want, Want::Forwarded(..)) {
        // It may be on its way all the same.
        let _ = tokio::time::timeout(ms(500), recorder.reached()).await;
    }
    arrived(recorder, case, told.0, behind)
}

impl Want {
    /// Where it ends is in doubt: nothing may follow it.
    fn ends(&self) -> bool {
        matches!(self, Self::Dropped | Self::Refused(_, "" | "bad_framing"))
    }
}

/// What the backend has seen is what it should have.
fn arrived(recorder: &Recorder, case: &Case, told: u16, behind: &str) -> Result<(), String> {
    let mut seen = recorder.take().into_iter();
    if let Want::Forwarded(line, body) = &case.want {
        match seen.next() {
            Some(first) => {
                first.plain()?;
                if (first.asks(), &first.body) != ((*line).to_owned(), body) {
                    return Err(format!("arrived: {first:?}"));
                }
            }
            None if told == 0 => {}
            None => return Err("nothing arrived".to_owned()),
        }
    }
    let second = (!behind.is_empty() && !case.want.ends()).then(|| seen.next()).flatten();
    if let Some(second) = second {
        second.plain()?;
        if second.asks() != "GET /second" || !second.body.is_empty() {
            return Err(format!("second: {second:?}"));
        }
    }
    match seen.next() {
        Some(more) => Err(format!("also arrived: {more:?}")),
        None => Ok(()),
    }
}

/// The first answer that is not informational.
async fn final_answer(raw: &mut Raw) -> RawAnswer {
    loop {
        let answer = raw.answer().await;
        if !(100..200).contains(&answer.status) {
            return answer;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_have_one_meaning() {
    judge(lengths::cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codings_have_one_meaning() {
    judge(codings::cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_have_one_meaning() {
    judge(lines::cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_targets_and_connections_have_one_meaning() {
    judge(places::cases()).await;
}

#[test]
fn the_corpus_is_large() {
    let all = [lengths::cases(), codings::cases(), lines::cases(), places::cases()];
    let count: usize = all.iter().map(Vec::len).sum();
    assert!(count >= 80, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitoring_counts_and_forwards_in_one_framing() {
    let recorder = Recorder::start().await;
    let gateway = gateway(&recorder, "monitor").await;
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    for (fields, body, flaw) in [
        ("content-length: 5\r\ncontent-length: 5\r\n", "hello", "length_twice"),
        ("content-length: 5, 5\r\n", "hello", "length_twice"),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", chunked, "length_and_coding"),
        ("transfer-encoding: gzip, chunked\r\n", chunked, "coding_odd"),
        ("content-length: 005\r\n", "hello", "length_padded"),
        ("content-length: 5\r\nx: y\n", "hello", "bare_line_feed"),
    ] {
        let before = count(&gateway, flaw, "forwarded").await;
        one(&gateway, &recorder, &post(fields, body, echo("hello")), "").await.expect(fields);
        assert_eq!(count(&gateway, flaw, "forwarded").await, before + 1, "{flaw}");
    }
    // What could not be forwarded with one meaning is refused all the same.
    let websocket = post("upgrade: websocket\r\ncontent-length: 5\r\n", "hello", framing());
    one(&gateway, &recorder, &websocket, SMUGGLED).await.expect("an upgrade with a body");
    assert_eq!(count(&gateway, "upgrade_with_body", "refused").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defending_refuses_what_is_severe_and_closes_after_what_is_ambiguous() {
    let recorder = Recorder::start().await;
    let gateway = gateway(&recorder, "defensive").await;
    let severe = post("content-length: 5\r\ncontent-length: 5\r\n", "hello", framing());
    one(&gateway, &recorder, &severe, "").await.unwrap();
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send("GET /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(raw.answer().await.status, 200);
    assert!(raw.ends_within(secs(5)).await, "what follows an ambiguous request cannot be trusted");
    arrived(&recorder, &case("", Want::Forwarded("GET /echo", b"hello".to_vec())), 200, "").unwrap();
}

async fn count(gateway: &Gateway, flaw: &str, treatment: &str) -> u64 {
    let labels = [("flaw", flaw), ("treatment", treatment)];
    gateway.metrics().await.count("tidegate_framing_flaws_total", &labels)
}
