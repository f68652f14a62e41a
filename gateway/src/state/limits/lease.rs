//! [`Lease`]: this gateway's slice of a bucket that several gateways share. It is granted from outside, spent here without
//! asking anybody, and used no longer than it was granted for: then, and before the first grant, the gateway keeps to its
//! fair share of the ceiling.

use super::key::Key;
use super::strict::{Question, Verdict};
use super::{Limits, Shard};
use crate::domain::Moment;
use crate::policy::limit::bucket::{Bucket, Mark, Standing};
use crate::policy::limit::{Now, Rule, Window};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Leases of one of the 72 parts.
const LEASES_MAX: usize = 1024;
/// A lease that nobody has asked for so long is returned.
const WARM: Duration = Duration::from_secs(10);
/// By this part it shrinks with every grant.
const LARGEST_DECAY: u64 = 32;
/// Without an answer for so long, a strict limit keeps to the fair share of the whole, and before to that of what was left.
const RECENT: Duration = Duration::from_secs(1);
/// Told where the next slice may hold enough.
const SOON: Duration = Duration::from_millis(100);

/// A slice of a shared bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    rule: Rule,
    /// What may still be spent.
    balance: u64,
    /// Until when.
    ends: Moment,
    /// Spent and not yet told; below zero where more was given back.
    untold: i64,
    /// Asked for since the last report.
    wanted: u64,
    /// The most that one request asked for.
    largest: u64,
    /// When it was last asked.
    asked: Moment,
    /// What was left of the whole at the last grant, and when it may be enough for the largest request.
    left: u64,
    back: Moment,
    /// Told, and not yet answered.
    telling: bool,
    /// When a strict limit was last answered, and what may be spent since without another answer.
    answered: Moment,
    alone: u64,
}

/// What a lease tells those who grant.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    key: Key,
    /// The ceiling of the whole.
    pub rule: Rule,
    /// Spent since the last report; below zero where more was given back.
    pub spent: i64,
    /// What this gateway has counted in the window, `spent` included.
    pub mine: u64,
    /// What it would like to have.
    pub wanted: u64,
    /// The most that one request asked for; nothing where the lease is returned.
    pub largest: u64,
}

/// An answer to a [`Report`].
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// What may be spent.
    pub balance: u64,
    /// What is left of the whole.
    pub left: u64,
    /// When there may be enough for the largest request.
    pub back: Duration,
    /// How long the grant is good, from when it was asked for.
    pub good: Duration,
}

impl Report {
    /// The bucket's name, 128 bits.
    #[must_use]
    pub const fn name(&self) -> (u64, u64) {
        (self.key.0, self.key.1)
    }
}

impl Lease {
    fn new(rule: &Rule) -> Self {
        Self {
            rule: *rule,
            balance: 0,
            ends: Moment::ZERO,
            untold: 0,
            wanted: 0,
            largest: 0,
            asked: Moment::ZERO,
            left: rule.max,
            back: Moment::ZERO,
            telling: false,
            answered: Moment::ZERO,
            alone: 0,
        }
    }

    /// Takes `amount` from the slice, or from the fair share where there is no slice.
    pub(super) fn take(
        &mut self,
        bucket: &mut Bucket,
        (rule, gateways): (&Rule, u32),
        amount: u64,
        now: Now,
    ) -> Result<(u64, Mark), Duration> {
        let amount = amount.min(rule.max);
        self.rule = *rule;
        self.asked = now.moment;
        self.wanted = self.wanted.saturating_add(amount);
        self.largest = self.largest.max(amount);
        let taken = if self.ends <= now.moment {
            bucket.take(&fair(rule, gateways), amount, now)?
        } else if rule.max > 0 && amount <= self.balance {
            self.balance -= amount;
            (amount, bucket.add(rule, amount, now))
        } else if matches!(rule.window, Window::Calendar(_)) {
            // A quota that is not gone is not told to be: of what is left the fair share may be used.
            let left = self.left.saturating_sub(u64::try_from(self.untold).unwrap_or(0));
            let share = fair(&Rule { max: left, ..*rule }, gateways).max;
            if rule.max == 0 || amount > share {
                return Err(bucket.standing(rule, now).reset);
            }
            (amount, bucket.add(rule, amount, now))
        } else {
            return Err(now.moment.until(self.back).max(SOON));
        };
        self.untold = self.untold.saturating_add(signed(taken.0));
        Ok(taken)
    }

