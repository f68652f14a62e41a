//! The web application firewall with custom rules: one row per variable, operator, transform, action and mode, on the real
//! binary. Rows of conditions share one gateway: each has a rule of its own that only requests with its `x-row` meet.

use crate::common::{ladder, regions, served_by};
use harness::{Ask, Gateway, Setup};
use std::fmt::Write;

const DATABASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/databases");

/// A condition, a request that it takes, and one that it leaves.
struct Row {
    condition: &'static str,
    taken: Change,
    left: Change,
}

/// What makes a chat of the row's own.
#[derive(Clone, Copy)]
enum Change {
    Nothing,
    Query(&'static str),
    Header(&'static str, &'static str),
    Body(&'static str),
    Form(&'static str),
    Method(&'static str),
    Client(&'static str),
    /// No request is left.
    Never,
}

use Change::{Body, Client, Form, Header, Method, Never, Nothing, Query};

const fn row(condition: &'static str, taken: Change, left: Change) -> Row {
    Row { condition, taken, left }
}

/// Variables first, then operators, then transforms, then the rest.
const ROWS: [Row; 35] = [
    row("variable: RemoteAddr, operator: IPMatch, values: [ 81.2.69.0/24 ]", Client("81.2.69.160"), Client("81.3.0.1")),
    row("variable: SocketAddr, operator: IPMatch, values: [ 127.0.0.0/8 ]", Client("81.2.69.160"), Never),
    row("variable: RequestMethod, operator: Equal, values: [ DELETE, PUT ]", Method("PUT"), Method("PATCH")),
    row("variable: QueryString, operator: Contains, values: [ \"q=x\" ]", Query("q=xy"), Query("q=y")),
    row("variable: QueryString, selector: q, operator: Equal, values: [ a ]", Query("r=b&q=a"), Query("r=a&q=b")),
    row("variable: QueryString, selector: api-x, operator: Any", Query("API%2DX"), Query("api=x")),
    row("variable: PostArgs, operator: Equal, values: [ b ]", Form("a=1&c=b"), Form("b=1")),
    row("variable: PostArgs, selector: a, operator: Equal, values: [ b ]", Form("a=b"), Form("c=b")),
    row("variable: RequestUri, operator: BeginsWith, values: [ /openai/dep ]", Nothing, Method("/other")),
    row("variable: RequestHeader, selector: X-Probe, operator: Equal, values: [ y ]", Header("x-probe", "y"), Nothing),
    row("variable: RequestBody, operator: Contains, values: [ forbidden ]", Body("a forbidden word"), Body("a word")),
    row("variable: Cookies, operator: Equal, values: [ s1 ]", Header("cookie", "a=0; b=s1"), Header("cookie", "s1=b")),
    row(
        "variable: Cookies, selector: b, operator: Equal, values: [ s ]",
        Header("cookie", "b=s"),
        Header("cookie", "c=s"),
    ),
    row("variable: RequestHeader, selector: x-probe, operator: Any", Header("x-probe", ""), Nothing),
    row("variable: RemoteAddr, operator: GeoMatch, values: [ SE, GB ]", Client("81.2.69.160"), Client("216.160.83.56")),
    row("variable: RemoteAddr, operator: GeoMatch, values: [ ZZ ]", Client("192.0.2.1"), Client("81.2.69.160")),
    row("variable: RemoteAddr, operator: AsnMatch, values: [ AS1221 ]", Client("1.128.0.1"), Client("81.2.69.160")),
    row("variable: QueryString, selector: v, operator: Equal, values: [ b, a ]", Query("v=a"), Query("v=A")),
    row("variable: QueryString, selector: v, operator: Contains, values: [ bc ]", Query("v=abcd"), Query("v=acb")),
    row("variable: QueryString, selector: v, operator: BeginsWith, values: [ ab ]", Query("v=abc"), Query("v=cab")),
    row("variable: QueryString, selector: v, operator: EndsWith, values: [ bc ]", Query("v=abc"), Query("v=bca")),
    row("variable: QueryString, selector: v, operator: LessThan, values: [ \"3\" ]", Query("v=ab"), Query("v=abc")),
    row(
        "variable: QueryString, selector: v, operator: LessThanOrEqual, values: [ \"3\" ]",
        Query("v=abc"),
        Query("v=abcd"),
    ),
    row(
        "variable: QueryString, selector: v, operator: GreaterThan, values: [ \"3\" ]",
        Query("v=abcd"),
        Query("v=abc"),
    ),
    row(
        "variable: QueryString, selector: v, operator: GreaterThanOrEqual, values: [ \"3\" ]",
        Query("v=abc"),
        Query("v=ab"),
    ),
    row(
        "variable: QueryString, selector: v, operator: RegEx, values: [ \"^a+[0-9]$\" ]",
        Query("v=aa7"),
        Query("v=aa7b"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ ab ], transforms: [ Lowercase ]",
        Query("v=aB"),
        Query("v=ac"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ AB ], transforms: [ Uppercase ]",
        Query("v=aB"),
        Query("v=ac"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ \"a b\" ], transforms: [ UrlDecode ]",
        Query("v=%61+b"),
        Query("v=a%2520b"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ ab ], transforms: [ UrlDecode, Trim ]",
        Query("v=%20ab%09"),
        Query("v=a%20b"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ ab ], transforms: [ UrlDecode, RemoveNulls ]",
        Query("v=a%00b"),
        Query("v=a%01b"),
    ),
    row(
        "variable: QueryString, selector: v, operator: Equal, values: [ \"a%2Fb\" ], transforms: [ UrlEncode ]",
        Query("v=a/b"),
        Query("v=ab"),
    ),
    row("variable: RequestHeader, selector: x-probe, operator: Any, negate: true", Nothing, Header("x-probe", "y")),
    row("variable: RemoteAddr, operator: IPMatch, ip_set: listed", Client("203.0.113.9"), Client("203.0.114.9")),
    row("variable: RequestHeader, selector: Host, operator: GreaterThanOrEqual, values: [ \"0\" ]", Nothing, Never),
];

fn ask(row: usize, change: Change) -> Ask {
    let mut ask = match change {
        Method(path) if path.starts_with('/') => Ask::json(path, "{}"),
        Method(method) => Ask { method: method.to_owned(), ..Ask::chat("gpt") },
        Body(text) => Ask::v1("gpt").body(format!(r#"{{"model":"gpt","messages":[],"user":"{text}"}}"#)),
        Form(text) => Ask::chat("gpt").without("content-type").header("content-type", FORM).body(text),
        _ => Ask::chat("gpt"),
    };
    match change {
        Query(text) => write!(ask.path, "&{text}").unwrap(),
        Header(name, value) => ask = ask.header(name, value),
        Client(address) => ask = ask.header("x-forwarded-for", address),
        _ => {}
    }
    ask.header("x-row", &row.to_string())
}

const FORM: &str = "application/x-www-form-urlencoded";

/// One rule per row: `x-row` and the row's condition.
fn policy_of_rows() -> String {
    let mut rules = String::new();
    for (index, row) in ROWS.iter().enumerate() {
        let gate = format!("{{ variable: RequestHeader, selector: x-row, operator: Equal, values: [ \"{index}\" ] }}");
        let _ = write!(
            rules,
            "{{ name: row-{index}, priority: {index}, conditions: [ {gate}, {{ {} }} ], action: block }}, ",
            row.condition
        );
    }
    format!(
        "waf: {{ policy: rows, geo: {{ database: \"{DATABASES}/GeoLite2-Country-Test.mmdb\", \
         asn_database: \"{DATABASES}/GeoLite2-ASN-Test.mmdb\" }}, ip_sets: [ {{ name: listed, file: listed.txt }} ], \
         policies: [ {{ name: rows, mode: prevent, rules: [ {rules} ] }} ] }}"
    )
}

async fn started(waf: &str) -> (harness::Sim, harness::Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b, waf).start().await;
    (a, b, gateway)
}

fn setup(a: &harness::Sim, b: &harness::Sim, waf: &str) -> Setup {
    ladder(a, b)
        .top(waf)
        .top("trusted_hops: { networks: [ 127.0.0.0/8 ] }")
        .file("listed.txt", "# list\n203.0.113.0/24\n")
}

/// A policy `p` of these rules, flow style.
fn policy(keys: &str, rules: &str) -> String {
    format!("waf: {{ policy: p, policies: [ {{ name: p, {keys}, rules: [ {rules} ] }} ] }}")
}

const QUERY: &str = "[ { variable: QueryString, operator: Contains, values: [ attack ] } ]";

fn attack() -> Ask {
    let mut ask = Ask::chat("gpt");
    ask.path.push_str("&q=attack");
    ask
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variable_operator_and_transform_takes_what_it_says() {
    let (_a, _b, gateway) = started(&policy_of_rows()).await;
    let mut wrong = Vec::new();
    for (index, row) in ROWS.iter().enumerate() {
        let blocked = gateway.ask(&ask(index, row.taken)).await;
        if blocked.status != 403 {
            wrong.push(format!("{index} {}: taken got {blocked}", row.condition));
        }
        if matches!(row.left, Never) {
            continue;
        }
        let passed = gateway.ask(&ask(index, row.left)).await;
        if passed.status == 403 {
            wrong.push(format!("{index} {}: left got {passed}", row.condition));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_does_what_it_says_in_prevent_and_nothing_in_detect() {
    for (action, status, code) in [
        ("allow", 200, ""),
        ("log", 200, ""),
        ("block", 403, "request_blocked"),
        ("redirect", 302, ""),
        ("{ anomaly_score: critical }", 403, "request_blocked"),
        ("{ anomaly_score: error }", 200, ""),
        ("{ anomaly_score: warning }", 200, ""),
        ("{ anomaly_score: notice }", 200, ""),
        ("{ rate_limit: { threshold: 1 } }", 429, "rate_limit_exceeded"),
    ] {
        let rules = format!("{{ name: r, priority: 7, conditions: {QUERY}, action: {action} }}");
        let (_a, _b, gateway) =
            started(&policy("mode: prevent, redirect_url: \"https://sorry.example/\"", &rules)).await;
        if action.contains("rate") {
            served_by(&gateway.ask(&attack()).await, crate::common::A);
        }
        let ask = attack();
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, status, "{action} {answer}");
        if !code.is_empty() {
            assert_eq!(answer.code(), code, "{action} {answer}");
        }
        if status == 302 {
            assert_eq!(answer.header("location"), "https://sorry.example/", "{answer}");
        }
        if status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{answer}");
        }
        let record = gateway.record(&ask.id).await;
        let found = &record["waf"][0];
        assert_eq!((&found["rule"], &found["mode"]), (&"r".into(), &"prevent".into()), "{action} {record}");
        assert_eq!((&found["variable"], &found["data"]), (&"QueryString".into(), &"attack".into()), "{record}");
        served_by(&gateway.ask(&Ask::chat("gpt")).await, crate::common::A);

        let rules = rules.replace("{ name: r,", "{ name: r, mode: prevent,");
        let (_a, _b, gateway) =
            started(&policy("mode: detect, redirect_url: \"https://sorry.example/\"", &rules)).await;
        served_by(&gateway.ask(&attack()).await, crate::common::A);
        let ask = attack();
        served_by(&gateway.ask(&ask).await, crate::common::A);
        let record = gateway.record(&ask.id).await;
        assert_eq!((&record["waf"][0]["rule"], &record["waf"][0]["mode"]), (&"r".into(), &"detect".into()), "{record}");
        let labels = [("policy", "p"), ("rule", "r"), ("mode", "detect")];
        assert!(gateway.metrics().await.count("tidegate_waf_findings_total", &labels) > 0, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_chooses_status_and_body_of_a_block() {
    for (status, body, kind) in [
        (200, "fine", "text/plain; charset=utf-8"),
        (403, "<h1>no</h1>", "text/html; charset=utf-8"),
        (405, "{\\\"error\\\":1}", "application/json"),
        (406, "no", "text/plain; charset=utf-8"),
        (429, "later", "text/plain; charset=utf-8"),
    ] {
        let keys = format!("mode: prevent, block_status: {status}, block_body: \"{body}\"");
        let rules = format!("{{ name: r, priority: 7, conditions: {QUERY}, action: block }}");
        let (_a, _b, gateway) = started(&policy(&keys, &rules)).await;
        let answer = gateway.ask(&attack()).await;
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-type")),
            (status, body.replace('\\', ""), kind)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_run_by_priority_and_routes_choose_their_policy() {
    let rule = |name: &str, priority: u32, key: &str, action: &str| {
        let condition = format!("{{ variable: QueryString, operator: Contains, values: [ {key} ] }}");
        format!("{{ name: {name}, priority: {priority}, conditions: [ {condition} ], action: {action} }}, ")
    };
    let rules = rule("late", 20, "attack", "block")
        + &rule("early", 10, "friend", "allow")
        + &rule("odd", 30, "odd", "{ anomaly_score: warning }")
        + &rule("odder", 40, "odder", "{ anomaly_score: notice }")
        + &rule("off", 50, "chat", "block").replace("{ name: off,", "{ name: off, enabled: false,")
        + &rule("unheard", 60, "api", "block").replace("{ name: unheard,", "{ name: unheard, mode: detect,");
    let (a, b) = regions().await;
    let setup = setup(&a, &b, &policy("mode: prevent", &rules));
    let routes = "routes:\n  - { name: free, match: { path: /openai/deployments/free/* }, pool: chat, waf: off }\n  \
                  - { name: all, pool: chat }\n";
    let gateway = setup.more(routes).start().await;
    for (deployment, query, status) in [
        ("gpt", "attack", 403),
        ("gpt", "attack&friend", 200),
        ("gpt", "odd", 200),
        ("gpt", "odder", 403),
        ("free", "attack", 200),
    ] {
        let mut ask = Ask::chat(deployment);
        write!(ask.path, "&{query}").unwrap();
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, status, "{deployment} {query} {answer}");
    }
    let ask = Ask::json("/.env?attack", "{}");
    assert_eq!(gateway.ask(&ask).await.code(), "request_blocked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_passes_exactly_its_threshold_over_all_threads() {
    let limit = |by: &str| {
        let rules = format!(
            "{{ name: r, priority: 1, conditions: [ {{ variable: RequestUri, operator: Any }} ], \
             action: {{ rate_limit: {{ threshold: 40, minutes: 5, by: {by} }} }} }}"
        );
        policy("mode: prevent", &rules)
    };
    for by in ["socket_addr", "remote_addr", "none", "{ header: x-team }"] {
        let (_a, _b, gateway) = started(&limit(by)).await;
        let statuses = futures::future::join_all((0..100).map(|index| {
            let ask = Ask::chat("gpt").header("x-team", "blue").header("x-index", &index.to_string());
            let gateway = &gateway;
            async move { gateway.ask(&ask).await.status }
        }))
        .await;
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!((count(200), count(429)), (40, 60), "{by}");
        // Another group has a counter of its own, where groups are told apart by it.
        let other = Ask::chat("gpt").header("x-team", "red").header("x-forwarded-for", "203.0.113.77");
        let wanted = if matches!(by, "socket_addr" | "none") { 429 } else { 200 };
        assert_eq!(gateway.ask(&other).await.status, wanted, "{by}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_never_reach_the_log_with_what_matched() {
    let conditions = "[ { variable: QueryString, operator: RegEx, values: [ \"api-key=.*\" ] } ]";
    let rules = format!("{{ name: r, priority: 1, conditions: {conditions}, action: log }}");
    let (_a, _b, gateway) = started(&policy("mode: prevent", &rules)).await;
    let mut ask = Ask::chat("gpt");
    ask.path.push_str("&api-key=hunter2hunter2");
    gateway.ask(&ask).await;
    let record = gateway.record(&ask.id).await;
    assert_eq!(record["waf"][0]["data"], "api-key=***", "{record}");
    assert!(!record.to_string().contains("hunter2"), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_reads_sets_again_keeps_counters_and_keeps_the_old_policy_on_a_bad_one() {
    let rules = "{ name: listed, priority: 1, action: block, conditions: \
                 [ { variable: RemoteAddr, operator: IPMatch, ip_set: listed } ] }, \
                 { name: few, priority: 2, action: { rate_limit: { threshold: 2, by: remote_addr } }, conditions: \
                 [ { variable: RequestUri, operator: Any } ] }";
    let waf = policy("mode: prevent", rules)
        .replace("policies:", "ip_sets: [ { name: listed, file: listed.txt } ], policies:");
    let (_a, _b, gateway) = started(&waf).await;
    let from = |address: &str| Ask::chat("gpt").header("x-forwarded-for", address);
    assert_eq!(gateway.ask(&from("203.0.113.9")).await.status, 403);
    assert_eq!(gateway.ask(&from("198.51.100.1")).await.status, 200);
    std::fs::write(gateway.file("listed.txt"), "198.51.100.0/33\n").unwrap();
    assert!(!gateway.reload().await, "a bad set came into force");
    assert!(gateway.log().contains("listed.txt line 1"), "{}", gateway.log());
    assert_eq!(gateway.ask(&from("203.0.113.9")).await.status, 403);
    std::fs::write(gateway.file("listed.txt"), "192.0.2.0/24\n").unwrap();
    assert!(gateway.reload().await);
    assert_eq!(gateway.ask(&from("192.0.2.9")).await.status, 403);
    assert_eq!(gateway.ask(&from("198.51.100.1")).await.status, 200);
    assert_eq!(gateway.ask(&from("198.51.100.1")).await.status, 429);
    assert_eq!(gateway.ask(&from("203.0.113.9")).await.status, 200);
}
