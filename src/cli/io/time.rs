//! Times as people type and read them.
//!
//! Typed: RFC 3339, a day, a day and a time, or a span, which means that long ago. Read: UTC, or at a fixed distance from it
//! (`--tz +08:00`). Names of zones are not taken: what they mean changes with a database, and a command of yesterday
//! should say the same today.

use livesession_formats::time::{parse_span, parse_timestamp};
use livesession_grouping::time::Timestamp;

/// A fixed distance from UTC, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    minutes: i64,
}

impl Offset {
    /// Reads `Z`, `UTC`, or `+08:00`.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn parse(text: &str) -> Result<Offset, String> {
        if matches!(text, "Z" | "z" | "UTC" | "utc") {
            return Ok(Offset::default());
        }
        let fault = || format!("{text:?} is not an offset from UTC: write +08:00, -03:30 or Z");
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(fault()),
        };
        let is_form = rest.len() == 5
            && rest.bytes().enumerate().all(|(at, byte)| if at == 2 { byte == b':' } else { byte.is_ascii_digit() });
        if !is_form {
            return Err(fault());
        }
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| fault());
        let (hours, minutes) = (number(&rest[..2])?, number(&rest[3..])?);
        if hours > 23 || minutes > 59 {
            return Err(fault());
        }
        Ok(Offset { minutes: sign * (hours * 60 + minutes) })
    }

    /// Writes the offset as it is typed; `Z` for UTC.
    pub fn name(self) -> String {
        if self.minutes == 0 {
            return "Z".to_owned();
        }
        let sign = if self.minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", self.minutes.abs() / 60, self.minutes.abs() % 60)
    }

    /// Writes a time for people: `2026-03-01 19:00:00`, without what is the same for all of a column.
    ///
    /// At the ends of time, where the shifted one has no text, it is UTC and says so.
    pub fn show(self, time: Timestamp) -> String {
        match Timestamp::from_ms(time.as_ms() + self.minutes * 60_000) {
            Some(shifted) => shifted.to_string()[..19].replace('T', " "),
            None => time.to_string(),
        }
    }

    /// Writes a time for programs: RFC 3339 with milliseconds and this offset.
    pub fn write(self, time: Timestamp) -> String {
        match Timestamp::from_ms(time.as_ms() + self.minutes * 60_000) {
            Some(shifted) => format!("{}{}", &shifted.to_string()[..23], self.name()),
            None => time.to_string(),
        }
    }

    /// Reads a time; one without an offset is at this one, and a span is that long before `now`.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn read(self, text: &str, now: Timestamp) -> Result<Timestamp, String> {
        let text = text.trim();
        if let Some(time) = parse_timestamp(text) {
            return Ok(time);
        }
        let whole = match text.len() {
            10 => format!("{text}T00:00:00{}", self.name()),
            16 => format!("{}:00{}", text.replace(' ', "T"), self.name()),
            _ => format!("{}{}", text.replace(' ', "T"), self.name()),
        };
        if let Some(time) = parse_timestamp(&whole) {
            return Ok(time);
        }
        match parse_span(text) {
            Ok(span) => {
                Timestamp::from_ms(now.as_ms() - span.as_ms()).ok_or_else(|| format!("{text:?} ago was before 1970"))
            }
            Err(_) => Err(format!(
                "{text:?} is not a time: write 2026-03-01T19:00:00Z, 2026-03-01 19:00, 2026-03-01, or 24h for that long ago"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Timestamp {
        parse_timestamp(text).unwrap()
    }

    #[test]
    fn offsets_are_read_as_they_are_written() {
        for text in ["Z", "+08:00", "-03:30", "+14:00", "-23:59"] {
            assert_eq!(Offset::parse(text).unwrap().name(), text);
        }
        assert_eq!(Offset::parse("+00:00").unwrap(), Offset::parse("UTC").unwrap());
        for text in ["", "8", "+8", "+8:00", "08:00", "+24:00", "+08:60", "+0é:0", "+08-00", "Asia/Shanghai", "+-1:00"]
        {
            assert!(Offset::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_are_shown_at_the_offset() {
        let east = Offset::parse("+08:00").unwrap();
        let time = utc("2026-03-01T19:30:15.250Z");
        assert_eq!(Offset::default().show(time), "2026-03-01 19:30:15");
        assert_eq!(east.show(time), "2026-03-02 03:30:15");
        assert_eq!(east.write(time), "2026-03-02T03:30:15.250+08:00");
        assert_eq!(utc(&east.write(time)), time);
        assert_eq!(east.show(Timestamp::MAX), "9999-12-31T23:59:59.999Z", "no year 10000");
        assert_eq!(Offset::parse("-01:00").unwrap().show(Timestamp::MIN), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn times_are_read_in_every_form() {
        let (now, east) = (utc("2026-03-02T00:00:00Z"), Offset::parse("+08:00").unwrap());
        for (text, expected) in [
            ("2026-03-01T19:00:00Z", "2026-03-01T19:00:00Z"),
            ("2026-03-01T19:00:00.5+01:00", "2026-03-01T18:00:00.5Z"),
            ("2026-03-01T19:00:00", "2026-03-01T11:00:00Z"),
            ("2026-03-01 19:00", "2026-03-01T11:00:00Z"),
            (" 2026-03-01 ", "2026-02-28T16:00:00Z"),
            ("24h", "2026-03-01T00:00:00Z"),
            ("1h 30m", "2026-03-01T22:30:00Z"),
        ] {
            assert_eq!(east.read(text, now), Ok(utc(expected)), "{text:?}");
        }
        for text in ["", "yesterday", "2026-02-30", "2026-03-01T25:00", "99999999h", "100 years", "2026-03-01 é"] {
            assert!(east.read(text, now).is_err(), "{text:?}");
        }
    }
}
