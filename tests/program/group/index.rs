//! `--index`: the sessions that are printed, as rows.

use livesession_formats::time::parse_timestamp;
use livesession_index::{Origin, Writer};

use super::support::{EVENING, Files, SIX, command, ended, kcat, run, run_with, segment};

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
                let start = parse_timestamp(start).unwrap().as_ms();
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

fn index_that_exists_is_left_alone() {
    let files = Files::new("index-exists");
    let path = files.add("there.db", "something");
    let ended = run(&[EVENING, "--index", &path]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("there.db exists"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something");
}

/// Returns a line of kcat around a value, of a topic.
fn of(topic: &str, partition: i32, value: &str) -> String {
    kcat(partition, 0, (SIX + 3_600) * 1_000, value).replace("recording-notifications", topic) + "\n"
}

fn index_is_of_the_topic_that_the_records_are_of() {
    let files = Files::new("index-topic");
    let (one, two) = (segment("a", "f1", 0, 60), segment("b", "f2", 0, 60));
    let input = of("prod", 0, &one) + &of("prod", 3, &two);
    let path = files.path("prod.db");
    run_with(&["--close-all", "--index", &path], input.as_bytes()).succeeded();
    let origin =
        |source_topic: &str| Origin { topic: "live-sessions".to_owned(), source_topic: source_topic.to_owned() };
    Writer::open(path.as_ref(), &origin("prod")).unwrap();
    assert_eq!(rows(&path).len(), 2);

    let other = input.clone() + &of("test", 0, &two);
    let ended = run_with(&["--close-all", "--index", &files.path("both.db")], other.as_bytes());
    assert_eq!(ended.code, 65, "{}", ended.stderr);
    assert!(
        ended.stderr.contains(r#"an index is of one topic, and there are records of "prod" and "test""#),
        "{}",
        ended.stderr
    );

    let path = files.path("none.db");
    run_with(&["--index", &path], b"").succeeded();
    Writer::open(path.as_ref(), &origin("recording-notifications")).unwrap();
}

fn session_of_two_partitions_is_in_the_index_once_and_told() {
    let files = Files::new("index-twice");
    let path = files.path("twice.db");
    let value = segment("a", "f1", 0, 60);
    let input = of("prod", 0, &value) + &of("prod", 1, &value);
    let ended = run_with(&["--close-all", "--index", &path], input.as_bytes()).succeeded();
    assert!(
        ended.stderr.contains("1 sessions are not in the index: another partition has the same"),
        "{}",
        ended.stderr
    );
    assert_eq!(rows(&path).len(), 1);
}

fn no_name_of_a_file_has_a_meaning_of_its_own() {
    let files = Files::new("index-names");
    for name in [":memory:", "file:x?mode=memory"] {
        let output = command(&[EVENING, "--index", name]).current_dir(files.path("")).output().unwrap();
        ended(output).succeeded();
        assert!(!rows(&files.path(name)).is_empty(), "{name}");
    }
}

fn index_that_is_refused_leaves_no_dead_letters_behind() {
    let files = Files::new("index-letters");
    let (there, letters) = (files.add("there.db", "something"), files.path("letters"));
    assert_eq!(run(&[EVENING, "--index", &there, "--dead-letters", &letters]).code, 2);
    assert!(!std::path::Path::new(&letters).exists(), "the next attempt would be refused for it");
}

crate::tests! {
    index_holds_what_is_printed_as_closed,
    index_that_exists_is_left_alone,
    index_is_of_the_topic_that_the_records_are_of,
    session_of_two_partitions_is_in_the_index_once_and_told,
    no_name_of_a_file_has_a_meaning_of_its_own,
    index_that_is_refused_leaves_no_dead_letters_behind,
}
