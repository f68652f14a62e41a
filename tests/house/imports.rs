//! Every path that a file names, resolved against its module: `use` trees, paths in code, paths inside macros.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::Visit;

use crate::source::{Source, is_test_only};

/// One path named in a file.
pub(crate) struct Import {
    /// Segments. Local paths start with `crate`; others with a crate's name or a name in scope.
    pub(crate) path: Vec<String>,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Named in test code.
    pub(crate) in_test: bool,
    /// Named by a `use`, with full path.
    pub(crate) by_use: bool,
}

impl Import {
    /// Whether the path starts with `prefix`, such as `std::fs`.
    pub(crate) fn starts_with(&self, prefix: &str) -> bool {
        let mut mine = self.path.iter();
        prefix.split("::").all(|segment| mine.next().is_some_and(|own| own == segment))
    }

    /// Whether the path ends with `suffix`, such as `Instant::now`.
    pub(crate) fn ends_with(&self, suffix: &str) -> bool {
        let mut mine = self.path.iter().rev();
        suffix.rsplit("::").all(|segment| mine.next().is_some_and(|own| own == segment))
    }
}

/// Every path named in `source`.
pub(crate) fn imports(source: &Source) -> Vec<Import> {
    let mut collector =
        Collector { module: source.module.clone(), test_depth: usize::from(source.is_test), found: Vec::new() };
    collector.visit_file(&source.syntax());
    collector.found
}

struct Collector {
    module: Vec<String>,
    test_depth: usize,
    found: Vec<Import>,
}

impl Collector {
    fn add(&mut self, path: &[String], span: Span, by_use: bool) {
        let path = resolve(&self.module, path);
        self.found.push(Import { path, line: span.start().line, in_test: self.test_depth > 0, by_use });
    }

    fn use_tree(&mut self, prefix: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.use_tree(prefix, &path.tree);
                prefix.pop();
            }
            syn::UseTree::Name(name) => self.use_leaf(prefix, &name.ident),
            syn::UseTree::Rename(rename) => self.use_leaf(prefix, &rename.ident),
            syn::UseTree::Glob(glob) => self.add(&prefix.clone(), glob.star_token.spans[0], true),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(prefix, item)),
        }
    }

    fn use_leaf(&mut self, prefix: &[String], ident: &syn::Ident) {
        let mut path = prefix.to_vec();
        if ident != "self" || path.is_empty() {
            path.push(ident.to_string());
        }
        self.add(&path, ident.span(), true);
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 2;
        let mut span = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.flush(&mut path, span);
                    }
                    if path.is_empty() {
                        span = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.flush(&mut path, span);
                    colons = 2;
                    self.tokens(group.stream());
                }
                _ => {
                    self.flush(&mut path, span);
                    colons = 2;
                }
            }
        }
        self.flush(&mut path, span);
    }

    fn flush(&mut self, path: &mut Vec<String>, span: Span) {
        if path.len() > 1 {
            self.add(&path.clone(), span, false);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let in_test = match item {
            syn::Item::Mod(item) => is_test_only(&item.attrs),
            syn::Item::Fn(item) => is_test_only(&item.attrs),
            syn::Item::Impl(item) => is_test_only(&item.attrs),
            syn::Item::Use(item) => is_test_only(&item.attrs),
            syn::Item::Struct(item) => is_test_only(&item.attrs),
            _ => false,
        };
        self.test_depth += usize::from(in_test);
        syn::visit::visit_item(self, item);
        self.test_depth -= usize::from(in_test);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(&segments, path.segments[0].ident.span(), false);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }
}

/// Rewrites `self`, `super` and `tidegate` to a path from `crate`; leaves other paths as they are.
fn resolve(module: &[String], path: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str) {
        Some("crate" | "tidegate") => base.clear(),
        Some("self") => {}
        Some("super") => {
            while let Some((_, tail)) = rest.split_first().filter(|(head, _)| *head == "super") {
                base.pop();
                rest = tail;
            }
            return std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect();
        }
        _ => return path.to_vec(),
    }
    rest = rest.get(1..).unwrap_or_default();
    std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect()
}

#[test]
fn local_paths_resolve_from_the_crate() {
    let resolved = |module: &[&str], path: &str| {
        let module: Vec<String> = module.iter().map(|&s| s.to_owned()).collect();
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        resolve(&module, &path).join("::")
    };
    assert_eq!(resolved(&["proxy", "relay"], "super::super::state::Backends"), "crate::state::Backends");
    assert_eq!(resolved(&["proxy"], "self::relay::Relay"), "crate::proxy::relay::Relay");
    assert_eq!(resolved(&[], "tidegate::config::Snapshot"), "crate::config::Snapshot");
    assert_eq!(resolved(&["proxy"], "std::fs::read"), "std::fs::read");
}
