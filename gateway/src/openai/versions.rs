//! What an `api-version` of the classic API knows. Versions begin with a date; one that does not is taken to know everything
//! but the options that older ones answer 400 to.

use crate::domain::{Abilities, Ability};
use crate::openai::operation::Operation;

/// The first version with `stream_options`; earlier ones answer 400 to it.
const STREAM_OPTIONS: &str = "2024-08-01";
/// The first version that answers by a JSON schema.
const STRUCTURED_OUTPUTS: &str = "2024-08-01";
/// The first version with the Responses API.
const RESPONSES: &str = "2025-03-01";

/// Whether a classic path with this version takes `stream_options`.
#[must_use]
pub fn takes_stream_options(api_version: &str) -> bool {
    day(api_version).is_some_and(|day| day >= STREAM_OPTIONS)
}

/// What a backend that is asked with this version cannot do.
#[must_use]
pub fn lacks(api_version: &str) -> Abilities {
    let Some(day) = day(api_version) else { return Abilities::NONE };
    let mut lacks = Abilities::NONE;
    for (first, ability) in [(STREAM_OPTIONS, Ability::StreamUsage), (STRUCTURED_OUTPUTS, Ability::StructuredOutputs)] {
        if day < first {
            lacks = lacks.with(ability);
        }
    }
    lacks
}

/// Whether the classic API of this version has the operation.
#[must_use]
pub fn has(api_version: &str, operation: Operation) -> bool {
    operation != Operation::Responses || day(api_version).is_none_or(|day| day >= RESPONSES)
}

/// The date that a version begins with.
fn day(api_version: &str) -> Option<&str> {
    let date = |text: &str| {
        text.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    };
    api_version.get(..STREAM_OPTIONS.len()).filter(|day| date(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_their_date() {
        for version in ["2024-08-01-preview", "2024-10-21", "2025-04-01-preview"] {
            assert!(takes_stream_options(version) && lacks(version).is_empty(), "{version}");
        }
        for version in ["2024-07-01-preview", "2024-06-01", "2023-05-15"] {
            assert!(!takes_stream_options(version), "{version}");
            let want = Abilities::NONE.with(Ability::StreamUsage).with(Ability::StructuredOutputs);
            assert_eq!(lacks(version), want, "{version}");
        }
        for version in ["", "preview", "v1", "2024-1-1", "９024-08-01"] {
            assert!(!takes_stream_options(version) && lacks(version).is_empty(), "{version}");
        }
    }

    #[test]
    fn operations_are_younger_than_the_api() {
        for (version, operation, want) in [
            ("2024-10-21", Operation::Responses, false),
            ("2025-03-01-preview", Operation::Responses, true),
            ("2023-05-15", Operation::ChatCompletions, true),
            ("latest", Operation::Responses, true),
        ] {
            assert_eq!(has(version, operation), want, "{version} {operation:?}");
        }
    }
}
