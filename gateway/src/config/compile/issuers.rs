//! Compiles issuers of tokens: names, sources of keys, requirements, and whose tokens they are. Reads key files; fetches
//! nothing.

use super::tls::read_limited;
use super::{name, positive, residency, unique, zero_or_more};
use crate::config::file;
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{Endpoint, Issuer, KeySource};
use crate::domain::IssuerName;
use crate::policy::token::{
    self, Algorithm, Algorithms, IssuerPattern, KeySet, Mapping, PLACEHOLDER, ResidencyClaim, SET_SIZE_MAX,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Largest leeway: beyond it expiry means little.
const LEEWAY_MAX: Duration = Duration::from_secs(600);
/// Longest name or value of a claim, bytes.
const CLAIM_LENGTH_MAX: usize = 512;
/// Most values of a claim that name a zone.
const RESIDENCIES_MAX: usize = 256;
/// Most values of a claim that name a consumer.
const MAPPED_MAX: usize = 10_000;

/// The issuers of `authentication.issuers`, in the order of the file. Incomplete only after a problem.
pub(super) fn compile(file: &file::File, report: &mut Report<'_>) -> Vec<Issuer> {
    let typed = file.authentication.as_ref().map(|typed| typed.issuers.as_slice()).unwrap_or_default();
    let at = "authentication.issuers";
    unique(typed.iter().map(|one| one.name.as_str()), at, "issuers", report);
    kept_somewhere(typed, file, report);
    let compiled = typed.iter().enumerate().filter_map(|(index, one)| {
        let path = format!("{at}[{index}]");
        issuer(one, &path, file, report)
    });
    compiled.collect()
}

/// Warns of a usage limit by a claim that no token is ever asked for.
fn kept_somewhere(typed: &[file::Issuer], file: &file::File, report: &mut Report<'_>) {
    for (index, limit) in file.usage_limits.iter().enumerate() {
        for (part, by) in limit.by.iter().enumerate() {
            let file::Part::Claim(claim) = by else { continue };
            if !typed.iter().any(|issuer| issuer.claims.contains(claim)) {
                let message = format!("no issuer keeps the claim `{claim}`: all clients share one bucket");
                let help = "list it in `claims` of an entry of `authentication.issuers`";
                report.warn(&format!("usage_limits[{index}].by[{part}].claim"), message, help.to_owned());
            }
        }
    }
}

fn issuer(typed: &file::Issuer, path: &str, file: &file::File, report: &mut Report<'_>) -> Option<Issuer> {
    let rules = token::Issuer {
        names: names(typed, path, report),
        audiences: texts(&typed.audiences, &format!("{path}.audiences"), report),
        directories: texts(&typed.directories, &format!("{path}.tenants"), report),
        algorithms: algorithms(&typed.algorithms, &format!("{path}.algorithms"), report),
        requirements: requirements(&typed.require, &format!("{path}.require"), report),
        leeway: leeway(typed, path, report),
        residency: claimed(typed.residency.as_ref(), &format!("{path}.residency"), file, report),
        consumer: mapping(&typed.consumer, &format!("{path}.consumer"), file, report)?,
        kept: kept(&typed.claims, &format!("{path}.claims"), report),
    };
    let refresh = positive(typed.refresh, &format!("{path}.refresh"), report);
    let refresh_min = positive(typed.refresh_min, &format!("{path}.refresh_min"), report);
    let stale_max = positive(typed.stale_max, &format!("{path}.stale_max"), report);
    if refresh >= stale_max {
        let message = format!("{} is not longer than `refresh` ({})", typed.stale_max, typed.refresh);
        report.problem(&format!("{path}.stale_max"), message, None);
    }
    Some(Issuer {
        name: name(IssuerName::new(&typed.name), &format!("{path}.name"), report)?,
        rules,
        source: source(&typed.jwks, &format!("{path}.jwks"), report)?,
        refresh,
        refresh_min,
        stale_max,
    })
}

fn names(typed: &file::Issuer, path: &str, report: &mut Report<'_>) -> Vec<IssuerPattern> {
    let mut names = Vec::with_capacity(typed.issuers.len());
    for (index, text) in typed.issuers.iter().enumerate() {
        let path = format!("{path}.issuers[{index}]");
        match IssuerPattern::new(text) {
            Ok(name) => names.push(name),
            Err(what) => report.problem(&path, what, None),
        }
        if text.contains(PLACEHOLDER) && typed.directories.is_empty() {
            let help =
                "list the ids of the tenants in `tenants`: without it every tenant of Entra ID could issue tokens";
            report.problem(&path, format!("has {PLACEHOLDER} without `tenants`"), help.to_owned());
        }
    }
    names
}

fn leeway(typed: &file::Issuer, path: &str, report: &mut Report<'_>) -> u32 {
    let path = format!("{path}.leeway");
    let leeway = zero_or_more(typed.leeway, &path, report);
    if leeway > LEEWAY_MAX {
        report.problem(&path, format!("{} is longer than {}", typed.leeway, file::Period(LEEWAY_MAX)), None);
    }
    u32::try_from(leeway.as_secs()).unwrap_or(0)
}

fn source(typed: &file::Jwks, path: &str, report: &mut Report<'_>) -> Option<KeySource> {
    let ca_file = typed.ca_file.as_ref().map(|file| report.resolve(file));
    if let Some(file) = &ca_file {
        super::tls::check_authorities(file, &format!("{path}.ca_file"), report);
    }
    let mut endpoint = |text: &str, key: &str| {
        let checked = Endpoint::parse(text, ca_file.clone());
        checked.map_err(|what| report.problem(&format!("{path}.{key}"), what, None)).ok()
    };
    match (&typed.file, &typed.url, &typed.discovery) {
        (Some(file), None, None) => {
            if typed.ca_file.is_some() {
                report.problem(&format!("{path}.ca_file"), "a file needs no CA", None);
            }
            keys_of(report.resolve(file), &format!("{path}.file"), report)
        }
        (None, Some(url), None) => endpoint(url, "url").map(KeySource::Url),
        (None, None, Some(url)) => endpoint(url, "discovery").map(KeySource::Discovery),
        (None, None, None) => {
            let help = "write one of `discovery`, `url` and `file`";
            report.problem(path, "names no keys", help.to_owned());
            None
        }
        _ => {
            report.problem(path, "names its keys twice", "write one of `discovery`, `url` and `file`".to_owned());
            None
        }
    }
}

fn keys_of(path: PathBuf, at: &str, report: &mut Report<'_>) -> Option<KeySource> {
    let limit = u64::try_from(SET_SIZE_MAX).unwrap_or(u64::MAX);
    let bytes = read_limited(&path, limit);
    let bytes = bytes.map_err(|error| report.problem(at, format!("{} cannot be read: {error}", path.display()), None));
    let keys = KeySet::read(&bytes.ok()?);
    let keys = keys.map_err(|error| report.problem(at, format!("{} {error}", path.display()), None));
    Some(KeySource::File { path, keys: Arc::new(keys.ok()?) })
}

fn algorithms(typed: &[String], path: &str, report: &mut Report<'_>) -> Algorithms {
    let mut list = Vec::with_capacity(typed.len());
    for (index, text) in typed.iter().enumerate() {
        let found = Algorithm::of_name(text);
        if found.is_none() {
            let help = suggestion(text, Algorithm::ALL.iter().map(|one| one.name()), "algorithms");
            report.problem(&format!("{path}[{index}]"), format!("`{text}` is no algorithm that we verify"), help);
        }
        list.extend(found);
    }
    if typed.is_empty() { Algorithms::ALL } else { Algorithms::of(list) }
}

fn requirements(typed: &[file::Requirement], path: &str, report: &mut Report<'_>) -> Vec<token::Requirement> {
    let mut list = Vec::with_capacity(typed.len());
    for (index, one) in typed.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if one.any.is_empty() == one.all.is_empty() {
            report.problem(&path, "needs `any` or `all`, one of both", None);
        }
        let all = one.any.is_empty();
        let (key, values) = if all { ("all", &one.all) } else { ("any", &one.any) };
        let values = texts(values, &format!("{path}.{key}"), report);
        list.push(token::Requirement { claim: text(&one.claim, &format!("{path}.claim"), report), values, all });
    }
    list
}

