//! [`Engine`]: every rule compiled once: one automaton over all words, and the patterns that its hits call for.
//!
//! A value without a word of any rule costs one pass over its bytes. It never knows of modes, scores or exclusions.

use super::rule::{Rule, TARGETS, Targets, Test};
use super::rules;
use super::text::Text;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A set of rules, by their places in the table.
pub(super) type Rules = u64;

/// Every rule, compiled.
pub(super) struct Engine {
    pub(super) entries: Vec<Entry>,
    words: AhoCorasick,
    /// Rules that each word of the automaton calls.
    called: Vec<Rules>,
    /// Rules that read each target.
    readers: [Rules; TARGETS],
    /// Rules that a function checks or detects.
    checked: Rules,
    detected: Rules,
}

/// One rule with its compiled pattern.
pub(super) struct Entry {
    pub(super) rule: &'static Rule,
    /// Its id, shared with findings.
    pub(super) id: Arc<str>,
    pattern: Option<Regex>,
}

/// Where a rule matched: which form of the value, and where in it.
pub(super) struct Hit<'t> {
    pub(super) index: usize,
    pub(super) form: &'t [u8],
    pub(super) range: Range<usize>,
}

/// The set of one rule.
pub(super) const fn only(index: usize) -> Rules {
    if index < Rules::BITS as usize { 1 << index } else { 0 }
}

/// The places of the rules of a set.
pub(super) fn places(mut rules: Rules) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (rules != 0).then(|| rules.trailing_zeros() as usize)?;
        rules &= rules - 1;
        Some(place)
    })
}

impl Engine {
    /// Compiles the table. `None` where a pattern or the automaton does not compile: a test keeps that from happening.
    pub(super) fn new() -> Option<Self> {
        let mut entries = Vec::new();
        let mut words: BTreeMap<&'static str, Rules> = BTreeMap::new();
        let (mut readers, mut checked, mut detected) = ([0; TARGETS], 0, 0);
        for (index, rule) in rules::all().enumerate() {
            let pattern = match rule.test {
                Test::Pattern(_, pattern) => Some(RegexBuilder::new(pattern).unicode(false).build().ok()?),
                _ => None,
            };
            match rule.test {
                Test::Words(list) | Test::Pattern(list, _) => {
                    list.iter().for_each(|word| *words.entry(word).or_default() |= only(index));
                }
                Test::Check(_) => checked |= only(index),
                Test::Detect(_) => detected |= only(index),
                Test::Elsewhere => {}
            }
            for (reader, target) in readers.iter_mut().zip(Targets::each()) {
                if rule.targets.meets(target) {
                    *reader |= only(index);
                }
            }
            entries.push(Entry { rule, id: Arc::from(rule.id), pattern });
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(words.keys())
            .ok()?;
        Some(Self { entries, words: automaton, called: words.into_values().collect(), readers, checked, detected })
    }

    /// Rules that read `target`.
    pub(super) fn readers(&self, target: Targets) -> Rules {
        self.readers.get(target.index()).copied().unwrap_or(0)
    }

    /// Calls `hit` for each of the `wanted` rules that `text` breaks, once per rule.
    pub(super) fn run<'t>(&self, text: &'t Text<'_>, mut wanted: Rules, mut hit: impl FnMut(Hit<'t>)) {
        for form in text.forms() {
            for index in places(self.candidates(form) & wanted) {
                if let Some(range) = self.entries.get(index).and_then(|entry| self.find(entry, index, form)) {
                    wanted &= !only(index);
                    hit(Hit { index, form, range });
                }
            }
            for index in places(self.detected & wanted) {
                if let Some(Test::Detect(detect)) = self.entries.get(index).map(|entry| &entry.rule.test)
                    && detect(form)
                {
                    wanted &= !only(index);
                    hit(Hit { index, form, range: 0..form.len() });
                }
            }
        }
        if self.checked & wanted != 0 && !text.is_plain() {
            for index in places(self.checked & wanted) {
                if let Some(Test::Check(check)) = self.entries.get(index).map(|entry| &entry.rule.test)
                    && check(text)
                {
                    hit(Hit { index, form: text.raw, range: 0..text.raw.len() });
                }
            }
        }
    }

    /// Rules of which a word stands in `form`.
    fn candidates(&self, form: &[u8]) -> Rules {
        let called = |hit: aho_corasick::Match| self.called.get(hit.pattern().as_usize()).copied().unwrap_or(0);
        self.words.find_overlapping_iter(Input::new(form)).map(called).fold(0, |all, rules| all | rules)
    }

    fn find(&self, entry: &Entry, index: usize, form: &[u8]) -> Option<Range<usize>> {
        if let Some(pattern) = &entry.pattern {
            return pattern.find(form).map(|found| found.range());
        }
        let mut hits = self.words.find_overlapping_iter(Input::new(form));
        let own = |hit: &aho_corasick::Match| {
            self.called.get(hit.pattern().as_usize()).is_some_and(|rules| rules & only(index) != 0)
        };
        hits.find(own).map(|hit| hit.range())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_table_compiles_and_fits() {
        let engine = Engine::new().unwrap();
        assert!(engine.entries.len() <= Rules::BITS as usize);
        assert_eq!(places(0b1010_0001).collect::<Vec<_>>(), [0, 5, 7]);
    }
}
