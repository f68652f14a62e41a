//! TG-10xx: encodings that two servers read differently, control characters, header injection.

use super::super::rule::{Group, Rule, Targets, Test};
use super::super::text::Text;
use crate::policy::screen::finding::Severity;

const fn rule(
    id: &'static str,
    severity: Severity,
    targets: Targets,
    finds: &'static str,
    check: fn(&Text<'_>) -> bool,
) -> Rule {
    Rule { id, group: Group::Encoding, severity, finds, targets, test: Test::Check(check) }
}

const NAMES: Targets = Targets::QUERY_NAME.and(Targets::COOKIE_NAME);
const VALUES: Targets = Targets::QUERY_VALUE.and(Targets::COOKIE_VALUE).and(Targets::HEADERS);

pub(super) const RULES: &[Rule] = &[
    rule("TG-1001", Severity::Critical, NAMES, "a line break in a name", |text| any(text, has_line_break)),
    Rule {
        id: "TG-1002",
        group: Group::Encoding,
        severity: Severity::Critical,
        finds: "a line break and a header behind it",
        targets: VALUES.and(Targets::PATH),
        test: Test::Pattern(
            &["\r", "\n"],
            r"(?i)[\r\n]\W*?(?:(?:content-(?:type|length|encoding)|set-cookie2?|location|refresh|transfer-encoding|host|x-[a-z-]+|access-control-[a-z-]+)\s*:|https?/[0-9.]+\s|<html)",
        ),
    },
    rule("TG-1003", Severity::Critical, Targets::ALL, "a zero byte", |text| any(text, |form| has(form, 0))),
    rule("TG-1004", Severity::Critical, Targets::ALL, "overlong UTF-8", |text| any(text, has_overlong)),
    rule("TG-1005", Severity::Critical, Targets::PATH, "an escape inside an escape in the path", |text| {
        text.oddities.nested
    }),
    rule("TG-1006", Severity::Critical, Targets::PATH, "a backslash in the path", |text| {
        any(text, |form| has(form, b'\\'))
    }),
    rule("TG-1007", Severity::Error, Targets::PATH.and(Targets::QUERY), "a %uXXXX escape", |text| text.oddities.wide),
    rule("TG-1008", Severity::Warning, Targets::PATH.and(Targets::QUERY), "a malformed escape", |text| {
        text.oddities.malformed
    }),
    rule("TG-1009", Severity::Warning, Targets::ALL, "a control character", |text| any(text, has_control)),
    Rule {
        id: "TG-1010",
        group: Group::Encoding,
        severity: Severity::Critical,
        finds: "more arguments or cookies than are looked at",
        targets: Targets::NONE,
        test: Test::Elsewhere,
    },
];

fn any(text: &Text<'_>, check: impl Fn(&[u8]) -> bool) -> bool {
    text.forms().any(check)
}

fn has(form: &[u8], byte: u8) -> bool {
    memchr::memchr(byte, form).is_some()
}

fn has_line_break(form: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', form).is_some()
}

fn has_control(form: &[u8]) -> bool {
    form.iter().any(|byte| matches!(byte, 1..=8 | 11 | 12 | 14..=31 | 127))
}

/// Two, three or four bytes for a character that needs fewer: the classic way to hide a slash or a dot.
fn has_overlong(form: &[u8]) -> bool {
    form.windows(2).any(|pair| match pair {
        [0xc0 | 0xc1, next] => matches!(next, 0x80..=0xbf),
        [0xe0, next] => matches!(next, 0x80..=0x9f),
        [0xf0, next] => matches!(next, 0x80..=0x8f),
        _ => false,
    })
}
