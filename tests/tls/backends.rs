//! TLS to backends: the pinned name, our certificate there, and both again after a reload.

use crate::common::{Client, ask, der, private, site};
use harness::{Answer, Ask, Authority, Gateway};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const EDGE: &str = "{ certificate: { file: edge.pem }, key: { file: edge.key } }";

/// A backend that wants a certificate of `clients` and writes down what it was shown and asked for.
struct Strict {
    port: u16,
    seen: Arc<Mutex<Vec<(CertificateDer<'static>, String)>>>,
}

impl Strict {
    async fn start(own: &(String, String), clients: &Authority) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![der(&own.0)], private(&own.1))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut buffer = vec![0; 64 * 1024];
                    // A body of ours comes with its header or right behind it; the answer does not wait for it.
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let session = stream.get_ref().1;
                        let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
                        seen.lock().unwrap().push((shown, session.server_name().unwrap_or_default().to_owned()));
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    fn last(&self) -> (CertificateDer<'static>, String) {
        self.seen.lock().unwrap().last().cloned().expect("it was asked")
    }
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.ask(&Ask::new("GET", "/openai/v1/models/gpt")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_shown_our_certificate_and_must_have_the_pinned_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let strict = Strict::start(&theirs.sign(&["aoai.internal"]), &ours).await;
    let backend = |name: &str, more: &str| {
        format!(
            "{{ name: a, region: swedencentral, url: \"https://127.0.0.1:{}\", auth: none, ca_file: ca.pem{name}{more} }}",
            strict.port
        )
    };
    let (pinned, shown) = (
        ", server_name: aoai.internal",
        ", client_certificate: { certificate: { file: client.pem }, key: { file: client.key } }",
    );
    let (one, two, edge) = (ours.sign(&["gateway"]), ours.sign(&["gateway"]), ours.sign(&["edge.example"]));
    let with = |backend: &str, client: &(String, String)| {
        let setup = site(EDGE, backend).file("ca.pem", &theirs.pem()).file("client.pem", &client.0);
        setup.file("client.key", &client.1).file("edge.pem", &edge.0).file("edge.key", &edge.1)
    };
    let mut gateway = with(&backend(pinned, shown), &one).start().await;
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(strict.last(), (der(&one.0), "aoai.internal".to_owned()));
    // Over TLS from end to end.
    let client = Client::new(gateway.secure(), &ours, None);
    assert_eq!(client.ask("edge.example", &ask()).await.unwrap().status, 200);
    // Renewed: a reload shows the new one, on connections of its own.
    assert!(gateway.apply(with(&backend(pinned, shown), &two)).await);
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(strict.last().0, der(&two.0));
    for (what, broken) in [("another name", backend("", shown)), ("no certificate of ours", backend(pinned, ""))] {
        assert!(gateway.apply(with(&broken, &two)).await, "{what}");
        let before = strict.seen.lock().unwrap().len();
        assert_eq!(get(&gateway).await.status, 502, "{what}");
        assert_eq!(strict.seen.lock().unwrap().len(), before, "{what}");
        assert!(gateway.apply(with(&backend(pinned, shown), &two)).await);
    }
}
