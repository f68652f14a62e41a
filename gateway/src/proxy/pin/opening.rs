//! [`Opening`]: the ids of one request, opened one by one. The first flaw ends it.

use crate::domain::IdFlaw;
use crate::openai::ids::{self, Edit, Place};
use crate::policy::seal::{Opened, Sealer, is_sealed, split};

/// What the seal of encrypted content stands for, in place of a prefix.
pub(super) const CONTENT: &str = "enc.";
/// What an id is of that does not tell.
pub(super) const ANYTHING: &str = "object";
/// Ids with these prefixes are of one turn of a conversation: nothing stores them by it.
const OF_A_TURN: [&str; 1] = ["call_"];

/// What the prefix of an id says.
const KINDS: [(&str, &str); 18] = [
    ("resp_", "response"),
    ("conv_", "conversation"),
    ("msg_", "message"),
    ("rs_", "item"),
    ("thread_", "thread"),
    ("run_", "run"),
    ("step_", "run step"),
    ("asst_", "assistant"),
    ("file-", "file"),
    ("assistant-", "file"),
    ("vs_", "vector store"),
    ("vsfb_", "file batch"),
    ("batch_", "batch"),
    ("ftjob-", "fine-tuning job"),
    ("cntr_", "container"),
    ("cfile_", "container file"),
    ("upload_", "upload"),
    ("eval_", "eval"),
];

/// Opens the ids of a request.
pub(super) struct Opening<'a> {
    /// None where clients hold Azure's own ids.
    sealer: Option<&'a Sealer>,
    consumer: u64,
    /// What stands where a reference stands has to be sealed.
    pub(super) strict: bool,
    /// The path names what the call is about.
    pub(super) named: bool,
    /// Where its ids live.
    pub(super) resource: Option<u64>,
    /// The first id that is not taken, and what it seems to be of.
    pub(super) flaw: Option<(IdFlaw, &'static str)>,
}

impl<'a> Opening<'a> {
    pub(super) const fn new(sealer: Option<&'a Sealer>, consumer: u64, strict: bool) -> Self {
        Self { sealer, consumer, strict, named: false, resource: None, flaw: None }
    }

    /// The id, where it opens and lives where the others do.
    fn opened(&mut self, (prefix, rest): (&str, &str)) -> Option<Vec<u8>> {
        let opened = self.sealer?.open((prefix, rest), self.consumer).and_then(|opened| self.meet(opened));
        opened.map_err(|flaw| self.flaw = Some((flaw, kind(prefix)))).ok()
    }

    fn meet(&mut self, opened: Opened) -> Result<Vec<u8>, IdFlaw> {
        match self.resource.replace(opened.resource) {
            Some(other) if other != opened.resource => Err(IdFlaw::Torn),
            _ => Ok(opened.id),
        }
    }

    fn content(&mut self, text: &str) -> Option<String> {
        let sealed = text.rsplit_once('.').filter(|(_, token)| is_sealed(token));
        let Some((content, token)) = sealed else {
            self.flaw = Some((IdFlaw::Unsealed, "item"));
            return None;
        };
        let id = self.opened((CONTENT, token))?;
        if id.strip_prefix(CONTENT.as_bytes()) != Some(&ids::digest(content)[..]) {
            self.flaw = Some((IdFlaw::Forged, "item"));
            return None;
        }
        Some(content.to_owned())
    }
}

impl Edit for Opening<'_> {
    fn text(&mut self, place: Place, text: &str) -> Option<String> {
        self.named |= place == Place::Path;
        if self.flaw.is_some() || self.sealer.is_none() {
            return None;
        }
        if place == Place::Content {
            return self.content(text);
        }
        let parts = split(text);
        if let Some(parts) = parts.filter(|(_, rest)| is_sealed(rest)) {
            return self.opened(parts).and_then(|id| String::from_utf8(id).ok());
        }
        let passes = match place {
            Place::Path => false,
            Place::Reference => !self.strict || parts.is_none_or(is_of_a_turn),
            Place::Own | Place::Root | Place::Content => true,
        };
        if !passes {
            self.flaw = Some((IdFlaw::Unsealed, parts.map_or(ANYTHING, |(prefix, _)| kind(prefix))));
        }
        None
    }

    fn left_reference(&mut self) {
        if self.sealer.is_some() && self.strict && self.flaw.is_none() {
            self.flaw = Some((IdFlaw::Unsealed, "item"));
        }
    }
}

/// Whether an id is none of something stored.
pub(super) fn is_of_a_turn((prefix, _): (&str, &str)) -> bool {
    OF_A_TURN.contains(&prefix)
}

fn kind(prefix: &str) -> &'static str {
    if prefix == CONTENT {
        return "item";
    }
    KINDS.iter().find(|(known, _)| *known == prefix).map_or(ANYTHING, |(_, kind)| kind)
}
