//! The scalar shapes people type: durations, sizes, shares, secrets by reference, switches. Nothing here resolves a secret.

use super::vault_secret::VaultSecret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A duration, typed as number and unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Period(pub(in crate::config) Duration);

/// A number of bytes, typed as number and unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Size(pub(in crate::config) u64);

/// A share of a whole in percent, typed as `50%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Share(pub(in crate::config) f64);

/// Units of durations, in milliseconds.
const PERIOD_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Units of sizes, in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Share {
    /// From 0 to 1.
    pub(in crate::config) fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

/// Why a scalar is not what its key needs: a message and a help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct ScalarError {
    /// What is wrong.
    pub(in crate::config) message: &'static str,
    /// What to write.
    pub(in crate::config) help: &'static str,
}

impl fmt::Display for ScalarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

/// What every key that takes a duration says of a wrong one.
pub(in crate::config) const PERIOD_ERROR: ScalarError = ScalarError {
    message: "is not a duration",
    help: "write a whole number and a unit (ms, s, m, h): 250ms, 5s, 10m, 1h",
};
/// What every key that takes a size says of a wrong one.
pub(in crate::config) const SIZE_ERROR: ScalarError = ScalarError {
    message: "is not a size",
    help: "write a whole number and a unit (B, KiB, MiB, GiB): 512B, 64KiB, 8MiB",
};
/// What every key that takes a share says of a wrong one.
pub(in crate::config) const SHARE_ERROR: ScalarError =
    ScalarError { message: "is not a share", help: "write a percentage from 0% to 100%: 50%, 0.5%" };

fn counted(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn spelled(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    if value == 0 {
        return zero.to_owned();
    }
    units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
        .map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

impl FromStr for Period {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        counted(text, &PERIOD_UNITS).map(|millis| Self(Duration::from_millis(millis))).ok_or(PERIOD_ERROR)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        f.write_str(&spelled(millis, &PERIOD_UNITS, "0s"))
    }
}

impl FromStr for Size {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        counted(text, &SIZE_UNITS).map(Self).ok_or(SIZE_ERROR)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spelled(self.0, &SIZE_UNITS, "0B"))
    }
}

impl FromStr for Share {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.strip_suffix('%')
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
            .and_then(|number| number.parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(Self)
            .ok_or(SHARE_ERROR)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

macro_rules! scalar {
    ($type:ident, $name:literal, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

scalar!(Period, "Duration", "^[0-9]+(ms|s|m|h)$", "A whole number and a unit: `250ms`, `5s`, `10m`, `1h`.");
scalar!(Size, "Size", "^[0-9]+(B|KiB|MiB|GiB)$", "A whole number and a unit: `512B`, `64KiB`, `8MiB`, `1GiB`.");
scalar!(Share, "Share", r"^[0-9]+(\.[0-9]+)?%$", "A percentage from 0 to 100: `50%`, `0.5%`.");

/// A secret by reference; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Secret {
    /// Name of an environment variable that holds the secret.
    Env(#[schemars(length(min = 1))] String),
    /// Path of a file that holds the secret, relative to the configuration's directory; one newline at its end is dropped. Read again on reload.
    File(PathBuf),
    /// A secret in Azure Key Vault, read as `key_vault` says; a new value is used without a reload.
    KeyVault(VaultSecret),
}

/// The value of a header: text, or a secret by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum HeaderText {
    /// As typed.
    Literal(String),
    /// By reference.
    Secret(Secret),
}

/// Settings that `off` switches off as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Switch<T> {
    /// `off`.
    Off,
    /// The settings.
    On(T),
}

impl<T: Default> Default for Switch<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(settings) => settings.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off` or a map")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch<T>, E> {
        if text == "off" { Ok(Switch::Off) } else { Err(E::custom("expected `off` or a map")) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<T>();
        json_schema!({ "oneOf": [{ "type": "string", "const": "off", "description": "Switched off." }, settings] })
    }
}

impl Serialize for HeaderText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal(text) => serializer.serialize_str(text),
            Self::Secret(secret) => secret.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeaderTextVisitor)
    }
}

struct HeaderTextVisitor;

impl<'de> Visitor<'de> for HeaderTextVisitor {
    type Value = HeaderText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, `{ env: NAME }`, `{ file: PATH }` or `{ key_vault: … }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderText, E> {
        Ok(HeaderText::Literal(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderText, A::Error> {
        Secret::deserialize(MapAccessDeserializer::new(map)).map(HeaderText::Secret)
    }
}

impl JsonSchema for HeaderText {
    fn schema_name() -> Cow<'static, str> {
        "HeaderText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<Secret>();
        json_schema!({
            "description": "Text, or a secret by reference.",
            "oneOf": [{ "type": "string", "description": "The value itself." }, secret]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn scalars_need_their_unit() {
        for (text, millis) in [("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(text.parse::<Period>().unwrap().0, Duration::from_millis(millis));
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for text in ["", "5", "s", "1.5s", "-1s", "5 s", "5S", "99999999999999999999s", "9999999999999999999h", "5ß"] {
            assert_eq!(text.parse::<Period>(), Err(PERIOD_ERROR), "{text}");
        }
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("8MiB", 8_388_608), ("1GiB", 1 << 30), ("0B", 0)] {
            assert_eq!(text.parse::<Size>().unwrap().0, bytes);
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["8", "8MB", "8mib", "1.5MiB", "99999999999GiB"] {
            assert_eq!(text.parse::<Size>(), Err(SIZE_ERROR), "{text}");
        }
        for (text, fraction) in [("0%", 0.0), ("50%", 0.5), ("0.5%", 0.005), ("100%", 1.0)] {
            assert!((text.parse::<Share>().unwrap().fraction() - fraction).abs() < 1e-12);
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for text in ["50", "101%", "-1%", "%", "NaN%", "inf%", "0.5"] {
            assert_eq!(text.parse::<Share>(), Err(SHARE_ERROR), "{text}");
        }
    }
}
