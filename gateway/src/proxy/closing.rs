//! [`Closing`]: tells the tunnels that the process ends. When, is decided in `server::shutdown`; how a tunnel ends, in `tunnel`.

use std::sync::Arc;
use tokio::sync::watch;

/// Tells all tunnels of the process that it ends. Clones share it.
#[derive(Clone, Debug)]
pub struct Closing(Arc<watch::Sender<bool>>);

/// One tunnel's ear; it counts as open as long as it lives.
pub(super) struct Ending(watch::Receiver<bool>);

impl Default for Closing {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Closing {
    /// From now on every tunnel closes, those that open later too.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Tunnels that are open.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.0.receiver_count()
    }

    pub(super) fn subscribe(&self) -> Ending {
        Ending(self.0.subscribe())
    }
}

impl Ending {
    /// Waits until the process ends.
    pub(super) async fn begun(&mut self) {
        while !*self.0.borrow_and_update() {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
