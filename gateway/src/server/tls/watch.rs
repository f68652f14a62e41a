//! Looks after the certificates while the process runs: files that change are served without a reload, and whoever has to
//! renew one is told in time. It polls, because a file on a network or in a mounted secret changes without an event.

use super::{Certificates, Expiry};
use crate::telemetry::{Metrics, clock};
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is said that a certificate expires soon, in looks: daily.
const REMIND: u32 = 24 * 3600 / 2;
/// Validity, in seconds, below which it is said: 21 days.
const SOON: u64 = 21 * 24 * 3600;

/// Looks at the files of the certificates until shutdown begins.
#[derive(Debug)]
pub struct Watch {
    /// What is looked after.
    pub certificates: Arc<Certificates>,
    /// Told when they expire.
    pub metrics: Arc<Metrics>,
}

/// What a file looked like; absent when it could not be looked at.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Sets the metric of the certificates in force, and warns of those that expire soon.
pub fn report(certificates: &Certificates, metrics: &Metrics) {
    let expiries = certificates.expiries();
    let series: Vec<_> =
        expiries.iter().map(|one| (one.listener.clone(), one.certificate.display().to_string(), one.at)).collect();
    metrics.certificates(&series);
    warn(&expiries, clock::unix_seconds());
}

fn warn(expiries: &[Expiry], now: u64) {
    for Expiry { listener, certificate, at } in expiries {
        let (path, when) = (certificate.display(), clock::Timestamp(at.saturating_mul(1000)));
        match at.checked_sub(now) {
            None | Some(0) => log::error!("listener {listener}: the certificate {path} has expired at {when}"),
            Some(left) if left < SOON => {
                log::warn!("listener {listener}: the certificate {path} expires in {} days, at {when}", left / 86_400);
            }
            Some(_) => {}
        }
    }
}

#[async_trait]
impl BackgroundService for Watch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut look = Look { stamps: self.stamps(), pending: false, told: false };
        let mut looks = 0_u32;
        while !*shutdown.borrow() {
            tokio::select! {
                changed = shutdown.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look(&mut look);
            looks = (looks + 1) % REMIND;
            if looks == 0 {
                report(&self.certificates, &self.metrics);
            }
        }
    }
}

/// What the last look has found.
#[derive(Debug)]
struct Look {
    stamps: Vec<(PathBuf, Stamp)>,
    /// Something has changed that is not served yet.
    pending: bool,
    /// It was said why.
    told: bool,
}

impl Watch {
    /// Blocks on the disk: this thread has nothing else to do.
    fn look(&self, look: &mut Look) {
        let stamps = self.stamps();
        let changed = stamps != look.stamps;
        if changed {
            *look = Look { stamps, pending: true, told: false };
        }
        if !look.pending {
            return;
        }
        match self.certificates.refresh() {
            Ok(listeners) => {
                look.pending = false;
                for listener in &listeners {
                    log::info!("listener {listener}: serving the certificates that have changed");
                }
                report(&self.certificates, &self.metrics);
            }
            // Between the writing of a certificate and of its key the two do not match: that is not worth a word.
            Err(_) if changed => {}
            Err(why) => {
                if !look.told {
                    log::error!("certificates have changed and cannot be served, the old ones stay: {why}");
                }
                look.told = true;
            }
        }
    }

    fn stamps(&self) -> Vec<(PathBuf, Stamp)> {
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        self.certificates.files().into_iter().map(|path| (path.clone(), stamp(&path))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use crate::config::snapshot::{Listener, Tls, TlsFiles};
    use crate::domain::ListenerName;
    use std::path::Path;

    fn write(directory: &Path, name: &str) -> (String, String) {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        std::fs::write(directory.join("edge.pem"), &certificate).unwrap();
        std::fs::write(directory.join("edge.key"), &key).unwrap();
        (certificate, key)
    }

    fn listener(directory: &Path) -> Listener {
        let files = TlsFiles { certificate: directory.join("edge.pem"), key: directory.join("edge.key") };
        Listener {
            name: ListenerName::new("edge").unwrap(),
            address: crate::config::snapshot::Address::Ip("127.0.0.1:0".parse().unwrap()),
            tls: Some(Tls { certificates: vec![files], acme: None, refuse_unknown_name: false, client_auth: None }),
            http2: true,
            connection_caps: true,
            redirect_to_https: false,
            proxies: Default::default(),
        }
    }

    #[test]
    fn changed_files_are_served_and_half_a_change_is_not() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "one.example");
        let certificates = Arc::new(Certificates::load(&[listener(directory.path())]).unwrap());
        let watch = Watch { certificates: Arc::clone(&certificates), metrics: Arc::new(Metrics::new().unwrap()) };
        let mut look = Look { stamps: watch.stamps(), pending: false, told: false };
        let serving = || Arc::clone(&certificates.posts.get("edge").unwrap().served.0.load());
        let first = serving();
        watch.look(&mut look);
        assert!(Arc::ptr_eq(&first, &serving()), "nothing has changed");
        let (_, key) = write(directory.path(), "two.example");
        std::fs::write(directory.path().join("edge.key"), "half").unwrap();
        watch.look(&mut look);
        assert!(Arc::ptr_eq(&first, &serving()) && look.pending, "half a change is not served");
        watch.look(&mut look);
        assert!(look.told, "what lasts is said");
        std::fs::write(directory.path().join("edge.key"), key).unwrap();
        watch.look(&mut look);
        assert!(!look.pending && !first.is_like(&serving()), "the whole change is served");
        let text = String::from_utf8(watch.metrics.render()).unwrap();
        assert!(text.contains("tidegate_certificate_expiry_timestamp_seconds{certificate="), "{text}");
    }
}
