//! Tokens of our own: every way to get one, one for all who want the same, renewed ahead of their end and after a refusal; and
//! services that lie, hang or are away.

use crate::common::{A, B, ladder, ms, regions, secs, served_by};
use harness::{Ask, Authority, Azure, Gateway, Mood, Setup, Sim, application, assertion, eventually};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use tidegate::simulator::FaultRule;

const CLIENT: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const DIRECTORY: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const NEW_SCOPE: &str = "https://ai.azure.com/.default";

/// `a` by a token of the identity `us`, `b` behind it by a key.
fn setup((a, b): (&Sim, &Sim), identity: &str) -> Setup {
    ladder(a, b)
        .top(&format!("identities: [ {{ name: us, timeout: 2s, {identity} }} ]"))
        .env("B_KEY", "key-of-b")
        .backend("a", a, "priority: 1, auth: { token: { identity: us } }")
        .backend("b", b, "priority: 2, auth: { api_key: { env: B_KEY } }")
}

/// A machine whose metadata service is `azure`.
fn on_a_machine(sims: (&Sim, &Sim), azure: &Azure) -> Setup {
    setup(sims, "managed_identity: {}").env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &azure.plain())
}

/// An application that asks `azure` in the place of Entra ID.
fn by_secret(sims: (&Sim, &Sim), azure: &Azure) -> Setup {
    let (place, secret) = (azure.plain(), "{ env: SECRET }");
    let identity = format!(
        "client_secret: {{ tenant_id: {DIRECTORY}, client_id: {CLIENT}, secret: {secret}, authority: \"{place}\" }}"
    );
    setup(sims, &identity).env("SECRET", "canary-secret")
}

/// What the last request to `sim` was shown.
fn shown(sim: &Sim) -> String {
    sim.records().last().and_then(|record| record.header("authorization").map(str::to_owned)).unwrap_or_default()
}

