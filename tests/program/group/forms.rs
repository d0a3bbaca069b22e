//! Every form of input gives the same sessions.

use std::fs;
use std::io::Write;

use serde_json::Value;

use super::support::{EVENING, Files, evening, kcat, run, run_with};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pretty(line: &str) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap(),
        Err(_) => line.to_owned(),
    }
}

fn every_form_gives_the_same_sessions() {
    let expected = run(&[EVENING]).succeeded();
    let lines = evening();
    let raw = lines.join("\n");
    let json = lines.iter().map(|line| pretty(line)).collect::<Vec<_>>().join("\n\n");
    let in_kcat = lines.iter().enumerate().map(|(offset, line)| kcat(0, offset as i64, -1, line));
    let in_kcat = in_kcat.collect::<Vec<_>>().join("\n");
    let half = raw.len() / 2;
    let members = [gzip(&raw.as_bytes()[..half]), gzip(&raw.as_bytes()[half..])].concat();
    let files = Files::new("forms");
    for (name, bytes, form) in [
        ("raw", raw.clone().into_bytes(), "raw"),
        ("crlf", raw.replace('\n', "\r\n").into_bytes(), "raw"),
        ("bom", format!("\u{feff}{raw}\n").into_bytes(), "raw"),
        ("json", json.clone().into_bytes(), "json"),
        ("bom-json", format!("\u{feff}\n{json}\n").into_bytes(), "json"),
        ("kcat", in_kcat.into_bytes(), "kcat"),
        ("raw.gz", members, "raw"),
        ("gzip-without-its-name", gzip(json.as_bytes()), "json"),
        ("raw.zst", zstd::encode_all(raw.as_bytes(), 1).unwrap(), "raw"),
        ("not-packed.gz", raw.clone().into_bytes(), "raw"),
    ] {
        let file = files.add(name, &bytes);
        for from in [form, "auto"] {
            let ended = run(&[&file, "--from", from]).succeeded();
            assert_eq!(ended.stdout, expected.stdout, "{name} as {from}");
            let summary = ended.stderr.lines().last().unwrap().to_owned();
            assert_eq!(Some(summary.as_str()), expected.stderr.lines().last(), "{name} as {from}");
        }
        assert_eq!(run_with(&["--from", form], &bytes).succeeded().stdout, expected.stdout, "{name} from a pipe");
        assert_eq!(run_with(&["-"], &bytes).succeeded().stdout, expected.stdout, "{name} from a pipe, auto");
    }
}

fn files_are_read_one_after_another_as_one_partition() {
    let files = Files::new("several");
    let lines = evening();
    let (first, second) = lines.split_at(11);
    let (first, second) = (files.add("1", first.join("\n")), second.join("\n"));
    let ended = run_with(&[&first, "-"], second.as_bytes()).succeeded();
    assert_eq!(ended.stdout, run(&[EVENING]).succeeded().stdout);
}

fn pasted_notification_of_the_vendor_is_told_why_it_is_refused() {
    let published = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples/notifications.ndjson"));
    let published = published.unwrap();
    let published = published.lines().find(|line| line.contains("\"vendor_published_sample\"")).unwrap();
    let published: Value = serde_json::from_str(published).unwrap();
    let ended = run_with(&[], published["input"].as_str().unwrap().as_bytes()).succeeded();
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("refused: 1 inverted_interval"), "{}", ended.stderr);
}

fn array_is_one_value_and_somebody_is_told() {
    let array =
        format!("[{}]", evening().iter().filter(|line| line.starts_with('{')).cloned().collect::<Vec<_>>().join(",\n"));
    let ended = run_with(&[], array.as_bytes()).succeeded();
    assert!(ended.stderr.contains("refused: 1 not_an_object"), "{}", ended.stderr);
    assert!(ended.stderr.contains("jq -c '.[]'"), "{}", ended.stderr);
}

crate::tests! {
    every_form_gives_the_same_sessions,
    files_are_read_one_after_another_as_one_partition,
    pasted_notification_of_the_vendor_is_told_why_it_is_refused,
    array_is_one_value_and_somebody_is_told,
}
