//! YAML to an immutable snapshot: what is typed (`file`), how it is read (`parse`), what is wrong with it (`problem`,
//! `shape`), what it means (`compile`), what runs (`snapshot`), what editors are told (`schema`).
//!
//! It never watches files and never puts anything in force: whoever loads a snapshot decides that.

mod compile;
mod countries;
mod defaults;
mod file;
mod parse;
mod print;
mod problem;
mod regions;
mod report;
mod schema;
mod shape;
pub mod snapshot;
mod tree;

pub use compile::usable_secret;
pub use print::effective;
pub use problem::{Problem, Problems};
pub use schema::{keys, schema};

use crate::domain::Secret;
use report::Report;
use sha2::{Digest, Sha256};
use snapshot::{Snapshot, Text, VaultSecret};
use std::fmt::Write;
use std::path::Path;

/// How a variable of the environment is looked up; `None` where it is not set (or is not UTF-8).
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the value of a secret in a vault is; `None` where it is not known yet.
pub type Vault<'a> = &'a dyn Fn(&VaultSecret) -> Option<Secret>;

/// Where values come from that the file only refers to.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Variables of the environment.
    pub environment: Environment<'a>,
    /// Secrets in vaults.
    pub vault: Vault<'a>,
}

impl<'a> Sources<'a> {
    /// An environment, and vaults that hold whatever is asked for: for a check without the network.
    #[must_use]
    pub fn assumed(environment: Environment<'a>) -> Self {
        Self { environment, vault: &|_| Some(Secret::new(ASSUMED)) }
    }
}

/// What is assumed of a secret that nobody has read: long enough for every key.
const ASSUMED: &str = "assumed-by-a-check-that-asks-no-vault";

/// Largest configuration file, in bytes.
const FILE_SIZE_MAX: u64 = 1024 * 1024;

/// Digits of the digest that a snapshot carries.
const DIGEST_LENGTH: usize = 16;

/// Reads, checks and compiles the file at `path`. Paths in it are relative to its directory. The snapshot's generation is 0.
/// The second value holds the warnings: things that load and are probably not meant.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<(Snapshot, Vec<Problem>), Problems> {
    load_with(path, Sources::assumed(environment))
}

/// Like [`load`], with the values of vaults.
///
/// # Errors
/// Every problem of the file at once.
pub fn load_with(path: &Path, sources: Sources<'_>) -> Result<(Snapshot, Vec<Problem>), Problems> {
    let text = read(path, &path.display().to_string())?;
    reload_with(path, &text, sources)
}

/// Like [`load_with`], with the text that was at `path` before: only what it refers to is read anew.
///
/// # Errors
/// Every problem of the text at once.
pub fn reload_with(path: &Path, text: &str, sources: Sources<'_>) -> Result<(Snapshot, Vec<Problem>), Problems> {
    let name = path.display().to_string();
    compile_text(&name, text, directory_of(path), sources).map(|(_, snapshot, warnings)| (snapshot, warnings))
}

/// Like [`load`], for text that is not (or not yet) a file: `name` is what problems call it, `directory` what its relative
/// paths are relative to.
///
/// # Errors
/// Every problem of the text at once.
pub fn load_text(
    name: &str,
    text: &str,
    directory: &Path,
    environment: Environment<'_>,
) -> Result<(Snapshot, Vec<Problem>), Problems> {
    compile_text(name, text, directory, Sources::assumed(environment))
        .map(|(_, snapshot, warnings)| (snapshot, warnings))
}

/// The file as typed with its defaults filled in, beside what it compiles to.
fn compile_text(
    name: &str,
    text: &str,
    directory: &Path,
    sources: Sources<'_>,
) -> Result<(file::File, Snapshot, Vec<Problem>), Problems> {
    let single = |problem| Problems(vec![problem]);
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_SIZE_MAX {
        return Err(single(Problem::of_file(name, format!("is larger than {FILE_SIZE_MAX} bytes"))));
    }
    let tree = parse::parse(name, text).map_err(single)?;
    let mut report = Report::new(name, directory, sources);
    let Some(typed) = shape::check(&tree, &mut report) else { return Err(report.into_problems()) };
    let snapshot = compile::compile(&typed, digest(text), &mut report);
    let snapshot = snapshot.map(|snapshot| Snapshot { text: Text(text.into()), ..snapshot });
    match (snapshot, report.finish()) {
        (Some(snapshot), Ok(warnings)) => Ok((typed, snapshot, warnings)),
        (None, Ok(_)) => Err(single(Problem::of_file(name, "cannot be compiled".to_owned()))),
        (_, Err(problems)) => Err(problems),
    }
}

fn read(path: &Path, name: &str) -> Result<String, Problems> {
    let failed =
        |error: &dyn std::fmt::Display| Problems(vec![Problem::of_file(name, format!("cannot be read: {error}"))]);
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > FILE_SIZE_MAX {
        return Err(Problems(vec![Problem::of_file(name, format!("is larger than {FILE_SIZE_MAX} bytes"))]));
    }
    std::fs::read_to_string(path).map_err(|error| failed(&error))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn digest(text: &str) -> String {
    let mut digits = String::with_capacity(2 * Sha256::output_size());
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits.truncate(DIGEST_LENGTH);
    digits
}

#[cfg(test)]
mod tests;
