//! The world: clients, regions and one gateway's decisions on a virtual clock. The gateway's part follows `proxy` station by
//! station (select, classify, relay, settle), with the real `state` and `policy`.

use crate::invariants;
use crate::ledger::{Attempt, Ended, Ledger};
use crate::region::{Answer, Micros, Region};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::load_text;
use tidegate::config::snapshot::Pool;
use tidegate::domain::{Moment, Outcome};
use tidegate::policy::eject::{Standing, Transition};
use tidegate::policy::failover::{Next, Situation, next};
use tidegate::state::{Fleet, Pick, PoolState, Registry, Ticket, Tried, Wanted};

/// Where a backend stands in the file: priority and weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) priority: u32,
    pub(crate) weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// The header (or the failure before it) of a request's attempt.
    Header(usize, u32),
    /// The first-byte timeout of a request's attempt.
    Timeout(usize, u32),
    /// The end of the answer.
    End(usize),
    /// The client of a request that was refused comes back, for the nth time.
    Return(u32),
    Probes,
}

struct Request {
    arrived: Micros,
    tried: Tried,
    attempts: u32,
    answer: Answer,
    ticket: Option<Ticket>,
    waited: bool,
    /// How often its client came before.
    returns: u32,
}

/// One simulated world.
pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) rng: fastrand::Rng,
    pub(crate) regions: Vec<Region>,
    pub(crate) ledger: Ledger,
    /// Arrivals per second.
    pub(crate) rate: f64,
    /// How often a client comes back after a failure, as SDKs do.
    pub(crate) returns_max: u32,
    pub(crate) fleet: Arc<Fleet>,
    stop_arrivals: Micros,
    pool: PoolState,
    spec: Pool,
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    sequence: u64,
    requests: Vec<Request>,
}

impl World {
    /// A world of these regions, with the defaults of the configuration changed by `adjust`.
    pub(crate) fn new(seed: u64, regions: Vec<(Place, Region)>, adjust: impl Fn(&mut Pool)) -> Self {
        let (places, regions): (Vec<Place>, Vec<Region>) = regions.into_iter().unzip();
        let backends: String = places
            .iter()
            .enumerate()
            .map(|(i, Place { priority, weight })| {
                format!(
                    "      - {{ name: b{i}, region: r{i}, url: \"http://192.0.2.{i}\", priority: {priority}, \
                     weight: {weight}, auth: none }}\n"
                )
            })
            .collect();
        let text = format!(
            "version: 1\nlisteners:\n  - {{ name: public, address: \"127.0.0.1:0\" }}\npools:\n  - name: chat\n    \
             backends:\n{backends}"
        );
        let (mut snapshot, _) = load_text("sim", &text, Path::new("."), &|_| None).unwrap();
        adjust(&mut snapshot.pools[0]);
        let spec = snapshot.pools[0].clone();
        let fleet = Registry::default().bind(Arc::new(snapshot));
        let pool = fleet.pools[0].clone();
        let mut world = Self {
            now: 1,
            rng: fastrand::Rng::with_seed(seed),
            regions,
            ledger: Ledger::default(),
            rate: 40.0,
            returns_max: 0,
            fleet,
            stop_arrivals: Micros::MAX,
            pool,
            spec,
            events: BinaryHeap::new(),
            sequence: 0,
            requests: Vec::new(),
        };
        world.schedule(Duration::ZERO, Event::Arrival);
        if world.spec.probe.is_some() {
            world.schedule(Duration::from_secs(1), Event::Probes);
        }
        world
    }

    /// Runs until `seconds` of virtual time.
    pub(crate) fn run_to(&mut self, seconds: u64) {
        while let Some(Reverse((at, _, _))) = self.events.peek() {
            if *at > seconds * 1_000_000 {
                break;
            }
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.step(event);
        }
        self.now = seconds * 1_000_000;
    }

