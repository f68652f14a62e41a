//! [`Builtin`]: the protection that needs no files. It judges line, path, query, cookies and headers, never a body, and
//! never the value of a credential.
//!
//! A rule scores once per request, whatever it finds it in. What a score leads to is the policy's business.

mod engine;
mod injection;
mod rule;
mod rules;
mod text;

#[cfg(test)]
mod tests;

pub use rule::{Group, Rule};

use super::exclusion::{Exclusion, Place};
use super::finding::{Deed, Finding, Findings, Mode};
use super::redact::{is_secret_name, redacted};
use super::transform::percent_decoded;
use super::view::{ARGUMENTS_MAX, COOKIES_MAX, View};
use engine::{Engine, Hit, Rules, only, places};
use http::header;
use rule::Targets;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use text::Text;

/// Longest name of an argument or a cookie in a finding, in bytes.
const NAME_LENGTH_MAX: usize = 64;
/// The rule that counts arguments and cookies.
const COUNT_RULE: &str = "TG-1010";

/// Headers whose values are never looked at: credentials, and cookies, which are judged one by one.
const UNSEEN: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "ocp-apim-subscription-key",
    "x-ms-authorization-auxiliary",
    "x-ms-token-aad-access-token",
    "cookie",
];

/// The compiled rules, made once and shared by all policies.
#[derive(Clone)]
pub struct Library(Arc<Engine>);

/// Some of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSet(Rules);

/// What a policy says of some rules; of several that concern one rule the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Which rules.
    pub rules: RuleSet,
    /// Their mode; the policy's where absent.
    pub mode: Option<Mode>,
    /// Their score; their severity's where absent.
    pub score: Option<u32>,
}

/// The built-in protection as one policy wants it.
#[derive(Clone)]
pub struct Builtin {
    engine: Arc<Engine>,
    /// By place of the rule.
    settings: Vec<Setting>,
    /// Rules that are not off.
    active: Rules,
    exclusions: Vec<Exclusion<RuleSet>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    mode: Mode,
    score: u32,
}

/// A part of a request, and how findings in it are told.
struct Part<'a> {
    target: Targets,
    /// What is excluded by name, and that name as sent.
    place: Option<(Place, &'a [u8])>,
    /// `RequestHeader`, …
    label: &'static str,
    /// Appended to the label.
    name: &'a [u8],
    value: &'a [u8],
    plus: bool,
}

impl Library {
    /// Compiles every rule. `None` never happens while the tests of the table pass.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self(Arc::new(Engine::new()?)))
    }

    /// The rules named `name`: an id such as `TG-1101`, a group such as `files`, or `all`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<RuleSet> {
        let of = |rule: &Rule| name == "all" || rule.id.eq_ignore_ascii_case(name) || rule.group.label() == name;
        let rules = self.0.entries.iter().enumerate().filter(|(_, entry)| of(entry.rule));
        let set = rules.fold(0, |set, (index, _)| set | only(index));
        (set != 0).then_some(RuleSet(set))
    }

    /// Every name that [`Library::named`] knows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        let ids = self.0.entries.iter().map(|entry| entry.rule.id);
        std::iter::once("all").chain(Group::ALL.map(Group::label)).chain(ids)
    }

    /// Every rule, in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> + '_ {
        self.0.entries.iter().map(|entry| entry.rule)
    }
}

impl RuleSet {
    /// The rules of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Builtin {
    /// The protection under a policy of `mode`.
    #[must_use]
    pub fn new(library: &Library, mode: Mode, overrides: &[Override], exclusions: Vec<Exclusion<RuleSet>>) -> Self {
        let engine = Arc::clone(&library.0);
        let setting = |(index, entry): (usize, &engine::Entry)| {
            let own = || overrides.iter().rev().filter(move |one| one.rules.0 & only(index) != 0);
            Setting {
                mode: own().find_map(|one| one.mode).unwrap_or(Mode::Prevent).under(mode),
                score: own().find_map(|one| one.score).unwrap_or(entry.rule.severity.score()),
            }
        };
        let settings: Vec<_> = engine.entries.iter().enumerate().map(setting).collect();
        let on = settings.iter().enumerate().filter(|(_, setting)| setting.mode != Mode::Off);
        let active = on.fold(0, |set, (index, _)| set | only(index));
        Self { engine, settings, active, exclusions }
    }

    /// Adds what `view` breaks to `findings`.
    pub fn judge(&self, view: &View<'_>, findings: &mut Findings) {
        let mut inspection = Inspection { builtin: self, left: self.active, findings };
        inspection.line(view);
        inspection.arguments(view);
        inspection.headers(view);
    }

    /// Adds the finding of a rule that another part of the screen keeps, in no stronger mode than `cap`. The mode it
    /// got.
    pub fn note(&self, (id, cap): (&str, Mode), variable: &str, data: String, findings: &mut Findings) -> Mode {
        let Some(index) = self.engine.entries.iter().position(|entry| &*entry.id == id) else { return Mode::Off };
        self.add((index, cap), variable, data, findings)
    }

    /// Ids of the rules that are not off.
    #[must_use]
    pub fn ids(&self) -> Vec<Arc<str>> {
        places(self.active)
            .filter_map(|index| self.engine.entries.get(index).map(|entry| Arc::clone(&entry.id)))
            .collect()
    }

