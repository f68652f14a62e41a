//! Station 6, the part about usage limits: what a request reserves from the buckets of its limits, what it is told of them,
//! and what it is charged in the end. The arithmetic is `policy::limit`, the buckets are `state`.
//!
//! Limits whose chain needs nothing of the route are asked for their requests before the body is read, everything else once
//! the request is routed. A request that we answer ourselves costs nothing.

use super::context::{Envelope, Limited, RequestContext};
use super::live::Live;
use super::route::Routed;
use super::tokens;
use crate::config::snapshot::{Consumer, Snapshot};
use crate::domain::{Caller, Consumed, Denial, DeploymentName, LimitName, Moment, Quantity};
use crate::openai::estimate::Estimate;
use crate::openai::facts::Facts;
use crate::policy::limit::bucket::Standing;
use crate::policy::limit::{Limit, Measure, Now, Part, TOKENS_BELIEVED_MAX};
use crate::policy::route::{DeploymentMatch, Matcher};
use crate::state::{Chain, ChainKey, Charge, Question, Refused, Reserved, Verdict};
use crate::telemetry::clock;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What the client is told: the ceiling, what is left of it, and the seconds until all of it is.
const TOLD: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];

/// Longest wait for the verdict about a strict limit.
const VERDICT_LIMIT: Duration = Duration::from_millis(5);

/// What is known of a request whose limits are asked.
pub(super) struct Asking<'a> {
    pub(super) live: &'a Live,
    pub(super) envelope: &'a Envelope,
    pub(super) caller: Option<&'a Caller>,
}

/// Asks for what can be known before the body is read.
pub(super) async fn early(slot: &mut Option<Box<Limited>>, asking: &Asking<'_>) -> Result<(), Denial> {
    let limits = &asking.live.fleet.snapshot.usage_limits;
    if limits.list.is_empty() {
        return Ok(());
    }
    let mut holding: Vec<_> = limits.everywhere.iter().map(|index| (*index, asking.chain_of(*index, None))).collect();
    for index in asking.consumer().map_or(&[][..], |consumer| &consumer.limits) {
        if !holding.iter().any(|(known, _)| known == index) {
            holding.push((*index, asking.chain_of(*index, None)));
        }
    }
    if holding.is_empty() {
        return Ok(());
    }
    let limited = slot.insert(Box::new(Limited::new(holding, asking.live)));
    let requests = |measure| matches!(measure, Measure::Requests | Measure::RequestQuota | Measure::Concurrent);
    limited.take(asking.live, |_, _, measure| requests(measure).then_some(1)).await
}

/// Asks for the rest, once the request is routed.
pub(super) async fn routed(
    slot: &mut Option<Box<Limited>>,
    asking: &Asking<'_>,
    routed: &Routed,
    body: &Bytes,
) -> Result<(), Denial> {
    let (live, snapshot) = (asking.live, &asking.live.fleet.snapshot);
    if snapshot.usage_limits.list.is_empty() {
        return Ok(());
    }
    let own = snapshot.routes.get(routed.route).map_or(&[][..], |route| &route.limits);
    let limited = match slot {
        Some(limited) => limited,
        None if own.is_empty() => return Ok(()),
        none => none.insert(Box::new(Limited::new(Vec::new(), live))),
    };
    let asked = limited.complete(own, |index| asking.chain_of(index, Some(routed)));
    let estimate = if limited.counts_tokens(snapshot) {
        // Counting costs more than everything else that limits do: only where it may make a difference.
        match tokens::rough(live, routed, body)
            .filter(|rough| limited.is_ample(live, body.len() as u64, rough.output_max))
        {
            Some(rough) => rough,
            None => {
                limited.counted = true;
                tokens::estimate(live, routed, body).await
            }
        }
    } else {
        Estimate::default()
    };
    limited.prompt = estimate.prompt;
    limited.ceilings(live, &routed.facts, estimate)?;
    let stream = routed.facts.stream || asking.envelope.upgrade;
    let amount = |place: usize, limit: &Limit, measure: Measure| match measure {
        Measure::Requests | Measure::RequestQuota | Measure::Concurrent => (place >= asked).then_some(1),
        Measure::Streams => stream.then_some(1),
        Measure::Tokens | Measure::TokenQuota => {
            Some(limit.weights.of_estimate(estimate.prompt, estimate.output_max)).filter(|tokens| *tokens > 0)
        }
    };
    limited.take(live, amount).await?;
    limited.passed(live);
    Ok(())
}

