//! A refused record on its way to the dead-letter topic, and back.
//!
//! Key, value and headers of the refused record stay as they are; what is added says where it came from and why. So a
//! dead letter can be replayed byte for byte, and an operator needs nothing but a topic browser to understand it.
//!
//! The names of the first five headers, `__dlq.errors.…`, are those that other Kafka tools show; the rest are ours. All
//! values are UTF-8 text and numbers are decimal. No value of the record is quoted: it may hold push secrets.
//!
//! ```text
//! input ──refuse──▶ headers(): original ++ ours ──▶ dead-letter topic ──strip()──▶ original ++ replays + 1 ──▶ input
//!                     ▲                                                                      │
//!                     └────────── refused again: our old headers replaced, the count kept ◀──┘
//! ```

use super::notification::Reason;
use livesession_grouping::time::Timestamp;

/// A record header as Kafka has it: the value may be null.
pub type Header = (String, Option<Vec<u8>>);

/// How often the record has been replayed: absent on a first refusal, and the one header of ours that a replay keeps.
pub const REPLAYS: &str = "livesession-dlq-replays";

/// A record replayed this often goes back no more: it would circle for ever.
pub const MAX_REPLAYS: u32 = 3;

/// The version of these headers.
pub const VERSION: &str = "1";

/// On a dead letter without its value, or with the beginning of it only: how many bytes the value had.
///
/// Not among [`NAMES`]: such a letter cannot be replayed, so nothing ever takes the header off again.
pub const CUT: &str = "livesession-dlq-cut";

pub const TOPIC: &str = "__dlq.errors.topic";
pub const PARTITION: &str = "__dlq.errors.partition";
pub const OFFSET: &str = "__dlq.errors.offset";
pub const GROUP: &str = "__dlq.errors.group";
pub const MESSAGE: &str = "__dlq.errors.message";
pub const REASON: &str = "livesession-dlq-reason";
pub const STAGE: &str = "livesession-dlq-stage";
pub const VERSION_NAME: &str = "livesession-dlq-version";
pub const TIMESTAMP: &str = "livesession-dlq-timestamp";

/// Every name that this module adds, in the order in which it adds them.
pub const NAMES: [&str; 10] =
    [TOPIC, PARTITION, OFFSET, GROUP, MESSAGE, REASON, STAGE, VERSION_NAME, TIMESTAMP, REPLAYS];

/// How much longer than the refused record a dead letter can be, in bytes: names, values and their framing.
///
/// The dead-letter topic has to take this much more than the input topic, or its largest record would abort its
/// transaction for ever. Topic and group are at most 249 bytes long, a reason's text 512.
pub const MAX_ADDED_BYTES: u64 = 2_048;

/// A record that was refused, without its key and value, which nobody changes.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// Of the record itself, in its partition.
    pub offset: i64,
    /// The record's Kafka timestamp.
    pub timestamp: Option<Timestamp>,
    /// The consumer group that refused it.
    pub group: &'a str,
    pub reason: Reason,
    /// As the record carried them.
    pub headers: &'a [Header],
}

/// Returns the headers of the dead letter: the original ones in their order, then ours.
///
/// Old copies of ours are dropped rather than doubled: a reader may take the first or the last of a name.
pub fn headers(refused: &Refused<'_>) -> Vec<Header> {
    let mut all: Vec<Header> = refused.headers.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), Some(value.into_bytes())));
    add(TOPIC, refused.topic.to_owned());
    add(PARTITION, refused.partition.to_string());
    add(OFFSET, refused.offset.to_string());
    add(GROUP, refused.group.to_owned());
    add(MESSAGE, refused.reason.explain().to_owned());
    add(REASON, refused.reason.as_str().to_owned());
    add(STAGE, refused.reason.stage().to_owned());
    add(VERSION_NAME, VERSION.to_owned());
    add(TIMESTAMP, refused.timestamp.map_or(-1, Timestamp::as_ms).to_string());
    if let Some(count) = replays(refused.headers) {
        add(REPLAYS, count.to_string());
    }
    all
}

/// Returns the headers without ours, in their order, and how often the record has been replayed.
pub fn strip(headers: &[Header]) -> (Vec<Header>, u32) {
    let original = headers.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    (original, replays(headers).unwrap_or(0))
}

/// Returns the headers of a dead letter that is replayed: the original ones, and a count that is one higher.
pub fn replayed(headers: &[Header]) -> Vec<Header> {
    let (mut all, count) = strip(headers);
    all.push((REPLAYS.to_owned(), Some(count.saturating_add(1).to_string().into_bytes())));
    all
}

/// Returns the text of the header `name`, one of [`NAMES`]: the last one, as Kafka's own readers do.
pub fn text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|header| header.0 == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}

