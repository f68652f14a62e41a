//! Which backend takes the next attempt: eligible → best tier → latency band → affinity, or weight by power of two choices.
//! Never looks at health or ejection: whoever calls passes eligible candidates only.

use super::affinity::{self, Place};
use super::chance::Chance;
use std::time::Duration;

/// Most candidates that are looked at; a pool has at most this many backends.
pub const CANDIDATES_MAX: usize = 64;

/// Milliseconds of round trip per kilometre of distance: light in fibre makes 200 km/ms one way.
const ROUND_TRIP_MS_PER_KM: f64 = 0.01;

/// Smallest effective weight, so that a division by it stays finite.
const WEIGHT_MIN: f64 = 1e-6;

/// Parameters of selection in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Backends within this of the fastest in their tier count as equally near.
    pub latency_band: Duration,
    /// Share of a tier's requests (0 to 1) that may sample a backend whose latency is unknown or stale.
    pub explore: f64,
    /// Ramp of a backend's weight from 10 % to 100 % after it returns from ejection or a failed probe; zero switches it off.
    pub slow_start: Duration,
    /// Share of the pool (0 to 1) below which failure ejections and probe results are ignored. Zero: only when none is left.
    pub panic_threshold: f64,
    /// Whether a pool whose backends are all probe-unhealthy is used all the same (Front Door's fail-open).
    pub fail_open: bool,
}

/// What selection knows about one eligible backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Lower first.
    pub priority: u32,
    /// Share inside the band.
    pub weight: u32,
    /// Slow-start ramp, 0.1 to 1.
    pub share: f32,
    /// Smoothed time to first byte.
    pub ttfb: Option<Duration>,
    /// Mean deviation of `ttfb`: the band is widened by it (by half of `ttfb` at most), so that noise alone throws nobody
    /// out.
    pub ttfb_spread: Duration,
    /// Smoothed round trip of probes.
    pub rtt: Option<Duration>,
    /// Great-circle distance from the home region, or from the client.
    pub distance_km: Option<f64>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Recent failures, decaying, in units of attempts in flight: a backend that fails fast must not look idle.
    pub penalty: f32,
    /// May be sampled: its time to first byte is unknown or stale, and nothing is in flight that would tell.
    pub explorable: bool,
    /// Hash of its name, for affinity.
    pub seed: u64,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the candidate.
    pub index: usize,
    /// Where a key decided: whether it has its first choice, or that one was crowded.
    pub home: Option<bool>,
}

impl Candidate {
    /// A neutral candidate: weight 1, nothing known, nothing in flight.
    pub const NEUTRAL: Self = Self {
        priority: 1,
        weight: 1,
        share: 1.0,
        ttfb: None,
        ttfb_spread: Duration::ZERO,
        rtt: None,
        distance_km: None,
        in_flight: 0,
        penalty: 0.0,
        explorable: false,
        seed: 0,
    };

    fn place(&self) -> Place {
        let load = f64::from(self.in_flight) + f64::from(self.penalty);
        Place { seed: self.seed, weight: self.effective_weight(), load }
    }

    fn effective_weight(&self) -> f64 {
        (f64::from(self.weight) * f64::from(self.share)).max(WEIGHT_MIN)
    }

    fn load(&self) -> f64 {
        (f64::from(self.in_flight) + f64::from(self.penalty)) / self.effective_weight()
    }

    /// Milliseconds by which nearness is compared, and how far below them the truth may lie.
    fn nearness(&self, by: Nearness) -> (f64, f64) {
        match by {
            Nearness::Ttfb => {
                let mean = millis(self.ttfb);
                // After a jump the deviation is as large as the mean: the half keeps it from hiding the jump.
                (mean, (self.ttfb_spread.as_secs_f64() * 1e3).min(mean / 2.0))
            }
            Nearness::Rtt => (millis(self.rtt), 0.0),
            Nearness::Distance => (self.distance_km.unwrap_or(0.0) * ROUND_TRIP_MS_PER_KM, 0.0),
            Nearness::Unknown => (0.0, 0.0),
        }
    }
}

/// What a tier is compared by: like with like, so only what is known of all its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// Smoothed time to first byte.
    Ttfb,
    /// Smoothed round trip of probes.
    Rtt,
    /// Distance from the home region, or from the client.
    Distance,
    /// Nothing: all are equally near.
    Unknown,
}

