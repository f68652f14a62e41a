//! Secrets from a Key Vault: used where they are named, changed without a reload, kept through an outage and a restart.

use crate::common::{A, B, ladder, ms, regions, secs, served_by};
use harness::{Ask, Authority, Azure, Mood, Setup, Sim, binary, eventually};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// `a` by a key from the vault, `b` behind it by one from the environment.
fn setup((a, b): (&Sim, &Sim), azure: &Azure, authority: &Authority, last_good: &str) -> Setup {
    let key = format!("{{ key_vault: {{ vault: \"{}\", name: key-of-a }} }}", azure.secure());
    ladder(a, b)
        .top("identities: [ { name: us, timeout: 2s, managed_identity: {} } ]")
        .top(&format!("key_vault: {{ identity: us, refresh: 300ms, timeout: 2s, ca_file: ca.pem{last_good} }}"))
        .file("ca.pem", &authority.pem())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &azure.plain())
        .env("B_KEY", "key-of-b")
        .backend("a", a, &format!("priority: 1, auth: {{ api_key: {key} }}"))
        .backend("b", b, "priority: 2, auth: { api_key: { env: B_KEY } }")
}

async fn services() -> ((Sim, Sim), Azure, Authority) {
    let authority = Authority::new();
    let azure = Azure::start(&authority).await;
    azure.secret("key-of-a", "canary-key-1");
    (regions().await, azure, authority)
}

