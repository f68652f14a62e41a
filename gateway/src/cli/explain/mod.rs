//! `tidegate explain`: what a request would meet. The same decisions as on the path (`policy::route`, `policy::select`),
//! asked about a request that is never sent.

mod backends;
mod consumers;
mod forward;
mod limits;
mod residency;
mod routes;
mod rules;
mod text;

use super::arguments::{Explain, Format, parse_admin};
use super::{Failure, failed, invalid, load, print, tell};
use crate::config::snapshot::{Pool, Snapshot};
use crate::demo::http::Client;
use crate::domain::Denial;
use crate::openai::facts::FactsProblem;
use crate::openai::operation::{self, Style, Target};
use crate::openai::refusal::Refusal;
use crate::policy::screen::view::Country;
use crate::proxy::leads_to;
use backends::{BackendLine, LiveState};
use consumers::ConsumerLine;
use limits::Limit;
use residency::ResidencyLine;
use routes::{Found, RouteLine, Stored};
use rules::RuleLine;
use serde::Serialize;

/// The request in question.
#[derive(Clone, Debug, Default)]
struct Ask {
    host: String,
    path: String,
    query: Option<String>,
    /// `model` of its body.
    model: Option<String>,
    stream: bool,
    /// `POST` where it is absent.
    method: Option<String>,
    headers: http::HeaderMap,
    /// Whom it is taken for.
    consumer: Option<String>,
    /// Where its client is.
    country: Option<Country>,
    /// Where it comes to.
    listener: Option<String>,
    /// Zones that its token says.
    zones: Vec<String>,
}

/// What it would meet.
#[derive(Debug, Serialize)]
struct Explanation {
    request: Asked,
    rules: Vec<RuleLine>,
    /// Where a rule would send the client: status and `location`.
    redirect: Option<Redirected>,
    routes: Vec<RouteLine>,
    /// The consumer that it is taken for, where one was named.
    consumer: Option<ConsumerLine>,
    /// What the client would be told instead of an answer.
    refusal: Option<Refused>,
    pool: Option<String>,
    /// Where its data may be processed, where that is configured.
    residency: Option<ResidencyLine>,
    /// Its ids lead to one resource: only that one's backends are there.
    pinned: bool,
    /// Whether the states of a running gateway were used.
    live: bool,
    backends: Vec<BackendLine>,
    limits: Vec<Limit>,
}

/// The request, as understood.
#[derive(Debug, Serialize)]
struct Asked {
    host: Option<String>,
    path: String,
    operation: &'static str,
    deployment: Option<String>,
    stream: bool,
}

/// A redirect, as the client sees it.
#[derive(Debug, Serialize)]
struct Redirected {
    status: u16,
    location: String,
}

/// A refusal, as the client sees it.
#[derive(Debug, Serialize)]
struct Refused {
    status: u16,
    code: &'static str,
    message: String,
}

/// Explains, in the format asked for.
pub(super) fn explain(options: &Explain) -> Result<(), Failure> {
    let (snapshot, warnings) = load(&options.config.path)?;
    for warning in &warnings {
        tell(&format!("warning: {warning}"));
    }
    if let Some(name) = &options.consumer {
        known(&snapshot, name)?;
    }
    placed(&snapshot, options)?;
    let live = options.admin.as_deref().map(live_states).transpose()?;
    let explanation = build(&snapshot, &ask(options)?, live.as_deref());
    match options.format {
        Format::Text => print(&text::render(&explanation)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&explanation).map_err(failed)?;
            print(&format!("{json}\n"));
        }
    }
    if explanation.refusal.is_some() { Err(Failure::Told) } else { Ok(()) }
}

fn known(snapshot: &Snapshot, consumer: &str) -> Result<(), Failure> {
    let mut consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
    match consumers.any(|known| known.name.as_str() == consumer) {
        true => Ok(()),
        false => Err(invalid(format!("tidegate: --consumer {consumer}: the configuration has no such consumer"))),
    }
}

