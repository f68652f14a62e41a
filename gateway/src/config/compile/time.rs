//! Compiles moments as people type them: UTC only. It never asks what time it is.

use crate::config::report::Report;

/// Days before each month of a year that is no leap year.
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// The Unix second that `typed` says, or a problem at `path`.
pub(super) fn moment(typed: &str, path: &str, report: &mut Report<'_>) -> Option<u64> {
    let second = parse(typed);
    if second.is_none() {
        let help = "write a date or a moment in UTC, from 1970 on: 2026-01-31 or 2026-01-31T18:30:00Z";
        report.problem(path, "is no moment", help.to_owned());
    }
    second
}

fn parse(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = match (month, leap(year)) {
        (2, true) => 29,
        (2, false) => 28,
        (4 | 6 | 9 | 11, _) => 30,
        _ => 31,
    };
    if !(1970..=9999).contains(&year) || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = |year: u64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let leap_day = u64::from(month > 2 && leap(year));
    let days = before(year) - before(1970) + DAYS_BEFORE.get(index)? + leap_day + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Three numbers with exactly so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_are_unix_seconds() {
        for (text, second) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01", 0),
            ("2000-02-29T12:30:15Z", 951_827_415),
            ("2026-01-01", 1_767_225_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse(text), Some(second), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "2100-02-29",
            "2026-04-31",
            "2026-01-00",
            "1969-12-31",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+01:00",
            "2026-1-1",
            "2026-01-01-01",
            "+026-01-01",
            "2026-01-01T00:00:00ZZ",
            "tomorrow",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
