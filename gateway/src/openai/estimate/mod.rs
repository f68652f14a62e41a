//! [`estimate()`]: how many tokens a request will cost, before any backend has seen it: the prompt, counted with the model's own
//! tokenizer, and the ceiling of the answer.
//!
//! It decides no limit. What the backend tells afterwards is what counts; an estimate is what is reserved until then.

mod encoding;
mod image;
mod prompt;

pub use encoding::Encoding;

use super::facts::Facts;
use super::operation::Operation;
use memchr::memmem;
use prompt::Counter;

/// Bodies above this many bytes are not estimated on the async threads: a count of this size takes about a millisecond.
pub const INLINE_MAX: usize = 32 * 1024;
/// Text up to this many bytes is counted; what is beyond is estimated by its length.
const EXACT_MAX: usize = 256 * 1024;
/// No request's answer is longer, in tokens: beyond it a ceiling is a slip and must not overflow a bucket.
const OUTPUT_MAX: u64 = 1 << 32;

/// What a request will cost at most, as far as its body tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Most tokens of the answer: the request's own ceiling, or the configured one, for each answer asked for.
    pub output_max: u64,
    /// The whole prompt was counted; nothing in it was estimated by its length or left out.
    pub exact: bool,
}

impl Estimate {
    /// Prompt plus the answer's ceiling.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.prompt.saturating_add(self.output_max)
    }
}

/// How to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The model's tokenizer.
    pub encoding: Encoding,
    /// The ceiling of an answer whose request names none, in tokens.
    pub output_default: u64,
}

/// Estimates a request from its JSON body. Forms, images, audio and stored objects cost nothing here.
///
/// Above 256 KiB of text, and for a body that cannot be read, a token is taken for 3.5 bytes. Above [`INLINE_MAX`] bytes this
/// does not belong on an async thread.
#[must_use]
pub fn estimate(operation: Operation, facts: &Facts, body: &[u8], rules: &Rules) -> Estimate {
    if !is_counted(operation) {
        return Estimate { exact: true, ..Estimate::default() };
    }
    let (prompt, exact) = prompt::count(body, Counter::new(rules.encoding, EXACT_MAX));
    // What is stored at the backend is part of the prompt, and nobody here knows it.
    Estimate { prompt, output_max: output_max(operation, facts, rules), exact: exact && facts.bound.is_none() }
}

/// Estimates the prompt by the length of the body alone; `None` where that may be far too little: images count by their size, and
/// what is stored at the backend by its own. No token is shorter than a byte, so that a prompt never has more than `body.len()`.
#[must_use]
pub fn rough(operation: Operation, facts: &Facts, body: &[u8], rules: &Rules) -> Option<Estimate> {
    let known = is_counted(operation) && facts.bound.is_none() && memmem::find(body, b"image").is_none();
    known.then(|| Estimate {
        prompt: by_length(body.len()),
        output_max: output_max(operation, facts, rules),
        exact: false,
    })
}

/// Tokens are told, and limited, of these.
const fn is_counted(operation: Operation) -> bool {
    match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Embeddings => true,
        Operation::ImagesGenerations
        | Operation::ImagesEdits
        | Operation::AudioTranscriptions
        | Operation::AudioTranslations
        | Operation::AudioSpeech
        | Operation::Models
        | Operation::Realtime
        | Operation::Other => false,
    }
}

fn output_max(operation: Operation, facts: &Facts, rules: &Rules) -> u64 {
    if operation == Operation::Embeddings {
        return 0;
    }
    let ceiling = facts.max_tokens.unwrap_or(rules.output_default);
    ceiling.saturating_mul(facts.n.unwrap_or(1).max(1)).min(OUTPUT_MAX)
}

/// Tokens of so many bytes that are not counted.
#[must_use]
pub fn by_length(bytes: usize) -> u64 {
    u64::try_from(bytes.saturating_mul(2).div_ceil(7)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
