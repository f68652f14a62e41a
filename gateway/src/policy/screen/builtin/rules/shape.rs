//! TG-20xx: the shape of a request body. `screen::body` finds them; here they have their ids and scores.

use super::super::rule::{Group, Rule, Targets, Test};
use crate::policy::screen::finding::Severity;

const fn rule(id: &'static str, severity: Severity, finds: &'static str) -> Rule {
    Rule { id, group: Group::Body, severity, finds, targets: Targets::NONE, test: Test::Elsewhere }
}

pub(super) const RULES: &[Rule] = &[
    rule("TG-2001", Severity::Critical, "a media type that is not allowed"),
    rule("TG-2002", Severity::Critical, "text that is not UTF-8"),
    rule("TG-2003", Severity::Critical, "text that is not JSON"),
    rule("TG-2004", Severity::Critical, "deeper nesting than allowed"),
    rule("TG-2005", Severity::Critical, "more keys than allowed"),
    rule("TG-2006", Severity::Critical, "a key that is there twice"),
    rule("TG-2007", Severity::Critical, "a field of the wrong type"),
    rule("TG-2008", Severity::Critical, "a field out of range"),
    rule("TG-2009", Severity::Notice, "a top-level field that is not known"),
];
