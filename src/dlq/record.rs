//! A dead letter as the commands see it: where it is from, why it is here, and what can become of it.

use super::replayed::Ledger;
use livesession_formats::dead_letter::{self, CUT, MAX_REPLAYS};
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka::Record;

/// What can become of a dead letter, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Can be replayed.
    Waiting,
    /// Was replayed, and is settled.
    Replayed,
    /// Has been replayed as often as a record is.
    Exhausted,
    /// Its value was too large for the topic and is not here.
    Cut,
    /// Has no reason that this program knows: somebody else wrote it, or a newer version.
    Foreign,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Replayed => "replayed",
            State::Exhausted => "exhausted",
            State::Cut => "cut",
            State::Foreign => "foreign",
        }
    }
}

/// What the headers of a dead letter say; never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub partition: i32,
    pub offset: i64,
    /// When it was refused.
    pub written: Option<Timestamp>,
    /// `None`: foreign.
    pub reason: Option<Reason>,
    pub state: State,
    pub replays: u32,
    /// Topic, partition and offset of the refused record, as the headers say.
    pub source: (String, Option<i32>, Option<i64>),
    /// The refused record's Kafka timestamp.
    pub source_time: Option<Timestamp>,
    /// The application that refused it.
    pub group: String,
    /// Of key and value.
    pub bytes: usize,
}

impl Letter {
    /// Reads a record of the dead-letter topic.
    pub fn read(record: &Record<'_>, ledger: &Ledger) -> Letter {
        let headers = record.headers();
        let text = |name: &str| dead_letter::text(&headers, name).unwrap_or_default();
        let reason = Reason::parse(text(dead_letter::REASON));
        let replays = dead_letter::replays(&headers).unwrap_or(0);
        let is_cut = headers.iter().any(|(name, _)| *name == CUT.as_bytes());
        let state = match reason {
            None => State::Foreign,
            Some(_) if replays >= MAX_REPLAYS => State::Exhausted,
            Some(_) if is_cut => State::Cut,
            Some(reason) if ledger.is_settled(reason, record.offset()) => State::Replayed,
            Some(_) => State::Waiting,
        };
        Letter {
            partition: record.partition(),
            offset: record.offset(),
            written: record.timestamp().and_then(Timestamp::from_ms),
            reason,
            state,
            replays,
            source: (
                text(dead_letter::TOPIC).to_owned(),
                text(dead_letter::PARTITION).parse().ok(),
                text(dead_letter::OFFSET).parse().ok(),
            ),
            source_time: text(dead_letter::TIMESTAMP).parse().ok().and_then(Timestamp::from_ms),
            group: text(dead_letter::GROUP).to_owned(),
            bytes: record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(headers: &[(&'a str, &'a str)]) -> Record<'a> {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
        Record::from_parts((1, 17), Some(1_000), (Some(b"key"), Some(b"value")), headers)
    }

    fn state(headers: &[(&str, &str)], ledger: &Ledger) -> State {
        Letter::read(&record(headers), ledger).state
    }

    #[test]
    fn headers_say_where_and_why() {
        let headers = [
            ("trace", "x"),
            ("__dlq.errors.topic", "in"),
            ("__dlq.errors.partition", "3"),
            ("__dlq.errors.offset", "99"),
            ("__dlq.errors.group", "app"),
            ("livesession-dlq-reason", "late"),
            ("livesession-dlq-timestamp", "500"),
            ("livesession-dlq-replays", "2"),
        ];
        let expected = Letter {
            partition: 1,
            offset: 17,
            written: Timestamp::from_ms(1_000),
            reason: Some(Reason::Late),
            state: State::Waiting,
            replays: 2,
            source: ("in".to_owned(), Some(3), Some(99)),
            source_time: Timestamp::from_ms(500),
            group: "app".to_owned(),
            bytes: 8,
        };
        assert_eq!(Letter::read(&record(&headers), &Ledger::default()), expected);
    }

    #[test]
    fn state_says_what_can_become_of_it() {
        let mut ledger = Ledger::default();
        let reason = ("livesession-dlq-reason", "no_end");
        assert_eq!(state(&[], &ledger), State::Foreign);
        assert_eq!(state(&[("livesession-dlq-reason", "bored")], &ledger), State::Foreign);
        assert_eq!(state(&[reason], &ledger), State::Waiting);
        assert_eq!(state(&[reason, (CUT, "9")], &ledger), State::Cut);
        for (count, expected) in [("2", State::Waiting), ("3", State::Exhausted), ("4", State::Exhausted)] {
            assert_eq!(state(&[reason, ("livesession-dlq-replays", count)], &ledger), expected, "{count}");
        }
        ledger.settle(Reason::NoEnd, 17, 18);
        assert_eq!(state(&[reason], &ledger), State::Replayed);
        assert_eq!(state(&[reason, (CUT, "9")], &ledger), State::Cut, "it was passed over, not sent");
    }
}
