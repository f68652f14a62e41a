//! Azure's own traces against three regions whose quotas sum to 110 % of the busiest minute: who sees a 429, and how many
//! attempts are wasted, with headroom, without, and with a policy like API Management's.

mod gateway;
mod quota;

use crate::region::Micros;
use gateway::{Apim, Choice, Gateway, Order, Tidegate};
use quota::Quota;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tidegate::domain::{Budgets, Outcome};

const TRACE: &str = include_str!("../azure-llm-2023.csv");
/// The trace runs so many times faster, and so often in a row: minutes are as full as a large fleet's.
const COMPRESSION: u64 = 5;
const ROUNDS: u64 = 3;
/// Length of one round.
const ROUND: Micros = 15 * MINUTE / COMPRESSION;
/// Per cent of the whole quota that each region has.
const SHARES: [u64; 3] = [50, 30, 20];
const MINUTE: Micros = 60_000_000;
/// Until the backend has admitted a request, and until its refusal is here.
const WAY: Micros = 15_000;

/// One request of the trace.
#[derive(Clone, Copy)]
struct Request {
    at: Micros,
    prompt: u64,
    output: u64,
    /// `max_tokens`: the most that its service has ever answered, of code nearly so.
    ceiling: u64,
}

fn trace() -> Vec<Request> {
    let rows = TRACE.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        let ceiling = if fields[1] == "c" { 256 } else { 1000 };
        Request { at: 1 + number(0) * 1000 / COMPRESSION, prompt: number(2), output: number(3), ceiling }
    };
    let round: Vec<Request> = rows.map(read).collect();
    let later = |n: u64| round.iter().map(move |request| Request { at: request.at + n * ROUND, ..*request });
    (0..ROUNDS).flat_map(later).collect()
}

/// Tokens of the busiest 60 seconds, as Azure counts them.
fn busiest_minute(trace: &[Request]) -> u64 {
    let (mut sum, mut most, mut oldest) = (0, 0, 0);
    for request in trace {
        sum += request.prompt + request.ceiling;
        while trace[oldest].at + MINUTE <= request.at {
            sum -= trace[oldest].prompt + trace[oldest].ceiling;
            oldest += 1;
        }
        most = most.max(sum);
    }
    most
}

/// How a replay ended.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    requests: u32,
    /// Clients that got a 429 (or 503) for want of quota.
    refused: u32,
    /// Attempts that a backend refused.
    wasted: u32,
}

impl Tally {
    fn refused_share(self) -> f64 {
        f64::from(self.refused) / f64::from(self.requests)
    }

