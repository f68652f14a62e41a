use crate::common::*;
use harness::*;
use tidegate::simulator::*;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scratch_hang() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("failover: { first_byte_timeout: 300ms, stream_first_byte_timeout: 300ms, budget: 100%, budget_min: 1000 }").start().await;
    a.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }));
    for size in [200, 60_000, 66_000, 200_000, 1_000_000, 5_000_000] {
    for proto in Proto::PLAIN {
        let ask = Ask::chat("gpt").sized(size);
        let started = std::time::Instant::now();
        let r = tokio::time::timeout(secs(5), gateway.client(proto).ask(&ask)).await;
        eprintln!("{size} {proto:?} {:?} {:?}", r.map(|a| a.status), started.elapsed());
        eprintln!("{:?} {:?}", a.find(&ask.id).map(|r| (r.body_len, r.aborted)), b.find(&ask.id).map(|r| r.body_len));
    }}
}
