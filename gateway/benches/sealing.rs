//! Bench of sealed ids. Budget: an id is sealed, and opened, in 2 µs or less; an answer of the Responses API (20 KB, eight ids) passes
//! in 60 µs or less, and one without ids at more than 500 MB/s. A request of which nobody knows whether it holds an id is searched at
//! more than 5 GB/s, whatever is in it.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use tidegate::domain::Secret;
use tidegate::openai::ids::{Answer, Edit, Place};
use tidegate::policy::seal::{self, Key, Owner, Sealer, split};

struct Sealing(Sealer);

const OWNER: Owner = Owner { resource: 7, consumer: 9 };

impl Edit for Sealing {
    fn text(&mut self, _place: Place, text: &str) -> Option<String> {
        let (prefix, rest) = split(text)?;
        self.0.seal(OWNER, prefix, rest.as_bytes())
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let sealer = Sealer::new(Key::new("bench", &Secret::new("a secret that is long enough for it")));
    let id = "resp_68af1c0ffee00000000000000000000000000000000000000";
    let (prefix, rest) = split(id).unwrap_or_default();
    let sealed = sealer.seal(OWNER, prefix, rest.as_bytes()).unwrap_or_default();
    let mut group = criterion.benchmark_group("sealing");
    group.bench_function("seal", |bench| bench.iter(|| sealer.seal(OWNER, prefix, black_box(rest.as_bytes()))));
    group.bench_function("open", |bench| {
        bench.iter(|| split(black_box(&sealed)).and_then(|parts| sealer.open(parts, OWNER.consumer).ok()));
    });
    let text = "words of an answer, one after the other. ".repeat(480);
    let ids: Vec<String> = (0..7).map(|n| format!("{{\"id\":\"msg_{n:048}\",\"type\":\"message\"}}")).collect();
    let answer = Bytes::from(format!("{{\"id\":\"{id}\",\"output\":[{}],\"text\":\"{text}\"}}", ids.join(",")));
    let plain = Bytes::from(format!("{{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}"));
    let mut sealing = Sealing(sealer);
    for (name, body) in [("answer", &answer), ("without_ids", &plain)] {
        group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap_or(0)));
        group.bench_function(name, |bench| bench.iter(|| Answer::json().feed(black_box(body), &mut sealing)));
    }
    for (name, part, size) in [
        ("search_4k", "words of a prompt, one after the other. ", 4 << 10),
        ("search_256k", "words of a prompt, one after the other. ", 256 << 10),
        (
            "search_256k_of_base64",
            "iVBORw0KGgotg1AAANSUhEUgAAAgAAAAIACAYAAAD0eNT6AAAtg1ABHNCSVQICAgIfAhkiAAA",
            256 << 10,
        ),
    ] {
        let body =
            format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", part.repeat(size / part.len()));
        group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap_or(0)));
        group.bench_function(name, |bench| bench.iter(|| seal::may_hold(black_box(body.as_bytes()))));
    }
    group.finish();
    criterion.final_summary();
}
