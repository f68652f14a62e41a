//! How long the first token of a stream may take: a prompt is read before anything is said.

use std::time::Duration;

/// Parameters of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstToken {
    /// Without any prompt.
    pub base: Duration,
    /// More for each thousand tokens of the prompt.
    pub per_1000_tokens: Duration,
}

impl FirstToken {
    /// The time for a prompt of so many tokens, with so much left of the request's deadline.
    #[must_use]
    pub fn limit(&self, prompt: u64, left: Duration) -> Duration {
        let micros = self.per_1000_tokens.as_micros().saturating_mul(u128::from(prompt)) / 1000;
        let more = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.base.saturating_add(more).min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prompt_has_more_time_and_the_deadline_the_last_word() {
        let first = FirstToken { base: Duration::from_secs(5), per_1000_tokens: Duration::from_millis(100) };
        let left = Duration::from_secs(60);
        for (prompt, millis) in
            [(0, 5_000), (1, 5_000), (10, 5_001), (1000, 5_100), (128_000, 17_800), (u64::MAX, 60_000)]
        {
            assert_eq!(first.limit(prompt, left).as_millis(), millis, "{prompt}");
        }
        assert_eq!(first.limit(0, Duration::from_secs(2)), Duration::from_secs(2));
        let absurd = FirstToken { base: Duration::MAX, per_1000_tokens: Duration::MAX };
        assert_eq!(absurd.limit(u64::MAX, left), left);
    }
}
