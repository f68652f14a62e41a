//! Wiring: one configuration, its services, one Pingora server. Decides nothing about a request.

pub mod shutdown;
pub mod tls;

use crate::background;
use crate::background::reload::{self, Reload};
use crate::config::snapshot::{Address, Http2, Listener, Process, Snapshot};
use crate::domain::{Secret, make_key};
use crate::policy::seal::Key;
use crate::proxy::guard::{Door, Guard};
use crate::proxy::{Closing, Doorman, Gateway, Live, Via};
use crate::state::{BodyMemory, Challenges, Connections, Fleet, Gauges, Registry, Secrets};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server};
use pingora::services::ServiceWithDependents;
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tls::Certificates;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's certificate.
    #[error(transparent)]
    Certificate(#[from] tls::CertificateError),
    /// A listener's address.
    #[error("cannot listen on {address} ({name}): {reason}")]
    Address {
        /// The listener.
        name: String,
        /// Its address.
        address: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The directory of the upgrade socket.
    #[error("cannot prepare the directory of the upgrade socket {path}: {reason}")]
    UpgradeSocket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(std::io::Error),
    /// The metrics table contradicts itself.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// Attempts are bounded by the configuration; this only has to be larger.
const PINGORA_RETRIES_MAX: usize = 256;
/// Bytes written at once on a client's connection: the header and a usual answer leave in one system call, which Pingora's
/// own 1460 bytes would split. Nothing is kept for reading: whoever reads has a buffer of its own.
const WRITE_BUFFER: usize = 8 * 1024;

/// How the process was started.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The configuration file, read again on SIGHUP.
    pub config: PathBuf,
    /// Take the listeners over from a running process (which then gets SIGQUIT).
    pub upgrade: bool,
    /// What is known of secrets in vaults.
    pub secrets: Arc<Secrets>,
}

/// Runs until a signal ends the process.
///
/// # Errors
/// [`StartError`], before anything is served.
pub fn run(snapshot: Snapshot, options: &StartOptions) -> Result<(), StartError> {
    let parts = Parts::new(snapshot, options)?;
    let snapshot = Arc::clone(&parts.fleet.snapshot);
    let opt = Opt { upgrade: options.upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(Some(opt), server_conf(&snapshot.process));
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);
    let mut ready = None;
    for service in parts.background(options) {
        let handle = server.add_boxed_service(service);
        ready.get_or_insert(handle);
    }
    for (listeners, h2c) in groups(&snapshot.listeners) {
        let gateway = server.add_service(parts.service(&conf, &listeners, h2c));
        // Names are looked up before the first request is taken.
        if let Some(ready) = &ready {
            gateway.add_dependency(ready);
        }
    }
    if snapshot.listeners.iter().any(|listener| listener.tls.is_some()) {
        let (certificates, metrics) = (Arc::clone(&parts.certificates), Arc::clone(&parts.metrics));
        let mut watch = background_service("certificates", tls::watch::Watch { certificates, metrics });
        watch.threads = Some(1);
        server.add_service(watch);
    }
    let draining = Arc::clone(&parts.draining);
    let drain = shutdown::Drain {
        gauges: parts.gauges.clone(),
        fleets: Arc::clone(&parts.fleets),
        access_log: parts.access_log.clone(),
        process: snapshot.process.clone(),
        draining: Arc::clone(&draining),
        closing: parts.closing.clone(),
    };
    let mut drain = background_service("drain", drain);
    drain.threads = Some(1);
    server.add_service(drain);
    let watch = shutdown::Watch {
        draining,
        metrics: Arc::clone(&parts.metrics),
        fleets: Arc::clone(&parts.fleets),
        pre_drain: snapshot.process.pre_drain,
    };
    for listener in &snapshot.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::warn!("listening on {scheme}://{} ({})", listener.address, listener.name);
    }
    server.run(RunArgs { shutdown_signal: Box::new(watch) });
    Ok(())
}

/// What the services share.
struct Parts {
    fleet: Arc<Fleet>,
    fleets: Arc<ArcSwap<Fleet>>,
    live: Arc<ArcSwap<Live>>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    memory: BodyMemory,
    doorman: Doorman,
    gauges: Gauges,
    connections: Connections,
    certificates: Arc<Certificates>,
    draining: Arc<AtomicBool>,
    via: Via,
    closing: Closing,
    challenges: Challenges,
}

