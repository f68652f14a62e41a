//! Global memory: none that changes without a name in the table.

use syn::visit::Visit;

use crate::source::{Source, gateway, is_test_only};
use crate::{Exception, Finding, assert_none, without_excepted};

/// Every static of the gateway. Constants are free; memory that outlives a request is listed.
const ALLOWED: [Exception; 7] = [
    Exception { file: "gateway/src/main.rs", what: "ALLOCATOR", why: "the global allocator, gateway/decisions/0006" },
    Exception { file: "gateway/src/config/schema.rs", what: "SCHEMA", why: "generated once, then constant" },
    Exception {
        file: "gateway/src/telemetry/access_log.rs",
        what: "thread_local",
        why: "a line buffer per thread spares an allocation per request; empty between lines",
    },
    Exception {
        file: "gateway/src/telemetry/clock.rs",
        what: "START",
        why: "where the monotonic clock begins; set once",
    },
    Exception {
        file: "gateway/src/openai/sse/usage.rs",
        what: "KEY_FINDER",
        why: "a prepared search for a constant; made once, then constant",
    },
    Exception {
        file: "gateway/src/openai/sse/error.rs",
        what: "KEY_FINDER",
        why: "a prepared search for a constant; made once, then constant",
    },
    Exception {
        file: "gateway/src/simulator/body.rs",
        what: "FILLER",
        why: "constant bytes that are too large to copy",
    },
];

#[test]
fn statics_are_listed() {
    let mut found = Vec::new();
    for source in gateway().iter().filter(|source| !source.is_test) {
        let mut collector = Collector { source, found: Vec::new() };
        collector.visit_file(&source.syntax());
        found.append(&mut collector.found);
    }
    assert_none("statics are listed with a reason in tests/house/statics.rs", without_excepted(&ALLOWED, found));
}

struct Collector<'a> {
    source: &'a Source,
    found: Vec<Finding>,
}

impl Collector<'_> {
    fn add(&mut self, name: &syn::Ident, message: String) {
        let line = name.span().start().line;
        self.found.push(Finding { file: self.source.path.clone(), line, what: name.to_string(), message });
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        let message = if matches!(item.mutability, syn::StaticMutability::Mut(_)) {
            format!("`static mut {}`: never", item.ident)
        } else {
            format!("static `{}` is not listed", item.ident)
        };
        self.add(&item.ident, message);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let name = item.path.segments.last().map(|segment| &segment.ident);
        if let Some(name) = name.filter(|name| *name == "thread_local" || *name == "lazy_static") {
            self.add(name, format!("`{name}!` is not listed"));
        }
    }
}
