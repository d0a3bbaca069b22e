//! The canned queries of `schemas/datasette.yaml`, on a copy as `index backup` makes it: each answers, and each look-up uses
//! an index.
//!
//! Parameters are texts, since Datasette sends nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use livesession_index as index;
use rusqlite::{Connection, OpenFlags};
use saphyr::{LoadableYamlNode, Yaml};

use crate::http::support::{Server, id, session, withdrawn};

/// What a query is given and what comes back: the named columns of each row.
struct Answer {
    name: &'static str,
    given: &'static [(&'static str, &'static str)],
    columns: &'static [&'static str],
    rows: &'static [&'static [&'static str]],
}

const ONE: &str = "00000000-0000-5000-8000-000000000001";
const TWO: &str = "00000000-0000-5000-8000-000000000002";
const THREE: &str = "00000000-0000-5000-8000-000000000003";
const FOUR: &str = "00000000-0000-5000-8000-000000000004";
const ALWAYS: [(&str, &str); 2] = [("from_utc", ""), ("to_utc", "")];
const FIRST_HOUR: [(&str, &str); 2] = [("from_utc", "2026-03-01"), ("to_utc", "2026-03-01 01:00")];

const ANSWERS: &[Answer] = &[
    Answer {
        name: "session_of_file",
        given: &[("file_id", "1-0")],
        columns: &["session_id", "start"],
        rows: &[&[ONE, "2026-03-01T00:00:00.000Z"]],
    },
    // Left behind by a withdrawn session, whose survivor has yet to list it.
    Answer { name: "session_of_file", given: &[("file_id", "3-0")], columns: &["session_id"], rows: &[&[ONE]] },
    // The survivor is not in the index.
    Answer {
        name: "session_of_file",
        given: &[("file_id", "4-0")],
        columns: &["session_id", "status"],
        rows: &[&[FOUR, "withdrawn"]],
    },
    Answer { name: "session_of_file", given: &[("file_id", "' OR 1=1 --")], columns: &[], rows: &[] },
    Answer {
        name: "sessions_of_stream",
        given: &[("stream_key", "a/b/room-7"), FIRST_HOUR[0], FIRST_HOUR[1]],
        columns: &["session_id", "segments", "gaps"],
        rows: &[&[ONE, "2", "1"]],
    },
    Answer {
        name: "sessions_of_stream",
        given: &[("stream_key", "a/b/room-8"), ALWAYS[0], ALWAYS[1]],
        columns: &["session_id"],
        rows: &[&[TWO]],
    },
    Answer {
        name: "sessions_of_all_streams",
        given: &ALWAYS,
        columns: &["session_id", "stream_key"],
        rows: &[&[ONE, "a/b/room-7"], &[TWO, "a/b/room-8"]],
    },
    Answer { name: "sessions_of_all_streams", given: &FIRST_HOUR, columns: &["session_id"], rows: &[&[ONE]] },
    Answer {
        name: "files_of_session",
        given: &[("session_id", ONE)],
        columns: &["file_id", "silence_before_ms", "url"],
        rows: &[
            &["1-0", "NULL", "https://vod.example.com/1-0.mp4"],
            &["1-1", "60000", "https://vod.example.com/1-1.mp4"],
        ],
    },
    Answer {
        name: "gaps_of_session",
        given: &[("session_id", ONE)],
        columns: &["start", "duration_ms"],
        rows: &[&["2026-03-01T00:10:00.000Z", "60000"]],
    },
    Answer {
        name: "streams",
        given: &[("part_of_key", "room-8")],
        columns: &["key", "last_start"],
        rows: &[&["a/b/room-8", "2026-03-01T02:00:00.000Z"]],
    },
    Answer {
        name: "hours_by_day",
        given: &ALWAYS,
        columns: &["day", "stream_key", "sessions", "live_hours", "recorded_hours"],
        rows: &[&["2026-03-01", "a/b/room-7", "1", "0.35", "0.333"], &["2026-03-01", "a/b/room-8", "1", "1.0", "1.0"]],
    },
    Answer {
        name: "long_gaps",
        given: &[("minutes", "1"), ALWAYS[0], ALWAYS[1]],
        columns: &["session_id", "seconds"],
        rows: &[&[ONE, "60.0"]],
    },
    Answer { name: "long_gaps", given: &[("minutes", "1.1"), ALWAYS[0], ALWAYS[1]], columns: &[], rows: &[] },
    Answer {
        name: "withdrawn",
        given: &ALWAYS,
        columns: &["session_id", "merged_into", "survivor_status"],
        rows: &[&[THREE, ONE, "closed"], &[FOUR, "00000000-0000-5000-8000-000000000009", "NULL"]],
    },
    Answer {
        name: "anomalies",
        given: &ALWAYS,
        columns: &["anomaly", "files", "example"],
        rows: &[&["start_rebuilt", "1", "1-1"]],
    },
    Answer { name: "changes", given: &[("after", "4")], columns: &["session_id"], rows: &[&[THREE], &[FOUR]] },
];

