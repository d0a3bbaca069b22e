//! Faults of the file, the disk and other processes: a typed error each, and nothing half written.

use std::time::Duration;

use super::*;
use crate::{Error, VERSION};

fn open(path: &Path) -> Result<Writer, Error> {
    Writer::open(path, &origin())
}

#[test]
fn file_is_migrated_once_and_opened_again() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    for _ in 0..2 {
        let writer = open(&path).unwrap();
        let pragma = |name: &str| -> String {
            writer
                .connection
                .query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| row.get(0))
                .unwrap()
        };
        assert_eq!(pragma("user_version"), VERSION.to_string());
        assert_eq!(pragma("application_id"), crate::APPLICATION_ID.to_string());
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "2");
        assert_eq!(pragma("foreign_keys"), "1");
        assert_eq!(pragma("journal_size_limit"), "67108864");
        assert_eq!(pragma("trusted_schema"), "0");
        let number = |name: &str| -> i64 {
            writer.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(number("busy_timeout"), 5_000);
        assert_eq!(number("cache_size"), -65_536);
        assert_eq!(number("wal_autocheckpoint"), 4_000);
        writer.close().unwrap();
    }
}

#[test]
fn newer_file_is_refused_untouched() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    open(&path).unwrap().close().unwrap();
    let set = |version: i32| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    };
    set(VERSION + 1);
    assert!(matches!(open(&path), Err(Error::Newer { found, known, .. }) if found == VERSION + 1 && known == VERSION));
    assert!(matches!(Reader::open(&path), Err(Error::Newer { .. })));
    set(VERSION);
    open(&path).unwrap();
}