fn mapping(typed: &file::TokenConsumer, path: &str, file: &file::File, report: &mut Report<'_>) -> Option<Mapping> {
    let mut find = |wanted: &str, path: &str| {
        let found = file.consumers.iter().position(|consumer| consumer.name == wanted);
        if found.is_none() && !report.any_replaced("consumers", ".name") {
            let help = suggestion(wanted, file.consumers.iter().map(|one| one.name.as_str()), "consumers defined");
            report.problem(path, format!("no consumer is named `{wanted}`"), help);
        }
        found
    };
    let named = typed.name.as_ref().map(|name| find(name, &format!("{path}.name")));
    match (&typed.claim, named) {
        (None, Some(one)) if typed.map.is_empty() => one.map(Mapping::One),
        (Some(claim), named) if !typed.map.is_empty() && typed.map.len() <= MAPPED_MAX => {
            let pairs = typed.map.iter().filter_map(|(value, name)| {
                let consumer = find(name, &format!("{path}.map.{value}"))?;
                Some((value.as_str().into(), consumer))
            });
            let map = pairs.collect();
            let claim = text(claim, &format!("{path}.claim"), report);
            Some(Mapping::ByClaim { claim, map, other: named.flatten() })
        }
        _ => {
            let help = format!("write `name`, or `claim` and a `map` of 1 to {MAPPED_MAX} values");
            report.problem(path, "does not say whose the tokens are", help);
            None
        }
    }
}

