//! [`Region`]: a simulated region's life: bind, accept, serve, stop.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::clock;
use super::control::Control;
use super::options::{RegionOptions, TlsOptions};
use super::serve;
use super::shared::{Door, Shared};
use super::socket::{Connection, Cut, Socket, Wire};

/// Connections held at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// Streams at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1000;

/// A simulated region, serving until it is stopped or dropped.
pub struct Region {
    control: Control,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("control", &self.control)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl Region {
    /// Binds `address` (port 0: any free one) and serves from the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound or certificate and key are unusable.
    #[allow(clippy::unused_async, reason = "must run inside a runtime; callers await it")]
    pub async fn start(options: RegionOptions, address: SocketAddr) -> io::Result<Self> {
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let shared = Shared::bind(options, address)?;
        let accepting = tokio::spawn(accept(Arc::clone(&shared), tls));
        Ok(Self { control: Control { shared }, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.control.shared.address
    }

    /// Its handle.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Closes the listener and all connections and waits until they are gone.
    pub async fn stop(mut self) {
        self.control.shared.close();
        // The task ends by itself once the door is closed; a panic in it would have been reported already.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.control.shared.close();
    }
}

/// Accepts until the door is closed, then waits for the last connection.
async fn accept(shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let mut door = shared.door.subscribe();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let state = *door.borrow_and_update();
        match state {
            Door::Closed => break,
            Door::Refusing(None) => {
                if door.changed().await.is_err() {
                    break;
                }
            }
            Door::Refusing(Some(until)) => tokio::select! {
                _ = door.changed() => {}
                () = tokio::time::sleep(clock::now().until(until)) => shared.open(),
            },
            Door::Open => {
                // A fresh registration each time: the old one remembers that its socket was shut down.
                let Ok(listener) = shared.socket.try_clone().and_then(TcpListener::from_std) else { break };
                loop {
                    tokio::select! {
                        // First: tokio spins in `accept` on a socket that was shut down and listens again.
                        biased;
                        changed = door.changed() => {
                            if changed.is_err() { return }
                            break;
                        }
                        accepted = listener.accept(), if tasks.len() < CONNECTIONS_MAX => match accepted {
                            Ok((stream, _)) => drop(tasks.spawn(connect(Arc::clone(&shared), stream, tls.clone()))),
                            // Out of descriptors, or the socket was just shut down: the door will say.
                            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                        },
                        Some(_) = tasks.join_next() => {}
                    }
                }
            }
        }
    }
    shared.end_connections(true, Cut::Close);
    while tasks.join_next().await.is_some() {}
}

/// Takes the connection out of the tables, whatever its end.
struct Leave(Arc<Shared>, Arc<Connection>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.connections.lock().remove(&self.1.id);
        self.0.tally.lock().disconnected(self.1.is_bare());
    }
}

async fn connect(shared: Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let connection = Connection::new(shared.next_id());
    shared.connections.lock().insert(connection.id, Arc::clone(&connection));
    shared.tally.lock().connected();
    let leave = Leave(Arc::clone(&shared), Arc::clone(&connection));
    if *shared.door.borrow() != Door::Open {
        return;
    }
    // Small events must leave at once; a socket that refuses the option is closing.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, Arc::clone(&connection));
    let ready = tokio::select! {
        wire = handshake(&shared, socket, tls) => wire,
        _ = connection.ended() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    if let Ok(wire) = ready {
        Box::pin(converse(&shared, &connection, wire)).await;
    }
    drop(leave);
}

async fn handshake(shared: &Shared, socket: Socket, tls: Option<TlsAcceptor>) -> io::Result<Wire> {
    let pause = shared.latency().connect;
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    match tls {
        None => Ok(Wire::Plain(socket)),
        Some(acceptor) => Ok(Wire::Tls(Box::new(acceptor.accept(socket).await?))),
    }
}

/// Serves requests until either side, or the region, ends the connection.
async fn converse(shared: &Arc<Shared>, connection: &Arc<Connection>, wire: Wire) {
    let service = service_fn(|request| {
        let answer = serve::serve(Arc::clone(shared), Arc::clone(connection), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().half_close(false).writev(true);
    builder.http2().max_concurrent_streams(STREAMS_MAX);
    let builder = if wire.agreed_h2() { builder.http2_only() } else { builder };
    let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(wire), service));
    // A broken connection is the client's or a fault's doing: nothing to report.
    // Biased: a call for an orderly end must be heard before the answer that it concerns is written.
    let cut = tokio::select! {
        biased;
        cut = connection.ended() => cut,
        _ = serving.as_mut() => return connection.tunnelled().await,
    };
    if cut == Cut::Orderly {
        serving.as_mut().graceful_shutdown();
        tokio::select! {
            _ = serving.as_mut() => {}
            _ = connection.ended() => {}
        }
    }
}

fn acceptor(options: &TlsOptions) -> io::Result<TlsAcceptor> {
    let invalid = |error: &dyn fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let chain = CertificateDer::pem_slice_iter(options.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| invalid(&e))?;
    let key = PrivateKeyDer::from_pem_slice(options.key.as_bytes()).map_err(|e| invalid(&e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| invalid(&e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| invalid(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
