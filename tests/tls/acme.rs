//! Certificates that the gateway obtains by itself, from a real ACME server on this machine (pebble).

use crate::common::{Client, ask, metric};
use harness::{Authority, Gateway, Port, Raw, Setup, Sim, eventually, tool};
use rcgen::{CertificateParams, KeyPair};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(40);
const FAILURES: &str = "tidegate_acme_failures";
const EXPIRY: &str = "tidegate_certificate_expiry_timestamp_seconds";

/// Where an ACME server will be, and how to trust it.
struct Site {
    authority: Authority,
    acme: Port,
    management: Port,
    dns: Port,
}

/// A running ACME server, which finds every name at 127.0.0.1.
struct Pebble {
    children: [Child; 2],
    _dir: TempDir,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Site {
    fn new() -> Self {
        Self { authority: Authority::new(), acme: Port::free(), management: Port::free(), dns: Port::free() }
    }

    /// Starts the server; it asks its questions at `http`.
    fn start(&self, http: u16) -> Pebble {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self.authority.sign(&["localhost"]);
        std::fs::write(dir.path().join("own.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("own.key"), key).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": self.acme.address().to_string(),
            "managementListenAddress": self.management.address().to_string(),
            "certificate": dir.path().join("own.pem"),
            "privateKey": dir.path().join("own.key"),
            "httpPort": http,
            "tlsPort": 1,
        } });
        std::fs::write(dir.path().join("pebble.json"), config.to_string()).unwrap();
        let dns = self.dns.address().to_string();
        let quiet = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let names = ["-dns01", &dns, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""];
        let resolver = quiet(Command::new(tool("pebble-challtestsrv")).args(names).args(["-management", ""]));
        // One nonce in ten is refused, as busy servers do.
        let server = quiet(
            Command::new(tool("pebble"))
                .args(["-strict", "-dnsserver", &dns, "-config"])
                .arg(dir.path().join("pebble.json"))
                .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "10")]),
        );
        Pebble { children: [resolver, server], _dir: dir }
    }

    /// A page of the server's management, once it answers.
    async fn page(&self, path: &str) -> String {
        eventually("the ACME server answers", LIMIT, async || {
            let stream = TcpStream::connect(self.management.address()).await.ok()?;
            let name = "localhost".try_into().unwrap();
            let mut stream = self.authority.connector(&[]).connect(name, stream).await.ok()?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).filter(|body| !body.is_empty())
        })
        .await
    }

    /// A gateway that redirects in plain text and obtains a certificate for these names.
    fn setup(&self, names: &str, sim: &Sim) -> Setup {
        let port = self.acme.address().port();
        Setup::new().file("acme-ca.pem", &self.authority.pem()).text(&format!(
            "version: 1
home_region: swedencentral
listeners:
  - {{ name: public, address: \"127.0.0.1:{{port}}\", redirect_to_https: true }}
  - name: secure
    address: \"127.0.0.1:{{secure}}\"
    tls:
      acme:
        names: [ {names} ]
        cache: acme
        directory: \"https://localhost:{port}/dir\"
        directory_ca: acme-ca.pem
        contacts: [ operator@example.com ]
admin: {{ address: \"127.0.0.1:{{admin}}\" }}
process: {{ threads: 2, pre_drain: 0s, drain: 20s, upgrade_socket: {{dir}}/upgrade/upgrade.sock }}
access_log: {{ file: access.jsonl }}
pools:
  - {{ name: chat, probe: off, backends: [ {{ name: a, region: swedencentral, url: \"{}\" }} ] }}
",
            sim.url()
        ))
    }
}

/// Waits until this name is served under another certificate than `before`.
async fn served(place: (SocketAddr, &str), name: &str, before: &[u8]) -> Vec<u8> {
    eventually(format!("a new certificate for {name}"), LIMIT, async || {
        // A client without memory: a resumed session shows the certificate of before.
        let client = Client::trusting(place.0, place.1, None);
        let answer = client.ask(name, &ask()).await.ok().filter(|answer| answer.leaf.as_ref() != before)?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Some(answer.leaf.to_vec())
    })
    .await
}

/// A certificate with four fifths of its life behind it, in the form of the cache.
fn old(directory: &str) -> String {
    let mut params = CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(80 * 86_400)).into();
    params.not_after = (now + Duration::from_secs(20 * 86_400)).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{directory}\n{}\n{}", key.serialize_pem(), certificate.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_obtained_served_kept_and_renewed_without_a_restart() {
    let (site, sim) = (Site::new(), Sim::start("swedencentral").await);
    let mut gateway = site.setup("edge.example", &sim).start().await;
    // Nobody answers at the directory: told, counted, and no reason not to run. A handshake ends, it does not wait.
    gateway.until_metric(FAILURES, &[("listener", "secure")], |count| count > 0.5).await;
    gateway.until_log("no certificate from https://localhost").await;
    let stranger = Client::trusting(gateway.secure(), &site.authority.pem(), None);
    let began = std::time::Instant::now();
    assert!(stranger.connect("edge.example").await.is_err() && began.elapsed() < Duration::from_secs(5));

    let _pebble = site.start(gateway.address().port());
    let root = site.page("/roots/0").await;
    let place = (gateway.secure(), root.as_str());
    assert!(gateway.reload().await, "a reload tries at once");
    let first = served(place, "edge.example", &[]).await;
    gateway.until_metric(FAILURES, &[("listener", "secure")], |count| count < 0.5).await;
    gateway.until_metric(EXPIRY, &[("listener", "secure")], |at| at > 1.0e9).await;
    is_private(&gateway);
    asked_for_nothing_else(&gateway).await;

    // What is good stays: neither a reload nor a restart orders another one.
    let pem = gateway.file("acme/secure.pem");
    let kept = std::fs::read_to_string(&pem).unwrap();
    assert!(gateway.reload().await);
    let text = gateway.setup().clone();
    assert!(gateway.apply(text).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(std::fs::read_to_string(&pem).unwrap(), kept);

    // An old one is served, and renewed.
    let directory = kept.lines().next().unwrap().to_owned();
    std::fs::write(gateway.file("acme/secure.new"), old(&directory)).unwrap();
    std::fs::rename(gateway.file("acme/secure.new"), &pem).unwrap();
    assert!(gateway.reload().await);
    let second = served(place, "edge.example", &first).await;

    // Other names: the certificate of before is served until there is one for them.
    assert!(gateway.apply(site.setup("edge.example, Second.example", &sim)).await);
    served(place, "second.example", &second).await;
    served(place, "edge.example", &second).await;
    assert!(metric(&gateway, FAILURES, &[]).await < 0.5);
}

/// Account and certificate are their owner's alone, and no key is in the log.
fn is_private(gateway: &Gateway) {
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let cache = gateway.file("acme");
    assert_eq!(mode(&cache), 0o700);
    let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    assert!(!gateway.log().contains("PRIVATE"));
}

/// Between orders the place of the questions is a path like any other.
async fn asked_for_nothing_else(gateway: &Gateway) {
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send("GET /.well-known/acme-challenge/anything HTTP/1.1\r\nhost: edge.example\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 308);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_elsewhere_is_told_in_the_servers_words_and_what_is_served_stays() {
    let (site, sim) = (Site::new(), Sim::start("swedencentral").await);
    let elsewhere = Port::free();
    let mut gateway = site.setup("edge.example", &sim).start().await;
    let pem = gateway.file("acme/secure.pem");
    gateway.until_metric(FAILURES, &[("listener", "secure")], |count| count > 0.5).await;
    std::fs::create_dir_all(gateway.file("acme")).unwrap();
    std::fs::set_permissions(gateway.file("acme"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(&pem, old("directory: elsewhere")).unwrap();
    let _pebble = site.start(elsewhere.address().port());
    site.page("/roots/0").await;
    let setup = gateway.setup().clone();
    assert!(gateway.apply(setup).await);
    gateway.until_log("edge.example: ").await;
    gateway.until_metric(FAILURES, &[("listener", "secure")], |count| count > 1.5).await;
    let text = std::fs::read_to_string(&pem).unwrap();
    let own = text.split("-----BEGIN CERTIFICATE").nth(1).map(|rest| format!("-----BEGIN CERTIFICATE{rest}")).unwrap();
    let client = Client::trusting(gateway.secure(), &own, None);
    let error = client.connect("edge.example").await;
    assert!(error.is_ok() || !error.unwrap_err().to_string().contains("handshake"), "the old certificate is served");
    // The listener without ACME takes its series along.
    assert!(gateway.apply(site.setup("edge.example", &sim).text(&plain(&sim))).await);
    eventually("the series is gone", LIMIT, async || (!gateway.metrics().await.has(FAILURES, &[])).then_some(())).await;
}

fn plain(sim: &Sim) -> String {
    format!(
        "version: 1
home_region: swedencentral
listeners: [ {{ name: public, address: \"127.0.0.1:{{port}}\" }} ]
admin: {{ address: \"127.0.0.1:{{admin}}\" }}
process: {{ threads: 2, pre_drain: 0s, drain: 20s, upgrade_socket: {{dir}}/upgrade/upgrade.sock }}
access_log: {{ file: access.jsonl }}
pools:
  - {{ name: chat, probe: off, backends: [ {{ name: a, region: swedencentral, url: \"{}\" }} ] }}
",
        sim.url()
    )
}
