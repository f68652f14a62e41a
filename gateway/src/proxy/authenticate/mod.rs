//! Station 3, authenticate: whom a request comes from; its credential ends here.
//!
//! Every credential that a request shows must be good, and all must be of one consumer: headers in the order of the
//! configuration, then parameters of the query, the subprotocol of a WebSocket, the certificate. The first says how the
//! consumer was proved. A request that shows nothing is the anonymous consumer's, or nobody's. Where nobody is asked,
//! credentials are taken off all the same.

mod presented;
mod strip;
mod token;

use super::context::Envelope;
use super::header::SPILLOVER;
use super::live::Live;
use super::route::Routed;
use crate::config::snapshot::{Access, KeyText, Refused};
use crate::domain::{Caller, Denial, Moment, Proof, TokenFlaw, Unproven, Zones};
use crate::openai::operation::Operation;
use crate::policy::overload::Class;
use crate::policy::scope::{Beyond, Scope};
use crate::state::{Stay, Tally};
use crate::telemetry::Metrics;
use pingora::http::RequestHeader;
use presented::Presented;
use std::net::IpAddr;
use std::time::Duration;

/// Most credentials of one request: more than anybody has.
const CREDENTIALS_MAX: usize = 8;

/// What is known when a client is asked who it is.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) live: &'a Live,
    pub(super) envelope: &'a Envelope,
    pub(super) now: Moment,
    /// The Unix second, for those who need it.
    pub(super) second: fn() -> u64,
}

impl Asked<'_> {
    fn address(&self) -> Option<IpAddr> {
        self.envelope.client.map(|client| client.ip())
    }
}

/// Finds out whom a request comes from (`None` where nobody is asked), and takes its credentials off.
pub(super) async fn authenticate(
    request: &mut RequestHeader,
    asked: Asked<'_>,
    metrics: &Metrics,
) -> Result<Option<Caller>, Denial> {
    let access = asked.live.fleet.snapshot.access.as_ref();
    let mut told = access.map(|access| identify(request, access, asked)).transpose();
    let is_new = |told: &Result<_, Doubt>| {
        let Err(doubt) = told else { return false };
        doubt.refused.why == Unproven::Token(TokenFlaw::KeyUnknown)
    };
    for round in 0..token::ROUNDS_MAX {
        // Without a look to wait for, one may have ended in between.
        if !is_new(&told) || (!token::looked(&asked.live.fleet).await && round > 0) {
            break;
        }
        told = access.map(|access| identify(request, access, asked)).transpose();
    }
    strip::strip(request, access, asked.envelope.upgrade);
    match (told, access) {
        (Ok(caller), _) => Ok(caller),
        (Err(doubt), access) => {
            metrics.unproven(doubt.refused.why);
            Err(denial(doubt, access.map_or(0, |access| access.failures_max), asked))
        }
    }
}

/// Who goes first, by the word of consumer and plan.
pub(super) fn class(caller: Option<&Caller>, live: &Live) -> Option<Class> {
    live.fleet.snapshot.access.as_ref()?.consumers.get(caller?.consumer)?.class
}

/// Counts the request among those of its consumer.
pub(super) fn stay(caller: Option<&Caller>, live: &Live) -> Option<Stay> {
    live.fleet.shares.get(caller?.consumer).map(Tally::arrive)
}

/// Whether the consumer may be where the request comes from.
pub(super) fn from_here(caller: Option<&Caller>, envelope: &Envelope, live: &Live) -> Result<(), Denial> {
    let address = envelope.client.map(|client| client.ip());
    scopes(caller, live).iter().try_for_each(|scope| scope.takes_address(address)).map_err(not_allowed)
}

/// Whether the consumer may use what the request has come to. What it has stored (`own`) it may use without a deployment.
pub(super) fn allowed(caller: Option<&Caller>, (routed, own): (&Routed, bool), live: &Live) -> Result<(), Denial> {
    let takes = |scope: &Scope<_>| match &routed.deployment {
        None if own => scope.takes_stored(routed.route, &routed.operation),
        deployment => scope.takes(routed.route, deployment.as_deref(), &routed.operation),
    };
    scopes(caller, live).iter().try_for_each(takes).map_err(not_allowed)
}

