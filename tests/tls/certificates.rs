//! The certificates of a listener: chosen by name, swapped without a failed handshake, told before they expire.

use crate::common::{Client, ask, der, metric, setup};
use harness::{Authority, Sim};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

const EXPIRY: &str = "tidegate_certificate_expiry_timestamp_seconds";

/// An entry of `certificates`.
fn pair(name: &str) -> String {
    format!("{{ certificate: {{ file: {name}.pem }}, key: {{ file: {name}.key }} }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_gets_its_certificate_and_no_other_name_gets_one_where_that_is_refused() {
    let (sim, authority) = (Sim::start("swedencentral").await, Authority::new());
    let (one, two) = (authority.sign(&["one.example"]), authority.sign(&["*.api.example"]));
    let tls = format!("{{ certificates: [ {}, {} ] }}", pair("one"), pair("two"));
    let files = |setup: harness::Setup| {
        setup.file("one.pem", &one.0).file("one.key", &one.1).file("two.pem", &two.0).file("two.key", &two.1)
    };
    let mut gateway = files(setup(&tls, &sim)).start().await;
    let client = Client::new(gateway.secure(), &authority, None);
    for (name, certificate) in [("one.example", &one.0), ("eu.api.example", &two.0)] {
        let answer = client.ask(name, &ask()).await.unwrap();
        assert_eq!((answer.status, &answer.leaf), (200, &der(certificate)), "{name}");
    }
    let unknown = client.connect("elsewhere.example").await.unwrap_err().to_string();
    assert!(unknown.contains("not valid for name"), "the first certificate is served: {unknown}");
    let refusing = tls.replace("certificates:", "unknown_name: refuse, certificates:");
    assert!(gateway.apply(files(setup(&refusing, &sim))).await);
    let unknown = client.connect("elsewhere.example").await.unwrap_err().to_string();
    assert!(!unknown.contains("not valid for name"), "no certificate is served: {unknown}");
    assert_eq!(client.ask("us.api.example", &ask()).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_without_a_failed_handshake() {
    let (sim, authority) = (Sim::start("swedencentral").await, Authority::new());
    let first = authority.sign(&["edge.example"]);
    let gateway = setup("{ certificate: { file: edge.pem }, key: { file: edge.key } }", &sim)
        .file("edge.pem", &first.0)
        .file("edge.key", &first.1)
        .start()
        .await;
    let client = Client::new(gateway.secure(), &authority, None);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            // Each with a memory of its own, half of the handshakes are resumptions.
            let (client, stop, served) = (client.clone(), Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask("edge.example", &ask()).await.expect("no handshake fails");
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..4 {
        let next = authority.sign(&["edge.example"]);
        // One file after the other, as tools do it, with a pause in which they do not match.
        std::fs::write(gateway.file("edge.pem"), &next.0).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::fs::write(gateway.file("edge.key"), &next.1).unwrap();
        if round % 2 == 0 {
            assert!(gateway.reload().await, "SIGHUP reads them at once");
        }
        let fresh = || Client::new(gateway.secure(), &authority, None);
        let mut looks = 0;
        while fresh().ask("edge.example", &ask()).await.unwrap().leaf != der(&next.0) {
            looks += 1;
            assert!(looks < 100, "round {round}: the new certificate is not served within 10 s");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no handshake has failed");
    }
    assert!(served.load(Ordering::Relaxed) > 20, "{served:?} requests are no load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_does_not_match_changes_nothing_and_is_told() {
    let (sim, authority) = (Sim::start("swedencentral").await, Authority::new());
    let (good, other) = (authority.sign(&["edge.example"]), authority.sign(&["edge.example"]));
    let gateway = setup("{ certificate: { file: edge.pem }, key: { file: edge.key } }", &sim)
        .file("edge.pem", &good.0)
        .file("edge.key", &good.1)
        .start()
        .await;
    std::fs::write(gateway.file("edge.key"), &other.1).unwrap();
    assert!(!gateway.reload().await, "the reload is refused");
    gateway.until_log("is not the key of").await;
    gateway.until_log("certificates have changed and cannot be served, the old ones stay").await;
    let answer = Client::new(gateway.secure(), &authority, None).ask("edge.example", &ask()).await.unwrap();
    assert_eq!((answer.status, answer.leaf), (200, der(&good.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_soon_is_in_the_metrics_and_in_the_log() {
    let sim = Sim::start("swedencentral").await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ends = now + 5 * 24 * 3600 + 1800;
    let mut params = CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(ends);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let gateway = setup("{ certificate: { file: edge.pem }, key: { file: edge.key } }", &sim)
        .file("edge.pem", &certificate.pem())
        .file("edge.key", &key.serialize_pem())
        .start()
        .await;
    gateway.until_log("edge.pem expires in 5 days, at ").await;
    let told = metric(&gateway, EXPIRY, &[("listener", "secure")]).await;
    assert!((told - ends as f64).abs() < 2.0, "{told} is not {ends}");
}
