//! Session records, one by one.

use livesession_formats::named::Named;
use livesession_formats::session::{Error, SCHEMA_ID, SessionRecord, decode, headers};
use livesession_grouping::{CloseCause, Publication, SessionId, Status};
use serde_json::json;

use crate::contracts::{SOURCE, assert_valid, at, check_golden, encoded, evening, json, read, validator};

fn text(publication: &Publication) -> String {
    String::from_utf8(encoded(publication)).unwrap()
}

#[test]
fn goldens_are_what_is_written() {
    // A line as `group` prints it: the record's value and a line feed.
    check_golden("session-closed.json", &(text(&evening::joined()) + "\n"));
    check_golden("session-withdrawn.json", &(text(&evening::second_withdrawn()) + "\n"));
    check_golden("session-open.json", &(text(&evening::second_open()) + "\n"));
}

#[test]
fn evening_is_as_the_notifications_say() {
    let first = decode(&encoded(&evening::first())).unwrap();
    assert_eq!(first.start, at("2025-08-01T10:00:02Z"));
    assert_eq!(first.end, at("2025-08-01T10:52:00Z"));
    // The HLS file covers the silence of 180 s before c.
    assert_eq!((first.duration_ms, first.recorded_ms, first.gaps.len()), (3_118_000, 3_118_000, 0));
    // The seed is b, which was read first.
    let seed = SessionId::new(evening::ROOM_7, "f-0002", at("2025-08-01T10:41:10Z"));
    assert_eq!(first.session_id, seed);
    assert_eq!(first.session_id.to_string(), "83719661-3174-5d75-a45e-86ff23f71f6d");
    let files: Vec<_> = first.segments.iter().map(|segment| segment.file_id.as_str()).collect();
    assert_eq!(files, ["f-0001", "f-0004", "f-0002", "f-0003"]);
    assert_eq!((first.source.first_offset, first.source.last_offset), (1, 9));

    let joined = decode(&encoded(&evening::joined())).unwrap();
    assert_eq!((joined.session_id, joined.revision), (first.session_id, 2));
    let gaps: Vec<_> = joined.gaps.iter().map(|gap| gap.duration_ms).collect();
    assert_eq!(gaps, [60_500, 60_500]);
    let withdrawn = decode(&encoded(&evening::second_withdrawn())).unwrap();
    assert_eq!((withdrawn.status, withdrawn.merged_into), (Status::Withdrawn.into(), Some(joined.session_id)));
    assert_eq!(withdrawn.recorded_ms, 899_000);
}

#[test]
fn evening_is_valid() {
    let validator = validator("session.v1.schema.json");
    for publication in evening::all() {
        assert_valid(&validator, &json(&text(&publication)));
    }
}

#[test]
fn reader_gives_back_what_was_written() {
    for publication in evening::all() {
        let record = decode(&encoded(&publication)).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text(&publication));
        assert_eq!(SessionRecord::from_publication(&publication, SOURCE), record, "without bytes in between");
    }
}

#[test]
fn stream_parts_are_taken_out_of_the_key() {
    let cases = [
        ("//room-7", ["", "", "room-7"]),
        ("d/live/room-7", ["d", "live", "room-7"]),
        ("a%2Fb/%25/%252F", ["a/b", "%", "%2F"]),
        ("d//\u{e9}\"\\", ["d", "", "\u{e9}\"\\"]),
    ];
    for (key, parts) in cases {
        let mut publication = evening::first();
        publication.stream = key.into();
        let stream = decode(&encoded(&publication)).unwrap().stream;
        assert_eq!(stream.key, key);
        assert_eq!([stream.app.as_str(), &stream.appname, &stream.stream_id], parts, "{key}");
    }
}

