//! The reasons for which a notification is refused: a closed list.
//!
//! A reason is a metric label, a dead letter's header and its text for people. None of the three ever holds a value of
//! the notification: values carry push credentials and personal data, and would make labels unbounded.

use livesession_grouping::Outcome;

/// Why a notification became a dead letter, in the order in which the checks are made (rule: order-of-acceptance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    TooLarge,
    NotJson,
    TooDeep,
    NotAnObject,
    NoEventType,
    NoStream,
    BadId,
    NoFile,
    NoEventTime,
    NoEnd,
    NoStart,
    InvertedInterval,
    IntervalTooLong,
    AheadOfClock,
    /// Made by acceptance: only the state of the partition can tell.
    Late,
    /// Made by acceptance, like [`Reason::Late`].
    Conflict,
}

impl Reason {
    pub const ALL: [Reason; 16] = [
        Reason::TooLarge,
        Reason::NotJson,
        Reason::TooDeep,
        Reason::NotAnObject,
        Reason::NoEventType,
        Reason::NoStream,
        Reason::BadId,
        Reason::NoFile,
        Reason::NoEventTime,
        Reason::NoEnd,
        Reason::NoStart,
        Reason::InvertedInterval,
        Reason::IntervalTooLong,
        Reason::AheadOfClock,
        Reason::Late,
        Reason::Conflict,
    ];

    /// Returns the name used in metrics, dead letters and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::TooLarge => "too_large",
            Reason::NotJson => "not_json",
            Reason::TooDeep => "too_deep",
            Reason::NotAnObject => "not_an_object",
            Reason::NoEventType => "no_event_type",
            Reason::NoStream => "no_stream",
            Reason::BadId => "bad_id",
            Reason::NoFile => "no_file",
            Reason::NoEventTime => "no_event_time",
            Reason::NoEnd => "no_end",
            Reason::NoStart => "no_start",
            Reason::InvertedInterval => "inverted_interval",
            Reason::IntervalTooLong => "interval_too_long",
            Reason::AheadOfClock => "ahead_of_clock",
            Reason::Late => "late",
            Reason::Conflict => "conflict",
        }
    }

    /// Returns the reason with that name.
    pub fn parse(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Returns the outcome that a record refused for this reason is counted as.
    pub const fn outcome(self) -> Outcome {
        match self {
            Reason::Late => Outcome::Late,
            Reason::Conflict => Outcome::Conflict,
            _ => Outcome::Rejected,
        }
    }

    /// Returns who refused: `decode`, which sees the record alone, or `accept`, which sees the state too.
    ///
    /// A `decode` refusal stays one however often it is replayed, under the same settings; an `accept` refusal depends
    /// on when.
    pub const fn stage(self) -> &'static str {
        match self {
            Reason::Late | Reason::Conflict => "accept",
            _ => "decode",
        }
    }

    /// Says in one line, to people, what is wrong and where to look.
    pub const fn explain(self) -> &'static str {
        match self {
            Reason::TooLarge => "value is larger than 262144 bytes",
            Reason::NotJson => "value is not one UTF-8 JSON text",
            Reason::TooDeep => "JSON is nested deeper than 32 levels",
            Reason::NotAnObject => "JSON is not an object; arrays, envelopes and JSON in a string are not unwrapped",
            Reason::NoEventType => "event_type is absent or not an integer",
            Reason::NoStream => "stream_id is absent",
            Reason::BadId => {
                "a stream part, file_id or a URL in its place is not a string or an unsigned integer, has control \
                 characters, or is longer than 2048 bytes"
            }
            Reason::NoFile => "file_id is absent or 0, and so is video_url",
            Reason::NoEventTime => "event_time is absent, not an integer, or before the year 2000",
            Reason::NoEnd => "end_time is absent, not an integer, or before the year 2000",
            Reason::NoStart => {
                "start_time is absent, not an integer, or before the year 2000, and there is no duration of 1 to \
                 86400 s to rebuild it from"
            }
            Reason::InvertedInterval => {
                "start_time is after end_time, and there is no duration of 1 to 86400 s to rebuild it from"
            }
            Reason::IntervalTooLong => "start and end are further apart than max_segment",
            Reason::AheadOfClock => "time is ahead of the record's Kafka timestamp by more than max_clock_skew",
            Reason::Late => "segment ended more than allowed_lateness before the partition's watermark",
            Reason::Conflict => "file is known with another start or end; the first one accepted stands",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_eq!(reason as usize, index, "{reason:?} is out of order in ALL");
            assert!(!reason.explain().is_empty() && !reason.explain().contains('\n'), "{reason:?}");
        }
        assert_eq!(Reason::parse("TooLarge"), None);
    }

    #[test]
    fn only_late_and_conflict_are_found_by_acceptance() {
        let accept: Vec<_> = Reason::ALL.into_iter().filter(|reason| reason.stage() == "accept").collect();
        assert_eq!(accept, [Reason::Late, Reason::Conflict]);
        for reason in Reason::ALL {
            let is_rejected = reason.outcome() == Outcome::Rejected;
            assert_eq!(is_rejected, reason.stage() == "decode", "{reason:?}");
            assert!(is_rejected || reason.outcome().as_str() == reason.as_str(), "{reason:?}");
        }
    }

    #[test]
    fn texts_quote_the_limits_that_are_checked() {
        let limit =
            |reason: Reason, number: usize| assert!(reason.explain().contains(&number.to_string()), "{reason:?}");
        limit(Reason::TooLarge, super::super::MAX_VALUE_BYTES);
        limit(Reason::TooDeep, super::super::fields::MAX_DEPTH);
        limit(Reason::BadId, super::super::fields::MAX_ID_BYTES);
        limit(Reason::NoStart, 86_400);
    }
}
