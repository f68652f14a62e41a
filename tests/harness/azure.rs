//! The identity services and a Key Vault of Azure on this host: metadata of a machine, App Service, Entra ID, secrets. They can
//! lie, hang and go away.

use crate::ca::Authority;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a service does with a request.
#[derive(Clone, Debug)]
pub enum Mood {
    /// What Azure does.
    Good,
    /// Answers this, with this status.
    Says(u16, String),
    /// Says nothing, and keeps the connection.
    Hangs,
    /// Closes the connection.
    Away,
    /// Answers 401 with this challenge.
    Challenges(String),
}

/// What a vault wants to be shown.
const CHALLENGE: &str =
    r#"Bearer authorization="https://login.microsoftonline.com/contoso", resource="https://vault.azure.net""#;

/// One request that it got.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub place: String,
    /// Everything up to the body, as it was sent.
    pub head: String,
    /// The body, decoded from a form where it is one.
    pub form: HashMap<String, String>,
}

/// The services, running.
#[derive(Debug)]
pub struct Azure {
    plain: SocketAddr,
    secure: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// Tokens that were told.
    told: Vec<String>,
    /// Seconds that a token lives.
    life: u64,
    asked: Vec<Asked>,
    identity: Mood,
    vault: Mood,
    /// Values by name, the latest last; versions count from 1.
    secrets: HashMap<String, Vec<String>>,
}

impl Azure {
    /// Starts them: identity services over plain HTTP, Entra ID and the vault over TLS by a certificate of `authority`.
    pub async fn start(authority: &Authority) -> Self {
        let inner = Inner {
            told: Vec::new(),
            life: 3600,
            asked: Vec::new(),
            identity: Mood::Good,
            vault: Mood::Good,
            secrets: HashMap::new(),
        };
        let inner = Arc::new(Mutex::new(inner));
        let plain = serve(&inner, None).await;
        let secure = serve(&inner, Some(authority.acceptor(&["localhost"]))).await;
        Self { plain, secure, inner }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Base URL of what speaks plain HTTP.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// Base URL of what speaks TLS.
    #[must_use]
    pub fn secure(&self) -> String {
        format!("https://localhost:{}", self.secure.port())
    }

    /// How long a token lives from now on, seconds.
    pub fn life(&self, seconds: u64) {
        self.inner().life = seconds;
    }

    /// What the identity services do from now on.
    pub fn identity(&self, mood: Mood) {
        self.inner().identity = mood;
    }

    /// What the vault does from now on.
    pub fn vault(&self, mood: Mood) {
        self.inner().vault = mood;
    }

    /// Gives a secret a new version.
    pub fn secret(&self, name: &str, value: &str) {
        self.inner().secrets.entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// Every token that was told, oldest first.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.inner().told.clone()
    }

    /// Requests whose place begins with this.
    #[must_use]
    pub fn asked(&self, place: &str) -> Vec<Asked> {
        self.inner().asked.iter().filter(|asked| asked.place.starts_with(place)).cloned().collect()
    }

    /// How often tokens were asked for.
    #[must_use]
    pub fn tries(&self) -> usize {
        self.inner().asked.iter().filter(|asked| !asked.place.starts_with("/secrets/")).count()
    }
}

impl Asked {
    /// A value of its query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.place.split_once('?')?;
        form(query).remove(name)
    }
}

/// The certificate of an application, self-signed by the key beside it, and that key, PEM.
#[must_use]
pub fn application() -> (String, String) {
    let key = application_key();
    let certificate = CertificateParams::new(vec!["application".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), include_str!("fixtures/application.key").to_owned())
}

fn application_key() -> KeyPair {
    KeyPair::from_pem(include_str!("fixtures/application.key")).unwrap()
}