#[test]
fn headers_name_the_record() {
    let expected = |kind: &str, id: &str, time: &str| {
        vec![
            ("content-type", "application/json".to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", id.to_owned()),
            ("ce_source", "/livesession/livesession-eu".to_owned()),
            ("ce_type", format!("livesession.session.{kind}.v1")),
            ("ce_time", time.to_owned()),
            ("ce_subject", evening::ROOM_7.to_owned()),
            ("ce_dataschema", "urn:livesession:session:v1".to_owned()),
        ]
    };
    let id = evening::first().summary.session_id;
    assert_eq!(
        headers(&evening::first(), "livesession-eu"),
        expected("closed", &format!("{id}:1"), "2025-08-01T11:10:05.000Z")
    );
    assert_eq!(
        headers(&evening::joined(), "livesession-eu"),
        expected("closed", &format!("{id}:2"), "2025-08-01T13:30:00.000Z")
    );
    let withdrawn = evening::second_withdrawn();
    assert_eq!(
        headers(&withdrawn, "livesession-eu"),
        expected("withdrawn", &format!("{}:2", withdrawn.summary.session_id), "2025-08-01T13:30:00.000Z")
    );
}

#[test]
fn data_schema_is_the_id_of_the_schema() {
    assert_eq!(json(&read("session.v1.schema.json"))["$id"], SCHEMA_ID);
}

#[test]
fn content_does_not_depend_on_the_order_of_arrival() {
    // Revision, cause and watermark may differ, and where the seed is not the same file also the id and the offsets.
    let equality = |publication: &Publication| {
        let mut value = json(&text(publication));
        for field in ["revision", "close_cause", "watermark"] {
            value.as_object_mut().unwrap().remove(field).unwrap();
        }
        value
    };
    let mut again = evening::first();
    again.summary.revision = 7;
    again.summary.close_cause = Some(CloseCause::MaxHold);
    again.summary.watermark = at("2026-01-01T00:00:00Z");
    assert_ne!(text(&again), text(&evening::first()));
    assert_eq!(equality(&again), equality(&evening::first()));
    assert_ne!(equality(&evening::joined()), equality(&evening::first()));
}

#[test]
fn every_status_and_cause_is_read_as_it_is_written() {
    for cause in CloseCause::ALL {
        let mut publication = evening::first();
        publication.summary.close_cause = Some(cause);
        let record = decode(&encoded(&publication)).unwrap();
        assert_eq!(record.close_cause.unwrap().as_str(), cause.as_str());
    }
    for status in [Status::Closed, Status::Withdrawn, Status::Open] {
        let publication = Publication { status, ..evening::first() };
        assert_eq!(decode(&encoded(&publication)).unwrap().status.as_str(), status.as_str());
    }
}

#[test]
fn reader_ignores_unknown_fields_and_takes_unknown_names_as_other() {
    let mut value = json(&text(&evening::joined()));
    value["colour"] = json!("red");
    value["stream"]["colour"] = json!(["red"]);
    value["segments"][0]["colour"] = json!({ "red": 1 });
    value["status"] = json!("archived");
    value["close_cause"] = json!("boredom");
    value["segments"][0]["anomalies"] = json!(["colour_unknown"]);
    let record = decode(value.to_string().as_bytes()).unwrap();
    assert_eq!(record.status, Named::Other);
    assert_eq!(record.close_cause, Some(Named::Other));
    assert_eq!(record.segments[0].anomalies, ["colour_unknown"]);
}

#[test]
fn another_version_is_told_from_damage() {
    let mut value = json(&text(&evening::joined()));
    value["version"] = json!(2);
    assert!(matches!(decode(value.to_string().as_bytes()), Err(Error::Version { found: 2 })));
    // Also if nothing else is as it was.
    assert!(matches!(decode(br#"{"version":3,"sessions":[]}"#), Err(Error::Version { found: 3 })));
    assert!(matches!(decode(br#"{"version":1,"sessions":[]}"#), Err(Error::Unreadable { bytes: 27, .. })));
    for damaged in [&b""[..], b"null", b"[]", b"{", b"\xff", b"{}"] {
        assert!(matches!(decode(damaged), Err(Error::Unreadable { .. })), "{damaged:?}");
    }
}

#[test]
fn what_a_reader_would_fall_over_is_refused() {
    let refused = |pointer: &str, wrong: serde_json::Value| {
        let mut value = json(&text(&evening::joined()));
        *value.pointer_mut(pointer).unwrap() = wrong;
        decode(value.to_string().as_bytes()).unwrap_err()
    };
    let early = "2025-08-01T10:00:01.999Z";
    for (pointer, wrong) in [
        ("/end", json!(early)),
        ("/gaps/0/end", json!(early)),
        ("/segments/0/end", json!(early)),
        ("/segments/0/rendition", json!(3)),
    ] {
        let error = refused(pointer, wrong);
        assert!(matches!(error, Error::Inconsistent { revision: 2, .. }), "{pointer}: {error}");
    }
    for (pointer, wrong) in [
        ("/session_id", json!("room-7")),
        ("/merged_into", json!("room-7")),
        ("/start", json!("yesterday")),
        ("/start", json!("1969-12-31T23:59:59.999Z")),
        ("/revision", json!(-1)),
        ("/duration_ms", json!(1.5)),
        ("/segments/0/rendition", json!(-1)),
        ("/segments", json!(null)),
    ] {
        let error = refused(pointer, wrong);
        assert!(matches!(error, Error::Unreadable { .. }), "{pointer}: {error}");
    }
}
