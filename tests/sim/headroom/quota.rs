//! A region's quota as Azure counts it: tokens at admission in minutes of its own beat, requests over ten seconds and over
//! one, refused ones included.

use crate::region::Micros;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate::domain::{Budgets, Told};

const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;

/// One region's quota.
pub(super) struct Quota {
    tpm: u64,
    rpm: u64,
    /// Where its minutes begin.
    beat: Micros,
    minute: Micros,
    used: u64,
    /// Requests of the last ten seconds.
    recent: VecDeque<Micros>,
}

impl Quota {
    /// Six requests a minute for each thousand tokens, as Azure gives them.
    pub(super) fn new(tpm: u64, beat: Micros) -> Self {
        Self { tpm, rpm: tpm * 6 / 1000, beat, minute: 0, used: 0, recent: VecDeque::new() }
    }

    /// Admits a request of so many tokens: what the header of its answer tells, and how long to stay away where it is refused.
    pub(super) fn admit(&mut self, tokens: u64, now: Micros) -> (Budgets, Option<Duration>) {
        let minute = (now + self.beat) / MINUTE;
        if minute != self.minute {
            (self.minute, self.used) = (minute, 0);
        }
        while self.recent.front().is_some_and(|at| *at + 10 * SECOND <= now) {
            self.recent.pop_front();
        }
        let in_second = self.recent.iter().rev().take_while(|at| **at + SECOND > now).count() as u64;
        let in_ten = self.recent.len() as u64;
        let reset = MINUTE - (now + self.beat) % MINUTE;
        let wait = if in_ten >= self.rpm.div_ceil(6) || (self.rpm >= 600 && in_second >= self.rpm.div_ceil(60)) {
            Some(SECOND)
        } else if self.used + tokens > self.tpm {
            Some(reset)
        } else {
            self.used += tokens;
            None
        };
        self.recent.push_back(now);
        let whole = |micros: Micros| Duration::from_secs(micros.div_ceil(SECOND));
        let tokens = Told { limit: Some(self.tpm), remaining: Some(self.tpm - self.used), reset: Some(whole(reset)) };
        let left = self.rpm.div_ceil(6).saturating_sub(self.recent.len() as u64);
        let requests = Told { limit: Some(self.rpm), remaining: Some(left), reset: Some(Duration::from_secs(1)) };
        (Budgets { tokens, requests }, wait.map(whole))
    }
}
