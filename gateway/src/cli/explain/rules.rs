//! Which rules of the rules engine a request would meet, and what they would do: asks `policy::rules`.

use super::Ask;
use super::routes::without_port;
use crate::config::snapshot::Snapshot;
use crate::openai::operation;
use crate::policy::rules::action::Asked;
use crate::policy::rules::condition::Request;
use crate::policy::rules::{Matched, Rule};
use crate::policy::screen::view::{Place, View};
use http::HeaderMap;
use serde::Serialize;

/// One rule and its part.
#[derive(Debug, Serialize)]
pub(super) struct RuleLine {
    pub(super) rule: String,
    pub(super) met: bool,
    pub(super) why: String,
}

/// What the rules would make of a request.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    pub(super) lines: Vec<RuleLine>,
    /// Path after rewrites.
    pub(super) path: Option<String>,
    /// Pool instead of the route's.
    pub(super) pool: Option<usize>,
    /// Status and location of a redirect; no location where the host is none of ours.
    pub(super) redirect: Option<(u16, Option<String>)>,
}

/// Every rule, in order, with what it does or the first condition that does not hold. Addresses are not known, and the body
/// is taken for an empty one.
pub(super) fn explain(snapshot: &Snapshot, ask: &Ask) -> Outlook {
    if snapshot.rules.list.is_empty() {
        return Outlook::default();
    }
    let listener = snapshot.listeners.first();
    let tls = listener.is_some_and(|listener| listener.tls.is_some());
    let host = without_port(&ask.host).to_ascii_lowercase();
    let target = ask.query.as_ref().map_or_else(|| ask.path.clone(), |query| format!("{}?{query}", ask.path));
    let headers: &HeaderMap = &ask.headers;
    let request = Request {
        view: View {
            method: ask.method.as_deref().unwrap_or("POST"),
            target: target.as_bytes(),
            host: &ask.host,
            tls,
            headers,
            socket: None,
            client: None,
            place: Place::default(),
            socket_place: Place::default(),
            body: None,
        },
        host: &host,
        http_version: "1.1",
        tls_version: tls.then_some("1.3"),
        server_port: None,
        body_size: Some(0),
    };
    let matched = snapshot.rules.decide(&request);
    let last = matched.indexes().last();
    let met: Vec<usize> = matched.indexes().collect();
    let line = |(index, rule): (usize, &Rule)| {
        let is_met = met.contains(&index);
        let failing = rule.conditions.iter().position(|condition| !condition.holds(&request));
        let why = match failing {
            _ if is_met => does(rule, snapshot),
            Some(place) => format!("its condition {} does not hold", place + 1),
            None if last.is_some_and(|last| index > last) => "a rule before it stops".to_owned(),
            None => "not looked at".to_owned(),
        };
        RuleLine { rule: rule.name.to_string(), met: is_met, why }
    };
    Outlook {
        lines: snapshot.rules.list.iter().enumerate().map(line).collect(),
        path: matched.rewrite(&snapshot.rules, &ask.path),
        pool: matched.pool(&snapshot.rules),
        redirect: redirect(
            snapshot,
            &matched,
            &Asked { tls, host: &host, path: &ask.path, query: ask.query.as_deref() },
        ),
    }
}

fn redirect(snapshot: &Snapshot, matched: &Matched, asked: &Asked<'_>) -> Option<(u16, Option<String>)> {
    let redirect = matched.redirect(&snapshot.rules)?;
    let query = asked.query.map(operation::scrub_query);
    let location = redirect.location(&Asked { query: query.as_deref(), ..*asked }, &snapshot.rules.hosts);
    Some((redirect.status, location))
}

/// What a rule does, in a few words.
fn does(rule: &Rule, snapshot: &Snapshot) -> String {
    let actions = &rule.actions;
    let headers = |count: usize, to: &str| (count > 0).then(|| format!("changes {count} header(s) for {to}"));
    let parts = [
        actions.redirect.as_ref().map(|redirect| format!("redirects with {}", redirect.status)),
        actions.rewrite.as_ref().map(|rewrite| format!("rewrites {} to {}", rewrite.from, rewrite.to)),
        actions
            .pool
            .and_then(|pool| snapshot.pools.get(pool))
            .map(|pool| format!("sends it to the pool {}", pool.name)),
        headers(actions.request.len(), "backends"),
        headers(actions.response.len(), "the client"),
        rule.stop.then(|| "stops".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
