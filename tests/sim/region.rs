//! A simulated region: how long it takes to answer, what quota it has, and what goes wrong with it when.

use std::time::Duration;

/// Microseconds of virtual time.
pub(crate) type Micros = u64;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Connections are refused.
    Refuse,
    /// Nothing is answered, not even what was asked before; afterwards everything is.
    Hang,
    /// Answers take this many times as long.
    Slow(f64),
    /// This share of attempts is answered with a 503, at once.
    Unavailable(f64),
    /// This share of attempts is reset before the header.
    Reset(f64),
    /// This share of answers breaks after the header.
    BreakLate(f64),
    /// Every attempt is answered with a 429 that advises this rest.
    Limited(Duration),
    /// Our credential is refused.
    Denied,
    /// Probes fail (nothing else does).
    ProbeFails,
}

/// A trouble and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) from: Micros,
    pub(crate) to: Micros,
    pub(crate) trouble: Trouble,
}

/// A token bucket: requests per second, and how many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) per_second: f64,
    pub(crate) burst: f64,
    tokens: f64,
    at: Micros,
}

impl Quota {
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, at: 0 }
    }

    /// Takes one token, or says how long the next one takes.
    fn take(&mut self, now: Micros) -> Option<Duration> {
        let refill = (now - self.at) as f64 * 1e-6 * self.per_second;
        self.tokens = (self.tokens + refill).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}

/// What a region answers to one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Served,
    Unavailable,
    Limited(Duration),
    Denied,
    Reset,
    Refused,
    /// A header, then a break.
    BreaksLate,
}

/// One region.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// Usual time to the header.
    pub(crate) latency: Duration,
    /// Spread around it, as a share of it.
    pub(crate) spread: f64,
    /// From header to end.
    pub(crate) length: Duration,
    pub(crate) faults: Vec<Fault>,
    pub(crate) quota: Option<Quota>,
    /// Attempts received.
    pub(crate) received: u64,
    /// Until when it told us to stay away.
    pub(crate) closed_until: Micros,
}

impl Region {
    pub(crate) fn of_millis(latency: u64) -> Self {
        Self {
            latency: Duration::from_millis(latency),
            spread: 0.2,
            length: Duration::from_millis(300),
            faults: Vec::new(),
            quota: None,
            received: 0,
            closed_until: 0,
        }
    }

    pub(crate) fn with(mut self, from_s: u64, to_s: u64, trouble: Trouble) -> Self {
        self.faults.push(Fault { from: from_s * 1_000_000, to: to_s * 1_000_000, trouble });
        self
    }

    fn troubles(&self, now: Micros) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |f| f.from <= now && now < f.to)
    }

    /// When the hang that lasts at `now` ends.
    pub(crate) fn hangs_until(&self, now: Micros) -> Option<Micros> {
        self.troubles(now).filter(|f| matches!(f.trouble, Trouble::Hang)).map(|f| f.to).max()
    }

    pub(crate) fn probe_fails(&self, now: Micros) -> bool {
        self.troubles(now).any(|f| matches!(f.trouble, Trouble::ProbeFails | Trouble::Refuse | Trouble::Hang))
    }

    /// Answers an attempt: what, and after how long.
    pub(crate) fn answer(&mut self, now: Micros, rng: &mut fastrand::Rng) -> (Answer, Duration) {
        self.received += 1;
        let mut time = self.latency.mul_f64(1.0 + self.spread * (rng.f64() * 2.0 - 1.0));
        let soon = Duration::from_millis(2);
        let mut breaks = false;
        let troubles: Vec<Trouble> = self.troubles(now).map(|f| f.trouble).collect();
        for trouble in troubles {
            match trouble {
                Trouble::Refuse => return (Answer::Refused, soon),
                Trouble::Denied => return (Answer::Denied, soon),
                Trouble::Limited(rest) => return (Answer::Limited(rest), soon),
                Trouble::Unavailable(share) if rng.f64() < share => return (Answer::Unavailable, soon),
                Trouble::Reset(share) if rng.f64() < share => return (Answer::Reset, time),
                Trouble::BreakLate(share) if rng.f64() < share => breaks = true,
                Trouble::Slow(times) => time = time.mul_f64(times),
                _ => {}
            }
        }
        if let Some(rest) = self.quota.as_mut().and_then(|quota| quota.take(now)) {
            return (Answer::Limited(rest), soon);
        }
        (if breaks { Answer::BreaksLate } else { Answer::Served }, time)
    }
}
