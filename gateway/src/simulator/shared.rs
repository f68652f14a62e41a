//! What a region's connections, requests and control share.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::watch;

use super::clock;
use super::deployment::Deployments;
use super::fault::{FaultKind, Faults, Sight};
use super::options::{Latency, RECORDS_MAX, RegionOptions};
use super::place;
use super::socket::{Connection, Cut};
use super::stats::Tally;
use super::stored::Stored;
use super::things::Things;
use crate::domain::Moment;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Whether connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// Refused, until the moment or until opened.
    Refusing(Option<Moment>),
    Closed,
}

/// One region's live state.
pub(crate) struct Shared {
    pub(crate) options: RegionOptions,
    /// Display name of the region.
    pub(crate) display: String,
    pub(crate) started: Moment,
    pub(crate) tally: Mutex<Tally>,
    pub(crate) deployments: Deployments,
    pub(crate) stored: Mutex<Stored>,
    pub(crate) things: Mutex<Things>,
    faults: Mutex<Faults>,
    fault_count: AtomicUsize,
    latency: Mutex<Latency>,
    ids: AtomicU64,
    pub(crate) connections: Mutex<HashMap<u64, Arc<Connection>>>,
    pub(crate) door: watch::Sender<Door>,
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Shared {
    pub(crate) fn bind(options: RegionOptions, address: SocketAddr) -> io::Result<Arc<Self>> {
        let socket = listener(address)?;
        Ok(Arc::new(Self {
            display: place::display_name(&options.region).to_owned(),
            started: clock::now(),
            tally: Mutex::new(Tally::new(&options.region, options.records_max.min(RECORDS_MAX))),
            deployments: Deployments::new(&options.deployments),
            stored: Mutex::new(Stored::default()),
            things: Mutex::default(),
            faults: Mutex::new(Faults::new(options.seed)),
            fault_count: AtomicUsize::new(0),
            latency: Mutex::new(options.latency),
            ids: AtomicU64::new(0),
            connections: Mutex::new(HashMap::new()),
            door: watch::Sender::new(Door::Open),
            address: socket.local_addr()?,
            socket,
            options,
        }))
    }

    /// The next number of the region, for ids and connections.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Chance for one request: a function of the seed and the request's number.
    pub(crate) fn chance(&self, id: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id)
    }

    pub(crate) fn latency(&self) -> Latency {
        *self.latency.lock()
    }

    pub(crate) fn set_latency(&self, latency: Latency) {
        *self.latency.lock() = latency;
    }

    /// The fault that this request meets, if any.
    pub(crate) fn draw(&self, sight: Sight<'_>, early: bool) -> Option<FaultKind> {
        if self.fault_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.with_faults(|faults| faults.draw(sight, early)).inspect(|_| self.tally.lock().faulted())
    }

    pub(crate) fn with_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        let mut faults = self.faults.lock();
        let result = change(&mut faults);
        self.fault_count.store(faults.len(), Ordering::Release);
        result
    }

    /// Refuses connections from now on. The socket keeps its port: a bound socket that does not listen answers RST.
    pub(crate) fn refuse(&self, keep_connections: bool, lasts: Option<Duration>) {
        let until = lasts.map(|lasts| clock::now().after(lasts));
        self.silence();
        self.door.send_replace(Door::Refusing(until));
        if !keep_connections {
            self.end_connections(false, Cut::Close);
        }
    }

    /// Takes connections again.
    pub(crate) fn open(&self) {
        self.with_faults(Faults::remove_refusals);
        self.door.send_if_modified(|door| {
            let refused = matches!(door, Door::Refusing(_));
            if refused && SockRef::from(&self.socket).listen(BACKLOG).is_ok() {
                *door = Door::Open;
            }
            refused
        });
    }

    /// Ends everything; the accepting task then gives the port back.
    pub(crate) fn close(&self) {
        self.silence();
        self.door.send_replace(Door::Closed);
        self.end_connections(true, Cut::Close);
    }

    pub(crate) fn end_connections(&self, control_too: bool, cut: Cut) {
        let connections: Vec<_> = self.connections.lock().values().cloned().collect();
        for connection in connections.iter().filter(|connection| control_too || !connection.is_control()) {
            connection.end(cut);
        }
    }

    fn silence(&self) {
        // Fails only when the socket does not listen: then it is silent already.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

/// A listening socket. A port that the kernel chose is bound a second time by its number: only a port that was asked for
/// stays with a socket that stops listening.
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        io::Result::Ok(TcpListener::from(socket))
    };
    let mut socket = bound(address)?;
    if address.port() == 0 {
        let chosen = socket.local_addr()?;
        socket = bound(chosen)?;
    }
    SockRef::from(&socket).listen(BACKLOG)?;
    Ok(socket)
}
