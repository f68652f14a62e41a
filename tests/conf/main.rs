//! The configuration as people meet it: the examples, the manual, the schema, and what a broken file is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod broken;
mod manual;
mod mutation;

use std::path::{Path, PathBuf};

/// The folder `conf/`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf")
}

/// An environment in which every variable is set, but `UNSET` and those that Azure's platforms set, to something long, but for `KEY`.
fn environment(name: &str) -> Option<String> {
    let platform = ["AZURE_", "IDENTITY_"].iter().any(|prefix| name.starts_with(prefix));
    let rest = if name == "KEY" { "" } else { "-and-so-many-characters-more" };
    (name != "UNSET" && !platform).then(|| format!("value-of-{name}{rest}"))
}

/// Name and text of every example.
fn examples() -> Vec<(PathBuf, String)> {
    yaml_files(&folder())
}

/// Path and text of every YAML file in `directory`, by name.
fn yaml_files(directory: &Path) -> Vec<(PathBuf, String)> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_example_loads_without_a_warning() {
    let examples = examples();
    let names: Vec<_> = examples.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["full.yaml", "minimal.yaml", "ptu-then-payg.yaml", "two-regions.yaml"]);
    for (path, text) in examples {
        let (snapshot, warnings) =
            tidegate::config::load(&path, &environment).unwrap_or_else(|error| panic!("{error}"));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(!snapshot.pools.is_empty() && !snapshot.routes.is_empty());
        assert!(!format!("{snapshot:?}").contains("value-of-"), "a secret shows in Debug: {}", path.display());
        assert_eq!(text.lines().next(), Some("# yaml-language-server: $schema=./schema.json"), "{}", path.display());
    }
}

#[test]
fn effective_examples_load_again_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for (path, _) in examples() {
        let effective = tidegate::config::effective(&path, &environment).unwrap();
        assert!(!effective.contains("value-of-"), "a secret is printed: {effective}");
        let copy = directory.path().join("copy.yaml");
        std::fs::write(&copy, &effective).unwrap();
        assert_eq!(tidegate::config::effective(&copy, &environment).unwrap(), effective);
        let compile = |path: &Path| {
            let (mut snapshot, _) = tidegate::config::load(path, &environment).unwrap();
            snapshot.digest = String::new();
            format!("{snapshot:?}")
        };
        assert_eq!(compile(&copy), compile(&path), "{}", path.display());
    }
}

#[test]
fn a_useful_file_is_short() {
    let (_, text) = examples().swap_remove(1);
    assert!(text.lines().count() <= 15, "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let error = tidegate::config::load(Path::new("no/such.yaml"), &environment).unwrap_err();
    assert!(error.to_string().starts_with("no/such.yaml: cannot be read: "), "{error}");
    assert!(tidegate::config::load(&folder(), &environment).is_err());
    let large = format!("# {}\nversion: 1\n", "x".repeat(1024 * 1024));
    assert!(tidegate::config::load_text("x.yaml", &large, Path::new("."), &environment).is_err());
}
