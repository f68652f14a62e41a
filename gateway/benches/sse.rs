//! Bench of [`Scanner`]: a chat stream of 200-byte chunks, one `feed` a chunk, must pass at more than 500 MB/s.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidegate::openai::sse::{BodyScanner, Scanner};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let chunk = concat!(
        "data: {\"id\":\"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx\",\"object\":\"chat.completion.chunk\",\"created\":1719000000,",
        "\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    );
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(u64::try_from(chunk.len() * 1000).unwrap_or(0)));
    group.bench_function("chat_chunks", |bench| {
        bench.iter(|| {
            let mut scanner = Scanner::new();
            for _ in 0..1000 {
                scanner.feed(black_box(chunk.as_bytes()));
            }
            scanner.events()
        });
    });
    // Chunks that end anywhere: every line crosses a border.
    let stream = chunk.repeat(1000);
    group.bench_function("chunks_of_150", |bench| {
        bench.iter(|| {
            let mut scanner = Scanner::new();
            black_box(stream.as_bytes()).chunks(150).for_each(|piece| scanner.feed(piece));
            scanner.events()
        });
    });
    group.bench_function("body", |bench| {
        bench.iter(|| {
            let mut scanner = BodyScanner::new();
            black_box(stream.as_bytes()).chunks(16 * 1024).for_each(|piece| scanner.feed(piece));
            scanner.usage()
        });
    });
    group.finish();
    criterion.final_summary();
}
