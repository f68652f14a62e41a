//! The screen: what a web application firewall decides about a request, pure.
//!
//! * [`view`]: what rules can see of a request
//! * [`transform`] and [`matching`]: operators, values, transforms, negation; used by every kind of rule
//! * [`finding`]: what rules found, its score, and the ruling it leads to
//! * [`custom`]: Front Door's custom rules
//! * [`ruleset`]: a policy: the order of a screening, other sources of rules, rate limits
//! * [`builtin`]: the rules that need no files; [`body`]: the shape of an inference request; [`protection`]: both
//! * [`exclusion`]: values that rules of a source leave alone
//! * [`redact`]: what of a request may stand in a log line

pub mod body;
pub mod builtin;
#[cfg(test)]
mod corpus;
pub mod custom;
pub mod exclusion;
pub mod finding;
pub mod matching;
pub mod protection;
pub mod redact;
pub mod ruleset;
pub mod transform;
pub mod view;
