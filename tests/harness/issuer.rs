//! An issuer of tokens on this host: a discovery document, a key set that rotates, tokens signed by its keys.

use crate::ca::Authority;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What its tokens call it.
const NAME: &str = "https://id.example/";

/// A running issuer.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    inner: Arc<Inner>,
    tls: bool,
}

#[derive(Debug)]
struct Inner {
    base: String,
    /// Seeds of the published keys; the last one signs.
    keys: Mutex<Vec<u8>>,
    fetches: AtomicUsize,
    down: AtomicBool,
}

impl Issuer {
    /// One that answers over plain HTTP.
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// One that answers over TLS, by a certificate of `authority` for `localhost`.
    pub async fn tls(authority: &Authority) -> Self {
        Self::serve(Some(authority.acceptor(&["localhost"]))).await
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = match &tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let (keys, fetches, down) = (Mutex::new(vec![1]), AtomicUsize::new(0), AtomicBool::new(false));
        let inner = Arc::new(Inner { base, keys, fetches, down });
        let (issuer, is_tls) = (Arc::clone(&inner), tls.is_some());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (issuer, tls) = (Arc::clone(&issuer), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => issuer.answer(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                issuer.answer(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, inner, tls: is_tls }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// An entry of `authentication.issuers` in one line of YAML, with its keys by discovery, for the consumer `by_token`.
    #[must_use]
    pub fn entry(&self, more: &str) -> String {
        let ca = if self.tls { ", ca_file: ca.pem" } else { "" };
        let jwks = format!("{{ discovery: \"{}/.well-known/openid-configuration\"{ca} }}", self.inner.base);
        Self::entry_with(&jwks, more)
    }

    /// The same with its keys elsewhere.
    #[must_use]
    pub fn entry_with(jwks: &str, more: &str) -> String {
        format!(
            "{{ name: id, issuers: [ \"{NAME}\" ], audiences: [ tidegate ], jwks: {jwks}, consumer: {{ name: by_token }}{more} }}"
        )
    }

    /// The key set as it is published now.
    #[must_use]
    pub fn published(&self) -> String {
        self.inner.published()
    }

    /// Publishes a new key beside the last one and signs with it from now on.
    pub fn rotate(&self) {
        let mut keys = self.inner.keys.lock().unwrap();
        let next = keys.last().unwrap() + 1;
        let first = keys.len() - 1;
        keys.drain(..first);
        keys.push(next);
    }

    /// Withdraws every key but the one that signs.
    pub fn withdraw(&self) {
        let mut keys = self.inner.keys.lock().unwrap();
        let first = keys.len() - 1;
        keys.drain(..first);
    }

    /// Closes every connection without an answer, or answers again.
    pub fn down(&self, down: bool) {
        self.inner.down.store(down, Ordering::Release);
    }

    /// How often its key set was asked for.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.inner.fetches.load(Ordering::Acquire)
    }

    /// A token that is good for ten minutes, with `claims` in place of its own.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let seed = *self.inner.keys.lock().unwrap().last().unwrap();
        signed(seed, &json!({"alg": "EdDSA", "kid": kid(seed), "typ": "JWT"}), claims)
    }

    /// The same with a header of one's own, by the key that signs.
    #[must_use]
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let seed = *self.inner.keys.lock().unwrap().last().unwrap();
        signed(seed, header, claims)
    }
}

impl Inner {
    fn published(&self) -> String {
        let keys = self.keys.lock().unwrap();
        let keys = keys.iter().map(|seed| {
            let x = URL_SAFE_NO_PAD.encode(pair(*seed).public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid(*seed), "x": x})
        });
        json!({"keys": keys.collect::<Vec<_>>()}).to_string()
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
        let asks_for_keys = head.starts_with(b"GET /keys ");
        if asks_for_keys {
            self.fetches.fetch_add(1, Ordering::AcqRel);
        }
        if self.down.load(Ordering::Acquire) {
            return;
        }
        let body = if asks_for_keys {
            self.published()
        } else {
            json!({"issuer": NAME, "jwks_uri": format!("{}/keys", self.base)}).to_string()
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn kid(seed: u8) -> String {
    format!("key-{seed}")
}

fn signed(seed: u8, header: &Value, claims: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut all = json!({"iss": NAME, "aud": "tidegate", "azp": "app-1", "iat": now, "nbf": now, "exp": now + 600});
    for (name, value) in claims.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(&all));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair(seed).sign(message.as_bytes())))
}