#[test]
fn another_programs_file_is_refused_untouched() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("other.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(open(&path), Err(Error::NotAnIndex { application_id: 0, .. })));
    assert!(matches!(Reader::open(&path), Err(Error::NotAnIndex { .. })));
    assert!(matches!(crate::Rebuild::begin(&path, &origin()), Err(Error::NotAnIndex { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn file_that_is_not_of_sqlite_is_not_written_over() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("notes.txt");
    std::fs::write(&path, "notes of somebody who mistyped index.path, longer than a header. ".repeat(40)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(open(&path), Err(Error::NotSqlite { .. })));
    assert!(matches!(Reader::open(&path), Err(Error::NotSqlite { .. })));
    assert!(matches!(crate::Rebuild::begin(&path, &origin()), Err(Error::NotSqlite { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn index_of_another_topic_is_refused() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    open(&path).unwrap();
    let other = Origin { topic: "other".to_owned(), ..origin() };
    assert!(matches!(Writer::open(&path, &other), Err(Error::OtherTopic { what: "topic", .. })));
    let other = Origin { source_topic: "other".to_owned(), ..origin() };
    assert!(matches!(Writer::open(&path, &other), Err(Error::OtherTopic { what: "source_topic", .. })));
    assert!(matches!(crate::Rebuild::begin(&path, &other), Err(Error::OtherTopic { what: "source_topic", .. })));
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    assert!(matches!(view.check(&other), Err(Error::OtherTopic { what: "source_topic", .. })));
    view.check(&origin()).unwrap();
    assert_eq!(view.topic().unwrap().as_deref(), Some("live-sessions"));
    assert_eq!(view.source_topic().unwrap().as_deref(), Some("recording-notifications"));
}

#[test]
fn reader_needs_a_migrated_file() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    assert!(matches!(Reader::open(&path), Err(Error::Missing { .. })));
    assert!(matches!(Writer::open_existing(&path), Err(Error::Missing { .. })));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(Reader::open(&path), Err(Error::Older { found: 0, .. })));
}

#[test]
fn reader_cannot_write() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    open(&path).unwrap();
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    assert!(view.transaction.execute("DELETE FROM session", []).is_err());
    assert!(view.transaction.execute("CREATE TABLE x (y)", []).is_err());
}

#[test]
fn corrupt_file_is_named_as_such() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("torn.db");
    let mut writer = open(&path).unwrap();
    let records: Vec<SessionRecord> =
        (0..500).map(|n| record(&format!("s-{n}"), 1, "room-7", n, n + 9, &["a"])).collect();
    writer.apply(&records, &[]).unwrap();
    writer.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[4_096..half].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let outcome = open(&path).and_then(|mut writer| writer.apply(&records, &[]));
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn full_disk_writes_nothing_and_passes() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    let mut writer = open(&path).unwrap();
    writer.apply(&[], &[advance(None, 1)]).unwrap();
    let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.connection.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();
    let records: Vec<SessionRecord> =
        (0..500).map(|n| record(&format!("s-{n}"), 1, "room-7", n, n + 9, &["a"])).collect();
    assert!(matches!(writer.apply(&records, &[advance(Some(1), 501)]), Err(Error::Full { .. })));
    assert_eq!(writer.offsets().unwrap(), [("t-1".to_owned(), 0, 1)], "the offset is where it was");
    writer.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
    assert_eq!(
        writer.apply(&records, &[advance(Some(1), 501)]).unwrap().stored,
        500,
        "with room, the same batch is taken"
    );
}

#[test]
fn path_that_cannot_hold_a_file_is_named() {
    let scratch = Scratch::new("faults");
    let file = scratch.path("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(open(&file.join("index.db")), Err(Error::Unopenable { .. })));
    assert!(matches!(open(&scratch.path("no/such/directory/index.db")), Err(Error::Unopenable { .. })));
    assert!(matches!(open(file.parent().unwrap()), Err(Error::Unopenable { .. })), "a directory");
    let rebuilt = crate::Rebuild::begin(file.parent().unwrap(), &origin());
    assert!(matches!(rebuilt, Err(Error::Unopenable { .. })), "a directory, read");
    let problem = |path: &Path| open(path).err().unwrap().to_string();
    assert!(problem(&scratch.path("no/such/directory/index.db")).ends_with("its directory does not exist"));
    assert!(problem(file.parent().unwrap()).ends_with("it is a directory"));
}

#[test]
fn read_only_file_is_named() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    open(&path).unwrap().close().unwrap();
    // Rights do not bind the superuser, so SQLite is asked to honour what it would find: a connection that may only read.
    let source = rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap()
        .execute("DELETE FROM session", [])
        .unwrap_err();
    assert!(matches!(Error::from_sql(&path, source), Error::ReadOnly { .. }));
}

#[test]
fn long_write_of_another_process_is_waited_for_and_then_reported() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    let (mut ours, theirs) = (open(&path).unwrap(), rusqlite::Connection::open(&path).unwrap());
    theirs.execute_batch("BEGIN IMMEDIATE").unwrap();
    ours.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    assert!(matches!(ours.apply(&[], &[advance(None, 1)]), Err(Error::Busy { .. })));
    assert!(reader(&path).view().unwrap().offsets().unwrap().is_empty(), "readers do not wait");
    theirs.execute_batch("COMMIT").unwrap();
    ours.apply(&[], &[advance(None, 1)]).unwrap();
}

#[test]
fn close_reports_a_reader_that_holds_the_log() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    let mut writer = open(&path).unwrap();
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    assert_eq!(view.last_change().unwrap(), 0);
    writer.apply(&[record("s-1", 1, "room-7", 0, 10, &["a"])], &[]).unwrap();
    writer.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    assert!(matches!(writer.close(), Err(Error::Busy { .. })));
    drop(view);
    drop(reader);
    assert_eq!(super::reader(&path).view().unwrap().last_change().unwrap(), 1, "nothing is lost");
}

#[test]
fn inverted_interval_is_our_defect_and_leaves_nothing() {
    let scratch = Scratch::new("faults");
    let path = scratch.path("index.db");
    let mut writer = open(&path).unwrap();
    let mut wrong = record("s-2", 1, "room-7", 10, 20, &["a"]);
    wrong.end = ms(9);
    let outcome = writer.apply(&[record("s-1", 1, "room-7", 0, 10, &["a"]), wrong], &[advance(None, 1)]);
    assert!(matches!(outcome, Err(Error::Sql { .. })), "{outcome:?}");
    assert!(writer.offsets().unwrap().is_empty());
    assert!(reader(&path).view().unwrap().session(&id("s-1").to_string()).unwrap().is_none());
}