    fn wasted_share(self) -> f64 {
        f64::from(self.wasted) / f64::from(self.requests)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    /// An attempt reaches its backend.
    Asked(usize),
    /// Its header is here.
    Header(usize),
    End(usize),
}

/// Replays the trace through `gateways` that share the clients.
fn replay(seed: u64, trace: &[Request], gateways: &mut [Box<dyn Gateway>]) -> Tally {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut regions: Vec<Quota> = limits(trace).into_iter().map(|tpm| Quota::new(tpm, rng.u64(..MINUTE))).collect();
    let mut events: BinaryHeap<Reverse<(Micros, u64, Event)>> = BinaryHeap::new();
    let mut told: Vec<Option<(Budgets, Option<std::time::Duration>)>> = vec![None; trace.len()];
    // Azure's estimate of a prompt is not ours: it is told by nobody, and off by up to a tenth here.
    let estimates: Vec<u64> = trace.iter().map(|r| r.prompt * rng.u64(900..1100) / 1000 + r.ceiling).collect();
    let mut tally = Tally { requests: u32::try_from(trace.len()).unwrap(), ..Tally::default() };
    let mut sequence = 0;
    let mut push = |events: &mut BinaryHeap<_>, at: Micros, event| {
        sequence += 1;
        events.push(Reverse((at, sequence, event)));
    };
    for (index, request) in trace.iter().enumerate() {
        push(&mut events, request.at, Event::Arrival(index));
    }
    while let Some(Reverse((now, _, event))) = events.pop() {
        let (Event::Arrival(index) | Event::Asked(index) | Event::Header(index) | Event::End(index)) = event;
        let request = trace[index];
        let count = gateways.len();
        let gateway = &mut gateways[index % count];
        let choice = match event {
            Event::Arrival(_) => gateway.first(index, &request, now, rng.u64(..)),
            Event::Asked(_) => {
                let answer = regions[gateway.backend(index)].admit(estimates[index], now);
                let wait = if answer.1.is_some() { 0 } else { rng.u64(150_000..400_000) + request.prompt * 100 };
                told[index] = Some(answer);
                push(&mut events, now + WAY + wait, Event::Header(index));
                continue;
            }
            Event::Header(_) => {
                let (budgets, wait) = told[index].take().unwrap();
                if let Some(wait) = wait {
                    tally.wasted += 1;
                    gateway.refused(index, &budgets, wait, now, rng.u64(..))
                } else {
                    gateway.served(index, &budgets, now, rng.u64(..));
                    push(&mut events, now + request.output * 20_000, Event::End(index));
                    continue;
                }
            }
            Event::End(_) => {
                gateway.ended(index, Outcome::Served, now, rng.u64(..));
                continue;
            }
        };
        match choice {
            Choice::Attempt => push(&mut events, now + WAY, Event::Asked(index)),
            Choice::Refuse => tally.refused += 1,
        }
    }
    tally
}

/// Quotas of the regions: 110 % of the busiest minute together.
fn limits(trace: &[Request]) -> [u64; 3] {
    let whole = busiest_minute(trace) * 110 / 100;
    SHARES.map(|share| whole * share / 100)
}

#[allow(clippy::print_stdout, reason = "the table of gateway/decisions/0012 is shown, not only judged")]
fn row(name: &str, make: impl Fn() -> Vec<Box<dyn Gateway>>) -> Tally {
    let trace = trace();
    let mut sum = Tally::default();
    for seed in 0..3 {
        let tally = replay(seed, &trace, &mut make());
        sum.requests += tally.requests;
        sum.refused += tally.refused;
        sum.wasted += tally.wasted;
    }
    println!(
        "| {name} | {} | {:.3} % | {:.3} % |",
        sum.requests,
        100.0 * sum.refused_share(),
        100.0 * sum.wasted_share()
    );
    sum
}

fn tidegate(count: usize, order: Order, steers: bool, configured: bool) -> Vec<Box<dyn Gateway>> {
    let limits = limits(&trace());
    let make = |_| -> Box<dyn Gateway> { Box::new(Tidegate::new(limits, order, steers, configured)) };
    (0..count).map(make).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "the table of gateway/decisions/0012 is shown, not only judged")]
fn headroom_steers_azures_own_traffic_past_its_429s() {
    use Order::{Equal, Quotas, Tiers};
    println!("| Policy | Requests | Clients that see a 429 or 503 | Attempts wasted |\n| --- | --- | --- | --- |");
    let steered = [
        row("headroom, equal weights", || tidegate(1, Equal, true, true)),
        row("headroom, equal weights, quotas learned from headers", || tidegate(1, Equal, true, false)),
        row("headroom, equal weights, three gateways", || tidegate(3, Equal, true, true)),
        row("headroom, weights as quotas", || tidegate(1, Quotas, true, true)),
        row("headroom, by priority", || tidegate(1, Tiers, true, true)),
    ];
    let plain = [
        row("headroom off, equal weights", || tidegate(1, Equal, false, false)),
        row("headroom off, weights as quotas", || tidegate(1, Quotas, false, false)),
        row("headroom off, by priority", || tidegate(1, Tiers, false, false)),
        row("API Management: priority, breaker with acceptRetryAfter, two retries", || {
            vec![Box::new(Apim::default()) as Box<dyn Gateway>]
        }),
    ];
    for tally in steered {
        assert!(tally.refused_share() <= 0.001, "clients see 429s: {tally:?}");
        assert!(tally.wasted_share() <= 0.01, "attempts are wasted: {tally:?}");
    }
    let by_priority = [plain[2], plain[3]];
    assert!(by_priority.iter().all(|tally| tally.refused_share() > 0.001), "the bar is one: {by_priority:?}");
    for (on, off) in [(steered[0], plain[0]), (steered[3], plain[1]), (steered[4], plain[2])] {
        assert!(on.refused <= off.refused && on.wasted <= off.wasted, "{on:?} is no better than {off:?}");
    }
}
