//! Bench of [`from_json`]: 1 KB in at most 2 µs, 4 KB in at most 5 µs, 10 MB (a chat with images) in at most 5 ms.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidegate::openai::facts::from_json;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("facts");
    for (name, length) in [("1_kb", 1_000), ("4_kb", 4_000), ("10_mb", 10_000_000)] {
        let body = chat(length);
        group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap_or(0)));
        group.bench_function(name, |bench| bench.iter(|| from_json(black_box(&body), true)));
    }
    group.finish();
    criterion.final_summary();
}

/// A chat of about `length` bytes: half of it prose with escapes, half an image.
fn chat(length: usize) -> Vec<u8> {
    let prose = "Tell me \\\"more\\\" about tides.\\n".repeat(length / 64);
    let image = "QUJDREVGR0g=".repeat(length / 24);
    format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"{prose}\"}},\
         {{\"type\":\"image_url\",\"image_url\":{{\"url\":\"data:image/png;base64,{image}\"}}}}]}}],\
         \"model\":\"gpt-4o\",\"stream\":true,\"max_tokens\":64}}"
    )
    .into_bytes()
}
