//! From bytes to an event and its stream.

use livesession_formats::notification::{Decoder, KeyParts, MAX_VALUE_BYTES, Notification, Reason, Rules};

use crate::notifications::support::{decode, hint, hint_with, ms, outcome, refused, segment, segment_with};

// rule: value
#[test]
fn tombstone_is_an_other_event_and_an_empty_value_is_not_json() {
    let mut decoder = Decoder::new(Rules::default());
    assert_eq!(decoder.decode(None, None), Notification::Other);
    assert_eq!(decoder.decode(Some(b""), None), Notification::Refused(Reason::NotJson));
}

// rule: value
#[test]
fn value_of_exactly_the_greatest_size_is_read() {
    assert_eq!(MAX_VALUE_BYTES, 262_144);
    for (size, too_large) in [(262_143, false), (262_144, false), (262_145, true)] {
        let mut value = segment_with(&[]).into_bytes();
        value.resize(size, b' ');
        let found = decode(&value);
        assert_eq!(found["reason"] == "too_large", too_large, "{size}");
        assert_eq!(found["kind"] == "segment", !too_large, "{size}");
    }
    // Before anything else.
    refused(&decode(&[0xff; 262_145]), Reason::TooLarge);
    refused(&decode(&[b'['; 262_145]), Reason::TooLarge);
}