fn is_ours(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Returns the count that the headers carry: the highest, if several do.
///
/// What is not a number is no count of ours, and is as good as absent: the next replay writes a proper one, so a record
/// cannot circle.
fn replays(headers: &[Header]) -> Option<u32> {
    let count = |value: &Option<Vec<u8>>| std::str::from_utf8(value.as_deref()?).ok()?.parse().ok();
    headers.iter().filter(|(name, _)| name == REPLAYS).filter_map(|(_, value)| count(value)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Header {
        (name.to_owned(), Some(value.as_bytes().to_vec()))
    }

    fn refused<'a>(reason: Reason, headers: &'a [Header]) -> Refused<'a> {
        let timestamp = Timestamp::from_ms(1_754_046_605_000);
        Refused { topic: "rec", partition: 3, offset: 77, timestamp, group: "livesession", reason, headers }
    }

    fn value_of<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
        let mut values = headers.iter().filter(|header| header.0 == name);
        let value = values.next()?.1.as_deref()?;
        assert!(values.next().is_none(), "{name} twice");
        Some(std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn original_headers_come_first_and_unchanged() {
        let original = [
            header("trace", "1"),
            ("binary".to_owned(), Some(vec![0, 0xff])),
            ("null".to_owned(), None),
            header("trace", "2"),
        ];
        let all = headers(&refused(Reason::NoEnd, &original));
        assert_eq!(all[..4], original);
        let added: Vec<_> = all[4..].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(added, NAMES[..9]);
    }

    #[test]
    fn added_headers_say_where_and_why() {
        let all = headers(&refused(Reason::Late, &[]));
        let expected = [
            ("__dlq.errors.topic", "rec"),
            ("__dlq.errors.partition", "3"),
            ("__dlq.errors.offset", "77"),
            ("__dlq.errors.group", "livesession"),
            ("__dlq.errors.message", Reason::Late.explain()),
            ("livesession-dlq-reason", "late"),
            ("livesession-dlq-stage", "accept"),
            ("livesession-dlq-version", "1"),
            ("livesession-dlq-timestamp", "1754046605000"),
        ];
        assert_eq!(all, expected.map(|(name, value)| header(name, value)));
    }

    #[test]
    fn stage_is_accept_for_late_and_conflict_only() {
        for reason in Reason::ALL {
            let stage = if matches!(reason, Reason::Late | Reason::Conflict) { "accept" } else { "decode" };
            assert_eq!(value_of(&headers(&refused(reason, &[])), STAGE), Some(stage), "{reason:?}");
        }
    }

    #[test]
    fn explanation_of_every_reason_is_short_and_quotes_nothing() {
        for reason in Reason::ALL {
            let length = reason.explain().len();
            assert!((1..=512).contains(&length), "{reason:?}: {length} bytes");
        }
    }

    #[test]
    fn record_without_timestamp_says_minus_one() {
        let all = headers(&Refused { timestamp: None, ..refused(Reason::NotJson, &[]) });
        assert_eq!(value_of(&all, TIMESTAMP), Some("-1"));
    }

    #[test]
    fn second_refusal_replaces_the_headers_of_the_first_and_keeps_the_count() {
        let original = [header("trace", "1"), header("__dlq.errors.other", "kept"), header("livesession-dlq", "kept")];
        let first = headers(&refused(Reason::Late, &original));
        assert_eq!(value_of(&first, REPLAYS), None);

        let back = replayed(&first);
        assert_eq!(back[..3], original);
        assert_eq!(back[3..], [header(REPLAYS, "1")]);

        let second = headers(&Refused { offset: 99, ..refused(Reason::Conflict, &back) });
        assert_eq!(second[..3], original);
        assert_eq!(value_of(&second, OFFSET), Some("99"));
        assert_eq!(value_of(&second, REASON), Some("conflict"));
        assert_eq!(value_of(&second, REPLAYS), Some("1"));
        assert_eq!(strip(&second), (original.to_vec(), 1));

        // The same when somebody copied the dead letter back with all its headers.
        let copied = headers(&refused(Reason::Late, &second));
        assert_eq!(copied.len(), 3 + NAMES.len());
        assert_eq!(value_of(&copied, REPLAYS), Some("1"));
    }

    #[test]
    fn count_is_the_highest_number_among_the_headers() {
        let cases: [(&[Option<&str>], Option<u32>); 8] = [
            (&[], None),
            (&[Some("0")], Some(0)),
            (&[Some("2")], Some(2)),
            (&[Some("1"), Some("3"), Some("2")], Some(3)),
            (&[Some("many")], None),
            (&[Some("-1")], None),
            (&[None], None),
            (&[Some("many"), Some("4294967295")], Some(u32::MAX)),
        ];
        for (values, expected) in cases {
            let given: Vec<Header> =
                values.iter().map(|value| (REPLAYS.to_owned(), value.map(|text| text.as_bytes().to_vec()))).collect();
            assert_eq!(replays(&given), expected, "{values:?}");
            let all = headers(&refused(Reason::Late, &given));
            assert_eq!(value_of(&all, REPLAYS).map(str::to_owned), expected.map(|count| count.to_string()));
            assert_eq!(strip(&given), (vec![], expected.unwrap_or(0)));
        }
    }

    #[test]
    fn text_is_that_of_the_last_header_of_a_name() {
        let all = [header(REASON, "late"), header(TOPIC, "rec"), header(REASON, "conflict"), (GROUP.to_owned(), None)];
        assert_eq!(text(&all, REASON), Some("conflict"));
        assert_eq!(text(&all, TOPIC), Some("rec"));
        assert_eq!(text(&all, GROUP), None);
        assert_eq!(text(&all, STAGE), None);
        assert_eq!(text(&[(STAGE.to_owned(), Some(vec![0xff]))], STAGE), None);
    }

    #[test]
    fn added_bytes_are_bounded() {
        let longest = "x".repeat(249);
        let carried = [header(REPLAYS, "4294967295")];
        for reason in Reason::ALL {
            let all = headers(&Refused {
                topic: &longest,
                partition: i32::MAX,
                offset: i64::MAX,
                timestamp: Some(Timestamp::MAX),
                group: &longest,
                reason,
                headers: &carried,
            });
            // Two lengths of up to five bytes beside each name and value.
            let bytes: usize =
                all.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 10).sum();
            let shortest_text = bytes - reason.explain().len();
            assert!((shortest_text + 512) as u64 <= MAX_ADDED_BYTES, "{reason:?}: {bytes} bytes");
        }
    }
}
