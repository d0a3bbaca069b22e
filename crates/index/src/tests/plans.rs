//! The plans of the statements that a page or a look-up waits for.
//!
//! A wrong plan gives right answers, only a thousand times slower, so no other test would notice.

use super::*;
use crate::{StatusFilter, lookup, query};

fn plan(path: &Path, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    statement.query_map(parameters, |row| row.get(3)).unwrap().map(Result::unwrap).collect()
}

/// A file with some rows: the planner has no statistics and must not need them.
fn filled(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("index.db");
    let records: Vec<SessionRecord> =
        (0..50).map(|n| record(&format!("s-{n}"), 1, &format!("room-{}", n % 5), n, n + 9, &["a", "b"])).collect();
    writer(&path).apply(&records, &[]).unwrap();
    path
}

const PAGE: [&dyn rusqlite::ToSql; 7] = [&0_i64, &"", &0_i64, &9_i64, &10_i64, &"x", &"closed"];

#[test]
fn page_of_a_stream_walks_its_part_of_the_index() {
    let scratch = Scratch::new("plans");
    let path = filled(&scratch);
    for by_status in [StatusFilter::Current, StatusFilter::Is(Status::Closed), StatusFilter::Any] {
        assert_eq!(
            plan(&path, &query::page_sql(true, by_status), &PAGE),
            [
                "SEARCH s USING INDEX session_by_stream (stream_key=? AND (start_ms,session_id)>(?,?) AND start_ms<?)",
                "SEARCH t USING PRIMARY KEY (key=?)",
            ],
        );
    }
}

#[test]
fn page_of_all_streams_walks_the_index_by_time() {
    let scratch = Scratch::new("plans");
    let path = filled(&scratch);
    for by_status in [StatusFilter::Current, StatusFilter::Is(Status::Closed), StatusFilter::Any] {
        assert_eq!(
            plan(&path, &query::page_sql(false, by_status), &PAGE),
            [
                "SEARCH s USING INDEX session_by_time ((start_ms,session_id)>(?,?) AND start_ms<?)",
                "SEARCH t USING PRIMARY KEY (key=?)",
            ],
        );
    }
}

#[test]
fn changes_streams_and_files_are_found_by_their_index() {
    let scratch = Scratch::new("plans");
    let path = filled(&scratch);
    let changes = plan(&path, &query::changes_sql(), &[&0_i64, &10_i64]);
    assert_eq!(changes[0], "SEARCH s USING INDEX sqlite_autoindex_session_2 (change>?)");
    assert_eq!(changes.len(), 2, "no sorting: {changes:?}");
    let streams = plan(&path, query::STREAMS_SQL, &[&"a", &true, &"b", &10_i64]);
    assert_eq!(streams[0], "SEARCH stream USING PRIMARY KEY (key>?)", "{streams:?}");
    assert!(streams.iter().any(|line| line.contains("session_by_stream (stream_key=?)")), "{streams:?}");
    assert!(streams.iter().all(|line| !line.contains("TEMP B-TREE")), "{streams:?}");
    for by_stream in [true, false] {
        let last = plan(&path, &query::last_sql(by_stream), &[&"x", &"withdrawn"]);
        assert_eq!(last.len(), 2, "no sorting: {last:?}");
    }
    // Closed ones first: sorted, but only the few rows of one file.
    assert_eq!(
        plan(&path, &lookup::by_file_sql(), &[&"a", &10_i64]),
        [
            "SEARCH g USING INDEX segment_by_file (file_id=?)",
            "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH t USING PRIMARY KEY (key=?)",
            "USE TEMP B-TREE FOR ORDER BY",
        ]
    );
}

#[test]
fn session_and_its_lists_are_found_by_their_keys() {
    let scratch = Scratch::new("plans");
    let path = filled(&scratch);
    assert_eq!(
        plan(&path, &query::session_sql(), &[&"s-1"]),
        ["SEARCH s USING INDEX sqlite_autoindex_session_1 (session_id=?)", "SEARCH t USING PRIMARY KEY (key=?)",]
    );
    assert_eq!(
        plan(&path, &query::segments_sql(), &[&1_i64]),
        ["SEARCH g USING INDEX sqlite_autoindex_segment_1 (session_no=?)"]
    );
    assert_eq!(plan(&path, query::GAPS_SQL, &[&1_i64]), ["SEARCH gap USING PRIMARY KEY (session_no=?)"]);
}

#[test]
fn part_of_a_key_walks_through_the_streams_in_order_and_no_further() {
    let scratch = Scratch::new("plans");
    let path = filled(&scratch);
    let lines = plan(&path, query::STREAMS_WITH_SQL, &[&"room", &10_i64]);
    assert_eq!(lines[0], "SCAN stream", "the one walk, which ends at the limit");
    assert!(lines[1..].iter().all(|line| !line.starts_with("SCAN") && !line.contains("B-TREE")), "{lines:?}");
}

#[test]
fn morning_among_many_years_is_found_without_walking_through_them() {
    let scratch = Scratch::new("plans");
    let path = scratch.path("index.db");
    let hour = 3_600_000;
    let records: Vec<SessionRecord> =
        (0..20_000).map(|n| record(&format!("s-{n:06}"), 1, "room-7", n * hour, n * hour + hour / 2, &[])).collect();
    writer(&path).apply(&records, &[]).unwrap();
    let mut reader = reader(&path);
    for stream in [Some("push.example.com/live/room-7"), None] {
        let select =
            crate::Select { stream, from_ms: Some(19_990 * hour), to_ms: Some(19_991 * hour), ..Default::default() };
        // The clock is looked at every 10,000 steps, and a walk through 20,000 rows takes more: no time is left for one.
        let view = reader.view_within(std::time::Duration::ZERO).unwrap();
        let page = view.sessions(&select).unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(page[0].summary.session_id, id("s-019990"));
    }
}
