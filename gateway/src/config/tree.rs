//! [`Node`]: the YAML document as data, every value and key with its place. It knows nothing of what the keys mean.

use std::collections::BTreeMap;

/// A place in the file, line and column from 1; zero where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Line, from 1.
    pub(super) line: u64,
    /// Column in characters, from 1.
    pub(super) column: u64,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) place: Place,
    /// What it is.
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// No value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without quotes.
    Number(serde_json::Number),
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Where it begins.
    pub(super) place: Place,
    /// The key itself.
    pub(super) text: String,
}

impl Value {
    /// What to call it in a sentence.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// From a path such as `pools[0].name` to its place in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Places {
    /// Notes the place of `path`.
    pub(super) fn insert(&mut self, path: &str, place: Place) {
        self.0.insert(path.to_owned(), place);
    }

    /// The place of `path`, or of the nearest thing around it that is in the file.
    pub(super) fn find(&self, path: &str) -> Place {
        let mut rest = path;
        loop {
            if let Some(place) = self.0.get(rest) {
                return *place;
            }
            match rest.rfind(['.', '[']) {
                Some(end) => rest = rest.get(..end).unwrap_or_default(),
                None => return self.0.get("").copied().unwrap_or_default(),
            }
        }
    }
}