fn claimed(
    typed: Option<&file::ResidencyClaim>,
    path: &str,
    file: &file::File,
    report: &mut Report<'_>,
) -> Option<ResidencyClaim> {
    let typed = typed?;
    if typed.map.is_empty() || typed.map.len() > RESIDENCIES_MAX {
        report.problem(&format!("{path}.map"), format!("needs 1 to {RESIDENCIES_MAX} values"), None);
    }
    let mut map = BTreeMap::new();
    for (value, wanted) in &typed.map {
        if let Some(zone) = residency::named(Some(wanted), file, &format!("{path}.map.{value}"), report) {
            map.insert(value.as_str().into(), zone);
        }
    }
    let claim = text(&typed.claim, &format!("{path}.claim"), report);
    Some(ResidencyClaim { claim, map, required: typed.required })
}

fn kept(typed: &[String], path: &str, report: &mut Report<'_>) -> Vec<Box<str>> {
    let mut list = texts(typed, path, report);
    list.sort_unstable();
    list.dedup();
    list
}

fn texts(typed: &[String], path: &str, report: &mut Report<'_>) -> Vec<Box<str>> {
    typed.iter().enumerate().map(|(index, one)| text(one, &format!("{path}[{index}]"), report)).collect()
}

fn text(typed: &str, path: &str, report: &mut Report<'_>) -> Box<str> {
    if typed.is_empty() || typed.len() > CLAIM_LENGTH_MAX {
        report.problem(path, format!("must have 1 to {CLAIM_LENGTH_MAX} bytes"), None);
    }
    typed.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::path::Path;

    #[test]
    fn a_limit_by_a_claim_that_nobody_keeps_is_a_warning() {
        for (claims, told) in [("[ tid ]", 1), ("[ oid, tid ]", 0), ("[]", 2)] {
            let text = format!(
                "version: 1
listeners: [ {{ name: a, address: \"127.0.0.1:0\" }} ]
pools: [ {{ name: chat, backends: [ {{ name: b, region: eastus, url: \"https://x.example\", auth: none }} ] }} ]
consumers: [ {{ name: team }} ]
authentication:
  issuers:
    - name: id
      issuers: [ \"https://id.example/\" ]
      audiences: [ tidegate ]
      jwks: {{ url: \"https://id.example/keys\" }}
      consumer: {{ name: team }}
      claims: {claims}
usage_limits:
  - {{ name: one, by: [ {{ claim: tid }}, {{ claim: oid }} ], everywhere: true, requests: {{ max: 1, per: 1s }} }}
"
            );
            let (_, warnings) = crate::config::load_text("x.yaml", &text, Path::new("."), &|_| None).unwrap();
            let kept = warnings.iter().filter(|warning| warning.message.contains("no issuer keeps the claim"));
            assert_eq!(kept.count(), told, "{claims} {warnings:?}");
        }
    }
}
