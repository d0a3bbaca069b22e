//! The bookkeeping of the changelog, against restores after every transaction of seeded random traffic.

use super::*;
use livesession_formats::notification::{KeyParts, Rules};
use livesession_grouping::time::Millis;
use livesession_grouping::{Settings, Status};

const ZERO: i64 = 1_754_000_000;

/// Small numbers with no pattern: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn settings() -> Settings {
    let span = |seconds| Millis::from_secs(seconds);
    Settings {
        gap: span(10),
        recording_interval: span(60),
        max_segment: span(100),
        notification_delay: span(5),
        allowed_lateness: span(200),
        max_hold: span(290),
        max_session_duration: span(400),
        max_session_segments: 6,
        ..Settings::default()
    }
}

fn policy() -> Policy {
    Policy::new(settings()).unwrap()
}

fn segment(stream: u64, file: u64, start: i64, end: i64) -> String {
    format!(
        r#"{{"event_type":100,"stream_id":"cam{stream}","file_id":"f{file}","start_time":{},"end_time":{}}}"#,
        ZERO + start,
        ZERO + end
    )
}

fn reduce(log: &[changelog::Record]) -> Reducer {
    let mut reducer = Reducer::default();
    for (key, value) in log {
        reducer.apply(key.as_bytes(), value.as_deref()).unwrap();
    }
    reducer
}

fn restore(log: &[changelog::Record]) -> Partition {
    Partition::restore(policy(), KeyParts::AppAppnameStreamId, reduce(log)).unwrap().unwrap()
}

fn assert_same(restored: &Partition, live: &Partition, context: &str) {
    restored.grouper.check_invariants();
    assert_eq!(restored.next_offset, live.next_offset, "{context}");
    assert_eq!(restored.grouper.clock(), live.grouper.clock(), "{context}");
    assert_eq!(restored.grouper.forgotten(), live.grouper.forgotten(), "{context}");
    assert_eq!(restored.grouper.pending_sessions(), live.grouper.pending_sessions(), "{context}");
    assert_eq!(restored.grouper.remembered_offsets(), live.grouper.remembered_offsets(), "{context}");
    assert_eq!(restored.batches, live.batches, "{context}");
    let by_id = |partition: &Partition| {
        let mut lingering = partition.lingering.clone();
        lingering.sort();
        lingering
    };
    assert_eq!(by_id(restored), by_id(live), "{context}");
    assert_eq!(restored.orphans, Vec::<Offset>::new(), "{context}");
}

/// Reads one random record, roughly in time order, now and then late, repeated, or a hint.
fn random_record(chance: &mut Chance, step: i64) -> String {
    let stream = chance.below(3);
    let end = step * 7 - chance.below(90) as i64;
    match chance.below(12) {
        0 => format!(
            r#"{{"event_type":{},"stream_id":"cam{stream}","event_time":{},"sequence":"{}"}}"#,
            chance.below(2),
            ZERO + end,
            chance.below(4)
        ),
        1 => segment(stream, chance.below(40), end - 20, end),
        _ => segment(stream, 1_000 + step as u64, end - 1 - chance.below(50) as i64, end),
    }
}

#[test]
fn restored_state_is_the_state_that_was_committed() {
    for seed in 1..=60 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut decoder = Decoder::new(Rules::default());
        let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
        let mut log = Vec::new();
        let mut offset = 0;
        for transaction in 0..80 {
            let context = format!("seed {seed}, transaction {transaction}");
            let mut records = Vec::new();
            for _ in 0..chance.below(5) {
                offset += 1 + chance.below(3) as i64;
                records.push((offset, random_record(&mut chance, offset)));
            }
            let (slice, idle) = (1 + chance.below(3) as usize, chance.below(4) == 0);
            let run = |partition: &mut Partition, decoder: &mut Decoder| {
                partition.begin();
                for (offset, value) in &records {
                    let record = Record { offset: *offset, timestamp: None, value: Some(value.as_bytes()) };
                    let now = Timestamp::from_ms((ZERO + offset * 7) * 1_000).unwrap();
                    // Refused or not: what counts is that both states agree.
                    let _ = partition.read(decoder, record, now);
                }
                if idle {
                    partition.punctuate(Timestamp::from_ms((ZERO + offset * 7 + 30) * 1_000).unwrap());
                }
                let published = partition.publish_due(slice);
                (published, partition.prepare())
            };
            let first = run(&mut live, &mut decoder);
            if chance.below(4) == 0 {
                live.rolled_back();
                live.grouper.check_invariants();
                if !log.is_empty() {
                    assert_same(&restore(&log), &live, &format!("{context}, rolled back"));
                }
                assert_eq!(run(&mut live, &mut decoder).0, first.0, "{context}: the replay publishes the same");
            }
            log.extend(first.1);
            live.committed();
            live.grouper.check_invariants();
            let mut restored = restore(&log);
            assert_same(&restored, &live, &context);
            if chance.below(3) == 0 {
                // Go on with the restored one: it has to write the same from here.
                std::mem::swap(&mut restored, &mut live);
            }
        }
    }
}