/// The gateway's first request goes to `a` with the token that was told, and without the client's.
async fn reaches_a(gateway: &Gateway, azure: &Azure, a: &Sim) {
    served_by(&gateway.ask(&Ask::chat("gpt").header("authorization", "Bearer of-the-client")).await, A);
    assert_eq!(shown(a), format!("Bearer {}", azure.told().last().unwrap()));
    assert_eq!(azure.tries(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_tells_the_token_of_its_identity() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    let gateway = on_a_machine((&a, &b), &azure).start().await;
    reaches_a(&gateway, &azure, &a).await;
    let asked = azure.asked("/metadata/identity/oauth2/token").pop().unwrap();
    assert!(asked.head.to_lowercase().contains("metadata: true"), "{}", asked.head);
    let query = ["api-version", "resource", "client_id"].map(|name| asked.query(name));
    assert_eq!(query, [Some("2019-08-01".to_owned()), Some("https://cognitiveservices.azure.com".to_owned()), None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn app_service_tells_the_token_of_the_identity_that_is_named() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    let setup = setup((&a, &b), &format!("managed_identity: {{ client_id: {CLIENT} }}"))
        .env("IDENTITY_ENDPOINT", &format!("{}/msi/token", azure.plain()))
        .env("IDENTITY_HEADER", "canary-app-service");
    let gateway = setup.start().await;
    reaches_a(&gateway, &azure, &a).await;
    let asked = azure.asked("/msi/token").pop().unwrap();
    assert!(asked.head.contains("x-identity-header: canary-app-service"), "{}", asked.head);
    let query = ["api-version", "client_id"].map(|name| asked.query(name));
    assert_eq!(query, [Some("2019-08-01".to_owned()), Some(CLIENT.to_owned())]);
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_whose_identities_are_not_supported_is_told_and_asked_for_nothing() {
    for (name, value) in [("IDENTITY_SERVER_THUMBPRINT", "canary"), ("MSI_ENDPOINT", "http://127.0.0.1:9/canary")] {
        let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
        let mut setup = on_a_machine((&a, &b), &azure).env(name, value);
        if name == "IDENTITY_SERVER_THUMBPRINT" {
            let endpoint = format!("{}/msi/token", azure.plain());
            setup = setup.env("IDENTITY_ENDPOINT", &endpoint).env("IDENTITY_HEADER", "canary-header");
        }
        let gateway = setup.start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
        assert!(gateway.log().contains("whose identities are not supported"), "{}", gateway.log());
        assert!(!gateway.log().contains("canary") && azure.tries() == 0, "{}", gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubernetes_proves_the_workload_and_a_new_proof_is_read_each_time() {
    let ((a, b), authority) = (regions().await, Authority::new());
    let azure = Azure::start(&authority).await;
    let setup = setup((&a, &b), "workload_identity: { ca_file: ca.pem }")
        .file("ca.pem", &authority.pem())
        .file("proof", "canary-proof-1\n")
        .env("AZURE_TENANT_ID", DIRECTORY)
        .env("AZURE_CLIENT_ID", CLIENT)
        .env("AZURE_FEDERATED_TOKEN_FILE", "proof")
        .env("AZURE_AUTHORITY_HOST", &azure.secure());
    azure.life(4);
    let gateway = setup.start().await;
    reaches_a(&gateway, &azure, &a).await;
    let place = format!("/{DIRECTORY}/oauth2/v2.0/token");
    let form = azure.asked(&place).pop().unwrap().form;
    let told = ["grant_type", "client_id", "scope", "client_assertion"].map(|name| form[name].as_str());
    assert_eq!(told, ["client_credentials", CLIENT, SCOPE, "canary-proof-1"]);
    std::fs::write(gateway.file("proof"), "canary-proof-2").unwrap();
    eventually("the next proof", secs(10), async || {
        azure.asked(&place).last().filter(|asked| asked.form["client_assertion"] == "canary-proof-2").map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_proves_itself_by_its_secret_and_gets_tokens_for_both_audiences() {
    let ((a, b), authority) = (regions().await, Authority::new());
    let azure = Azure::start(&authority).await;
    let identity = format!(
        "client_secret: {{ tenant_id: contoso.onmicrosoft.com, client_id: {CLIENT}, secret: {{ env: SECRET }}, \
         authority: \"{}\", ca_file: ca.pem }}",
        azure.secure()
    );
    let setup = setup((&a, &b), &identity)
        .file("ca.pem", &authority.pem())
        .env("SECRET", "canary secret+of/the=application")
        .backend("b", &b, &format!("priority: 2, auth: {{ token: {{ identity: us, scope: \"{NEW_SCOPE}\" }} }}"));
    let gateway = setup.start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    a.status(500);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    let asked = azure.asked("/contoso.onmicrosoft.com/oauth2/v2.0/token");
    assert!(asked.iter().all(|one| one.form["client_secret"] == "canary secret+of/the=application"));
    let mut scopes: Vec<_> = asked.iter().map(|one| one.form["scope"].clone()).collect();
    scopes.sort();
    assert_eq!(scopes, [NEW_SCOPE, SCOPE]);
    assert_ne!(shown(&a), shown(&b), "each audience has its own token");
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_proves_itself_by_an_assertion_that_its_certificate_has_signed() {
    let ((a, b), authority) = (regions().await, Authority::new());
    let azure = Azure::start(&authority).await;
    let (certificate, key) = application();
    let identity = format!(
        "client_certificate: {{ tenant_id: {DIRECTORY}, client_id: {CLIENT}, authority: \"{}\", ca_file: ca.pem, \
         pair: {{ certificate: {{ file: app.pem }}, key: {{ file: app.key }} }} }}",
        azure.secure()
    );
    let setup = setup((&a, &b), &identity).file("ca.pem", &authority.pem());
    let gateway = setup.file("app.pem", &certificate).file("app.key", &key).start().await;
    reaches_a(&gateway, &azure, &a).await;
    let place = format!("/{DIRECTORY}/oauth2/v2.0/token");
    let form = azure.asked(&place).pop().unwrap().form;
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let (head, claims) = assertion(&form["client_assertion"]).expect("the signature is the application's");
    assert_eq!((&head["alg"], head["x5t#S256"].as_str().map(str::len)), (&"PS256".into(), Some(43)));
    let audience = format!("{}{place}", azure.secure());
    assert_eq!((&claims["aud"], &claims["iss"], &claims["sub"]), (&audience.into(), &CLIENT.into(), &CLIENT.into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    assert!(claims["jti"].as_str().is_some_and(|id| id.len() == 22));
}

/// A directory with an `az` that does this, in front of the path.
fn with_az(script: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let az = directory.path().join("az");
    std::fs::write(&az, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    (directory, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_logged_in_with_the_azure_cli_is_us() {
    let (a, b) = regions().await;
    let script =
        r#"echo "$@" > "$0.asked"; echo '{"accessToken":"canary-cli","tokenType":"Bearer","expires_on":4102444800}'"#;
    let (directory, path) = with_az(script);
    let gateway = setup((&a, &b), &format!("azure_cli: {{ tenant_id: {DIRECTORY} }}")).env("PATH", &path).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    assert_eq!(shown(&a), "Bearer canary-cli");
    let asked = std::fs::read_to_string(directory.path().join("az.asked")).unwrap();
    assert_eq!(asked.trim(), format!("account get-access-token -o json --scope {SCOPE} --tenant {DIRECTORY}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_azure_cli_that_fails_hangs_or_floods_costs_its_backend_alone() {
    for (script, why) in [
        ("echo canary-of-the-cli >&2; exit 1", "`az` failed"),
        ("echo $$ > \"$0.id\"; sleep 600", "no answer within 2s"),
        ("yes canary", "prints more than a token"),
        ("echo canary", "the answer holds no token"),
    ] {
        let (a, b) = regions().await;
        let (directory, path) = with_az(script);
        let gateway = setup((&a, &b), "azure_cli: {}").env("PATH", &path).start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
        gateway.until_log(why).await;
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
        if let Ok(id) = std::fs::read_to_string(directory.path().join("az.id")) {
            let process = format!("/proc/{}", id.trim());
            let gone = async || (!std::path::Path::new(&process).exists()).then_some(());
            // The next try has another id.
            eventually("the command has been ended", secs(10), gone).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_backends_share_one_token() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    let mut setup = on_a_machine((&a, &b), &azure);
    for index in 0..20 {
        let deployment = format!("deployment: d{index}, auth: {{ token: {{ identity: us }} }}");
        setup = setup.backend(&format!("more-{index}"), &a, &deployment);
    }
    let gateway = setup.start().await;
    for _ in 0..20 {
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
    }
    assert!(gateway.reload().await);
    assert_eq!(azure.tries(), 1, "a reload keeps the token, too");
    let tries = [("identity", "us"), ("scope", SCOPE), ("result", "ok")];
    assert_eq!(gateway.metrics().await.count("tidegate_identity_tokens_total", &tries), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_ahead_of_its_end_and_no_request_notices() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    azure.life(4);
    let gateway = on_a_machine((&a, &b), &azure).start().await;
    let began = Instant::now();
    while began.elapsed() < secs(9) {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        tokio::time::sleep(ms(50)).await;
    }
    let tries = azure.tries();
    assert!((3..=5).contains(&tries), "{tries} tokens of 4 s in 9 s");
    let told = azure.told();
    assert!(
        told.iter().any(|token| shown(&a) == format!("Bearer {token}")) && shown(&a) != format!("Bearer {}", told[0])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_serves_until_its_real_end_and_then_its_backend_rests_until_there_is_another() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    azure.life(6);
    let gateway = on_a_machine((&a, &b), &azure).start().await;
    let got = Instant::now();
    azure.identity(Mood::Away);
    // The renewal is due after 4.5 s and fails.
    while got.elapsed() < ms(4800) {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        tokio::time::sleep(ms(100)).await;
    }
    gateway.until_eligible("a", false).await;
    let sent = a.requests();
    for _ in 0..10 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    }
    assert_eq!(a.requests(), sent, "nothing is sent without a token");
    assert!(gateway.backends().await.to_string().contains("keyless"));
    assert!(azure.tries() >= 2);
    azure.identity(Mood::Good);
    gateway.until_eligible("a", true).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_replaced_once_and_its_backend_returns_at_once() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    let gateway = on_a_machine((&a, &b), &azure).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    a.fault(FaultRule::preset("401_entra"));
    azure.identity(Mood::Hangs);
    let asks: Vec<_> = (0..20).map(|_| Ask::chat("gpt")).collect();
    let answers = futures::future::join_all(asks.iter().map(|ask| gateway.ask(ask))).await;
    answers.iter().for_each(|answer| served_by(answer, B));
    gateway.until_eligible("a", false).await;
    a.clear();
    azure.identity(Mood::Good);
    // Set aside for a minute, as a refusal has it; the new token ends that.
    let began = Instant::now();
    gateway.until_eligible("a", true).await;
    assert!(began.elapsed() < secs(10), "{:?}", began.elapsed());
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    assert_eq!(shown(&a), "Bearer canary-token-of-ours-2");
    assert!((2..=3).contains(&azure.tries()), "the first, the one asked for, and its repetition: {}", azure.tries());
    // The new one is refused, too: that is the backend's business, and nobody asks again so soon.
    a.fault(FaultRule::preset("401_entra"));
    let tries = azure.tries();
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    gateway.until_eligible("a", false).await;
    tokio::time::sleep(ms(1500)).await;
    assert_eq!(azure.tries(), tries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_lies_costs_its_backend_alone_and_is_not_quoted() {
    let token = |rest: &str| Mood::Says(200, format!(r#"{{"access_token":"canary-lie","token_type":"Bearer"{rest}}}"#));
    let flood = format!(r#"{{"access_token":"{}"#, "canary".repeat(2_000_000));
    for (mood, why) in [
        (Mood::Says(200, "canary, no JSON".to_owned()), "the answer holds no token"),
        (Mood::Says(200, "<html>canary</html>".to_owned()), "the answer holds no token"),
        (Mood::Says(200, String::new()), "the answer holds no token"),
        (Mood::Says(200, flood), "length limit exceeded"),
        (Mood::Says(200, r#"{"access_token":"canary","token_type":"mac","expires_in":9}"#.to_owned()), "another type"),
        (token(r#","expires_in":-1"#), "has expired already"),
        (token(r#","expires_in":"canary""#), "nonsense"),
        (token(""), "does not say when"),
        (
            Mood::Says(400, r#"{"error":"invalid_request","error_description":"canary"}"#.to_owned()),
            "status 400, invalid_request",
        ),
        (Mood::Says(302, "canary".to_owned()), "status 302"),
        (Mood::Says(500, "canary".to_owned()), "status 500"),
        (Mood::Away, "no token for"),
    ] {
        let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
        azure.identity(mood);
        let gateway = on_a_machine((&a, &b), &azure).start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
        assert!(gateway.log().contains(why), "{why}: {}", gateway.log());
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
        azure.identity(Mood::Good);
        gateway.until_eligible("a", true).await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_entra_id_is_told_by_its_codes_and_never_by_its_text() {
    let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000215: canary","error_codes":[7000215]}"#;
    for (mood, why) in [
        (Mood::Says(401, refusal.to_owned()), "status 401, invalid_client, AADSTS7000215"),
        (Mood::Says(503, "canary".to_owned()), "status 503"),
        (Mood::Says(200, r#"{"access_token":"canary"}"#.to_owned()), "the answer holds no token"),
        (Mood::Says(201, r#"{"access_token":"canary"}"#.to_owned()), "status 201"),
    ] {
        let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
        azure.identity(mood);
        let gateway = by_secret((&a, &b), &azure).start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
        assert!(gateway.log().contains(why), "{why}: {}", gateway.log());
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absurd_life_of_a_token_is_taken_as_a_day() {
    let lives = ["9223372036854775807", "\"9223372036854775807\"", "4000000000000"];
    for (life, is_machine) in lives.iter().flat_map(|life| [(life, true), (life, false)]) {
        let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
        let body = format!(r#"{{"access_token":"canary-long","token_type":"Bearer","expires_in":{life}}}"#);
        azure.identity(Mood::Says(200, body));
        let setup = if is_machine { on_a_machine((&a, &b), &azure) } else { by_secret((&a, &b), &azure) };
        let gateway = setup.start().await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        let expiry = gateway.metrics().await.sum("tidegate_identity_token_expiry_timestamp_seconds", &[]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((86_000.0..86_410.0).contains(&(expiry - now)), "{life}: {}", expiry - now);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hangs_delays_a_start_by_its_limit_and_no_more() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    azure.identity(Mood::Hangs);
    let began = Instant::now();
    let gateway = on_a_machine((&a, &b), &azure).start().await;
    assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    azure.identity(Mood::Good);
    gateway.until_eligible("a", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_that_no_backend_has_a_token() {
    let ((a, b), azure) = (regions().await, Azure::start(&Authority::new()).await);
    azure.identity(Mood::Away);
    let gateway = on_a_machine((&a, &b), &azure).without_backend("b").pool("required: true").unready().start().await;
    eventually("the listener is open", secs(10), async || {
        let page = gateway.admin("/readyz").await;
        page.text().contains("lacking").then_some(())
    })
    .await;
    assert_eq!(gateway.admin("/readyz").await.status, 503);
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.status, a.requests()), (503, 0), "{answer}");
    azure.identity(Mood::Good);
    eventually("ready", secs(20), async || (gateway.admin("/readyz").await.status == 200).then_some(())).await;
}
