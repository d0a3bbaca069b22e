//! File, interval, attributes, clock and hints.

use livesession_formats::notification::{Decoder, Reason, Rules};
use livesession_grouping::time::Millis;
use serde_json::{Value, json};

use crate::notifications::support::{END, anomalies, hint, hint_with, ms, outcome, refused, segment, segment_with};

// rule: file-id
#[test]
fn file_without_id_is_named_by_its_url() {
    for absent in ["", "null", "\"\"", "\" \"", "0", "\"0\"", "\" 0 \""] {
        let found = segment(&[("file_id", absent)]);
        assert_eq!(found["file_id"], "http://vod.example.com/01.mp4");
        anomalies(&found, &["url_as_id"]);
        refused(&segment(&[("file_id", absent), ("video_url", "\" \"")]), Reason::NoFile);
    }
    assert_eq!(segment(&[("file_id", "\"00\"")])["file_id"], "00");
}

/// What `end_time` is read as; the start is unusable and rebuilt, so that only the end matters.
fn end_of(literal: &str) -> Option<(i64, bool)> {
    let found = segment(&[("end_time", literal), ("start_time", ""), ("duration", "1")]);
    let scaled = found["anomalies"].as_array().map(|list| list.contains(&json!("time_scaled")));
    found["end_ms"].as_i64().zip(scaled)
}

// rule: times
#[test]
fn time_is_scaled_by_its_size() {
    let cases = [
        (99_999_999_999, 99_999_999_999_000, false),
        // 10^11 ms is in 1973: the unit changes there, and the year 2000 decides.
        (946_684_800_000, 946_684_800_000, true),
        (99_999_999_999_999, 99_999_999_999_999, true),
        (946_684_800_000_000, 946_684_800_000, true),
        (99_999_999_999_999_999, 99_999_999_999_999, true),
        (946_684_800_000_000_000, 946_684_800_000, true),
        (1_754_037_000_999_999, 1_754_037_000_999, true),
        (1_754_037_000_999_999_999, 1_754_037_000_999, true),
        (i64::MAX, 9_223_372_036_854, true),
    ];
    for (value, expected, scaled) in cases {
        assert_eq!(end_of(&value.to_string()), Some((expected, scaled)), "{value}");
        assert_eq!(end_of(&format!("\" {value}\"")), Some((expected, scaled)), "{value}");
    }
    for (bound, last_ms) in [
        (100_000_000_000_i64, 99_999_999_999_000),
        (100_000_000_000_000, 99_999_999_999_999),
        (100_000_000_000_000_000, 99_999_999_999_999),
    ] {
        // Below the bound the year is 5138 in the coarser unit; from it on 1973 in the finer one, which is unusable.
        let expected = Some((last_ms, bound > 100_000_000_000));
        for (delta, expected) in [(-1, expected), (0, None), (1, None)] {
            assert_eq!(end_of(&(bound + delta).to_string()), expected, "{bound} {delta:+}");
        }
    }
}

// rules: times, end
#[test]
fn time_before_the_year_2000_is_unusable() {
    for (unit, per_second) in [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)] {
        for (delta, usable) in [(-1, false), (0, true), (1, true)] {
            let value = 946_684_800_i64 * per_second + delta;
            assert_eq!(end_of(&value.to_string()).is_some(), usable, "{delta:+} {unit}");
        }
    }
    for literal in ["0", "-1", "-1754037000", "-9223372036854775808", "9223372036854775808", "true", "{}", "\"x\""] {
        refused(&segment(&[("end_time", literal)]), Reason::NoEnd);
        refused(&hint(&[("event_time", literal)]), Reason::NoEventTime);
    }
}

// rules: times, start
#[test]
fn scaled_start_counts_only_if_it_is_used() {
    let found = segment(&[("start_time", "1754037001000"), ("start_time_usec", "1"), ("end_time_usec", "1000")]);
    anomalies(&found, &["start_rebuilt", "usec_ignored"]);
    assert_eq!(found["start_ms"], (END - 1_800) * 1_000);
}

// rule: microseconds
#[test]
fn microsecond_parts_are_added_together_or_not_at_all() {
    let cases = [
        ("0", "0", Some((0, 0))),
        ("999", "1000", Some((0, 1))),
        ("999999", "\"999999\"", Some((999_i64, 999_i64))),
        ("1000000", "999999", None),
        ("0", "1000000", None),
        ("-1", "0", None),
        ("0.5", "0", None),
        ("{}", "0", None),
        ("", "0", None),
        ("0", "\" \"", None),
    ];
    for (start, end, added) in cases {
        let found = segment(&[("start_time_usec", start), ("end_time_usec", end)]);
        anomalies(&found, if added.is_some() { &[] } else { &["usec_ignored"] });
        let (start_part, end_part) = added.unwrap_or_default();
        assert_eq!(found["start_ms"], 1_754_035_200_000 + start_part, "{start} {end}");
        assert_eq!(found["end_ms"], END * 1_000 + end_part, "{start} {end}");
    }
    for (field, literal) in [("start_time", "1754035200000"), ("end_time", "1754037000000")] {
        let found = segment(&[(field, literal), ("start_time_usec", "1000"), ("end_time_usec", "1000")]);
        anomalies(&found, &["time_scaled", "usec_ignored"]);
        assert_eq!(found["start_ms"], 1_754_035_200_000_i64);
        assert_eq!(found["end_ms"], END * 1_000);
    }
    anomalies(&segment(&[("start_time_usec", "null"), ("end_time_usec", "\"\"")]), &[]);
}