/// Charges what was used and gives back the rest. What we have answered ourselves costs nothing. `prompt` is what was counted of it
/// since the request was admitted.
pub(super) fn settle(ctx: &mut RequestContext, consumed: Consumed, prompt: Option<u64>, now: Moment) {
    let Some(limited) = &mut ctx.limited else { return };
    if ctx.verdict.is_some() {
        limited.reserved.release();
        return;
    }
    let list = &ctx.arrival.live.fleet.snapshot.usage_limits.list;
    let believed = consumed.usage.filter(|usage| usage.total() <= TOKENS_BELIEVED_MAX);
    let usage = Consumed { usage: believed, ..consumed }.charged(prompt.unwrap_or(limited.prompt));
    let tokens = |index: usize| list.get(index).map_or(0, |limit| limit.weights.of_usage(usage));
    limited.reserved.settle(tokens, now_of(now));
    for (index, _) in &limited.holding {
        if let (Some(meters), Some(limit)) = (ctx.arrival.live.limits.get(*index), list.get(*index))
            && limit.counts_tokens()
        {
            meters.tokens.inc_by(tokens(*index));
        }
    }
}

/// The limit that has refused the request.
pub(super) fn refusing(ctx: &RequestContext) -> Option<&LimitName> {
    let index = ctx.limited.as_ref()?.refusing?;
    ctx.arrival.live.fleet.snapshot.usage_limits.list.get(index).map(|limit| &limit.name)
}

/// Tells the client how its limits stand, in place of what the backend says of its own.
pub(super) fn tell(ctx: &RequestContext, headers: &mut HeaderMap) {
    let Some(limited) = &ctx.limited else { return };
    let told = limited.reserved.told();
    for (names, standing) in TOLD.into_iter().zip([told.requests, told.tokens]) {
        let values = standing.map(|one| [one.max, one.remaining, whole_seconds(one.reset)]);
        for (place, name) in names.into_iter().enumerate() {
            match values.and_then(|values| values.get(place).copied()) {
                Some(value) => drop(headers.insert(name, HeaderValue::from(value))),
                None => drop(headers.remove(name)),
            }
        }
    }
    let list = &ctx.arrival.live.fleet.snapshot.usage_limits.list;
    for (index, measure, left) in limited.reserved.remaining() {
        let names = list.get(index).map_or(&[][..], |limit| &limit.remaining);
        if let Some((_, name)) = names.iter().find(|(told, _)| *told == measure) {
            headers.insert(name.clone(), HeaderValue::from(left));
        }
    }
}

/// Rounded up.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn now_of(moment: Moment) -> Now {
    Now { moment, unix: clock::unix_seconds() }
}

impl Limited {
    /// Adds the route's `own` limits and names every bucket. The limits that were asked before come first: so many.
    fn complete(&mut self, own: &[usize], chain: impl Fn(usize) -> Option<ChainKey>) -> usize {
        let asked = self.holding.iter().filter(|(_, chain)| chain.is_some()).count();
        for index in own {
            if !self.holding.iter().any(|(known, _)| known == index) {
                self.holding.push((*index, None));
            }
        }
        self.holding.sort_by_key(|(_, chain)| chain.is_none());
        for (index, name) in self.holding.iter_mut().filter(|(_, name)| name.is_none()) {
            *name = chain(*index);
        }
        asked
    }

    /// Whether some limit wants to know what the request may cost.
    fn counts_tokens(&self, snapshot: &Snapshot) -> bool {
        let limits = self.holding.iter().filter_map(|(index, _)| snapshot.usage_limits.list.get(*index));
        limits.into_iter().any(Limit::counts_tokens)
    }

