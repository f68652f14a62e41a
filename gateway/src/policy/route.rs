//! Which route takes a request: most specific wins. Never looks into the body: the deployment is an argument.

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

/// What a look-up of the routes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The route at this index.
    Route(usize),
    /// A route takes host and path, but none this deployment.
    NoDeployment,
    /// No route takes host and path.
    NoRoute,
}

/// Finds the first of `routes` (most specific first: see [`Matcher::precedence`]) that takes the request.
///
/// `host` is without port, in any case; `path` is decoded and without query; `deployment` is absent where the
/// request names none.
pub fn find<'a>(
    routes: impl IntoIterator<Item = &'a Matcher>,
    host: &str,
    path: &str,
    deployment: Option<&str>,
) -> Match {
    let mut missed = Match::NoRoute;
    for (index, route) in routes.into_iter().enumerate() {
        if !(route.host.takes(host) && route.path.takes(path)) {
            continue;
        }
        if route.deployment.takes(deployment) {
            return Match::Route(index);
        }
        if deployment.is_some() {
            missed = Match::NoDeployment;
        }
    }
    missed
}

/// Finds the first of `routes` that may take a request of which only the envelope is known: where the path names no
/// deployment, any will do.
pub fn find_by_envelope<'a>(
    routes: impl IntoIterator<Item = &'a Matcher>,
    host: &str,
    path: &str,
    deployment: Option<&str>,
) -> Option<usize> {
    routes.into_iter().position(|route| {
        let deployment_fits = deployment.is_none() || route.deployment.takes(deployment);
        deployment_fits && route.host.takes(host) && route.path.takes(path)
    })
}

/// Finds the first of `routes` that may take a request about something stored: host and path must fit, the deployment where
/// the request names one, and whatever else `fits` asks for.
pub fn find_stored<'a>(
    routes: impl IntoIterator<Item = &'a Matcher>,
    host: &str,
    path: &str,
    deployment: Option<&str>,
    mut fits: impl FnMut(usize) -> bool,
) -> Option<usize> {
    routes.into_iter().enumerate().position(|(index, route)| {
        let deployment_fits = deployment.is_none() || route.deployment.takes(deployment);
        deployment_fits && route.host.takes(host) && route.path.takes(path) && fits(index)
    })
}

/// Finds the route of a request that names no deployment where [`find`] has found none: the one that `says` it takes such, else
/// the first that fits otherwise, as long as all that do lead to one pool.
pub fn find_without_deployment(
    routes: &[Matcher],
    host: &str,
    path: &str,
    says: impl FnMut(usize) -> bool,
    pool: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    find_stored(routes, host, path, None, says).or_else(|| {
        let first = find_stored(routes, host, path, None, |_| true)?;
        find_stored(routes, host, path, None, |index| pool(index) != pool(first)).is_none().then_some(first)
    })
}

