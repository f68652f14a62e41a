//! The guard of connections: what happens between `accept` and the first request, and between two requests. Caps, the
//! PROXY protocol, the TLS handshake, and the deadlines of clients that send or take nothing, or too slowly.
//!
//! It wraps Pingora's proxy and hands it connections that may speak HTTP. It never sees a request. A connection that it
//! turns away is closed at once, counted by reason, and never logged: who floods connections must not flood a log too.

mod answer;
mod connection;
mod goaway;
mod proxy_header;
mod stream;

pub(super) use connection::{begin, end};

use super::Live;
use super::deadline::{Alarm, now};
use super::gateway::ends;
use crate::config::snapshot::{Address as Place, Connections as Limits, Listener};
use crate::domain::{Cutoff, NetworkSet};
use crate::state::{Connections, Seat};
use crate::telemetry::Metrics;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use connection::{Connection, Phase};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::protocols::l4::stream::Stream as Transport;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{GetSocketDigest, IO, SocketDigest, Stream, UniqueID};
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use stream::Guarded;
use tokio::sync::watch;
use tokio::time::timeout;

/// Stands in front of `inner`, Pingora's proxy.
pub struct Guard<A> {
    /// Whom it hands connections to.
    pub inner: Arc<A>,
    /// The listeners that lead here.
    pub doors: Vec<Door>,
    /// What is open.
    pub connections: Connections,
    /// The configuration in force: its limits hold for new connections.
    pub live: Arc<ArcSwap<Live>>,
    /// Every metric.
    pub metrics: Arc<Metrics>,
}

/// One listener as the guard knows it.
pub struct Door {
    address: Place,
    capped: bool,
    http2: bool,
    /// Who speaks the PROXY protocol here.
    proxies: NetworkSet,
    tls: Option<Acceptor>,
}

impl Door {
    /// The listener's door; `tls` where it speaks TLS.
    #[must_use]
    pub fn new(listener: &Listener, tls: Option<Acceptor>) -> Self {
        Self {
            address: listener.address.clone(),
            capped: listener.connection_caps,
            http2: listener.http2,
            proxies: listener.proxies.clone(),
            tls,
        }
    }
}

/// Takes the connection out of the counts and the gauge when it ends.
struct Presence<'m> {
    seat: Seat,
    metrics: &'m Metrics,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.metrics.connections_open.dec();
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Guard<A> {
    /// From `accept` to the connection's end.
    async fn receive(&self, stream: Stream, shutdown: &ShutdownWatch) -> Result<(), Cutoff> {
        let mut transport = *stream.into_any().downcast::<Transport>().map_err(|_other| Cutoff::Stray)?;
        let digest = transport.get_socket_digest().ok_or(Cutoff::Stray)?;
        let door = self.door(digest.local_addr()).ok_or(Cutoff::Stray)?;
        let snapshot = Arc::clone(&self.live.load().fleet.snapshot);
        let limits = &snapshot.limits.connections;
        let total_max = if door.capped { limits.total_max } else { usize::MAX };
        let seat = self.connections.take(total_max).ok_or(Cutoff::TotalFull)?;
        self.metrics.connections_open.inc();
        let mut presence = Presence { seat, metrics: &self.metrics };
        let client = client(&mut transport, door, limits).await?;
        if door.capped {
            let own = client.filter(|address| !snapshot.hops.trusts(*address));
            claim(&mut presence.seat, own, limits)?;
        }
        let connection = Arc::new(Connection::default());
        let Some(acceptor) = &door.tls else {
            let stream = Box::new(Guarded::new(transport, Arc::clone(&connection), limits));
            return Box::pin(self.serve(stream, door, &connection, shutdown)).await;
        };
        // Apart from this future, which lasts as long as the connection: what a handshake needs is given back after it.
        let stream = Box::pin(shake_hands(acceptor, transport, &connection, limits)).await?;
        Box::pin(self.serve(stream, door, &connection, shutdown)).await
    }

    /// Lets the client speak, until the connection ends or the client is too slow.
    async fn serve<S: IO + 'static>(
        &self,
        stream: Box<Guarded<S>>,
        door: &Door,
        connection: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Result<(), Cutoff> {
        self.metrics.connections.inc();
        let ask = door.http2 && door.tls.is_none();
        let mut speaking = pin!(self.speak(stream, ask, connection, shutdown));
        poll_fn(|cx| {
            if speaking.as_mut().poll(cx).is_ready() || connection.is_over() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        connection.cutoff().map_or(Ok(()), Err)
    }

    /// Hands the stream to Pingora, which learns of the last request of HTTP/2 as of a shutdown: by GOAWAY it ends well.
    async fn speak<S: IO + 'static>(
        &self,
        mut stream: Box<Guarded<S>>,
        ask: bool,
        connection: &Connection,
        shutdown: &ShutdownWatch,
    ) {
        if ask && stream.begins_http2().await.is_err() {
            return;
        }
        if !stream.is_http2() {
            self.speak_http1(stream, connection, shutdown).await;
            return;
        }
        let (own, watched) = watch::channel(*shutdown.borrow());
        let mut outer = shutdown.clone();
        let turn = async {
            loop {
                tokio::select! {
                    changed = outer.changed() => if changed.is_err() { std::future::pending().await },
                    () = connection.retired() => {}
                }
                own.send_replace(true);
            }
        };
        tokio::select! {
            biased;
            _ = self.inner.process_new(stream, &watched) => {}
            () = turn => {}
        }
    }

    /// One request after the other. Between them a connection holds its stream and nothing else: Pingora's session and the
    /// state of its proxy, tens of KiB, come with the first byte of a request and go with its end.
    async fn speak_http1<S: IO + 'static>(
        &self,
        mut stream: Box<Guarded<S>>,
        connection: &Connection,
        shutdown: &ShutdownWatch,
    ) {
        let mut kept: Option<HttpPersistentSettings> = None;
        let mut watched = shutdown.clone();
        let mut alarm = Alarm::default();
        loop {
            let keepalive = self.live.load().fleet.snapshot.limits.keepalive_timeout;
            let idle = connection.phase() == Phase::IDLE;
            tokio::select! {
                biased;
                begun = stream.begins() => if !begun { return },
                () = async { alarm.passes(now() + keepalive).await }, if idle => return,
                _ = watched.wait_for(|ends| *ends) => return,
            }
            let mut session = ServerSession::new_http1(stream);
            match kept.take() {
                Some(kept) => kept.apply_to_session(&mut session),
                // The request's own snapshot says how long.
                None => session.set_keepalive(Some(keepalive.as_secs().max(1))),
            }
            let reused = self.inner.process_new_http(session, shutdown).await;
            let Some((next, settings)) = reused.map(ReusedHttpStream::consume) else { return };
            let Ok(next) = next.into_any().downcast() else { return };
            (stream, kept) = (next, settings);
        }
    }

    /// The door at this address. Where the kernel chose the port, the only door without one.
    fn door(&self, local: Option<&Address>) -> Option<&Door> {
        let (ip, path) = ends(local?);
        let found = self.doors.iter().find(|door| door.address.is_at(ip, path));
        found.or_else(|| {
            let mut chosen = self.doors.iter().filter(|door| door.address.is_chosen_by_the_kernel());
            chosen.next().filter(|_| chosen.next().is_none())
        })
    }
}

