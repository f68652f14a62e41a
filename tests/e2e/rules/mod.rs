//! The rules engine: one row per condition, operator and transform here, actions beside.

mod actions;

use harness::{Answer, Ask, Authority, Gateway, Proto, Setup, Sim};
use std::fmt::Write;
use std::sync::Arc;

/// A rule named `r0`, `r1`, … per condition, which tells of itself in the answer.
pub(crate) fn telling<'c>(conditions: impl Iterator<Item = &'c str>) -> String {
    conditions.enumerate().fold("rules:\n".to_owned(), |mut text, (index, condition)| {
        let tell = format!("append_response_header: {{ name: x-met, value: r{index} }}");
        let _ = writeln!(text, "  - {{ name: r{index}, when: [ {{ {condition} }} ], then: [ {{ {tell} }} ] }}");
        text
    })
}

/// Whether an answer tells of the rule.
pub(crate) fn met(answer: &Answer, index: usize) -> bool {
    answer.headers.get_all("x-met").iter().any(|value| value == format!("r{index}").as_str())
}

fn get(path: &str) -> Ask {
    Ask::new("GET", path)
}

fn with(name: &str, value: &str) -> Ask {
    get("/openai/v1/models").header(name, value)
}

/// Over which protocol, and what.
type Sent = (Proto, Ask);

fn h1(ask: Ask) -> Sent {
    (Proto::H1, ask)
}

async fn started(rules: &str) -> (Sim, Gateway) {
    let sim = Sim::start("swedencentral").await;
    let authority = Arc::new(Authority::new());
    let gateway = Setup::new().backend("a", &sim, "").tls(&authority).top(rules.trim_end()).start().await;
    (sim, gateway)
}

