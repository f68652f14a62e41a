//! One gateway with a canary in every place for a secret; after good and bad requests, reloads and every command, nothing that anybody
//! can read has any of them.

use crate::common::{ladder, ms, regions, secs};
use harness::{Ask, Authority, Azure, Gateway, Issuer, Proto, Redis, Setup, Sim, binary};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use tidegate::domain::{ApiKey, KeyHash, make_key};
use tidegate::simulator::{FaultKind, FaultRule};

const FOREIGN: &str = "canary-foreign-key-2b91c7";
const WRONG: &str = "canary-wrong-key-88d0fe";
const BACKEND_FILE: &str = "canary-backend-file-a2c7d4";
const BACKEND_ENV: &str = "canary-backend-env-58e1b0";
const BACKEND_HEADER: &str = "canary-backend-header-b96f11";
const REDIS: &str = "canary-redis-password-41aa5e";
const PROMPT: &str = "canary prompt of somebody 6d10";
const ANSWER: &str = "canary-tool-name-of-somebody-77";
const VAULT: &str = "canary-vault-secret-93ad07";
const CLIENT_SECRET: &str = "canary-client-secret-c0de55";
const OUR_TOKEN: &str = "canary-token-of-ours";
const ENVIRONMENT: [(&str, &str); 3] =
    [("B_KEY", BACKEND_ENV), ("REDIS_PASSWORD", REDIS), ("CLIENT_SECRET", CLIENT_SECRET)];

/// Everything that is secret, by what it is.
struct Canaries {
    list: Vec<(&'static str, String)>,
}

impl Canaries {
    fn new() -> Self {
        let named = [
            ("the foreign key", FOREIGN),
            ("a wrong key", WRONG),
            ("the backend's key in a file", BACKEND_FILE),
            ("the backend's key in the environment", BACKEND_ENV),
            ("the backend's header", BACKEND_HEADER),
            ("the password of Redis", REDIS),
            ("the secret in the vault", VAULT),
            ("the secret of our identity", CLIENT_SECRET),
            ("a token of ours", OUR_TOKEN),
            ("the prompt", PROMPT),
            ("the tool of the prompt", ANSWER),
        ];
        Self { list: named.map(|(what, text)| (what, text.to_owned())).to_vec() }
    }

    fn add(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 16, "{what} would be found by chance");
        self.list.push((what, text.to_owned()));
    }

    /// Claims and signature of a token; its header is everybody's.
    fn add_token(&mut self, token: &str) {
        let parts: Vec<&str> = token.split('.').collect();
        self.add("the claims of a token", &parts[1][20..60]);
        self.add("the signature of a token", &parts[2][..40]);
    }

    /// The lines of a private key.
    fn add_pem(&mut self, what: &'static str, pem: &str) {
        pem.lines().filter(|line| line.len() > 40 && !line.starts_with('-')).for_each(|line| self.add(what, line));
    }

    #[track_caller]
    fn none_in(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "{place} was not looked at");
        for (what, canary) in &self.list {
            let line = text.lines().find(|line| line.contains(canary.as_str()));
            assert_eq!(line, None, "{what} is in {place}");
        }
    }
}

fn own_key() -> String {
    make_key(&(0..=255_u8).map(|byte| byte.wrapping_mul(11).wrapping_add(3)).collect::<Vec<_>>()).unwrap()
}

/// A gateway whose file has a secret in every place for one.
fn setup((a, b): (&Sim, &Sim), issuer: &Issuer, redis: &Redis, azure: &Azure, authority: &Arc<Authority>) -> Setup {
    let own = own_key();
    let keys = format!(
        "{{ hash: \"{}\", id: \"{}\" }}, {{ hash: \"{}\" }}",
        KeyHash::of(&own),
        ApiKey::parse(&own).unwrap().id,
        KeyHash::of(FOREIGN)
    );
    let limits = "{ name: each, by: [ consumer ], everywhere: true, tokens: { max: 100000000, per: 1h }, quota: { requests: 100000, per: day } }";
    let vault = azure.secure();
    let identity =
        "tenant_id: contoso.example, client_id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301, secret: { env: CLIENT_SECRET }";
    let setup = ladder(a, b)
        .tls(authority)
        .top(&format!(
            "identities: [ {{ name: us, client_secret: {{ {identity}, authority: \"{vault}\", ca_file: ca.pem }} }} ]"
        ))
        .top("key_vault: { identity: us, refresh: 500ms, ca_file: ca.pem }")
        .backend("c", b, "priority: 3, deployment: c, auth: { token: { identity: us } }")
        .env("RUST_LOG", "debug")
        .file("a.key", BACKEND_FILE)
        .file("header.key", BACKEND_HEADER)
        .top(&format!("consumers: [ {{ name: search, keys: [ {keys} ] }}, {{ name: by_token }} ]"))
        .top(&format!(
            "authentication: {{ key_queries: [ team-key ], failures_max: 60000, issuers: [ {} ] }}",
            issuer.entry("")
        ))
        .top(&format!("usage_limits: [ {limits} ]"))
        .top(&format!(
            "shared_limits: {{ gateways: 1, redis: {{ urls: [ \"{}\" ], password: {{ env: REDIS_PASSWORD }} }} }}",
            redis.url()
        ))
        .top("waf: { policy: edge, policies: [ { name: edge, mode: detect, builtin: {}, body: { unknown_keys: log } } ] }")
        .pool("ejection: { failures: 0, failure_share: 0%, misconfigured: 50ms, base: 50ms, max: 50ms, jitter: 0%, advised_default: 1s, advised_max: 1s }")
        .pool("failover: { deadline: 900ms, first_byte_timeout: 300ms, stream_first_byte_timeout: 300ms }")
        .pool("probe: { interval: 300ms, unhealthy_after: 100, http: { path: /openai/v1/models, credential: true } }")
        .backend(
            "a",
            a,
            &format!(
                "priority: 1, auth: {{ api_key: {{ file: a.key }} }}, headers: {{ x-vault: {{ key_vault: {{ vault: \"{vault}\", name: gate }} }} }}"
            ),
        )
        .backend("b", b, "priority: 2, auth: { bearer: { env: B_KEY } }, headers: { x-gate: { file: header.key } }");
    ENVIRONMENT.iter().fold(setup, |setup, (name, value)| setup.env(name, value))
}