/// Picks one of `candidates` (at most [`CANDIDATES_MAX`] are looked at) by its index; `None` when there is none.
///
/// A request with a `key` goes to the key's place in the band. For one without, the second of two weighted draws wins only when its
/// load is strictly lower: idle backends share by weight exactly, while one that is slow (attempts pile up) or failing (penalty)
/// loses every comparison.
#[must_use]
pub fn choose(candidates: &[Candidate], params: &Selection, key: Option<u64>, draw: u64) -> Option<Choice> {
    let drawn = |index| Choice { index, home: None };
    let mut chance = Chance::new(draw);
    let tier = best_tier(candidates);
    if params.explore > 0.0 {
        let explorable = filter(candidates, tier, |c| c.explorable);
        if explorable != 0 && chance.share() < params.explore {
            return draw_weighted(candidates, explorable, &mut chance).map(drawn);
        }
    }
    let near = band(candidates, tier, params.latency_band);
    if let Some(key) = key {
        let places = members(candidates, near).map(|(index, candidate)| (index, candidate.place()));
        return affinity::home(places, key).map(|home| Choice { index: home.index, home: Some(home.first) });
    }
    let first = draw_weighted(candidates, near, &mut chance)?;
    let Some(second) = draw_weighted(candidates, near & !bit(first), &mut chance) else { return Some(drawn(first)) };
    match (candidates.get(first), candidates.get(second)) {
        (Some(a), Some(b)) if b.load() < a.load() => Some(drawn(second)),
        _ => Some(drawn(first)),
    }
}

/// The candidates that are equally near in the best tier, as a bit mask over their indexes.
#[must_use]
pub fn nearest(candidates: &[Candidate], params: &Selection) -> u64 {
    band(candidates, best_tier(candidates), params.latency_band)
}

/// What the best tier of `candidates` is compared by, and the milliseconds of every candidate by that measure: for
/// explanations.
#[must_use]
pub fn comparison(candidates: &[Candidate]) -> (Nearness, Vec<f64>) {
    let by = comparable(candidates, best_tier(candidates));
    (by, candidates.iter().map(|candidate| candidate.nearness(by).0).collect())
}

const fn bit(index: usize) -> u64 {
    if index < CANDIDATES_MAX { 1 << index } else { 0 }
}

fn members(candidates: &[Candidate], mask: u64) -> impl Iterator<Item = (usize, &Candidate)> + Clone {
    candidates.iter().take(CANDIDATES_MAX).enumerate().filter(move |(index, _)| mask & bit(*index) != 0)
}

fn filter(candidates: &[Candidate], mask: u64, keep: impl Fn(&Candidate) -> bool) -> u64 {
    members(candidates, mask).filter(|(_, c)| keep(c)).fold(0, |kept, (index, _)| kept | bit(index))
}

/// Whether the candidate at `index` is of the best tier.
#[must_use]
pub fn in_best_tier(candidates: &[Candidate], index: usize) -> bool {
    index < CANDIDATES_MAX && best_tier(candidates) & bit(index) != 0
}

fn best_tier(candidates: &[Candidate]) -> u64 {
    let best = candidates.iter().take(CANDIDATES_MAX).map(|c| c.priority).min();
    filter(candidates, u64::MAX, |c| Some(c.priority) == best)
}

fn band(candidates: &[Candidate], tier: u64, width: Duration) -> u64 {
    let by = comparable(candidates, tier);
    if by == Nearness::Unknown {
        return tier;
    }
    let fastest = members(candidates, tier).map(|(_, c)| c.nearness(by).0).fold(f64::INFINITY, f64::min);
    let edge = fastest + width.as_secs_f64() * 1e3;
    filter(candidates, tier, |c| {
        let (value, spread) = c.nearness(by);
        value <= fastest || value - spread <= edge
    })
}

fn comparable(candidates: &[Candidate], tier: u64) -> Nearness {
    let all = |known: fn(&Candidate) -> bool| members(candidates, tier).all(|(_, c)| known(c));
    if all(|c| c.ttfb.is_some()) {
        Nearness::Ttfb
    } else if all(|c| c.rtt.is_some()) {
        Nearness::Rtt
    } else if all(|c| c.distance_km.is_some()) {
        Nearness::Distance
    } else {
        Nearness::Unknown
    }
}

fn draw_weighted(candidates: &[Candidate], mask: u64, chance: &mut Chance) -> Option<usize> {
    let total: f64 = members(candidates, mask).map(|(_, c)| c.effective_weight()).sum();
    let mut point = chance.share() * total;
    let mut last = None;
    for (index, candidate) in members(candidates, mask) {
        last = Some(index);
        point -= candidate.effective_weight();
        if point < 0.0 {
            break;
        }
    }
    // Rounding may leave `point` at zero after the last member: it is the one meant then.
    last
}

fn millis(value: Option<Duration>) -> f64 {
    value.map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests;