    /// What was asked of the server: it has counted what it gave. Without an answer this gateway decides alone.
    fn take_strictly(
        &mut self,
        bucket: &mut Bucket,
        (rule, gateways): (&Rule, u32),
        amount: u64,
        (verdict, now): (Option<Verdict>, Now),
    ) -> Result<(u64, Mark), Duration> {
        let amount = amount.min(rule.max);
        (self.rule, self.asked) = (*rule, now.moment);
        if let Some(Verdict { given, left, back }) = verdict {
            self.hear(left, gateways, now.moment);
            return if given {
                Ok((amount, bucket.add(rule, amount, now)))
            } else if matches!(rule.window, Window::Calendar(_)) {
                Err(bucket.standing(rule, now).reset)
            } else {
                Err(back.max(Duration::from_millis(1)))
            };
        }
        let taken = if !self.is_answered(now) {
            bucket.take(&fair(rule, gateways), amount, now)?
        } else if rule.max > 0 && amount <= self.alone {
            self.alone -= amount;
            (amount, bucket.add(rule, amount, now))
        } else {
            return Err(SOON);
        };
        self.untold = self.untold.saturating_add(signed(taken.0));
        Ok(taken)
    }

    /// So much is left of the whole.
    fn hear(&mut self, left: u64, gateways: u32, now: Moment) {
        (self.left, self.answered, self.alone) = (left, now, left / u64::from(gateways.max(1)));
    }

    fn is_answered(&self, now: Now) -> bool {
        self.answered > Moment::ZERO && now.moment.since(self.answered) < RECENT
    }

    /// The server has counted something that this gateway has not used, or told as its own.
    fn untell(&mut self, amount: u64) {
        self.untold = self.untold.saturating_sub(signed(amount));
    }

    /// Something was used that nobody had reserved.
    pub(super) fn add(&mut self, amount: u64) {
        self.balance = self.balance.saturating_sub(amount);
        self.untold = self.untold.saturating_add(signed(amount));
    }

    /// Something was given back that still counted.
    pub(super) fn take_back(&mut self, amount: u64) {
        self.balance = self.balance.saturating_add(amount);
        self.untold = self.untold.saturating_sub(signed(amount));
    }

    /// The whole, as far as it is known here.
    pub(super) fn standing(&self, own: Standing, now: Now) -> Standing {
        if self.ends <= now.moment && !(self.rule.strict && self.is_answered(now)) {
            return own;
        }
        let since = u64::try_from(self.untold).unwrap_or(0);
        Standing { remaining: self.left.saturating_sub(since), ..own }
    }

    fn is_idle(&self, now: Now) -> bool {
        now.moment.since(self.asked) > WARM
    }

    fn report(&mut self, key: Key, bucket: Option<&mut Bucket>, now: Now) -> Option<Report> {
        let ending = now.moment.until(self.ends) < WARM / 20;
        let quiet = self.untold == 0 && (self.rule.strict || (self.wanted == 0 && !ending));
        if self.telling || quiet {
            return None;
        }
        // Nothing is leased of a strict limit.
        let idle = self.rule.strict || self.is_idle(now);
        let report = Report {
            key,
            rule: self.rule,
            spent: self.untold,
            mine: bucket.map_or(0, |bucket| bucket.used(&self.rule, now)),
            wanted: if idle { 0 } else { self.wanted.saturating_mul(2).max(self.largest) },
            largest: if idle { 0 } else { self.largest },
        };
        (self.untold, self.wanted, self.telling) = (0, 0, true);
        Some(report)
    }
}

impl Limits {
    /// So many gateways share every limit from now on; none: this gateway has them to itself.
    pub fn share(&self, gateways: u32) {
        self.gateways.store(gateways, Ordering::Relaxed);
    }

    /// Whether a lease is missing or too small since this was last asked.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.lacking.swap(false, Ordering::Relaxed)
    }

    /// What the leases have to tell.
    #[must_use]
    pub fn reports(&self, now: Now) -> Vec<Report> {
        let mut reports = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            let Shard { buckets, leases, .. } = &mut *shard;
            leases.retain(|_, lease| lease.telling || lease.untold != 0 || lease.balance != 0 || !lease.is_idle(now));
            reports.extend(leases.iter_mut().filter_map(|(key, lease)| lease.report(*key, buckets.get_mut(key), now)));
        }
        reports
    }

    /// A report was answered.
    pub fn granted(&self, report: &Report, grant: Grant, asked: Moment) {
        self.with_lease(report.key, |lease| {
            lease.telling = false;
            // What was spent while the answer was on its way is told next time.
            lease.balance = grant.balance.saturating_sub(u64::try_from(lease.untold).unwrap_or(0));
            lease.left = grant.left;
            if report.rule.strict {
                lease.hear(grant.left, self.gateways.load(Ordering::Relaxed), asked);
            }
            lease.ends = if report.largest == 0 { Moment::ZERO } else { asked.after(grant.good) };
            lease.back = asked.after(grant.back);
            // Of one large request long ago a smaller and smaller part is kept ready.
            lease.largest -= lease.largest / LARGEST_DECAY;
        });
    }

    /// A report was not answered: it is told again.
    pub fn untold(&self, report: &Report) {
        self.with_lease(report.key, |lease| {
            lease.telling = false;
            lease.untold = lease.untold.saturating_add(report.spent);
        });
    }

    /// The server has counted this for nobody: its answer came too late.
    pub fn too_late(&self, question: &Question) {
        self.with_lease(question.key, |lease| lease.untell(question.amount));
    }

    fn with_lease(&self, key: Key, act: impl FnOnce(&mut Lease)) {
        if let Some(shard) = self.shard(key) {
            shard.lock().leases.get_mut(&key).map(act);
        }
    }
}