/// Each row: a condition, a request that meets it, one that does not.
async fn judged(rows: &[(&str, Sent, Sent)]) {
    let (_sim, gateway) = started(&telling(rows.iter().map(|(condition, _, _)| *condition))).await;
    for (index, (condition, meets, misses)) in rows.iter().enumerate() {
        for ((proto, ask), holds) in [(meets, true), (misses, false)] {
            let answer = gateway.client(*proto).ask(ask).await;
            assert_eq!(met(&answer, index), holds, "{condition}: {} {} {answer}", ask.method, ask.path);
            let record = gateway.record(&ask.id).await;
            let logged = record["rules"].as_array().cloned().unwrap_or_default();
            if logged.len() < 16 {
                assert_eq!(logged.contains(&format!("r{index}").into()), holds, "{record}");
            }
        }
        let count = gateway.metrics().await.sum("tidegate_rule_matches_total", &[("rule", &format!("r{index}"))]);
        assert!(count >= 1.0, "{condition}: {count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variable_is_judged() {
    let chat = || Ask::chat("gpt").sized(2000);
    judged(&[
        ("variable: method, operator: equal, values: [DELETE, GET]", h1(get("/openai/v1/models")), h1(chat())),
        ("variable: http_version, operator: equal, values: [\"2\"]", (Proto::H2c, chat()), h1(chat())),
        ("variable: http_version, operator: equal, values: [\"1.1\"]", h1(chat()), (Proto::H2c, chat())),
        ("variable: scheme, operator: equal, values: [https]", (Proto::H1Tls, chat()), h1(chat())),
        ("variable: tls_version, operator: equal, values: [\"1.3\"]", (Proto::H2Tls, chat()), h1(chat())),
        (
            "variable: host, operator: equal, values: [Docs.example.com]",
            h1(with("host", "docs.EXAMPLE.com:99")),
            h1(chat()),
        ),
        ("variable: path, operator: begins_with, values: [/openai/v1/]", h1(get("/openai/v1/models")), h1(chat())),
        ("variable: file_name, operator: equal, values: [a.b.txt]", h1(get("/x/a.b.txt?y=/z")), h1(get("/x/a.b.txt/"))),
        ("variable: file_extension, operator: equal, values: [txt]", h1(get("/x/a.b.txt")), h1(get("/x.txt/a"))),
        (
            "variable: url, operator: begins_with, values: [\"http://edge.example/x?\"]",
            h1(get("/x?y").header("host", "edge.example")),
            h1(get("/x?y")),
        ),
        ("variable: query_string, operator: equal, values: [a=1&b]", h1(get("/x?a=1&b")), h1(get("/x?b&a=1"))),
        (
            "variable: query_argument, name: lang, operator: equal, values: [sv]",
            h1(get("/x?a=1&l%61ng=sv")),
            h1(get("/x?lang=svx")),
        ),
        (
            "variable: request_header, name: X-Flavour, operator: equal, values: [blue]",
            h1(with("x-flavour", "red").header("x-flavour", "blue")),
            h1(with("x-flavour", "bluer")),
        ),
        (
            "variable: cookie, name: tier, operator: equal, values: [gold]",
            h1(with("cookie", "a=b; tier=gold")),
            h1(with("cookie", "tier=silver; x=gold")),
        ),
        (
            "variable: device_type, operator: equal, values: [mobile]",
            h1(with("user-agent", "Mozilla/5.0 (Linux; Android 14) Mobile")),
            h1(with("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")),
        ),
        ("variable: device_type, operator: equal, values: [desktop]", h1(get("/x")), h1(with("user-agent", "iPad"))),
        (
            "variable: body_size, operator: greater_than, values: [\"1999\"]",
            h1(chat()),
            h1(Ask::chat("gpt").sized(1999)),
        ),
        (
            "variable: body_size, operator: equal, values: [\"2000\"]",
            h1(chat().pieces(700)),
            h1(chat().again().sized(2001).pieces(700)),
        ),
        (
            "variable: body_size, operator: equal, values: [\"0\"]",
            (Proto::H2c, get("/openai/v1/models")),
            (Proto::H2c, chat()),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operator_compares() {
    let x = |value: &str| h1(with("x-a", value));
    let none = || h1(get("/openai/v1/models"));
    let on = "variable: request_header, name: x-a,";
    let rows = [
        ("operator: any", x("1"), none()),
        ("operator: any, negate: true", none(), x("1")),
        ("operator: equal, values: [one, two]", x("two"), x("three")),
        ("operator: equal, values: [one], negate: true", none(), x("one")),
        ("operator: contains, values: [b]", x("abc"), x("ac")),
        ("operator: begins_with, values: [ab]", x("abc"), x("cab")),
        ("operator: ends_with, values: [bc]", x("abc"), x("bcd")),
        ("operator: less_than, values: [\"3\"]", x("ab"), x("abc")),
        ("operator: less_than_or_equal, values: [\"3\"]", x("abc"), x("abcd")),
        ("operator: greater_than, values: [\"3\"]", x("abcd"), x("abc")),
        ("operator: greater_than_or_equal, values: [\"3\"]", x("abc"), x("ab")),
        ("operator: regex, values: [\"^a[0-9]+$\"]", x("a12"), x("a12b")),
        ("operator: equal, values: [ab], transforms: [lowercase]", x("AB"), x("A B")),
        ("operator: equal, values: [AB], transforms: [uppercase]", x("ab"), x("a b")),
        ("operator: equal, values: [ab], transforms: [trim, url_decode]", x("a%62"), x("a%2562")),
        ("operator: equal, values: [\" ab\"], transforms: [url_decode]", x("%20ab"), x("ab")),
        ("operator: equal, values: [ab], transforms: [url_decode, trim]", x("%20ab+"), x("%20a+b")),
        ("operator: equal, values: [ab], transforms: [url_decode, remove_nulls]", x("a%00b"), x("a%01b")),
        ("operator: equal, values: [a%20b], transforms: [url_encode]", x("a b"), x("ab")),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(rest, meets, misses)| (format!("{on} {rest}"), meets, misses)).collect();
    let rows: Vec<_> =
        rows.iter().map(|(text, meets, misses)| (text.as_str(), meets.clone(), misses.clone())).collect();
    judged(&rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_and_addresses_are_compared_as_such() {
    let size = |bytes| h1(Ask::chat("gpt").sized(bytes));
    judged(&[
        ("variable: body_size, operator: less_than, values: [\"1000\"]", size(999), size(1000)),
        ("variable: body_size, operator: less_than_or_equal, values: [\"1000\"]", size(1000), size(1001)),
        ("variable: body_size, operator: greater_than_or_equal, values: [\"1000\"]", size(1000), size(999)),
    ])
    .await;
    // Addresses and ports are the same for every request of a test: one holds, the other does not.
    let conditions = [
        "variable: client_address, operator: ip_match, values: [10.0.0.0/8, 127.0.0.0/8]",
        "variable: client_address, operator: ip_match, values: [10.0.0.0/8, \"::1\"]",
        "variable: socket_address, operator: ip_match, values: [127.0.0.1]",
        "variable: socket_address, operator: ip_match, values: [127.0.0.1], negate: true",
        "variable: server_port, operator: greater_than, values: [\"1\"]",
        "variable: server_port, operator: equal, values: [\"1\"]",
    ];
    let (_sim, gateway) = started(&telling(conditions.into_iter())).await;
    for proto in Proto::PLAIN {
        let answer = gateway.client(proto).ask(&Ask::chat("gpt")).await;
        let holds: Vec<bool> = (0..conditions.len()).map(|index| met(&answer, index)).collect();
        assert_eq!(holds, [true, false, true, false, true, false], "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn countries_and_systems_of_clients_and_of_who_is_connected_are_compared() {
    let on = [
        ("client_address, operator: geo_match, values: [SE, gb]", "81.2.69.160", true),
        ("client_address, operator: geo_match, values: [SE, GB]", "216.160.83.56", false),
        ("client_address, operator: geo_match, values: [GB], negate: true", "216.160.83.56", true),
        ("client_address, operator: geo_match, values: [ZZ]", "192.0.2.1", true),
        ("client_address, operator: asn_match, values: [AS1221]", "1.128.0.1", true),
        ("client_address, operator: asn_match, values: [\"1221\"]", "81.2.69.160", false),
        ("socket_address, operator: geo_match, values: [GB]", "81.2.69.160", false),
        ("socket_address, operator: geo_match, values: [ZZ]", "81.2.69.160", true),
    ];
    let conditions: Vec<String> = on.iter().map(|(condition, _, _)| format!("variable: {condition}")).collect();
    let databases = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/databases");
    let top = format!(
        "trusted_hops: {{ networks: [ 127.0.0.0/8 ] }}
waf:
  geo: {{ database: {databases}/GeoLite2-Country-Test.mmdb, asn_database: {databases}/GeoLite2-ASN-Test.mmdb }}
{}",
        telling(conditions.iter().map(String::as_str))
    );
    let (_sim, gateway) = started(&top).await;
    for (index, (condition, client, holds)) in on.into_iter().enumerate() {
        for proto in Proto::PLAIN {
            let answer = gateway.client(proto).ask(&Ask::chat("gpt").header("x-forwarded-for", client)).await;
            assert_eq!(met(&answer, index), holds, "{condition} of {client}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_anded_and_rules_run_in_order_until_one_stops() {
    let rules = "rules:
  - name: both
    when: [ { variable: method, operator: equal, values: [GET] }, { variable: request_header, name: x-a, operator: any } ]
    then: [ { append_response_header: { name: x-met, value: r0 } } ]
  - { name: every, then: [ { append_response_header: { name: x-met, value: r1 } } ] }
  - { name: stopper, when: [ { variable: request_header, name: x-stop, operator: any } ], stop: true }
  - { name: last, then: [ { append_response_header: { name: x-met, value: r3 } } ] }
";
    let (_sim, gateway) = started(rules).await;
    for (ask, want) in [
        (get("/openai/v1/models"), [false, true, false, true]),
        (with("x-a", "1"), [true, true, false, true]),
        (with("x-stop", "1"), [false, true, false, false]),
        (Ask::chat("gpt").header("x-a", "1"), [false, true, false, true]),
    ] {
        let answer = gateway.ask(&ask).await;
        assert_eq!([0, 1, 2, 3].map(|index| met(&answer, index)), want, "{answer}");
    }
    let ask = with("x-a", "1").header("x-stop", "1");
    gateway.ask(&ask).await;
    assert_eq!(gateway.record(&ask.id).await["rules"], serde_json::json!(["both", "every", "stopper"]));
}
