//! Picks by headroom: where there is room for a request, and never a refusal for want of it.

use super::*;
use crate::config::snapshot::BackendQuota;
use crate::domain::{Budgets, Quota, QuotaName, Told};

const fn cost(tokens: u64) -> Cost {
    Cost { tokens }
}

/// A fleet of backends with these priorities and quotas of tokens per minute, those of a name in one group.
fn quotas(registry: &Registry, members: &[(u32, u64, Option<&str>)]) -> Arc<Fleet> {
    let backends = members.iter().zip(["a", "b", "c"]).map(|((priority, tokens, group), name)| Backend {
        quota: BackendQuota {
            group: group.map(|name| QuotaName::new(name).unwrap()),
            quota: Quota { tokens: Some(*tokens), requests: None },
        },
        ..backend(name, *priority)
    });
    registry.bind(snapshot(pool(backends.collect())))
}

fn send(pool: &PoolState, tokens: u64, tried: Tried, now: u64) -> Ticket {
    match pool.pick_for(&Wanted { cost: cost(tokens), ..Wanted::after(tried) }, at(now), now ^ 0x5eed) {
        Pick::Attempt(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_tier_spills_to_the_next_and_is_back_at_its_reset() {
    let fleet = quotas(&Registry::default(), &[(1, 1000, None), (2, 10_000, None)]);
    let pool = &fleet.pools[0];
    let taken: Vec<usize> = (0..12).map(|n| send(pool, 100, Tried::NONE, n).finished_on()).collect();
    assert_eq!(taken, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(send(pool, 100, Tried::NONE, 60_001).finished_on(), 0);
}

#[test]
fn a_request_goes_where_it_fits() {
    let fleet = quotas(&Registry::default(), &[(1, 1000, None), (2, 10_000, None)]);
    let pool = &fleet.pools[0];
    assert_eq!(send(pool, 1001, Tried::NONE, 0).finished_on(), 1);
    assert_eq!(send(pool, 1000, Tried::NONE, 1).finished_on(), 0, "what is left is not wasted");
}

#[test]
fn with_nobody_roomy_the_plain_order_applies() {
    let fleet = quotas(&Registry::default(), &[(1, 1000, None), (2, 1000, None)]);
    let pool = &fleet.pools[0];
    for n in 0..20 {
        assert_eq!(send(pool, 5000, Tried::NONE, n).finished_on(), 0, "nobody is refused");
    }
}

#[test]
fn room_never_overrides_a_rest_or_what_was_tried() {
    let fleet = quotas(&Registry::default(), &[(1, 1000, None), (1, 100, None), (1, 1000, None)]);
    let pool = &fleet.pools[0];
    let mut ticket = send(pool, 0, Tried::NONE.with(1).with(2), 0);
    let _ = ticket.finish(Outcome::RateLimited, Some(5 * SECOND), at(0), 1);
    assert_eq!(send(pool, 500, Tried::NONE.with(2), 1).finished_on(), 1, "the roomy ones rest or were tried");
}

#[test]
fn the_backends_of_a_group_share_one_headroom_over_reloads() {
    let registry = Registry::default();
    let first = quotas(&registry, &[(1, 1000, Some("sweden")), (2, 1000, Some("sweden")), (3, 1000, None)]);
    let pool = &first.pools[0];
    assert_eq!(send(pool, 900, Tried::NONE, 0).finished_on(), 0);
    assert_eq!(send(pool, 200, Tried::NONE, 1).finished_on(), 2, "the second draws on the same quota");
    let again = quotas(&registry, &[(1, 1000, Some("sweden")), (2, 1000, Some("sweden")), (3, 1000, None)]);
    drop(first);
    let pool = &again.pools[0];
    assert_eq!(send(pool, 200, Tried::NONE, 2).finished_on(), 2, "a reload forgets nothing");
    assert_eq!(send(pool, 100, Tried::NONE, 3).finished_on(), 0);
}

#[test]
fn answers_teach_quotas_that_nobody_configured() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    let ticket = send(pool, 100, Tried::NONE, 0);
    let tokens = Told { limit: Some(1000), remaining: Some(50), reset: Some(30 * SECOND) };
    ticket.told(&Budgets { tokens, ..Budgets::default() }, at(10));
    assert_eq!(send(pool, 100, Tried::NONE, 20).finished_on(), 1);
    assert_eq!(send(pool, 50, Tried::NONE, 30).finished_on(), 0);
    let report = fleet.report(at(40));
    assert_eq!(
        (report[0].quota.tokens_left, report[0].quota.tokens_limit, report[1].quota.tokens_limit),
        (Some(0), Some(1000), None)
    );
    assert_eq!(send(pool, 100, Tried::NONE, 30_011).finished_on(), 0);
}

#[test]
fn what_never_reached_the_backend_costs_nothing() {
    let fleet = quotas(&Registry::default(), &[(1, 1000, None), (2, 1000, None)]);
    let pool = &fleet.pools[0];
    let mut ticket = send(pool, 1000, Tried::NONE, 0);
    assert_eq!(send(pool, 1000, Tried::NONE, 0).finished_on(), 1);
    let _ = ticket.finish(Outcome::ConnectFailed, None, at(1), 1);
    drop(send(pool, 1000, Tried::NONE, 2));
    assert_eq!(send(pool, 1000, Tried::NONE, 3).finished_on(), 0);
}

trait Finished {
    /// Served; the index of the backend.
    fn finished_on(self) -> usize;
}

impl Finished for Ticket {
    fn finished_on(mut self) -> usize {
        let (index, now) = (self.index(), self.started());
        let _ = self.finish(Outcome::Served, None, now, 1);
        index
    }
}
