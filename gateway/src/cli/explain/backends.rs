//! In which order a pool's backends would be tried, and why: asks `policy::select` for the nearest of what is left, round
//! by round. A running gateway also weighs what is in flight, which no explanation can know beforehand.

use super::Ask;
use super::forward::{self, Forward};
use super::residency::Bound;
use crate::cli::span::print_span;
use crate::config::snapshot::{Backend, Pool};
use crate::domain::Fault;
use crate::openai::operation::{Operation, Target};
use crate::policy::select::{self, Candidate, Nearness};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One backend and its place in the order.
#[derive(Debug, Serialize)]
pub(super) struct BackendLine {
    /// Its round, from 1: those of one round share. None: not used.
    pub(super) rank: Option<u32>,
    pub(super) backend: String,
    pub(super) region: String,
    pub(super) priority: u32,
    pub(super) weight: u32,
    /// Percent of its round's attempts.
    pub(super) share: Option<f64>,
    pub(super) why: String,
    /// As `/backends` of the running gateway says.
    pub(super) state: Option<LiveState>,
    pub(super) forward: Forward,
}

/// What we use of a backend in `/backends`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LiveState {
    pool: String,
    backend: String,
    state: String,
    why: Option<String>,
    until_ms: Option<u64>,
    ttfb_ms: Option<f64>,
    rtt_ms: Option<f64>,
    #[serde(default)]
    in_flight: u32,
    share: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<LiveQuota>,
}

/// What is left of its quota.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LiveQuota {
    tokens_left: Option<u64>,
    tokens_limit: Option<u64>,
    requests_left: Option<u64>,
}

impl LiveQuota {
    /// For the reader: requests that cost more than this go elsewhere first.
    fn words(&self) -> Option<String> {
        if self.requests_left == Some(0) {
            return Some("no room now: its quota of requests is used up".to_owned());
        }
        let (left, limit) = (self.tokens_left?, self.tokens_limit?);
        Some(format!("room for {left} of {limit} tokens"))
    }
}

/// How much a backend is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Eligible,
    /// Only when no eligible one is left.
    Silent,
    Out,
}

/// A backend's place in the order.
struct Place {
    rank: u32,
    share: Option<f64>,
    why: String,
}

/// Every backend of the pool, in the order in which a request would try them; those that are not used come last.
pub(super) fn explain(
    pool: &Pool,
    (target, bound): (&Target<'_>, &Bound<'_>),
    ask: (&Ask, Option<&str>),
    live: Option<&[LiveState]>,
) -> Vec<BackendLine> {
    let states: Vec<Option<&LiveState>> = pool.backends.iter().map(|backend| state_of(backend, live)).collect();
    let barred = |backend: &Backend| bound.why_barred(backend).or_else(|| no_shape(backend, target));
    let places = places((pool, bound), &states, &barred, live.is_some());
    let lines = pool.backends.iter().zip(&states).zip(places).map(|((backend, state), place)| {
        let (rank, share, why) = match place {
            Some(place) => (Some(place.rank), place.share, place.why),
            None => (None, None, barred(backend).unwrap_or_else(|| why_out(backend, *state, live.is_some()))),
        };
        BackendLine {
            rank,
            backend: backend.id.backend.to_string(),
            region: backend.region.to_string(),
            priority: backend.priority,
            weight: backend.weight,
            share,
            why,
            state: state.cloned(),
            forward: forward::explain(backend, target, ask),
        }
    });
    let mut lines: Vec<BackendLine> = lines.collect();
    lines.sort_by_key(|line| (line.rank.unwrap_or(u32::MAX), std::cmp::Reverse(line.weight)));
    lines
}

/// Why a backend has no use for a call of another style.
fn no_shape(backend: &Backend, target: &Target<'_>) -> Option<String> {
    let none = backend.style_of(target).is_none();
    let why = match target.operation {
        Operation::Realtime => "not used: its realtime sessions have the events of the other style",
        _ => "not used: this call has no shape of its `style`",
    };
    none.then(|| why.to_owned())
}

/// The place of each backend, round by round: the nearest of the best tier, then the same of what is left.
fn places(
    (pool, bound): (&Pool, &Bound<'_>),
    states: &[Option<&LiveState>],
    barred: &dyn Fn(&Backend) -> Option<String>,
    live: bool,
) -> Vec<Option<Place>> {
    let standings: Vec<Standing> = (pool.backends.iter().zip(states))
        .map(|(backend, state)| match barred(backend) {
            Some(_) => Standing::Out,
            None => standing(backend, *state, live),
        })
        .collect();
    let mut places: Vec<Option<Place>> = pool.backends.iter().map(|_| None).collect();
    let mut rank = 0;
    for wanted in [Standing::Eligible, Standing::Silent] {
        let standing = |index: &usize| standings.get(*index) == Some(&wanted);
        let mut left: Vec<usize> = (0..pool.backends.len()).filter(standing).collect();
        let mut tier = None;
        while !left.is_empty() {
            rank += 1;
            let round = Round::of((pool, bound), &left, states);
            let (next, rest): (Vec<_>, Vec<_>) = left.into_iter().enumerate().partition(|(at, _)| round.takes(*at));
            for (at, index) in next {
                let (Some(backend), Some(place)) = (pool.backends.get(index), places.get_mut(index)) else { continue };
                let again = tier == Some(backend.priority);
                let mut why = round.why(at, (backend, bound), (rank, wanted, again), pool.selection.latency_band);
                let quota = states.get(index).copied().flatten().and_then(|state| state.quota.as_ref());
                if let Some(words) = quota.and_then(LiveQuota::words) {
                    why = format!("{why}; {words}");
                }
                *place = Some(Place { rank, share: round.share(at), why });
            }
            tier = round.tier();
            left = rest.into_iter().map(|(_, index)| index).collect();
        }
    }
    places
}

/// What the client would be told when no backend may take the request now.
pub(super) fn refusal(lines: &[BackendLine]) -> Option<Fault> {
    if lines.iter().any(|line| line.rank.is_some()) {
        return None;
    }
    let resting = |line: &&LiveState| line.why.as_deref() == Some("rate_limited");
    let soonest = lines.iter().filter_map(|line| line.state.as_ref()).filter(resting).filter_map(|s| s.until_ms).min();
    Some(match soonest {
        Some(millis) => Fault::AllThrottled { retry_after: Duration::from_millis(millis) },
        None => Fault::NoBackend { retry_after: Duration::from_secs(1) },
    })
}

fn state_of<'a>(backend: &Backend, live: Option<&'a [LiveState]>) -> Option<&'a LiveState> {
    live?.iter().find(|one| one.pool == backend.id.pool.as_str() && one.backend == backend.id.backend.as_str())
}

