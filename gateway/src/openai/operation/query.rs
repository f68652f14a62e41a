//! The query string: credentials leave it, `api-version` and a realtime deployment are replaced, the rest is kept.
//!
//! Names are compared decoded and without regard to case, as Azure does.

use std::borrow::Cow;

use super::{Operation, check_deployment, percent};

/// Parameters that carry a client's credential to Azure or to API Management.
const CREDENTIALS: [&str; 3] = ["api-key", "subscription-key", "ocp-apim-subscription-key"];

/// The deployment that the query of a realtime call names (`deployment=` or `model=`), decoded. The first one counts; a
/// malformed one is none.
#[must_use]
pub fn deployment_in_query(operation: Operation, query: Option<&str>) -> Option<Cow<'_, str>> {
    let query = query.filter(|_| operation == Operation::Realtime)?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = percent::decode(value).filter(|_| matches!(Name::of(key), Name::Deployment))?;
        check_deployment(&value).is_ok().then_some(value)
    })
}

/// The `api-version` of a query, decoded. The first one counts.
#[must_use]
pub fn api_version_in_query(query: &str) -> Option<Cow<'_, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        percent::decode(value).filter(|_| matches!(Name::of(key), Name::ApiVersion))
    })
}

/// The query for a log line: values of parameters that may hold a secret are replaced by `***`.
#[must_use]
pub fn scrub_query(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(looks_secret) {
        return Cow::Borrowed(query);
    }
    let mut out = String::with_capacity(query.len());
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if looks_secret(pair) => {
                out.push_str(key);
                out.push_str("=***");
            }
            _ => out.push_str(pair),
        }
    }
    Cow::Owned(out)
}

/// The query without the parameters in which clients of Azure and of API Management send their credential.
#[must_use]
pub fn without_credentials(query: &str) -> Cow<'_, str> {
    let is_credential =
        |pair: &str| matches!(Name::of(pair.split_once('=').map_or(pair, |(key, _)| key)), Name::Credential);
    if !query.split('&').any(is_credential) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(|pair| !is_credential(pair)).collect::<Vec<_>>().join("&"))
}

/// The value of every parameter of one of these names (in lower case), decoded, in the order of the names. A value that
/// does not decode is empty.
pub fn parameters<'q>(query: &'q str, names: &'q [String]) -> impl Iterator<Item = Cow<'q, str>> {
    names.iter().flat_map(move |name| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| is_named(key, name)).map(|(_, value)| percent::decode(value).unwrap_or_default())
    })
}

/// The query without the parameters of these names (in lower case); `None` where it has none of them.
#[must_use]
pub fn without_parameters(query: &str, names: &[String]) -> Option<String> {
    let is_named = |pair: &&str| {
        let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
        names.iter().any(|name| is_named(key, name))
    };
    query.split('&').any(|pair| is_named(&pair)).then(|| {
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
        kept.join("&")
    })
}

fn is_named(key: &str, name: &str) -> bool {
    percent::decode(key).is_some_and(|key| key.eq_ignore_ascii_case(name))
}

/// Rather one value too many than a key in a log.
fn looks_secret(pair: &str) -> bool {
    let Some((key, _)) = pair.split_once('=') else { return false };
    if key == "api-version" {
        return false; // nearly every query there is
    }
    let Some(key) = percent::decode(key) else { return true };
    let key = key.to_ascii_lowercase();
    ["key", "token", "secret", "password", "auth", "sig", "code"].iter().any(|word| key.contains(word))
}

/// What changes in a query on its way to a backend.
pub(super) struct Edit<'a> {
    /// Value of `api-version`, added when the client sent none.
    pub(super) api_version: Option<&'a str>,
    /// It leaves: the path has another style now.
    pub(super) no_api_version: bool,
    /// Value of `deployment` or `model`, where the client sent one.
    pub(super) deployment: Option<&'a str>,
}

impl Edit<'_> {
    /// Appends the edited query, its question mark included, to `out`; nothing when nothing is left.
    pub(super) fn append(&self, query: &str, out: &mut String) {
        let mut joint = '?';
        let mut join = |out: &mut String| {
            out.push(joint);
            joint = '&';
        };
        let (mut versioned, mut named) = (false, false);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let key = pair.split_once('=').map_or(pair, |(key, _)| key);
            let (value, seen) = match Name::of(key) {
                Name::Credential => continue,
                Name::ApiVersion if self.no_api_version => continue,
                Name::ApiVersion => (self.api_version, &mut versioned),
                Name::Deployment => (self.deployment, &mut named),
                Name::Other => (None, &mut false),
            };
            match value {
                // A second one is dropped: which of two a backend takes is not ours to guess.
                Some(_) if *seen => continue,
                Some(value) => {
                    *seen = true;
                    join(out);
                    out.push_str(key);
                    out.push('=');
                    percent::encode_into(value, out);
                }
                None => {
                    join(out);
                    out.push_str(pair);
                }
            }
        }
        if let (false, Some(version)) = (versioned, self.api_version) {
            join(out);
            out.push_str("api-version=");
            percent::encode_into(version, out);
        }
    }
}

/// What a parameter is to us.
enum Name {
    Credential,
    ApiVersion,
    Deployment,
    Other,
}

impl Name {
    fn of(key: &str) -> Self {
        let Some(key) = percent::decode(key) else { return Self::Other };
        if CREDENTIALS.iter().any(|name| key.eq_ignore_ascii_case(name)) {
            Self::Credential
        } else if key.eq_ignore_ascii_case("api-version") {
            Self::ApiVersion
        } else if key.eq_ignore_ascii_case("deployment") || key.eq_ignore_ascii_case("model") {
            Self::Deployment
        } else {
            Self::Other
        }
    }
}
