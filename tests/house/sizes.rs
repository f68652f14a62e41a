//! How long things may be: files, functions, argument lists; and that each file opens by saying what it decides.

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::source::{Source, everything};
use crate::{Exception, Finding, assert_none, without_excepted};

const FILE_LINES_MAX: usize = 400;
/// Lines of signature and body; blank lines and comments are free.
const FUNCTION_LINES_MAX: usize = 70;
const ARGUMENTS_MAX: usize = 6;

/// Longer things that stand; `what` is `file` or the function's name.
const EXCEPTIONS: [Exception; 0] = [];

#[test]
fn files_and_functions_stay_short() {
    let mut found = Vec::new();
    for source in everything() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines; a file has at most {FILE_LINES_MAX}");
            found.push(Finding { file: source.path.clone(), line: lines, what: "file".into(), message });
        }
        let mut meter = Meter { source, lines: source.text.lines().collect(), found: Vec::new() };
        meter.visit_file(&source.syntax());
        found.append(&mut meter.found);
    }
    assert_none("files and functions stay short", without_excepted(&EXCEPTIONS, found));
}

#[test]
fn every_file_says_what_it_decides() {
    let silent = everything().filter(|source| !source.is_test || source.path.starts_with("tests/"));
    let silent = silent.filter(|source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        first.strip_prefix("//!").is_none_or(|text| text.trim().len() < 10)
    });
    assert_none(
        "every file opens with `//!`: what it decides, what it never does",
        silent.map(|source| format!("{}:1: no `//!` sentence", source.path)).collect(),
    );
}

struct Meter<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    found: Vec<Finding>,
}

impl Meter<'_> {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block, foreign: bool) {
        let (start, end) = (signature.span().start().line, body.span().end().line);
        let counted = self.lines[start - 1..end].iter().map(|line| line.trim());
        let lines = counted.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        if lines > FUNCTION_LINES_MAX {
            self.add(signature, format!("has {lines} lines, at most {FUNCTION_LINES_MAX}: split along a noun"));
        }
        let arguments = signature.inputs.len();
        if arguments > ARGUMENTS_MAX && !foreign {
            self.add(signature, format!("has {arguments} arguments, at most {ARGUMENTS_MAX}"));
        }
    }

    fn add(&mut self, signature: &syn::Signature, text: String) {
        let (line, what) = (signature.ident.span().start().line, signature.ident.to_string());
        let message = format!("`{what}` {text}");
        self.found.push(Finding { file: self.source.path.clone(), line, what, message });
    }
}

impl<'ast> Visit<'ast> for Meter<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, false);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // A trait fixes the argument lists of its methods; the trait itself is judged where it is ours.
        for method in &item.items {
            if let syn::ImplItem::Fn(method) = method {
                self.function(&method.sig, &method.block, item.trait_.is_some());
                syn::visit::visit_impl_item_fn(self, method);
            }
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body, false);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}