// rule: json
#[test]
fn value_is_one_json_text_in_utf_8() {
    let base = segment_with(&[]);
    for accepted in [
        base.clone(),
        format!("\u{feff}{base}"),
        format!("\u{feff} \t\r\n{base} \t\r\n"),
        segment_with(&[("x", r#""[\"{\\""#), ("y", "1e999")]),
    ] {
        assert_eq!(decode(accepted.as_bytes())["kind"], "segment", "{accepted}");
    }
    for text in [
        format!(" \u{feff}{base}"),
        format!("\u{feff}\u{feff}{base}"),
        format!("{base}\u{feff}"),
        format!("{base},"),
        format!("{base}{base}"),
        format!("\u{a0}{base}"),
        format!("\u{c}{base}"),
        base.replace(":1800", ":01800"),
        base.replace(":1800", ":+1800"),
        base.replace(":1800", ":1800."),
        base.replace(":1800", ":NaN"),
        base.replace("room-1", "room\t1"),
        base.replace("room-1", r"room\x1"),
        base.replace('}', ",}"),
        base.replace('"', "'"),
        String::from("\u{feff}"),
        String::from("nul"),
        String::from("[1,2"),
        String::from(r#"["a"] x"#),
    ] {
        refused(&decode(text.as_bytes()), Reason::NotJson);
    }
    let not_utf_8 = base.replace("room-1", "room-?").into_bytes();
    let not_utf_8: Vec<u8> = not_utf_8.into_iter().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    refused(&decode(&not_utf_8), Reason::NotJson);
    for text in ["null", "true", "0", "\"\"", "[]", " [{}] ", "1e999", r#""\ud800""#] {
        refused(&decode(text.as_bytes()), Reason::NotAnObject);
    }
}

// rule: json
#[test]
fn half_a_surrogate_pair_matters_only_in_what_is_read() {
    let half = r#""room\ud83d""#;
    for field in ["stream_id", "app", "appname", "file_id", "video_url", "start_time", "end_time", "duration"] {
        refused(&segment(&[(field, half)]), Reason::NotJson);
    }
    for field in ["file_format", "file_size", "task_id", "record_temp_id", "record_bps", "end_time_usec", "event_type"]
    {
        refused(&segment(&[(field, r#""\udc00\ud83d""#)]), Reason::NotJson);
    }
    // The whole text comes before all that could be wrong with its fields.
    refused(&segment(&[("video_url", half), ("stream_id", ""), ("end_time", "0")]), Reason::NotJson);
    for field in ["stream_param", "callback_ext", "channel_id", "sign", "sequence", "domain", "event_time", "x"] {
        assert_eq!(segment(&[(field, half)])["kind"], "segment", "{field}");
    }
    refused(&decode(br#"{"event_type":200,"x\ud83d":1}"#), Reason::NotJson);
    assert_eq!(decode(br#"{"event_type":200,"stream_id":"\ud83d"}"#)["kind"], "ignored");
    assert_eq!(decode(br#"{"event_type":332,"record_event":"x","stream_id":"\ud83d"}"#)["kind"], "ignored");
    refused(&decode(br#"{"event_type":332,"record_event":"\ud83d"}"#), Reason::NotJson);
    let last = segment_with(&[]).replacen('{', r#"{"stream_id":"\ud83d","#, 1);
    assert_eq!(decode(last.as_bytes())["stream"]["stream_id"], "room-1");
    // A whole pair is a character.
    assert_eq!(segment(&[("stream_id", r#""\ud83d\ude00""#)])["stream"]["stream_id"], "😀");
    // With the stream id alone as the key, the others are not read.
    let mut decoder = Decoder::new(Rules { key_parts: KeyParts::StreamId, ..Rules::default() });
    let value = segment_with(&[("app", half), ("appname", "{}")]);
    assert_eq!(outcome(&decoder.decode(Some(value.as_bytes()), None))["kind"], "segment");
}

// rule: json
#[test]
fn nesting_of_32_levels_is_read() {
    for (depth, too_deep) in [(31, false), (32, false), (33, true), (30_000, true)] {
        let arrays = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let objects = format!("{}0{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
        for value in [arrays, objects] {
            let found = segment(&[("x", &value)]);
            assert_eq!(found["reason"] == "too_deep", too_deep, "{depth}");
            assert_eq!(found["kind"] == "segment", !too_deep, "{depth}");
        }
        let (opened, closed) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        let found = segment(&[("x", &format!("[{opened}{closed},[],{{}}]"))]);
        assert_eq!(found["kind"] == "segment", !too_deep, "{depth}, with siblings");
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        refused(&decode(text.as_bytes()), if too_deep { Reason::TooDeep } else { Reason::NotAnObject });
    }
}

// rule: json
#[test]
fn brackets_count_only_where_they_nest() {
    let in_string = format!("\"{}\"", r#"\"[{\\"#.repeat(100));
    assert_eq!(segment(&[("x", &in_string)])["kind"], "segment");
    let beside = format!("[{}[]]", "[],{},".repeat(100));
    assert_eq!(segment(&[("x", &beside)])["kind"], "segment");
    let after_string = format!(r#"["\\",{}{}]"#, "[".repeat(40), "]".repeat(40));
    refused(&segment(&[("x", &after_string)]), Reason::TooDeep);
}

// rule: field-names
#[test]
fn names_are_case_sensitive_and_the_last_of_a_repeated_one_counts() {
    refused(&segment(&[("stream_id", ""), ("Stream_id", r#""room-1""#)]), Reason::NoStream);
    let value = segment_with(&[]).replace('}', r#","end_time":"1754036999","stream_id":null}"#);
    refused(&decode(value.as_bytes()), Reason::NoStream);
    let value = segment_with(&[]).replace('}', r#","end_time":1754036999}"#);
    assert_eq!(decode(value.as_bytes())["end_ms"], 1_754_036_999_000_i64);
    let value = segment_with(&[]).replace("stream_id", r"str\u0065am_id");
    assert_eq!(decode(value.as_bytes())["stream"]["stream_id"], "room-1");
}

// rules: event-type, integers
#[test]
fn event_type_is_an_integer() {
    for literal in ["100", "100.0", "1e2", "\"100\"", "\" +100\\n\"", r#""\u0031\u00300""#] {
        assert_eq!(segment(&[("event_type", literal)])["kind"], "segment", "{literal}");
    }
    for literal in ["", "null", "\"\"", "\" \"", "true", "100.5", "\"100.0\"", "\"1e2\"", "[100]", "1e19", "\"a\""] {
        refused(&segment(&[("event_type", literal)]), Reason::NoEventType);
    }
    for literal in ["99", "101", "-1", "-100", "2", "9223372036854775807", "332", "\"0100000\""] {
        assert_eq!(segment(&[("event_type", literal)])["kind"], "ignored", "{literal}");
    }
    assert_eq!(hint(&[("event_type", "-0")])["hint"], "push_ended");
}

// rule: id-text
#[test]
fn identity_is_a_clean_text_of_2048_bytes_at_most() {
    for (length, bad) in [(2_047, false), (2_048, false), (2_049, true)] {
        let text = format!("\" {}\\t\"", "x".repeat(length));
        let two_bytes_each = format!("\"{}{}\"", "é".repeat(length / 2), "x".repeat(length % 2));
        for field in ["app", "appname", "stream_id", "file_id"] {
            for literal in [&text, &two_bytes_each] {
                let found = segment(&[(field, literal)]);
                assert_eq!(found["reason"] == "bad_id", bad, "{field} of {length} bytes");
                assert_eq!(found["kind"] == "segment", !bad, "{field} of {length} bytes");
            }
        }
        let found = segment(&[("file_id", ""), ("video_url", &text)]);
        assert_eq!(found["reason"] == "bad_id", bad, "video_url of {length} bytes");
        // As an attribute a URL may have any length.
        assert_eq!(segment(&[("video_url", &text)])["url"], "x".repeat(length));
    }
    for literal in [
        "{}",
        "[]",
        "true",
        "false",
        "1.0",
        "1e3",
        "-1",
        "-0",
        "18446744073709551616",
        r#""a\u0000b""#,
        r#""a\u001fb""#,
    ] {
        for field in ["app", "appname", "stream_id", "file_id"] {
            refused(&segment(&[(field, literal)]), Reason::BadId);
        }
        refused(&segment(&[("file_id", "null"), ("video_url", literal)]), Reason::BadId);
    }
    for literal in ["\"a\u{7f}b\"", "\"a\u{80}b\"", "\"a\u{9f}b\"", r#""a\u0085b""#, r#""a\u000bb""#, r#""a\tb""#] {
        refused(&segment(&[("stream_id", literal)]), Reason::BadId);
    }
    for literal in ["\"a\u{a0}b\"", "\"a\u{bf}b\"", "\"a\u{200b}b\"", "\"a b\"", "\"Â\"", "18446744073709551615", "0"]
    {
        assert_eq!(segment(&[("stream_id", literal)])["kind"], "segment", "{literal}");
    }
}

// rule: stream-key
#[test]
fn stream_key_escapes_slash_and_percent() {
    let mut decoder = Decoder::new(Rules::default());
    let value = segment_with(&[("app", r#""a\/b""#), ("appname", "\"5%\""), ("stream_id", "7")]);
    let Notification::Segment { stream, .. } = decoder.decode(Some(value.as_bytes()), None) else { panic!() };
    assert_eq!(stream, "a%2Fb/5%25/7");
}

// rule: stream-key
#[test]
fn stream_id_alone_may_be_the_key() {
    let mut decoder = Decoder::new(Rules { key_parts: KeyParts::StreamId, ..Rules::default() });
    for app in ["\"push.example.com\"", "", "{}", "1.5"] {
        for value in [
            segment_with(&[("app", app), ("stream_id", "\"room-7\"")]),
            hint_with(&[("app", app), ("stream_id", "\"room-7\"")]),
            hint_with(&[
                ("app", if app == "{}" { r#""\ud800""# } else { app }),
                ("stream_id", "\"room-7\""),
                ("domain", "[]"),
                ("event_type", "332"),
                ("record_event", "\"record_ended\""),
            ]),
        ] {
            match decoder.decode(Some(value.as_bytes()), None) {
                Notification::Segment { stream, .. } | Notification::Hint { stream, .. } => {
                    assert_eq!(stream, "//room-7");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

// rules: order-of-acceptance, stream-key
#[test]
fn absent_stream_comes_before_a_bad_id_and_both_before_the_file() {
    refused(&segment(&[("stream_id", ""), ("app", "{}")]), Reason::NoStream);
    refused(&segment(&[("stream_id", r#""\u0020""#), ("file_id", "{}")]), Reason::NoStream);
    refused(&segment(&[("app", "{}"), ("file_id", ""), ("video_url", "")]), Reason::BadId);
    refused(&segment(&[("file_id", ""), ("video_url", ""), ("end_time", "")]), Reason::NoFile);
    refused(&segment(&[("file_id", "{}"), ("end_time", "")]), Reason::BadId);
    refused(&segment(&[("end_time", ""), ("start_time", ""), ("duration", "")]), Reason::NoEnd);
    refused(&hint(&[("stream_id", "\"\""), ("event_time", "")]), Reason::NoStream);
    refused(&hint(&[("app", "{}"), ("event_time", "")]), Reason::BadId);
}

// rule: order-of-acceptance
#[test]
fn interval_too_long_comes_before_ahead_of_clock() {
    let mut decoder = Decoder::new(Rules::default());
    let value = segment_with(&[("start_time", "1600000000")]);
    let found = decoder.decode(Some(value.as_bytes()), Some(ms(1_000)));
    assert_eq!(found, Notification::Refused(Reason::IntervalTooLong));
}
