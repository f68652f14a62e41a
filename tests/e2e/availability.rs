//! The promise of the product: 99.95 % of the requests answered through a dark region, throttled deployments, resets and a
//! slow region.
//!
//! The long form, of a release build: `TIDEGATE_BINARY=target/release/tidegate TIDEGATE_AVAILABILITY_SECONDS=600
//! TIDEGATE_AVAILABILITY_RATE=200 cargo test -p tidegate-tests --test e2e 99_95 -- --nocapture` (the usual runner ends a test
//! after four minutes).

use crate::common::{ms, secs};
use harness::{Ask, Gateway, Load, Proto, Report, Setup, Sim};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate::domain::KeyHash;
use tidegate::simulator::{FaultKind, FaultRule, Latency, Record, StatusFault};

const REGIONS: [&str; 3] = ["swedencentral", "francecentral", "germanywestcentral"];
const DEPLOYMENTS: [&str; 2] = ["gpt-a", "gpt-b"];
/// How long a throttled deployment asks us to stay away.
const REST: Duration = Duration::from_secs(2);
/// A request that was under way when the first 429 came is no second hit.
const UNDER_WAY: Duration = Duration::from_millis(250);

/// How long, and how many requests per second.
struct Form {
    whole: Duration,
    rate: u32,
}

impl Form {
    fn read() -> Self {
        let number = |name: &str, default: u32| {
            std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
        };
        let seconds = number("TIDEGATE_AVAILABILITY_SECONDS", 30);
        Self { whole: secs(u64::from(seconds)), rate: number("TIDEGATE_AVAILABILITY_RATE", 80) }
    }

    /// What is wrong with each region at a time. The first is dark for three tenths of the run: silent at first, then it
    /// refuses connections. One deployment after another answers 429. Every region resets 1 % of its connections.
    fn faults(&self, at: Duration) -> [Vec<FaultRule>; 3] {
        let share = at.as_secs_f64() / self.whole.as_secs_f64();
        let turn = usize::try_from(at.as_secs() / 6).unwrap() % 6;
        std::array::from_fn(|region| {
            let mut rules = vec![
                FaultRule::new(FaultKind::ResetBeforeHeaders {}).share(0.005),
                FaultRule::new(FaultKind::ResetAfter { chunks: 1 }).stream(true).share(0.005),
            ];
            match (region, share) {
                (0, 0.3..0.4) => rules.insert(0, FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None })),
                (0, 0.4..0.6) => {
                    rules.insert(0, FaultRule::new(FaultKind::Refuse { keep_connections: false, for_ms: None }));
                }
                _ => {}
            }
            if turn / 2 == region && at.as_secs() % 6 < 5 {
                let advice = u64::try_from(REST.as_millis()).unwrap();
                let throttled = StatusFault::preset("429_tokens").retry_after_ms(advice);
                let mut rule = FaultRule::new(FaultKind::Status(throttled));
                rule.matching.deployment = Some(DEPLOYMENTS[turn % 2].to_owned());
                rules.push(rule);
            }
            rules
        })
    }

    /// Breaks and mends until the end, and gathers what each region remembers.
    async fn play(&self, sims: &[Sim]) -> Vec<BTreeMap<u64, Record>> {
        let (started, mut told) = (Instant::now(), None);
        let mut seen = vec![BTreeMap::new(); sims.len()];
        while started.elapsed() < self.whole + secs(3) {
            let faults = self.faults(started.elapsed());
            if told.as_ref() != Some(&faults) {
                for (sim, rules) in sims.iter().zip(&faults) {
                    sim.clear();
                    rules.iter().for_each(|rule| sim.fault(rule.clone()));
                }
                told = Some(faults);
            }
            for (sim, seen) in sims.iter().zip(&mut seen) {
                seen.extend(sim.records().into_iter().map(|record| (record.number, record)));
            }
            tokio::time::sleep(ms(200)).await;
        }
        seen
    }
}

/// Processes data anywhere: what a consumer in the EU must never reach.
const OUTSIDE: &str = "germanywestcentral-gpt-b";
const EU_KEY: &str = "a-key-of-the-consumer-in-the-eu";
const FREE_KEY: &str = "a-key-of-a-consumer-anywhere";

