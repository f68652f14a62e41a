//! [`Scope`]: what a consumer may use. Whom a request comes from is decided elsewhere.

use super::route::DeploymentMatch;
use crate::domain::NetworkSet;
use std::net::IpAddr;

/// What may be used. An empty list allows everything of its kind. `O` is what operations are named by.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope<O> {
    /// Routes, by index.
    pub routes: Vec<usize>,
    /// Deployments.
    pub deployments: Vec<DeploymentMatch>,
    /// Operations.
    pub operations: Vec<O>,
    /// Where its clients are.
    pub networks: NetworkSet,
}

/// The kind of thing that a scope does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beyond {
    /// The client's address.
    Network,
    /// The route.
    Route,
    /// The deployment.
    Deployment,
    /// The operation.
    Operation,
}

impl Beyond {
    /// What may not be done, in words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Network => "come from this address",
            Self::Route => "use this route",
            Self::Deployment => "use this deployment",
            Self::Operation => "use this operation",
        }
    }
}

impl<O: PartialEq> Scope<O> {
    /// Whether requests may come from `address`. Where networks are named, a client without an address is in none.
    ///
    /// # Errors
    /// [`Beyond::Network`].
    pub fn takes_address(&self, address: Option<IpAddr>) -> Result<(), Beyond> {
        let inside = self.networks.is_empty() || address.is_some_and(|address| self.networks.contains(address));
        if inside { Ok(()) } else { Err(Beyond::Network) }
    }

    /// Whether a request for `operation` on `deployment` by the route at `route` is allowed. Where deployments are named, a
    /// request without one is for none of them.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn takes(&self, route: usize, deployment: Option<&str>, operation: &O) -> Result<(), Beyond> {
        if !self.takes_route(route) {
            return Err(Beyond::Route);
        }
        if !(self.deployments.is_empty() || self.deployments.iter().any(|one| one.takes(deployment))) {
            return Err(Beyond::Deployment);
        }
        if !(self.operations.is_empty() || self.operations.contains(operation)) {
            return Err(Beyond::Operation);
        }
        Ok(())
    }
}

impl<O: PartialEq> Scope<O> {
    /// Whether the route at `route` may be used.
    #[must_use]
    pub fn takes_route(&self, route: usize) -> bool {
        self.routes.is_empty() || self.routes.contains(&route)
    }

    /// [`Scope::takes`] for a request about what its consumer has stored, which needs no deployment any more.
    ///
    /// # Errors
    /// The first thing that is not allowed.
    pub fn takes_stored(&self, route: usize, operation: &O) -> Result<(), Beyond> {
        match self.takes(route, None, operation) {
            Err(Beyond::Deployment) if !(self.operations.is_empty() || self.operations.contains(operation)) => {
                Err(Beyond::Operation)
            }
            Err(Beyond::Deployment) => Ok(()),
            told => told,
        }
    }

    /// Whether some operation on `deployment` by the route at `route` may be allowed.
    #[must_use]
    pub fn takes_model(&self, route: usize, deployment: &str) -> bool {
        (self.routes.is_empty() || self.routes.contains(&route))
            && (self.deployments.is_empty() || self.deployments.iter().any(|one| one.takes(Some(deployment))))
    }

    /// Whether `operation` is allowed on something.
    #[must_use]
    pub fn takes_operation(&self, operation: &O) -> bool {
        self.operations.is_empty() || self.operations.contains(operation)
    }
}

impl<O> Default for Scope<O> {
    fn default() -> Self {
        let networks = NetworkSet::from_iter([]);
        Self { routes: Vec::new(), deployments: Vec::new(), operations: Vec::new(), networks }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::domain::{DeploymentName, Network};

    fn scope() -> Scope<&'static str> {
        Scope {
            routes: vec![1, 3],
            deployments: vec![
                DeploymentMatch::Prefix("gpt-4".to_owned()),
                DeploymentMatch::Exact(DeploymentName::new("o3").unwrap()),
            ],
            operations: vec!["chat"],
            networks: ["10.0.0.0/8".parse::<Network>().unwrap()].into_iter().collect(),
        }
    }

    #[test]
    fn every_list_must_hold() {
        for (route, deployment, operation, want) in [
            (1, Some("gpt-4o"), "chat", Ok(())),
            (3, Some("o3"), "chat", Ok(())),
            (2, Some("o3"), "chat", Err(Beyond::Route)),
            (1, Some("o3-mini"), "chat", Err(Beyond::Deployment)),
            (1, None, "chat", Err(Beyond::Deployment)),
            (1, Some("gpt-4"), "models", Err(Beyond::Operation)),
        ] {
            assert_eq!(scope().takes(route, deployment, &operation), want, "{route} {deployment:?} {operation}");
        }
        for (address, want) in [
            (Some("10.1.2.3"), Ok(())),
            (Some("::ffff:10.1.2.3"), Ok(())),
            (Some("11.1.2.3"), Err(Beyond::Network)),
            (None, Err(Beyond::Network)),
        ] {
            assert_eq!(scope().takes_address(address.map(|a| a.parse().unwrap())), want, "{address:?}");
        }
    }

    #[test]
    fn a_model_is_allowed_where_any_use_of_it_is() {
        for (route, deployment, want) in
            [(1, "gpt-4o", true), (2, "gpt-4o", false), (3, "o3", true), (3, "o3-mini", false)]
        {
            assert_eq!(scope().takes_model(route, deployment), want, "{route} {deployment}");
        }
        assert_eq!((scope().takes_operation(&"chat"), scope().takes_operation(&"models")), (true, false));
        assert!(Scope::<&str>::default().takes_model(9, "any") && Scope::default().takes_operation(&"any"));
    }

    #[test]
    fn an_empty_scope_allows_everything() {
        let scope = Scope::default();
        assert_eq!(scope.takes(7, None, &"anything"), Ok(()));
        assert_eq!(scope.takes_address(None), Ok(()));
    }
}
