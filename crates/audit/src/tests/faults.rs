//! One fault at a time.

use serde_json::json;

use super::topics::{self, A, B, FIRST_CLOCK, LAST_CLOCK, ROOM_1, ROOM_2, Seg, Topics, X, Y, Z, faultless};
use crate::audit::Ends;
use crate::report::Kind;

/// A fault, and the finding that it gives: its kind, and a part of its text.
type Fault = (&'static str, fn(&mut Topics), Kind, &'static str);

const FAULTS: &[Fault] = &[
    ("dead letter lost", |topics| drop(topics.letters.remove(0)), Kind::NotRefused, "in/0/2: should be a dead letter"),
    ("late record accepted", |topics| drop(topics.letters.remove(1)), Kind::NotRefused, "in/0/10: late"),
    (
        "dead letter doubled",
        |topics| {
            let mut twin = topics.letters[0].clone();
            twin.offset = 7;
            topics.letters.push(twin);
        },
        Kind::RefusedTwice,
        "dlq/0/7: the second dead letter of in/0/2, after 0/0",
    ),
    (
        "dead letter of a record that is not there",
        |topics| {
            let mut origin = topics.input[2].clone();
            origin.offset = 99;
            topics.letters.push(topics::letter(2, &origin, "not_json"));
        },
        Kind::RefusedNothing,
        "dlq/0/2: in/0/99 is not there",
    ),
    (
        "dead letter with other bytes",
        |topics| topics.letters[0].value = Some(b"Garbage".to_vec()),
        Kind::RefusedAltered,
        "dlq/0/0: its value should be as in in/0/2",
    ),
    (
        "dead letter without the header of its record",
        |topics| topics.input[2].headers.push((vec![0xff], None)),
        Kind::RefusedAltered,
        "dlq/0/0: its headers should be as in in/0/2",
    ),
    (
        "dead letter with another reason",
        |topics| topics.letters[0] = topics::letter(0, &topics.input[2], "no_end"),
        Kind::WronglyRefused,
        "in/0/2: as no_end, should be not_json",
    ),
    (
        "event refused",
        |topics| topics.letters.push(topics::letter(2, &topics.input[4], "no_end")),
        Kind::WronglyRefused,
        "in/0/4: as no_end, should be no dead letter",
    ),
    (
        "segment refused as late",
        |topics| topics.letters.push(topics::letter(2, &topics.input[8], "late")),
        Kind::WronglyRefused,
        "in/0/8: as late",
    ),
    (
        "duplicate refused as a conflict",
        |topics| topics.letters.push(topics::letter(2, &topics.input[3], "conflict")),
        Kind::WronglyRefused,
        "in/0/3: as a conflict",
    ),
    (
        "conflict passed as a duplicate",
        |topics| {
            let other = topics::notification("room-1", Seg("b", 3, 160, 301));
            topics.input[3] = topics::record(3, "", &other);
        },
        Kind::NotRefused,
        "in/0/3: should be a dead letter, reason conflict",
    ),
    (
        "revision doubled",
        |topics| {
            let mut twin = topics.output[0].clone();
            twin.offset = 5;
            topics.output.push(twin);
        },
        Kind::PublishedTwice,
        "out/0/5: session",
    ),
    ("first revision lost", |topics| drop(topics.output.remove(1)), Kind::RevisionMissing, "revision 2, should be 1"),
    ("session lost", |topics| drop(topics.output.remove(0)), Kind::NotPublished, "in/0/0: should be the session"),
    ("withdrawal lost", |topics| drop(topics.output.remove(4)), Kind::Misplaced, "in/0/6: in session"),
    (
        "session that comes back",
        |topics| {
            let session = topics::session(ROOM_2, Y, 3, &[Y], FIRST_CLOCK);
            topics.output.push(topics::record(5, ROOM_2, &session));
        },
        Kind::Withdrawal,
        "out/0/5: session",
    ),
    (
        "withdrawn into nothing",
        |topics| topics.change_session(4, |session| session["merged_into"] = json!(topics::id(ROOM_2, A))),
        Kind::Withdrawal,
        "which is not there",
    ),
    (
        "segment that left its session",
        |topics| {
            let session = topics::session(ROOM_2, X, 2, &[X, Z], FIRST_CLOCK);
            topics.output[3] = topics::record(3, ROOM_2, &session);
        },
        Kind::Misplaced,
        "in/0/6: was in a session and now is in none",
    ),
    (
        "session named after a later segment",
        |topics| {
            let session = topics::session(ROOM_1, B, 1, &[A, B], FIRST_CLOCK);
            topics.output[0] = topics::record(0, ROOM_1, &session);
        },
        Kind::WrongName,
        "out/0/0: session",
    ),
    (
        "segment with another end",
        |topics| {
            let session = topics::session(ROOM_1, A, 1, &[A, Seg("b", 1, 160, 299)], FIRST_CLOCK);
            topics.output[0] = topics::record(0, ROOM_1, &session);
        },
        Kind::WrongSegment,
        "the segment of offset 1 lasts from",
    ),
    (
        "segment that nobody sent",
        |topics| {
            let session = topics::session(ROOM_1, A, 1, &[A, B, Seg("c", 2, 300, 310)], FIRST_CLOCK);
            topics.output[0] = topics::record(0, ROOM_1, &session);
        },
        Kind::WrongSegment,
        "the segment of offset 2 was not accepted",
    ),
    (
        "segment with another address",
        |topics| topics.change_session(0, |session| session["segments"][0]["url"] = json!("http://vod/secret")),
        Kind::WrongSegment,
        "has another url than its notification",
    ),
    (
        "silence not listed",
        |topics| topics.change_session(0, |session| session["gaps"] = json!([])),
        Kind::WrongContent,
        "gaps [], should be",
    ),
    (
        "recorded time as a sum",
        |topics| topics.change_session(0, |session| session["recorded_ms"] = json!(300_000)),
        Kind::WrongContent,
        "recorded_ms Some(300000), should be Some(240000)",
    ),
    (
        "key of another stream",
        |topics| topics.output[0].key = Some(b"//room-2".to_vec()),
        Kind::WrongContent,
        "out/0/0: the key should be the stream's",
    ),
    (
        "closed before its time",
        |topics| {
            let session = topics::session(ROOM_1, A, 1, &[A, B], 970);
            topics.output[0] = topics::record(0, ROOM_1, &session);
        },
        Kind::ClosedEarly,
        "should have waited for",
    ),
    (
        "session in two parts",
        |topics| {
            let [first, second] =
                [(A, &[A]), (B, &[B])].map(|(seed, all)| topics::session(ROOM_1, seed, 1, all, 2_000));
            topics.output[0] = topics::record(0, ROOM_1, &first);
            topics.output.push(topics::record(5, ROOM_1, &second));
        },
        Kind::GroupedOtherwise,
        "published as",
    ),
    (
        "session over a silence longer than the gap",
        |topics| {
            topics.change_state("m", |marker| marker["policy"]["gap"] = json!(topics::GAP - 1));
            topics.told.gap = None;
        },
        Kind::GroupedOtherwise,
        "also has that of offset 1",
    ),
    (
        "session cut without need",
        |topics| topics.change_session(0, |session| session["close_cause"] = json!("limit")),
        Kind::GroupedOtherwise,
        "no limit is reached",
    ),
    (
        "group behind the input",
        |topics| topics.ends.committed = [(0, 10)].into(),
        Kind::NotRead,
        "in/0: the group committed Some(10), should be 11 to 11",
    ),
    ("nothing committed", |topics| topics.ends.committed.clear(), Kind::NotRead, "the group committed None"),
    (
        "group reset",
        |topics| topics.ends.committed = [(0, 8)].into(),
        Kind::Marker,
        "state/0 key m: next offset Some(11), the group has Some(8)",
    ),
    ("marker gone", |topics| topics.delete_state("m"), Kind::Marker, "next offset None, the group has Some(11)"),
    (
        "watermark that went back",
        |topics| *topics.changelog.last_mut().unwrap() = topics::record(7, "m", &topics::marker(11, LAST_CLOCK - 1)),
        Kind::Marker,
        "records reached",
    ),
    (
        "watermark from nowhere",
        |topics| *topics.changelog.last_mut().unwrap() = topics::record(7, "m", &topics::marker(11, LAST_CLOCK + 1)),
        Kind::Marker,
        "records reached",
    ),
    ("another gap", |topics| topics.told.gap = Some(1), Kind::Marker, "gap 60000 ms, should be 1 ms"),
    ("batch lost", |topics| topics.delete_state("b/8"), Kind::StateLost, "in/0/8: accepted, not forgotten"),
    (
        "head lost",
        |topics| topics.delete_state(&format!("p/{}", topics::id(ROOM_1, A))),
        Kind::StateLost,
        "published, not forgotten, and unknown to the state",
    ),
    (
        "head of an earlier revision",
        |topics| topics.change_state(&format!("p/{}", topics::id(ROOM_2, X)), |head| head["revision"] = json!(1)),
        Kind::StateUnknown,
        "revision 1, published was 2",
    ),
    (
        "head of a session that nobody has published",
        |topics| {
            let head = topics::head(&topics::session(ROOM_1, B, 1, &[B], FIRST_CLOCK));
            topics.changelog.push(topics::record(8, &format!("p/{}", topics::id(ROOM_1, B)), &head));
        },
        Kind::StateUnknown,
        "no session of that id is in out",
    ),
    (
        "batch with a segment that was refused",
        |topics| {
            let batch = topics::batch(&[(ROOM_1, Seg("late", 10, 1_000, 1_100))]);
            topics.changelog.push(topics::record(8, "b/10", &batch));
        },
        Kind::StateUnknown,
        "the segment of offset 10 was not accepted",
    ),
    (
        "segment in two batches",
        |topics| {
            let batch = topics::batch(&[(ROOM_1, B)]);
            topics.changelog.push(topics::record(8, "b/1", &batch));
        },
        Kind::StateUnknown,
        "the segment of offset 1 is in b/0 too",
    ),
    (
        "batch that should be forgotten",
        |topics| {
            topics.change_state("m", |marker| {
                // Between what room-1 and what room-2 needs: 300 and 400 s, plus a gap, an hour and two.
                let forgotten = topics::BEGIN + (300 + 60 + 3_600 + 7_200) * 1_000 + 1;
                marker["forgotten"] = json!(forgotten);
                marker["watermark"] = json!(forgotten);
            });
            topics.told.never_idle = false;
        },
        Kind::StateUnknown,
        "state/0 key b/0: all of its segments are forgotten",
    ),
    (
        "hints of a stream that has none",
        |topics| topics.changelog.push(topics::record(8, "h///room-1", &json!({ "version": 1 }))),
        Kind::StateUnknown,
        "no hint of that stream",
    ),
    (
        "key of no known kind",
        |topics| topics.changelog.push(topics::record(8, "q/1", &json!({ "version": 1 }))),
        Kind::StateUnknown,
        "a key of no known kind",
    ),
    ("revision that is no JSON", |topics| topics.output[0].value = Some(b"{".to_vec()), Kind::Unreadable, "out/0/0: "),
];

