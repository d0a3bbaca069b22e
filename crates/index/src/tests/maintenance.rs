//! Backup, retention, filling anew, comparing.

use super::*;
use crate::{Difference, Error, Pruned, Rebuild, Select, StatusFilter, backup, sizes};

fn all(path: &Path) -> Vec<SessionRecord> {
    let mut reader = reader(path);
    let view = reader.view().unwrap();
    let page = view.sessions(&Select { limit: usize::MAX, status: StatusFilter::Any, ..Select::default() }).unwrap();
    page.into_iter().map(|entry| view.with_lists(entry).unwrap()).collect()
}

fn generation(path: &Path) -> String {
    reader(path).view().unwrap().generation().unwrap()
}

fn records(range: std::ops::Range<i64>) -> Vec<SessionRecord> {
    range
        .map(|n| record(&format!("s-{n:05}"), 1, &format!("room-{}", n % 3), n * 10, n * 10 + 5, &["a", "b"]))
        .collect()
}

#[test]
fn backup_is_the_same_index_of_another_generation() {
    let scratch = Scratch::new("maintenance");
    let (path, copy) = (scratch.path("index.db"), scratch.path("copy.db"));
    let mut writer = writer(&path);
    writer.apply(&records(0..100), &[advance(None, 7)]).unwrap();
    backup(&path, &copy).unwrap();
    assert_eq!(all(&copy), records(0..100));
    assert_eq!(reader(&copy).view().unwrap().offsets().unwrap(), [("t-1".to_owned(), 0, 7)]);
    assert_ne!(generation(&copy), generation(&path));
    assert_eq!(sizes(&copy).1, 0, "one file, without a log");
    let names: Vec<_> =
        std::fs::read_dir(copy.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".part")), "{names:?}");
    // Put back, it is an index to go on with.
    let mut restored = Writer::open(&copy, &origin()).unwrap();
    restored.apply(&records(100..101), &[advance(Some(7), 8)]).unwrap();
    assert!(matches!(backup(&path, &copy), Err(Error::Exists { .. })), "nothing is overwritten");
    assert!(matches!(backup(&scratch.path("none.db"), &scratch.path("x.db")), Err(Error::Missing { .. })));
}

#[test]
fn prune_removes_what_ended_before_the_bound() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer
        .apply(&[record("s", 1, "room-7", 100, 200, &["a", "b"]), record("t", 1, "room-8", 0, 900, &["c"])], &[])
        .unwrap();
    for (before, expected) in [(199, 0), (200, 0), (201, 1)] {
        let dry = writer.prune(before, true).unwrap();
        assert_eq!(dry, Pruned { sessions: expected, segments: 2 * expected, streams: expected }, "before {before}");
        assert_eq!(writer.prune(before, false).unwrap(), dry, "as the dry run said, before {before}");
    }
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    assert_eq!(view.session(&id("s").to_string()).unwrap(), None);
    assert!(view.recordings("a", 10).unwrap().is_empty());
    let keys: Vec<String> = view.streams("", None, 10).unwrap().into_iter().map(|one| one.stream.key).collect();
    assert_eq!(keys, [stream("room-8").key]);
}

#[test]
fn prune_goes_on_beyond_one_transaction() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&records(0..2_500), &[]).unwrap();
    assert_eq!(writer.prune(i64::MAX, false).unwrap(), Pruned { sessions: 2_500, segments: 5_000, streams: 3 });
    assert!(all(&path).is_empty());
    assert_eq!(writer.apply(&records(0..1), &[]).unwrap().change, 2_501, "numbers are not given out again");
}

#[test]
fn rebuild_replaces_the_content_under_open_readers() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&records(0..50), &[advance(None, 50)]).unwrap();
    let old_generation = generation(&path);
    let mut open = reader(&path);
    let view = open.view().unwrap();
    assert!(view.session(&id("s-00000").to_string()).unwrap().is_some());

    let mut rebuild = Rebuild::begin(&path, &origin()).unwrap();
    rebuild.writer().apply(&records(40..900), &[advance(None, 900)]).unwrap();
    assert_eq!(all(&path), records(0..50), "nothing is seen before it is whole");
    rebuild.finish().unwrap();

    assert!(view.session(&id("s-00000").to_string()).unwrap().is_some(), "an open view keeps its state");
    drop(view);
    assert!(
        open.view().unwrap().session(&id("s-00000").to_string()).unwrap().is_none(),
        "the same connection sees the new one"
    );
    assert_eq!(all(&path), records(40..900));
    assert_ne!(generation(&path), old_generation);
    assert!(matches!(writer.apply(&[], &[advance(Some(50), 51)]), Err(Error::Twin { found: Some(900), .. })));
    writer.apply(&records(900..901), &[advance(Some(900), 901)]).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("rebuild")), "{left:?}");
}

#[test]
fn abandoned_rebuild_is_begun_again() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let mut rebuild = Rebuild::begin(&path, &origin()).unwrap();
    rebuild.writer().apply(&records(0..10), &[advance(None, 10)]).unwrap();
    let part = scratch.path("index.db.rebuild");
    assert!(part.exists());
    drop(rebuild);
    assert!(!part.exists(), "it may be why the disk is full");

    // Of one that was killed everything is left.
    std::fs::write(&part, "half").unwrap();
    std::fs::write(scratch.path("index.db.rebuild-wal"), "of it").unwrap();
    let mut again = Rebuild::begin(&path, &origin()).unwrap();
    again.writer().apply(&records(0..3), &[advance(None, 3)]).unwrap();
    again.finish().unwrap();
    assert_eq!(all(&path), records(0..3));
}

#[test]
fn corrupt_file_is_replaced_by_a_rebuild() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let noise = "this was a database once, and it is long enough to be looked at".repeat(100);
    std::fs::write(&path, format!("SQLite format 3\0{noise}")).unwrap();
    let mut rebuild = Rebuild::begin(&path, &origin()).unwrap();
    rebuild.writer().apply(&records(0..3), &[advance(None, 3)]).unwrap();
    rebuild.finish().unwrap();
    assert_eq!(all(&path), records(0..3));
}

#[test]
fn verify_names_each_difference() {
    let scratch = Scratch::new("maintenance");
    let path = scratch.path("index.db");
    let published = records(0..6);
    let mut indexed = published.clone();
    indexed.remove(0);
    indexed[0].revision = 2;
    indexed[1].recorded_ms += 1;
    indexed[2].segments.pop();
    indexed[3].gaps.clear();
    indexed.push(record("s-extra", 1, "room-7", 0, 77, &[]));
    writer(&path).apply(&indexed, &[]).unwrap();
    let mut found = Vec::new();
    let mut reader = reader(&path);
    assert_eq!(reader.long_view().unwrap().verify(published, |one| found.push(one)).unwrap(), 6);
    let differs = |n: u32, what| Difference::Differs { session_id: id(&format!("s-{n:05}")).to_string(), what };
    assert_eq!(
        found,
        [
            Difference::Missing { session_id: id("s-00000").to_string(), revision: 1 },
            differs(1, "revision"),
            differs(2, "session row"),
            differs(3, "segments"),
            differs(4, "gaps"),
            Difference::Extra { session_id: id("s-extra").to_string(), end_ms: 77 },
        ]
    );
}
