//! Headers in, out and upstream: what is added, passed and taken away, and where no credential may ever be.

use crate::common::{A, B, ladder, regions, served_by};
use harness::{Ask, Gateway, Proto, Raw, Setup, Sim};
use tidegate::simulator::FaultRule;

const CLIENT_KEY: &str = "canary-client-5f1d";
const KEY_A: &str = "canary-backend-a-77c2";
const KEY_B: &str = "canary-backend-b-90ee";

async fn keyed() -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .env("KEY_A", KEY_A)
        .file("key-b", &format!("{KEY_B}\n"))
        .backend("a", &a, "priority: 1, auth: { api_key: { env: KEY_A } }")
        .backend("b", &b, "priority: 2, auth: { bearer: { file: key-b } }, headers: { x-own: from-config }")
        .start()
        .await;
    (a, b, gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_never_cross_the_gateway() {
    let (a, b, gateway) = keyed().await;
    a.status(503);
    for proto in Proto::PLAIN {
        let mut ask = Ask::chat("gpt");
        for name in ["api-key", "ocp-apim-subscription-key", "x-api-key", "proxy-authorization", "cookie"] {
            ask = ask.header(name, CLIENT_KEY);
        }
        ask = ask.header("authorization", &format!("Bearer {CLIENT_KEY}"));
        ask.path.push_str(&format!("&api-key={CLIENT_KEY}&subscription-key={CLIENT_KEY}"));
        let answer = gateway.client(proto).ask(&ask).await;
        served_by(&answer, B);
        for (sim, own) in [(&a, KEY_A), (&b, KEY_B)] {
            let record = sim.record(&ask.id).await;
            let seen = format!("{} {:?}", record.path_and_query, record.headers);
            assert!(!seen.contains(CLIENT_KEY), "{seen}");
            assert!(seen.contains(own), "{seen}");
        }
        assert_eq!(a.record(&ask.id).await.header("api-key"), Some(KEY_A));
        assert_eq!(a.record(&ask.id).await.header("authorization"), None);
        assert_eq!(b.record(&ask.id).await.header("authorization"), Some(format!("Bearer {KEY_B}").as_str()));
        assert_eq!(b.record(&ask.id).await.header("api-key"), None);
        assert!(!answer.to_string().contains("canary"), "{answer}");
        gateway.record(&ask.id).await;
    }
    no_canary(&gateway).await;
}

/// No key of anybody in any place an operator or a client can read.
async fn no_canary(gateway: &Gateway) {
    let access = std::fs::read_to_string(gateway.file("access.jsonl")).unwrap();
    let metrics = gateway.admin("/metrics").await.text();
    let backends = gateway.admin("/backends").await.text();
    let ready = gateway.admin("/readyz").await.text();
    for (place, text) in [
        ("access log", access),
        ("metrics", metrics),
        ("backends", backends),
        ("readyz", ready),
        ("log", gateway.log()),
    ] {
        assert!(!text.contains("canary"), "a secret in {place}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_stay_out_of_refusals_and_faults_too() {
    let (a, b, gateway) = keyed().await;
    for (preset, status) in [("401_key", 502), ("403_network", 502)] {
        a.reset();
        b.reset();
        a.fault(FaultRule::preset(preset));
        b.fault(FaultRule::preset(preset));
        let answer = gateway.ask(&Ask::chat("gpt").header("api-key", CLIENT_KEY)).await;
        assert!(answer.status == status || answer.status == 503, "{answer}");
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
    let lost = Ask::new("GET", &format!("/nowhere/{CLIENT_KEY}?api-key={CLIENT_KEY}")).header("api-key", CLIENT_KEY);
    gateway.ask(&lost).await;
    let record = gateway.record(&lost.id).await.to_string();
    assert!(!record.contains(&format!("={CLIENT_KEY}")), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_names_the_request_everywhere() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = Ask::chat("gpt").header("traceparent", traceparent).header("tracestate", "x=1");
    let answer = gateway.ask(&ask).await;
    assert_eq!(answer.header("x-request-id"), ask.id);
    let seen = a.record(&ask.id).await;
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(traceparent), Some("x=1")));
    assert_eq!(gateway.record(&ask.id).await["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    // Without one of its own, or with one that is no id, a client gets ours.
    for given in [None, Some("bad id \u{e9}"), Some("")] {
        let mut ask = Ask::chat("gpt").without("x-request-id");
        if let Some(given) = given {
            ask = ask.header("x-request-id", given);
        }
        let answer = gateway.ask(&ask).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        a.record(&id).await;
        gateway.record(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_id_is_not_taken_over_where_that_is_switched_off() {
    let (a, b) = regions().await;
    let gateway =
        ladder(&a, &b).top("headers: { request_id_accepted: false, served_by: false, attempts: false }").start().await;
    let ask = Ask::chat("gpt");
    let answer = gateway.ask(&ask).await;
    assert_ne!(answer.header("x-request-id"), ask.id);
    assert_eq!((answer.header("x-served-by"), answer.header("x-tidegate-attempts")), ("", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_is_told_who_came_from_where() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for proto in Proto::PLAIN {
        let ask = Ask::chat("gpt").header("user-agent", "agent/1").header("x-forwarded-for", "192.0.2.7");
        served_by(&gateway.client(proto).ask(&ask).await, A);
        let record = a.record(&ask.id).await;
        assert_eq!(record.header("x-forwarded-proto"), Some("http"));
        assert_eq!(record.header("x-forwarded-host"), Some("localhost"));
        let hops: Vec<&str> =
            record.headers.iter().filter(|(name, _)| name == "x-forwarded-for").map(|(_, v)| v.as_str()).collect();
        assert_eq!(hops.join(", "), "127.0.0.1", "what a stranger says is not passed on");
        assert_eq!(record.header("host"), Some(a.url().trim_start_matches("http://")));
        assert_eq!(record.header("user-agent"), Some("agent/1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_one_hop_end_here() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut raw = Raw::connect(gateway.address()).await;
    let ask = Ask::chat("gpt");
    let body = ask.bytes();
    raw.send(format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nx-request-id: {}\r\ncontent-length: {}\r\nconnection: x-private, keep-alive\r\n\
         x-private: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\nproxy-connection: keep-alive\r\nx-public: 2\r\n\r\n",
        ask.path,
        ask.id,
        body.len()
    ))
    .await;
    raw.send(body).await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let record = a.record(&ask.id).await;
    for name in ["x-private", "keep-alive", "te", "proxy-connection", "accept-encoding", "upgrade"] {
        assert_eq!(record.header(name), None, "{record:?}");
    }
    assert_eq!(record.header("x-public"), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_headers_are_set_over_the_clients() {
    let (a, b, gateway) = keyed().await;
    a.status(503);
    let ask = Ask::chat("gpt").header("x-own", "from-client");
    served_by(&gateway.ask(&ask).await, B);
    assert_eq!(a.record(&ask.id).await.header("x-own"), Some("from-client"));
    assert_eq!(b.record(&ask.id).await.header("x-own"), Some("from-config"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_azure_says_about_itself_reaches_the_client() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
        let answer = gateway.ask(&ask).await;
        assert!(!answer.header("apim-request-id").is_empty(), "{answer}");
        assert_eq!(answer.header("x-ms-region"), "Sweden Central");
        assert_eq!(answer.header("x-tidegate-attempts"), format!("{A}=served"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_of_attempts_is_off_by_default() {
    let (a, b) = regions().await;
    let gateway = Setup::new().top("headers: {}").backend("a", &a, "").backend("b", &b, "").start().await;
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!(answer.header("x-tidegate-attempts"), "");
    assert!(!answer.header("x-served-by").is_empty());
    // A client cannot make a region believe a trail either.
    let ask = Ask::chat("gpt").header("x-tidegate-attempts", "forged");
    gateway.ask(&ask).await;
    let seen = if a.find(&ask.id).is_some() { &a } else { &b };
    assert_eq!(seen.record(&ask.id).await.header("x-tidegate-attempts"), None);
}