// rule: start
#[test]
fn start_is_rebuilt_from_a_duration_of_one_second_to_a_day() {
    for (duration, rebuilt) in
        [("0", false), ("1", true), ("2", true), ("86399", true), ("86400", true), ("86401", false)]
    {
        for (start, reason) in [("", Reason::NoStart), ("1754037001", Reason::InvertedInterval)] {
            let found = segment(&[("start_time", start), ("duration", duration)]);
            if rebuilt {
                anomalies(&found, &["start_rebuilt"]);
                assert_eq!(found["start_ms"], (END - duration.parse::<i64>().unwrap()) * 1_000);
            } else {
                refused(&found, reason);
            }
        }
    }
    for duration in ["", "null", "\"long\"", "1.5", "-5", "9223372036854775807"] {
        refused(&segment(&[("start_time", "0"), ("duration", duration)]), Reason::NoStart);
    }
}

// rules: start, zero-length
#[test]
fn start_may_equal_the_end_but_not_pass_it() {
    for (delta, rebuilt) in [(-1, false), (0, false), (1, true)] {
        let start = (END * 1_000 + delta).to_string();
        let found = segment(&[("start_time", &start), ("end_time", &(END * 1_000).to_string())]);
        anomalies(&found, if rebuilt { &["start_rebuilt", "time_scaled"] } else { &["time_scaled"] });
    }
}

// rule: max-segment
#[test]
fn segment_of_exactly_max_segment_is_accepted() {
    for max_segment in [Millis::from_secs(86_400), Millis::from_secs(60)] {
        let mut decoder = Decoder::new(Rules { max_segment, ..Rules::default() });
        for (delta, accepted) in [(-1, true), (0, true), (1, false)] {
            let start = (END * 1_000 - max_segment.as_ms() - delta).to_string();
            let value = segment_with(&[("start_time", &start)]);
            let found = outcome(&decoder.decode(Some(value.as_bytes()), None));
            assert_eq!(found["kind"] == "segment", accepted, "{max_segment} {delta:+} ms");
            assert_eq!(found["reason"] == "interval_too_long", !accepted, "{max_segment} {delta:+} ms");
        }
    }
}

// rule: clock-skew
#[test]
fn time_may_be_ahead_of_the_record_by_max_clock_skew() {
    for max_clock_skew in [Millis::from_secs(3_600), Millis::ZERO] {
        let mut decoder = Decoder::new(Rules { max_clock_skew, ..Rules::default() });
        for (delta, accepted) in [(-1, true), (0, true), (1, false)] {
            let timestamp = ms(END * 1_000 - max_clock_skew.as_ms() - delta);
            for value in [segment_with(&[]), hint_with(&[])] {
                let found = outcome(&decoder.decode(Some(value.as_bytes()), Some(timestamp)));
                assert_eq!(found["reason"] == "ahead_of_clock", !accepted, "{max_clock_skew} {delta:+} ms");
            }
        }
    }
}

