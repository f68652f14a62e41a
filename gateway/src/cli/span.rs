//! Times as people write and read them: `250ms`, `8s`, `1m30s`. Never a bare number: nobody knows its unit.

use std::time::Duration;

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number with its unit, such as 250ms, 8s, 2m or 1h")]
pub struct SpanError;

/// Units, longest first, with their length in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `250ms`, `1.5s`, `2m`, `1h` or several of them in falling order, such as `1m30s`. At most a year.
///
/// # Errors
/// [`SpanError`] for anything else.
pub fn parse_span(text: &str) -> Result<Duration, SpanError> {
    const MILLIS_MAX: f64 = 366.0 * 24.0 * 3_600_000.0;
    let mut rest = text.trim();
    let mut total = 0.0;
    let mut below = u64::MAX;
    if rest.is_empty() {
        return Err(SpanError);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(SpanError)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SpanError)?;
        if *millis >= below {
            return Err(SpanError);
        }
        below = *millis;
        total += number.parse::<f64>().map_err(|_unreadable| SpanError)? * *millis as f64;
        rest = tail;
    }
    if total > MILLIS_MAX { Err(SpanError) } else { Ok(Duration::from_secs_f64(total / 1e3)) }
}

/// Prints a time with its two largest units: `250ms`, `1.5s`, `2m`, `1m30s`, `1h5m`.
pub(super) fn print_span(span: Duration) -> String {
    let millis = span.as_millis();
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{millis}ms"),
        (0, 0, _) => {
            let text = format!("{:.1}", span.as_secs_f64());
            format!("{}s", text.trim_end_matches(".0"))
        }
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, rest) => format!("{minutes}m{rest}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

/// Prints a size with the largest unit that divides it: `32 MiB`.
pub(super) fn print_size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| format!("{bytes} B"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("8s", 8000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("0s", 0),
            (" 4s ", 4000),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "8", "s", "8 s", "8x", "-1s", "1s1m", "1s1s", "1..5s", ".s", "1e9h", "99999999h", "8S"] {
            assert_eq!(parse_span(text), Err(SpanError), "{text}");
        }
    }

    #[test]
    fn times_and_sizes_are_printed_short() {
        for (millis, text) in
            [(0, "0ms"), (30, "30ms"), (1500, "1.5s"), (20_000, "20s"), (90_000, "1m30s"), (120_000, "2m")]
        {
            assert_eq!(print_span(Duration::from_millis(millis)), text);
        }
        assert_eq!(print_span(Duration::from_secs(3900)), "1h5m");
        for (bytes, text) in [(0, "0 B"), (1000, "1000 B"), (8192, "8 KiB"), (33_554_432, "32 MiB"), (1 << 30, "1 GiB")]
        {
            assert_eq!(print_size(bytes), text);
        }
    }
}
