//! The golden dead letter. The rules of its headers are tested beside them.

use livesession_formats::dead_letter::{Header, Refused, added, join, replayed, replays, split};
use livesession_formats::notification::Reason;
use serde_json::{Map, Value, json};

use crate::contracts::{assert_valid, at, check_golden, validator};

/// A recording announced a day late, from a forwarder that adds a header.
const VALUE: &str = concat!(
    r#"{"app":"push.example.com","appname":"live","end_time":1753954200,"event_type":100,"file_format":"mp4","#,
    r#""file_id":"f-0006","start_time":1753952400,"stream_id":"room-7","video_url":"http://vod.example.com/f-0006.mp4"}"#
);

type Owned = (Vec<u8>, Option<Vec<u8>>);

fn lent(headers: &[Owned]) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect()
}

fn owned(headers: Vec<Header<'_>>) -> Vec<Owned> {
    headers.into_iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect()
}

/// Returns the headers of the dead letter of a record that carried others.
fn record(reason: Reason, carried: &[Owned]) -> Vec<Owned> {
    let headers = lent(carried);
    let added = added(&Refused {
        topic: "recording-notifications",
        partition: 0,
        offset: 12,
        timestamp: Some(at("2025-08-01T11:10:20Z")),
        group: "livesession",
        reason,
        headers: &headers,
    });
    owned(join(split(&headers).1, &added))
}

/// Returns the headers of the record that a dead letter is replayed as.
fn replay(letter: &[Owned]) -> Vec<Owned> {
    let headers = lent(letter);
    let count = [replayed(&headers)];
    owned(join(split(&headers).1, &count))
}

fn trace() -> Owned {
    (b"trace".to_vec(), Some(b"4bf92f3577b34da6".to_vec()))
}

/// The form of the schema, in which headers are an object.
fn as_object(all: &[Owned]) -> Value {
    let text = |value: &Option<Vec<u8>>| {
        value.as_ref().map_or(Value::Null, |bytes| json!(std::str::from_utf8(bytes).unwrap()))
    };
    let headers: Map<_, _> =
        all.iter().map(|(name, value)| (String::from_utf8(name.clone()).unwrap(), text(value))).collect();
    assert_eq!(headers.len(), all.len(), "a name twice");
    json!({ "key": "push.example.com/live/room-7", "value": VALUE, "headers": headers })
}

#[test]
fn golden_is_what_is_written() {
    // Refused for the second time: it shows every header.
    let carried = replay(&record(Reason::Late, &[trace()]));
    let text = serde_json::to_string_pretty(&as_object(&record(Reason::Late, &carried))).unwrap();
    check_golden("dead-letter.json", &(text + "\n"));
}

#[test]
fn headers_of_every_reason_are_valid() {
    let validator = validator("dead-letter.v1.schema.json");
    for reason in Reason::ALL {
        for carried in [vec![], vec![trace()], vec![(b"null".to_vec(), None)]] {
            assert_valid(&validator, &as_object(&record(reason, &carried)));
            let again = record(reason, &replay(&record(reason, &carried)));
            assert_valid(&validator, &as_object(&again));
            let again = lent(&again);
            assert_eq!((owned(split(&again).1), replays(&again)), (carried, Some(1)));
        }
    }
    let refused = Refused {
        topic: "t",
        partition: i32::MAX,
        offset: i64::MAX,
        timestamp: None,
        group: "g",
        reason: Reason::NotJson,
        headers: &[],
    };
    assert_valid(&validator, &as_object(&owned(join(vec![], &added(&refused)))));
}
