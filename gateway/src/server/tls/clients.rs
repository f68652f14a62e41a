//! Certificates of clients: whether a listener asks for them, which are good, and what the request path is told of them.
//!
//! The CAs change with a reload while the listener runs. A resumed session has not shown its certificate again, so every
//! new connection is judged once more after its handshake; what is not good any more is refused by the first station.

use super::read::{self, CertificateError};
use crate::config::snapshot::ClientAuth;
use crate::domain::{ClientCertificate, Presented};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::protocols::tls::TlsRef;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use std::any::Any;
use std::fmt::Write;
use std::sync::Arc;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate};

/// Longest subject or name that is kept, bytes, and most names.
const TEXT_LENGTH_MAX: usize = 256;
const NAMES_MAX: usize = 16;

/// What a listener wants of its clients; replaced whole.
#[derive(Debug)]
pub(super) struct Clients {
    policy: ArcSwapOption<Policy>,
    provider: CryptoProvider,
}

/// Which certificates are good, and whether a client needs one.
#[derive(Debug)]
pub(super) struct Policy {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
}

impl Policy {
    /// Reads the CAs.
    pub(super) fn read(typed: &ClientAuth) -> Result<Arc<Self>, CertificateError> {
        let unusable = |reason: String| read::unreadable("a CA", &typed.ca_file, &reason);
        let mut roots = RootCertStore::empty();
        for authority in read::certificates(&typed.ca_file)? {
            roots.add(authority).map_err(|e| unusable(e.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        Ok(Arc::new(Self { verifier, required: typed.required }))
    }

    fn judge(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Presented> {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return self.required.then_some(Presented::Refused);
        };
        let good = self.verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok();
        let described = good.then(|| describe(leaf)).flatten();
        Some(described.map_or(Presented::Refused, |one| Presented::Trusted(Arc::new(one))))
    }
}

impl Clients {
    pub(super) fn new(policy: Option<Arc<Policy>>) -> Self {
        Self { policy: ArcSwapOption::new(policy), provider: rustls::crypto::ring::default_provider() }
    }

    /// Holds for handshakes from now on.
    pub(super) fn set(&self, policy: Option<Arc<Policy>>) {
        self.policy.store(policy);
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.policy.load().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.policy.load().as_ref().is_some_and(|policy| policy.required)
    }

    /// None: the CAs may change while the listener runs, and a client without a hint shows what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let policy = self.policy.load();
        let Some(policy) = policy.as_ref() else { return Err(Error::General("no certificate was asked for".into())) };
        let good = policy.verifier.verify_client_cert(end_entity, intermediates, now)?;
        // Pingora panics over a certificate that only rustls can read.
        match X509Certificate::from_der(end_entity) {
            Ok(_) => Ok(good),
            Err(_) => Err(Error::InvalidCertificate(rustls::CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Tells the request path who has connected.
pub(super) struct Introduce(pub(super) Arc<Clients>);

#[async_trait]
impl TlsAccept for Introduce {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let policy = self.0.policy.load_full()?;
        let presented = policy.judge(tls.peer_cert_chain_der())?;
        Some(Arc::new(presented))
    }
}

/// What a certificate says about its owner.
fn describe(leaf: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let common_name = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok()).map(clean);
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some(clean(text)),
        _ => None,
    });
    let fingerprint = Sha256::digest(leaf).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let whole = parsed.subject().to_string();
    let subject = clean(&whole);
    let is_exact = subject == whole && parsed.subject().iter_attributes().all(is_plain);
    Some(ClientCertificate { subject, is_exact, common_name, names: names.take(NAMES_MAX).collect(), fingerprint })
}

/// Whether an attribute is one in print too: its value is text, without what separates attributes.
fn is_plain(attribute: &AttributeTypeAndValue<'_>) -> bool {
    attribute.as_str().is_ok_and(|value| !value.is_empty() && !value.contains([',', '=', '+', '\\', '"']))
}

fn clean(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > TEXT_LENGTH_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn client(authority: &CertifiedIssuer<'static, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["billing.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "billing\n\u{7}");
        params.subject_alt_names.push(SanType::URI("spiffe://example/billing".try_into().unwrap()));
        params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().der().clone()
    }

    fn policy(authority: &CertifiedIssuer<'static, KeyPair>, required: bool) -> Arc<Policy> {
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem()).unwrap();
        Policy::read(&ClientAuth { ca_file, required }).unwrap()
    }

    #[test]
    fn a_resumed_session_is_judged_by_todays_cas() {
        let (ours, theirs) = (authority(), authority());
        let chain = [client(&ours)];
        let Some(Presented::Trusted(one)) = policy(&ours, true).judge(Some(&chain)) else { panic!("it is good") };
        assert_eq!(one.common_name.as_deref(), Some("billing"));
        assert!(one.subject.contains("CN=billing") && !one.is_exact, "{}", one.subject);
        assert_eq!(one.names, ["billing.example", "spiffe://example/billing"]);
        assert_eq!(one.fingerprint.len(), 64);
        assert_eq!(policy(&theirs, false).judge(Some(&chain)), Some(Presented::Refused));
        assert_eq!(policy(&ours, true).judge(None), Some(Presented::Refused));
        assert_eq!(policy(&ours, false).judge(None), None);
    }
}
