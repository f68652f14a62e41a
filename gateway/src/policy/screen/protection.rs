//! [`Protection`]: the built-in rules and the body policy as one policy wants them. What a score means is the policy's.

use super::body::{BodyPolicy, Refused};
use super::builtin::Builtin;
use super::finding::{Findings, Mode};
use super::ruleset::Source;
use super::view::View;
use std::sync::Arc;

/// What a policy protects with, beside its custom rules.
#[derive(Clone, Debug)]
pub struct Protection {
    /// The rules with their modes, scores and exclusions, those about bodies among them.
    pub builtin: Builtin,
    /// Line, query, cookies and headers are judged.
    pub line: bool,
    /// Bodies of inference requests are judged.
    pub body: Option<BodyPolicy>,
}

impl Source for Protection {
    /// The modes of the rules were settled under the policy's when they were compiled.
    fn inspect(&self, view: &View<'_>, _mode: Mode, findings: &mut Findings) {
        if self.line {
            self.builtin.judge(view, findings);
        }
    }

    fn inspect_body(&self, kind: Option<&[u8]>, body: &[u8], findings: &mut Findings) -> Option<Refused> {
        self.body.as_ref()?.judge(kind, body, &self.builtin, findings)
    }

    fn rules(&self) -> Vec<Arc<str>> {
        self.builtin.ids()
    }
}