impl HostMatch {
    pub(super) fn takes(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Suffix(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|cut| *cut > 0)
                .and_then(|cut| host.as_bytes().get(cut..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

impl PathMatch {
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Exact(whole) => path == whole,
        }
    }
}

impl DeploymentMatch {
    /// Whether a request for `deployment` is taken.
    #[must_use]
    pub fn takes(&self, deployment: Option<&str>) -> bool {
        match (self, deployment) {
            (Self::Any, _) => true,
            (Self::Prefix(prefix), Some(name)) => name.starts_with(prefix.as_str()),
            (Self::Exact(wanted), Some(name)) => name == wanted.as_str(),
            (_, None) => false,
        }
    }
}

impl Matcher {
    /// Whether the route is one of this host, which is without port, in any case.
    #[must_use]
    pub fn takes_host(&self, host: &str) -> bool {
        self.host.takes(host)
    }

    /// Order of routes: most specific first. Host before path before deployment; exact before a pattern, a longer
    /// pattern before a shorter one. Sort by this key, stably.
    #[must_use]
    pub fn precedence(&self) -> impl Ord + use<> {
        let host = match &self.host {
            HostMatch::Exact(_) => usize::MAX,
            HostMatch::Suffix(suffix) => suffix.len(),
            HostMatch::Any => 0,
        };
        let path = match &self.path {
            PathMatch::Exact(_) => usize::MAX,
            PathMatch::Prefix(prefix) => prefix.len(),
        };
        let deployment = match &self.deployment {
            DeploymentMatch::Exact(_) => usize::MAX,
            DeploymentMatch::Prefix(prefix) => 1 + prefix.len(),
            DeploymentMatch::Any => 0,
        };
        std::cmp::Reverse((host, path, deployment))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    fn path(text: &str) -> PathMatch {
        text.strip_suffix('*').map_or_else(|| PathMatch::Exact(text.into()), |cut| PathMatch::Prefix(cut.into()))
    }

    fn matcher(host: HostMatch, path_text: &str, deployment: DeploymentMatch) -> Matcher {
        Matcher { host, path: path(path_text), deployment }
    }

    fn sorted(mut routes: Vec<Matcher>) -> Vec<Matcher> {
        routes.sort_by_key(Matcher::precedence);
        routes
    }

    /// The example of Front Door's documentation (azure.md 1.1).
    #[test]
    fn front_doors_path_table_holds() {
        let texts = ["/", "/*", "/ab", "/abc", "/abc/", "/abc/*", "/abc/def", "/path/"];
        let routes = sorted(texts.map(|t| matcher(HostMatch::Any, t, DeploymentMatch::Any)).to_vec());
        let cases = [
            ("/", "/"),
            ("/abzzz", "/*"),
            ("/ab", "/ab"),
            ("/abc", "/abc"),
            ("/abc/", "/abc/"),
            ("/abc/d", "/abc/*"),
            ("/abc/def", "/abc/def"),
            ("/path", "/*"),
            ("/path/", "/path/"),
            ("/path/x", "/*"),
        ];
        for (request, winner) in cases {
            let Match::Route(index) = find(&routes, "any.example", request, None) else {
                unreachable!("{request} is taken by /* at least")
            };
            assert_eq!(routes[index].path, path(winner), "{request}");
        }
    }

    #[test]
    fn a_more_specific_host_wins_over_a_more_specific_path() {
        let suffix = |text: &str| HostMatch::Suffix(text.into());
        let routes = sorted(vec![
            matcher(HostMatch::Any, "/openai/v1/chat", DeploymentMatch::Any),
            matcher(suffix(".example.com"), "/openai/*", DeploymentMatch::Any),
            matcher(suffix(".eu.example.com"), "/*", DeploymentMatch::Any),
            matcher(HostMatch::Exact("api.eu.example.com".into()), "/openai/*", DeploymentMatch::Any),
        ]);
        let host = |name, path| find(&routes, name, path, None);
        assert_eq!(host("API.eu.example.com", "/openai/v1/chat"), Match::Route(0));
        assert_eq!(host("api.eu.example.com", "/other"), Match::Route(1));
        assert_eq!(host("b.EU.example.com", "/openai/v1/chat"), Match::Route(1));
        assert_eq!(host("b.example.com", "/openai/v1/chat"), Match::Route(2));
        assert_eq!(host(".example.com", "/openai/v1/chat"), Match::Route(3), "a suffix alone is no host below it");
        assert_eq!(host("elsewhere", "/x"), Match::NoRoute);
    }

    #[test]
    fn deployments_narrow_a_route() {
        let routes = sorted(vec![
            matcher(HostMatch::Any, "/openai/*", DeploymentMatch::Prefix("gpt-4".into())),
            matcher(HostMatch::Any, "/openai/*", DeploymentMatch::Exact(DeploymentName::new("gpt-4o").unwrap())),
        ]);
        let ask = |deployment| find(&routes, "h", "/openai/x", deployment);
        assert_eq!(ask(Some("gpt-4o")), Match::Route(0));
        assert_eq!(ask(Some("gpt-4.1")), Match::Route(1));
        assert_eq!(ask(Some("o3")), Match::NoDeployment);
        assert_eq!(ask(None), Match::NoRoute);
        assert_eq!(find(&routes, "h", "/elsewhere", Some("gpt-4o")), Match::NoRoute);
        let envelope = |deployment| find_by_envelope(&routes, "h", "/openai/x", deployment);
        assert_eq!((envelope(None), envelope(Some("gpt-4.1")), envelope(Some("o3"))), (Some(0), Some(1), None));
    }
}