/// A key of this process for ids, which are sealed with it where the configuration has none. `None` where the system gives no
/// random bytes: ids stay Azure's then, and none opens.
fn id_key() -> Option<Key> {
    let mut random = [0; 256];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut random).ok()?;
    Key::new("this process", &Secret::new(&make_key(&random)?))
}

impl Parts {
    fn new(mut snapshot: Snapshot, options: &StartOptions) -> Result<Self, StartError> {
        snapshot.generation = 1;
        let certificates = Arc::new(Certificates::load(&snapshot.listeners)?);
        prepare_upgrade_socket(&snapshot.process)?;
        if !options.upgrade {
            try_addresses(&snapshot)?;
        }
        let metrics = Arc::new(Metrics::new().map_err(|e| StartError::Metrics(e.to_string()))?);
        let access_log = AccessLog::start(&snapshot.access_log, &metrics).map_err(StartError::AccessLog)?;
        let memory = BodyMemory::new(snapshot.limits.body_memory_max);
        let registry = Arc::new(Registry::new(id_key()));
        let fleet = registry.bind(Arc::new(snapshot));
        background::usage::restore(&fleet);
        let live = Arc::new(ArcSwap::from_pointee(Live::new(Arc::clone(&fleet), &metrics)));
        metrics.in_force(1);
        tls::watch::report(&certificates, &metrics);
        Ok(Self {
            fleets: Arc::new(ArcSwap::new(Arc::clone(&fleet))),
            fleet,
            live,
            registry,
            metrics,
            access_log,
            memory,
            doorman: Doorman::default(),
            gauges: Gauges::default(),
            connections: Connections::default(),
            certificates,
            draining: Arc::default(),
            via: Via::fresh(),
            closing: Closing::default(),
            challenges: Challenges::default(),
        })
    }

    /// One Pingora service over several listeners: they share the pool of connections to backends.
    fn service(
        &self,
        conf: &Arc<ServerConf>,
        listeners: &[&Listener],
        h2c: bool,
    ) -> Service<impl pingora::apps::ServerApp + Send + Sync + 'static> {
        let snapshot = &self.fleet.snapshot;
        let gateway = Gateway {
            live: Arc::clone(&self.live),
            metrics: Arc::clone(&self.metrics),
            access_log: self.access_log.clone(),
            memory: self.memory.clone(),
            doorman: self.doorman.clone(),
            gauges: self.gauges.clone(),
            listeners: snapshot.listeners.iter().map(|l| (l.address.clone(), l.name.to_string())).collect(),
            via: self.via.clone(),
            redirecting: snapshot.listeners.iter().filter(|l| l.redirect_to_https).map(|l| l.address.clone()).collect(),
            closing: self.closing.clone(),
            challenges: self.challenges.clone(),
        };
        let mut proxy = http_proxy(conf, gateway);
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(snapshot.limits.keepalive_timeout);
        proxy.server_options = Some(options);
        proxy.h2_options = Some(h2_options(&snapshot.http2));
        let guard = Guard {
            inner: Arc::new(proxy),
            doors: listeners.iter().map(|one| self.door(one)).collect(),
            connections: self.connections.clone(),
            live: Arc::clone(&self.live),
            metrics: Arc::clone(&self.metrics),
        };
        let mut service = Service::new("gateway".to_owned(), guard);
        for listener in listeners {
            let address = match &listener.address {
                Address::Ip(address) => ListenerConfig::tcp(address.to_string()),
                Address::Unix { path, mode } => {
                    ListenerConfig::uds(path.display().to_string()).permissions(Permissions::from_mode(*mode))
                }
            };
            service.add_listener(address.l4_buffer(L4BufferSettings::new(0, WRITE_BUFFER)));
        }
        service
    }

    /// TLS is not Pingora's: the guard bounds the handshake, and what comes before it.
    fn door(&self, listener: &Listener) -> Door {
        Door::new(listener, self.certificates.settings(listener).map(TlsSettings::build))
    }
}

