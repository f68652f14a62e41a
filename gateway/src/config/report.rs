//! [`Report`]: what a load has found wrong so far, and the places to point at. It decides nothing about meaning.

use super::Sources;
use super::problem::{Problem, Problems};
use super::snapshot::VaultSecret;
use super::tree::{Place, Places};
use crate::domain::Secret;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Problems and warnings kept; a file with more has one cause.
const PROBLEMS_MAX: usize = 100;

/// What a load has found so far, and what it may look at.
pub(super) struct Report<'a> {
    file: &'a str,
    directory: &'a Path,
    sources: Sources<'a>,
    /// `key_vault` is there.
    vault: bool,
    /// What is taken from vaults.
    wanted: BTreeSet<VaultSecret>,
    /// How often the value of a secret was not known yet.
    unknown: usize,
    places: Places,
    /// Paths whose value was wrong and was replaced: what follows from the replacement is not the operator's problem.
    replaced: Vec<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    /// An empty report about `file`.
    pub(super) fn new(file: &'a str, directory: &'a Path, sources: Sources<'a>) -> Self {
        Self {
            file,
            directory,
            sources,
            vault: false,
            wanted: BTreeSet::new(),
            unknown: 0,
            places: Places::default(),
            replaced: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes where `path` is in the file.
    pub(super) fn place(&mut self, path: &str, place: Place) {
        self.places.insert(path, place);
    }

    /// Notes that the value at `path` was wrong and is replaced; later problems at or under it are dropped.
    pub(super) fn replace(&mut self, path: &str) {
        self.replaced.push(path.to_owned());
    }

    /// Whether the value at `path` stands in for a wrong one.
    pub(super) fn is_replaced(&self, path: &str) -> bool {
        self.replaced.iter().any(|replaced| {
            path.strip_prefix(replaced.as_str())
                .is_some_and(|rest| rest.is_empty() || replaced.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Whether any value under `prefix` whose path ends with `suffix` stands in for a wrong one.
    pub(super) fn any_replaced(&self, prefix: &str, suffix: &str) -> bool {
        self.replaced.iter().any(|path| path.starts_with(prefix) && (path.ends_with(suffix) || path.ends_with(']')))
    }

    /// A problem at `path`.
    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        if !self.is_replaced(path) && self.problems.len() < PROBLEMS_MAX {
            let problem = self.at(path, message.into(), help.into());
            self.problems.push(problem);
        }
    }

    /// A warning at `path`.
    pub(super) fn warn(&mut self, path: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        if !self.is_replaced(path) && self.warnings.len() < PROBLEMS_MAX {
            let warning = self.at(path, message.into(), help.into());
            self.warnings.push(warning);
        }
    }

    /// The line of `path` in the file.
    pub(super) fn line(&self, path: &str) -> u64 {
        self.places.find(path).line
    }

    /// `path` as typed, relative to the configuration's directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.sources.environment)(name)
    }

    /// Notes that the file says how vaults are read.
    pub(super) fn set_vault(&mut self) {
        self.vault = true;
    }

    /// Whether it does.
    pub(super) const fn has_vault(&self) -> bool {
        self.vault
    }

    /// A secret in a vault, where it is known.
    pub(super) fn vault_secret(&mut self, secret: VaultSecret) -> Option<Secret> {
        let value = (self.sources.vault)(&secret);
        self.wanted.insert(secret);
        self.unknown += usize::from(value.is_none());
        value
    }

    /// The secrets that were asked for.
    pub(super) fn wanted(&self) -> Vec<VaultSecret> {
        self.wanted.iter().cloned().collect()
    }

    /// How often one was not known.
    pub(super) const fn unknown(&self) -> usize {
        self.unknown
    }

    /// The warnings, or the problems where there are any.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        if self.problems.is_empty() {
            self.warnings.sort_by_key(|warning| (warning.line, warning.column));
            return Ok(self.warnings);
        }
        Err(self.into_problems())
    }

    /// The problems.
    pub(super) fn into_problems(mut self) -> Problems {
        if self.problems.is_empty() {
            self.problems.push(Problem::of_file(self.file, "cannot be understood".to_owned()));
        }
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        Problems(self.problems)
    }

    fn at(&self, path: &str, message: String, help: Option<String>) -> Problem {
        let Place { line, column } = self.places.find(path);
        Problem { file: self.file.to_owned(), line, column, path: path.to_owned(), message, help }
    }
}

/// `did you mean …?` for the nearest of `known`, and the whole list after `introduction`.
pub(super) fn suggestion<'k>(typed: &str, known: impl Iterator<Item = &'k str>, introduction: &str) -> Option<String> {
    let known: Vec<&str> = known.collect();
    let list = known.join(", ");
    match nearest(typed, known.iter().copied()) {
        Some(near) if list.is_empty() => Some(format!("did you mean `{near}`?")),
        Some(near) => Some(format!("did you mean `{near}`? {introduction}: {list}")),
        None if list.is_empty() => None,
        None => Some(format!("{introduction}: {list}")),
    }
}

/// The one of `known` that `typed` is probably a misspelling of.
pub(super) fn nearest<'k>(typed: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let typed = typed.to_ascii_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&typed, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
