//! Batches: their effect on rows and offsets.

use super::*;
use crate::Error;

fn stored(path: &Path, name: &str) -> Option<SessionRecord> {
    let mut reader = reader(path);
    let view = reader.view().unwrap();
    view.session(&id(name).to_string()).unwrap().map(|entry| view.with_lists(entry).unwrap())
}

#[test]
fn record_is_read_back_as_it_was_written() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut full = record("s-1", 1, "room-7", 1_000, 5_000, &["a", "b"]);
    full.continues = Some(id("s-0"));
    full.segments[1] = Segment {
        task_id: Some("task".to_owned()),
        size_bytes: Some(i64::MAX),
        url: None,
        format: None,
        media_ms: None,
        ..full.segments[1].clone()
    };
    let odd = Rendition {
        format: None,
        template_id: Some("t'; DROP TABLE session; --".to_owned()),
        bitrate_kbps: Some(0),
        segments: 1,
        size_bytes: Some(i64::MAX),
        ..full.renditions[0].clone()
    };
    full.renditions[0].segments = 1;
    full.renditions.insert(0, odd);
    full.segments[0].rendition = 1;
    writer(&path).apply(std::slice::from_ref(&full), &[advance(None, 1)]).unwrap();
    assert_eq!(stored(&path, "s-1"), Some(full));
    assert_eq!(stored(&path, "s-2"), None);
}

#[test]
fn only_a_newer_revision_replaces_a_session() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    for (revision, files, replaces) in
        [(2, &["a"] as &[_], true), (1, &["b"], false), (2, &["c"], false), (3, &["a", "d"], true)]
    {
        let new = record("s-1", revision, "room-7", 0, 10 * i64::from(revision), files);
        let applied = writer.apply(std::slice::from_ref(&new), &[]).unwrap();
        assert_eq!((applied.stored, applied.old), if replaces { (1, 0) } else { (0, 1) }, "revision {revision}");
        assert_eq!(stored(&path, "s-1") == Some(new), replaces, "revision {revision}");
    }
    let applied = writer.apply(&[], &[]).unwrap();
    assert_eq!(applied.change, 2, "old news takes no number");
}

#[test]
fn revisions_in_one_batch_leave_the_newest() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let revisions: Vec<SessionRecord> =
        [1, 3, 2].map(|revision| record("s-1", revision, "room-7", 0, 10, &["a"])).into();
    let applied = writer(&path).apply(&revisions, &[]).unwrap();
    assert_eq!((applied.stored, applied.old, applied.change), (2, 1, 2));
    assert_eq!(stored(&path, "s-1").as_ref(), Some(&revisions[1]));
}

#[test]
fn withdrawal_keeps_the_files_findable_and_leads_to_the_survivor() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    let old = record("s-old", 1, "room-7", 0, 10, &["a"]);
    let young = record("s-young", 1, "room-7", 20, 30, &["b"]);
    writer.apply(&[old.clone(), young.clone()], &[]).unwrap();
    let session_of = |file: &str| {
        let mut reader = reader(&path);
        let found = reader.view().unwrap().recordings(file, 10).unwrap();
        assert_eq!(found.len(), 1, "{file}");
        assert_eq!(found[0].file_id, file);
        let via: Vec<String> = found[0].via.iter().map(|id| name(SessionId::parse(id).unwrap())).collect();
        (name(found[0].session.session_id), via)
    };
    assert_eq!(session_of("b"), ("s-young".to_owned(), vec![]));

    let gone = withdrawn(young, "s-old");
    writer.apply(std::slice::from_ref(&gone), &[]).unwrap();
    assert_eq!(stored(&path, "s-young"), Some(gone), "its lists are empty, as published");
    assert_eq!(session_of("b"), ("s-old".to_owned(), vec!["s-young".to_owned()]), "before the survivor has it");

    writer.apply(&[record("s-old", 2, "room-7", 0, 30, &["a", "c", "b"])], &[]).unwrap();
    assert_eq!(session_of("b"), ("s-old".to_owned(), vec![]), "the survivor lists it itself");
}

#[test]
fn file_of_a_withdrawn_session_whose_survivor_is_unknown_is_still_found() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let young = record("s-young", 1, "room-7", 20, 30, &["b"]);
    writer(&path).apply(&[young.clone(), withdrawn(young, "s-never-seen")], &[]).unwrap();
    let mut reader = reader(&path);
    let found = reader.view().unwrap().recordings("b", 10).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].session.status, Status::Withdrawn);
    assert_eq!(found[0].session.merged_into, Some(id("s-never-seen")));
}

