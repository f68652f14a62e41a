//! The parts of the file about TLS: certificates of listeners, who may connect, and what backends are shown.

use super::acme::Acme;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// TLS of a listener; the files are read again on reload, and when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    /// PEM certificate chain, leaf first; short for `certificates` with one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FilePath")]
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM private key of `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FilePath")]
    pub(in crate::config) key: Option<FilePath>,
    /// Certificates chosen by the name that the client asks for, at most 64; the first also serves clients that ask for none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub(in crate::config) certificates: Vec<Pair>,
    /// A certificate that the gateway obtains and renews by itself, alone or beside others; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Acme")]
    pub(in crate::config) acme: Option<Acme>,
    /// What a client gets that asks for none of the names: the `first` certificate, or `refuse`; default `first`.
    #[serde(default)]
    pub(in crate::config) unknown_name: UnknownName,
    /// Certificates of clients; default: none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClientAuth")]
    pub(in crate::config) client_auth: Option<ClientAuth>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pair {
    /// PEM certificate chain, leaf first.
    pub(in crate::config) certificate: FilePath,
    /// PEM private key.
    pub(in crate::config) key: FilePath,
}

/// A file by its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FilePath {
    /// Path of the file, relative to the configuration's directory.
    pub(in crate::config) file: PathBuf,
}

/// What a client gets that asks for none of the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UnknownName {
    /// The first certificate.
    #[default]
    First,
    /// The end of the handshake.
    Refuse,
}

/// Certificates of clients (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientAuth {
    /// PEM file with the CAs that sign the clients' certificates, relative to the configuration's directory.
    pub(in crate::config) ca_file: PathBuf,
    /// Whether a client may come without a certificate: `optional` or `required`; default `required`.
    #[serde(default)]
    pub(in crate::config) mode: ClientAuthMode,
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ClientAuthMode {
    /// It may; one that it shows must be good.
    Optional,
    /// It may not: who asks for certificates wants them.
    #[default]
    Required,
}
