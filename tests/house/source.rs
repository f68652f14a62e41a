//! Reads the sources once: every Rust file with its room, module path and syntax. Decides nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use syn::Attribute;

/// One Rust file of the repository.
pub(crate) struct Source {
    /// Path relative to the repository, with `/`.
    pub(crate) path: String,
    /// Module path from the crate root; empty for `lib.rs` and `main.rs`. Only meaningful under `gateway/src`.
    pub(crate) module: Vec<String>,
    /// The text.
    pub(crate) text: String,
    /// The whole file is test code: `tests.rs`, or below a folder `tests`.
    pub(crate) is_test: bool,
}

impl Source {
    /// The syntax tree. Parsed on demand: trees are not `Send`.
    pub(crate) fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: does not parse: {error}", self.path))
    }

    /// The room: first segment of the module path, `main` for the roots.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("main", String::as_str)
    }
}

/// The root of the repository. The test runner says where the crate lies now; otherwise where it was built.
#[allow(clippy::disallowed_methods, reason = "the one place of the house tests that reads the environment")]
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let tests = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&tests).parent().expect("the tests crate lies in the repository").to_path_buf()
    });
    &ROOT
}

/// Every file under `gateway/src`.
pub(crate) fn gateway() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut sources = load("gateway/src");
        let tests: Vec<Vec<String>> = sources.iter().flat_map(test_modules).collect();
        for source in &mut sources {
            source.is_test |= tests.iter().any(|test| source.module.starts_with(test));
        }
        sources
    });
    &SOURCES
}

/// Files that `source` declares by `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let declared = source.syntax().items.into_iter().filter_map(|item| match item {
        syn::Item::Mod(item) if item.content.is_none() && is_test_only(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    });
    declared.map(|name| source.module.iter().cloned().chain([name]).collect()).collect()
}

/// Every Rust file that is ours.
pub(crate) fn everything() -> impl Iterator<Item = &'static Source> {
    static OTHERS: LazyLock<Vec<Source>> = LazyLock::new(|| {
        ["gateway/benches", "gateway/fuzz", "gateway/tests", "tests"].into_iter().flat_map(load).collect()
    });
    gateway().iter().chain(OTHERS.iter())
}

/// Files below `folder` (relative to the repository) that `keep` wants; build output is left out.
pub(crate) fn files(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" && name != ".venv" && name != "node_modules" {
                    open.push(path);
                }
            } else if keep(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `path` relative to the repository, with `/`.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn load(folder: &str) -> Vec<Source> {
    files(&root().join(folder), &|path| path.extension().is_some_and(|e| e == "rs"))
        .into_iter()
        .map(|file| {
            let path = relative(&file);
            let inner = path.strip_prefix(folder).unwrap_or(&path).trim_start_matches('/');
            let mut module: Vec<String> = inner.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if module.last().is_some_and(|last| last == "mod") || inner == "lib.rs" || inner == "main.rs" {
                module.pop();
            }
            let is_test = module.iter().any(|segment| segment == "tests") || !folder.starts_with("gateway/src");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
            Source { path, module, text, is_test }
        })
        .collect()
}

/// Whether an item carries `#[cfg(test)]`, `#[cfg(any(test, …))]` or `#[test]`.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test")
            || (path.is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| {
                    list.tokens.clone().into_iter().any(|token| match token {
                        proc_macro2::TokenTree::Ident(ident) => ident == "test",
                        proc_macro2::TokenTree::Group(group) => group.to_string().contains("test"),
                        _ => false,
                    })
                }))
    })
}

/// Text of the doc comment among `attributes`, one line each.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(literal) = &pair.value else { return None };
        let syn::Lit::Str(text) = &literal.lit else { return None };
        Some(text.value())
    });
    lines.collect::<Vec<_>>().join("\n")
}