#[test]
fn sessions_that_wait_to_be_published_survive_a_restore_between_two_slices() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let mut log = Vec::new();
    let read = |partition: &mut Partition, decoder: &mut Decoder, offset, value: String| {
        let record = Record { offset, timestamp: None, value: Some(value.as_bytes()) };
        partition.read(decoder, record, Timestamp::MIN)
    };
    live.begin();
    for stream in 0..5 {
        read(&mut live, &mut decoder, stream as i64, segment(stream, stream, 0, 50)).unwrap();
    }
    log.extend(live.prepare());
    live.committed();
    // The night is over: everything may close, and could be forgotten at once.
    live.begin();
    read(&mut live, &mut decoder, 5, segment(9, 9, 99_900, 99_950)).unwrap();
    let mut published = live.publish_due(2).len();
    log.extend(live.prepare());
    live.committed();
    while published < 5 {
        let mut restored = restore(&log);
        restored.begin();
        published += restored.publish_due(2).len();
        log.extend(restored.prepare());
        restored.committed();
        live = restored;
    }
    assert_eq!(published, 5, "each once");
    live.begin();
    assert_eq!(live.publish_due(2), []);
    assert_eq!(live.grouper.segments(), 1);
}

#[test]
fn hints_of_a_forgotten_session_survive_a_restore_between_two_slices() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let mut log = Vec::new();
    let push = format!(r#"{{"event_type":1,"stream_id":"cam1","sequence":"7","event_time":{}}}"#, ZERO + 80);
    let transactions = [
        (vec![segment(1, 1, 0, 50), segment(2, 2, 0, 100), push], usize::MAX),
        // The session of cam1 is out of reach, its hint and the batch that holds it are not.
        (vec![segment(3, 3, 300, 365), segment(4, 4, 300, 365)], usize::MAX),
        // By now the hint is too, but first there is more to publish.
        (vec![segment(5, 5, 9_900, 9_950)], 1),
    ];
    let mut offset = 0;
    for (values, slice) in transactions {
        live.begin();
        for value in values {
            live.read(&mut decoder, Record { offset, timestamp: None, value: Some(value.as_bytes()) }, Timestamp::MIN)
                .unwrap();
            offset += 1;
        }
        live.publish_due(slice);
        log.extend(live.prepare());
        live.committed();
    }
    assert!(live.has_due());
    let mut restored = restore(&log);
    assert_eq!(restored.grouper.streams(), live.grouper.streams());
    for partition in [&mut live, &mut restored] {
        partition.begin();
        while !partition.publish_due(9).is_empty() {}
        let records = partition.prepare();
        assert!(records.iter().any(|(key, value)| key.starts_with("h/") && value.is_none()), "{records:?}");
        partition.committed();
    }
}

#[test]
fn changelog_of_a_partition_whose_sessions_are_all_forgotten_is_the_marker() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let (mut log, mut published, mut forgotten) = (Vec::new(), BTreeMap::new(), 0);
    let mut chance = Chance(7);
    let end =
        format!(r#"{{"event_type":332,"record_event":"record_ended","stream_id":"x","event_time":{}}}"#, ZERO + 10_000);
    let values = (0..400).map(|offset| random_record(&mut chance, offset)).chain([end]);
    for (offset, value) in values.enumerate() {
        live.begin();
        let record = Record { offset: offset as i64, timestamp: None, value: Some(value.as_bytes()) };
        live.read(&mut decoder, record, Timestamp::MIN).unwrap();
        loop {
            let publications = live.publish_due(3);
            if publications.is_empty() {
                break;
            }
            published.extend(publications.into_iter().map(|one| (one.summary.session_id, one.status)));
        }
        log.extend(live.prepare());
        forgotten += live.sessions_forgotten();
        live.committed();
    }
    let closed = published.values().filter(|status| **status == Status::Closed).count();
    assert_eq!(forgotten, closed as u64, "each was counted once");
    let mut reduced: BTreeMap<&str, bool> = BTreeMap::new();
    for (key, value) in &log {
        reduced.insert(key, value.is_some());
    }
    let left: Vec<&str> = reduced.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect();
    assert_eq!(left, ["m"]);
    assert_eq!((live.grouper.streams(), live.grouper.state_bytes()), (0, 0));
}