#[test]
fn ring_of_withdrawals_ends() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let (a, b) = (record("a", 1, "room-7", 0, 10, &["f"]), record("b", 1, "room-7", 0, 10, &[]));
    writer(&path).apply(&[a.clone(), withdrawn(a, "b"), withdrawn(b, "a")], &[]).unwrap();
    let mut reader = reader(&path);
    let found = reader.view().unwrap().recordings("f", 10).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].via.len(), crate::MAX_MERGES);
}

#[test]
fn same_file_id_in_two_streams_is_two_recordings() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let both = [record("s-1", 1, "room-7", 0, 10, &["f"]), record("s-2", 1, "room-8", 0, 10, &["f"])];
    writer(&path).apply(&both, &[]).unwrap();
    let mut reader = reader(&path);
    let found = reader.view().unwrap().recordings("f", 10).unwrap();
    let ids: Vec<String> = found.iter().map(|one| name(one.session.session_id)).collect();
    assert_eq!(ids, ["s-2", "s-1"], "the newest first");
}

#[test]
fn offset_that_another_moved_stops_the_batch_and_writes_nothing() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let (mut first, mut second) = (writer(&path), writer(&path));
    first.apply(&[], &[advance(None, 5)]).unwrap();
    assert_eq!(second.offsets().unwrap(), [("t-1".to_owned(), 0, 5)]);
    first.apply(&[], &[advance(Some(5), 8)]).unwrap();
    for (from, expected) in [(None, None), (Some(5), Some(5)), (Some(7), Some(7))] {
        let batch = [record("s-1", 1, "room-7", 0, 10, &["a"])];
        match second.apply(&batch, &[advance(from, 9)]) {
            Err(Error::Twin { found: Some(8), expected: said, to: 9, .. }) => assert_eq!(said, expected),
            other => panic!("from {from:?}: {other:?}"),
        }
        assert_eq!(stored(&path, "s-1"), None);
    }
    second.apply(&[], &[advance(Some(8), 8)]).unwrap();
    assert!(matches!(second.apply(&[], &[advance(Some(8), 7)]), Err(Error::Backwards { .. })));
}

#[test]
fn offset_of_a_topic_that_was_made_again_starts_anew() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&[], &[advance(None, 5)]).unwrap();
    let other = Advance { topic_id: "t-2".to_owned(), ..advance(None, 1) };
    writer.apply(&[], &[other]).unwrap();
    assert_eq!(writer.offsets().unwrap(), [("t-1".to_owned(), 0, 5), ("t-2".to_owned(), 0, 1)]);
}

#[test]
fn changes_are_numbered_across_restarts() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    for round in 1..=3 {
        let name = format!("s-{round}");
        let applied = writer(&path).apply(&[record(&name, 1, "room-7", 0, 10, &["a"])], &[]).unwrap();
        assert_eq!(applied.change, round);
    }
}

#[test]
fn any_anomaly_name_is_read_back_and_keeps_the_column_valid() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut odd = record("s-1", 1, "room-7", 0, 10, &["a"]);
    let names = ["a\"b", "\\", "\\\"", "c\nd\u{0}\u{1f}", "", "été", "\u{10ffff}", ",", "[]", "\\u0041"];
    odd.segments[0].anomalies = names.map(str::to_owned).into();
    let mut writer = writer(&path);
    writer.apply(std::slice::from_ref(&odd), &[]).unwrap();
    assert_eq!(stored(&path, "s-1"), Some(odd));
    let read = "SELECT value FROM segment, json_each(anomalies) ORDER BY id";
    let values: Vec<String> = {
        let mut statement = writer.connection.prepare(read).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(values, names, "as SQLite reads it");
}

#[test]
fn text_views_show_the_same_times() {
    let scratch = Scratch::new("rules");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    let mut random = Random(7);
    let mut times: Vec<i64> = (0..500).map(|_| random.between(0, 253_402_300_799_999)).collect();
    times.extend([0, 1, 999, 1_000, 951_782_400_000, 253_402_300_799_999]);
    for (number, ms) in times.into_iter().enumerate() {
        let name = format!("s-{number}");
        let id = id(&name).to_string();
        writer.apply(&[record(&name, 1, "room-7", ms, ms, &["a"])], &[]).unwrap();
        let text: String = writer
            .connection
            .query_row("SELECT start FROM session_text WHERE session_id = ?1", [&id], |row| row.get(0))
            .unwrap();
        assert_eq!(text, Timestamp::from_ms(ms).unwrap().to_string(), "{ms}");
        let text: String = writer
            .connection
            .query_row("SELECT \"end\" FROM segment_text WHERE session_id = ?1", [&id], |row| row.get(0))
            .unwrap();
        assert_eq!(text, Timestamp::from_ms(ms).unwrap().to_string(), "{ms}");
    }
}
