//! TLS beside nginx: full handshakes per second, and HTTP/2 requests per second over connections that stay. The bare Pingora
//! proxy has no TLS and no column here.

use crate::client::quantile;
use crate::peers::{cpu_of, family, free, program, spawn, wait};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connections of the handshakes; connections and streams on each of the requests.
const HANDSHAKES: usize = 16;
const CONNECTIONS: usize = 8;
const STREAMS: usize = 16;
const BODY: &[u8] = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"Say something."}]}"#;
const PATH: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

/// One system under load.
struct Peer {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one load came to.
#[derive(Clone, Default)]
struct Run {
    latencies: Vec<u64>,
    failures: u64,
    cpu: Duration,
}

/// Runs both scenarios in interleaved rounds and prints them.
pub fn run(rounds: usize, time: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("edge.pem"), pair.cert.pem()).unwrap();
    std::fs::write(directory.path().join("edge.key"), pair.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let (healthy, throttled) = (free(), free());
    let own = std::env::current_exe().unwrap();
    let mock = spawn("0", own.to_str().unwrap(), &["mock", &healthy.to_string(), &throttled.to_string()]);
    let _mock = Peer { name: "mock", address: healthy, child: mock };
    wait(healthy);
    let peers: Vec<Peer> =
        [nginx(directory.path(), healthy), Some(tidegate(directory.path(), healthy))].into_iter().flatten().collect();
    for peer in &peers {
        wait(peer.address);
    }
    for (name, protocol) in [("tls-handshakes", &b"http/1.1"[..]), ("tls-http2", b"h2")] {
        let connector = connector(&roots, protocol);
        let table: Vec<Vec<Run>> =
            (0..rounds).map(|_| peers.iter().map(|peer| measure(peer, &connector, protocol, time)).collect()).collect();
        print(name, &peers, &table, time);
    }
}

fn connector(roots: &RootCertStore, protocol: &[u8]) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsConnector::from(Arc::new(config))
}

fn measure(peer: &Peer, connector: &TlsConnector, protocol: &[u8], time: Duration) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = family(peer.child.id()).into_iter().map(cpu_of).sum::<Duration>();
    let mut run = runtime.block_on(async {
        let (tasks, end) = (if protocol == b"h2" { CONNECTIONS } else { HANDSHAKES }, Instant::now() + time);
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let (connector, address, multiplexed) = (connector.clone(), peer.address, protocol == b"h2");
                tokio::spawn(async move {
                    if multiplexed {
                        requests(&connector, address, end).await
                    } else {
                        handshakes(&connector, address, end).await
                    }
                })
            })
            .collect();
        let mut total = Run::default();
        for task in tasks {
            total.absorb(task.await.unwrap());
        }
        total
    });
    run.cpu = family(peer.child.id()).into_iter().map(cpu_of).sum::<Duration>().saturating_sub(before);
    run
}

impl Run {
    fn absorb(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failures += other.failures;
    }

    fn count(&mut self, began: Instant, good: bool) {
        if good {
            self.latencies.push(began.elapsed().as_micros() as u64);
        } else {
            self.failures += 1;
        }
    }
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn handshakes(connector: &TlsConnector, address: SocketAddr, end: Instant) -> Run {
    let mut run = Run::default();
    while Instant::now() < end {
        let began = Instant::now();
        let good = connect(connector, address).await.is_ok();
        run.count(began, good);
    }
    run
}

async fn requests(connector: &TlsConnector, address: SocketAddr, end: Instant) -> Run {
    let stream = connect(connector, address).await.expect("a handshake");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let streams: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(ask(sender.clone(), end))).collect();
    let mut total = Run::default();
    for stream in streams {
        total.absorb(stream.await.unwrap());
    }
    total
}

async fn ask(mut sender: SendRequest<Full<Bytes>>, end: Instant) -> Run {
    let mut run = Run::default();
    while Instant::now() < end {
        let request = http::Request::post(format!("https://localhost{PATH}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(BODY)))
            .unwrap();
        let began = Instant::now();
        let good = match sender.send_request(request).await {
            Ok(answer) => answer.status() == 200 && answer.into_body().collect().await.is_ok(),
            Err(_broken) => false,
        };
        run.count(began, good);
        if !good {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    run
}

fn tidegate(directory: &Path, healthy: SocketAddr) -> Peer {
    let address = free();
    let text = format!(
        "version: 1\nhome_region: swedencentral\nprocess: {{ threads: 1, upgrade_socket: {d}/secure/upgrade.sock }}\n\
         listeners: [ {{ name: public, address: \"{address}\", connection_caps: false, \
         tls: {{ certificate: {{ file: edge.pem }}, key: {{ file: edge.key }} }} }} ]\nadmin: off\naccess_log: off\n\
         limits: {{ connections: {{ requests_max: 1000000 }} }}\n\
         pools:\n  - name: chat\n    probe: off\n    backends:\n\
         \x20     - {{ name: a, region: swedencentral, url: \"http://{healthy}\", auth: none }}\n",
        d = directory.display(),
    );
    let file = directory.join("secure.yaml");
    std::fs::write(&file, text).unwrap();
    let child = spawn("1", &program(), &["run", "--config", file.to_str().unwrap()]);
    Peer { name: "tidegate", address, child }
}

/// Debian's nginx, without sessions to resume, as the client has none.
fn nginx(directory: &Path, healthy: SocketAddr) -> Option<Peer> {
    let address = free();
    let text = format!(
        "worker_processes 1; daemon off; pid {d}/secure.pid; error_log {d}/secure.log;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {d}/sb; proxy_temp_path {d}/sp; fastcgi_temp_path {d}/sf;\n\
         uwsgi_temp_path {d}/su; scgi_temp_path {d}/ss; keepalive_requests 10000000;\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {d}/edge.pem; ssl_certificate_key {d}/edge.key; ssl_session_tickets off;\n\
         upstream one {{ server {healthy}; keepalive 512; keepalive_requests 10000000; }}\n\
         server {{ listen {address} ssl http2; location / {{ proxy_pass http://one; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n",
        d = directory.display()
    );
    let file = directory.join("secure.conf");
    std::fs::write(&file, text).unwrap();
    let path = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists())?;
    let log = directory.join("secure-start.log");
    let child = spawn("1", path, &["-c", file.to_str().unwrap(), "-e", log.to_str().unwrap()]);
    Some(Peer { name: "nginx", address, child })
}

/// Medians over the rounds.
fn print(name: &str, peers: &[Peer], table: &[Vec<Run>], time: Duration) {
    println!("\n{name}");
    println!(
        "{:<14} {:>10} {:>12} {:>10} {:>10} {:>8}",
        "system", "per second", "cpu µs each", "p50 µs", "p99 µs", "failed"
    );
    for (index, peer) in peers.iter().enumerate() {
        let median = |f: &dyn Fn(&Run) -> f64| {
            let mut values: Vec<f64> = table.iter().map(|row| f(&row[index])).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{:<14} {:>10.0} {:>12.1} {:>10.0} {:>10.0} {:>8}",
            peer.name,
            median(&|run| run.latencies.len() as f64 / time.as_secs_f64()),
            median(&|run| run.cpu.as_secs_f64() * 1e6 / run.latencies.len().max(1) as f64),
            median(&|run| quantile(&run.latencies, 0.5) as f64),
            median(&|run| quantile(&run.latencies, 0.99) as f64),
            table.iter().map(|row| row[index].failures).sum::<u64>(),
        );
    }
}
