//! Bounds of intervals, pages and prefixes.

use super::*;
use crate::{Position, Select};

fn ids(path: &Path, select: &Select<'_>) -> Vec<String> {
    let mut reader = reader(path);
    let page = reader.view().unwrap().sessions(select).unwrap();
    page.into_iter().map(|entry| name(entry.summary.session_id)).collect()
}

#[test]
fn session_is_in_an_interval_that_it_overlaps() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    writer(&path).apply(&[record("s", 1, "room-7", 100, 200, &["a"])], &[]).unwrap();
    for (from, to, expected) in [
        (0, 100, false), // ends where it begins
        (0, 101, true),
        (199, 300, true),
        (200, 300, false), // begins where it ends
        (150, 150, true),  // a point inside
        (0, 1_000, true),
    ] {
        for stream in [Some("push.example.com/live/room-7"), None] {
            let select = Select { stream, from_ms: Some(from), to_ms: Some(to), ..Select::default() };
            assert_eq!(!ids(&path, &select).is_empty(), expected, "[{from}, {to}) of {stream:?}");
        }
    }
}

#[test]
fn session_of_no_length_is_where_its_start_is() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    writer(&path).apply(&[record("s", 1, "room-7", 100, 100, &["a"])], &[]).unwrap();
    for (from, to, expected) in [(99, 100, false), (100, 101, true), (101, 102, false), (99, 101, true)] {
        let select = Select { from_ms: Some(from), to_ms: Some(to), ..Select::default() };
        assert_eq!(!ids(&path, &select).is_empty(), expected, "[{from}, {to})");
    }
}

#[test]
fn extreme_bounds_and_limits_are_only_wide() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    writer(&path).apply(&[record("s", 1, "room-7", 100, 200, &["a"])], &[]).unwrap();
    for (from_ms, to_ms) in
        [(Some(i64::MIN), Some(i64::MAX)), (None, None), (Some(i64::MIN), None), (None, Some(i64::MAX))]
    {
        let select = Select { from_ms, to_ms, limit: usize::MAX, ..Select::default() };
        assert_eq!(ids(&path, &select), ["s"]);
    }
    assert!(ids(&path, &Select { from_ms: Some(i64::MAX), ..Select::default() }).is_empty());
    assert!(ids(&path, &Select { limit: 0, ..Select::default() }).is_empty());
    let after = Some(Position { start_ms: i64::MIN, session_id: "~".to_owned() });
    assert_eq!(ids(&path, &Select { after, ..Select::default() }), ["s"], "a position before all of them");
}

#[test]
fn sessions_that_begin_together_are_paged_by_id() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    let records: Vec<SessionRecord> = ["c", "a", "b"].map(|id| record(id, 1, "room-7", 100, 200, &[])).into();
    writer(&path).apply(&records, &[]).unwrap();
    for (after, expected) in [("a", "b"), ("b", "c")] {
        let after = Some(Position { start_ms: 100, session_id: id(after).to_string() });
        assert_eq!(ids(&path, &Select { after, limit: 1, ..Select::default() }), [expected]);
    }
}

#[test]
fn streams_are_found_by_prefix_as_text_and_not_as_a_pattern() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    let names = ["a", "a%", "a_", "ab", "a\u{10ffff}z", "b", "*", "\u{10ffff}\u{10ffff}"];
    let records: Vec<SessionRecord> = names
        .iter()
        .map(|name| {
            let mut one = record(&format!("s-{name}"), 1, "x", 5, 9, &[]);
            one.stream.key = (*name).to_owned();
            one
        })
        .collect();
    writer(&path).apply(&records, &[]).unwrap();
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    let keys = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        view.streams(prefix, after, limit).unwrap().into_iter().map(|listed| listed.stream.key).collect()
    };
    assert_eq!(keys("a", None, 10), ["a", "a%", "a_", "ab", "a\u{10ffff}z"]);
    assert_eq!(keys("a", Some("a%"), 2), ["a_", "ab"]);
    assert_eq!(keys("a", Some(""), 1), ["a"], "a position before the prefix");
    assert!(keys("a", Some("b"), 9).is_empty(), "a position after the prefix");
    assert_eq!(keys("a%", None, 10), ["a%"]);
    assert_eq!(keys("\u{10ffff}", None, 10), ["\u{10ffff}\u{10ffff}"]);
    assert_eq!(keys("", None, 100).len(), names.len());
    assert!(keys("' OR 1=1 --", None, 10).is_empty());
    assert_eq!(view.streams("b", None, 1).unwrap()[0].last_start, Some(ms(5)));
}

#[test]
fn view_ends_when_its_time_is_over() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    let records: Vec<SessionRecord> =
        (0..20_000).map(|n| record(&format!("{n}"), 1, "room-7", n, n + 1, &[])).collect();
    writer(&path).apply(&records, &[]).unwrap();
    let mut reader = reader(&path);
    let all = Select { limit: usize::MAX, ..Select::default() };
    let view = reader.view_within(std::time::Duration::ZERO).unwrap();
    assert!(matches!(view.sessions(&all), Err(crate::Error::Interrupted { .. })));
    drop(view);
    assert_eq!(reader.view().unwrap().sessions(&all).unwrap().len(), 20_000, "the next one has its own");
    assert_eq!(reader.long_view().unwrap().sessions(&all).unwrap().len(), 20_000);
}

#[test]
fn view_is_of_one_state() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&[record("s-1", 1, "room-7", 0, 10, &["a"])], &[]).unwrap();
    let mut reader = reader(&path);
    let view = reader.view().unwrap();
    let before = view.session(&id("s-1").to_string()).unwrap().unwrap();
    writer
        .apply(&[record("s-1", 2, "room-7", 0, 20, &["a", "b"]), record("s-2", 1, "room-7", 0, 1, &[])], &[])
        .unwrap();
    assert_eq!(view.with_lists(before).unwrap().segments.len(), 1);
    assert_eq!(view.session(&id("s-2").to_string()).unwrap(), None);
    assert_eq!(view.last_change().unwrap(), 1);
    drop(view);
    assert_eq!(reader.view().unwrap().last_change().unwrap(), 3);
}