/// Whether a ceiling is shared: what has not ended is every gateway's own.
pub(super) const fn is_shared(rule: &Rule) -> bool {
    !matches!(rule.window, Window::Held)
}

/// A gateway's fair share of a ceiling.
pub(super) fn fair(rule: &Rule, gateways: u32) -> Rule {
    let share = rule.max / u64::from(gateways.max(1));
    Rule { max: if rule.max == 0 { 0 } else { share.max(1) }, ..*rule }
}

/// A bucket as a request sees it: with the lease of this gateway, where it is shared.
pub(super) struct Account<'a> {
    pub(super) bucket: &'a mut Bucket,
    pub(super) lease: Option<&'a mut Lease>,
    /// How many gateways share it; none: it is this gateway's own.
    pub(super) gateways: u32,
}

impl Account<'_> {
    /// As [`Bucket::take`].
    pub(super) fn take(
        &mut self,
        rule: &Rule,
        amount: u64,
        verdict: Option<Verdict>,
        now: Now,
    ) -> Result<(u64, Mark), Duration> {
        let own = self.own(rule);
        match &mut self.lease {
            Some(lease) if rule.strict => {
                lease.take_strictly(self.bucket, (rule, self.gateways), amount, (verdict, now))
            }
            Some(lease) => lease.take(self.bucket, (rule, self.gateways), amount, now),
            None => self.bucket.take(&own, amount, now),
        }
    }

    /// As [`Bucket::add`].
    pub(super) fn add(&mut self, rule: &Rule, amount: u64, now: Now) {
        self.bucket.add(rule, amount, now);
        if let Some(lease) = &mut self.lease {
            lease.add(amount);
        }
    }

    /// As [`Bucket::take_back`].
    pub(super) fn take_back(&mut self, amount: u64, mark: Mark) {
        let back = self.bucket.take_back(amount, mark);
        if let Some(lease) = &mut self.lease {
            lease.take_back(back);
        }
    }

    /// As [`Bucket::standing`], of the whole where it is shared.
    pub(super) fn standing(&mut self, rule: &Rule, now: Now) -> Standing {
        let own = self.bucket.standing(&self.own(rule), now);
        let own = Standing { max: rule.max, ..own };
        self.lease.as_ref().map_or(own, |lease| lease.standing(own, now))
    }

    /// What was counted here and told; nothing where it is shared with nobody.
    pub(super) fn told(&mut self, rule: &Rule, now: Now) -> Option<u64> {
        let used = self.bucket.used(rule, now);
        let lease = self.lease.as_deref_mut()?;
        lease.asked = now.moment;
        Some(used.saturating_sub(u64::try_from(lease.untold).unwrap_or(0)))
    }

    /// Another slice is wanted, and there may be one.
    pub(super) fn is_lacking(&self, now: Now) -> bool {
        let short = |lease: &Lease| lease.ends <= now.moment || (lease.balance < lease.largest && lease.left > 0);
        let lacks = |lease: &Lease| !lease.rule.strict && short(lease);
        self.lease.as_deref().is_some_and(lacks)
    }

    fn own(&self, rule: &Rule) -> Rule {
        if self.gateways == 0 || !is_shared(rule) { *rule } else { fair(rule, self.gateways) }
    }
}

/// The lease of a bucket, made where there is room for it.
pub(super) fn of<'l>(leases: &'l mut HashMap<Key, Lease>, key: Key, rule: &Rule) -> Option<&'l mut Lease> {
    if leases.len() >= LEASES_MAX && !leases.contains_key(&key) {
        return None;
    }
    Some(leases.entry(key).or_insert_with(|| Lease::new(rule)))
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
