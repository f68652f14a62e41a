//! Who may import whom: downward only, no siblings (architecture: rooms), and no cycles among the files of a room.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::imports;
use crate::source::{Source, gateway};
use crate::{Exception, Finding, assert_none, without_excepted};

/// Every room with its layer. A room may import rooms of lower layers and itself; layer 5 is wiring and may import all.
const ROOMS: [(&str, u8); 13] = [
    ("domain", 0),
    ("policy", 1),
    ("openai", 1),
    ("config", 2),
    ("state", 3),
    ("telemetry", 3),
    ("proxy", 4),
    ("background", 4),
    ("simulator", 4),
    ("main", 5),
    ("cli", 5),
    ("server", 5),
    ("demo", 5),
];

const WIRING: u8 = 5;

/// Imports against the layers that stand.
const EXCEPTIONS: [Exception; 0] = [];

fn layer(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

#[test]
fn every_file_lies_in_a_room() {
    let strays = gateway().iter().filter(|source| layer(source.room()).is_none());
    assert_none(
        "every file belongs to a room of gateway/ARCHITECTURE.md",
        strays.map(|source| format!("{}: `{}` is no room", source.path, source.room())).collect(),
    );
}

#[test]
fn rooms_import_downward_only() {
    let mut found = Vec::new();
    for source in gateway() {
        let Some(own) = layer(source.room()).filter(|own| *own < WIRING) else { continue };
        for import in imports(source) {
            if import.path.first().is_none_or(|first| first != "crate") {
                continue;
            }
            let Some(room) = import.path.get(1) else { continue };
            let Some(other) = layer(room).filter(|_| room != source.room()) else { continue };
            if other >= own {
                let how = if other == own { "a sibling" } else { "a room above it" };
                found.push(Finding {
                    file: source.path.clone(),
                    line: import.line,
                    what: room.clone(),
                    message: format!("`{}` imports {how}: {}", source.room(), import.path.join("::")),
                });
            }
        }
    }
    assert_none("rooms import downward only, siblings never", without_excepted(&EXCEPTIONS, found));
}

#[test]
fn files_of_a_room_form_no_cycles() {
    let graph = file_graph();
    let mut violations = Vec::new();
    for start in graph.keys() {
        let (mut open, mut seen) = (vec![vec![start.clone()]], BTreeSet::new());
        while let Some(trail) = open.pop() {
            for next in trail.last().and_then(|last| graph.get(last)).into_iter().flatten() {
                if next == start {
                    let least = trail.iter().min().expect("a trail is never empty");
                    if least == start {
                        violations.push(format!("{} -> {start}", trail.join(" -> ")));
                    }
                } else if seen.insert(next.clone()) {
                    open.push(trail.iter().chain([next]).cloned().collect());
                }
            }
        }
    }
    assert_none("modules form no cycles", violations);
}

/// Imports among files outside test code. Edges between a module and its own ancestors are left out: a folder's `mod.rs` is
/// the door of its files and may hold what they share.
fn file_graph() -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<String> = gateway().iter().map(|source| source.module.join("::")).collect();
    let doors: BTreeMap<String, BTreeMap<String, String>> =
        gateway().iter().map(|source| (source.module.join("::"), reexports(source, &modules))).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in gateway().iter().filter(|source| !source.is_test && layer(source.room()) < Some(WIRING)) {
        let own = source.module.join("::");
        for import in imports(source).iter().filter(|import| !import.in_test) {
            let Some(to) = module_of(&import.path, &modules, &doors) else { continue };
            let related = is_within(&to, &own) || is_within(&own, &to);
            if !related {
                graph.entry(own.clone()).or_default().insert(to);
            }
        }
    }
    graph
}

/// Names that a file re-exports from its children: name to module.
fn reexports(source: &Source, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let own = source.module.join("::");
    let mut names = BTreeMap::new();
    for import in imports(source).iter().filter(|import| import.by_use && !import.in_test) {
        let mut path = import.path.clone();
        if path.first().is_none_or(|first| first != "crate") {
            // `pub use child::Name;` names the child relative to the file.
            path = std::iter::once("crate".to_owned()).chain(source.module.iter().cloned()).chain(path).collect();
        }
        let Some(name) = path.last().cloned() else { continue };
        if let Some(module) = longest_module(&path, modules).filter(|module| *module != own && is_within(module, &own))
        {
            names.insert(name, module);
        }
    }
    names
}

fn module_of(
    path: &[String],
    modules: &BTreeSet<String>,
    doors: &BTreeMap<String, BTreeMap<String, String>>,
) -> Option<String> {
    if path.first().is_none_or(|first| first != "crate") {
        return None;
    }
    let module = longest_module(path, modules)?;
    let depth = if module.is_empty() { 0 } else { module.split("::").count() };
    let behind = path.get(depth + 1).and_then(|name| doors.get(&module)?.get(name)).cloned();
    Some(behind.unwrap_or(module)).filter(|module| !module.is_empty())
}

fn longest_module(path: &[String], modules: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().map(|end| path[1..end].join("::")).find(|module| modules.contains(module))
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner == outer || outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"))
}