/// Who the client is: the peer, or whom it speaks for by the PROXY protocol. From then on that is the connection's address.
/// A load balancer that speaks for itself is nobody's client.
async fn client(transport: &mut Transport, door: &Door, limits: &Limits) -> Result<Option<IpAddr>, Cutoff> {
    let digest = transport.get_socket_digest();
    let peer = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet()).map(SocketAddr::ip);
    if !peer.is_some_and(|peer| door.proxies.contains(peer)) {
        return Ok(peer);
    }
    let told = match timeout(limits.header_timeout, proxy_header::read(transport)).await {
        Ok(Ok(told)) => told,
        Ok(Err(proxy_header::Malformed)) => return Err(Cutoff::ProxyHeaderBad),
        Err(_elapsed) => return Err(Cutoff::ProxyHeaderTimeout),
    };
    if let Some(client) = told {
        let digest = SocketDigest::from_raw_fd(transport.id());
        // It is fresh: nothing was set yet.
        let _ = digest.peer_addr.set(Some(Address::Inet(client)));
        transport.set_socket_digest(digest);
    }
    Ok(told.map(|client| client.ip()))
}

/// The client's stream after its TLS handshake.
async fn shake_hands(
    acceptor: &Acceptor,
    transport: Transport,
    connection: &Arc<Connection>,
    limits: &Limits,
) -> Result<Box<Guarded<TlsStream<Transport>>>, Cutoff> {
    match timeout(limits.tls_handshake_timeout, acceptor.tls_handshake(transport)).await {
        Ok(Ok(stream)) => Ok(Box::new(Guarded::new(stream, Arc::clone(connection), limits))),
        Ok(Err(error)) => {
            log::debug!("TLS handshake: {error}");
            Err(Cutoff::TlsFailed)
        }
        Err(_elapsed) => Err(Cutoff::TlsTimeout),
    }
}

/// Counts the connection for its client's address. A trusted hop carries many clients and is none.
fn claim(seat: &mut Seat, client: Option<IpAddr>, limits: &Limits) -> Result<(), Cutoff> {
    match client.filter(|address| !limits.exempt.contains(*address)) {
        Some(address) if !seat.claim(address, limits.per_address_max) => Err(Cutoff::AddressFull),
        _ => Ok(()),
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if let Err(cutoff) = self.receive(stream, shutdown).await {
            self.metrics.cut_off(cutoff);
        }
        None
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}
