//! The rules engine: which rules a request meets, and what they do to it, to its answer, and to its way.
//!
//! * [`condition`]: what a rule asks of a request
//! * [`action`]: headers, redirect, rewrite
//!
//! Rules run in their order; conditions of a rule are joined by AND. Every condition judges the request as the client sent
//! it, whatever the rules before have changed. It never touches a request: it says which rules apply.

pub mod action;
pub mod condition;

use crate::domain::RuleName;
use crate::policy::route::HostMatch;
use action::{HeaderChange, Redirect, Rewrite};
use condition::{Condition, Request};

/// All rules, ready to run.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// In their order.
    pub list: Vec<Rule>,
    /// Hosts that the configuration names: a redirect that takes the request's own host leads to none but these.
    pub hosts: Vec<HostMatch>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in logs and metrics.
    pub name: RuleName,
    /// What it asks, all of it; nothing: every request.
    pub conditions: Vec<Condition>,
    /// What it does.
    pub actions: Actions,
    /// No rule after it is looked at.
    pub stop: bool,
}

/// What a rule does.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    /// To the headers that a backend gets.
    pub request: Vec<HeaderChange>,
    /// To the headers that the client gets.
    pub response: Vec<HeaderChange>,
    /// The request ends here, and goes on elsewhere.
    pub redirect: Option<Redirect>,
    /// Another path.
    pub rewrite: Option<Rewrite>,
    /// Another pool than the route's, by its index.
    pub pool: Option<usize>,
}

/// The rules that a request meets, by their index, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched(Vec<usize>);

impl Rules {
    /// Whether a rule asks for the size of the body.
    #[must_use]
    pub fn needs_body_size(&self) -> bool {
        self.conditions().any(Condition::needs_body_size)
    }

    /// Whether a rule asks where an address is registered.
    #[must_use]
    pub fn needs_place(&self) -> bool {
        self.conditions().any(Condition::needs_place)
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.list.iter().flat_map(|rule| &rule.conditions)
    }

    /// The rules that `request` meets, until one that stops.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Matched {
        let mut matched = Vec::new();
        for (index, rule) in self.list.iter().enumerate() {
            if rule.conditions.iter().all(|condition| condition.holds(request)) {
                matched.push(index);
                if rule.stop || rule.actions.redirect.is_some() {
                    break;
                }
            }
        }
        Matched(matched)
    }
}

impl Matched {
    /// Indexes of the rules, in order.
    pub fn indexes(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// The rules, in order.
    pub fn of<'r>(&self, rules: &'r Rules) -> impl Iterator<Item = &'r Rule> {
        self.0.iter().filter_map(|index| rules.list.get(*index))
    }

    /// The redirect that ends the request.
    #[must_use]
    pub fn redirect<'r>(&self, rules: &'r Rules) -> Option<&'r Redirect> {
        rules.list.get(*self.0.last()?)?.actions.redirect.as_ref()
    }

    /// The path that the last rewrite which fits makes of `path`.
    #[must_use]
    pub fn rewrite(&self, rules: &Rules, path: &str) -> Option<String> {
        self.of(rules).filter_map(|rule| rule.actions.rewrite.as_ref()?.apply(path)).last()
    }

    /// The pool that the last rule with one names.
    #[must_use]
    pub fn pool(&self, rules: &Rules) -> Option<usize> {
        self.of(rules).filter_map(|rule| rule.actions.pool).last()
    }
}

#[cfg(test)]
mod tests;
