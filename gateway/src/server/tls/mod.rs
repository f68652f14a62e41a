//! TLS of the listeners: certificates and the CAs of clients, read at start, on reload and when their files change
//! ([`watch`]), and swapped whole: a handshake sees the old ones or the new ones. Versions are 1.2 and 1.3, suites those of
//! rustls, which are Mozilla's intermediate ones without DHE.
//!
//! A pair that cannot be read or does not match leaves the old one in force and says why.

mod clients;
mod read;
mod shelf;
pub mod watch;

use crate::config::snapshot::{Acme, Listener, Tls, TlsFiles};
use arc_swap::ArcSwap;
use clients::{Clients, Introduce, Policy};
use parking_lot::Mutex;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::ALPN;
pub use read::CertificateError;
use read::Loaded;
use shelf::{Served, Shelf};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The certificates of all listeners, by listener name.
#[derive(Debug, Default)]
pub struct Certificates {
    posts: HashMap<String, Post>,
    /// The files in force, and when the certificates among them expire. Held while others are put in force.
    in_force: Mutex<InForce>,
}

/// What a listener's handshakes ask.
#[derive(Debug)]
struct Post {
    served: Arc<Served>,
    clients: Arc<Clients>,
}

#[derive(Clone, Debug, Default)]
struct InForce {
    listeners: Vec<(String, Tls)>,
    expiries: Vec<Expiry>,
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The listener that serves it.
    pub listener: String,
    /// Its file.
    pub certificate: PathBuf,
    /// End of validity, Unix time.
    pub at: u64,
}

/// Certificates that were read and work, not served yet.
#[derive(Debug)]
pub struct Prepared {
    parts: Vec<Part>,
    in_force: InForce,
}

#[derive(Debug)]
struct Part {
    listener: String,
    shelf: Shelf,
    policy: Option<Arc<Policy>>,
}

impl Certificates {
    /// Reads the certificates of all listeners that have one.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn load(listeners: &[Listener]) -> Result<Self, CertificateError> {
        let Prepared { parts, in_force } = prepare(listeners.iter().filter_map(secured), &[])?;
        let posts = parts.into_iter().map(|part| {
            let served = Arc::new(Served(ArcSwap::from_pointee(part.shelf)));
            (part.listener, Post { served, clients: Arc::new(Clients::new(part.policy)) })
        });
        Ok(Self { posts: posts.collect(), in_force: Mutex::new(in_force) })
    }

    /// Reads them again, for the listeners that run.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn prepare(&self, listeners: &[Listener]) -> Result<Prepared, CertificateError> {
        let served = self.expiries();
        prepare(listeners.iter().filter_map(secured).filter(|(name, _)| self.posts.contains_key(name)), &served)
    }

    /// Serves them from the next handshake on. Says which listeners serve others than before.
    pub fn serve(&self, prepared: Prepared) -> Vec<String> {
        self.put(prepared, &mut self.in_force.lock())
    }

    /// When the certificates in force expire.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        self.in_force.lock().expiries.clone()
    }

    /// Pingora's settings for one TLS listener.
    #[must_use]
    pub fn settings(&self, listener: &Listener) -> Option<TlsSettings> {
        let post = self.posts.get(listener.name.as_str())?;
        let mut settings = TlsSettings::with_callbacks(Box::new(Introduce(Arc::clone(&post.clients)))).ok()?;
        settings.set_cert_resolver(Arc::clone(&post.served) as _);
        settings.set_client_cert_verifier(Arc::clone(&post.clients) as _);
        settings.set_alpn(if listener.http2 { ALPN::H2H1 } else { ALPN::H1 });
        Some(settings)
    }

    /// Reads the files in force again and serves what they hold now.
    fn refresh(&self) -> Result<Vec<String>, CertificateError> {
        let mut in_force = self.in_force.lock();
        let prepared = prepare(in_force.listeners.iter().map(|(name, tls)| (name.clone(), tls)), &in_force.expiries)?;
        Ok(self.put(prepared, &mut in_force))
    }

    fn put(&self, prepared: Prepared, in_force: &mut InForce) -> Vec<String> {
        let mut changed = Vec::new();
        for part in prepared.parts {
            let Some(post) = self.posts.get(&part.listener) else { continue };
            post.clients.set(part.policy);
            let before = post.served.0.swap(Arc::new(part.shelf));
            if !before.is_like(&post.served.0.load()) {
                changed.push(part.listener);
            }
        }
        *in_force = prepared.in_force;
        changed
    }

    /// Every file in force.
    fn files(&self) -> Vec<PathBuf> {
        let in_force = self.in_force.lock();
        let of = |tls: &Tls| {
            let pairs = tls.certificates.iter().flat_map(|files| [files.certificate.clone(), files.key.clone()]);
            let obtained = tls.acme.iter().map(|acme| acme.pem.clone());
            let authorities = tls.client_auth.iter().map(|clients| clients.ca_file.clone());
            pairs.chain(obtained).chain(authorities).collect::<Vec<_>>()
        };
        in_force.listeners.iter().flat_map(|(_, tls)| of(tls)).collect()
    }
}

fn secured(listener: &Listener) -> Option<(String, &Tls)> {
    Some((listener.name.to_string(), listener.tls.as_ref()?))
}

/// Reads the files of listeners; `served` are the certificates in force.
fn prepare<'t>(
    listeners: impl Iterator<Item = (String, &'t Tls)>,
    served: &[Expiry],
) -> Result<Prepared, CertificateError> {
    let mut prepared = Prepared { parts: Vec::new(), in_force: InForce::default() };
    for (listener, tls) in listeners {
        let mut certificates: Vec<Loaded> = Vec::with_capacity(tls.certificates.len() + 1);
        let mut expire = |certificate: &Path, loaded: &Loaded| {
            let (listener, certificate) = (listener.clone(), certificate.to_owned());
            prepared.in_force.expiries.push(Expiry { listener, certificate, at: loaded.expiry });
        };
        for files in &tls.certificates {
            let loaded = read::read(files)?;
            expire(&files.certificate, &loaded);
            certificates.push(loaded);
        }
        if let Some(acme) = &tls.acme
            && let Some(loaded) = obtained(acme, &listener, served)?
        {
            expire(&acme.pem, &loaded);
            certificates.push(loaded);
        }
        let policy = tls.client_auth.as_ref().map(Policy::read).transpose()?;
        let shelf = Shelf::new(&certificates, tls.refuse_unknown_name);
        prepared.in_force.listeners.push((listener.clone(), tls.clone()));
        prepared.parts.push(Part { listener, shelf, policy });
    }
    Ok(prepared)
}

/// The certificate that was obtained. What cannot be read is none yet: it will be obtained. But nothing takes the place of
/// one that is served except another.
fn obtained(acme: &Acme, listener: &str, served: &[Expiry]) -> Result<Option<Loaded>, CertificateError> {
    let is_served = served.iter().any(|one| one.listener == listener && one.certificate == acme.pem);
    if !is_served && !acme.pem.exists() {
        return Ok(None);
    }
    match read::read(&TlsFiles { certificate: acme.pem.clone(), key: acme.pem.clone() }) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(why) if is_served => Err(why),
        Err(why) => {
            log::error!("listener {listener}: {why}");
            Ok(None)
        }
    }
}
