//! Files of each form, good and bad.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Files that are removed with it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let directory = std::env::temp_dir().join(format!("livesession-input-{}-{test}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Files(directory)
    }

    fn add(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Offset, line and value of each record, and how the input ended.
type Records = (Vec<(i64, u64, String)>, Option<Error>);

fn read(files: Vec<String>, form: Option<Form>, keep: usize) -> Records {
    let mut input = match Input::new(files, form, keep) {
        Ok(input) => input,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    loop {
        match input.next_record() {
            Ok(Some(record)) => {
                let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"null")).into_owned();
                let cut = record.cut.map_or(String::new(), |length| format!(" of {length}"));
                records.push((record.offset, record.place.line, value + &cut));
            }
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

fn check(test: &str, form: Option<Form>, text: &str, expected: &[(i64, u64, &str)]) {
    let files = Files::new(test);
    let file = files.add("in", text.as_bytes());
    let (records, error) = read(vec![file], form, 40);
    assert!(error.is_none(), "{error:?}");
    let records: Vec<_> = records.iter().map(|(offset, line, value)| (*offset, *line, value.as_str())).collect();
    assert_eq!(records, expected, "{text:?}");
}

#[test]
fn raw_records_are_lines_that_are_not_blank() {
    let raw = Some(Form::Raw);
    check("raw-empty", raw, "", &[]);
    check("raw-blank", raw, "\n \r\n\n", &[]);
    check("raw-ends", raw, "{}\r\n\n  \n[1]\n x", &[(0, 1, "{}"), (3, 4, "[1]"), (4, 5, " x")]);
    check("raw-bom", raw, "\u{feff}{}\n\u{feff}[]\n", &[(0, 1, "{}"), (1, 2, "\u{feff}[]")]);
    check("raw-return", raw, "a\rb\n\r\n", &[(0, 1, "a\rb")]);
}

#[test]
fn raw_offsets_go_on_from_file_to_file() {
    let files = Files::new("raw-offsets");
    let names = vec![files.add("a", b"1\n\n2"), files.add("b", b""), files.add("c", b"3\n")];
    let (records, error) = read(names, None, 40);
    assert!(error.is_none());
    assert_eq!(records, [(0, 1, "1".to_owned()), (2, 3, "2".to_owned()), (3, 1, "3".to_owned())]);
}

#[test]
fn record_longer_than_is_kept_is_cut_and_the_next_one_is_not() {
    for length in [39, 40, 41, 300_000, 1_000_000] {
        let line = "x".repeat(length);
        let shown = if length <= 40 { line.clone() } else { format!("{} of {length}", &line[..40]) };
        for end in ["\n", "\r\n"] {
            let text = format!("1{end}{line}{end}2{end}");
            let expected = [(0, 1, "1"), (1, 2, shown.as_str()), (2, 3, "2")];
            check(&format!("long-{length}"), Some(Form::Raw), &text, &expected);
        }
        check(&format!("long-{length}"), Some(Form::Raw), &line, &[(0, 1, shown.as_str())]);
        let value = format!("[\"\",\n\"{}\"]", &line[..length - 8]);
        let shown = if length <= 40 { value.clone() } else { format!("{} of {length}", &value[..40]) };
        let text = format!("1\n{value}\n{{}}2\n");
        let expected = [(0, 1, "1"), (1, 2, shown.as_str()), (2, 4, "{}"), (3, 4, "2")];
        check(&format!("long-{length}"), Some(Form::Json), &text, &expected);
    }
}

#[test]
fn values_end_where_their_brackets_close() {
    let json = Some(Form::Json);
    check("json-empty", json, " \n\t\n", &[]);
    check("json-one-line", json, "{}[1]{\"a\":\"}\"}\n", &[(0, 1, "{}"), (1, 1, "[1]"), (2, 1, "{\"a\":\"}\"}")]);
    let pretty = "{\n \"a\": [\n  {\"b\": \"\\\"{\"}\n ]\n}";
    check("json-pretty", json, &format!("\n{pretty}\n\n{pretty}"), &[(0, 2, pretty), (1, 8, pretty)]);
    check(
        "json-scalars",
        json,
        "1 2\ntrue\n\"x\\\"y\" {}",
        &[(0, 1, "1 2"), (1, 2, "true"), (2, 3, "\"x\\\"y\""), (3, 3, "{}")],
    );
    let flat = "[\n{\n\"a\":\n{}\n},\n{}\n]";
    check("json-flat", json, flat, &[(0, 1, flat)]);
}

#[test]
fn value_that_is_broken_off_costs_one_record() {
    let json = Some(Form::Json);
    for broken in ["{\"a\": 1", "{\"a\": 1,", "{\"a\": \"x", "{", "{\"a\":\n{\"b\": [1", "{\"a\": \"x\\"] {
        let line = 2 + broken.matches('\n').count() as u64;
        check("json-broken", json, &format!("{broken}\n{{\"c\":\n2}}\n"), &[(0, 1, broken), (1, line, "{\"c\":\n2}")]);
    }
    check("json-broken-end", json, "{}\n{\"a\":\n", &[(0, 1, "{}"), (1, 2, "{\"a\":")]);
}

#[test]
fn value_with_a_typing_error_costs_one_record() {
    let json = Some(Form::Json);
    let next = "{\n \"c\": 2\n}";
    for broken in [
        "{\n \"a\": tru,\n \"b\": 1\n}",
        "{\n\"a\": [\n {\n\"b\" 1\n },\n {}\n],\n\"d\": {\n}\n}",
        "[\n{\"a\":1},\n{\"a\":tru},\n{\"a\":2}\n]",
        "{\"a\":\n\"x,\n",
        "\"x",
        "{\"a\": tru}",
    ] {
        for between in ["\n", "\n\n  "] {
            let line = 1 + (broken.to_owned() + between).matches('\n').count() as u64;
            let text = format!("{broken}{between}{next}\n");
            check("json-error", json, &text, &[(0, 1, broken.trim_end()), (1, line, next)]);
        }
    }
    check("json-glued", json, "{}{\"a\": tru}{}\n", &[(0, 1, "{}"), (1, 1, "{\"a\": tru}"), (2, 1, "{}")]);
}

#[test]
fn value_is_whole_wherever_it_was_cut_by_reading() {
    let value = |number: usize| format!("{{\n \"n\": {number},\n \"x\": \"{}\"\n}}", "y".repeat(number % 1_000));
    let files = Files::new("json-reads");
    let large = value(999).replace('y', &"z".repeat(1_000));
    let text: String = (0..2_000).map(|number| value(number) + "\n").collect();
    let (records, error) = read(vec![files.add("in", (text + &large).as_bytes())], Some(Form::Json), 2_000_000);
    assert!(error.is_none());
    assert_eq!(records.len(), 2_001);
    for (number, record) in records[..2_000].iter().enumerate() {
        assert_eq!(*record, (number as i64, number as u64 * 4 + 1, value(number)));
    }
    assert_eq!(records[2_000], (2_000, 8_001, large));
}

#[test]
fn kcat_lines_say_their_own_place() {
    let line = |offset, value| {
        format!("{{\"topic\":\"t\",\"partition\":2,\"offset\":{offset},\"ts\":5,\"payload\":{value}}}\n")
    };
    let text = line(7, "\"{}\"") + "\n" + &line(9, "null");
    check("kcat", None, &text, &[(7, 1, "{}"), (9, 3, "null")]);
    let files = Files::new("kcat-record");
    let mut input = Input::new(vec![files.add("in", text.as_bytes())], None, 40).unwrap();
    let record = input.next_record().unwrap().unwrap();
    assert_eq!((record.topic.as_deref(), record.partition), (Some("t"), 2));
    assert_eq!(record.timestamp, Timestamp::from_ms(5));
}

#[test]
fn malformed_kcat_line_ends_the_input_at_its_line() {
    let files = Files::new("kcat-malformed");
    let good = "{\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload\":\"1\"}\n";
    let file = files.add("in", format!("{good}\n{{\"topic\":\"t\"}}\n{good}").as_bytes());
    let (records, error) = read(vec![file.clone()], None, 40);
    assert_eq!(records.len(), 1);
    let expected = format!(
        "{file}: line 3: not a line of kcat -J: no `partition` at byte 13 of the line; nothing after line 2 was read"
    );
    assert_eq!(error.unwrap().to_string(), expected);
}

#[test]
fn form_is_recognised_by_the_first_value() {
    let kcat = "{\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload\":\"1\"}";
    for (text, expected) in [
        ("", Form::Raw),
        ("  \n\n", Form::Raw),
        ("{\"event_type\":100}\n{", Form::Raw),
        ("\n\n{\"event_type\":100}", Form::Raw),
        ("{\"event_type\":100", Form::Raw),
        ("{\"event_type\":100\n{\"event_type\":100}\n", Form::Raw),
        ("{\"event_type\":\"10\n{\"event_type\":100}\n", Form::Raw),
        ("{}{}\n", Form::Raw),
        ("event_type=100", Form::Raw),
        ("\"{}\"\n", Form::Raw),
        ("\0\u{1}\u{2}", Form::Raw),
        ("{\n\"event_type\":100\n}", Form::Json),
        ("{\"event_type\":100,\n \"app\":\"\"\n}", Form::Json),
        ("{\n  \"a\": [\n {\"b\":1}]}\n{}", Form::Json),
        ("[{}]", Form::Json),
        ("[\n", Form::Json),
        (kcat, Form::Kcat),
        (&format!("\u{feff}\n{kcat}\n{kcat}\n"), Form::Kcat),
        (&format!("{}\n", &kcat[..50]), Form::Kcat),
        (&format!("{}\n{kcat}\n", &kcat[..50]), Form::Kcat),
        ("{\n\"event_type\":tru\n}\n{\n}", Form::Json),
        ("{\"event_type\":\"1\\\n{\"event_type\":100}\n", Form::Raw),
        ("{\"event_type\":1,\n  {\"event_type\":100}\n", Form::Raw),
        ("{\"topic\":\"t\",\"partition\":0}\n", Form::Raw),
    ] {
        let files = Files::new("form");
        let current = open(&files.add("in", text.as_bytes()), None, 40).unwrap();
        assert_eq!(current.form, expected, "{text:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_told_before_any_is_read() {
    let files = Files::new("unusable");
    let good = files.add("good", b"{}\n");
    let directory = files.0.to_str().unwrap().to_owned();
    let missing = format!("{directory}/missing");
    for (file, problem) in [
        (missing.clone(), format!("{missing} does not exist")),
        (directory.clone(), format!("{directory} is a directory: name the files in it")),
    ] {
        let (records, error) = read(vec![good.clone(), file], None, 40);
        assert!(records.is_empty());
        assert_eq!(error.unwrap().to_string(), problem);
    }
    let twice = vec!["-".to_owned(), good, "-".to_owned()];
    assert_eq!(read(twice, None, 40).1.unwrap().to_string(), "stdin (-) is named twice");
}

#[test]
fn truncated_file_hands_on_whole_lines_and_ends_the_input() {
    use std::io::Write;
    let files = Files::new("truncated");
    let text: String = (0..20_000).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let kept = packed.len() / 2;
    let names = vec![files.add("a.gz", &packed[..kept]), files.add("b", b"{\"after\":1}\n")];
    let (records, error) = read(names.clone(), None, 40);
    assert!(records.len() > 1_000);
    for (index, (offset, _, value)) in records.iter().enumerate() {
        assert_eq!((*offset, value), (index as i64, &format!("{{\"n\":{index}}}")));
    }
    let expected = format!(
        "{}: gzip data ends too early: the file is truncated (byte {kept} of the file); nothing after line {} was read",
        names[0],
        records.len()
    );
    assert_eq!(error.unwrap().to_string(), expected);
}

#[test]
fn progress_counts_bytes_on_disk() {
    let files = Files::new("progress");
    let names = vec![files.add("a", b"1\n2\n"), files.add("b", &zstd::stream::encode_all(&b"3\n"[..], 1).unwrap())];
    let mut input = Input::new(names, None, 40).unwrap();
    while input.next_record().unwrap().is_some() {}
    assert_eq!(Some(input.bytes_read()), input.total_bytes());
    assert!(input.bytes_read() > 4);
}
