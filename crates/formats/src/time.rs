//! Times and spans as people write them.

use humantime::parse_duration;
use livesession_grouping::time::{Millis, Timestamp};

/// Parses RFC 3339, with any offset; fractions below a millisecond are cut off.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Timestamp::from_ms(parsed.timestamp_millis())
}

/// Parses a span as people write it: `3m`, `1h 30m`, `250ms`.
///
/// # Errors
///
/// A text for people when it is not a duration, is finer than a millisecond, or is longer than [`Millis::MAX`].
pub fn parse_span(text: &str) -> Result<Millis, String> {
    let parsed = parse_duration(text.trim()).map_err(|error| format!("{error} (write 90s, 3m or 24h)"))?;
    if parsed.subsec_nanos() % 1_000_000 != 0 {
        return Err("finer than a millisecond".to_owned());
    }
    let ms = i64::try_from(parsed.as_millis()).ok();
    ms.and_then(Millis::from_ms).ok_or_else(|| "longer than 100 years".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_agrees_with_chrono() {
        let mut ms = 0;
        while ms <= Timestamp::MAX.as_ms() {
            let expected = chrono::DateTime::from_timestamp_millis(ms).unwrap();
            let expected = expected.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            let timestamp = Timestamp::from_ms(ms).unwrap();
            assert_eq!(timestamp.to_string(), expected);
            assert_eq!(parse_timestamp(&expected), Some(timestamp));
            ms += 86_399_999 * 37 + 12_345_678;
        }
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn spans_are_read_as_they_are_written() {
        for text in ["0s", "1ms", "3m", "2h", "24h", "1h 30m", "90d", "1s 500ms"] {
            assert_eq!(parse_span(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_span("90s").unwrap(), Millis::from_secs(90));
        for text in ["", "3", "3 parsecs", "-3m", "1ns", "200 years"] {
            assert!(parse_span(text).is_err(), "{text:?}");
        }
    }
}
