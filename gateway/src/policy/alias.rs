//! [`Aliases`]: what clients may call a deployment. Exact names before patterns, the longest pattern before shorter ones. It
//! matches no route.

use crate::domain::DeploymentName;
use std::collections::BTreeMap;

/// Names for deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    exact: BTreeMap<Box<str>, DeploymentName>,
    /// Beginnings of names, the longest first.
    patterns: Vec<(Box<str>, DeploymentName)>,
}

impl Aliases {
    /// Puts aliases together. A name with `*` at its end is a pattern.
    #[must_use]
    pub fn new<'n>(aliases: impl IntoIterator<Item = (&'n str, DeploymentName)>) -> Self {
        let mut all = Self::default();
        for (name, deployment) in aliases {
            match name.strip_suffix('*') {
                Some(beginning) => all.patterns.push((beginning.into(), deployment)),
                None => drop(all.exact.insert(name.into(), deployment)),
            }
        }
        all.patterns.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        all
    }

    /// The deployment that `name` stands for; `None` where it stands for itself.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&DeploymentName> {
        let pattern = || self.patterns.iter().find(|(beginning, _)| name.starts_with(&**beginning)).map(|(_, to)| to);
        self.exact.get(name).or_else(pattern).filter(|deployment| deployment.as_str() != name)
    }

    /// The exact names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(|name| &**name)
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn exact_beats_patterns_and_the_longest_pattern_wins() {
        let to = |name: &str| DeploymentName::new(name).unwrap();
        let list = [
            ("*", "mini"),
            ("gpt-*", "four"),
            ("gpt-4o-*", "omni"),
            ("gpt-4o-mini", "mini"),
            ("fast", "mini"),
            ("mini", "mini"),
            ("four", "four"),
        ];
        for list in [list.to_vec(), list.iter().rev().copied().collect()] {
            let aliases = Aliases::new(list.into_iter().map(|(name, deployment)| (name, to(deployment))));
            for (name, want) in [
                ("gpt-4o-mini", Some("mini")),
                ("gpt-4o-mini-2024", Some("omni")),
                ("gpt-4o", Some("four")),
                ("gpt-4o-", Some("omni")),
                ("o3", Some("mini")),
                ("fast", Some("mini")),
                ("mini", None),
                ("four", None),
            ] {
                assert_eq!(aliases.resolve(name).map(DeploymentName::as_str), want, "{name}");
            }
            assert_eq!(aliases.names().collect::<Vec<_>>(), ["fast", "four", "gpt-4o-mini", "mini"]);
        }
        assert!(Aliases::default().is_empty() && Aliases::default().resolve("x").is_none());
    }
}
