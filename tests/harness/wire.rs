//! Backends that are no HTTP servers: a host that drops every SYN, and servers scripted byte by byte.

use socket2::{Domain, Socket, Type};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A port whose listen queue is full: connecting to it hangs, as into a black hole.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _fillers: Vec<Socket>,
}

impl BlackHole {
    /// Opens it.
    ///
    /// # Panics
    /// When a connection to it still comes through.
    pub async fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let fillers = (0..4)
            .map(|_| {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                // In progress, or already in the queue: either way a place less.
                let _ = filler.connect(&address.into());
                filler
            })
            .collect();
        let hole = Self { address, _listener: listener, _fillers: fillers };
        let limit = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(limit, TcpStream::connect(address)).await.is_err(), "the queue is not full");
        hole
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A server scripted by a function of each connection.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// Serves each connection with `talk`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn serve<F, T>(talk: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                tokio::spawn(talk(stream));
            }
        });
        Self { address, accepted, accepting }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
