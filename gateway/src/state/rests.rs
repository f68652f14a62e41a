//! Rests after a 429, as gateways tell each other of them: by names that are the same on every gateway, and in time that is
//! left, which no clock has to agree on.

use super::backend::BackendState;
use super::registry::Fleet;
use super::shared_name::SharedName;
use crate::domain::{Moment, Region};
use crate::policy::eject::Transition;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A backend that is left alone because another gateway was answered 429.
#[derive(Debug)]
pub struct Stopped<'f> {
    /// Which.
    pub state: &'f Arc<BackendState>,
    /// Its region.
    pub region: &'f Region,
    /// What changed.
    pub transition: Transition,
}

impl Fleet {
    /// The backends that rest after a 429 which this gateway was answered itself, with what is left of it.
    pub fn own_rests(&self, now: Moment) -> impl Iterator<Item = (SharedName, Duration)> {
        let states = self.pools.iter().flat_map(|pool| pool.backends());
        states.filter_map(move |state| Some((state.shared_name(), state.own_rest(now)?)))
    }

    /// Other gateways leave these alone for so long. Tells which backends do so from now on; `draw` gives random numbers.
    pub fn hear(
        &self,
        told: &HashMap<SharedName, Duration>,
        now: Moment,
        mut draw: impl FnMut() -> u64,
    ) -> Vec<Stopped<'_>> {
        let mut stopped = Vec::new();
        for pool in &self.pools {
            for member in &pool.core.members {
                let Some(rest) = told.get(&member.state.shared_name()) else { continue };
                if let Some(transition) = member.state.hear(*rest, &pool.core.ejection, now, draw()) {
                    stopped.push(Stopped { state: &member.state, region: &member.region, transition });
                }
            }
        }
        stopped
    }
}
