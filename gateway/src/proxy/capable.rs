//! Which backends can do what a request needs. The others are barred from it: no failover reaches them.

use super::context::{Attempts, Limited};
use super::live::Live;
use super::route::Routed;
use super::tokens;
use crate::config::snapshot::{Backend, Pool};
use crate::domain::{Abilities, Denial};
use crate::openai::operation::{Operation, Style, Target};
use crate::openai::{needs, versions};
use crate::policy::capability::{Capability, Need, Shortfall};
use crate::state::{Tried, Wanted};
use bytes::Bytes;
use memchr::memmem;
use pingora::http::RequestHeader;

/// Bars the backends of its pool that cannot do what the request needs; refuses it where that is all of them.
pub(super) async fn bar(
    attempts: &mut Attempts,
    limited: &Option<Box<Limited>>,
    (live, request): (&Live, &RequestHeader),
    (routed, body): (&Routed, &Bytes),
) -> Result<(), Denial> {
    let pool = live.fleet.snapshot.pools.get(routed.pool);
    let choosy = live.pools.get(routed.pool).is_some_and(|pool| pool.choosy);
    let Some(pool) = pool.filter(|_| choosy) else { return Ok(()) };
    let counted = limited.as_ref().filter(|limited| limited.counted).map(|limited| limited.prompt);
    let barred = barred(live, (pool, request.uri.path()), (routed, body), counted).await?;
    attempts.wanted.barred = attempts.wanted.barred.union(barred);
    Ok(())
}

/// `counted`: tokens of the prompt, where somebody has counted them.
async fn barred(
    live: &Live,
    (pool, path): (&Pool, &str),
    (routed, body): (&Routed, &Bytes),
    counted: Option<u64>,
) -> Result<Tried, Denial> {
    let target = routed.shape.target(path, routed.deployment.as_deref());
    let asked = pool.backends.iter().fold(Abilities::NONE, |all, one| all.or(lacks(one, &target)));
    let abilities = if routed.multipart || asked.is_empty() {
        Abilities::NONE
    } else {
        needs::of(routed.operation, &routed.facts, body, asked)
    };
    let need = Need { abilities, tokens: length(live, pool, (routed, body), counted).await };
    let (mut barred, mut first) = (Tried::NONE, Vec::new());
    for (index, backend) in pool.backends.iter().enumerate() {
        if let Some(why) = unable(backend, &target, &need) {
            barred = barred.with(index);
            first.push(why);
        }
    }
    if first.len() < pool.backends.len() { Ok(barred) } else { Err(denial(&first)) }
}

/// What a request asks of a pick when its prompt is too long for the backend at `here`; `None` where it fits nowhere better.
pub(super) fn roomier(pool: &Pool, here: usize, wanted: &Wanted) -> Option<Wanted> {
    let here_can = &pool.backends.get(here)?.capability;
    let better = pool.backends.iter().any(|one| one.capability.is_roomier_than(here_can));
    better.then(|| Wanted { barred: wanted.barred.union(no_roomier(pool, here)), ..*wanted })
}

/// The backends where a prompt that is too long for the one at `here` fits no better.
pub(super) fn no_roomier(pool: &Pool, here: usize) -> Tried {
    let Some(here) = pool.backends.get(here) else { return Tried::NONE };
    let others = pool.backends.iter().enumerate();
    let no_better = others.filter(|(_, one)| !one.capability.is_roomier_than(&here.capability));
    no_better.fold(Tried::NONE, |all, (index, _)| all.with(index))
}

/// Why a backend cannot take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unable {
    /// Its style or its version does not have the call.
    Call,
    /// Its realtime sessions have the events of the other style.
    Events,
    Short(Shortfall),
}

fn unable(backend: &Backend, target: &Target<'_>, need: &Need) -> Option<Unable> {
    let realtime = target.operation == Operation::Realtime;
    let Some(style) = backend.style_of(target) else {
        return Some(if realtime { Unable::Events } else { Unable::Call });
    };
    if let (Style::Classic, Some(version)) = (style, &backend.api_version)
        && !versions::has(version, target.operation)
    {
        return Some(Unable::Call);
    }
    let own = Capability { lacks: lacks(backend, target), ..backend.capability };
    own.shortfall(need).map(Unable::Short)
}

/// What a backend lacks for calls of this style.
fn lacks(backend: &Backend, target: &Target<'_>) -> Abilities {
    let classic = backend.style_of(target) == Some(Style::Classic);
    let by_version = if classic { backend.lacks_by_version } else { Abilities::NONE };
    backend.capability.lacks.or(by_version)
}

/// Tokens of prompt and answer, where some backend may have too small a context for them; else zero.
async fn length(live: &Live, pool: &Pool, (routed, body): (&Routed, &Bytes), counted: Option<u64>) -> u64 {
    let Some(smallest) = pool.backends.iter().filter_map(|one| one.capability.context_tokens).min() else { return 0 };
    let answer = routed.facts.max_tokens.unwrap_or(0);
    // No token of a text is shorter than a byte; an image counts by its size.
    let most = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(answer);
    if most <= smallest && memmem::find(body, b"image").is_none() {
        return 0;
    }
    let prompt = match counted {
        Some(prompt) => prompt,
        None => tokens::estimate(live, routed, body).await.prompt,
    };
    prompt.saturating_add(answer)
}

/// What no backend can do.
fn denial(all: &[Unable]) -> Denial {
    let contexts = all.iter().map(|why| match why {
        Unable::Short(Shortfall::Context { max }) => Some(*max),
        Unable::Short(Shortfall::Ability(_)) | Unable::Call | Unable::Events => None,
    });
    if let Some(contexts) = contexts.collect::<Option<Vec<_>>>() {
        return Denial::ContextExceeded { max: contexts.into_iter().max().unwrap_or(0) };
    }
    let mut what: Vec<&str> = Vec::new();
    for why in all {
        let text = match why {
            Unable::Call => "take this call",
            Unable::Events => "hold a realtime session of this style (events of previews and of v1 differ)",
            Unable::Short(Shortfall::Ability(ability)) => ability.what(),
            Unable::Short(Shortfall::Context { .. }) => "take a prompt of this length",
        };
        if !what.contains(&text) {
            what.push(text);
        }
    }
    Denial::Incapable { what: what.join(" and ") }
}
