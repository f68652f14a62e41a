//! [`Consumed`]: what one request has cost its consumer in tokens, as far as its answer tells. It never estimates a prompt.

use super::Usage;

/// Tokens of one request, as they are to be settled. Only the one answer that was relayed counts, never an attempt that failed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// What the backend told, where it told something that can be believed.
    pub usage: Option<Usage>,
    /// Completion tokens counted from what was relayed; zero where the backend told its own number.
    pub produced: u64,
    /// A backend has worked for this request: its success was relayed, at least in part, or the client left while it worked. Where
    /// it is false (a denial, a fault, an error of a backend), nothing is charged.
    pub relayed: bool,
}

impl Consumed {
    /// The tokens to charge: what the backend told; else the prompt as it was estimated and what was produced; nothing where no
    /// backend has worked.
    #[must_use]
    pub fn charged(self, prompt_estimate: u64) -> Usage {
        match self.usage {
            Some(usage) => usage,
            None if self.relayed => Usage { prompt: prompt_estimate, completion: self.produced, ..Usage::default() },
            None => Usage::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_wins_and_nothing_relayed_costs_nothing() {
        let told = Usage { prompt: 5, completion: 7, cached: 2, reasoning: 1 };
        let counted = Usage { prompt: 40, completion: 9, ..Usage::default() };
        for (usage, produced, relayed, want) in [
            (Some(told), 0, true, told),
            (Some(told), 99, true, told),
            (None, 9, true, counted),
            (None, 9, false, Usage::default()),
        ] {
            assert_eq!(Consumed { usage, produced, relayed }.charged(40), want);
        }
    }
}
