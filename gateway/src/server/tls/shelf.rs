//! The certificates of one listener and the choice among them: by the name that the client asks for, its own wildcard
//! next, the first certificate (or none) last; of several for a name the first whose key the client understands.

use super::read::Loaded;
use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// What a listener serves from the next handshake on; replaced whole.
#[derive(Debug)]
pub(super) struct Served(pub(super) ArcSwap<Shelf>);

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().choose(hello.server_name(), hello.signature_schemes())
    }
}

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Every certificate, in the order of the file.
    all: Vec<Arc<CertifiedKey>>,
    /// By name, lower case; a wildcard by what stands behind its `*`, the dot included.
    names: HashMap<String, Vec<usize>>,
    refuse_unknown: bool,
}

impl Shelf {
    pub(super) fn new(certificates: &[Loaded], refuse_unknown: bool) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                let key = name.strip_prefix('*').unwrap_or(name);
                names.entry(key.to_owned()).or_default().push(index);
            }
        }
        Self { all: certificates.iter().map(|one| Arc::clone(&one.key)).collect(), names, refuse_unknown }
    }

    /// Whether both hold the same certificates.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let chains = |shelf: &Self| shelf.all.iter().map(|key| key.cert.clone()).collect::<Vec<_>>();
        self.refuse_unknown == other.refuse_unknown && chains(self) == chains(other)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match name.and_then(|name| self.known(name)) {
            Some(known) => self.understood(known.iter().copied(), schemes),
            None if self.refuse_unknown => None,
            None => self.understood(0..self.all.len().min(1), schemes),
        }
    }

    /// The certificates for a name: its own, else those of the wildcard one label up.
    fn known(&self, name: &str) -> Option<&Vec<usize>> {
        // Rustls gives lower case; a name in capitals would only cost its owner the certificate.
        let own = || self.names.get(name);
        let wild = || self.names.get(name.get(name.find('.')?..)?);
        own().or_else(wild)
    }

    fn understood(
        &self,
        among: impl Iterator<Item = usize> + Clone,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let keys = || among.clone().filter_map(|index| self.all.get(index));
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        keys().find(fits).or_else(|| keys().next()).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
    use rustls_pki_types::PrivateKeyDer;

    fn loaded(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Loaded {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider).unwrap();
        Loaded { key: Arc::new(key), names, expiry: 0 }
    }

    #[test]
    fn the_name_decides_then_its_wildcard_then_the_first() {
        let certificates = [
            loaded(&["edge.example"], &PKCS_ECDSA_P256_SHA256),
            loaded(&["*.api.example", "api.example"], &PKCS_ECDSA_P256_SHA256),
            loaded(&["special.api.example"], &PKCS_ECDSA_P256_SHA256),
        ];
        let cases = [
            (Some("edge.example"), Some(0)),
            (Some("api.example"), Some(1)),
            (Some("one.api.example"), Some(1)),
            (Some("special.api.example"), Some(2)),
            (Some("two.one.api.example"), None),
            (Some("elsewhere.example"), None),
            (Some("example"), None),
            (None, None),
        ];
        for refuse in [false, true] {
            let shelf = Shelf::new(&certificates, refuse);
            for (name, wanted) in cases {
                let wanted = wanted.or_else(|| (!refuse).then_some(0));
                let wanted = wanted.and_then(|index: usize| certificates.get(index)).map(|one| one.key.cert.clone());
                let got = shelf.choose(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]);
                assert_eq!(got.map(|key| key.cert.clone()), wanted, "{name:?} {refuse}");
            }
        }
    }

    #[test]
    fn of_two_for_a_name_the_client_gets_the_one_it_understands() {
        let certificates =
            [loaded(&["edge.example"], &PKCS_ECDSA_P384_SHA384), loaded(&["edge.example"], &PKCS_ECDSA_P256_SHA256)];
        let shelf = Shelf::new(&certificates, false);
        for (scheme, wanted) in [
            (SignatureScheme::ECDSA_NISTP384_SHA384, 0),
            (SignatureScheme::ECDSA_NISTP256_SHA256, 1),
            (SignatureScheme::RSA_PSS_SHA256, 0),
        ] {
            let got = shelf.choose(Some("edge.example"), &[scheme]).unwrap();
            assert_eq!(Some(&got.cert), certificates.get(wanted).map(|one| &one.key.cert), "{scheme:?}");
        }
    }

    #[test]
    fn the_same_certificates_are_alike() {
        let one = [loaded(&["edge.example"], &PKCS_ECDSA_P256_SHA256)];
        let other = [loaded(&["edge.example"], &PKCS_ECDSA_P256_SHA256)];
        assert!(Shelf::new(&one, false).is_like(&Shelf::new(&one, false)));
        assert!(!Shelf::new(&one, false).is_like(&Shelf::new(&one, true)));
        assert!(!Shelf::new(&one, false).is_like(&Shelf::new(&other, false)));
    }
}
