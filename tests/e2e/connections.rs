//! Connections have caps, in total and by address: who opens too many is turned away at once, and nobody else notices.

use crate::common::{A, regions, secs, served_by};
use harness::{Ask, Authority, Gateway, Proto, Raw, Setup, Sim};
use std::sync::Arc;

const CUT_OFF: &str = "tidegate_connections_cut_off_total";

/// One backend, and these limits of connections.
async fn limited(limits: &str) -> (Sim, Gateway) {
    let sim = Sim::start("swedencentral").await;
    let gateway =
        Setup::new().top(&format!("limits: {{ connections: {{ {limits} }} }}")).backend("a", &sim, "").start().await;
    (sim, gateway)
}

/// A connection that has had an answer, and so has surely been let in.
async fn let_in(gateway: &Gateway) -> Raw {
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_ne!(raw.answer().await.status, 0);
    raw
}

async fn turned_away(gateway: &Gateway, reason: &str, count: f64) {
    let mut raw = Raw::connect(gateway.address()).await;
    assert!(raw.ends_within(secs(10)).await, "the connection stays open");
    gateway.until_metric(CUT_OFF, &[("reason", reason)], |now| now >= count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_no_more_connections_than_its_cap() {
    let (_sim, gateway) = limited("per_address_max: 2").await;
    let (one, mut two) = (let_in(&gateway).await, let_in(&gateway).await);
    turned_away(&gateway, "address_full", 1.0).await;
    turned_away(&gateway, "address_full", 2.0).await;
    // Those that are in go on, and a place that is free is given away.
    two.send("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_ne!(two.answer().await.status, 0);
    drop(one);
    gateway.until_metric("tidegate_connections_open", &[], |open| open < 1.5).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_has_no_more_connections_than_its_cap_and_a_reload_changes_it() {
    let (sim, mut gateway) = limited("total_max: 2, exempt: [\"127.0.0.0/8\"]").await;
    let _held = (let_in(&gateway).await, let_in(&gateway).await);
    turned_away(&gateway, "total_full", 1.0).await;
    let wider = Setup::new().top("limits: { connections: { total_max: 3 } }").backend("a", &sim, "");
    assert!(gateway.apply(wider).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exempt_networks_and_uncapped_listeners_have_no_cap_per_address() {
    let (_sim, gateway) = limited("per_address_max: 1, exempt: [\"127.0.0.0/8\"]").await;
    let _held = (let_in(&gateway).await, let_in(&gateway).await, let_in(&gateway).await);
    assert_eq!(gateway.metrics().await.count(CUT_OFF, &[]), 0);

    let (sim, _other) = regions().await;
    let yaml = format!(
        "version: 1\nlisteners:\n  - {{ name: inside, address: \"127.0.0.1:{{port}}\", connection_caps: false }}\n\
         admin: {{ address: \"127.0.0.1:{{admin}}\" }}\naccess_log: off\n\
         process: {{ upgrade_socket: {{dir}}/upgrade/upgrade.sock }}\n\
         limits: {{ connections: {{ per_address_max: 1, total_max: 1 }} }}\n\
         pools:\n  - name: chat\n    probe: off\n    backends:\n\
         \x20     - {{ name: a, region: swedencentral, url: \"{}\" }}\n",
        sim.url()
    );
    let gateway = Setup::new().text(&yaml).start().await;
    let _held = (let_in(&gateway).await, let_in(&gateway).await, let_in(&gateway).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_hop_carries_many_clients_and_has_no_cap_per_address() {
    let sim = Sim::start("swedencentral").await;
    let gateway = Setup::new()
        .top("trusted_hops: { networks: [ 127.0.0.0/8 ] }")
        .top("limits: { connections: { per_address_max: 1 } }")
        .backend("a", &sim, "")
        .start()
        .await;
    let _held = (let_in(&gateway).await, let_in(&gateway).await, let_in(&gateway).await);
    assert_eq!(gateway.metrics().await.count(CUT_OFF, &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_hello_that_never_comes_or_is_none_ends_the_connection() {
    let sim = Sim::start("swedencentral").await;
    let authority = Arc::new(Authority::new());
    let gateway = Setup::new()
        .top("limits: { connections: { tls_handshake_timeout: 500ms } }")
        .tls(&authority)
        .backend("a", &sim, "")
        .start()
        .await;
    let mut silent = Raw::connect(gateway.secure()).await;
    let mut dripping = Raw::connect(gateway.secure()).await;
    dripping.send([0x16, 0x03, 0x01]).await;
    let mut plain = Raw::connect(gateway.secure()).await;
    plain.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    for proto in [Proto::H1Tls, Proto::H2Tls] {
        served_by(&gateway.client(proto).ask(&Ask::chat("gpt")).await, A);
    }
    assert!(silent.ends_within(secs(10)).await && dripping.ends_within(secs(10)).await);
    gateway.until_metric(CUT_OFF, &[("reason", "tls_timeout")], |count| count > 1.5).await;
    gateway.until_metric(CUT_OFF, &[("reason", "tls_failed")], |count| count > 0.5).await;
}