impl Parts {
    /// The services that work without a request.
    fn background(&self, options: &StartOptions) -> Vec<Box<dyn ServiceWithDependents>> {
        let shared = background::Shared {
            fleets: Arc::clone(&self.fleets),
            registry: Arc::clone(&self.registry),
            metrics: Arc::clone(&self.metrics),
            access_log: self.access_log.clone(),
            memory: self.memory.clone(),
            floor: self.doorman.floor().clone(),
            listening: Arc::default(),
            draining: Arc::clone(&self.draining),
            challenges: self.challenges.clone(),
            secrets: Arc::clone(&options.secrets),
        };
        let hooks = vec![self.certificates_hook(), self.live_hook()];
        background::services(Reload::new(shared, options.config.clone(), Box::new(environment), hooks))
    }

    /// A reload reads the certificates again; a pair that does not work refuses the configuration.
    fn certificates_hook(&self) -> reload::Hook {
        let (certificates, metrics) = (Arc::clone(&self.certificates), Arc::clone(&self.metrics));
        Box::new(move |snapshot| {
            let fresh = certificates.prepare(&snapshot.listeners).map_err(|e| e.to_string())?;
            let (certificates, metrics) = (Arc::clone(&certificates), Arc::clone(&metrics));
            Ok(Box::new(move |_fleet| {
                certificates.serve(fresh);
                tls::watch::report(&certificates, &metrics);
            }))
        })
    }

    /// A reload puts the new fleet in front of the requests.
    fn live_hook(&self) -> reload::Hook {
        let (live, metrics) = (Arc::clone(&self.live), Arc::clone(&self.metrics));
        Box::new(move |_snapshot| {
            let (live, metrics) = (Arc::clone(&live), Arc::clone(&metrics));
            Ok(Box::new(move |fleet| live.store(Arc::new(Live::new(Arc::clone(fleet), &metrics)))))
        })
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "secrets by reference: the one place of the server that reads the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Listeners by whether they speak HTTP/2 in plain text: that choice is Pingora's per service.
fn groups(listeners: &[Listener]) -> Vec<(Vec<&Listener>, bool)> {
    let h2c = |l: &&Listener| l.http2 && l.tls.is_none();
    let (plain, other): (Vec<_>, Vec<_>) = listeners.iter().partition(h2c);
    [(other, false), (plain, true)].into_iter().filter(|(group, _)| !group.is_empty()).collect()
}

fn server_conf(process: &Process) -> ServerConf {
    ServerConf {
        threads: process.threads,
        upgrade_sock: process.upgrade_socket.display().to_string(),
        // Pingora sleeps this in full; `shutdown::Drain` ends the process sooner.
        grace_period_seconds: Some(process.drain.as_secs() + 5),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: process.keepalive_connections_max,
        max_retries: PINGORA_RETRIES_MAX,
        // One thread has nobody to steal from: a runtime that does not try costs a tenth less.
        work_stealing: process.threads > 1,
        ..ServerConf::default()
    }
}

/// Limits of a client's HTTP/2 connection. CONTINUATION frames, empty DATA frames and small ones are bounded by the library
/// itself, from these sizes.
fn h2_options(limits: &Http2) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_list_max)
        .max_pending_accept_reset_streams(limits.resets_pending_max)
        .max_local_error_reset_streams(Some(limits.resets_forced_max))
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window);
    options
}

/// Pingora panics in a thread of its own when an address is taken; we say it in one sentence instead. A Unix socket on
/// which nobody listens is left over and may go.
fn try_addresses(snapshot: &Snapshot) -> Result<(), StartError> {
    let try_ip = |address: SocketAddr| TcpListener::bind(address).map(|_| ());
    let refused = |name: &str, address: String| {
        let name = name.to_owned();
        |reason| StartError::Address { name, address, reason }
    };
    for listener in &snapshot.listeners {
        let tried = match &listener.address {
            Address::Ip(address) => try_ip(*address),
            Address::Unix { path, .. } if UnixStream::connect(path).is_ok() => Err(ErrorKind::AddrInUse.into()),
            Address::Unix { .. } => Ok(()),
        };
        tried.map_err(refused(listener.name.as_str(), listener.address.to_string()))?;
    }
    snapshot.admin.map_or(Ok(()), |address| try_ip(address).map_err(refused("admin", address.to_string())))
}

/// The socket hands over our listeners: its directory is ours alone.
fn prepare_upgrade_socket(process: &Process) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = &process.upgrade_socket;
    let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) else { return Ok(()) };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|reason| StartError::UpgradeSocket { path: path.clone(), reason })
}
