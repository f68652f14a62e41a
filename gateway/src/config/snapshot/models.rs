//! Names of models: what clients may call a deployment, and what they are told there is.

use super::Snapshot;
use crate::domain::DeploymentName;
use crate::policy::alias::Aliases;
use crate::policy::route::DeploymentMatch;
use std::collections::BTreeSet;

/// Names of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// The gateway answers lists of models itself.
    pub listed: bool,
    /// What clients may call a deployment.
    pub aliases: Aliases,
    /// Every name that a list may have, in order: aliases, deployments of routes, models and deployments of backends.
    pub names: Vec<Box<str>>,
}

impl Snapshot {
    /// The names that a list of models may have.
    pub(in crate::config) fn names(&self) -> Vec<Box<str>> {
        let mut names: BTreeSet<&str> = self.models.aliases.names().collect();
        for route in &self.routes {
            let takes = |name: &&str| route.matcher.deployment.takes(Some(name));
            if let DeploymentMatch::Exact(name) = &route.matcher.deployment {
                names.insert(name.as_str());
                continue;
            }
            let backends = self.pools.get(route.pool).map_or(&[][..], |pool| &pool.backends);
            for backend in backends.iter().filter(|backend| backend.enabled) {
                let Some(own) = backend.deployment.as_ref().map(DeploymentName::as_str) else { continue };
                names.extend(backend.model_known().filter(takes).or(Some(own).filter(takes)));
            }
        }
        names.into_iter().map(Into::into).collect()
    }
}
