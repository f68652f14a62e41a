//! Certificates of clients: who gets in, who is told of in the access log, and what a reload changes.

use crate::common::{Client, ask, metric, setup};
use harness::{Authority, Setup, Sim, sha256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The listener's map, with `mode` for clients.
fn tls(mode: &str) -> String {
    format!(
        "{{ certificate: {{ file: edge.pem }}, key: {{ file: edge.key }}, \
         client_auth: {{ ca_file: clients.pem, mode: {mode} }} }}"
    )
}

fn with(tls: &str, sim: &Sim, edge: &(String, String), clients: &Authority) -> Setup {
    setup(tls, sim).file("edge.pem", &edge.0).file("edge.key", &edge.1).file("clients.pem", &clients.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_in_with_a_good_certificate_and_is_named_in_the_access_log() {
    let sim = Sim::start("swedencentral").await;
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let edge = servers.sign(&["edge.example"]);
    let (good, strange) = (clients.sign(&["billing.example"]), strangers.sign(&["billing.example"]));
    let mut gateway = with(&tls("required"), &sim, &edge, &clients).start().await;
    let ask_as = async |shows| Client::new(gateway.secure(), &servers, shows).ask("edge.example", &ask()).await;
    let request = ask();
    let answer = Client::new(gateway.secure(), &servers, Some(&good)).ask("edge.example", &request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let record = gateway.record(&request.id).await;
    let fingerprint = sha256(&CertificateDer::from_pem_slice(good.0.as_bytes()).unwrap());
    assert_eq!(record["client_fingerprint"], fingerprint.as_str(), "{record}");
    assert!(record["client_subject"].as_str().unwrap().starts_with("CN="), "{record}");
    assert!(ask_as(Some(&strange)).await.is_err(), "of another CA");
    assert!(ask_as(None).await.is_err(), "without one");
    assert_eq!(sim.requests(), 1, "nobody else came through");
    // Now a client may come without.
    assert!(gateway.apply(with(&tls("optional"), &sim, &edge, &clients)).await);
    let ask_as = async |shows| Client::new(gateway.secure(), &servers, shows).ask("edge.example", &ask()).await;
    assert_eq!(ask_as(None).await.unwrap().status, 200);
    assert_eq!(ask_as(Some(&good)).await.unwrap().status, 200);
    assert!(ask_as(Some(&strange)).await.is_err(), "one that is shown must be good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_session_does_not_outlive_the_ca_of_its_certificate() {
    let sim = Sim::start("swedencentral").await;
    let (servers, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let edge = servers.sign(&["edge.example"]);
    let shown = old.sign(&["billing.example"]);
    let mut gateway = with(&tls("required"), &sim, &edge, &old).start().await;
    let client = Client::new(gateway.secure(), &servers, Some(&shown));
    assert_eq!(client.ask("edge.example", &ask()).await.unwrap().status, 200);
    assert_eq!(client.ask("edge.example", &ask()).await.unwrap().status, 200, "resumed, and still good");
    assert!(gateway.apply(with(&tls("required"), &sim, &edge, &new)).await);
    match client.ask("edge.example", &ask()).await {
        Err(_) => {}
        Ok(answer) => {
            assert_eq!(answer.status, 403, "{}", answer.text);
            assert!(answer.text.contains("client_certificate_refused"), "{}", answer.text);
            let denied = metric(&gateway, "tidegate_denials_total", &[("code", "client_certificate_refused")]).await;
            assert!(denied > 0.5);
        }
    }
    assert_eq!(sim.requests(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_a_credential_by_subject_or_fingerprint() {
    let sim = Sim::start("swedencentral").await;
    let (servers, clients) = (Authority::new(), Authority::new());
    let edge = servers.sign(&["edge.example"]);
    let (known, other) = (clients.sign(&["billing.example"]), clients.sign(&["search.example"]));
    let mut gateway = with(&tls("optional"), &sim, &edge, &clients).start().await;
    let first = ask();
    let answer = Client::new(gateway.secure(), &servers, Some(&known)).ask("edge.example", &first).await.unwrap();
    assert_eq!(answer.status, 200, "nobody is asked: {}", answer.text);
    let subject = gateway.record(&first.id).await["client_subject"].as_str().unwrap().to_owned();
    let fingerprint = sha256(&CertificateDer::from_pem_slice(known.0.as_bytes()).unwrap());
    for entry in [format!("subject: \"{subject}\""), format!("fingerprint: {fingerprint}")] {
        let consumers = format!("consumers: [ {{ name: billing, certificates: [ {{ {entry} }} ] }} ]\n");
        let site = crate::common::site_and(&tls("optional"), &sim, &consumers);
        let site = site.file("edge.pem", &edge.0).file("edge.key", &edge.1).file("clients.pem", &clients.pem());
        assert!(gateway.apply(site).await);
        let request = ask();
        let answer = Client::new(gateway.secure(), &servers, Some(&known)).ask("edge.example", &request).await.unwrap();
        assert_eq!(answer.status, 200, "{entry}: {}", answer.text);
        let record = gateway.record(&request.id).await;
        assert_eq!((&record["consumer"], &record["proof"]), (&"billing".into(), &"certificate".into()), "{record}");
        if entry.starts_with("fingerprint") {
            let answer = Client::new(gateway.secure(), &servers, Some(&other)).ask("edge.example", &ask()).await;
            assert_eq!(answer.unwrap().status, 401, "another certificate");
        }
        let answer = Client::new(gateway.secure(), &servers, None).ask("edge.example", &ask()).await;
        assert_eq!(answer.unwrap().status, 401, "no certificate");
    }
}