    /// Whether the rule `id` leaves the top-level field `name` of a JSON body alone.
    #[must_use]
    pub fn excludes_field(&self, id: &str, name: &[u8]) -> bool {
        let covers = |one: &&Exclusion<RuleSet>| one.covers(Place::Json, name);
        self.exclusions.iter().filter(covers).any(|one| {
            places(one.rules.0).any(|index| self.engine.entries.get(index).is_some_and(|entry| &*entry.id == id))
        })
    }

    fn add(&self, (index, cap): (usize, Mode), variable: &str, data: String, findings: &mut Findings) -> Mode {
        let (Some(entry), Some(setting)) = (self.engine.entries.get(index), self.settings.get(index)) else {
            return Mode::Off;
        };
        let mode = setting.mode.under(cap);
        if mode != Mode::Off {
            findings.add(Finding {
                rule: Arc::clone(&entry.id),
                variable: Arc::from(variable),
                data,
                score: setting.score,
                deed: Deed::AnomalyScore,
                mode,
            });
        }
        mode
    }

    fn excluded(&self, place: Place, name: &[u8]) -> Rules {
        if self.exclusions.is_empty() {
            return 0;
        }
        let name = if place == Place::Header { name.into() } else { percent_decoded(name) };
        self.exclusions.iter().filter(|one| one.covers(place, &name)).fold(0, |set, one| set | one.rules.0)
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library({} rules)", self.0.entries.len())
    }
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Builtin({} of {} rules)", self.active.count_ones(), self.settings.len())
    }
}

/// One request under judgement.
struct Inspection<'i> {
    builtin: &'i Builtin,
    /// Rules that have found nothing yet.
    left: Rules,
    findings: &'i mut Findings,
}

impl Inspection<'_> {
    fn line(&mut self, view: &View<'_>) {
        let whole = |target, label, value| Part { target, place: None, label, name: b"", value, plus: false };
        self.part(&whole(Targets::METHOD, "RequestMethod", view.method.as_bytes()));
        self.part(&whole(Targets::PATH, "RequestPath", view.path()));
    }

    fn arguments(&mut self, view: &View<'_>) {
        let mut count = 0_usize;
        for (name, value) in view.arguments() {
            let names = Part {
                target: Targets::QUERY_NAME,
                place: None,
                label: "QueryArgumentName",
                name: b"",
                value: name,
                plus: true,
            };
            self.part(&names);
            let place = Some((Place::Query, name));
            let values = Part { target: Targets::QUERY_VALUE, place, label: "QueryArgument", name, value, plus: true };
            self.part(&values);
            count += 1;
        }
        self.count("QueryString", count, ARGUMENTS_MAX);
        count = 0;
        for (name, value) in view.cookies() {
            let names = Part {
                target: Targets::COOKIE_NAME,
                place: None,
                label: "CookieName",
                name: b"",
                value: name,
                plus: false,
            };
            self.part(&names);
            let place = Some((Place::Cookie, name));
            self.part(&Part { target: Targets::COOKIE_VALUE, place, label: "Cookie", name, value, plus: false });
            count += 1;
        }
        self.count("Cookies", count, COOKIES_MAX);
    }

    fn headers(&mut self, view: &View<'_>) {
        for (name, value) in view.headers() {
            let sent = name.as_str().as_bytes();
            let names = Part {
                target: Targets::HEADER_NAME,
                place: None,
                label: "RequestHeaderName",
                name: b"",
                value: sent,
                plus: false,
            };
            self.part(&names);
            if UNSEEN.contains(&name.as_str()) {
                continue;
            }
            let target = match *name {
                header::USER_AGENT => Targets::USER_AGENT,
                header::REFERER => Targets::REFERER,
                _ => Targets::HEADER_VALUE,
            };
            let place = Some((Place::Header, sent));
            self.part(&Part { target, place, label: "RequestHeader", name: sent, value, plus: false });
        }
    }

    /// As many as are looked at: there may be more.
    fn count(&mut self, variable: &str, count: usize, limit: usize) {
        let rule = self.builtin.engine.entries.iter().position(|entry| &*entry.id == COUNT_RULE);
        if let Some(index) = rule.filter(|index| count >= limit && self.left & only(*index) != 0) {
            self.left &= !only(index);
            self.builtin.add((index, Mode::Prevent), variable, count.to_string(), self.findings);
        }
    }

    fn part(&mut self, part: &Part<'_>) {
        if part.value.is_empty() {
            return;
        }
        let mut wanted = self.builtin.engine.readers(part.target) & self.left;
        if let Some((place, name)) = part.place {
            wanted &= !self.builtin.excluded(place, name);
        }
        if wanted == 0 {
            return;
        }
        let text = Text::new(part.value, part.plus);
        let (builtin, mut found) = (self.builtin, 0);
        builtin.engine.run(&text, wanted, |Hit { index, form, range }| {
            found |= only(index);
            builtin.add((index, Mode::Prevent), &part.variable(), part.data(form, range), self.findings);
        });
        self.left &= !found;
    }
}

impl Part<'_> {
    fn variable(&self) -> String {
        if self.name.is_empty() {
            return self.label.to_owned();
        }
        format!("{}:{}", self.label, redacted(self.name, 0..self.name.len(), NAME_LENGTH_MAX))
    }

    fn data(&self, form: &[u8], range: Range<usize>) -> String {
        Finding::data_of(form, range, is_secret_name(self.name))
    }
}
