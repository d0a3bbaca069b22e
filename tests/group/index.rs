//! `--index`: the sessions that are printed, as rows.

use livesession::index::{Origin, Writer};

use super::support::{EVENING, Files, run};

fn rows(path: &str) -> Vec<(String, String, i64, i64)> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT session_id, status, start_ms, (SELECT count(*) FROM segment WHERE segment.session_no = session.session_no)
             FROM session ORDER BY session_id",
        )
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn index_holds_what_is_printed_as_closed() {
    let files = Files::new("index");
    for (name, arguments) in
        [("open.db", &[][..]), ("closed.db", &["--close-all"]), ("replay.db", &["--arrival-order"])]
    {
        let path = files.path(name);
        let ended = run(&[&[EVENING, "--index", &path], arguments].concat()).succeeded();
        assert_eq!(ended.stdout, "");
        let printed = run(&[&[EVENING], arguments].concat()).succeeded().sessions();
        let open = printed.iter().filter(|session| session["status"] == "open").count();
        assert_eq!(ended.stderr.contains(&format!("{open} open sessions are not in the index")), open > 0);
        let mut expected: Vec<_> = printed
            .iter()
            .filter(|session| session["status"] == "closed")
            .map(|session| {
                let start = session["start"].as_str().unwrap();
                let start = livesession::time::Timestamp::parse_rfc3339(start).unwrap().as_ms();
                let files = session["segments"].as_array().unwrap().len() as i64;
                (session["session_id"].as_str().unwrap().to_owned(), "closed".to_owned(), start, files)
            })
            .collect();
        expected.sort();
        assert_eq!(rows(&path), expected, "{name}");
        let origin = Origin { topic: "live-sessions".to_owned(), source_topic: "recording-notifications".to_owned() };
        Writer::open(path.as_ref(), &origin).unwrap();
    }
}

#[test]
fn index_that_exists_is_left_alone() {
    let files = Files::new("index-exists");
    let path = files.add("there.db", "something");
    let ended = run(&[EVENING, "--index", &path]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("there.db exists"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something");
}
