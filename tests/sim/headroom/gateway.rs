//! What stands before the regions: the real `state` and `policy`, or a model of API Management.

use super::Request;
use crate::region::Micros;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::load_text;
use tidegate::domain::{Budgets, Cost, Moment, Outcome};
use tidegate::policy::failover::{Next, Situation, next};
use tidegate::state::{Fleet, Pick, Registry, Ticket, Tried, Wanted};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Attempt,
    Refuse,
}

/// How the regions are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// One tier, each with the same weight.
    Equal,
    /// One tier, weights as quotas.
    Quotas,
    /// The largest quota first.
    Tiers,
}

/// One gateway.
pub(super) trait Gateway {
    /// A request arrives.
    fn first(&mut self, index: usize, request: &Request, now: Micros, draw: u64) -> Choice;
    /// The backend of its attempt under way.
    fn backend(&self, index: usize) -> usize;
    /// The attempt got a 429.
    fn refused(&mut self, index: usize, told: &Budgets, wait: Duration, now: Micros, draw: u64) -> Choice;
    /// Its answer begins.
    fn served(&mut self, index: usize, told: &Budgets, now: Micros, draw: u64);
    /// Its answer is over.
    fn ended(&mut self, index: usize, outcome: Outcome, now: Micros, draw: u64);
}

/// This gateway.
pub(super) struct Tidegate {
    fleet: Arc<Fleet>,
    steers: bool,
    open: HashMap<usize, Open>,
}

struct Open {
    ticket: Ticket,
    tried: Tried,
    cost: Cost,
    arrived: Micros,
}

impl Tidegate {
    pub(super) fn new(limits: [u64; 3], order: Order, steers: bool, configured: bool) -> Self {
        let backends = limits.iter().enumerate().map(|(i, limit)| {
            let priority = if order == Order::Tiers { i + 1 } else { 1 };
            let weight = if order == Order::Quotas { limit * 1000 / limits.iter().sum::<u64>() } else { 50 };
            let (tokens, requests) = (limit, limit * 6 / 1000);
            let quota = format!("quota: {{ tokens_per_minute: {tokens}, requests_per_minute: {requests} }}, ");
            let quota = if configured { quota } else { String::new() };
            format!(
                "      - {{ name: b{i}, region: r{i}, url: \"http://192.0.2.{i}\", priority: {priority}, \
                 weight: {weight}, {quota}auth: none }}\n"
            )
        });
        let backends: String = backends.collect();
        let text = format!(
            "version: 1\nlisteners:\n  - {{ name: public, address: \"127.0.0.1:0\" }}\npools:\n  - name: chat\n    \
             backends:\n{backends}"
        );
        let (snapshot, _) = load_text("sim", &text, Path::new("."), &|_| None).unwrap();
        Self { fleet: Registry::default().bind(Arc::new(snapshot)), steers, open: HashMap::new() }
    }

    fn pick(&mut self, index: usize, (tried, cost, arrived): (Tried, Cost, Micros), now: Micros, draw: u64) -> bool {
        let Pick::Attempt(ticket) =
            self.fleet.pools[0].pick_for(&Wanted { cost, ..Wanted::after(tried) }, Moment::from_micros(now), draw)
        else {
            return false;
        };
        let tried = tried.with(ticket.index());
        self.open.insert(index, Open { ticket, tried, cost, arrived });
        true
    }
}

impl Gateway for Tidegate {
    fn first(&mut self, index: usize, request: &Request, now: Micros, draw: u64) -> Choice {
        // A token for four bytes, of which the frame of a request has some too.
        let tokens = if self.steers { request.prompt + 60 + request.ceiling } else { 0 };
        let picked = self.pick(index, (Tried::NONE, Cost { tokens }, now), now, draw);
        if picked { Choice::Attempt } else { Choice::Refuse }
    }

    fn backend(&self, index: usize) -> usize {
        self.open[&index].ticket.index()
    }

    fn refused(&mut self, index: usize, told: &Budgets, wait: Duration, now: Micros, draw: u64) -> Choice {
        let Open { mut ticket, tried, cost, arrived } = self.open.remove(&index).unwrap();
        let at = Moment::from_micros(now);
        if self.steers {
            ticket.told(told, at);
        }
        ticket.first_byte(at, false);
        let _ = ticket.finish(Outcome::RateLimited, Some(wait), at, draw);
        let failover = &self.fleet.snapshot.pools[0].failover;
        let pool = &self.fleet.pools[0];
        let situation = Situation {
            attempts: tried.count(),
            attempts_max: failover.attempts_max,
            eligible_left: pool.has_eligible(&Wanted::after(tried), at),
            deadline_passed: at >= Moment::from_micros(arrived).after(failover.deadline),
            relayed: false,
            budget: pool.budget().grants(at),
            replayable: true,
        };
        let again = next(Outcome::RateLimited, &situation) == Next::NextAttempt;
        if again && self.pick(index, (tried, cost, arrived), now, draw) { Choice::Attempt } else { Choice::Refuse }
    }

    fn served(&mut self, index: usize, told: &Budgets, now: Micros, draw: u64) {
        let at = Moment::from_micros(now);
        let open = self.open.get_mut(&index).unwrap();
        if self.steers {
            open.ticket.told(told, at);
        }
        // Regions are equally near here: what decides is quota alone.
        open.ticket.first_byte(at, false);
        let _ = open.ticket.accept(at, draw);
    }

    fn ended(&mut self, index: usize, outcome: Outcome, now: Micros, draw: u64) {
        let mut open = self.open.remove(&index).unwrap();
        let _ = open.ticket.finish(outcome, None, Moment::from_micros(now), draw);
    }
}

/// API Management as Microsoft's own samples set it up: priorities, a breaker that one 429 trips for the time that it tells,
/// two retries.
#[derive(Default)]
pub(super) struct Apim {
    open_until: [Micros; 3],
    /// Backend and attempts of each request.
    requests: HashMap<usize, (usize, u32)>,
}

impl Apim {
    fn pick(&mut self, index: usize, attempts: u32, now: Micros) -> Choice {
        match self.open_until.iter().position(|until| *until <= now) {
            Some(backend) if attempts <= 3 => {
                self.requests.insert(index, (backend, attempts));
                Choice::Attempt
            }
            _ => Choice::Refuse,
        }
    }
}

impl Gateway for Apim {
    fn first(&mut self, index: usize, _request: &Request, now: Micros, _draw: u64) -> Choice {
        self.pick(index, 1, now)
    }

    fn backend(&self, index: usize) -> usize {
        self.requests[&index].0
    }

    fn refused(&mut self, index: usize, _told: &Budgets, wait: Duration, now: Micros, _draw: u64) -> Choice {
        let (backend, attempts) = self.requests[&index];
        self.open_until[backend] = now + u64::try_from(wait.as_micros()).unwrap();
        self.pick(index, attempts + 1, now)
    }

    fn served(&mut self, _index: usize, _told: &Budgets, _now: Micros, _draw: u64) {}

    fn ended(&mut self, _index: usize, _outcome: Outcome, _now: Micros, _draw: u64) {}
}