#[test]
fn batch_of_which_nothing_is_remembered_is_deleted_by_the_first_transaction() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let mut log = Vec::new();
    for (offset, value) in [segment(1, 1, 0, 50), segment(2, 2, 9_900, 9_950)].into_iter().enumerate() {
        live.begin();
        let record = Record { offset: offset as i64, timestamp: None, value: Some(value.as_bytes()) };
        live.read(&mut decoder, record, Timestamp::MIN).unwrap();
        while !live.publish_due(9).is_empty() {}
        log.extend(live.prepare());
        live.committed();
    }
    // As if the deletion had not been written: the marker says that the segment is forgotten, the batch holds it still.
    log.retain(|(key, value)| !(key == "b/0" && value.is_none()));
    let mut restored = restore(&log);
    assert_eq!((restored.grouper.segments(), restored.orphans.clone()), (1, vec![0]));
    restored.begin();
    let records = restored.prepare();
    assert_eq!(records[0], ("b/0".to_owned(), None));
    restored.committed();
    assert_eq!(restored.batches.keys().copied().collect::<Vec<_>>(), [1]);
    restored.begin();
    let keys: Vec<String> = restored.prepare().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["m"], "once is enough");
}

#[test]
fn unsafe_changes_are_refused_and_safe_ones_go_on() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    live.begin();
    let value = segment(1, 1, 0, 50);
    live.read(&mut decoder, Record { offset: 0, timestamp: None, value: Some(value.as_bytes()) }, Timestamp::MIN)
        .unwrap();
    let log = live.prepare();
    let with = |settings: Settings, key_parts| {
        let restored = Partition::restore(Policy::new(settings).unwrap(), key_parts, reduce(&log));
        restored.map(|_| ()).map_err(|error| error.to_string())
    };
    let all = KeyParts::AppAppnameStreamId;
    let span = |seconds| Millis::from_secs(seconds);
    let radio =
        |streams: &str| vec![livesession_grouping::policy::Override { streams: streams.to_owned(), gap: span(11) }];
    for safe in [
        settings(),
        Settings { notification_delay: span(50), recording_interval: span(70), max_hold: span(9), ..settings() },
        Settings { allowed_lateness: span(199), max_segment: span(99), max_session_segments: 1, ..settings() },
        Settings { overrides: radio("*/radio/*"), ..settings() },
    ] {
        assert_eq!(with(safe, all), Ok(()));
    }
    for (setting, unsafe_change) in [
        ("grouping.gap", Settings { gap: span(11), ..settings() }),
        ("grouping.gap", Settings { overrides: radio("*cam1"), ..settings() }),
        ("grouping.allowed_lateness", Settings { allowed_lateness: span(201), ..settings() }),
        ("grouping.max_segment", Settings { max_segment: span(101), ..settings() }),
    ] {
        let error = with(unsafe_change, all).unwrap_err();
        assert!(error.contains(&format!("cannot change `{setting}`")), "{error}");
    }
    assert!(with(settings(), KeyParts::StreamId).unwrap_err().contains("input.stream_key"));
}

/// A batch brings back what had been forgotten, which under another gap could join what lives.
#[test]
fn forgotten_segment_of_a_batch_that_lives_forbids_another_gap() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    live.begin();
    for (offset, value) in [segment(1, 1, 0, 50), segment(2, 2, 400, 450)].into_iter().enumerate() {
        let record = Record { offset: offset as i64, timestamp: None, value: Some(value.as_bytes()) };
        live.read(&mut decoder, record, Timestamp::MIN).unwrap();
    }
    let mut log = live.prepare();
    live.committed();
    live.begin();
    while !live.publish_due(9).is_empty() {}
    log.extend(live.prepare());
    live.committed();
    assert_eq!(live.grouper.remembered_offsets(), [1], "cam1 is forgotten, and its batch is not");
    let with = |streams: &str| {
        let overrides =
            vec![livesession_grouping::policy::Override { streams: streams.to_owned(), gap: Millis::from_secs(400) }];
        let changed = Policy::new(Settings { overrides, ..settings() }).unwrap();
        Partition::restore(changed, KeyParts::AppAppnameStreamId, reduce(&log))
    };
    let Err(RestoreError::UnsafeChange(refused)) = with("*cam1") else { panic!("it can be changed") };
    assert_eq!(refused.setting, "grouping.gap");
    assert_eq!(with("*cam3").unwrap().unwrap().grouper.remembered_offsets(), [1], "and it is dropped again");
}

