//! Times and intervals of notifications.
//!
//! Holds the rules: times, end, microseconds, start, zero-length, max-segment.
//!
//! An end is never invented, because it moves the watermark. A start may be rebuilt from the duration: senders that got
//! it wrong exist, the vendor's own published example among them.

use super::fields::{Field, Fields, Literal};
use super::reason::Reason;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Anomalies, Anomaly, Interval};

/// From here on an integer is milliseconds: as seconds it would lie beyond the year 5138.
const FIRST_MS: i64 = 100_000_000_000;
/// From here on an integer is microseconds.
const FIRST_US: i64 = FIRST_MS * 1_000;
/// From here on an integer is nanoseconds.
const FIRST_NS: i64 = FIRST_US * 1_000;
/// 2000-01-01T00:00:00Z in ms. What is earlier is a default or a unit gone wrong: there was no such service.
const YEAR_2000: i64 = 946_684_800_000;
const MAX_USEC: i64 = 999_999;
/// The longest duration, in seconds, from which a start is rebuilt. A longer one is milliseconds or worse.
const MAX_REBUILD_SECS: i64 = 86_400;

/// A usable time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) at: Timestamp,
    /// It was not in seconds.
    pub(super) scaled: bool,
}

/// Reads a time; `None` is unusable (rule: times).
pub(super) fn time(literal: Literal<'_>) -> Option<Time> {
    let value = literal.integer().ok().flatten()?;
    let (ms, scaled) = match value {
        ..FIRST_MS => (value.checked_mul(1_000)?, false),
        FIRST_MS..FIRST_US => (value, true),
        FIRST_US..FIRST_NS => (value / 1_000, true),
        FIRST_NS.. => (value / 1_000_000, true),
    };
    let at = Timestamp::from_ms(ms).filter(|_| ms >= YEAR_2000)?;
    Some(Time { at, scaled })
}

/// Reads a segment's interval (rules: end, microseconds, start, zero-length, max-segment).
pub(super) fn interval(
    fields: &Fields<'_>,
    max_segment: Millis,
    anomalies: &mut Anomalies,
) -> Result<Interval, Reason> {
    let given_end = time(fields.get(Field::EndTime)).ok_or(Reason::NoEnd)?;
    let given_start = time(fields.get(Field::StartTime));
    let start_scaled = given_start.is_some_and(|time| time.scaled);

    let parts = [Field::StartTimeUsec, Field::EndTimeUsec].map(|field| fields.get(field));
    let (start_part, end_part) = match parts.map(usec_part) {
        [Some(start), Some(end)] if !start_scaled && !given_end.scaled => (start, end),
        _ => {
            if parts.iter().any(|part| !part.is_absent()) {
                anomalies.insert(Anomaly::UsecIgnored);
            }
            (Millis::ZERO, Millis::ZERO)
        }
    };

    let end = given_end.at + end_part;
    let full_start = given_start.map(|time| time.at + start_part);
    let start = match full_start {
        Some(start) if start <= end => {
            if start_scaled {
                anomalies.insert(Anomaly::TimeScaled);
            }
            start
        }
        after_end => {
            let refusal = if after_end.is_some() { Reason::InvertedInterval } else { Reason::NoStart };
            anomalies.insert(Anomaly::StartRebuilt);
            end - rebuild_length(fields.get(Field::Duration)).ok_or(refusal)?
        }
    };
    if given_end.scaled {
        anomalies.insert(Anomaly::TimeScaled);
    }
    if end.since(start) > max_segment {
        return Err(Reason::IntervalTooLong);
    }
    Ok(Interval { start, end })
}

/// Reads the microsecond part of a time, down to milliseconds (rule: microseconds).
fn usec_part(literal: Literal<'_>) -> Option<Millis> {
    let usec = literal.integer().ok().flatten().filter(|usec| (0..=MAX_USEC).contains(usec))?;
    Millis::from_ms(usec / 1_000)
}

/// Reads a duration that is fit to rebuild a start from (rule: start).
fn rebuild_length(literal: Literal<'_>) -> Option<Millis> {
    let seconds = literal.integer().ok().flatten().filter(|seconds| (1..=MAX_REBUILD_SECS).contains(seconds))?;
    Millis::from_ms(seconds * 1_000)
}