fn body(stream: bool) -> Value {
    json!({
        "model": "gpt", "stream": stream, "user": PROMPT,
        "messages": [ { "role": "user", "content": format!("{PROMPT} <script>alert(1)</script>") } ],
        "tools": [ { "type": "function", "function": { "name": ANSWER, "parameters": {} } } ],
    })
}

/// Requests of every kind, each with this credential in one place.
fn asks(shown: &str) -> Vec<Ask> {
    let path = "/openai/v1/chat/completions";
    let chat = |stream: bool| Ask { streams: stream, ..Ask::json(path, body(stream).to_string()) };
    vec![
        chat(false).header("api-key", shown),
        chat(true).header("authorization", &format!("Bearer {shown}")),
        chat(false).header("authorization", &format!("Basic {shown}")),
        Ask::json(&format!("{path}?team-key={shown}"), body(false).to_string()),
        Ask::json(&format!("{path}?team%2Dkey={shown}&sig={shown}"), body(true).to_string()),
        Ask::json(path, format!("{{\"model\":\"gpt\", {PROMPT}")).header("api-key", shown),
        Ask::json(&format!("/nowhere/..%2f?api-key={shown}"), body(false).to_string()),
        Ask::new("TRACE", path).header("api-key", shown),
        chat(false).header("sec-websocket-protocol", &format!("openai-insecure-api-key.{shown}")),
        chat(false).header("cookie", &format!("session={shown}")).header("api-key", shown),
    ]
}

/// All that clients were told.
async fn drive(gateway: &Gateway, (a, b): (&Sim, &Sim), credentials: &[String]) -> String {
    let mut told = String::new();
    let faults = [
        None,
        Some(FaultRule::preset("401_key")),
        Some(FaultRule::preset("404_deployment")),
        Some(FaultRule::preset("500")),
        Some(FaultRule::new(FaultKind::ResetAfter { chunks: 3 })),
        Some(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None })),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        for sim in [a, b] {
            sim.clear();
            fault.iter().for_each(|rule| sim.fault(rule.clone()));
        }
        for (index, credential) in credentials.iter().enumerate() {
            // In every place without a fault, in the usual ones with one.
            let some = asks(credential).into_iter().enumerate();
            for (place, ask) in some.filter(|(place, _)| round == 0 || *place < 2) {
                let proto = [Proto::H1, Proto::H2c, Proto::H1Tls, Proto::H2Tls][(place + index) % 4];
                match gateway.client(proto).try_ask(&ask).await {
                    Ok(answer) => told.push_str(&format!("{answer}\n{}\n", answer.text())),
                    Err(error) => told.push_str(&format!("{error:?}\n")),
                }
            }
        }
    }
    [a, b].iter().for_each(|sim| sim.clear());
    told
}

