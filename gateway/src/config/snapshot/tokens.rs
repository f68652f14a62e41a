//! How tokens are counted and what they cost.

use crate::openai::estimate::Encoding;
use crate::policy::price::Prices;

/// How tokens are counted and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Streams are asked for their usage.
    pub inject: bool,
    /// Something is charged by tokens: what a backend does not tell is counted.
    pub counted: bool,
    /// Tokens reserved for an answer whose request names no ceiling.
    pub output_default: u64,
    /// Tokenizers to have ready; none where nothing is counted.
    pub encodings: Vec<Encoding>,
    /// What tokens cost.
    pub prices: Option<Prices>,
}
