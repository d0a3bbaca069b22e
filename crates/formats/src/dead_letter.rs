//! A refused record on its way to the dead-letter topic, and back.
//!
//! Key, value and headers of the refused record stay as they are; what is added says where it came from and why. So a
//! dead letter can be replayed byte for byte, and an operator needs nothing but a topic browser to understand it.
//!
//! The names of the first five headers, `__dlq.errors.…`, are those that other Kafka tools show; the rest are ours. All
//! values are UTF-8 text and numbers are decimal. No value of the record is quoted: it may hold push secrets.
//!
//! ```text
//! input ──refuse──▶ original ++ added() ──▶ dead-letter topic ──split()──▶ original ++ replayed() ──▶ input
//!                     ▲                                                                      │
//!                     └────────── refused again: our old headers replaced, the count kept ◀──┘
//! ```

use super::notification::Reason;
use livesession_grouping::time::Timestamp;

/// A record header as Kafka has it: any bytes for a name, and a value that may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// A header of ours, one of [`NAMES`].
pub type Added = (&'static str, String);

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
    /// As the record carried them; only the count of its replays is read.
    pub headers: &'a [Header<'a>],
}

/// Splits headers into ours and the record's own, each in their order.
///
/// A name that is not UTF-8 is the record's own.
pub fn split<'a>(headers: &[Header<'a>]) -> (Vec<Header<'a>>, Vec<Header<'a>>) {
    headers.iter().partition(|(name, _)| NAMES.iter().any(|ours| ours.as_bytes() == *name))
}

/// Returns the headers that a refusal adds to the record's own.
///
/// Old copies of ours are to be dropped rather than doubled ([`split`]): a reader may take the first or the last of a name.
pub fn added(refused: &Refused<'_>) -> Vec<Added> {
    let mut added = vec![
        (TOPIC, refused.topic.to_owned()),
        (PARTITION, refused.partition.to_string()),
        (OFFSET, refused.offset.to_string()),
        (GROUP, refused.group.to_owned()),
        (MESSAGE, refused.reason.explain().to_owned()),
        (REASON, refused.reason.as_str().to_owned()),
        (STAGE, refused.reason.stage().to_owned()),
        (VERSION_NAME, VERSION.to_owned()),
        (TIMESTAMP, refused.timestamp.map_or(-1, Timestamp::as_ms).to_string()),
    ];
    added.extend(replays(refused.headers).map(|count| (REPLAYS, count.to_string())));
    added
}

/// Returns the header that a replay adds to the record's own: a count that is one higher.
pub fn replayed(headers: &[Header<'_>]) -> Added {
    (REPLAYS, replays(headers).unwrap_or(0).saturating_add(1).to_string())
}

/// Returns the record's own headers followed by those that were added.
pub fn join<'a>(original: Vec<Header<'a>>, added: &'a [Added]) -> Vec<Header<'a>> {
    let mut all = original;
    all.extend(added.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))));
    all
}

/// Returns the text of the header `name`, one of [`NAMES`]: the last one, as Kafka's own readers do.
pub fn text<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|header| header.0 == name.as_bytes())?;
    std::str::from_utf8((*value)?).ok()
}