/// Queries that may walk through a table: they are about all of it.
const WALKS: [&str; 1] = ["streams"];

/// A copy of an index of four sessions, two of them withdrawn.
struct Copy {
    connection: Connection,
    _server: Server,
}

impl Copy {
    fn new(name: &str) -> Copy {
        let mut odd = session(1, "room-7", &[(0, 600), (660, 1_260)]);
        odd.segments[1].anomalies = vec!["start_rebuilt".to_owned()];
        let (gone, lost) = (session(3, "room-7", &[(10_000, 10_060)]), session(4, "room-7", &[(20_000, 20_060)]));
        let records = [
            odd,
            session(2, "room-8", &[(7_200, 10_800)]),
            gone.clone(),
            lost.clone(),
            withdrawn(gone, 1),
            withdrawn(lost, 9),
        ];
        let server = Server::new(&format!("canned-{name}"), &records);
        let copy = server.path().with_file_name("copy.db");
        index::backup(&server.path(), &copy).unwrap();
        let connection = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        Copy { connection, _server: server }
    }
}

/// Returns name and SQL of every canned query.
fn queries() -> Vec<(String, String)> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/datasette.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let queries = documents[0]["databases"]["index"]["queries"].as_mapping().unwrap();
    let text = |value: &Yaml<'_>| value.as_str().unwrap().to_owned();
    let query = |(name, query): (&Yaml<'_>, &Yaml<'_>)| {
        assert!(!text(&query["title"]).is_empty() && !text(&query["description"]).is_empty());
        (text(name), text(&query["sql"]))
    };
    queries.iter().map(query).collect()
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        ValueRef::Blob(_) => panic!("nothing in the index is a blob"),
    }
}

fn every_query_answers() {
    let copy = Copy::new("answers");
    let queries = queries();
    for Answer { name, given, columns, rows } in ANSWERS {
        let (_, sql) = queries.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("no query {name}"));
        let mut statement = copy.connection.prepare(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(statement.readonly(), "{name}");
        let wanted: BTreeSet<String> =
            (1..=statement.parameter_count()).map(|at| statement.parameter_name(at).unwrap().to_owned()).collect();
        assert_eq!(wanted, given.iter().map(|(name, _)| format!(":{name}")).collect(), "parameters of {name}");
        for (parameter, value) in *given {
            let at = statement.parameter_index(&format!(":{parameter}")).unwrap().unwrap();
            statement.raw_bind_parameter(at, value).unwrap();
        }
        let places: Vec<usize> = columns.iter().map(|column| statement.column_index(column).unwrap()).collect();
        let mut found = Vec::new();
        let mut answer = statement.raw_query();
        while let Some(row) = answer.next().unwrap() {
            found.push(places.iter().map(|place| shown(row.get_ref(*place).unwrap())).collect::<Vec<_>>());
        }
        assert_eq!(found, *rows, "{name} {given:?}");
    }
    let tried: BTreeSet<&str> = ANSWERS.iter().map(|answer| answer.name).collect();
    assert_eq!(queries.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), tried, "each is tried");
    assert_eq!(id(1), ONE);
}

fn queries_use_an_index() {
    let copy = Copy::new("plans");
    for (name, sql) in queries().iter().filter(|(name, _)| !WALKS.contains(&name.as_str())) {
        let mut statement = copy.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let line: String = row.get(3).unwrap();
            for table in ["session", "segment", "gap", "stream", "gone", "survivor", "other"] {
                assert!(!line.starts_with(&format!("SCAN {table}")), "{name}: {line}");
            }
        }
    }
}

crate::tests! {
    every_query_answers,
    queries_use_an_index,
}