    /// Stops arrivals and runs until every request has ended; then nothing may be held.
    pub(crate) fn finish(&mut self) {
        self.stop_arrivals = self.now;
        let end = self.now / 1_000_000 + 300;
        self.run_to(end);
        for state in self.pool.backends() {
            assert_eq!((state.in_flight(), state.waiting()), (0, 0), "{}: everything is given back", state.id());
        }
        assert!(self.requests.iter().all(|r| r.ticket.is_none()), "every request ends");
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::from_micros(self.now)
    }

    fn schedule(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        let at = self.now + u64::try_from(wait.as_micros()).unwrap();
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                if self.now >= self.stop_arrivals {
                    return;
                }
                let gap = -(1.0 - self.rng.f64()).ln() / self.rate;
                self.schedule(Duration::from_secs_f64(gap), Event::Arrival);
                self.arrive(0);
            }
            Event::Return(returns) => self.arrive(returns),
            Event::Probes => self.probe(),
            Event::Header(request, attempt) if self.is_current(request, attempt) => self.header(request, attempt),
            Event::Timeout(request, attempt) if self.is_current(request, attempt) => {
                self.requests[request].waited = true;
                self.ended(request, Outcome::TimedOut, None);
            }
            Event::Header(..) | Event::Timeout(..) => {}
            Event::End(request) => {
                let breaks = matches!(self.requests[request].answer, Answer::BreaksLate);
                let outcome = if breaks { Outcome::BrokenLate } else { Outcome::Served };
                self.close(request, outcome, None);
                self.leave(request, Some(outcome));
            }
        }
    }

    fn probe(&mut self) {
        let Some(probe) = self.spec.probe.clone() else { return };
        if self.now < self.stop_arrivals {
            self.schedule(probe.interval, Event::Probes);
        }
        for (index, region) in self.regions.iter().enumerate() {
            let ok = !region.probe_fails(self.now);
            let state = self.pool.backend(index).unwrap();
            let _ = state.probed(ok, ok.then_some(Duration::from_millis(20)), probe.thresholds, self.moment());
        }
    }

    fn is_current(&self, request: usize, attempt: u32) -> bool {
        let request = &self.requests[request];
        request.ticket.is_some() && request.attempts == attempt
    }

    fn arrive(&mut self, returns: u32) {
        self.requests.push(Request {
            arrived: self.now,
            tried: Tried::NONE,
            attempts: 0,
            answer: Answer::Served,
            ticket: None,
            waited: false,
            returns,
        });
        let request = self.requests.len() - 1;
        let draw = self.rng.u64(..);
        match self.pick(request, draw) {
            Pick::Attempt(ticket) => self.attempt(request, ticket),
            Pick::AllThrottled { .. } => {
                self.ledger.all_throttled += 1;
                self.leave(request, None);
            }
            Pick::None { .. } => self.leave(request, None),
        }
    }

    fn pick(&self, request: usize, draw: u64) -> Pick {
        let tried = self.requests[request].tried;
        let before = invariants::Oracle::read(&self.spec, &self.pool, tried, self.moment());
        let pick = self.pool.pick(tried, self.moment(), draw);
        before.judge(&pick);
        pick
    }

    fn attempt(&mut self, request: usize, mut ticket: Ticket) {
        let backend = ticket.index();
        let (answer, mut wait) = self.regions[backend].answer(self.now, &mut self.rng);
        assert!(self.now >= self.regions[backend].closed_until, "b{backend} was hit before the time its 429 told");
        self.ledger.attempts.push(Attempt { at: self.now, backend });
        if let Some(end) = self.regions[backend].hangs_until(self.now) {
            wait += Duration::from_micros(end - self.now);
        }
        let one = &mut self.requests[request];
        assert!(!one.tried.contains(backend), "never the same backend twice in a request");
        one.tried = one.tried.with(backend);
        one.attempts += 1;
        one.answer = answer;
        assert!(one.attempts <= self.spec.failover.attempts_max, "attempts are limited");
        let attempt = one.attempts;
        if matches!(answer, Answer::Refused) {
            ticket.first_byte(self.moment(), false);
        }
        self.requests[request].ticket = Some(ticket);
        self.schedule(wait, Event::Header(request, attempt));
        self.schedule(self.spec.failover.stream_first_byte_timeout, Event::Timeout(request, attempt));
    }

    fn header(&mut self, request: usize, attempt: u32) {
        let backend = self.requests[request].ticket.as_ref().unwrap().index();
        if let Some(end) = self.regions[backend].hangs_until(self.now) {
            self.schedule(Duration::from_micros(end - self.now + 1000), Event::Header(request, attempt));
            return;
        }
        let answer = self.requests[request].answer;
        let now = self.moment();
        let draw = self.rng.u64(..);
        let length = self.regions[backend].length;
        if let Some(ticket) = self.requests[request].ticket.as_mut().filter(|_| !matches!(answer, Answer::Reset)) {
            ticket.first_byte(now, matches!(answer, Answer::Served | Answer::BreaksLate));
        }
        match answer {
            Answer::Served | Answer::BreaksLate => {
                let transition = self.requests[request].ticket.as_mut().and_then(|t| t.accept(now, draw));
                self.note(transition, backend);
                // The timeout is over: the attempt's number moves on, so that its event finds nothing.
                self.requests[request].attempts |= 1 << 31;
                self.schedule(length, Event::End(request));
            }
            Answer::Limited(rest) => {
                let region = &mut self.regions[backend];
                region.closed_until = region.closed_until.max(self.now + u64::try_from(rest.as_micros()).unwrap());
                self.ended(request, Outcome::RateLimited, Some(rest));
            }
            Answer::Unavailable => self.ended(request, Outcome::ServerError, None),
            Answer::Denied => self.ended(request, Outcome::BackendDenied, None),
            Answer::Reset => self.ended(request, Outcome::BrokenEarly, None),
            Answer::Refused => self.ended(request, Outcome::ConnectFailed, None),
        }
    }

    /// An attempt ended before anything was relayed.
    fn ended(&mut self, request: usize, outcome: Outcome, advice: Option<Duration>) {
        self.close(request, outcome, advice);
        let now = self.moment();
        let one = &self.requests[request];
        let deadline = Moment::from_micros(one.arrived).after(self.spec.failover.deadline);
        let situation = Situation {
            attempts: one.attempts,
            attempts_max: self.spec.failover.attempts_max,
            eligible_left: self.pool.has_eligible(&Wanted::after(one.tried), now),
            deadline_passed: now >= deadline,
            relayed: false,
            budget: self.pool.budget().grants(now),
            replayable: true,
        };
        let draw = self.rng.u64(..);
        if next(outcome, &situation) == Next::NextAttempt
            && let Pick::Attempt(ticket) = self.pick(request, draw)
        {
            return self.attempt(request, ticket);
        }
        self.leave(request, Some(outcome));
    }

    fn close(&mut self, request: usize, outcome: Outcome, advice: Option<Duration>) {
        let mut ticket = self.requests[request].ticket.take().unwrap();
        let draw = self.rng.u64(..);
        let transition = ticket.finish(outcome, advice, self.moment(), draw);
        self.note(transition, ticket.index());
        let standing = ticket.state().standing(self.moment());
        if outcome == Outcome::RateLimited {
            assert!(matches!(standing, Standing::Resting { .. }), "a 429 is a rest: {standing:?}");
        }
    }

    fn note(&mut self, transition: Option<Transition>, backend: usize) {
        if transition.is_some() {
            self.ledger.changes.push((self.now, backend));
        }
    }

    fn leave(&mut self, request: usize, outcome: Option<Outcome>) {
        let Request { arrived, waited, returns, .. } = self.requests[request];
        self.ledger.ended.push(Ended { arrived, at: self.now, outcome, waited });
        let failed = outcome.is_none_or(|o| o.is_failure() || o == Outcome::RateLimited);
        if failed && returns < self.returns_max && self.now < self.stop_arrivals {
            let backoff = Duration::from_secs_f64(0.5 * f64::from(1 << returns) * (0.75 + 0.25 * self.rng.f64()));
            self.schedule(backoff, Event::Return(returns + 1));
        }
    }
}
