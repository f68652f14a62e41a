//! [`Live`]: what a request pins at birth: the fleet of one configuration and its pre-resolved meters.

use crate::policy::route::Matcher;
use crate::state::Fleet;
use crate::telemetry::{BackendMeters, Metrics, PoolMeters, RouteMeters};
use std::sync::Arc;

/// One configuration in force, ready for the request path.
pub struct Live {
    pub(super) fleet: Arc<Fleet>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) routes: Vec<Arc<RouteMeters>>,
    pub(super) pools: Vec<LivePool>,
}

/// Meters of one pool and its backends, in the order of the snapshot.
pub(super) struct LivePool {
    pub(super) meters: Arc<PoolMeters>,
    pub(super) backends: Vec<Arc<BackendMeters>>,
}

impl Live {
    /// Binds a fleet to its meters.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, metrics: &Metrics) -> Self {
        let snapshot = &fleet.snapshot;
        let matchers = snapshot.routes.iter().map(|r| r.matcher.clone()).collect();
        let routes = snapshot
            .routes
            .iter()
            .filter_map(|r| snapshot.pools.get(r.pool).map(|p| metrics.route(&r.name, &p.name)))
            .collect();
        let pools = snapshot
            .pools
            .iter()
            .map(|pool| LivePool {
                meters: metrics.pool(&pool.name),
                backends: pool.backends.iter().map(|b| metrics.backend(&b.id, &b.region)).collect(),
            })
            .collect();
        Self { matchers, routes, pools, fleet }
    }
}
