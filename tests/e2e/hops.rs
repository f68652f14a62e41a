//! Who stands in front: trusted hops, Front Door, traces, circles. What a stranger says about itself is never believed.

use crate::common::{A, B, ladder, regions, served_by};
use harness::{Answer, Ask, Gateway, Proto, Setup, Sim};

const ID: &str = "a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1";
const OTHER: &str = "a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e2";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// All values of a header that the region got, joined.
async fn seen(sim: &Sim, ask: &Ask, name: &str) -> String {
    let record = sim.record(&ask.id).await;
    let values: Vec<&str> = record.headers.iter().filter(|(own, _)| own == name).map(|(_, v)| v.as_str()).collect();
    values.join(", ")
}

fn forwarded(ask: Ask) -> Ask {
    ask.header("x-forwarded-for", "1.1.1.1, 198.51.100.7:4711")
        .header("x-forwarded-for", "10.1.2.3")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "ai.example.com")
        .header("forwarded", "for=1.1.1.1")
        .header("x-real-ip", "1.1.1.1")
        .header("x-azure-clientip", "1.1.1.1")
        .header("x-azure-socketip", "1.1.1.1")
        .header("x-azure-fdid", ID)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_says_about_itself_is_dropped_and_written_anew() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("trusted_hops: { networks: [ 10.0.0.0/8 ] }").start().await;
    for proto in Proto::PLAIN {
        let ask = forwarded(Ask::chat("gpt"));
        served_by(&gateway.client(proto).ask(&ask).await, A);
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "localhost"),
            ("forwarded", ""),
            ("x-real-ip", ""),
            ("x-azure-clientip", ""),
            ("x-azure-socketip", ""),
            ("x-azure-fdid", ""),
        ] {
            assert_eq!(seen(&a, &ask, name).await, value, "{name}");
        }
        let record = gateway.record(&ask.id).await;
        assert!(record["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{record}");
        assert_eq!(record.get("peer"), None, "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_hop_tells_the_client_and_is_added_to_the_list() {
    let (a, b) = regions().await;
    let hops = "trusted_hops: { networks: [ 127.0.0.0/8, \"10.0.0.0/8\" ] }";
    let mut gateway = ladder(&a, &b).top(hops).start().await;
    a.status(503);
    for proto in Proto::PLAIN {
        let ask = forwarded(Ask::chat("gpt"));
        served_by(&gateway.client(proto).ask(&ask).await, B);
        for sim in [&a, &b] {
            let list = "1.1.1.1, 198.51.100.7:4711, 10.1.2.3, 127.0.0.1";
            assert_eq!(seen(sim, &ask, "x-forwarded-for").await, list);
            assert_eq!(seen(sim, &ask, "x-forwarded-proto").await, "https");
            assert_eq!(seen(sim, &ask, "x-forwarded-host").await, "ai.example.com");
            assert_eq!(seen(sim, &ask, "x-azure-fdid").await, "", "an id of Front Door is nobody's business");
        }
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["client"], "198.51.100.7:4711", "{record}");
        assert!(record["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{record}");
    }
    // Without a word of the hop, what we know ourselves is told.
    let ask = Ask::chat("gpt");
    served_by(&gateway.ask(&ask).await, B);
    assert_eq!(seen(&b, &ask, "x-forwarded-for").await, "127.0.0.1");
    assert_eq!(seen(&b, &ask, "x-forwarded-proto").await, "http");
    // Behind what is no address nothing is believed.
    let ask = Ask::chat("gpt").header("x-forwarded-for", "198.51.100.7, unknown, [2001:db8::7]");
    served_by(&gateway.ask(&ask).await, B);
    assert_eq!(gateway.record(&ask.id).await["client"], "2001:db8::7");
    // A reload takes the trust away.
    assert!(gateway.apply(ladder(&a, &b)).await);
    let ask = forwarded(Ask::chat("gpt"));
    served_by(&gateway.ask(&ask).await, B);
    assert_eq!(seen(&b, &ask, "x-forwarded-for").await, "127.0.0.1");
}

fn text(sim: &Sim, listener: &str, more: &str) -> Setup {
    Setup::new().text(&format!(
        "version: 1
listeners:
  - {{ name: public, address: \"127.0.0.1:{{port}}\"{listener} }}
admin: {{ address: \"127.0.0.1:{{admin}}\" }}
process: {{ threads: 2, pre_drain: 3s, drain: 20s, upgrade_socket: \"{{dir}}/upgrade/upgrade.sock\" }}
access_log: {{ file: access.jsonl }}
{more}
pools:
  - name: chat
    required: true
    probe: off
    backends: [ {{ name: a, region: swedencentral, url: \"{}\" }} ]
",
        sim.url()
    ))
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)), "{answer}");
    assert_eq!(answer.header("x-should-retry"), "false", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_listeners_own_front_door_is_let_in() {
    let a = Sim::start("swedencentral").await;
    let door = format!(", front_door: {{ ids: [ {ID} ] }}");
    let mut gateway = text(&a, &door, "").start().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        let known = Ask::chat("gpt").header("x-azure-fdid", &ID.to_uppercase());
        let known = known.header("x-azure-socketip", "198.51.100.7").header("x-azure-clientip", "1.1.1.1");
        assert_eq!(client.ask(&known).await.status, 200);
        assert_eq!(seen(&a, &known, "x-azure-fdid").await, "");
        let record = gateway.record(&known.id).await;
        assert_eq!(record["client"], "198.51.100.7", "{record}");
        let before = a.requests();
        for ask in [
            Ask::chat("gpt"),
            Ask::chat("gpt").header("x-azure-fdid", OTHER),
            Ask::chat("gpt").header("x-azure-fdid", ""),
            Ask::chat("gpt").header("x-azure-fdid", ID).header("x-azure-fdid", ID),
            Ask::chat("gpt").header("x-fd-healthprobe", "1"),
        ] {
            refused(&client.ask(&ask).await, 403, "front_door_required");
            assert_eq!(gateway.record(&ask.id).await["code"], "front_door_required");
        }
        assert_eq!(a.requests(), before, "no backend sees them");
    }
    gateway.until_metric("tidegate_denials_total", &[("code", "front_door_required")], |count| count > 9.5).await;
    let log = std::fs::read_to_string(gateway.file("access.jsonl")).unwrap();
    assert!(!log.contains(&ID[..8]) && !gateway.log().contains(&ID[..8]), "{log}");
    // A reload opens it.
    assert!(gateway.apply(text(&a, "", "")).await);
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn front_doors_probes_are_answered_by_whether_we_are_ready() {
    let a = Sim::start("swedencentral").await;
    let door = format!(", front_door: {{ ids: [ {ID} ] }}");
    let mut gateway = text(&a, &door, "").start().await;
    let probe = |method: &str| Ask::new(method, "/").header("x-fd-healthprobe", "1");
    let ask = probe("HEAD");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer}");
    assert_eq!(gateway.record(&ask.id).await["ending"], "answered");
    assert_eq!(gateway.client(Proto::H2c).ask(&probe("GET")).await.status, 200);
    assert_eq!(a.requests(), 0, "no backend sees them");
    // On a listener without a Front Door the header means nothing.
    let open = text(&a, "", "").start().await;
    assert_eq!(open.ask(&probe("GET")).await.status, 404);
    gateway.signal("TERM");
    gateway.until_log("SIGTERM").await;
    assert_eq!(gateway.ask(&probe("HEAD")).await.status, 503);
    gateway.ended(std::time::Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_well_formed_trace_is_passed_on() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = text(&a, "", "").start().await;
    let bad = PARENT.to_uppercase();
    for (parent, state, parent_seen, state_seen) in [
        (PARENT, "x=1,y=2", PARENT, "x=1,y=2"),
        (PARENT, "not a state", PARENT, ""),
        (bad.as_str(), "x=1", "", ""),
        ("", "x=1", "", ""),
    ] {
        let ask = Ask::chat("gpt").header("traceparent", parent).header("tracestate", state);
        assert_eq!(gateway.ask(&ask).await.status, 200);
        assert_eq!(seen(&a, &ask, "traceparent").await, parent_seen, "{parent}");
        assert_eq!(seen(&a, &ask, "tracestate").await, state_seen, "{parent} {state}");
        let id = (!parent_seen.is_empty()).then_some(&PARENT[3..35]);
        assert_eq!(gateway.record(&ask.id).await["trace_id"].as_str(), id);
    }
    assert!(gateway.apply(text(&a, "", "headers: { trace_created: true }")).await);
    for given in [Some("nonsense"), None] {
        let mut ask = Ask::chat("gpt");
        if let Some(given) = given {
            ask = ask.header("traceparent", given).header("tracestate", "x=1");
        }
        assert_eq!(gateway.ask(&ask).await.status, 200);
        let made = seen(&a, &ask, "traceparent").await;
        assert!(made.len() == 55 && made.starts_with("00-") && made.ends_with("-00"), "{made}");
        assert_eq!(seen(&a, &ask, "tracestate").await, "");
        assert_eq!(gateway.record(&ask.id).await["trace_id"], made[3..35]);
    }
}

async fn passes(gateway: &Gateway, via: &[&str]) -> Answer {
    let ask = via.iter().fold(Ask::chat("gpt"), |ask, value| ask.header("via", value));
    gateway.ask(&ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_goes_round_in_circles_is_refused() {
    let a = Sim::start("swedencentral").await;
    // A gateway that is its own backend.
    let own = Setup::new().backend_at("a", "swedencentral", "http://127.0.0.1:{port}", "").start().await;
    let ask = Ask::chat("gpt");
    let answer = own.ask(&ask).await;
    refused(&answer, 508, "loop_detected");
    // Counted after the answer; the end of a circle is told at its first return.
    let code = [("code", "loop_detected")];
    let denials = own.until_metric("tidegate_denials_total", &code, |count| count > 0.5).await;
    assert!(denials < 1.5, "it went round once: {denials}");
    // Others of our kind may be passed, up to a limit.
    let gateway = text(&a, "", "limits: { passes_max: 1 }").start().await;
    for good in [&[][..], &["1.1 Azure"], &["1.1 tidegate-00ff, 1.1 proxy.example"]] {
        assert_eq!(passes(&gateway, good).await.status, 200, "{good:?}");
    }
    refused(&passes(&gateway, &["1.1 tidegate-00ff", "2 tidegate-00ee"]).await, 508, "loop_detected");
    let ask = Ask::chat("gpt").header("via", "1.1 Azure");
    gateway.ask(&ask).await;
    let via = seen(&a, &ask, "via").await;
    let signed = via.strip_prefix("1.1 Azure, 1.1 tidegate-").unwrap_or_else(|| panic!("{via}")).to_owned();
    refused(&passes(&gateway, &[&format!("1.1 tidegate-{signed}")]).await, 508, "loop_detected");
}