/// A stream of which only hints are remembered has no segment that forbids another gap.
#[test]
fn stream_without_segments_takes_its_new_gap_at_once() {
    let mut decoder = Decoder::new(Rules::default());
    let mut log = Vec::new();
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let mut read = |partition: &mut Partition, log: &mut Vec<changelog::Record>, offset, value: String| {
        partition.begin();
        let record = Record { offset, timestamp: None, value: Some(value.as_bytes()) };
        partition.read(&mut decoder, record, Timestamp::MIN).unwrap();
        while !partition.publish_due(9).is_empty() {}
        log.extend(partition.prepare());
        partition.committed();
    };
    read(&mut live, &mut log, 0, format!(r#"{{"event_type":1,"stream_id":"cam1","event_time":{ZERO}}}"#));
    for gap in [11_u32, 9] {
        let changed = Policy::new(Settings { gap: Millis::from_secs(gap), ..settings() }).unwrap();
        let again = |log: &[changelog::Record]| {
            let restored = Partition::restore(changed.clone(), KeyParts::AppAppnameStreamId, reduce(log));
            restored.unwrap().unwrap()
        };
        let mut log = log.clone();
        let mut live = again(&log);
        read(&mut live, &mut log, 1, segment(1, 1, 0, 50));
        read(&mut live, &mut log, 2, segment(1, 2, 50 + i64::from(gap.max(10)), 110));
        assert_eq!(live.grouper.sessions(), if gap == 11 { 1 } else { 2 }, "{gap} s");
        assert_same(&again(&log), &live, &format!("{gap} s"));
    }
}

#[test]
fn shorter_waits_publish_what_they_allow_instead_of_dropping_it() {
    let mut decoder = Decoder::new(Rules::default());
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    let mut log = Vec::new();
    live.begin();
    for (offset, value) in [segment(1, 1, 0, 50), segment(2, 2, 60, 110)].into_iter().enumerate() {
        let record = Record { offset: offset as i64, timestamp: None, value: Some(value.as_bytes()) };
        live.read(&mut decoder, record, Timestamp::MIN).unwrap();
    }
    assert_eq!(live.publish_due(9), []);
    log.extend(live.prepare());
    let one = Millis::from_secs(1);
    let hasty = Settings {
        recording_interval: one,
        max_segment: one,
        notification_delay: one,
        allowed_lateness: one,
        max_hold: one,
        ..settings()
    };
    let restored = Partition::restore(Policy::new(hasty).unwrap(), KeyParts::AppAppnameStreamId, reduce(&log));
    let mut restored = restored.unwrap().unwrap();
    restored.begin();
    assert_eq!(restored.publish_due(9).len(), 1, "cam1 could be forgotten by now, but has not been published");
}

#[test]
fn strange_changelogs_stop_the_worker() {
    let summary = r#"{"version":1,"stream":"//cam1","revision":1,"continues":null,"close_cause":null,"start":0,"end":1,"recorded_ms":1,"first_offset":0,"last_offset":0,"watermark":9,"seed_offset":0,"segments":1,"frozen_at":null}"#;
    let session = "p/5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64";
    let mut live = Partition::new(policy(), KeyParts::AppAppnameStreamId, 0);
    live.begin();
    let marker = live.prepare().pop().unwrap();
    let read = |records: &[(&str, &str)]| -> Result<(), String> {
        let mut reducer = Reducer::default();
        let text = |error: &dyn std::error::Error| {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        };
        for (key, value) in records {
            reducer.apply(key.as_bytes(), Some(value.as_bytes())).map_err(|error| text(&error))?;
        }
        let restored = Partition::restore(policy(), KeyParts::AppAppnameStreamId, reducer);
        restored.map(|_| ()).map_err(|error| text(&error))
    };
    let marker = ("m", std::str::from_utf8(marker.1.as_deref().unwrap()).unwrap());
    assert_eq!(read(&[]), Ok(()));
    assert_eq!(read(&[marker]), Ok(()));
    for (records, expected) in [
        (vec![("x", "{}")], "unknown key"),
        (vec![("b/x", "{}")], "unknown key"),
        (vec![("m", "{}")], "cannot read changelog record `m`"),
        (vec![("m", r#"{"version":2,"epoch":7}"#)], "has version 2, this program knows up to 1"),
        (vec![("b/0", r#"{"version":1,"streams":[],"segments":[]}"#)], "no marker"),
        (
            vec![
                marker,
                (
                    "b/0",
                    r#"{"version":1,"streams":[],"segments":[[[0,0,0,1],["f",null,null,null,null],[null,null,null,[]]]]}"#,
                ),
            ],
            "out of range: a stream",
        ),
        (
            vec![
                marker,
                (
                    "b/0",
                    r#"{"version":1,"streams":["s"],"segments":[[[0,0,2,1],["f",null,null,null,null],[null,null,null,[]]]]}"#,
                ),
            ],
            "out of range: an interval",
        ),
        (vec![marker, (session, summary)], "which no session holds"),
    ] {
        let error = read(&records).unwrap_err();
        assert!(error.contains(expected), "{records:?}: {error}");
    }
}