/// What a command prints, whatever it comes to.
fn command(gateway: &Gateway, args: &[&str]) -> String {
    let output = Command::new(binary()).args(args).current_dir(gateway.file("")).envs(ENVIRONMENT).output();
    let output = output.expect("the binary runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn commands(gateway: &Gateway, canaries: &Canaries) {
    let (config, admin) = (gateway.config().display().to_string(), format!("http://{}", gateway.admin_address()));
    let path = "/openai/v1/chat/completions";
    for args in [
        vec!["check", "--config", &config],
        vec!["check", "--print", "--config", &config],
        vec!["explain", "--path", path, "--config", &config],
        vec!["usage", "--admin", &admin],
    ] {
        canaries.none_in(&format!("{args:?}"), &command(gateway, &args));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_any_place_is_seen_anywhere() {
    let ((a, b), issuer, redis) = (regions().await, Issuer::start().await, Redis::start().await);
    let authority = Arc::new(Authority::new());
    let mut canaries = Canaries::new();
    let good = issuer.token(&json!({"email": "canary-claim@example.org"}));
    let forged =
        issuer.token_with(&json!({"alg": "HS256", "kid": "key-1"}), &json!({"email": "canary-forged@example.org"}));
    [&good, &forged].into_iter().for_each(|token| canaries.add_token(token));
    canaries.add("our own key", &own_key()[15..]);
    let azure = Azure::start(&authority).await;
    azure.secret("gate", VAULT);
    let gateway = setup((&a, &b), &issuer, &redis, &azure, &authority).start().await;
    canaries.add_pem("the private key of the certificate", &std::fs::read_to_string(gateway.file("edge.key")).unwrap());
    let credentials = [own_key(), FOREIGN.to_owned(), WRONG.to_owned(), good, forged, "canary".repeat(2000)];
    let told = drive(&gateway, (&a, &b), &credentials).await;
    canaries.none_in("what clients are told", &told);
    for status in ["200 ", "400 ", "401 ", "5"] {
        assert!(told.lines().any(|line| line.starts_with(status)), "nobody was told {status}");
    }
    // A backend gets its own secrets and no client's.
    let records = [&a, &b].into_iter().flat_map(|sim| sim.records());
    // A cookie is nobody's credential here.
    let headers = records.flat_map(|record| record.headers.clone()).filter(|(name, _)| name != "cookie");
    let seen: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
    for own in [BACKEND_FILE, BACKEND_ENV, BACKEND_HEADER, VAULT, OUR_TOKEN] {
        assert!(seen.contains(own), "{own}: {seen}");
    }
    for credential in &credentials {
        assert!(!seen.contains(&credential[credential.len() - 16..]), "{credential} reached a backend");
    }
    reloads(&gateway).await;
    for path in ["/metrics", "/backends", "/limits", "/usage", "/readyz", "/version", "/livez", "/nowhere"] {
        let answer = gateway.admin(path).await;
        canaries.none_in(path, &format!("{answer}\n{}", answer.text()));
    }
    commands(&gateway, &canaries);
    // `check --print` shows the file, and with it the hashes; nothing else does.
    for hash in [KeyHash::of(&own_key()), KeyHash::of(FOREIGN)] {
        canaries.add("a key's hash", &hash.to_string()["sha256:".len()..]);
    }
    canaries.none_in("what clients are told", &told);
    for path in ["/metrics", "/backends", "/limits", "/usage"] {
        canaries.none_in(path, &gateway.admin(path).await.text());
    }
    canaries.none_in("the access log", &std::fs::read_to_string(gateway.file("access.jsonl")).unwrap());
    canaries.none_in("the process log", &gateway.log());
    told_of_a_slip(gateway, &canaries).await;
}

/// One that succeeds, and one that fails for each secret that cannot be used.
async fn reloads(gateway: &Gateway) {
    assert!(gateway.reload().await);
    std::fs::write(gateway.file("a.key"), format!("{BACKEND_FILE} with a\nbreak")).unwrap();
    assert!(!gateway.reload().await, "no header can hold it");
    std::fs::write(gateway.file("a.key"), BACKEND_FILE).unwrap();
    let key = std::fs::read_to_string(gateway.file("edge.key")).unwrap();
    std::fs::write(gateway.file("edge.key"), key.replace("END PRIVATE", "END OTHER")).unwrap();
    assert!(!gateway.reload().await, "the key cannot be read");
    std::fs::write(gateway.file("edge.key"), key).unwrap();
    assert!(gateway.reload().await);
}

/// Somebody writes the key where its hash belongs, and a secret where its place belongs.
async fn told_of_a_slip(gateway: Gateway, canaries: &Canaries) {
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    let hash = KeyHash::of(FOREIGN).to_string();
    let slips = [
        config.replace(&hash, FOREIGN),
        config.replace(&hash, &format!("sha256:{FOREIGN}")),
        config.replace("password: { env: REDIS_PASSWORD }", &format!("password: {REDIS}")),
        config.replace("redis://", &format!("redis://:{REDIS}@")),
        config.replace("api_key: { file: a.key }", &format!("api_key: {BACKEND_FILE}")),
    ];
    for slip in slips {
        assert_ne!(slip, config);
        std::fs::write(gateway.config(), &slip).unwrap();
        let text = command(&gateway, &["check", "--config", &gateway.config().display().to_string()]);
        assert!(text.contains("problem") || text.contains("error"), "{text}");
        canaries.none_in("what `check` says of a slip", &text);
        assert!(!gateway.reload().await);
    }
    tokio::time::sleep(ms(100)).await;
    canaries.none_in("the process log after slips", &gateway.log());
    let mut gateway = gateway;
    gateway.signal("TERM");
    let log = gateway.ended(secs(30)).await.log;
    canaries.none_in("the process log at its end", &log);
}
