//! Which route takes a request: most specific wins.

use crate::domain::DeploymentName;

/// How a route matches the `Host`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMatch {
    /// Any host.
    Any,
    /// Any host below a suffix, stored with its leading dot: `.example.com`.
    Suffix(String),
    /// One host, lower case, without port.
    Exact(String),
}

/// How a route matches the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMatch {
    /// Every path that begins with this; written `/openai/*`, stored `/openai/`. The empty prefix matches all.
    Prefix(String),
    /// This path and no other.
    Exact(String),
}

/// How a route matches the deployment of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeploymentMatch {
    /// Any request, with or without a deployment.
    Any,
    /// Deployments that begin with this; written `gpt-4*`.
    Prefix(String),
    /// One deployment.
    Exact(DeploymentName),
}

/// The matching part of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// Host condition.
    pub host: HostMatch,
    /// Path condition.
    pub path: PathMatch,
    /// Deployment condition.
    pub deployment: DeploymentMatch,
}