// rule: attributes
#[test]
fn attributes_never_refuse() {
    let texts =
        [("video_url", "url"), ("file_format", "format"), ("task_id", "task_id"), ("record_temp_id", "template_id")];
    for (field, name) in texts {
        for absent in ["", "null", "\"\"", "\" \\n\""] {
            let found = segment(&[(field, absent)]);
            assert_eq!(found[name], Value::Null);
            anomalies(&found, &[]);
        }
        for unreadable in ["{}", "[\"a\"]", "true", "1.0", "1e3", "-1", "18446744073709551616"] {
            let found = segment(&[(field, unreadable)]);
            assert_eq!(found[name], Value::Null);
            anomalies(&found, &["field_unreadable"]);
        }
        for (literal, text) in [("7", "7"), ("\" a b \"", "a b"), (r#""\u0061\u0001""#, "a\u{1}")] {
            let found = segment(&[(field, literal)]);
            assert_eq!(found[name], text);
            anomalies(&found, &[]);
        }
    }
    for (field, name, factor) in
        [("record_bps", "bitrate_kbps", 1), ("file_size", "size_bytes", 1), ("duration", "duration_ms", 1_000)]
    {
        for absent in ["", "null", "\"\"", "\" \\t\""] {
            let found = segment(&[(field, absent)]);
            assert_eq!(found[name], Value::Null, "{field} {absent}");
            anomalies(&found, &[]);
        }
        for unreadable in ["{}", "true", "-1", "0.5", "\"1.0\"", "9223372036854775808"] {
            let found = segment(&[(field, unreadable)]);
            assert_eq!(found[name], Value::Null, "{field} {unreadable}");
            anomalies(&found, &["field_unreadable"]);
        }
        for (literal, number) in [("0", 0), ("1", 1), ("\" +12 \"", 12), ("1.2e1", 12)] {
            assert_eq!(segment(&[(field, literal)])[name], number * factor);
        }
    }
    assert_eq!(segment(&[("file_size", "9223372036854775807")])["size_bytes"], i64::MAX);
    for (seconds, fits) in [(i64::MAX / 1_000, true), (i64::MAX / 1_000 + 1, false)] {
        let found = segment(&[("duration", &seconds.to_string())]);
        assert_eq!(found["duration_ms"], if fits { json!(seconds * 1_000) } else { Value::Null });
        anomalies(&found, if fits { &[] } else { &["field_unreadable"] });
    }
    for (literal, format) in
        [("\"HLS\"", "hls"), ("\"Größe\"", "größe"), ("\"ÄÖ\"", "äö"), ("5", "5"), (r#""M\u0050\/4""#, "mp/4")]
    {
        assert_eq!(segment(&[("file_format", literal)])["format"], format);
    }
}

#[test]
fn escaped_texts_do_not_mix() {
    let found = segment(&[
        ("stream_id", r#""r\/1""#),
        ("file_id", r#""f\/2""#),
        ("video_url", r#""\u0020http:\/\/x\/3 ""#),
        ("file_format", r#""M\u0050""#),
        ("task_id", r#""t\\4""#),
        ("end_time", r#""\u0031754037000""#),
    ]);
    assert_eq!(found["stream"]["stream_id"], "r/1");
    assert_eq!(found["file_id"], "f/2");
    assert_eq!(found["url"], "http://x/3");
    assert_eq!(found["format"], "mp");
    assert_eq!(found["task_id"], "t\\4");
    assert_eq!(found["end_ms"], END * 1_000);
}

// rule: hint-fields
#[test]
fn hint_of_event_332_takes_domain_where_app_is_absent() {
    let ended = |changes: &[(&str, &str)]| {
        let mut all = vec![("event_type", "332"), ("record_event", r#"" record_ended\n""#)];
        all.extend(changes);
        hint(&all)
    };
    assert_eq!(ended(&[("app", ""), ("domain", "\"d\"")])["stream"]["app"], "d");
    assert_eq!(ended(&[("app", "\" \""), ("domain", "\"d\"")])["stream"]["app"], "d");
    assert_eq!(ended(&[("app", r#""\t""#), ("domain", "\"d\"")])["stream"]["app"], "d");
    assert_eq!(ended(&[("domain", "\"d\"")])["stream"]["app"], "p");
    assert_eq!(ended(&[("domain", r#""\ud800""#)])["stream"]["app"], "p");
    assert_eq!(ended(&[("app", "")])["stream"]["app"], "");
    refused(&ended(&[("app", ""), ("domain", "{}")]), Reason::BadId);
    refused(&ended(&[("app", "{}"), ("domain", "\"d\"")]), Reason::BadId);
    refused(&ended(&[("app", ""), ("domain", r#""\ud800""#)]), Reason::NotJson);
    // A task has no push.
    for sequence in ["\"1\"", "{}", r#""\ud800""#] {
        let found = ended(&[("sequence", sequence)]);
        assert_eq!(found["push_id"], Value::Null);
        anomalies(&found, &[]);
    }
    for other in ["", "null", "\"record_ended2\"", "\"Record_ended\"", "1", "{}"] {
        let found = hint(&[("event_type", "332"), ("record_event", other)]);
        assert_eq!(found["kind"], "ignored", "{other}");
    }
    // Pushes do not say `domain`.
    assert_eq!(hint(&[("app", ""), ("domain", "\"d\"")])["stream"]["app"], "");
}

// rules: hint-fields, attributes
#[test]
fn sequence_of_a_push_is_an_attribute() {
    assert_eq!(hint(&[("sequence", "\" 12 \"")])["push_id"], "12");
    let found = hint(&[("sequence", "1.5")]);
    assert_eq!(found["push_id"], Value::Null);
    anomalies(&found, &["field_unreadable"]);
    anomalies(&hint(&[("sequence", "{}"), ("event_time", "1754037000000")]), &["field_unreadable", "time_scaled"]);
}
