//! Compiles how clients get at what resources store.

use super::secret;
use crate::config::file::{self, Ids, UnknownOperations};
use crate::config::report::Report;
use crate::config::snapshot::{Backend, Lists, Pool, Stateful};
use crate::domain::KeyName;
use crate::policy::seal::Key;
use std::collections::{BTreeMap, BTreeSet};

/// Shortest secret, in characters: those of 128 bits in hexadecimal digits.
const SECRET_LENGTH_MIN: usize = 32;

/// `asked`: consumers are told apart.
pub(super) fn compile(file: &file::File, asked: bool, pools: &[Pool], report: &mut Report<'_>) -> Stateful {
    let typed = &file.stateful;
    let resources: BTreeSet<u64> = pools.iter().flat_map(|pool| &pool.backends).map(Backend::resource).collect();
    let sealed = typed.ids.map_or(asked || resources.len() > 1, |ids| ids == Ids::Sealed);
    let keys = keys(&typed.keys, report);
    if sealed && typed.keys.is_empty() {
        let help = "set `stateful.keys`, or `stateful.ids: raw` to hand out Azure's own ids".to_owned();
        report.warn(
            "stateful",
            "ids are sealed with a random key: they end with the process, and no other gateway opens them",
            help,
        );
    }
    if !sealed && asked {
        report.warn("stateful.ids", "every consumer may use every other's responses, files and threads", None);
    }
    Stateful {
        sealed,
        keys,
        refuse_unknown: typed.unknown_operations == UnknownOperations::Refuse,
        lists: lists(typed.lists, (sealed, asked), report),
    }
}

fn lists(typed: Option<file::Lists>, (sealed, asked): (bool, bool), report: &mut Report<'_>) -> Lists {
    match typed {
        Some(file::Lists::Merged) if !sealed => {
            let help = "a page's last id has to say where the list goes on: set `stateful.ids: sealed`".to_owned();
            report.problem("stateful.lists", "lists are merged by sealed ids, and ids are raw", help);
            Lists::Allow
        }
        Some(file::Lists::Merged) => Lists::Merged,
        Some(file::Lists::Refuse) => Lists::Refuse,
        Some(file::Lists::Allow) => Lists::Allow,
        None if sealed => {
            if asked {
                Lists::Refuse
            } else {
                Lists::Merged
            }
        }
        None => Lists::Allow,
    }
}

fn keys(typed: &[file::IdKey], report: &mut Report<'_>) -> Vec<Key> {
    let mut seen: BTreeMap<[u8; 2], usize> = BTreeMap::new();
    let mut keys = Vec::with_capacity(typed.len());
    for (index, one) in typed.iter().enumerate() {
        let path = format!("stateful.keys[{index}]");
        let name = super::name(KeyName::new(&one.id), &format!("{path}.id"), report);
        let Some(found) = secret::text(&one.secret, &format!("{path}.secret"), report) else { continue };
        let Some(value) = found.known() else {
            // Without it ids would be sealed in a way that no other gateway opens.
            report.problem(&format!("{path}.secret"), "no vault has told it yet", None);
            continue;
        };
        let text = value.expose();
        if text.len() < SECRET_LENGTH_MIN {
            let help = "such as that of `openssl rand -hex 32`".to_owned();
            report.problem(
                &format!("{path}.secret"),
                format!("the secret is shorter than {SECRET_LENGTH_MIN} characters"),
                help,
            );
        }
        let Some(key) = name.and_then(|name| Key::new(name.as_str(), &value)) else { continue };
        if let Some(first) = seen.insert(key.id(), index) {
            let help = format!("the other is stateful.keys[{first}]");
            report.problem(&format!("{path}.id"), "ids cannot tell this key from another", help);
        }
        keys.push(key);
    }
    keys
}
