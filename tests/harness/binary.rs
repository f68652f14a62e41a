//! Where the things under test are: the binary, the repository's files, Python with the `openai` package.

use std::path::{Path, PathBuf};

/// The `tidegate` binary of the profile that this test was built in.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_BINARY") {
        return path.into();
    }
    // …/target/<profile>/deps/e2e-0123456789abcdef
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests live in target/<profile>/deps");
    let path = profile.join("tidegate");
    assert!(path.is_file(), "{} is not there: build it first with `cargo build --bin tidegate`", path.display());
    path
}

/// A file of this repository.
#[must_use]
pub fn workspace_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join(path)
}

/// A program that the test command provides, else the system's.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let own = workspace_file("target/tools").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    let found = Some(own).filter(|own| own.is_file()).or(found);
    found.unwrap_or_else(|| panic!("{name} is not there: run `tests/setup.sh` first"))
}

/// The directory below which the official `openai` package for Node is, as the test command installs it.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn node_modules() -> PathBuf {
    let path = workspace_file("target/node/node_modules");
    assert!(path.join("openai").exists(), "{} is not there: run `tests/setup.sh` first", path.display());
    path
}

/// Python with the official `openai` package, as the test command installs it.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn venv_python() -> PathBuf {
    let path = match std::env::var_os("TIDEGATE_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => workspace_file("target/venv/bin/python"),
    };
    assert!(path.exists(), "{} is not there: run `tests/setup.sh` first", path.display());
    path
}