/// Returns how often the record has been replayed: the highest count, if several headers have one.
///
/// What is not a number is no count of ours, and is as good as absent: the next replay writes a proper one, so a record
/// cannot circle.
pub fn replays(headers: &[Header<'_>]) -> Option<u32> {
    let count = |value: Option<&[u8]>| std::str::from_utf8(value?).ok()?.parse().ok();
    headers.iter().filter(|(name, _)| *name == REPLAYS.as_bytes()).filter_map(|(_, value)| count(*value)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a str, value: &'a str) -> Header<'a> {
        (name.as_bytes(), Some(value.as_bytes()))
    }

    fn refused<'a>(reason: Reason, headers: &'a [Header<'a>]) -> Refused<'a> {
        let timestamp = Timestamp::from_ms(1_754_046_605_000);
        Refused { topic: "rec", partition: 3, offset: 77, timestamp, group: "livesession", reason, headers }
    }

    /// The record's own headers without ours.
    fn own<'a>(headers: &[Header<'a>]) -> Vec<Header<'a>> {
        split(headers).1
    }

    fn value_of<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
        let mut values = headers.iter().filter(|header| header.0 == name.as_bytes());
        let value = values.next()?.1?;
        assert!(values.next().is_none(), "{name} twice");
        Some(std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn original_headers_come_first_and_unchanged() {
        let original = [
            header("trace", "1"),
            (b"binary", Some(&[0, 0xff])),
            (b"null", None),
            (b"\xff", None),
            header("trace", "2"),
        ];
        let added = added(&refused(Reason::NoEnd, &original));
        let all = join(own(&original), &added);
        assert_eq!(all[..5], original);
        let names: Vec<_> = all[5..].iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, NAMES[..9]);
    }

    #[test]
    fn own_headers_are_told_from_those_of_the_record() {
        let headers =
            [(b"\xff".as_slice(), Some(b"1".as_slice())), header("livesession-dlq-reason", "late"), (b"trace", None)];
        assert_eq!(split(&headers), (vec![headers[1]], vec![headers[0], headers[2]]));
    }

    #[test]
    fn added_headers_say_where_and_why() {
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
        let added = added(&refused(Reason::Late, &[]));
        assert_eq!(join(vec![], &added), expected.map(|(name, value)| header(name, value)));
    }

    #[test]
    fn stage_is_accept_for_late_and_conflict_only() {
        for reason in Reason::ALL {
            let stage = if matches!(reason, Reason::Late | Reason::Conflict) { "accept" } else { "decode" };
            let added = added(&refused(reason, &[]));
            assert_eq!(value_of(&join(vec![], &added), STAGE), Some(stage), "{reason:?}");
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
        let added = added(&Refused { timestamp: None, ..refused(Reason::NotJson, &[]) });
        assert_eq!(value_of(&join(vec![], &added), TIMESTAMP), Some("-1"));
    }

    #[test]
    fn second_refusal_replaces_the_headers_of_the_first_and_keeps_the_count() {
        let original = [header("trace", "1"), header("__dlq.errors.other", "kept"), header("livesession-dlq", "kept")];
        let added_first = added(&refused(Reason::Late, &original));
        let first = join(own(&original), &added_first);
        assert_eq!(value_of(&first, REPLAYS), None);

        let count = [replayed(&first)];
        let back = join(own(&first), &count);
        assert_eq!(back[..3], original);
        assert_eq!(back[3..], [header(REPLAYS, "1")]);

        let added_second = added(&Refused { offset: 99, ..refused(Reason::Conflict, &back) });
        let second = join(own(&back), &added_second);
        assert_eq!(second[..3], original);
        assert_eq!(value_of(&second, OFFSET), Some("99"));
        assert_eq!(value_of(&second, REASON), Some("conflict"));
        assert_eq!(value_of(&second, REPLAYS), Some("1"));
        assert_eq!((own(&second), replays(&second)), (original.to_vec(), Some(1)));

        // The same when somebody copied the dead letter back with all its headers.
        let added_third = added(&refused(Reason::Late, &second));
        let copied = join(own(&second), &added_third);
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
            let given: Vec<Header<'_>> =
                values.iter().map(|value| (REPLAYS.as_bytes(), value.map(str::as_bytes))).collect();
            assert_eq!(replays(&given), expected, "{values:?}");
            let added = added(&refused(Reason::Late, &given));
            let all = join(own(&given), &added);
            assert_eq!(value_of(&all, REPLAYS).map(str::to_owned), expected.map(|count| count.to_string()));
            assert_eq!(own(&given), []);
        }
    }

    #[test]
    fn text_is_that_of_the_last_header_of_a_name() {
        let all = [header(REASON, "late"), header(TOPIC, "rec"), header(REASON, "conflict"), (GROUP.as_bytes(), None)];
        assert_eq!(text(&all, REASON), Some("conflict"));
        assert_eq!(text(&all, TOPIC), Some("rec"));
        assert_eq!(text(&all, GROUP), None);
        assert_eq!(text(&all, STAGE), None);
        assert_eq!(text(&[(STAGE.as_bytes(), Some(b"\xff"))], STAGE), None);
    }

    #[test]
    fn added_bytes_are_bounded() {
        let longest = "x".repeat(249);
        let carried = [header(REPLAYS, "4294967295")];
        for reason in Reason::ALL {
            let all = added(&Refused {
                topic: &longest,
                partition: i32::MAX,
                offset: i64::MAX,
                timestamp: Some(Timestamp::MAX),
                group: &longest,
                reason,
                headers: &carried,
            });
            // Two lengths of up to five bytes beside each name and value.
            let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
            let shortest_text = bytes - reason.explain().len();
            assert!((shortest_text + 512) as u64 <= MAX_ADDED_BYTES, "{reason:?}: {bytes} bytes");
        }
    }
}
