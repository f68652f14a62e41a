//! Bench of the screen: 50 custom rules, the built-in rules and the body policy on an honest chat of 4 KB.
//!
//! Budget, all together: p50 at most 60 µs, p99 at most 250 µs. Beside criterion's means it prints the quantiles of
//! single screenings.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a bench may panic and speaks")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use criterion::{Criterion, Throughput};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::policy::screen::body::{BodyPolicy, UnknownKeys};
use tidegate::policy::screen::builtin::{Builtin, Library};
use tidegate::policy::screen::custom::{Action, Condition, Key, RateLimit, Rule, Variable};
use tidegate::policy::screen::finding::{Findings, Mode, Ruling, THRESHOLD};
use tidegate::policy::screen::matching::{Matcher, Operator};
use tidegate::policy::screen::protection::Protection;
use tidegate::policy::screen::ruleset::{Limiter, Policy, Screening, Source};
use tidegate::policy::screen::transform::Transform;
use tidegate::policy::screen::view::{Place, View};

const SAMPLES: usize = 20_000;
const HEADERS: [(&str, &str); 16] = [
    ("host", "ai.example.com"),
    ("user-agent", "AsyncOpenAI/Python 1.99.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("content-type", "application/json"),
    ("content-length", "4096"),
    ("connection", "keep-alive"),
    ("api-key", "0123456789abcdef0123456789abcdef"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "1.99.1"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-runtime", "CPython"),
    ("x-forwarded-for", "203.0.113.9, 10.0.0.4"),
    ("x-forwarded-proto", "https"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("cookie", "session=eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3GEMA0IICOfFMVXY7kkTX1wr4qCyhIf58U; theme=dark"),
];

fn main() {
    let (policy, protection) = (policy(50), protection());
    let bare = Policy { rules: Vec::new(), ..policy.clone() };
    let headers: HeaderMap =
        HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    let (view, body) = (view(&headers), chat(4096));
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("screen");
    group.bench_function("builtin", |bench| bench.iter(|| envelope(&bare, black_box(&view))));
    group.bench_function("custom_50_and_builtin", |bench| bench.iter(|| envelope(&policy, black_box(&view))));
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("body_4_kb", |bench| bench.iter(|| judged(&protection, black_box(&body))));
    group.bench_function("all_4_kb", |bench| {
        bench.iter(|| (envelope(&policy, black_box(&view)), judged(&protection, black_box(&body))))
    });
    group.finish();
    criterion.final_summary();
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            black_box((envelope(&policy, black_box(&view)), judged(&protection, black_box(&body))));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("screen/all_4_kb p50 {:?} p99 {:?}", times[SAMPLES / 2], times[SAMPLES * 99 / 100]);
}

fn envelope(policy: &Policy, view: &View<'_>) -> Option<Ruling> {
    let ruling = policy.envelope(view, &Nobody, &mut Screening::default());
    assert_eq!(ruling, Some(Ruling::Pass));
    ruling
}

fn judged(protection: &Protection, body: &[u8]) -> usize {
    let mut findings = Findings::default();
    assert!(protection.inspect_body(Some(b"application/json"), body, &mut findings).is_none());
    findings.kept().len()
}

struct Nobody;

impl Limiter for Nobody {
    fn take(&self, _limit: &RateLimit, _key: &Key<'_>) -> Option<Duration> {
        None
    }
}

fn protection() -> Protection {
    let library = Library::new().unwrap();
    let body = BodyPolicy {
        media_types: vec!["application/json".to_owned(), "multipart/form-data".to_owned()],
        depth_max: 64,
        keys_max: 50_000,
        model_length_max: 128,
        messages_max: 4096,
        input_max: 8192,
        n_max: 8,
        max_tokens_max: 1_000_000,
        unknown_keys: UnknownKeys::Deny,
        known_keys: Vec::new(),
    };
    Protection { builtin: Builtin::new(&library, Mode::Prevent, &[], Vec::new()), line: true, body: Some(body) }
}

/// Custom rules as operators write them: each operator and variable in turn, none of which matches.
fn policy(rules: usize) -> Policy {
    let condition = |index: usize| {
        let header = |name| Variable::RequestHeader(HeaderName::from_static(name));
        let text = |operator, value: String, variable| {
            Condition::new(variable, Matcher::new(operator, &[value], &[Transform::Lowercase], false).unwrap())
        };
        match index % 5 {
            0 => text(Operator::Contains, format!("bad-agent-{index}"), header("user-agent")),
            1 => text(Operator::BeginsWith, format!("/private/{index}"), Variable::RequestUri),
            2 => text(Operator::RegEx, format!("(?:evil|worse){index}[0-9]{{3}}$"), Variable::QueryString(None)),
            3 => Condition::new(
                Variable::RemoteAddr,
                Matcher::new(Operator::IpMatch, &[format!("198.51.{index}.0/24")], &[], false).unwrap(),
            ),
            _ => text(Operator::Equal, format!("tenant-{index}"), header("x-tenant")),
        }
    };
    let rule = |index: usize| Rule {
        name: format!("rule-{index}").into(),
        mode: Mode::Prevent,
        conditions: vec![condition(index)],
        action: Action::Block,
    };
    Policy {
        name: "edge".into(),
        mode: Mode::Prevent,
        threshold: THRESHOLD,
        block_status: 403,
        block_body: None,
        redirect_url: None,
        body_size_max: 0,
        rules: (0..rules).map(rule).collect(),
        sources: vec![Arc::new(protection())],
    }
}

fn view(headers: &HeaderMap) -> View<'_> {
    View {
        method: "POST",
        target: b"/openai/deployments/gpt-4.1-mini/chat/completions?api-version=2024-10-21",
        host: "ai.example.com",
        tls: true,
        headers,
        socket: Some([203, 0, 113, 9].into()),
        client: Some([203, 0, 113, 9].into()),
        place: Place::default(),
        socket_place: Place::default(),
        body: None,
    }
}

/// A chat of about `length` bytes in eight messages, with escapes.
fn chat(length: usize) -> Vec<u8> {
    let prose = "Explain \\\"SELECT * FROM tides\\\" to me.\\n".repeat(length / 8 / 40);
    let message = format!("{{\"role\":\"user\",\"content\":\"{prose}\"}}");
    let messages = vec![message; 8].join(",");
    format!("{{\"model\":\"gpt-4.1-mini\",\"messages\":[{messages}],\"stream\":true,\"max_tokens\":64,\"n\":1}}")
        .into_bytes()
}