#[test]
fn topics_without_a_fault_are_clean() {
    let report = faultless().report();
    assert!(report.is_clean(), "{report}");
    assert!(report.to_string().contains("2 sessions that a batch job finds"), "{report}");
}

#[test]
fn every_fault_is_found_where_it_is() {
    for (name, fault, kind, text) in FAULTS {
        let mut topics = faultless();
        fault(&mut topics);
        let report = topics.report();
        assert!(report.kinds().contains(kind), "{name}: no finding of kind {kind:?}\n{report}");
        let is_said = report.to_string().lines().any(|line| line.contains(&kind.to_string()) && line.contains(text));
        assert!(is_said, "{name}: nowhere {text:?}\n{report}");
        assert!(!report.to_string().contains("secret"), "{name}: quotes an address\n{report}");
    }
}

/// One millisecond before its session may close it can be missing, at the bound plus one it cannot.
#[test]
fn session_that_is_open_may_be_unpublished() {
    let bound = topics::BEGIN + (400 + 60 + 600 + 10) * 1_000;
    for (delta, may_be_missing) in [(-1, true), (0, true), (1, false)] {
        let mut topics = faultless();
        // Nothing but room-2, none of which was published.
        topics.output.retain(|record| record.key.as_deref() != Some(ROOM_2.as_bytes()));
        topics.changelog.retain(|record| record.key != Some(format!("p/{}", topics::id(ROOM_2, X)).into_bytes()));
        topics.output[0] = topics::record(0, ROOM_1, &topics::session(ROOM_1, A, 1, &[A, B], 1_000));
        topics.change_state(&format!("p/{}", topics::id(ROOM_1, A)), |head| {
            *head = topics::head(&topics::session(ROOM_1, A, 1, &[A, B], 1_000));
        });
        for (index, clock) in [(7, 1_000), (9, 1_001)] {
            let hint = json!({
                "event_type": 332, "record_event": "record_ended", "stream_id": "clock",
                "event_time": topics::BEGIN / 1_000 + clock,
            });
            topics.input[index] = topics::record(index as i64, "", &hint);
        }
        // With clocks that early it is no longer late, so it is not sent at all.
        topics.input.pop();
        topics.letters.pop();
        topics.ends = Ends { committed: [(0, 10)].into(), input: [(0, 10)].into() };
        topics.change_state("m", |marker| {
            marker["next_offset"] = json!(10);
            marker["watermark"] = json!(bound + delta);
        });
        topics.told.never_idle = false;
        let report = topics.report();
        assert_eq!(report.is_clean(), may_be_missing, "{delta:+} ms\n{report}");
        assert_eq!(report.kinds().contains(&Kind::NotPublished), !may_be_missing, "{delta:+} ms\n{report}");
    }
}