/// Whether the consumer may use the deployment that Azure is asked to spill over to.
pub(super) fn may_spill(
    caller: Option<&Caller>,
    request: &RequestHeader,
    routed: &Routed,
    live: &Live,
) -> Result<(), Denial> {
    for spillover in request.headers.get_all(SPILLOVER) {
        let deployment = Some(spillover.to_str().unwrap_or_default());
        let takes = |scope: &Scope<_>| scope.takes(routed.route, deployment, &routed.operation);
        scopes(caller, live).iter().try_for_each(takes).map_err(not_allowed)?;
    }
    Ok(())
}

/// All of them must allow a request.
pub(super) fn scopes<'l>(caller: Option<&Caller>, live: &'l Live) -> &'l [Scope<Operation>] {
    let consumers = live.fleet.snapshot.access.as_ref().map_or(&[][..], |access| &access.consumers);
    caller.and_then(|caller| consumers.get(caller.consumer)).map_or(&[][..], |consumer| &consumer.scopes)
}

/// Why nobody is known, and what that means for the address.
#[derive(Debug, PartialEq, Eq)]
struct Doubt {
    refused: Refused,
    /// It was not looked at: when the address may come back.
    wait: Option<Duration>,
}

impl<R: Into<Refused>> From<R> for Doubt {
    fn from(refused: R) -> Self {
        Self { refused: refused.into(), wait: None }
    }
}

fn identify(request: &RequestHeader, access: &Access, asked: Asked<'_>) -> Result<Caller, Doubt> {
    let mut known: Option<Caller> = None;
    let mut count = 0;
    let mut meet = |caller: Caller| match &mut known {
        Some(first) if first.consumer != caller.consumer => Err(Unproven::Conflict),
        Some(first) => {
            first.zones = first.zones.and(caller.zones);
            first.claims = first.claims.take().or(caller.claims);
            Ok(())
        }
        None => {
            known = Some(caller);
            Ok(())
        }
    };
    presented::each(request, access, asked.envelope.upgrade, &mut |shown| {
        count += 1;
        if count > CREDENTIALS_MAX {
            return Err(Doubt::from(Unproven::Malformed));
        }
        meet(by_text(shown, access, asked)?).map_err(Doubt::from)
    })?;
    if let Some(told) = asked.envelope.certificate.as_ref().and_then(|shown| access.by_certificate(shown)) {
        meet(Caller { consumer: told?, proof: Proof::Certificate, zones: Zones::NONE, claims: None })?;
    }
    match (known, access.anonymous) {
        (Some(caller), _) => Ok(caller),
        (None, Some(consumer)) => Ok(Caller {
            consumer: access.enabled(consumer)?,
            proof: Proof::Anonymous,
            zones: Zones::NONE,
            claims: None,
        }),
        (None, None) => Err(Unproven::Missing.into()),
    }
}

/// Whom a key or a token is of.
fn by_text(shown: Presented<'_>, access: &Access, asked: Asked<'_>) -> Result<Caller, Doubt> {
    let Presented::Text(text) = shown else { return Err(Unproven::Malformed.into()) };
    if let Some(known) = token::by_token(text, access, asked) {
        return known;
    }
    let key = KeyText::read(text)?;
    if matches!(key, KeyText::Foreign(_)) {
        // What somebody chose can be guessed, the keys that we make cannot: a guesser's neighbours with one of ours go on.
        let beyond = |address| asked.live.fleet.failures.beyond(address, access.failures_max, asked.now);
        if let Some(wait) = asked.address().and_then(beyond) {
            return Err(Doubt { wait: Some(wait), ..Unproven::Throttled.into() });
        }
    }
    Ok(Caller { consumer: access.by_key(key, (asked.second)())?, proof: Proof::Key, zones: Zones::NONE, claims: None })
}

/// What the client is told. A wrong credential counts for its address, none at all does not: nobody guesses with nothing.
fn denial(doubt: Doubt, failures_max: u32, asked: Asked<'_>) -> Denial {
    let Refused { why, consumer } = doubt.refused;
    if let Unproven::Token(flaw) = why
        && let Some(denial) = token::not_enough(flaw)
    {
        return denial;
    }
    let counted = || match why {
        Unproven::Missing => None,
        Unproven::Token(flaw) if !token::is_guess(flaw) => None,
        _ => asked.live.fleet.failures.count(asked.address()?, failures_max, asked.now),
    };
    match doubt.wait.or_else(counted) {
        Some(retry_after) => Denial::TooManyFailures { retry_after },
        None => Denial::Unauthenticated { why, consumer },
    }
}

const fn not_allowed(beyond: Beyond) -> Denial {
    Denial::NotAllowed { what: beyond.what() }
}

#[cfg(test)]
mod tests;
