//! Affinity: requests that a prompt cache may help stay on one of several equal backends.

use crate::common::{A, B, pair, regions, secs};
use harness::{Ask, Gateway, Setup};
use std::collections::BTreeSet;

/// A chat whose prompt begins with `start`, of some ten kilobytes, after `more` fields.
fn chat(more: &str, start: &str, turn: usize) -> Ask {
    let text = format!("{start} {}", "and so on ".repeat(1000));
    let turns = ",{\"role\":\"user\",\"content\":\"go on\"}".repeat(turn);
    let body =
        format!("{{{more}\"model\":\"gpt\",\"messages\":[{{\"role\":\"system\",\"content\":\"{text}\"}}{turns}]}}");
    Ask::chat("gpt").body(body)
}

fn keyed(key: &str, turn: usize) -> Ask {
    chat(&format!("\"prompt_cache_key\":\"{key}\","), &turn.to_string(), turn)
}

/// Who serves these.
async fn served(gateway: &Gateway, asks: impl IntoIterator<Item = Ask>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for ask in asks {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, 200, "{answer}");
        seen.insert(answer.header("x-served-by").to_owned());
    }
    seen
}

async fn spread(setup: Setup, ask: impl Fn(usize, usize) -> Ask) -> (BTreeSet<String>, bool) {
    let gateway = setup.start().await;
    let (mut all, mut together) = (BTreeSet::new(), true);
    for conversation in 0..16 {
        let seen = served(&gateway, (0..6).map(|turn| ask(conversation, turn))).await;
        together &= seen.len() == 1;
        all.extend(seen);
    }
    (all, together)
}

const PREFIX: &str = "selection: { affinity: prefix, explore: 0%, slow_start: 0s, latency_band: 10s }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_stay_together_and_share_the_backends() {
    let (a, b) = regions().await;
    let both = BTreeSet::from([A.to_owned(), B.to_owned()]);
    // By key, as it is without a word in the file.
    let by_key = spread(pair(&a, &b), |one, turn| keyed(&format!("conversation-{one}"), turn)).await;
    assert_eq!(by_key, (both.clone(), true));
    let prefix = || Setup::new().pool(PREFIX).backend("a", &a, "").backend("b", &b, "");
    let by_prefix = spread(prefix(), |one, turn| chat("", &format!("conversation {one}"), turn)).await;
    assert_eq!(by_prefix, (both.clone(), true));
    let by_user = spread(prefix(), |one, turn| chat(&format!("\"user\":\"u{one}\","), &turn.to_string(), turn)).await;
    assert_eq!(by_user, (both.clone(), true));
    // What says nothing is shared by weight.
    let without = spread(pair(&a, &b), |one, turn| chat("", &format!("conversation {one}"), turn)).await;
    assert_eq!(without, (both, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_gateway_sends_a_conversation_to_the_same_backend() {
    let (a, b) = regions().await;
    let one = pair(&a, &b).start().await;
    let two = pair(&a, &b).start().await;
    for conversation in 0..8 {
        let ask = |turn| keyed(&format!("conversation-{conversation}"), turn);
        assert_eq!(served(&one, [ask(0)]).await, served(&two, [ask(1)]).await, "{conversation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affinity_keeps_nobody_on_a_backend_that_rests_and_comes_back_to_it() {
    let (a, b) = regions().await;
    let gateway = Setup::new().pool(PREFIX).backend("a", &a, "").backend("b", &b, "").start().await;
    let home = served(&gateway, [keyed("k", 0)]).await;
    let (own, name, other) = if home.contains(A) { (&a, "a", B) } else { (&b, "b", A) };
    own.throttle(secs(1));
    assert_eq!(served(&gateway, (1..4).map(|turn| keyed("k", turn))).await, BTreeSet::from([other.to_owned()]));
    own.clear();
    gateway.until_eligible(name, true).await;
    assert_eq!(served(&gateway, (4..8).map(|turn| keyed("k", turn))).await, home);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_affinity_total", &[("pool", "chat"), ("result", "home")]), 8);
    assert_eq!(metrics.count("tidegate_affinity_total", &[("result", "crowded")]), 0);
}