    /// Whether no limit of tokens would be more than half full with this request, even if each byte of its prompt were a token: then
    /// nothing depends on how many it has, and it is not counted before it has ended.
    fn is_ample(&self, live: &Live, bytes: u64, output_max: u64) -> bool {
        let (limits, now) = (&live.fleet.snapshot.usage_limits.list, now_of(clock::now()));
        self.holding.iter().all(|(index, chain)| {
            let (Some(limit), Some(chain)) = (limits.get(*index), chain) else { return true };
            let most = limit.weights.of_estimate(bytes, output_max);
            limit.ceilings.prompt_tokens.is_none_or(|max| bytes <= max)
                && limit.rules.iter().filter(|rule| rule.measure.is_tokens()).all(|rule| {
                    let ample = |standing: Standing| standing.remaining.saturating_sub(most) >= standing.max / 2;
                    live.fleet.limits.standing(*chain, rule, now).is_some_and(ample)
                })
        })
    }

    fn new(holding: Vec<(usize, Option<ChainKey>)>, live: &Live) -> Self {
        Self {
            holding,
            reserved: Reserved::new(Arc::clone(&live.fleet.limits)),
            prompt: 0,
            counted: false,
            refusing: None,
        }
    }

    /// Takes what `amount` says of each rule, by the place of its limit among those that hold. Strict limits are asked of
    /// the server before.
    async fn take(
        &mut self,
        live: &Live,
        amount: impl Fn(usize, &Limit, Measure) -> Option<u64> + Copy,
    ) -> Result<(), Denial> {
        let list = &live.fleet.snapshot.usage_limits.list;
        let questions = self.reserved.questions(charges(&self.holding, list, amount), now_of(clock::now()));
        let answers = if questions.is_empty() { Vec::new() } else { ask(live, questions).await };
        let charges = charges(&self.holding, list, amount);
        self.reserved.take(charges, &answers, now_of(clock::now())).map_err(|refused| {
            self.refusing = Some(refused.limit);
            if let Some(meters) = live.limits.get(refused.limit) {
                meters.refused(refused.measure);
            }
            denial(refused, list)
        })
    }

    /// What one request may ask for.
    fn ceilings(&mut self, live: &Live, facts: &Facts, estimate: Estimate) -> Result<(), Denial> {
        for (index, _) in &self.holding {
            let Some(limit) = live.fleet.snapshot.usage_limits.list.get(*index) else { continue };
            let asked = [
                ("max_tokens", facts.max_tokens, limit.ceilings.max_tokens),
                ("n", facts.n, limit.ceilings.n),
                ("prompt", Some(estimate.prompt), limit.ceilings.prompt_tokens),
            ];
            for (param, value, max) in asked {
                if let (Some(value), Some(max)) = (value, max)
                    && value > max
                {
                    self.refusing = Some(*index);
                    self.reserved.release();
                    if let Some(meters) = live.limits.get(*index) {
                        meters.ceiling.inc();
                    }
                    return Err(Denial::CeilingPassed { param, max });
                }
            }
        }
        Ok(())
    }

    fn passed(&self, live: &Live) {
        for (index, _) in &self.holding {
            if let Some(meters) = live.limits.get(*index) {
                meters.passed.inc();
            }
        }
    }
}

fn charges<'a>(
    holding: &'a [(usize, Option<ChainKey>)],
    list: &'a [Limit],
    amount: impl Fn(usize, &Limit, Measure) -> Option<u64> + Copy + 'a,
) -> impl Iterator<Item = Charge<'a>> + Clone {
    let charges = holding.iter().enumerate().filter_map(move |(place, (index, chain))| {
        let (limit, chain) = (list.get(*index)?, (*chain)?);
        Some(limit.rules.iter().filter_map(move |rule| {
            Some(Charge { limit: *index, chain, rule, amount: amount(place, limit, rule.measure)? })
        }))
    });
    charges.flatten()
}

