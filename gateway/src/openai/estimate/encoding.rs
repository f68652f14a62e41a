//! [`Encoding`]: which tokenizer a model uses, and the count of a text in it.
//!
//! The tables are large: about 70 MB for o200k and 30 MB for cl100k. They are loaded by [`Encoding::load`], or by the first count.

use bpe_openai::Tokenizer;

/// A tokenizer of OpenAI's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `o200k_base`: gpt-4o, gpt-4.1, gpt-5, the o series, and whatever is not known.
    O200k,
    /// `cl100k_base`: gpt-4, gpt-35-turbo and the text-embedding models.
    Cl100k,
}

/// What follows `gpt-4` in the names of models that are not gpt-4.
const NOT_GPT_4: [char; 4] = ['o', '.', '1', '5'];

impl Encoding {
    /// The tokenizer of a model, by the model's or the deployment's name.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = model.to_ascii_lowercase();
        let is_gpt_4 = name.split_once("gpt-4").is_some_and(|(_, rest)| !rest.starts_with(NOT_GPT_4));
        let older = ["gpt-35", "gpt-3.5", "gpt35", "text-embedding"].iter().any(|part| name.contains(part));
        if is_gpt_4 || older { Self::Cl100k } else { Self::O200k }
    }

    /// Reads the tables, once in a process: up to 0.1 s, not for the async threads.
    pub fn load(self) {
        let _loaded = self.tokenizer();
    }

    /// Tokens of `text`. Takes a time that grows with its length, whatever is in it: about 30 MB/s.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        u64::try_from(self.tokenizer().count(text)).unwrap_or(u64::MAX)
    }

    /// `text` cut where its tokens cannot depend on what may follow: the tokens before the cut, and where the cut is.
    #[must_use]
    pub fn settled(self, text: &str) -> (u64, usize) {
        let tokenizer = self.tokenizer();
        let pieces: Vec<&str> = tokenizer.split(text).collect();
        // A piece looks ahead by up to three characters, so that more text may lengthen or part the last two.
        let kept = pieces.len().saturating_sub(UNSETTLED);
        let settled = pieces.get(..kept).unwrap_or_default();
        let tokens: usize = settled.iter().map(|piece| tokenizer.bpe.count(piece.as_bytes())).sum();
        (u64::try_from(tokens).unwrap_or(u64::MAX), settled.iter().map(|piece| piece.len()).sum())
    }

    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::O200k => bpe_openai::o200k_base(),
            Self::Cl100k => bpe_openai::cl100k_base(),
        }
    }
}

/// Pieces at the end of a text that what follows may change.
const UNSETTLED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_tokenizer() {
        for (name, want) in [
            ("gpt-4o-mini", Encoding::O200k),
            ("gpt-4.1", Encoding::O200k),
            ("gpt-41-nano", Encoding::O200k),
            ("gpt-5", Encoding::O200k),
            ("o3", Encoding::O200k),
            ("prod", Encoding::O200k),
            ("", Encoding::O200k),
            ("gpt-4", Encoding::Cl100k),
            ("GPT-4-32k", Encoding::Cl100k),
            ("my-gpt-4", Encoding::Cl100k),
            ("gpt-35-turbo", Encoding::Cl100k),
            ("text-embedding-3-large", Encoding::Cl100k),
        ] {
            assert_eq!(Encoding::of(name), want, "{name}");
        }
    }

    #[test]
    fn counts_are_those_of_the_models() {
        for (text, o200k, cl100k) in
            [("", 0, 0), ("hello world", 2, 2), ("tiktoken is great!", 6, 6), ("お誕生日おめでとう", 8, 9)]
        {
            assert_eq!((Encoding::O200k.count(text), Encoding::Cl100k.count(text)), (o200k, cl100k), "{text}");
        }
    }
}
