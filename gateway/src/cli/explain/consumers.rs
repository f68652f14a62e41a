//! What the scopes of a consumer say of a request.

use crate::config::snapshot::Snapshot;
use crate::domain::{Denial, Unproven};
use crate::openai::operation::Operation;
use serde::Serialize;

/// The consumer that the request is taken for.
#[derive(Debug, Serialize)]
pub(super) struct ConsumerLine {
    pub(super) consumer: String,
    pub(super) plan: Option<String>,
    /// What it may do, in words.
    pub(super) why: String,
}

/// Whether the consumer called `name` may send this request by the route called `route`. Its address is not asked.
pub(super) fn explain(
    snapshot: &Snapshot,
    name: &str,
    route: Option<&str>,
    (deployment, operation): (Option<&str>, Operation),
) -> Option<(ConsumerLine, Option<Denial>)> {
    let access = snapshot.access.as_ref()?;
    let index = access.consumers.iter().position(|consumer| consumer.name.as_str() == name)?;
    let consumer = access.consumers.get(index)?;
    let route = snapshot.routes.iter().position(|known| Some(known.name.as_str()) == route)?;
    let beyond = consumer.scopes.iter().find_map(|scope| scope.takes(route, deployment, &operation).err());
    let (why, denial) = match beyond {
        _ if !consumer.enabled => {
            let denial = Denial::Unauthenticated { why: Unproven::Disabled, consumer: Some(index) };
            ("it is switched off".to_owned(), Some(denial))
        }
        Some(beyond) => (format!("it may not {}", beyond.what()), Some(Denial::NotAllowed { what: beyond.what() })),
        None if consumer.scopes.iter().any(|scope| !scope.networks.is_empty()) => {
            ("it may, from its networks".to_owned(), None)
        }
        None => ("it may".to_owned(), None),
    };
    let plan = consumer.plan.and_then(|plan| access.plans.get(plan)).map(ToString::to_string);
    Some((ConsumerLine { consumer: name.to_owned(), plan, why }, denial))
}
