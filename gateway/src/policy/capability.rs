//! [`Capability`]: whether a backend can do what a request needs. What nobody has said about a backend it can.

use crate::domain::{Abilities, Ability};

/// What is said about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capability {
    /// What it cannot do.
    pub lacks: Abilities,
    /// Most tokens of prompt and answer together.
    pub context_tokens: Option<u64>,
    /// Provisioned throughput: its context may be shorter than that of the same model elsewhere.
    pub provisioned: bool,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Beyond text.
    pub abilities: Abilities,
    /// Tokens of prompt and answer together; zero where nobody has counted.
    pub tokens: u64,
}

/// What a backend cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// This.
    Ability(Ability),
    /// Hold more than so many tokens.
    Context {
        /// The most.
        max: u64,
    },
}

impl Capability {
    /// Nothing is said that could keep a request away.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.lacks.is_empty() && self.context_tokens.is_none()
    }

    /// The first thing that the backend cannot do of what a request needs.
    #[must_use]
    pub fn shortfall(&self, need: &Need) -> Option<Shortfall> {
        let lacking = self.lacks.and(need.abilities).iter().next().map(Shortfall::Ability);
        lacking.or_else(|| self.context_tokens.filter(|max| need.tokens > *max).map(|max| Shortfall::Context { max }))
    }

    /// Whether a prompt that is too long for `other` may fit here: a larger context is stated, or `other` is provisioned and
    /// this is not, with nothing stated to the contrary.
    #[must_use]
    pub fn is_roomier_than(&self, other: &Self) -> bool {
        match (self.context_tokens, other.context_tokens) {
            (Some(own), Some(others)) => own > others,
            _ => other.provisioned && !self.provisioned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(context_tokens: Option<u64>, provisioned: bool) -> Capability {
        Capability { lacks: Abilities::NONE, context_tokens, provisioned }
    }

    #[test]
    fn only_what_is_stated_keeps_a_request_away() {
        let images = Abilities::NONE.with(Ability::Vision);
        let blind = Capability { lacks: images, ..of(Some(100), false) };
        let need = |abilities, tokens| Need { abilities, tokens };
        for (need, want) in [
            (need(images, 0), Some(Shortfall::Ability(Ability::Vision))),
            (need(images, 101), Some(Shortfall::Ability(Ability::Vision))),
            (need(Abilities::NONE.with(Ability::Tools), 100), None),
            (need(Abilities::NONE, 101), Some(Shortfall::Context { max: 100 })),
            (need(Abilities::NONE, 100), None),
        ] {
            assert_eq!(blind.shortfall(&need), want, "{need:?}");
            assert_eq!(Capability::default().shortfall(&need), None, "{need:?}");
        }
        assert!(Capability::default().is_open() && of(None, true).is_open() && !blind.is_open());
    }

    #[test]
    fn a_long_prompt_goes_where_there_is_more_room() {
        for (here, there, want) in [
            (of(Some(1000), false), of(Some(128), true), true),
            (of(Some(128), false), of(Some(128), true), false),
            (of(None, false), of(Some(128), true), true),
            (of(None, false), of(None, true), true),
            (of(None, true), of(Some(128), true), false),
            (of(None, false), of(Some(128), false), false),
            (of(Some(1000), false), of(None, false), false),
        ] {
            assert_eq!(here.is_roomier_than(&there), want, "{here:?} {there:?}");
        }
    }
}
