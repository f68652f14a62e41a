//! [`Reserved`]: what one request has taken from its buckets. All or nothing; given back when it is dropped, unless it was
//! settled.

use super::key::ChainKey;
use super::strict::{Question, Verdict};
use super::{Limits, Place};
use crate::policy::limit::bucket::{Mark, Standing};
use crate::policy::limit::{Measure, Now, Rule};
use std::sync::Arc;
use std::time::Duration;

/// What is to be taken from one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// Index of the limit.
    pub limit: usize,
    /// Whose bucket.
    pub chain: ChainKey,
    /// Which ceiling.
    pub rule: &'a Rule,
    /// How much.
    pub amount: u64,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index of the limit that refuses for the longest time.
    pub limit: usize,
    /// What it has too little of.
    pub measure: Measure,
    /// When all limits would give what was asked for.
    pub wait: Duration,
}

/// How the tightest limits stand, for the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Of those that count requests.
    pub requests: Option<Standing>,
    /// Of those that count tokens.
    pub tokens: Option<Standing>,
}

/// What a request has taken.
#[derive(Debug)]
pub struct Reserved {
    limits: Arc<Limits>,
    held: Vec<Held>,
    told: Told,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    limit: usize,
    chain: ChainKey,
    place: Place,
    rule: Rule,
    amount: u64,
    mark: Mark,
    /// What was left then, where clients are told.
    remaining: Option<u64>,
}

impl Reserved {
    /// Nothing so far.
    #[must_use]
    pub const fn new(limits: Arc<Limits>) -> Self {
        Self { limits, held: Vec::new(), told: Told { requests: None, tokens: None } }
    }

    /// What the strict limits among `charges` have to be asked.
    #[must_use]
    pub fn questions<'a>(&self, charges: impl Iterator<Item = Charge<'a>>, now: Now) -> Vec<Question> {
        let strict = charges.filter(|charge| charge.rule.strict && charge.rule.max > 0);
        let ask = |Charge { limit, chain, rule, amount }| {
            let mine = self.limits.with(chain, rule, now, |account| account.told(rule, now)).0?;
            Some(Question { limit, rule: *rule, amount: amount.min(rule.max), mine, key: chain.key(rule) })
        };
        strict.filter_map(ask).collect()
    }

    /// Takes everything that `charges` ask for; or nothing, and gives back what was taken before. What strict limits said
    /// is in `answers`.
    ///
    /// # Errors
    /// The limit that refuses, and when all would give.
    pub fn take<'a>(
        &mut self,
        charges: impl Iterator<Item = Charge<'a>> + Clone,
        answers: &[(Question, Verdict)],
        now: Now,
    ) -> Result<(), Refused> {
        let mut refused: Option<Refused> = None;
        for Charge { limit, chain, rule, amount } in charges.clone() {
            let verdict = if rule.strict { verdict(answers, chain, rule) } else { None };
            let (taken, place) = self.limits.with(chain, rule, now, |bucket| {
                let taken = bucket.take(rule, amount, verdict, now);
                (taken, rule.measure.is_told().then(|| bucket.standing(rule, now)))
            });
            match taken {
                (Ok((amount, mark)), standing) => {
                    let remaining = standing.map(|standing| standing.remaining);
                    self.held.push(Held { limit, chain, place, rule: *rule, amount, mark, remaining });
                    self.told.add(rule.measure, standing);
                }
                (Err(wait), _) => {
                    let this = Refused { limit, measure: rule.measure, wait };
                    refused = Some(refused.map_or(this, |other| other.or(this)));
                }
            }
        }
        let Some(refused) = refused else { return Ok(()) };
        self.release();
        self.told = Told::default();
        for Charge { chain, rule, .. } in charges.filter(|charge| charge.rule.measure.is_told()) {
            let (standing, _) = self.limits.with(chain, rule, now, |bucket| bucket.standing(rule, now));
            self.told.add(rule.measure, Some(standing));
        }
        Err(refused)
    }

    /// The request has ended and has used something: `tokens` tells how much, by the index of the limit.
    pub fn settle(&mut self, tokens: impl Fn(usize) -> u64, now: Now) {
        for held in self.held.drain(..) {
            match held.rule.measure {
                Measure::Concurrent | Measure::Streams => {
                    self.limits.at(held.place, &held.rule, |bucket| bucket.take_back(held.amount, held.mark));
                }
                Measure::Requests | Measure::RequestQuota => {}
                Measure::Tokens | Measure::TokenQuota => {
                    let used = tokens(held.limit);
                    if used <= held.amount {
                        self.limits
                            .at(held.place, &held.rule, |bucket| bucket.take_back(held.amount - used, held.mark));
                    } else {
                        let more = used - held.amount;
                        self.limits.with(held.chain, &held.rule, now, |bucket| bucket.add(&held.rule, more, now));
                    }
                }
            }
        }
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        for held in self.held.drain(..).rev() {
            self.limits.at(held.place, &held.rule, |bucket| bucket.take_back(held.amount, held.mark));
        }
    }

    /// How the tightest limits stood when this was taken or refused.
    #[must_use]
    pub const fn told(&self) -> Told {
        self.told
    }

    /// What was left of each limit that gave something and tells, by its index, when that was taken.
    pub fn remaining(&self) -> impl Iterator<Item = (usize, Measure, u64)> {
        self.held.iter().filter_map(|held| Some((held.limit, held.rule.measure, held.remaining?)))
    }

    /// Indices of the limits that gave something.
    pub fn limits(&self) -> impl Iterator<Item = usize> {
        self.held.iter().map(|held| held.limit)
    }
}

fn verdict(answers: &[(Question, Verdict)], chain: ChainKey, rule: &Rule) -> Option<Verdict> {
    let key = chain.key(rule);
    answers.iter().find(|(question, _)| question.key == key).map(|(_, verdict)| *verdict)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.release();
    }
}

impl Refused {
    /// Of two refusals: a quota that is gone outlasts every rate, then the longer wait.
    fn or(self, other: Self) -> Self {
        let rank = |one: &Self| (one.measure.is_quota(), one.wait);
        let wait = self.wait.max(other.wait);
        let worse = if rank(&other) > rank(&self) { other } else { self };
        Self { wait, ..worse }
    }
}

impl Told {
    /// The one with less left is told.
    fn add(&mut self, measure: Measure, standing: Option<Standing>) {
        let Some(standing) = standing else { return };
        let told = if measure.is_tokens() { &mut self.tokens } else { &mut self.requests };
        if told.is_none_or(|other| standing.remaining < other.remaining) {
            *told = Some(standing);
        }
    }
}
