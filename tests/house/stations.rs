//! The request path reads top to bottom in one file, and the failover rule is found in one place.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::Item;

use crate::assert_none;
use crate::source::{Source, docs, gateway};

/// The stations of a request, in order (gateway/ARCHITECTURE.md).
const STATIONS: [&str; 11] =
    ["accept", "screen", "authenticate", "read", "route", "admit", "select", "forward", "classify", "relay", "settle"];

fn file(path: &str) -> &'static Source {
    gateway().iter().find(|source| source.path == path).unwrap_or_else(|| panic!("{path} is missing"))
}

#[test]
fn the_request_path_names_its_stations_in_order() {
    let source = file("gateway/src/proxy/mod.rs");
    let mut code = source.syntax();
    code.items.retain(|item| !matches!(item, Item::Use(_) | Item::Mod(_)));
    let mut words = Vec::new();
    collect(code.into_token_stream(), &mut words);
    words.extend(comments(&source.text));
    words.sort_by_key(|(line, _)| *line);
    let mut missing = Vec::new();
    let mut from = 0;
    for station in STATIONS {
        match words.iter().skip(from).position(|(_, word)| word == station) {
            Some(at) => from += at + 1,
            None => missing.push(format!(
                "gateway/src/proxy/mod.rs: `{station}` is not called, defined or announced after the station before it"
            )),
        }
    }
    assert_none("a request's life reads top to bottom in proxy/mod.rs", missing);
}

/// Identifiers of the code: calls, modules and functions that carry a station's name.
fn collect(tokens: TokenStream, words: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => words.push((ident.span().start().line, ident.to_string())),
            TokenTree::Group(group) => collect(group.stream(), words),
            _ => {}
        }
    }
}

/// Announcements in comments: `Station 6: admit`.
fn comments(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    let announced = lines.filter_map(|(at, line)| {
        let after =
            line.split_once("tation ")?.1.trim_start_matches(|c: char| c.is_ascii_digit() || " :.-–*`".contains(c));
        let word: String = after.chars().take_while(char::is_ascii_lowercase).collect();
        Some((at + 1, word))
    });
    announced.collect()
}

#[test]
fn the_failover_rule_is_the_doc_comment_of_next() {
    let rule = file("gateway/src/policy/failover.rs").syntax().items.into_iter().find_map(|item| match item {
        Item::Fn(item) if item.sig.ident == "next" => Some(docs(&item.attrs)),
        _ => None,
    });
    let rule = rule.expect("gateway/src/policy/failover.rs: no function `next`");
    let rows = rule.lines().filter(|line| line.trim_start().starts_with('|')).collect::<Vec<_>>().join("\n");
    let missing = outcomes().into_iter().filter(|outcome| !rows.contains(outcome.as_str()));
    assert_none(
        "the table in the doc comment of policy::failover::next has every outcome",
        missing.map(|outcome| format!("`{outcome}` is in no row")).collect(),
    );
}

fn outcomes() -> Vec<String> {
    let items = file("gateway/src/domain/outcome.rs").syntax().items;
    let variants = items.into_iter().find_map(|item| match item {
        Item::Enum(item) if item.ident == "Outcome" => {
            Some(item.variants.iter().map(|variant| variant.ident.to_string()).collect::<Vec<_>>())
        }
        _ => None,
    });
    variants.expect("gateway/src/domain/outcome.rs: no enum `Outcome`")
}
