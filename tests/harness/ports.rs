//! Free loopback ports, held until the child has them: a bound socket that does not listen keeps every other process
//! from being given the same port, and does not keep the child (which sets `SO_REUSEADDR` too) from listening on it.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

/// A loopback port of ours.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Any free one.
    ///
    /// # Panics
    /// When the system has none.
    #[must_use]
    pub fn free() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: socket }
    }

    /// Address to bind or to connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
