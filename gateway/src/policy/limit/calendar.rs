//! A calendar window: the hour, the day, the week (from Monday) or the month, in UTC.
//!
//! A clock that jumps back never gives a second quota: what was used stays used.

use super::Now;
use std::time::Duration;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// 1970-01-01 was a Thursday.
const MONDAY: u64 = 3;
/// A bucket outlives its period by this much, for a clock that is set back.
const GRACE: u64 = HOUR;

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day.
    Month,
}

impl Period {
    /// As in the configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Number of the period that holds this second of Unix time.
    #[must_use]
    pub fn number(self, unix: u64) -> u32 {
        let number = match self {
            Self::Hour => unix / HOUR,
            Self::Day => unix / DAY,
            Self::Week => (unix / DAY + MONDAY) / 7,
            Self::Month => months(unix / DAY),
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// The second of Unix time with which the period ends.
    #[must_use]
    pub fn end(self, number: u32) -> u64 {
        let next = u64::from(number) + 1;
        match self {
            Self::Hour => next * HOUR,
            Self::Day => next * DAY,
            Self::Week => (next * 7).saturating_sub(MONDAY) * DAY,
            Self::Month => first_day(next) * DAY,
        }
    }
}

/// What was used of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// In the period.
    pub used: u64,
    /// Number of the period.
    pub period: u32,
    /// When it has ended and is forgotten, in seconds of Unix time.
    pub ends: u32,
}

impl Calendar {
    /// What is used of the period under way.
    pub fn used(&mut self, period: Period, now: Now) -> u64 {
        self.advance(period, now);
        self.used
    }

    /// Counts `amount` now, and says in which period.
    pub fn add(&mut self, amount: u64, period: Period, now: Now) -> u32 {
        self.advance(period, now);
        self.used = self.used.saturating_add(amount);
        self.period
    }

    /// Takes back `amount` of what was counted in the period `number`: as much of it as still counts, which is returned.
    pub fn take_back(&mut self, amount: u64, number: u32) -> u64 {
        let back = if self.period == number { amount.min(self.used) } else { 0 };
        self.used -= back;
        back
    }

    /// How long until the next period begins.
    #[must_use]
    pub fn until_end(&self, period: Period, now: Now) -> Duration {
        Duration::from_secs(period.end(self.period).saturating_sub(now.unix))
    }

    /// Nothing counts any more.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        self.used == 0 || u64::from(self.ends) < now.unix
    }

    fn advance(&mut self, period: Period, now: Now) {
        let number = period.number(now.unix);
        if number > self.period {
            self.used = 0;
        } else if u64::from(self.period) <= u64::from(number) + 1 {
            // The same, or a clock that was set back over the edge: it is the later period's quota that goes on.
            return;
        }
        // Further ahead than one period: the clock was wrong then. What was used stays used.
        self.period = number;
        self.ends = u32::try_from(period.end(number).saturating_add(GRACE)).unwrap_or(u32::MAX);
    }
}

/// Months since January 1970 of a day since then. Years begin in March, so that the leap day is the last of its year
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn months(days: u64) -> u64 {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    // March of the year 1970 is month 2.
    (era * 400 + year_of_era) * 12 + month_from_march + 2 - 1970 * 12
}

/// The first day of a month since January 1970.
const fn first_day(months: u64) -> u64 {
    let from_march = months + 1970 * 12 - 2;
    let (year, month) = (from_march / 12, from_march % 12);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