fn standing(backend: &Backend, state: Option<&LiveState>, live: bool) -> Standing {
    match state {
        _ if !backend.enabled => Standing::Out,
        None if live => Standing::Out,
        None => Standing::Eligible,
        Some(known) => match known.state.as_str() {
            "in_service" | "trial" => Standing::Eligible,
            "silent" => Standing::Silent,
            _ => Standing::Out,
        },
    }
}

fn why_out(backend: &Backend, state: Option<&LiveState>, live: bool) -> String {
    if !backend.enabled {
        return "not used: `enabled: false`".to_owned();
    }
    let Some(state) = state else {
        return if live { "not used: the running gateway does not know it".to_owned() } else { "not used".to_owned() };
    };
    let until = match state.until_ms {
        Some(0) => ", waiting for its trial".to_owned(),
        Some(millis) => format!(" for another {}", print_span(Duration::from_millis(millis))),
        None => String::new(),
    };
    let reason = state.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("not used now: {}{reason}{until}", state.state)
}

/// The backends that are left, and those of them that are next.
struct Round {
    candidates: Vec<Candidate>,
    next: u64,
    by: Nearness,
    millis: Vec<f64>,
}

impl Round {
    fn of((pool, bound): (&Pool, &Bound<'_>), left: &[usize], states: &[Option<&LiveState>]) -> Self {
        let candidate = |index: &usize| {
            let backend = pool.backends.get(*index)?;
            Some(candidate((backend, bound), states.get(*index).copied().flatten()))
        };
        let candidates: Vec<Candidate> = left.iter().filter_map(candidate).collect();
        let next = select::nearest(&candidates, &pool.selection);
        let (by, millis) = select::comparison(&candidates);
        Self { candidates, next, by, millis }
    }

    fn takes(&self, at: usize) -> bool {
        at < select::CANDIDATES_MAX && self.next & (1 << at) != 0
    }

    fn members(&self) -> impl Iterator<Item = (usize, &Candidate)> {
        self.candidates.iter().enumerate().filter(|(at, _)| self.takes(*at))
    }

    fn share(&self, at: usize) -> Option<f64> {
        let weight = |candidate: &Candidate| f64::from(candidate.weight) * f64::from(candidate.share);
        let all: f64 = self.members().map(|(_, candidate)| weight(candidate)).sum();
        let own = self.candidates.get(at).map(weight)?;
        Some((own / all * 1000.0).round() / 10.0)
    }

    fn tier(&self) -> Option<u32> {
        self.members().map(|(_, candidate)| candidate.priority).next()
    }

    /// `again`: the round before was of the same tier.
    fn why(
        &self,
        at: usize,
        (backend, bound): (&Backend, &Bound<'_>),
        place: (u32, Standing, bool),
        band: Duration,
    ) -> String {
        let (rank, standing, again) = place;
        let tier = backend.priority;
        let measured = match (self.by, self.millis.get(at)) {
            (Nearness::Ttfb, Some(millis)) => format!("first byte {millis:.0} ms"),
            (Nearness::Rtt, Some(millis)) => format!("round trip {millis:.0} ms"),
            (Nearness::Distance, Some(millis)) => {
                let (km, from) = bound.distance(backend).unwrap_or((0.0, "home"));
                format!("{km:.0} km from {from}, about {millis:.0} ms")
            }
            _ => "nothing known about its distance".to_owned(),
        };
        let kin = self.members().count();
        let standing = match (standing, rank) {
            (Standing::Silent, _) => format!("tier {tier}, silent: only when no other is left"),
            (_, 1) if kin > 1 => format!("tier {tier}, equally near (band {})", print_span(band)),
            (_, 1) => format!("tier {tier}, nearest"),
            _ if again => format!("tier {tier}, outside the latency band ({})", print_span(band)),
            _ => format!("tier {tier}: after every backend of a tier before it"),
        };
        format!("{standing}; {measured}")
    }
}

fn candidate((backend, bound): (&Backend, &Bound<'_>), state: Option<&LiveState>) -> Candidate {
    let span = |millis: f64| Duration::try_from_secs_f64(millis / 1e3).ok();
    Candidate {
        priority: backend.priority,
        weight: backend.weight,
        share: state.and_then(|state| state.share).unwrap_or(1.0),
        ttfb: state.and_then(|state| state.ttfb_ms).and_then(span),
        rtt: state.and_then(|state| state.rtt_ms).and_then(span),
        distance_km: bound.distance(backend).map(|(km, _)| km),
        ..Candidate::NEUTRAL
    }
}
