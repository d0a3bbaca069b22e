//! The notifications as the audit reads them, against examples; a small shared set of topics for the other tests.

mod cut;
mod faults;
mod topics;
mod trimmed;

use crate::name;
use crate::notification::{self, Notification, Rules};
use serde_json::{Value, json};

const EXAMPLES: &str = include_str!("../../../schemas/examples/notifications.ndjson");

#[test]
fn every_example_of_a_notification_is_read_as_described() {
    let rules = Rules { only_stream_id: false, max_segment: 86_400_000, max_clock_skew: 3_600_000 };
    let mut count = 0;
    for line in EXAMPLES.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let value = example["input"].as_str().unwrap();
        let found = notification::read(Some(value.as_bytes()), example["kafka_timestamp_ms"].as_i64(), &rules);
        let expect = &example["expect"];
        let name = |field: &str| expect["stream"][field].as_str().unwrap_or_default().to_owned();
        let stream = format!("{}/{}/{}", name("app"), name("appname"), name("stream_id"));
        let shown = match found {
            Notification::Other => json!({ "kind": "ignored" }),
            Notification::Refused(reason) => json!({ "kind": "dead_letter", "reason": reason }),
            Notification::Hint { stream: of, kind, at } => {
                assert_eq!(of, stream, "{}", example["name"]);
                let (push, anomalies) = (&expect["push_id"], &expect["anomalies"]);
                let names = &expect["stream"];
                json!({
                    "kind": "hint", "hint": kind, "stream": names, "push_id": push, "at_ms": at, "anomalies": anomalies,
                })
            }
            Notification::Segment(segment) => {
                assert_eq!(segment.stream, stream, "{}", example["name"]);
                let own = segment.attributes;
                json!({
                    "kind": "segment",
                    "stream": &expect["stream"],
                    "file_id": segment.file,
                    "start_ms": segment.start,
                    "end_ms": segment.end,
                    "format": own.format,
                    "url": own.url,
                    "duration_ms": own.media_ms,
                    "size_bytes": own.size_bytes,
                    "task_id": own.task_id,
                    "template_id": own.template_id,
                    "bitrate_kbps": own.bitrate_kbps,
                    "anomalies": own.anomalies,
                })
            }
        };
        assert_eq!(&shown, expect, "{}", example["name"]);
        count += 1;
    }
    assert!(count > 80, "{count} examples");
}

#[test]
fn refusals_of_large_numbers_and_odd_texts_are_as_described() {
    let rules = Rules { only_stream_id: true, max_segment: 86_400_000, max_clock_skew: 3_600_000 };
    let refusal = |text: &str| match notification::read(Some(text.as_bytes()), None, &rules) {
        Notification::Refused(reason) => reason,
        _ => "",
    };
    let body = |file: &str, end: &str| {
        format!(r#"{{"event_type":100,"stream_id":"s","file_id":{file},"start_time":1700000000,"end_time":{end}}}"#)
    };
    for (file, end, expected) in [
        ("18446744073709551615", "1700000100", ""),
        ("18446744073709551616", "1700000100", "bad_id"),
        ("-1", "1700000100", "bad_id"),
        ("1e3", "1700000100", "bad_id"),
        ("\"f\"", "1.7000001e9", ""),
        ("\"f\"", "17000001000e-1", ""),
        ("\"f\"", "1700000100.5", "no_end"),
        ("\"f\"", "\"+1700000100 \"", ""),
        ("\"f\"", "1e400", "no_end"),
        ("\"\\ud800\"", "1700000100", "not_json"),
        ("\"f\"", "946684799", "no_end"),
        ("\"f\"", "1699999999", "inverted_interval"),
        ("\"f\"", "1700086401", "interval_too_long"),
    ] {
        assert_eq!(refusal(&body(file, end)), expected, "file {file}, end {end}");
    }
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (text, expected) in [
        (nested(32), "not_an_object"),
        (nested(33), "too_deep"),
        (nested(4_000), "too_deep"),
        (String::new(), "not_json"),
    ] {
        assert_eq!(refusal(&text), expected);
    }
    assert_eq!(refusal(&" ".repeat(262_145)), "too_large");
}

#[test]
fn names_of_every_length_are_padded_as_the_standard_says() {
    // Against the other implementation at hand.
    let namespace = uuid::uuid!("5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64");
    for length in 0..200 {
        let stream = "s".repeat(length);
        let expected = uuid::Uuid::new_v5(&namespace, format!("{stream}\0f\0-1").as_bytes());
        assert_eq!(name::session_id(&stream, "f", -1), expected.to_string(), "{length} bytes");
    }
}
