//! How much may be used: the parameters of a limit, and the arithmetic of its buckets.
//!
//! A [`Bucket`](bucket::Bucket) counts one [`Measure`] of one limit for one chain of values (a consumer, an address, …).
//! Nothing here reads a clock, remembers a bucket or knows who is asking.

pub mod bucket;
pub mod calendar;
pub mod sliding;

#[cfg(test)]
mod tests;

use crate::domain::{LimitName, Moment, Usage};
use calendar::Period;
use http::HeaderName;
use std::time::Duration;

/// More tokens than any answer has: a backend that tells more is not believed.
pub const TOKENS_BELIEVED_MAX: u64 = 100_000_000;
/// Weights are counted in thousandths.
pub const WEIGHT_UNIT: u64 = 1000;

/// What time it is, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The process's clock, which only runs forward: sliding windows.
    pub moment: Moment,
    /// Seconds of Unix time: calendar windows.
    pub unix: u64,
}

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Requests in a sliding window.
    Requests,
    /// Tokens in a sliding window.
    Tokens,
    /// Requests in a calendar window.
    RequestQuota,
    /// Tokens in a calendar window.
    TokenQuota,
    /// Requests that have not ended.
    Concurrent,
    /// Streams that have not ended.
    Streams,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Requests, Self::Tokens, Self::RequestQuota, Self::TokenQuota, Self::Concurrent, Self::Streams];

    /// Label in metrics and pages.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::RequestQuota => "request_quota",
            Self::TokenQuota => "token_quota",
            Self::Concurrent => "concurrent_requests",
            Self::Streams => "concurrent_streams",
        }
    }

    /// It is counted over a period of the calendar.
    #[must_use]
    pub const fn is_quota(self) -> bool {
        matches!(self, Self::RequestQuota | Self::TokenQuota)
    }

    /// Clients are told how it stands.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Concurrent | Self::Streams)
    }

    /// It is counted in tokens.
    #[must_use]
    pub const fn is_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::TokenQuota)
    }
}

/// Over which time a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The last so-and-so long.
    Sliding(Duration),
    /// The hour, day, week or month of the calendar, in UTC.
    Calendar(Period),
    /// What has not ended yet.
    Held,
}

/// One ceiling of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is counted.
    pub measure: Measure,
    /// Over which time.
    pub window: Window,
    /// How much of it.
    pub max: u64,
    /// Where it is shared, every admission is asked of the server.
    pub strict: bool,
}

/// A part of the chain that tells one bucket from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The consumer.
    Consumer,
    /// The consumer's plan.
    Plan,
    /// The route.
    Route,
    /// The deployment, as the client names it, or as the backends do where it may make up the name; in lower case.
    Deployment,
    /// The client's address; of IPv6 the first 64 bits.
    Address,
    /// A claim of the client's token.
    Claim(Box<str>),
}

impl Part {
    /// It is known before the request is routed.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        !matches!(self, Self::Route | Self::Deployment)
    }
}

/// Ceilings of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Most output tokens that it may ask for.
    pub max_tokens: Option<u64>,
    /// Most answers that it may ask for.
    pub n: Option<u64>,
    /// Most tokens of its prompt.
    pub prompt_tokens: Option<u64>,
}

/// What a token of each kind counts, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Of the prompt, not from the cache.
    pub input: u64,
    /// Of the answer, not for reasoning.
    pub output: u64,
    /// Of the prompt, from the cache.
    pub cached: u64,
    /// Of the answer, for reasoning.
    pub reasoning: u64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { input: WEIGHT_UNIT, output: WEIGHT_UNIT, cached: WEIGHT_UNIT, reasoning: WEIGHT_UNIT }
    }
}

impl Weights {
    /// What an answer counts, rounded up.
    #[must_use]
    pub fn of_usage(&self, usage: Usage) -> u64 {
        let (cached, reasoning) = (usage.cached.min(usage.prompt), usage.reasoning.min(usage.completion));
        sum([
            (usage.prompt - cached, self.input),
            (cached, self.cached),
            (usage.completion - reasoning, self.output),
            (reasoning, self.reasoning),
        ])
    }

    /// What is reserved for a prompt and the largest answer to it: nothing is known of cache and reasoning, so that the
    /// dearer kind counts.
    #[must_use]
    pub fn of_estimate(&self, prompt: u64, output: u64) -> u64 {
        sum([(prompt, self.input.max(self.cached)), (output, self.output.max(self.reasoning))])
    }
}

fn sum<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let add = |whole: u64, (count, weight): (u64, u64)| whole.saturating_add(count.saturating_mul(weight));
    parts.into_iter().fold(0, add).div_ceil(WEIGHT_UNIT)
}

/// One usage limit, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name.
    pub name: LimitName,
    /// What tells its buckets apart; nothing: one bucket for all.
    pub by: Vec<Part>,
    /// It holds for every request, whoever asks for what.
    pub everywhere: bool,
    /// What it counts.
    pub rules: Vec<Rule>,
    /// What one request may ask for.
    pub ceilings: Ceilings,
    /// How tokens count.
    pub weights: Weights,
    /// Headers that tell what is left.
    pub remaining: Vec<(Measure, HeaderName)>,
}

impl Limit {
    /// Its chain is known before the request is routed.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.by.iter().all(Part::is_early)
    }

    /// It needs to know how many tokens a request may cost.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        self.ceilings.prompt_tokens.is_some() || self.rules.iter().any(|rule| rule.measure.is_tokens())
    }
}