fn shown(sim: &Sim) -> String {
    sim.records().last().and_then(|record| record.header("api-key").map(str::to_owned)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_read_where_it_is_named_in_its_latest_or_the_named_version() {
    let ((a, b), azure, authority) = services().await;
    azure.secret("key-of-a", "canary-key-2");
    azure.secret("gate", "canary-gate");
    let vault = azure.secure();
    let setup = setup((&a, &b), &azure, &authority, "").backend(
        "b",
        &b,
        &format!(
            "priority: 2, auth: {{ bearer: {{ key_vault: {{ vault: \"{vault}\", name: key-of-a, version: v1 }} }} }}, \
             headers: {{ x-gate: {{ key_vault: {{ vault: \"{vault}\", name: gate }} }} }}"
        ),
    );
    let gateway = setup.start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    assert_eq!(shown(&a), "canary-key-2");
    a.status(500);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    let record = b.records().pop().unwrap();
    assert_eq!(record.header("authorization"), Some("Bearer canary-key-1"));
    assert_eq!(record.header("x-gate"), Some("canary-gate"));
    assert!(
        azure.asked("/secrets/").iter().all(|asked| asked.query("api-version").is_some_and(|one| one == "2025-07-01"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_is_used_without_a_reload_and_no_request_fails() {
    let ((a, b), azure, authority) = services().await;
    let gateway = setup((&a, &b), &azure, &authority, "").start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    // What an operator is still writing is not what comes into force.
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), format!("{config}\nno: key of ours\n")).unwrap();
    azure.secret("key-of-a", "canary-key-2");
    eventually("the new key is used", secs(10), async || {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        (shown(&a) == "canary-key-2").then_some(())
    })
    .await;
    let generation = gateway.metrics().await.count("tidegate_config_generation", &[]);
    // Looks that find nothing new change nothing.
    let looks = azure.asked("/secrets/key-of-a").len();
    eventually("more looks", secs(10), async || (azure.asked("/secrets/key-of-a").len() > looks + 3).then_some(()))
        .await;
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), generation);
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_or_a_lie_of_the_vault_leaves_the_last_good_secret_in_use() {
    let ((a, b), azure, authority) = services().await;
    let gateway = setup((&a, &b), &azure, &authority, "").start().await;
    let says = |body: &str| Mood::Says(200, body.to_owned());
    for mood in [
        Mood::Away,
        Mood::Hangs,
        Mood::Says(500, "canary".to_owned()),
        Mood::Says(403, r#"{"error":{"code":"Forbidden","message":"canary"}}"#.to_owned()),
        Mood::Says(404, r#"{"error":{"code":"SecretNotFound"}}"#.to_owned()),
        Mood::Challenges("canary".to_owned()),
        Mood::Challenges(r#"Bearer resource="canary"#.to_owned()),
        Mood::Challenges(format!("Bearer canary={}", "\"canary\", ".repeat(2_000))),
        says("canary"),
        says(r#"{"value":"canary"}"#),
        says(r#"{"value":"canary-other","id":"https://vault/secrets/another/v1"}"#),
        says(r#"{"value":"canary with\na break","id":"https://vault/secrets/key-of-a/v1"}"#),
        says(r#"{"value":"","id":"https://vault/secrets/key-of-a/v1"}"#),
        says(&format!(r#"{{"value":"{}"#, "canary".repeat(1_000_000))),
    ] {
        let failed = [("result", "failed")];
        let before = gateway.metrics().await.count("tidegate_vault_looks_total", &failed);
        azure.vault(mood);
        gateway.until_metric("tidegate_vault_looks_total", &failed, |count| count > before as f64 + 0.5).await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        assert_eq!(shown(&a), "canary-key-1");
        azure.vault(Mood::Good);
        let good = gateway.metrics().await.count("tidegate_vault_looks_total", &[("result", "ok")]);
        gateway.until_metric("tidegate_vault_looks_total", &[("result", "ok")], |count| count > good as f64).await;
    }
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_refuses_our_token_has_another_one_got_once() {
    let ((a, b), azure, authority) = services().await;
    let gateway = setup((&a, &b), &azure, &authority, "").start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    assert_eq!(azure.tries(), 2, "one for the start, one for the fleet");
    azure.vault(Mood::Says(401, r#"{"error":{"code":"Unauthorized","message":"canary"}}"#.to_owned()));
    gateway.until_log("status 401, Unauthorized").await;
    eventually("another token", secs(10), async || (azure.tries() == 3).then_some(())).await;
    let looks = azure.asked("/secrets/").len();
    eventually("more looks", secs(30), async || (azure.asked("/secrets/").len() > looks + 1).then_some(())).await;
    assert_eq!(azure.tries(), 3);
    azure.vault(Mood::Good);
    azure.secret("key-of-a", "canary-key-2");
    served_until(&gateway, &a, "canary-key-2").await;
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_is_shown_our_token_after_it_has_asked_for_one() {
    let ((a, b), azure, authority) = services().await;
    azure.secret("gate", "canary-gate");
    let gate = format!("{{ key_vault: {{ vault: \"{}\", name: gate }} }}", azure.secure());
    let backend = format!("priority: 2, auth: {{ api_key: {{ env: B_KEY }} }}, headers: {{ x-gate: {gate} }}");
    let gateway = setup((&a, &b), &azure, &authority, "").backend("b", &b, &backend).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let asked = azure.asked("/secrets/");
    let bare = asked.iter().filter(|asked| !asked.head.to_lowercase().contains("authorization: bearer ")).count();
    assert!(bare > 0 && asked.len() > bare, "{bare} of {}", asked.len());
    assert!(asked.iter().all(|asked| !asked.head.contains("azsdk")), "what we are called is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_during_an_outage_begins_with_the_last_good_secret() {
    for key in ["", ", key: { env: KEEPSAKE_KEY }"] {
        let ((a, b), azure, authority) = services().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secrets");
        let last_good = format!(", last_good: {{ file: \"{}\"{key} }}", file.display());
        let setup = setup((&a, &b), &azure, &authority, &last_good).env("KEEPSAKE_KEY", "a key for the file");
        let gateway = setup.clone().start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        eventually("the file is there", secs(10), async || file.exists().then_some(())).await;
        azure.secret("key-of-a", "canary-key-2");
        let holds = |path: &Path, text: &str| std::fs::read_to_string(path).unwrap_or_default().contains(text);
        if key.is_empty() {
            eventually("the new value is kept", secs(10), async || holds(&file, "canary-key-2").then_some(())).await;
        } else {
            served_until(&gateway, &a, "canary-key-2").await;
            tokio::time::sleep(ms(800)).await;
            assert!(!holds(&file, "canary"), "it is encrypted");
        }
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        drop(gateway);
        azure.vault(Mood::Away);
        azure.identity(Mood::Hangs);
        let began = Instant::now();
        let gateway = setup.start().await;
        assert!(began.elapsed() < secs(12), "{:?}", began.elapsed());
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        assert_eq!(shown(&a), "canary-key-2");
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
    }
}

async fn served_until(gateway: &harness::Gateway, a: &Sim, key: &str) {
    eventually(format!("{key} is used"), secs(10), async || {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        (shown(a) == key).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_vault_and_file_takes_bounded_time_and_costs_the_backend_alone() {
    for mood in [Mood::Away, Mood::Hangs] {
        let ((a, b), azure, authority) = services().await;
        azure.vault(mood);
        let began = Instant::now();
        let gateway = setup((&a, &b), &azure, &authority, "").start().await;
        assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
        assert_eq!(a.requests(), 0, "nothing is sent without the key");
        assert!(gateway.backends().await.to_string().contains("keyless"));
        azure.vault(Mood::Good);
        gateway.until_eligible("a", true).await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        assert_eq!(shown(&a), "canary-key-1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_others_could_have_written_is_not_believed() {
    let ((a, b), azure, authority) = services().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets");
    let last_good = format!(", last_good: {{ file: \"{}\" }}", file.display());
    let setup = setup((&a, &b), &azure, &authority, &last_good);
    let first = setup.clone().start().await;
    eventually("the file is there", secs(10), async || file.exists().then_some(())).await;
    drop(first);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("canary-key-1", "canary-forged")).unwrap();
    azure.vault(Mood::Away);
    let gateway = setup.start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    assert!(gateway.log().contains("the last good secrets are not used"), "{}", gateway.log());
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_reads_the_secrets_that_it_names_anew() {
    let ((a, b), azure, authority) = services().await;
    azure.secret("key-of-b", "canary-b");
    let mut gateway = setup((&a, &b), &azure, &authority, "").start().await;
    let key = format!("{{ key_vault: {{ vault: \"{}\", name: key-of-b }} }}", azure.secure());
    let next = gateway.setup().clone().backend("b", &b, &format!("priority: 1, auth: {{ api_key: {key} }}"));
    assert!(gateway.apply(next.backend("a", &a, "enabled: false")).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    assert_eq!(shown(&b), "canary-b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_asks_neither_identity_nor_vault() {
    let ((a, b), azure, authority) = services().await;
    let gateway = setup((&a, &b), &azure, &authority, "").start().await;
    let config = gateway.config();
    drop(azure);
    for arguments in [vec!["check"], vec!["check", "--print"], vec!["explain", "--path", "/openai/v1/models"]] {
        let output = Command::new(binary())
            .args(&arguments)
            .arg("--config")
            .arg(&config)
            .env("B_KEY", "key-of-b")
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
        assert!(!text.contains("canary") && !text.contains("assumed"), "{text}");
    }
}