#[test]
fn letters_of_other_deployments_are_passed_over() {
    let mut topics = faultless();
    let mut foreign = topics.letters[0].clone();
    foreign.headers.iter_mut().find(|(name, _)| name == b"__dlq.errors.group").unwrap().1 = Some(b"other".to_vec());
    topics.letters.push(foreign);
    let report = topics.report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn letter_that_says_it_was_cut_need_not_have_its_value() {
    let mut topics = faultless();
    topics.letters[0].value = None;
    topics.letters[0].headers.push((b"livesession-dlq-cut".to_vec(), Some(b"7".to_vec())));
    assert!(topics.report().is_clean(), "{}", topics.report());
    topics.letters[0].headers.last_mut().unwrap().1 = Some(b"8".to_vec());
    assert_eq!(topics.report().kinds(), [Kind::RefusedAltered]);
}

mod indexed {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::{Connection, params};
    use serde_json::Value;

    use super::*;

    /// An index of the faultless topics, with `fault` as SQL.
    fn index(name: &str, fault: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("audit-{}-{name}.db", std::process::id()));
        // Of an earlier run that was killed.
        let _ = fs::remove_file(&path);
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        connection.execute_batch(include_str!("../../../../schemas/sql/0001_sessions.sql")).unwrap();
        for room in [ROOM_1, ROOM_2] {
            connection.execute("INSERT INTO stream VALUES (?1, '', '', '', 1)", [room]).unwrap();
        }
        let topics = faultless();
        for (change, index) in [0, 3, 4].into_iter().enumerate() {
            let session: Value = serde_json::from_slice(topics.output[index].value.as_deref().unwrap()).unwrap();
            let head = topics::head(&session);
            let row = params![
                session["session_id"].as_str(),
                session["revision"].as_i64(),
                session["status"].as_str(),
                session["merged_into"].as_str(),
                session["close_cause"].as_str(),
                session["stream"]["key"].as_str(),
                head["start"].as_i64(),
                head["end"].as_i64(),
                head["recorded_ms"].as_i64(),
                head["first_offset"].as_i64(),
                head["last_offset"].as_i64(),
                head["watermark"].as_i64(),
                change as i64,
            ];
            let insert = "INSERT INTO session VALUES \
                          (NULL, ?1, ?2, ?3, ?4, NULL, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12, ?13)";
            connection.execute(insert, row).unwrap();
            let number = connection.last_insert_rowid();
            let segments: &[Seg] = [&[A, B][..], &[X, Z, Y], &[Y]][change];
            for (seq, Seg(file, offset, start, end)) in segments.iter().enumerate() {
                let [start, end] = [start, end].map(|seconds| topics::BEGIN + seconds * 1_000);
                let row = params![number, seq as i64, file, format!("http://vod/{file}"), start, end, offset];
                let insert = "INSERT INTO segment VALUES \
                              (?1, ?2, ?3, ?4, 'mp4', NULL, NULL, NULL, ?5, ?6, 7000, NULL, '[]', ?7)";
                connection.execute(insert, row).unwrap();
            }
        }
        connection.execute("INSERT INTO topic_offset VALUES ('id', 0, 5)", []).unwrap();
        connection.execute_batch(fault).unwrap();
        path
    }

    #[test]
    fn rows_are_compared_with_the_newest_revisions() {
        for (name, fault, expected) in [
            ("clean", "", None),
            ("row", "DELETE FROM session WHERE stream_key = '//room-1'", Some("no row, but revisions up to out/0/0")),
            ("revision", "UPDATE session SET revision = 1 WHERE status = 'withdrawn'", Some("revision 1, should be 2")),
            ("status", "UPDATE session SET status = 'closed'", Some("status, stream,")),
            ("segment", "DELETE FROM segment WHERE file_id = 'z'", Some("2 segments, should be the 3")),
            ("file", "UPDATE segment SET file_id = 'q' WHERE file_id = 'z'", Some("is file \"q\", should be \"z\"")),
            ("place", "UPDATE topic_offset SET next = 4", Some("read up to Some(4), should be 5")),
            ("extra", "UPDATE session SET session_id = 'q' WHERE revision = 1", Some("no such session is in out")),
        ] {
            let path = index(name, fault);
            let topics = faultless();
            let mut audit = topics.audit();
            audit.index(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let text = audit.report.to_string();
            match expected {
                None => assert!(audit.report.is_clean(), "{name}\n{text}"),
                Some(expected) => {
                    assert_eq!(audit.report.kinds(), [Kind::Index], "{name}\n{text}");
                    assert!(text.contains(expected), "{name}: nowhere {expected:?}\n{text}");
                }
            }
        }
    }
}
