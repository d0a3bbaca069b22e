//! Changelogs as every version of the program has written them, read by this one.
//!
//! `tests/fixtures/changelog/v<N>/` belongs to the version of the changelog's values and is never changed again:
//!
//! | file | holds |
//! | --- | --- |
//! | `input.ndjson` | notifications, three to a transaction |
//! | `changelog.ndjson` | what was written for them, uncompacted, as `kcat -J` names it: key, payload |
//! | `then.ndjson` | the sessions that a restored worker publishes when a day and more has passed |
//!
//! The newest folder has to be what is written today, to the byte. Where that fails, values have changed: give them a new
//! version, give its folder an `input.ndjson`, and let `UPDATE=1 cargo test --test formats upgrades` write the rest. It rewrites no
//! file that is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use livesession::partition::{Partition, Record};
use livesession_formats::changelog::{self, Reducer, VERSION};
use livesession_formats::notification::{Decoder, KeyParts, Rules};
use livesession_formats::session::{self, Source};
use livesession_grouping::policy::Override;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Policy, Publication, Settings};
use serde_json::{Value, json};

const KEY: KeyParts = KeyParts::AppAppnameStreamId;
const IN_A_TRANSACTION: usize = 3;

fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/changelog/v{version}"))
}

fn lines(version: u32, name: &str) -> Vec<String> {
    let path = folder(version).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// Low limits and short windows, so that a few lines freeze, forget and withdraw.
fn policy() -> Policy {
    let span = |minutes: u32| Millis::from_secs(minutes * 60);
    let overrides = vec![Override { streams: "*/radio/*".to_owned(), gap: span(10) }];
    let settings = Settings {
        recording_interval: span(60),
        max_segment: span(120),
        notification_delay: span(5),
        allowed_lateness: span(60),
        max_hold: span(180),
        max_session_segments: 4,
        overrides,
        ..Settings::default()
    };
    Policy::new(settings).unwrap()
}

fn decoder(policy: &Policy) -> Decoder {
    Decoder::new(Rules { key_parts: KEY, max_segment: policy.settings().max_segment, ..Rules::default() })
}

/// Plays a transaction; returns what it published and what it wrote.
fn transaction(
    partition: &mut Partition,
    decoder: &mut Decoder,
    inputs: &[(i64, &str)],
) -> (Vec<Publication>, Vec<changelog::Record>) {
    partition.begin();
    for (offset, value) in inputs {
        let record = Record { offset: *offset, timestamp: None, value: Some(value.as_bytes()) };
        partition.read(decoder, record, Timestamp::MIN).unwrap();
    }
    let mut published = Vec::new();
    loop {
        let some = partition.publish_due(2);
        if some.is_empty() {
            break;
        }
        published.extend(some);
    }
    let records = partition.prepare();
    partition.committed();
    (published, records)
}

/// Returns what today's program writes for the input of a version.
fn write(version: u32) -> Vec<String> {
    let (policy, input) = (policy(), lines(version, "input.ndjson"));
    let mut decoder = decoder(&policy);
    let mut partition = Partition::new(policy, KEY, 100);
    let mut log = Vec::new();
    let inputs: Vec<(i64, &str)> = (100..).zip(input.iter().map(String::as_str)).collect();
    for part in inputs.chunks(IN_A_TRANSACTION) {
        for (key, value) in transaction(&mut partition, &mut decoder, part).1 {
            let payload = value.map(|value| String::from_utf8(value).unwrap());
            log.push(json!({"key": key, "payload": payload}).to_string());
        }
    }
    log
}

/// Restores from a changelog; `None` if it is empty.
fn restore(log: &[String]) -> Partition {
    let mut reducer = Reducer::default();
    for line in log {
        let line: Value = serde_json::from_str(line).unwrap();
        let payload = line["payload"].as_str().map(str::as_bytes);
        reducer.apply(line["key"].as_str().unwrap().as_bytes(), payload).unwrap();
    }
    Partition::restore(policy(), KEY, reducer).unwrap().expect("there is a marker")
}

/// Lets a day and more pass over a restored state, and returns what is published.
fn then(log: &[String]) -> Vec<String> {
    let mut partition = restore(log);
    let far = r#"{"event_type":332,"record_event":"record_ended","appname":"a","domain":"d","stream_id":"z","event_time":1772900000}"#;
    let next = partition.next_offset();
    let (published, _) = transaction(&mut partition, &mut decoder(&policy()), &[(next, far)]);
    assert_eq!(partition.grouper().segments(), 0, "all is forgotten");
    let encode = |publication: &Publication| {
        let mut bytes = Vec::new();
        session::encode(publication, Source { topic: "recording-notifications", partition: 0 }, &mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    published.iter().map(encode).collect()
}

#[test]
fn what_is_written_today_is_the_newest_fixture() {
    let log = write(VERSION);
    if crate::golden::is_update() {
        for (name, lines) in [("changelog.ndjson", &log), ("then.ndjson", &then(&log))] {
            let path = folder(VERSION).join(name);
            if !path.exists() {
                fs::write(path, lines.join("\n") + "\n").unwrap();
            }
        }
    }
    assert!(
        log == lines(VERSION, "changelog.ndjson"),
        "the changelog's values have changed: see the head of this file"
    );
}

#[test]
fn every_older_changelog_is_gone_on_with() {
    for version in 1..=VERSION {
        let log = lines(version, "changelog.ndjson");
        assert_eq!(then(&log), lines(version, "then.ndjson"), "v{version}");
    }
}

/// A fixture without a frozen session would not notice if one could no longer be read.
#[test]
fn fixtures_hold_every_kind_of_value() {
    for version in 1..=VERSION {
        let mut found: BTreeMap<&str, u32> = BTreeMap::new();
        for line in lines(version, "changelog.ndjson") {
            let line: Value = serde_json::from_str(&line).unwrap();
            let (key, payload) = (line["key"].as_str().unwrap(), line["payload"].as_str());
            let kind = &key[..key.len().min(2)];
            for (name, is_there) in [
                ("batch", kind == "b/" && payload.is_some()),
                ("deleted batch", kind == "b/" && payload.is_none()),
                ("anomaly", kind == "b/" && payload.is_some_and(|text| text.contains("start_rebuilt"))),
                ("published session", kind == "p/" && payload.is_some()),
                ("deleted session", kind == "p/" && payload.is_none()),
                ("amended session", kind == "p/" && payload.is_some_and(|text| text.contains(r#""revision":2"#))),
                ("session closed by a hint", kind == "p/" && payload.is_some_and(|text| text.contains("push_ended"))),
                ("frozen session", kind == "p/" && payload.is_some_and(|text| !text.contains(r#""frozen_at":null"#))),
                (
                    "continuing session",
                    kind == "p/" && payload.is_some_and(|text| !text.contains(r#""continues":null"#)),
                ),
                ("hints", kind == "h/" && payload.is_some()),
                ("deleted hints", kind == "h/" && payload.is_none()),
                ("marker", kind == "m" && payload.is_some()),
            ] {
                *found.entry(name).or_default() += u32::from(is_there);
            }
        }
        assert!(found.values().all(|count| *count > 0), "v{version}: {found:?}");
        let then = lines(version, "then.ndjson").join("\n");
        for word in [r#""status":"closed""#, r#""revision":3"#, r#""continues":""#, r#""max_hold""#] {
            assert!(then.contains(word), "v{version} goes on without {word}");
        }
    }
}
