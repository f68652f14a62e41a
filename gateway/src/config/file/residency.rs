//! The part of the file about residency: where the data of whose requests may be processed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the data of whose requests may be processed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Residency {
    /// Zones, at most 64.
    #[schemars(length(max = 64))]
    pub(in crate::config) zones: Vec<Zone>,
    /// Whether a pool that bound requests can reach may hold backends outside their zones; default `strict`: it may not.
    pub(in crate::config) mode: ResidencyMode,
    /// Name of the zone of requests about which nothing else is said; default: none, they may be processed anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) default: Option<String>,
    /// What holds for clients of countries that no zone lists, where some zone lists countries; default `refuse`.
    pub(in crate::config) other_countries: Unlisted,
    /// What holds for clients whose country is not known, where some zone lists countries; default `refuse`.
    pub(in crate::config) unknown_country: Unlisted,
    /// Path of a MaxMind country or city database (`.mmdb`), read again on reload; default: `waf.geo.database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) database: Option<PathBuf>,
    /// Regions of Azure's data zones.
    pub(in crate::config) data_zones: DataZones,
}

/// Places where data may be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Zone {
    /// Name in listeners, consumers, issuers, logs and `explain`, unique among zones.
    pub(in crate::config) name: String,
    /// Azure regions, such as `swedencentral`, at most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub(in crate::config) regions: Vec<String>,
    /// Azure's data zones, all of whose regions are in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub(in crate::config) data_zones: Vec<DataZone>,
    /// Kinds of deployments, 1 to 4; default: all but `global`.
    #[serde(default = "kinds")]
    #[schemars(length(min = 1, max = 4))]
    pub(in crate::config) kinds: Vec<Kind>,
    /// Countries whose clients it binds, by two letters (ISO 3166-1) in quotes, such as `"SE"`; needs a database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub(in crate::config) countries: Vec<String>,
}

fn kinds() -> Vec<Kind> {
    vec![Kind::Regional, Kind::DataZoneEu, Kind::DataZoneUs]
}

/// Whether a pool may hold backends outside the zones of requests that can reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ResidencyMode {
    /// It may not: one is a problem of the configuration.
    #[default]
    Strict,
    /// It may: such requests never use them.
    Filter,
}

/// How a deployment processes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Kind {
    /// In its own region: Azure's `Standard` and `ProvisionedManaged`.
    Regional,
    /// In any region of the EU data zone: Azure's `DataZoneStandard` and `DataZoneProvisionedManaged` there.
    DataZoneEu,
    /// In any region of the US data zone.
    DataZoneUs,
    /// In any region of Azure: `GlobalStandard` and `GlobalProvisionedManaged`.
    Global,
}

/// One of Azure's data zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum DataZone {
    /// The EU data zone.
    Eu,
    /// The US data zone.
    Us,
}

/// What holds for clients that no zone lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Unlisted {
    /// They are refused.
    #[default]
    Refuse,
    /// Their country says nothing about them.
    Unbound,
    /// This zone binds them.
    Zone(#[schemars(length(min = 1))] String),
}

/// Regions of Azure's data zones, in place of the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct DataZones {
    /// Of the EU data zone, 1 to 64; default: those that Azure named in May 2026.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) eu: Vec<String>,
    /// Of the US data zone, 1 to 64; default: every public region of the United States.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) us: Vec<String>,
}

/// A claim of a token that says where its requests may be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ResidencyClaim {
    /// Its name, such as `xms_pdl` (Entra ID's preferred data location).
    pub(in crate::config) claim: String,
    /// Its values, each with the name of a zone, 1 to 256; tokens with any other value are refused.
    pub(in crate::config) map: std::collections::BTreeMap<String, String>,
    /// Whether tokens without it are refused; default `true`.
    #[serde(default = "required")]
    pub(in crate::config) required: bool,
}

const fn required() -> bool {
    crate::config::defaults::RESIDENCY_CLAIM_REQUIRED
}
