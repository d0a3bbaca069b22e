//! Examples, notifications with changed fields, and outcomes in the form of the examples.

use std::collections::BTreeMap;

use livesession_formats::notification::{Decoder, Notification, Reason, Rules, split_stream_key};
use livesession_grouping::Anomaly;
use livesession_grouping::time::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub const EXAMPLES: &str = include_str!("../../../schemas/examples/notifications.ndjson");

pub struct Example {
    pub name: String,
    pub input: String,
    pub timestamp: Option<Timestamp>,
    pub expect: Value,
}

pub fn examples() -> Vec<Example> {
    let example = |line: &str| {
        let read: Value = serde_json::from_str(line).unwrap();
        Example {
            name: read["name"].as_str().unwrap().to_owned(),
            input: read["input"].as_str().unwrap().to_owned(),
            timestamp: Timestamp::from_ms(read["kafka_timestamp_ms"].as_i64().unwrap()),
            expect: read["expect"].clone(),
        }
    };
    EXAMPLES.lines().map(example).collect()
}

pub fn stream_parts(stream: &str) -> Value {
    let (app, appname, stream_id) = split_stream_key(stream);
    json!({ "app": app, "appname": appname, "stream_id": stream_id })
}

/// Writes an outcome in the form of the examples.
pub fn outcome(notification: &Notification<'_>) -> Value {
    match notification {
        Notification::Segment { stream, segment } => json!({
            "kind": "segment",
            "stream": stream_parts(stream),
            "file_id": segment.file_id,
            "start_ms": segment.start.as_ms(),
            "end_ms": segment.end.as_ms(),
            "format": segment.format,
            "url": segment.url,
            "duration_ms": segment.media_ms,
            "size_bytes": segment.size_bytes,
            "task_id": segment.task_id,
            "template_id": segment.template_id,
            "bitrate_kbps": segment.bitrate_kbps,
            "anomalies": segment.anomalies.iter().map(Anomaly::as_str).collect::<Vec<_>>(),
        }),
        Notification::Hint { stream, kind, push_id, at, anomalies } => json!({
            "kind": "hint",
            "hint": kind.as_str(),
            "stream": stream_parts(stream),
            "push_id": push_id,
            "at_ms": at.as_ms(),
            "anomalies": anomalies.iter().map(Anomaly::as_str).collect::<Vec<_>>(),
        }),
        Notification::Other => json!({ "kind": "ignored" }),
        Notification::Refused(reason) => json!({ "kind": "dead_letter", "reason": reason.as_str() }),
    }
}

pub fn ms(value: i64) -> Timestamp {
    Timestamp::from_ms(value).unwrap()
}

/// Decodes one value with the default rules and no timestamp.
pub fn decode(value: &[u8]) -> Value {
    outcome(&Decoder::new(Rules::default()).decode(Some(value), None))
}

pub const END: i64 = 1_754_037_000;

/// The base notification with some fields set to a literal; an empty one removes the field.
pub fn segment_with(changes: &[(&str, &str)]) -> String {
    object_with(
        &[
            ("event_type", "100"),
            ("app", r#""push.example.com""#),
            ("appname", r#""live""#),
            ("stream_id", r#""room-1""#),
            ("file_id", r#""6000000000000000001""#),
            ("file_format", r#""mp4""#),
            ("start_time", "1754035200"),
            ("end_time", "1754037000"),
            ("duration", "1800"),
            ("file_size", "1000000"),
            ("video_url", r#""http://vod.example.com/01.mp4""#),
        ],
        changes,
    )
}

pub fn hint_with(changes: &[(&str, &str)]) -> String {
    let base = [("event_type", "1"), ("app", r#""p""#), ("stream_id", r#""room-1""#), ("event_time", "1754037000")];
    object_with(&base, changes)
}

pub fn object_with(base: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut fields: BTreeMap<&str, &str> = base.iter().copied().collect();
    fields.extend(changes.iter().copied());
    let pairs: Vec<_> =
        fields.iter().filter(|(_, literal)| !literal.is_empty()).map(|(name, l)| format!("{name:?}:{l}")).collect();
    format!("{{{}}}", pairs.join(","))
}

pub fn segment(changes: &[(&str, &str)]) -> Value {
    decode(segment_with(changes).as_bytes())
}

pub fn hint(changes: &[(&str, &str)]) -> Value {
    decode(hint_with(changes).as_bytes())
}

#[track_caller]
pub fn refused(found: &Value, reason: Reason) {
    assert_eq!(*found, json!({ "kind": "dead_letter", "reason": reason.as_str() }));
}

#[track_caller]
pub fn anomalies(found: &Value, expected: &[&str]) {
    assert_eq!(found["anomalies"], json!(expected), "{found}");
}

/// The fields of an example that is an object.
pub fn fields_of(input: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(input.trim_start_matches('\u{feff}')).ok()
}
