//! Points and spans of time, in UTC milliseconds.
//!
//! Event time, Kafka timestamps and wall time are all [`Timestamp`]s; names tell them apart (`watermark`, `timestamp`,
//! `now`). There is no `now()` here: the caller reads the clock, so that a restart decides as the first run did.
//!
//! # Invariants
//!
//! * A `Timestamp` made by [`Timestamp::from_ms`] lies in the years 1970 to 9999, so that it has a four-digit text form
//!   and text order is time order.
//! * A [`Millis`] is never negative and at most [`Millis::MAX`]. Sums of a few of them and a `Timestamp` stay far inside
//!   `i64`: arithmetic cannot overflow, and no comparison of the grouping rules can fail.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A span of time in milliseconds, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const MIN: Timestamp = Timestamp(0);
    /// 9999-12-31T23:59:59.999Z, the last one with a four-digit year.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// Returns the point `ms` milliseconds after the epoch, or `None` outside of the years 1970 to 9999.
    pub const fn from_ms(ms: i64) -> Option<Timestamp> {
        if ms < Timestamp::MIN.0 || ms > Timestamp::MAX.0 { None } else { Some(Timestamp(ms)) }
    }

    /// Returns milliseconds since the epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis((self.0 - earlier.0).max(0))
    }

    /// Appends the text form, `2026-03-01T19:00:00.000Z`, which is always 24 bytes long.
    ///
    /// Written by hand because it is the most frequent text in our output: chrono's formatter costs ten times as much.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let ms = self.0.clamp(Timestamp::MIN.0, Timestamp::MAX.0);
        let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, milli) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, width: usize, mut value: i64| {
            for place in text[at..at + width].iter_mut().rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, hour);
        put(14, 2, minute);
        put(17, 2, second);
        put(20, 3, milli);
        out.extend_from_slice(&text);
    }
}

/// Returns year, month and day of a day number since 1970-01-01, which must not be negative.
///
/// Source: the era method for the proleptic Gregorian calendar: 400 years have 146,097 days, and a year that begins in
/// March has its leap day last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write_rfc3339(&mut text);
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;

    /// Adds a span. The result may lie beyond [`Timestamp::MAX`]: bounds on the watermark are compared, not written.
    fn add(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Timestamp;

    /// Subtracts a span. The result may lie before [`Timestamp::MIN`].
    fn sub(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl Millis {
    pub const ZERO: Millis = Millis(0);
    /// 100 years of 365.25 days: longer than any setting makes sense, short enough that no sum overflows.
    pub const MAX: Millis = Millis(3_155_760_000_000);

    /// Returns a span of `ms` milliseconds, or `None` if it is negative or longer than [`Millis::MAX`].
    pub const fn from_ms(ms: i64) -> Option<Millis> {
        if ms < 0 || ms > Millis::MAX.0 { None } else { Some(Millis(ms)) }
    }

    /// Returns a span of whole seconds.
    pub const fn from_secs(seconds: u32) -> Millis {
        Millis(seconds as i64 * 1_000)
    }

    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

impl Add for Millis {
    type Output = Millis;

    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

impl From<Millis> for Duration {
    fn from(span: Millis) -> Duration {
        Duration::from_millis(span.0.unsigned_abs())
    }
}

impl fmt::Display for Millis {
    /// Writes the form that `formats::time::parse_span` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            // Days only when whole: `24h` reads better than `1d` beside `25h`.
            if unit == "d" && (rest % size != 0 || rest < 2 * size) {
                continue;
            }
            if rest >= size {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(&alloc::format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn timestamps_outside_of_four_digit_years_are_refused() {
        for (ms, expected) in [(-1, false), (0, true), (253_402_300_799_999, true), (253_402_300_800_000, false)] {
            assert_eq!(Timestamp::from_ms(ms).is_some(), expected, "{ms}");
        }
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