/// The claims of a client's assertion, if its signature is the application's.
#[must_use]
pub fn assertion(text: &str) -> Option<(Value, Value)> {
    let (message, signature) = text.rsplit_once('.')?;
    let (head, claims) = message.split_once('.')?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let key = application_key();
    let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.der_bytes());
    public.verify(message.as_bytes(), &bytes(signature)?).ok()?;
    let json = |part: &str| serde_json::from_slice(&bytes(part)?).ok();
    Some((json(head)?, json(claims)?))
}

async fn serve(inner: &Arc<Mutex<Inner>>, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (inner, tls) = (Arc::clone(&inner), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => answer(&inner, stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(&inner, stream).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn answer(inner: &Arc<Mutex<Inner>>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Some(asked) = receive(&mut stream).await else { return };
    let is_vault = asked.place.starts_with("/secrets/");
    let (mood, good) = {
        let mut inner = inner.lock().unwrap();
        inner.asked.push(asked.clone());
        let mood = if is_vault { inner.vault.clone() } else { inner.identity.clone() };
        let good = matches!(mood, Mood::Good)
            .then(|| if is_vault { inner.secret_for(&asked) } else { inner.token_for(&asked) });
        (mood, good)
    };
    let mut challenge = CHALLENGE.to_owned();
    let (status, body) = match (mood, good) {
        (_, Some(told)) => told,
        (Mood::Says(status, body), None) => (status, body),
        (Mood::Challenges(text), None) => {
            challenge = text;
            (401, "canary".to_owned())
        }
        (Mood::Hangs, None) => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            return;
        }
        (Mood::Away | Mood::Good, None) => return,
    };
    let length = body.len();
    let challenge = if status == 401 { format!("www-authenticate: {challenge}\r\n") } else { String::new() };
    let head = format!(
        "HTTP/1.1 {status} Told\r\n{challenge}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while bytes.len() < end + 4 + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, place) = (words.next()?.to_owned(), words.next()?.to_owned());
    let form = form(std::str::from_utf8(&bytes[end + 4..]).ok()?);
    // Credentials are compared as they were sent.
    Some(Asked { method, place, head, form })
}

impl Inner {
    fn token_for(&mut self, asked: &Asked) -> (u16, String) {
        let token = format!("canary-token-of-ours-{}", self.told.len() + 1);
        self.told.push(token.clone());
        let life = self.life;
        // A machine tells its numbers as text.
        let told = if asked.method == "GET" {
            json!({"access_token": token, "expires_in": life.to_string(), "token_type": "Bearer", "resource": "x"})
        } else {
            json!({"access_token": token, "expires_in": life, "ext_expires_in": life, "token_type": "Bearer"})
        };
        (200, told.to_string())
    }

    fn secret_for(&self, asked: &Asked) -> (u16, String) {
        let shown = asked.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            value.strip_prefix("Bearer ").filter(|_| name.eq_ignore_ascii_case("authorization"))
        });
        if !shown.is_some_and(|token| self.told.iter().any(|told| told == token)) {
            return (401, r#"{"error":{"code":"Unauthorized","message":"canary"}}"#.to_owned());
        }
        let mut parts = asked.place.split('?').next().unwrap_or_default().split('/').skip(2);
        let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let values = self.secrets.get(name).map(Vec::as_slice).unwrap_or_default();
        let version = version.strip_prefix('v').and_then(|text| text.parse().ok()).unwrap_or(values.len());
        match version.checked_sub(1).and_then(|index| values.get(index)) {
            Some(value) => {
                let id = format!("https://vault/secrets/{name}/v{version}");
                (200, json!({"value": value, "id": id, "attributes": {"enabled": true}}).to_string())
            }
            None => (404, r#"{"error":{"code":"SecretNotFound","message":"canary"}}"#.to_owned()),
        }
    }
}

fn form(text: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            match (first, tail) {
                (b'%', [high, low, after @ ..]) => {
                    let digits = String::from_utf8_lossy(&[*high, *low]).into_owned();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
                    rest = after;
                }
                (b'+', _) => bytes.push(b' '),
                _ => bytes.push(*first),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}
