//! W3C trace context: which `traceparent` and `tracestate` are well-formed and passed on. Makes no spans.
//!
//! <https://www.w3.org/TR/trace-context/>

/// Longest `tracestate` that is passed on, bytes, and most members. (The standard asks for at least 512 bytes.)
const STATE_LENGTH_MAX: usize = 1024;
const STATE_MEMBERS_MAX: usize = 32;

/// The trace id of a well-formed `traceparent`: 32 hexadecimal digits, lower case. `None` for any other value.
#[must_use]
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    // version "-" trace-id "-" parent-id "-" flags; a later version may say more behind another dash.
    let (known, more) = traceparent.split_at_checked(55)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let mut part = |length| parts.next().filter(|part| part.len() == length && part.iter().all(is_hex));
    let (version, id, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let later = version != b"00" && more.first() == Some(&b'-') && more.len() > 1;
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    if version == b"ff" || !(more.is_empty() || later) || zero(id) || zero(parent) {
        return None;
    }
    std::str::from_utf8(id).ok()
}

/// Whether the values of `tracestate` make one well-formed list of `key=value` members.
pub fn is_state<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut length, mut members) = (0_usize, 0_usize);
    for value in values {
        length = length.saturating_add(value.len());
        if length > STATE_LENGTH_MAX {
            return false;
        }
        for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
            members += 1;
            if members > STATE_MEMBERS_MAX || !is_member(member) {
                return false;
            }
        }
    }
    true
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = member.split_at(at);
    let in_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| (0x20..=0x7e).contains(byte) && *byte != b'=' && *byte != b',';
    let value = value.get(1..).unwrap_or_default();
    (1..=256).contains(&key.len())
        && key.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.iter().all(in_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(in_value)
}

fn is_hex(byte: &u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn only_a_well_formed_parent_has_a_trace_id() {
        for good in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(trace_id(good.as_bytes()), Some(ID), "{good}");
        }
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_state_is_a_list_of_members() {
        let check = |values: &[&str]| is_state(values.iter().map(|value| value.as_bytes()));
        for good in [&["x=1"][..], &["a=1,b=2", "t@vendor=3"], &["0k/*_-=a b"], &["", "a=1,,b=2 "], &["a=1,"]] {
            assert!(check(good), "{good:?}");
        }
        for bad in [&["x"][..], &["=1"], &["x="], &["X=1"], &["a=1=2"], &["a b=1"], &["a=\u{e9}"], &["-a=1"]] {
            assert!(!check(bad), "{bad:?}");
        }
        assert!(!check(&[&vec!["a=1"; 33].join(",")]));
        assert!(!check(&[&format!("a={}", "x".repeat(257))]));
        let long = format!("a={}", "x".repeat(250));
        assert!(!check(&[&long, &long, &long, &long, &long]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(id) = trace_id(&bytes) {
                prop_assert_eq!(id.len(), 32);
            }
            let _ = is_state(std::iter::once(bytes.as_slice()));
        }
    }
}