/// The server's verdicts, where they come in time.
async fn ask(live: &Live, questions: Vec<Question>) -> Vec<(Question, Verdict)> {
    let verdicts = match live.fleet.limits.line().ask(questions.clone()) {
        Some(mut answers) => match timeout(VERDICT_LIMIT, &mut answers).await {
            Ok(verdicts) => verdicts.ok(),
            // What comes after this is given back by who sends it.
            Err(_elapsed) => {
                answers.close();
                answers.try_recv().ok()
            }
        },
        None => None,
    };
    let verdicts = verdicts.unwrap_or_else(|| vec![None; questions.len()]);
    let answered = questions.into_iter().zip(verdicts).filter_map(|(question, verdict)| {
        if let Some(meters) = live.limits.get(question.limit) {
            meters.asked(verdict.is_some());
        }
        Some((question, verdict?))
    });
    answered.collect()
}

/// What a limit knows the deployment of a request by. Behind a pattern a client may make up any name that backends replace by
/// their own: theirs counts then, so that no name opens a bucket of its own.
fn deployment<'r>(live: &'r Live, routed: &'r Routed) -> Option<&'r str> {
    let asked = routed.deployment.as_deref()?;
    let is_one = |matcher: &Matcher| matches!(matcher.deployment, DeploymentMatch::Exact(_));
    if live.matchers.get(routed.route).is_some_and(is_one) {
        return Some(asked);
    }
    let backends = live.fleet.snapshot.pools.get(routed.pool).map_or(&[][..], |pool| &pool.backends);
    Some(backends.iter().find_map(|backend| backend.deployment.as_ref()).map_or(asked, DeploymentName::as_str))
}

fn denial(refused: Refused, list: &[Limit]) -> Denial {
    let Some(limit) = list.get(refused.limit).map(|limit| limit.name.clone()) else {
        return Denial::Overloaded { retry_after: refused.wait };
    };
    let retry_after = refused.wait;
    let what = match refused.measure {
        Measure::Requests | Measure::RequestQuota => Quantity::Requests,
        Measure::Tokens | Measure::TokenQuota => Quantity::Tokens,
        Measure::Concurrent | Measure::Streams => Quantity::Concurrency,
    };
    if refused.measure.is_quota() {
        Denial::QuotaGone { limit, what, retry_after }
    } else {
        Denial::LimitReached { limit, what, retry_after }
    }
}

impl Asking<'_> {
    /// Who asks.
    fn consumer(&self) -> Option<&Consumer> {
        self.live.fleet.snapshot.access.as_ref()?.consumers.get(self.caller?.consumer)
    }

    /// The name of a limit's buckets for this request; none where the route is needed for it, and not known yet.
    fn chain_of(&self, index: usize, routed: Option<&Routed>) -> Option<ChainKey> {
        let limit = self.live.fleet.snapshot.usage_limits.list.get(index)?;
        if routed.is_none() && !limit.is_early() {
            return None;
        }
        let mut chain = Chain::new(limit.name.as_str());
        for part in &limit.by {
            self.push(&mut chain, part, routed);
        }
        Some(chain.end())
    }

    fn push(&self, chain: &mut Chain, part: &Part, routed: Option<&Routed>) {
        match part {
            Part::Consumer => chain.push(part, self.consumer().map(|consumer| consumer.name.as_str().as_bytes())),
            Part::Plan => {
                let plans = self.live.fleet.snapshot.access.as_ref().map(|access| &access.plans);
                let plan = self.consumer().and_then(|consumer| plans?.get(consumer.plan?));
                chain.push(part, plan.map(|plan| plan.as_str().as_bytes()));
            }
            Part::Claim(name) => {
                let claims = self.caller.and_then(|caller| caller.claims.as_deref());
                chain.push(part, claims.and_then(|claims| claims.get(name)).map(str::as_bytes));
            }
            Part::Route => {
                let route = routed.and_then(|routed| self.live.fleet.snapshot.routes.get(routed.route));
                chain.push(part, route.map(|route| route.name.as_str().as_bytes()));
            }
            Part::Deployment => {
                let name = routed.and_then(|routed| deployment(self.live, routed)).map(str::to_ascii_lowercase);
                chain.push(part, name.as_deref().map(str::as_bytes));
            }
            Part::Address => match self.envelope.client.map(|client| client.ip().to_canonical()) {
                Some(IpAddr::V4(address)) => chain.push(part, Some(&address.octets())),
                Some(IpAddr::V6(address)) => chain.push(part, address.octets().get(..8)),
                None => chain.push(part, None),
            },
        }
    }
}
