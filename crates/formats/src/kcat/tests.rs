//! Lines of `kcat -J`, read and refused.

use super::*;

fn error(line: &[u8]) -> Error {
    Line::parse(line).unwrap_err()
}

fn borrowed<'h>(headers: &'h Headers<'_>) -> Vec<(&'h [u8], Option<&'h [u8]>)> {
    headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect()
}

#[test]
fn line_of_kcat_is_read() {
    let line = br#"{"topic":"t","partition":3,"offset":41,"tstype":"create","ts":1772388000000,"broker":1,"headers":["a","1","b",null,"a",""],"key":"room-7","payload":"{\"a\":\"\u00e9\\n\"}"}"#;
    let line = Line::parse(line).unwrap();
    assert_eq!((&*line.topic, line.partition, line.offset), ("t", 3, 41));
    assert_eq!(line.timestamp, Timestamp::from_ms(1_772_388_000_000));
    assert_eq!(line.key.as_deref(), Some(&b"room-7"[..]));
    assert_eq!(line.value.as_deref(), Some("{\"a\":\"é\\n\"}".as_bytes()));
    assert_eq!(borrowed(&line.headers), [(&b"a"[..], Some(&b"1"[..])), (b"b", None), (b"a", Some(b""))]);
}

#[test]
fn absent_and_unknown_timestamps_are_none() {
    for (member, expected) in [
        ("", None),
        (r#""ts":-1,"#, None),
        (r#""ts":null,"#, None),
        (r#""tstype":"unknown","ts":5,"#, None),
        (r#""tstype":null,"ts":5,"#, None),
        (r#""ts":0,"#, Some(0)),
        (r#""tstype":"logappend","ts":5,"#, Some(5)),
        (r#""ts":253402300799999,"#, Some(253_402_300_799_999)),
        (r#""ts":253402300800000,"#, None),
    ] {
        let line = format!(r#"{{"topic":"t","partition":0,"offset":0,{member}"payload":null}}"#);
        let line = Line::parse(line.as_bytes()).unwrap();
        assert_eq!(line.timestamp.map(Timestamp::as_ms), expected, "{member}");
        assert_eq!((line.key.as_deref(), line.value.as_deref()), (None, None));
        assert!(line.headers.is_empty());
    }
}

#[test]
fn every_byte_survives_writing_and_reading() {
    let bytes: Vec<u8> = (0..=255).collect();
    let headers = [(&bytes[..], None), (b"", Some(&bytes[..]))];
    for (key, value) in [(Some(&bytes[..]), None), (None, Some(&bytes[..])), (Some(&b""[..]), Some(&b""[..]))] {
        let mut out = Vec::new();
        write(&mut out, ("t", 2, 9), Timestamp::from_ms(7), headers, (key, value));
        assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1), "one line");
        let line = Line::parse(&out).unwrap();
        assert_eq!((&*line.topic, line.partition, line.offset), ("t", 2, 9));
        assert_eq!((line.timestamp, line.key.as_deref(), line.value.as_deref()), (Timestamp::from_ms(7), key, value));
        assert_eq!(borrowed(&line.headers), headers);
    }
}

#[test]
fn escapes_of_other_writers_are_read() {
    let line = br#" { "payload" : "\u0000\b\f\/\ud83d\ude00" , "x":[{"y":"]\"\\"},1], "offset" : 1 ,"partition":0, "topic":"\u0074" } "#;
    let line = Line::parse(line).unwrap();
    assert_eq!(line.value.as_deref(), Some("\0\u{8}\u{c}/😀".as_bytes()));
    assert_eq!(line.topic, "t");
}

#[test]
fn last_of_repeated_members_counts() {
    let line = br#"{"topic":"a","topic":"b","partition":0,"offset":1,"offset":2,"headers":["x","y"],"headers":[],"payload":"1","payload":"2"}"#;
    let line = Line::parse(line).unwrap();
    assert_eq!((&*line.topic, line.offset, line.value.as_deref()), ("b", 2, Some(&b"2"[..])));
    assert!(line.headers.is_empty());
}

#[test]
fn malformed_lines_are_refused_with_their_place() {
    let good = r#"{"topic":"t","partition":0,"offset":0,"payload":"x"}"#;
    assert!(Line::parse(good.as_bytes()).is_ok());
    // No prefix of a line is a line.
    for length in 0..good.len() {
        assert!(Line::parse(&good.as_bytes()[..length]).is_err(), "{}", &good[..length]);
    }
    for (bad, problem, at) in [
        (good.replace("\"topic\":\"t\",", ""), "no `topic`", 40),
        (good.replace(":\"x\"", ":{}"), "invalid type: map, expected a string", 48),
        (good.replace("\"partition\":0", "\"partition\":-1"), "`partition` is negative", 27),
        (
            good.replace("\"partition\":0", "\"partition\":2147483648"),
            "invalid value: integer `2147483648`, expected i32",
            35,
        ),
        (good.replace("\"offset\":0", "\"offset\":-1"), "`offset` is negative", 38),
        (good.replace("\"offset\":0", "\"offset\":1.5"), "invalid type: floating point `1.5`, expected i64", 39),
        (good.replace("\"offset\":0", "\"offset\":"), "expected value", 37),
        (good.replace(":\"x\"", r#":"\x""#), "invalid escape", 51),
        (good.replace(":\"t\"", r#":"\ud800""#), "unexpected end of hex escape", 17),
        (good.replace(":\"t\"", r#":"\ud800\u0041""#), "lone leading surrogate in hex escape", 22),
        (good.replace(":\"t\"", r#":"\udc00""#), "lone leading surrogate in hex escape", 16),
        (good.replace(":\"x\"", r#":"\u00g0""#), "invalid escape", 55),
        (good.replace("\"payload\"", "\"headers\":[\"a\"],\"payload\""), "a header has no value", 68),
        (good.replace("\"payload\"", "\"headers\":[null,\"a\"],\"payload\""), "a header has no name", 73),
        (format!("{good}x"), "trailing characters", 53),
        ("[1]".to_owned(), "invalid type: sequence, expected an object", 0),
    ] {
        assert_eq!(error(bad.as_bytes()), Error { problem: problem.to_owned(), at }, "{bad}");
    }
}

#[test]
fn half_a_surrogate_pair_is_bytes_that_are_not_utf8() {
    for (text, expected) in [
        (r"\ud800", &b"\xed\xa0\x80"[..]),
        (r"\ud800\u0041", b"\xed\xa0\x80A"),
        (r"\ud800\n", b"\xed\xa0\x80\n"),
        (r"\udc00", b"\xed\xb0\x80"),
    ] {
        let line = format!(r#"{{"topic":"t","partition":0,"offset":0,"payload":"{text}"}}"#);
        let line = Line::parse(line.as_bytes()).unwrap();
        assert_eq!(line.value.as_deref(), Some(expected), "{text}");
        assert!(std::str::from_utf8(expected).is_err());
    }
}

#[test]
fn beginning_of_a_line_is_recognised() {
    for (start, expected) in [
        (r#"{"topic":"t","partition":0,"offset":0,"payload":"x"}"#, true),
        (r#"{"topic":"t","partition":0,"offset":0,"headers":["a","\""],"key":null,"payload":"x tail of which"#, true),
        (r#"{"event_type":100,"topic":"t","partition":0}"#, false),
        (r#"{"topic":"t","partition":0,"x":{"payload":1}}"#, false),
        (r#"{"payload":1,"topic":"t","par"#, false),
        ("", false),
        ("[", false),
    ] {
        assert_eq!(looks_like(start.as_bytes()), expected, "{start}");
    }
}
