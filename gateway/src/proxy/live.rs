//! [`Live`]: what a request pins at birth: the fleet of one configuration with its meters and trust, looked up once.

use crate::config::snapshot::Backend;
use crate::openai::operation::{Speaks, Target};
use crate::openai::rewrite::Replacement;
use crate::policy::route::Matcher;
use crate::policy::seal::{self, Sealer};
use crate::state::{BackendState, Fleet};
use crate::telemetry::{BackendMeters, ConsumerMeters, LimitMeters, Metrics, PoolMeters, RouteMeters, RuleMeters};
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One configuration in force, ready for the request path.
pub struct Live {
    pub(super) fleet: Arc<Fleet>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) routes: Vec<Arc<RouteMeters>>,
    pub(super) pools: Vec<LivePool>,
    /// Meters of the rules, in the order of the snapshot.
    pub(super) rules: Vec<Arc<RuleMeters>>,
    /// Meters of usage limits, in the order of the snapshot.
    pub(super) limits: Vec<Arc<LimitMeters>>,
    /// Meters of the consumers, in the order of the snapshot.
    pub(super) consumers: Vec<Arc<ConsumerMeters>>,
    /// Some route has a policy for cross-origin use.
    pub(super) cors: bool,
    /// Some route has a policy of the web application firewall.
    pub(super) firewall: bool,
    /// Some pool hedges.
    pub(super) hedges: bool,
    /// Where clients hold sealed ids.
    pub(super) ids: Option<Ids>,
}

/// What opens and seals ids.
pub(super) struct Ids {
    pub(super) sealer: Sealer,
    /// What ids tell of the consumers, in the order of the snapshot.
    pub(super) consumers: Vec<u64>,
}

/// One pool, in the order of the snapshot.
pub(super) struct LivePool {
    pub(super) meters: Arc<PoolMeters>,
    pub(super) backends: Vec<LiveBackend>,
    /// Not every backend can do everything.
    pub(super) choosy: bool,
}

/// One backend: its meters and what a connection to it needs beyond the snapshot.
pub(super) struct LiveBackend {
    pub(super) meters: Arc<BackendMeters>,
    /// What ids tell of its resource.
    pub(super) resource: u64,
    /// Its deployment's name, ready to stand in a body.
    pub(super) model: Option<Model>,
    /// CAs to trust instead of the system's.
    pub(super) trust: Option<Arc<CaType>>,
    /// What we show to the backend.
    pub(super) identity: Option<Arc<CertKey>>,
    /// Keeps connections made under other files apart: of them Pingora's pool key has only the certificate's serial number.
    pub(super) group: u64,
    /// Which of its addresses is used; moves on when one refuses.
    turn: AtomicUsize,
}

/// A deployment's name as it is written in a body.
pub(super) struct Model {
    pub(super) json: Replacement,
    pub(super) form: Replacement,
}

impl LiveBackend {
    /// The address for the next connection; `None` while the name has never resolved.
    pub(super) fn address(&self, state: &BackendState) -> Option<SocketAddr> {
        state.addresses().address(self.turn.load(Ordering::Relaxed))
    }

    /// The address used so far does not connect.
    pub(super) fn next_address(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

impl Live {
    /// The deployment that a path names, or what that name stands for.
    pub(super) fn deployment_in<'a>(&'a self, target: &'a Target<'_>) -> Option<&'a str> {
        let asked = target.deployment.as_deref()?;
        Some(self.fleet.snapshot.models.aliases.resolve(asked).map_or(asked, |deployment| deployment.as_str()))
    }

    /// Binds a fleet to its meters. Reads certificates of backends (checked when the configuration was compiled) and the tables of
    /// tokenizers: not for the async threads.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, metrics: &Metrics) -> Self {
        let snapshot = &fleet.snapshot;
        snapshot.usage.encodings.iter().for_each(|encoding| encoding.load());
        let matchers = snapshot.routes.iter().map(|r| r.matcher.clone()).collect();
        let routes = snapshot
            .routes
            .iter()
            .filter_map(|r| snapshot.pools.get(r.pool).map(|p| metrics.route(&r.name, &p.name)))
            .collect();
        let pools = snapshot
            .pools
            .iter()
            .map(|pool| LivePool {
                meters: metrics.pool(&pool.name),
                choosy: pool.backends.iter().any(is_special),
                backends: pool.backends.iter().map(|backend| bind(backend, metrics)).collect(),
            })
            .collect();
        let cors = snapshot.cors.is_some() || snapshot.routes.iter().any(|route| route.cors.is_some());
        let rules = snapshot.rules.list.iter().map(|rule| metrics.rule(&rule.name)).collect();
        let limits = snapshot.usage_limits.list.iter().map(|limit| metrics.limits.meters(&limit.name)).collect();
        let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
        let consumers = consumers.map(|consumer| metrics.consumer(&consumer.name)).collect();
        let firewall = snapshot.waf.as_ref().is_some_and(|waf| !waf.policies.is_empty());
        let hedges = snapshot.pools.iter().any(|pool| pool.hedge.is_some());
        let ids = snapshot.stateful.sealed.then(|| ids(&fleet));
        Self { hedges, ids, matchers, routes, pools, rules, limits, consumers, cors, firewall, fleet }
    }
}

fn ids(fleet: &Fleet) -> Ids {
    let snapshot = &fleet.snapshot;
    let own = fleet.id_key.iter().filter(|_| snapshot.stateful.keys.is_empty());
    let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
    Ids {
        sealer: Sealer::new(snapshot.stateful.keys.iter().chain(own).cloned()),
        consumers: consumers.map(|consumer| seal::digest_of("consumer", consumer.name.as_str())).collect(),
    }
}

/// Something is said about it that could keep a request away.
fn is_special(backend: &Backend) -> bool {
    let narrow = backend.speaks != Speaks::Same || backend.realtime != Speaks::Same;
    narrow || !backend.capability.is_open() || backend.api_version.is_some()
}

fn bind(backend: &Backend, metrics: &Metrics) -> LiveBackend {
    LiveBackend {
        meters: metrics.backend(&backend.id, &backend.region),
        resource: backend.resource(),
        model: backend
            .deployment
            .as_ref()
            .map(|name| Model { json: Replacement::json(name.as_str()), form: Replacement::raw(name.as_str()) }),
        group: backend.url.trust.contents,
        trust: trust(backend),
        identity: identity(backend),
        turn: AtomicUsize::new(0),
    }
}

/// The backend's own CAs. A file that has gone since it was checked leaves no CA to trust, never the system's.
fn trust(backend: &Backend) -> Option<Arc<CaType>> {
    let certificates = certificates(backend, backend.url.trust.ca_file.as_ref()?);
    Some(certificates.iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect())
}

/// Our certificate there. Without its files, which were checked, we show none and the backend may refuse us.
fn identity(backend: &Backend) -> Option<Arc<CertKey>> {
    let files = backend.url.trust.client_certificate.as_ref()?;
    let chain: Vec<_> = certificates(backend, &files.certificate).iter().map(|der| der.to_vec()).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .inspect_err(|error| log::error!("backend {}: cannot read {}: {error}", backend.id, files.key.display()))
        .ok()?;
    (!chain.is_empty()).then(|| Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
}

fn certificates(backend: &Backend, path: &Path) -> Vec<CertificateDer<'static>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.unwrap_or_else(|error| {
        log::error!("backend {}: cannot read {}: {error}", backend.id, path.display());
        Vec::new()
    })
}
