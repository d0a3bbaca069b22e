//! What is read of a line of `kcat -J`, and what is refused.

use super::*;

fn error(line: &[u8]) -> Error {
    Parser::new().parse(line).unwrap_err()
}

#[test]
fn line_of_kcat_is_read() {
    let line = br#"{"topic":"t","partition":3,"offset":41,"tstype":"create","ts":1772388000000,"broker":1,"headers":["a","1","b",null,"a",""],"key":"room-7","payload":"{\"a\":\"\u00e9\\n\"}"}"#;
    let mut parser = Parser::new();
    let line = parser.parse(line).unwrap();
    assert_eq!((line.topic, line.partition, line.offset), ("t", 3, 41));
    assert_eq!(line.timestamp, Timestamp::from_ms(1_772_388_000_000));
    assert_eq!(line.key, Some(&b"room-7"[..]));
    assert_eq!(line.value, Some("{\"a\":\"é\\n\"}".as_bytes()));
    let headers: Vec<_> = line.headers.iter().collect();
    assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"b", None), (b"a", Some(b""))]);
}

#[test]
fn absent_and_unknown_timestamps_are_none() {
    let mut parser = Parser::new();
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
        let line = parser.parse(line.as_bytes()).unwrap();
        assert_eq!(line.timestamp.map(Timestamp::as_ms), expected, "{member}");
        assert_eq!((line.key, line.value), (None, None));
        assert!(line.headers.is_empty());
    }
}

#[test]
fn every_byte_survives_writing_and_reading() {
    let bytes: Vec<u8> = (0..=255).collect();
    let headers = [(&bytes[..], None), (b"", Some(&bytes[..]))];
    let mut parser = Parser::new();
    for (key, value) in [(Some(&bytes[..]), None), (None, Some(&bytes[..])), (Some(&b""[..]), Some(&b""[..]))] {
        let mut out = Vec::new();
        write(&mut out, ("t", 2, 9), Timestamp::from_ms(7), headers, (key, value));
        assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1), "one line");
        let line = parser.parse(&out).unwrap();
        assert_eq!((line.topic, line.partition, line.offset), ("t", 2, 9));
        assert_eq!((line.timestamp, line.key, line.value), (Timestamp::from_ms(7), key, value));
        assert_eq!(line.headers.iter().collect::<Vec<_>>(), headers);
    }
}

#[test]
fn escapes_of_other_writers_are_read() {
    let mut parser = Parser::new();
    let line = br#" { "payload" : "\u0000\b\f\/\ud83d\ude00" , "x":[{"y":"]\"\\"},1], "offset" : 1 ,"partition":0, "topic":"\u0074" } "#;
    let line = parser.parse(line).unwrap();
    assert_eq!(line.value, Some("\0\u{8}\u{c}/😀".as_bytes()));
    assert_eq!(line.topic, "t");
}

#[test]
fn last_of_repeated_members_counts() {
    let mut parser = Parser::new();
    let line = br#"{"topic":"a","topic":"b","partition":0,"offset":1,"offset":2,"headers":["x","y"],"headers":[],"payload":"1","payload":"2"}"#;
    let line = parser.parse(line).unwrap();
    assert_eq!((line.topic, line.offset, line.value), ("b", 2, Some(&b"2"[..])));
    assert!(line.headers.is_empty());
}

#[test]
fn malformed_lines_are_refused_with_their_place() {
    let good = r#"{"topic":"t","partition":0,"offset":0,"payload":"x"}"#;
    assert!(Parser::new().parse(good.as_bytes()).is_ok());
    // No prefix of a line is a line.
    for length in 0..good.len() {
        assert!(Parser::new().parse(&good.as_bytes()[..length]).is_err(), "{}", &good[..length]);
    }
    for (bad, problem, at) in [
        (good.replace("\"topic\":\"t\",", ""), "no `topic`", 40),
        (good.replace(":\"x\"", ":{}"), "expected a string", 48),
        (good.replace("\"partition\":0", "\"partition\":-1"), "`partition` is out of range", 25),
        (good.replace("\"partition\":0", "\"partition\":2147483648"), "`partition` is out of range", 25),
        (good.replace("\"offset\":0", "\"offset\":-1"), "`offset` is negative", 36),
        (good.replace("\"offset\":0", "\"offset\":1.5"), "expected an integer", 36),
        (good.replace("\"offset\":0", "\"offset\":"), "expected an integer", 36),
        (good.replace(":\"x\"", r#":"\x""#), "unknown escape", 50),
        (good.replace(":\"x\"", r#":"\ud800""#), "half a surrogate pair", 55),
        (good.replace(":\"x\"", r#":"\ud800\u0041""#), "half a surrogate pair", 61),
        (good.replace(":\"x\"", r#":"\udc00""#), "half a surrogate pair", 55),
        (good.replace(":\"x\"", r#":"\u00g0""#), "expected four hexadecimal digits", 51),
        (good.replace("\"payload\"", "\"headers\":[\"a\"],\"payload\""), "a header has no value", 53),
        (good.replace("\"payload\"", "\"headers\":[null,\"a\"],\"payload\""), "expected a string", 49),
        (format!("{good}x"), "unexpected text after the object", 52),
        ("[1]".to_owned(), "expected an object", 0),
    ] {
        assert_eq!(error(bad.as_bytes()), Error { problem, at }, "{bad}");
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
