//! `GET /models` and `/deployments`, answered from the configuration: every name that the consumer may use, by any route of the
//! host, whatever backend serves it. Where the configuration names none, a backend answers as it likes.

use super::context::{Reply, Verdict};
use super::live::Live;
use super::route::{Call, echo, host_of};
use crate::domain::Denial;
use crate::openai::catalog::{Listing, Wanted};
use crate::openai::operation::Operation;
use crate::policy::scope::{Beyond, Scope};
use http::{HeaderValue, Method, StatusCode, header};

/// The answer as a verdict; nothing where it is not the gateway's.
pub(super) fn answer(call: Call<'_>, live: &Live, scopes: &[Scope<Operation>]) -> Result<(), Verdict> {
    match list(call, live, scopes)? {
        Some(reply) => Err(reply.into()),
        None => Ok(()),
    }
}

fn list((request, target): Call<'_>, live: &Live, scopes: &[Scope<Operation>]) -> Result<Option<Reply>, Denial> {
    let models = &live.fleet.snapshot.models;
    if !models.listed || models.names.is_empty() || request.method != Method::GET {
        return Ok(None);
    }
    let host = host_of(request);
    let Some(listing) = Listing::of(target).filter(|_| live.matchers.iter().any(|one| one.takes_host(host))) else {
        return Ok(None);
    };
    if scopes.iter().any(|scope| !scope.takes_operation(&Operation::Models)) {
        return Err(Denial::NotAllowed { what: Beyond::Operation.what() });
    }
    let usable = |name: &str| is_usable(name, host, live, scopes);
    let body = match listing.wanted {
        Wanted::All => listing.document(models.names.iter().map(|name| &**name).filter(|name| usable(name))),
        Wanted::One(name) => {
            let known = models.aliases.resolve(name).is_some() || models.names.iter().any(|own| **own == *name);
            if !(known && usable(name)) {
                return Err(Denial::DeploymentNotFound { deployment: echo(Some(name)) });
            }
            listing.document(std::iter::once(name))
        }
    };
    let fields = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok(Some(Reply { status: StatusCode::OK, fields, body }))
}

/// Some route of the host takes the name, leads to a backend that is switched on, and is the consumer's to use with it.
fn is_usable(name: &str, host: &str, live: &Live, scopes: &[Scope<Operation>]) -> bool {
    let snapshot = &live.fleet.snapshot;
    let name = snapshot.models.aliases.resolve(name).map_or(name, |deployment| deployment.as_str());
    live.matchers.iter().zip(&snapshot.routes).enumerate().any(|(index, (matcher, route))| {
        matcher.takes_host(host)
            && matcher.deployment.takes(Some(name))
            && snapshot.pools.get(route.pool).is_some_and(|pool| pool.backends.iter().any(|backend| backend.enabled))
            && scopes.iter().all(|scope| scope.takes_model(index, name))
    })
}
