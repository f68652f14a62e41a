//! Ids in the path and the query of a request.

use super::{Edit, Place, keys};
use crate::openai::operation::{Target, percent};

/// Words of the API that stand where an id could: behind the first of them comes one.
const WORDS: [&str; 17] = [
    "alpha",
    "checkpoints",
    "client_secrets",
    "compact",
    "completions",
    "graders",
    "input_tokens",
    "jobs",
    "permissions",
    "run",
    "runs",
    "search",
    "sessions",
    "transcription_sessions",
    "transcriptions",
    "translations",
    "validate",
];

/// Names of parameters that say from where on a list goes.
const CURSORS: [&str; 2] = ["after", "before"];

/// Path and query with other texts; `None` where nothing changes. `bound`: the path is about something stored, so that the first
/// segment that is no word of the API is an id. What comes behind it belongs to what it names.
pub fn target(
    target: &Target<'_>,
    (path, query): (&str, Option<&str>),
    bound: bool,
    edit: &mut dyn Edit,
) -> Option<String> {
    let (front, rest) = path.split_at_checked(path.len().saturating_sub(target.rest.len()))?;
    let mut out = String::with_capacity(path.len() + query.map_or(0, str::len) + 1);
    out.push_str(front);
    let (mut changed, mut named) = (false, !bound);
    for (index, segment) in rest.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let decoded = percent::decode(segment).unwrap_or_default();
        // The first is empty, the second the family.
        let word = index < 2 || decoded.is_empty() || WORDS.contains(&&*decoded) || decoded.contains([':', '.']);
        let told = match word {
            true => None,
            false if named => edit.text(Place::Own, &decoded),
            false => edit.text(Place::Path, &decoded),
        };
        named |= !word;
        changed |= told.is_some();
        out.push_str(told.as_deref().unwrap_or(segment));
    }
    if let Some(query) = query {
        changed |= append(query, edit, &mut out);
    }
    changed.then_some(out)
}

/// Appends the query; whether it has changed.
fn append(query: &str, edit: &mut dyn Edit, out: &mut String) -> bool {
    let mut changed = false;
    for (index, pair) in query.split('&').enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        let told = pair.split_once('=').and_then(|(name, value)| {
            let place = match percent::decode(name)? {
                name if CURSORS.contains(&&*name) || keys::is_reference(&name) => Place::Reference,
                _ => Place::Own,
            };
            Some((name, edit.text(place, &percent::decode(value)?)?))
        });
        match told {
            Some((name, value)) => {
                changed = true;
                out.push_str(name);
                out.push('=');
                out.push_str(&value);
            }
            None => out.push_str(pair),
        }
    }
    changed
}
