//! One word for one thing: names that we give use the vocabulary of gateway/ARCHITECTURE.md.
//!
//! Only definitions are judged (items, fields, variants, parameters, bindings) and headings of documents; what foreign
//! crates call their things is not ours to name.

use std::fs;

use syn::visit::Visit;

use crate::source::{Source, everything, files, gateway, relative, root};
use crate::{Exception, Finding, assert_none, without_excepted};

/// Words that are not used, and what is said instead.
const FORBIDDEN: [(&str, &str); 18] = [
    ("tenant", "consumer"),
    ("tenants", "consumers"),
    ("vhost", "route"),
    ("cluster", "pool"),
    ("clusters", "pools"),
    ("geo", "region"),
    ("heartbeat", "probe"),
    ("eviction", "ejection"),
    ("evict", "eject"),
    ("evicted", "ejected"),
    ("ban", "ejection"),
    ("banned", "ejected"),
    ("cooldown", "ejection"),
    ("fallback", "failover"),
    ("fallbacks", "failovers"),
    ("debit", "reserve"),
    ("upstreams", "backends"),
    ("downstreams", "clients"),
];

/// Adjectives of direction: fine before a noun (`upstream_request`), not as one.
const ADJECTIVES: [(&str, &str); 2] = [("upstream", "backend"), ("downstream", "client")];

/// Names that stand all the same.
const EXCEPTIONS: [Exception; 0] = [];

#[test]
fn names_use_our_words() {
    let mut found = Vec::new();
    for source in everything() {
        let mut collector = Collector { source, found: Vec::new() };
        collector.visit_file(&source.syntax());
        found.append(&mut collector.found);
    }
    assert_none("one word for one thing (gateway/ARCHITECTURE.md)", without_excepted(&EXCEPTIONS, found));
}

#[test]
fn headings_use_our_words() {
    let mut violations = Vec::new();
    let documents = files(root(), &|path| path.extension().is_some_and(|e| e == "md"));
    let texts = documents.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap_or_default()));
    let comments = gateway().iter().map(|source| {
        let lines =
            source.text.lines().map(|line| line.trim_start().trim_start_matches("///").trim_start_matches("//!"));
        (source.path.clone(), lines.map(str::trim_start).collect::<Vec<_>>().join("\n"))
    });
    for (path, text) in texts.chain(comments) {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("# ") || line.starts_with("## "))
        {
            for word in line.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase) {
                if let Some((_, better)) = FORBIDDEN.iter().find(|(bad, _)| *bad == word) {
                    violations.push(format!("{path}:{}: heading says `{word}`, we say `{better}`", at + 1));
                }
            }
        }
    }
    assert_none("headings use our words", violations);
}

struct Collector<'a> {
    source: &'a Source,
    found: Vec<Finding>,
}

impl Collector<'_> {
    fn judge(&mut self, ident: &syn::Ident) {
        let name = ident.to_string();
        let words = split(&name);
        let bad = words.iter().find_map(|word| FORBIDDEN.iter().find(|(bad, _)| bad == word));
        let noun = ADJECTIVES.iter().find(|(word, _)| words.last().is_some_and(|last| last == word));
        if let Some((word, better)) = bad.or(noun) {
            let message = format!("`{name}`: not `{word}`, we say `{better}`");
            let line = ident.span().start().line;
            self.found.push(Finding { file: self.source.path.clone(), line, what: name, message });
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Const(item) => self.judge(&item.ident),
            syn::Item::Enum(item) => self.judge(&item.ident),
            syn::Item::Fn(item) => self.judge(&item.sig.ident),
            syn::Item::Mod(item) => self.judge(&item.ident),
            syn::Item::Static(item) => self.judge(&item.ident),
            syn::Item::Struct(item) => self.judge(&item.ident),
            syn::Item::Trait(item) => self.judge(&item.ident),
            syn::Item::Type(item) => self.judge(&item.ident),
            syn::Item::Macro(item) => item.ident.iter().for_each(|ident| self.judge(ident)),
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        for method in &item.items {
            if let syn::ImplItem::Fn(method) = method {
                // A foreign trait names its own methods and we follow its parameters; our traits are judged where they are defined.
                if item.trait_.is_none() {
                    self.judge(&method.sig.ident);
                    syn::visit::visit_signature(self, &method.sig);
                }
                syn::visit::visit_block(self, &method.block);
            }
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.judge(&item.sig.ident);
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|ident| self.judge(ident));
        syn::visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.judge(&variant.ident);
        syn::visit::visit_variant(self, variant);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.judge(&pattern.ident);
        syn::visit::visit_pat_ident(self, pattern);
    }
}

/// Words of a snake_case, CamelCase or SCREAMING_CASE name, lower case.
fn split(name: &str) -> Vec<String> {
    let screaming = !name.chars().any(|c| c.is_ascii_lowercase());
    let mut words = vec![String::new()];
    for c in name.chars() {
        let starts = c == '_' || (c.is_ascii_uppercase() && !screaming);
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("there is always a word").push(c.to_ascii_lowercase());
        }
    }
    words
}

#[test]
fn names_split_into_words() {
    assert_eq!(split("upstream_peer"), ["upstream", "peer"]);
    assert_eq!(split("NextUpstream"), ["next", "upstream"]);
    assert_eq!(split("HOP_BY_HOP"), ["hop", "by", "hop"]);
}
