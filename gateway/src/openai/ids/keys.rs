//! What the keys of the API say about their values.

use super::Place;

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing that we look for, or an object with keys of its own.
    Plain,
    /// An id, several, or an object whose `id` is one.
    Id(Place),
    /// The kind of the object.
    Type,
    /// The client's own: not looked into.
    Opaque,
}

/// References whose keys do not end as others do.
const REFERENCES: [&str; 5] = ["conversation", "container", "training_file", "validation_file", "result_files"];

/// Keys that end as if ids stood there, and name what no resource stores: turns of one conversation, names that the client or its
/// account chose.
const NO_IDS: [&str; 8] =
    ["call_id", "tool_call_id", "custom_id", "connector_id", "client_id", "user_id", "request_id", "organization_id"];

/// What under these is the client's own.
const OPAQUE: [&str; 16] = [
    "metadata",
    "attributes",
    "parameters",
    "schema",
    "json_schema",
    "input_schema",
    "item_schema",
    "properties",
    "arguments",
    "variables",
    "filters",
    "headers",
    "logit_bias",
    "file_content",
    "datasource_item",
    "logprobs",
];

/// What stands under `key`; `named`: in an object that stands where an id may.
pub(super) fn kind(key: &str, named: bool) -> Kind {
    match key {
        "id" if named => Kind::Id(Place::Reference),
        "id" => Kind::Id(Place::Own),
        "type" => Kind::Type,
        "encrypted_content" => Kind::Id(Place::Content),
        _ if REFERENCES.contains(&key) => Kind::Id(Place::Reference),
        _ if is_reference(key) => Kind::Id(Place::Reference),
        _ if OPAQUE.contains(&key) => Kind::Opaque,
        _ => Kind::Plain,
    }
}

/// Whether a reference stands under this key of a body, or this name of a query or form.
pub(super) fn is_reference(key: &str) -> bool {
    (key.ends_with("_id") || key.ends_with("_ids")) && !NO_IDS.contains(&key)
}