async fn start(sims: &[Sim]) -> Gateway {
    let consumer = |name: &str, key: &str, more: &str| {
        format!("{{ name: {name}, keys: [ {{ hash: \"{}\" }} ]{more} }}", KeyHash::of(key))
    };
    let consumers = [consumer("europe", EU_KEY, ", residency: eu"), consumer("free", FREE_KEY, "")].join(", ");
    let mut setup = Setup::new()
        .top("residency: { zones: [ { name: eu, data_zones: [ eu ] } ] }")
        .top(&format!("consumers: [ {consumers} ]"))
        .pool("residency: filter")
        .pool("selection: { latency_band: 30ms }")
        .pool("failover: { stream_first_byte_timeout: 2s, first_byte_timeout: 2s, attempts_max: 4 }")
        .pool("probe: { tcp: {}, interval: 1s, timeout: 500ms, unhealthy_after: 2 }");
    for sim in sims {
        for deployment in DEPLOYMENTS {
            let name = format!("{}-{deployment}", sim.name());
            let kind = if name == OUTSIDE { "global" } else { "regional" };
            let keys = format!("deployment: {deployment}, kind: {kind}, headers: {{ x-backend: {deployment} }}");
            setup = setup.backend(&name, sim, &keys);
        }
    }
    setup.start().await
}

fn mix() -> Vec<Ask> {
    let responses = Ask::json("/openai/v1/responses", r#"{"model":"gpt","store":false,"input":"Say something."}"#);
    let asks = [
        Ask::stream("gpt"),
        Ask::chat("gpt"),
        Ask::v1_stream("gpt"),
        Ask::v1("gpt"),
        responses,
        Ask::embeddings("gpt"),
        Ask::stream("gpt"),
        Ask::chat("gpt").sized(64 * 1024),
    ];
    let of = |ask: &Ask, zone: &str, key: &str| ask.clone().header("x-zone", zone).header("api-key", key);
    asks.iter().flat_map(|ask| [of(ask, "eu", EU_KEY), of(ask, "none", FREE_KEY)]).collect()
}

/// 429s that a deployment had to answer although it had asked us to stay away.
fn early_hits(records: &BTreeMap<u64, Record>, deployment: &str) -> Vec<(u64, u64)> {
    let named = |record: &&Record| record.status == 429 && record.header("x-backend") == Some(deployment);
    let mut hits: Vec<u64> = records.values().filter(named).map(|record| record.at_us).collect();
    hits.sort_unstable();
    let mut early = Vec::new();
    let mut first = None;
    for at in hits {
        match first.map(|first: u64| (first, Duration::from_micros(at - first))) {
            Some((first, since)) if since < REST => {
                if since > UNDER_WAY {
                    early.push((first, at));
                }
            }
            _ => first = Some(at),
        }
    }
    early
}

fn judge(report: &Report, form: &Form) {
    let failed = report.failed();
    let share = 1.0 - failed.len() as f64 / report.shots.len() as f64;
    eprintln!("{:?} at {}/s: {:.4} % answered\n{report}", form.whole, form.rate, share * 100.0);
    assert!(share >= 0.9995, "{:.4} % of the requests were answered\n{report}", share * 100.0);
    let garbled: Vec<_> = report.shots.iter().filter(|shot| shot.garbled).collect();
    assert!(garbled.is_empty(), "mixed or repeated: {garbled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_of_requests_through_a_dark_region_99_95_percent_are_answered() {
    let form = Form::read();
    let mut sims = Vec::new();
    for name in REGIONS {
        sims.push(Sim::start(name).await);
    }
    let generation = Latency { first_token: ms(10), per_token: ms(2), jitter: 0.3, ..Latency::default() };
    sims[0].latency(generation);
    sims[1].latency(generation);
    sims[2].latency(Latency { first_token: ms(250), ..generation });
    let gateway = start(&sims).await;
    let load = Load::new(gateway.client(Proto::H1).keeping(), form.rate, form.whole, &mix()).start();
    let seen = form.play(&sims).await;
    let report = load.end().await;
    judge(&report, &form);
    for (records, name) in seen.iter().zip(REGIONS) {
        for deployment in DEPLOYMENTS {
            let early = early_hits(records, deployment);
            assert!(early.is_empty(), "{name}/{deployment} was asked while it rested: {early:?}");
        }
    }
    let (reached, leaked): (Vec<_>, Vec<_>) = (seen[2].values())
        .filter(|record| record.header("x-backend") == Some("gpt-b"))
        .partition(|record| record.header("x-zone") != Some("eu"));
    assert!(leaked.is_empty(), "left its zone: {leaked:?}");
    assert!(!reached.is_empty(), "nobody reached {OUTSIDE}: nothing was shown");
    let metrics = gateway.metrics().await;
    let attempts = |outcome| metrics.count("tidegate_attempts_total", &[("outcome", outcome)]);
    assert!(attempts("rate_limited") > 0, "nobody was throttled: nothing was shown");
    // Once it is known to be silent, nobody asks it while it refuses.
    assert!(attempts("timed_out") + attempts("connect_failed") > 0, "no region was dark: nothing was shown");
}
