//! Whether clients can connect: `/readyz` says 503 until a connection to each listener has come through. Pingora opens
//! the listeners after the admin listener and tells nobody when it has. Decides nothing else.

use super::Shared;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Pause between two tries, and the limit of one.
const PAUSE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(1);

/// Says in `shared` when every listener is open, then has nothing more to do, for ever.
pub(super) async fn watch(shared: &Shared) {
    let snapshot = shared.fleets.load().snapshot.clone();
    for listener in &snapshot.listeners {
        while !matches!(timeout(LIMIT, TcpStream::connect(reachable(listener.address))).await, Ok(Ok(_))) {
            sleep(PAUSE).await;
        }
    }
    shared.listening.store(true, Ordering::Release);
    std::future::pending().await
}

/// Where a listener on every address is found from here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::reachable;

    #[test]
    fn a_listener_on_every_address_is_found_on_the_loopback() {
        for (address, at) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")] {
            assert_eq!(reachable(address.parse().unwrap()), at.parse().unwrap());
        }
    }
}
