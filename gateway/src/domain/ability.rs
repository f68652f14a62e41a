//! [`Ability`]: what a request may need of a model beyond text, and [`Abilities`], a set of them.

/// Something that not every deployment can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Calls tools or functions.
    Tools,
    /// Takes images.
    Vision,
    /// Takes sound, or answers with it.
    Audio,
    /// Answers by a JSON schema.
    StructuredOutputs,
    /// Ends a stream with its usage.
    StreamUsage,
}

impl Ability {
    /// Every ability.
    pub const ALL: [Self; 5] = [Self::Tools, Self::Vision, Self::Audio, Self::StructuredOutputs, Self::StreamUsage];

    /// What cannot be done without it, in words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Tools => "call tools",
            Self::Vision => "take images",
            Self::Audio => "take or make sound",
            Self::StructuredOutputs => "answer by a JSON schema",
            Self::StreamUsage => "end a stream with its usage",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Tools => 1,
            Self::Vision => 2,
            Self::Audio => 4,
            Self::StructuredOutputs => 8,
            Self::StreamUsage => 16,
        }
    }
}

/// A set of abilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(u8);

impl Abilities {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, one: Ability) -> Self {
        Self(self.0 | one.bit())
    }

    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, one: Ability) -> bool {
        self.0 & one.bit() != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Ability> {
        Ability::ALL.into_iter().filter(move |one| self.has(*one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ability_is_its_own() {
        let all = Ability::ALL.into_iter().fold(Abilities::NONE, Abilities::with);
        assert_eq!(all.iter().count(), Ability::ALL.len());
        for one in Ability::ALL {
            let alone = Abilities::NONE.with(one);
            assert_eq!((alone.iter().collect::<Vec<_>>(), all.and(alone)), (vec![one], alone));
            assert!(!alone.is_empty() && all.or(alone) == all);
        }
        assert!(Abilities::NONE.is_empty());
    }
}
