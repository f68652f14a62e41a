//! What rules do: headers both ways, redirects, rewrites, other pools.

use super::started;
use crate::common::{A, B, ladder, regions, served_by};
use harness::{Ask, Proto, Setup, Sim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_headers_are_appended_overwritten_and_deleted_for_every_attempt() {
    let (a, b) = regions().await;
    let rules = "rules:
  - name: dress
    then:
      - append_request_header: { name: x-list, value: ours }
      - overwrite_request_header: { name: x-own, value: from-rule }
      - overwrite_request_header: { name: x-own-b, value: from-rule }
      - delete_request_header: x-debug";
    let gateway =
        ladder(&a, &b).top(rules).backend("b", &b, "priority: 2, headers: { x-own-b: from-backend }").start().await;
    a.status(503);
    for proto in Proto::PLAIN {
        let ask = Ask::chat("gpt")
            .header("x-list", "theirs")
            .header("x-own", "1")
            .header("x-own", "2")
            .header("x-debug", "1");
        served_by(&gateway.client(proto).ask(&ask).await, B);
        for (sim, own_b) in [(&a, "from-rule"), (&b, "from-backend")] {
            let record = sim.record(&ask.id).await;
            let all = |name: &str| {
                let fields = record.headers.iter().filter(|(own, _)| own == name);
                fields.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(",")
            };
            assert_eq!(
                (all("x-list").as_str(), all("x-own").as_str(), all("x-debug").as_str()),
                ("theirs,ours", "from-rule", "")
            );
            assert_eq!(all("x-own-b"), own_b, "{record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_headers_are_changed_on_answers_and_on_our_own_refusals() {
    let rules = "rules:
  - name: secure
    then:
      - overwrite_response_header: { name: strict-transport-security, value: max-age=31536000 }
      - append_response_header: { name: x-list, value: ours }
      - delete_response_header: x-ms-region
      - overwrite_response_header: { name: cache-control, value: private }";
    let (sim, gateway) = started(rules).await;
    let too_large = Ask::new("GET", &format!("/{}", "x".repeat(9000)));
    for (ask, status) in [
        (Ask::chat("gpt"), 200),
        (Ask::stream("gpt"), 200),
        (Ask::new("TRACE", "/openai/v1/models"), 405),
        (too_large, 414),
        (Ask::json("/openai/v1/chat/completions", "{"), 400),
    ] {
        let answer = gateway.ask(&ask).await;
        assert_eq!(
            (answer.status, answer.header("strict-transport-security")),
            (status, "max-age=31536000"),
            "{answer}"
        );
        assert_eq!((answer.header("x-list"), answer.header("x-ms-region")), ("ours", ""), "{answer}");
        assert_eq!(answer.headers.get_all("cache-control").iter().count(), 1, "{answer}");
    }
    sim.refuse();
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.status, answer.header("x-list")), (502, "ours"), "{answer}");
}

const REDIRECTS: &str = "rules:
  - { name: moved, when: [ { variable: path, operator: begins_with, values: [/old] } ], then: [ { redirect: { status: 301, path: /new } } ] }
  - { name: found, when: [ { variable: path, operator: equal, values: [/found] } ], then: [ { redirect: { status: 302, host: 'docs.example.com:8443' } } ] }
  - { name: whole, when: [ { variable: path, operator: equal, values: [/whole] } ], then: [ { redirect: { status: 308, protocol: https, host: d.example.com, path: /p, query: q=1, fragment: f } } ] }
  - { name: bare, when: [ { variable: query_argument, name: drop, operator: any } ], then: [ { redirect: { query: '' } } ] }
  - { name: secure, when: [ { variable: scheme, operator: equal, values: [http] }, { variable: request_header, name: x-up, operator: any } ], then: [ { redirect: { protocol: https } } ] }
  - { name: after, then: [ { append_response_header: { name: x-after, value: '1' } } ] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_keep_what_they_do_not_name_and_end_the_request() {
    let sim = Sim::start("swedencentral").await;
    let routes =
        "routes:\n  - { name: own, match: { host: edge.example.com }, pool: chat }\n  - { name: rest, pool: chat }\n";
    let gateway = Setup::new().backend("a", &sim, "").top(REDIRECTS).more(routes).start().await;
    let get = |path: &str| Ask::new("GET", path);
    let up = |host: &str| Ask::new("POST", "/x?y=1").header("x-up", "1").header("host", host);
    for (ask, status, location) in [
        (get("/old?x=1"), 301, "/new?x=1"),
        (get("/found?x=1&api-key=secret&subscription-key=secret"), 302, "http://docs.example.com:8443/found?x=1"),
        (get("/whole?x=1"), 308, "https://d.example.com/p?q=1#f"),
        (get("/any?drop"), 307, "/any"),
        (up("edge.example.com:8080"), 307, "https://edge.example.com/x?y=1"),
        (up("EDGE.example.com"), 307, "https://edge.example.com/x?y=1"),
        (up("evil.example"), 404, ""),
        (up("edge.example.com.evil.example"), 404, ""),
        (up("edge.example.com@evil.example"), 404, ""),
        (get("//evil.example/old/../?drop"), 307, "/evil.example/old/../"),
        (get("/\\evil.example/?drop"), 307, "/evil.example/"),
    ] {
        let answer = gateway.ask(&ask).await;
        let evil = answer.header("location").contains("//evil") || answer.header("location").contains('\\');
        if answer.status == 400 && ask.path.contains("evil") || ask.headers.iter().any(|(_, value)| value.contains('@'))
        {
            // Refused before the rules: it leads nowhere either.
            assert_eq!((answer.status, answer.header("location")), (400, ""), "{answer}");
            continue;
        }
        assert_eq!(
            (answer.status, answer.header("location"), evil),
            (status, location, false),
            "{} {answer}",
            ask.path
        );
        assert_eq!(answer.header("x-after"), "", "{answer}");
        if status != 404 {
            assert!(answer.body.is_empty() && answer.header("x-request-id") == ask.id, "{answer}");
            assert_eq!(gateway.record(&ask.id).await["ending"], "answered");
        }
    }
    assert_eq!(sim.requests(), 0);
    // A body that is not read: the next request takes a connection of its own, and none is lost.
    let client = gateway.client(Proto::H1).keeping();
    for _ in 0..3 {
        assert_eq!(client.ask(&Ask::json("/old", "x".repeat(100_000))).await.status, 301);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_path_reaches_every_region() {
    let (a, b) = regions().await;
    let rules = "rules:
  - { name: short, then: [ { rewrite: { from: /ai, to: /openai/v1 } } ] }
  - { name: one, then: [ { rewrite: { from: /chat, to: /openai/deployments/gpt/chat/completions, keep_rest: false } } ] }";
    let gateway = ladder(&a, &b).top(rules).backend("b", &b, "priority: 2, deployment: gpt-b").start().await;
    a.status(503);
    for proto in Proto::PLAIN {
        let v1 = Ask { path: "/ai/chat/completions?x=1".to_owned(), ..Ask::v1("gpt") };
        served_by(&gateway.client(proto).ask(&v1).await, B);
        assert_eq!(a.record(&v1.id).await.path_and_query, "/openai/v1/chat/completions?x=1");
        assert_eq!(b.record(&v1.id).await.path_and_query, "/openai/v1/chat/completions?x=1");
        let record = gateway.record(&v1.id).await;
        assert_eq!(
            (&record["path"], &record["operation"]),
            (&"/ai/chat/completions?x=1".into(), &"chat_completions".into())
        );
        assert_eq!(record["deployment"], "gpt");
        let classic = Ask { path: "/chat/whatever?api-version=1".to_owned(), ..Ask::chat("gpt") };
        served_by(&gateway.client(proto).ask(&classic).await, B);
        assert_eq!(
            a.record(&classic.id).await.path_and_query,
            "/openai/deployments/gpt/chat/completions?api-version=1"
        );
        assert_eq!(
            b.record(&classic.id).await.path_and_query,
            "/openai/deployments/gpt-b/chat/completions?api-version=1"
        );
        let other = Ask::new("GET", "/aid");
        gateway.client(proto).ask(&other).await;
        assert_eq!(gateway.record(&other.id).await["path"], "/aid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_sends_requests_to_another_pool() {
    let (a, b) = regions().await;
    let rules = "rules:
  - { name: canary, when: [ { variable: request_header, name: x-canary, operator: any } ], then: [ { pool: other } ] }";
    let more = format!(
        "  - name: other\n    probe: off\n    backends:\n      - {{ name: b, region: francecentral, url: \"{}\" }}\n\
         routes:\n  - {{ name: all, pool: chat }}\n",
        b.url()
    );
    let mut gateway = Setup::new().backend("a", &a, "").top(rules).more(&more).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let ask = Ask::chat("gpt").header("x-canary", "1");
    served_by(&gateway.ask(&ask).await, B);
    let record = gateway.record(&ask.id).await;
    assert_eq!((&record["route"], &record["pool"]), (&"all".into(), &"other".into()), "{record}");
    for pool in ["chat", "other"] {
        let labels = [("route", "all"), ("pool", pool), ("ending", "served")];
        gateway.until_metric("tidegate_requests_total", &labels, |count| (count - 1.0).abs() < 0.1).await;
    }
    // A broken rule leaves the old ones in force; a removed one takes its series along.
    let setup = gateway.setup().clone();
    assert!(!gateway.apply(setup.clone().top("rules: [ { name: x, then: [ { pool: othr } ] } ]")).await);
    served_by(&gateway.ask(&Ask::chat("gpt").header("x-canary", "1")).await, B);
    assert!(gateway.apply(setup.top("rules: [ { name: y, when: [ { variable: cookie, name: c, operator: any } ], then: [ { pool: other } ] } ]")).await);
    served_by(&gateway.ask(&Ask::chat("gpt").header("x-canary", "1")).await, A);
    let metrics = gateway.admin("/metrics").await.text();
    assert!(!metrics.contains("rule=\"canary\"") && metrics.contains("rule=\"y\""), "{metrics}");
}
