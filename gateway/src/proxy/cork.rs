//! [`Cork`]: a request's header and its small body leave for the backend together.
//!
//! Pingora flushes the header before it has the body: two packets, and a backend that is woken twice. In between, the socket
//! is corked (`TCP_CORK`, tcp(7)): what the kernel is given stays there until the cork is pulled, 200 ms at the most.

use std::future::poll_fn;
use std::os::fd::RawFd;
use std::task::Poll;

/// The longest body, bytes, that is worth a cork: a larger one fills packets by itself.
pub(super) const BODY_MAX: usize = 16 * 1024;

/// On the socket of an attempt over HTTP/1.1, until that attempt is over at the latest.
#[derive(Debug)]
pub(super) struct Cork(RawFd);

impl Cork {
    /// `None` where the socket takes none.
    pub(super) fn put(socket: RawFd) -> Option<Self> {
        set(socket, 1).then_some(Self(socket))
    }

    /// What the kernel has leaves.
    pub(super) fn pull(self) {
        set(self.0, 0);
    }
}

fn set(socket: RawFd, on: libc::c_int) -> bool {
    uapi::setsockopt(socket, libc::IPPROTO_TCP, libc::TCP_CORK, &on).is_ok()
}

/// Lets whatever else this task has to do go first, once: Pingora writes there what it was given here.
pub(super) async fn others_first() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn what_is_corked_leaves_with_the_pull_and_together() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nodelay(true).unwrap();
        let mut far = listener.accept().unwrap().0;
        let mut bytes = [0; 16];
        for _ in 0..3 {
            let cork = Cork::put(near.as_raw_fd()).unwrap();
            near.write_all(b"header").unwrap();
            far.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            assert!(far.read(&mut bytes).is_err(), "it has left before the pull");
            near.write_all(b"body").unwrap();
            cork.pull();
            far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert_eq!(far.read(&mut bytes).unwrap(), 10);
        }
    }

    #[test]
    fn what_is_no_socket_takes_no_cork() {
        assert!(Cork::put(-1).is_none());
    }
}
