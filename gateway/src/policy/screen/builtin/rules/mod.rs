//! Every rule of the built-in protection, by number. Ids are stable: a rule that goes leaves its number empty.

mod encoding;
mod files;
mod injection;
mod remote;
mod scanner;
mod shape;

use super::rule::Rule;

/// Every rule, in the order of their ids.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    encoding::RULES
        .iter()
        .chain(files::RULES)
        .chain(scanner::RULES)
        .chain(injection::RULES)
        .chain(remote::RULES)
        .chain(shape::RULES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_and_are_well_formed() {
        let ids: Vec<&str> = all().map(|rule| rule.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for rule in all() {
            let number = rule.id.strip_prefix("TG-").unwrap_or_default();
            assert!(number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()), "{}", rule.id);
            assert!(!rule.finds.is_empty() && !rule.finds.ends_with('.'), "{}", rule.id);
        }
    }
}
