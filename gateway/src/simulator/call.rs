//! [`Call`]: one request from arrival to end. Being dropped before its end means that the client left.

use std::sync::Arc;

use super::deployment::Deployment;
use super::shared::Shared;
use super::target::Operation;
use crate::domain::Moment;

/// One request in progress.
pub(crate) struct Call {
    shared: Arc<Shared>,
    number: u64,
    received: u64,
    reported: bool,
    ended: bool,
    produced: u64,
    settlement: Option<(Arc<Deployment>, u64, u64)>,
}

impl Call {
    pub(crate) fn begin(shared: &Arc<Shared>, head: &http::request::Parts, operation: Operation, now: Moment) -> Self {
        let number = shared.tally.lock().arrive(head, operation, (shared.started, now));
        Self {
            shared: Arc::clone(shared),
            number,
            received: 0,
            reported: false,
            ended: false,
            produced: 0,
            settlement: None,
        }
    }

    /// Counts body bytes as they come.
    pub(crate) const fn receive(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// The body is read to its end.
    pub(crate) fn received(&mut self, sha256: Option<String>) {
        self.reported = true;
        if self.received > 0 || sha256.is_some() {
            self.shared.tally.lock().body(self.number, self.received, sha256);
        }
    }

    pub(crate) fn deployment(&self, name: &str) {
        self.shared.tally.lock().deployment(name);
    }

    pub(crate) fn status(&self, status: u16) {
        self.shared.tally.lock().status(self.number, status);
    }

    /// At its end `charged` tokens become `used` ones.
    pub(crate) fn settle_later(&mut self, deployment: Arc<Deployment>, charged: u64, used: u64) {
        self.settlement = Some((deployment, charged, used));
    }

    /// So many completion tokens of its stream have left.
    pub(crate) const fn produced(&mut self, tokens: u64) {
        self.produced = tokens;
    }

    /// The call came to its end by our doing: no abort.
    pub(crate) const fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut tally = self.shared.tally.lock();
        if !self.reported && self.received > 0 {
            tally.body(self.number, self.received, None);
        }
        tally.end(self.number, !self.ended, self.produced);
        drop(tally);
        if let Some((deployment, charged, used)) = self.settlement.take() {
            deployment.settle(charged, used);
        }
    }
}