fn ask(options: &Explain) -> Result<Ask, Failure> {
    let target = match (&options.path, &options.deployment) {
        (Some(path), _) => path.clone(),
        (None, Some(deployment)) => format!("/openai/deployments/{deployment}/chat/completions"),
        (None, None) => String::new(),
    };
    if !target.starts_with('/') {
        return Err(invalid(format!("tidegate: `{target}` is not a path: it begins with `/`")));
    }
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    Ok(Ask {
        host: options.host.clone().unwrap_or_default(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        model: options.deployment.clone(),
        stream: options.stream,
        method: options.method.clone(),
        headers: headers(&options.headers)?,
        consumer: options.consumer.clone(),
        country: options.country.as_deref().map(country).transpose()?,
        listener: options.listener.clone(),
        zones: options.zones.clone(),
    })
}

fn country(typed: &str) -> Result<Country, Failure> {
    Country::new(typed).ok_or_else(|| invalid(format!("tidegate: --country {typed}: expected two letters, such as SE")))
}

/// A zone or listener that the configuration does not have is a slip of the finger.
fn placed(snapshot: &Snapshot, options: &Explain) -> Result<(), Failure> {
    let zones = snapshot.residency.as_ref().map(|residency| residency.rules.zones()).unwrap_or_default();
    if let Some(name) = options.zones.iter().find(|name| !zones.iter().any(|zone| zone.name.as_str() == **name)) {
        return Err(invalid(format!("tidegate: --residency {name}: the configuration has no such zone")));
    }
    let known = |name: &&String| !snapshot.listeners.iter().any(|listener| listener.name.as_str() == **name);
    match options.listener.as_ref().filter(known) {
        Some(name) => Err(invalid(format!("tidegate: --listener {name}: the configuration has no such listener"))),
        None => Ok(()),
    }
}

fn headers(typed: &[String]) -> Result<http::HeaderMap, Failure> {
    let mut headers = http::HeaderMap::new();
    for text in typed {
        let field = text.split_once(':').and_then(|(name, value)| {
            Some((
                http::HeaderName::from_bytes(name.trim().as_bytes()).ok()?,
                http::HeaderValue::from_str(value.trim()).ok()?,
            ))
        });
        let shape = || invalid(format!("tidegate: --header {text}: expected NAME: VALUE"));
        let (name, value) = field.ok_or_else(shape)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reads `/backends` of a running gateway.
fn live_states(admin: &str) -> Result<Vec<LiveState>, Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        backends: Vec<LiveState>,
    }
    let address = parse_admin(admin).map_err(|shape| invalid(format!("tidegate: --admin {admin}: {shape}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let body = runtime.block_on(Client::new(&address).get("/backends"));
    let body = body.map_err(|error| failed(format!("cannot read the states from http://{address}: {error}")))?;
    let page: Page = serde_json::from_slice(&body)
        .map_err(|error| failed(format!("http://{address}/backends is not a gateway's: {error}")))?;
    Ok(page.backends)
}

fn build(snapshot: &Snapshot, ask: &Ask, live: Option<&[LiveState]>) -> Explanation {
    let outlook = rules::explain(snapshot, ask);
    let asked = ask;
    let rewritten = outlook.path.map(|path| Ask { path, ..asked.clone() });
    let ask = rewritten.as_ref().unwrap_or(asked);
    let method = ask.method.as_deref().and_then(|method| method.parse().ok()).unwrap_or(http::Method::POST);
    let target = operation::parse(&ask.path).map(|target| target.asked_by(&method));
    let deployment = target.as_ref().ok().and_then(|target| deployment(snapshot, target, ask));
    let mut explanation = Explanation {
        request: Asked {
            host: Some(ask.host.clone()).filter(|host| !host.is_empty()),
            path: asked.path.clone(),
            operation: target.as_ref().map_or("none", |target| target.operation.label()),
            deployment: deployment.clone(),
            stream: ask.stream,
        },
        rules: outlook.lines,
        redirect: None,
        routes: Vec::new(),
        consumer: None,
        refusal: None,
        pool: None,
        residency: None,
        pinned: false,
        live: live.is_some(),
        backends: Vec::new(),
        limits: Vec::new(),
    };
    match outlook.redirect {
        Some((status, Some(location))) => {
            explanation.redirect = Some(Redirected { status, location });
            return explanation;
        }
        Some((_, None)) => {
            explanation.refusal = Some(Refused::from(&Refusal::from(&Denial::RouteNotFound)));
            return explanation;
        }
        None => {}
    }
    let target = target.map_err(Denial::from).and_then(|target| complete(target, ask));
    let (target, stored) = match target.and_then(|target| Ok((stored(snapshot, ask, &target)?, target))) {
        Ok((stored, target)) => (target, stored),
        Err(denial) => {
            explanation.refusal = Some(Refused::from(&Refusal::from(&denial)));
            return explanation;
        }
    };
    let (lines, found) = routes::explain(snapshot, &ask.host, &ask.path, (deployment.as_deref(), stored));
    explanation.routes = lines;
    match found {
        Found::Refused(denial) => explanation.refusal = Some(Refused::from(&Refusal::from(&denial))),
        Found::Pool(index) => {
            if let Some(denial) = scoped(&mut explanation, snapshot, ask, &target) {
                explanation.refusal = Some(Refused::from(&Refusal::from(&denial)));
                return explanation;
            }
            let index = outlook.pool.unwrap_or(index);
            let Some(pool) = snapshot.pools.get(index) else { return explanation };
            explanation.pool = Some(pool.name.to_string());
            let Some(bound) = resident(&mut explanation, snapshot, ask, index) else { return explanation };
            let pool = &holding(pool, stored);
            explanation.pinned = stored.resource.is_some();
            explanation.backends = backends::explain(pool, (&target, &bound), (ask, deployment.as_deref()), live);
            let route = explanation.routes.iter().find(|line| line.chosen).map(|line| line.route.as_str());
            explanation.limits = limits::explain(snapshot, (route, pool), ask.stream);
            explanation.refusal = backends::refusal(&explanation.backends).map(|fault| (&Refusal::from(&fault)).into());
        }
    }
    explanation
}

/// Tells what binds the request in its pool; `None` where it is refused for that.
fn resident<'s>(
    explanation: &mut Explanation,
    snapshot: &'s Snapshot,
    ask: &Ask,
    pool: usize,
) -> Option<residency::Bound<'s>> {
    let (line, bound) = residency::explain(snapshot, ask, pool);
    explanation.residency = line;
    bound.map_err(|denial| explanation.refusal = Some(Refused::from(&Refusal::from(&denial)))).ok()
}

/// Where the ids of path and query lead.
fn stored(snapshot: &Snapshot, ask: &Ask, target: &Target<'_>) -> Result<Stored, Denial> {
    let asked = match &ask.query {
        Some(query) => format!("{}?{query}", ask.path),
        None => ask.path.clone(),
    };
    let method = ask.method.as_deref().unwrap_or("POST");
    let resource = leads_to(snapshot, ask.consumer.as_deref(), method, &asked)?;
    Ok(Stored { bound: target.bound().is_some(), resource })
}

/// The pool without the backends that cannot answer.
fn holding(pool: &Pool, stored: Stored) -> Pool {
    let mut pool = pool.clone();
    pool.backends.retain(|backend| stored.resource.is_none_or(|resource| backend.resource() == resource));
    pool
}

/// Tells what the named consumer may, and why it is refused where it may not.
fn scoped(explanation: &mut Explanation, snapshot: &Snapshot, ask: &Ask, target: &Target<'_>) -> Option<Denial> {
    let route = explanation.routes.iter().find(|line| line.chosen).map(|line| line.route.as_str());
    let deployment = explanation.request.deployment.as_deref();
    let (line, denial) = consumers::explain(snapshot, ask.consumer.as_deref()?, route, (deployment, target.operation))?;
    explanation.consumer = Some(line);
    denial
}

/// The deployment a request names, in its path, in its body or in its query, or what that name stands for.
fn deployment(snapshot: &Snapshot, target: &Target<'_>, ask: &Ask) -> Option<String> {
    let asked = asked_for(target, ask)?;
    let stands_for = snapshot.models.aliases.resolve(&asked).map(|deployment| deployment.as_str().to_owned());
    Some(stands_for.unwrap_or(asked))
}

fn asked_for(target: &Target<'_>, ask: &Ask) -> Option<String> {
    let in_path = target.deployment.as_deref().or(ask.model.as_deref()).map(str::to_owned);
    in_path.or_else(|| {
        operation::deployment_in_query(target.operation, ask.query.as_deref()).map(std::borrow::Cow::into_owned)
    })
}

/// A call whose deployment is in the body needs one there.
fn complete<'a>(target: Target<'a>, ask: &Ask) -> Result<Target<'a>, Denial> {
    if target.style == Style::V1 && target.operation.model_in_body() && ask.model.is_none() {
        return Err(FactsProblem::MODEL_MISSING.into());
    }
    Ok(target)
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Self { status: refusal.status, code: refusal.code, message: refusal.message.clone() }
    }
}

#[cfg(test)]
mod tests;
