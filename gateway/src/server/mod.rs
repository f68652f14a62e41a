//! Wiring: one configuration, its services, one Pingora server. Decides nothing about a request.

pub mod shutdown;
pub mod tls;

use crate::background;
use crate::config::snapshot::{Listener, Process, Snapshot};
use crate::proxy::{Gateway, Live};
use crate::state::{BodyMemory, Fleet, Gauges, Registry};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use std::net::{SocketAddr, TcpListener};
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
        address: SocketAddr,
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
/// Bytes read and written per system call on a client's connection. The write buffer holds the header and a usual answer,
/// so that both leave in one call; Pingora's own 1460 bytes split them.
const CLIENT_BUFFERS: (usize, usize) = (16 * 1024, 8 * 1024);
/// HTTP/2 windows of a client: 65 535 bytes would cap an upload at 1.3 MB/s over 50 ms.
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;

/// How the process was started.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The configuration file, read again on SIGHUP.
    pub config: PathBuf,
    /// Take the listeners over from a running process (which then gets SIGQUIT).
    pub upgrade: bool,
}

/// Runs until a signal ends the process.
///
/// # Errors
/// [`StartError`], before anything is served.
pub fn run(snapshot: Snapshot, options: &StartOptions) -> Result<(), StartError> {
    let parts = Parts::new(snapshot, options)?;
    let snapshot = Arc::clone(&parts.fleet.snapshot);
    let conf = Arc::new(server_conf(&snapshot.process));
    let opt = Opt { upgrade: options.upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(Some(opt), (*conf).clone());
    server.bootstrap();
    for (listeners, h2c) in groups(&snapshot.listeners) {
        server.add_service(parts.service(&conf, &listeners, h2c));
    }
    let draining = Arc::clone(&parts.draining);
    for service in parts.background(options) {
        server.add_boxed_service(service);
    }
    let drain = shutdown::Drain {
        gauges: Arc::clone(&parts.gauges),
        access_log: parts.access_log.clone(),
        process: snapshot.process.clone(),
        draining: Arc::clone(&draining),
    };
    let mut drain = background_service("drain", drain);
    drain.threads = Some(1);
    server.add_service(drain);
    let watch = shutdown::Watch { draining, metrics: Arc::clone(&parts.metrics), pre_drain: snapshot.process.pre_drain };
    for listener in &snapshot.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::warn!("listening on {scheme}://{} ({})", listener.address, listener.name);
    }
    server.run(RunArgs { shutdown_signal: Box::new(watch) });
    Ok(())
}
