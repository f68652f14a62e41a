//! YAML to an immutable snapshot: what is typed (`file`), how it is read (`parse`), what is wrong with it (`problem`),
//! what it means (`compile`), what runs (`snapshot`), what editors are told (`schema`).

pub mod snapshot;
