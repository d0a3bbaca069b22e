//! The commands that query the index, as a user runs them: the program, its output, its exit code.

use std::path::PathBuf;
use std::process::{Command, Output};

use livesession_formats::session::{SessionRecord, decode};
use livesession_index::{Advance, Origin, Writer};
use serde_json::Value;

const ID: [&str; 4] = [
    "00000000-0000-5000-8000-000000000001",
    "00000000-0000-5000-8000-000000000002",
    "00000000-0000-5000-8000-000000000003",
    "00000000-0000-5000-8000-000000000004",
];

/// An index of four sessions: two shows of a room, one that was withdrawn into the first, one with odd texts.
struct Fixture {
    directory: PathBuf,
}

fn session(
    id: &str,
    stream_id: &str,
    hour: u32,
    status: &str,
    merged_into: &str,
    files: &[(&str, &str)],
) -> SessionRecord {
    let segment = |(number, (file, url)): (usize, &(&str, &str))| {
        serde_json::json!({
            "file_id": file, "url": url, "format": "mp4", "task_id": null, "rendition": number % 2,
            "start": format!("2025-03-01T{hour:02}:00:00.000Z"), "end": format!("2025-03-01T{hour:02}:30:00.000Z"),
            "duration_ms": 1_800_000, "media_ms": null, "size_bytes": null, "anomalies": [], "offset": number
        })
    };
    let rendition = |kbps: i64| {
        serde_json::json!({"format": "mp4", "template_id": null, "bitrate_kbps": kbps, "segments": 1, "recorded_ms": 1_800_000,
            "size_bytes": null})
    };
    let segments: Vec<Value> = files.iter().enumerate().map(segment).collect();
    let renditions: Vec<Value> =
        (0..files.len().min(2)).map(|number| rendition(900 * i64::try_from(number).unwrap())).collect();
    let merged_into = if merged_into.is_empty() { Value::Null } else { merged_into.into() };
    let record = serde_json::json!({
        "version": 1, "session_id": id, "revision": 1, "status": status, "merged_into": merged_into, "continues": null,
        "close_cause": if status == "withdrawn" { Value::Null } else { "watermark".into() },
        "stream": {"key": format!("a/b/{stream_id}"), "app": "a", "appname": "b", "stream_id": stream_id},
        "start": format!("2025-03-01T{hour:02}:00:00.000Z"), "end": format!("2025-03-01T{hour:02}:30:00.000Z"),
        "duration_ms": 1_800_000, "recorded_ms": 1_800_000, "gaps": [], "renditions": renditions, "segments": segments,
        "source": {"topic": "recording-notifications", "partition": 0, "first_offset": 0, "last_offset": 9},
        "watermark": "2025-03-01T23:00:00.000Z"
    });
    decode(record.to_string().as_bytes()).unwrap()
}

impl Fixture {
    fn new(name: &str) -> Fixture {
        let directory = std::env::temp_dir().join(format!("livesession-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let fixture = Fixture { directory };
        let origin = Origin { topic: "live-sessions".to_owned(), source_topic: "recording-notifications".to_owned() };
        let url = "https://vod.example.com/x.mp4";
        let records = [
            session(ID[0], "room-7", 10, "closed", "", &[("f1", url), ("f2", url)]),
            session(ID[1], "room-7", 12, "closed", "", &[("f3", url)]),
            session(ID[2], "room-7", 11, "withdrawn", ID[0], &[]),
            session(ID[3], "\u{1b}[2J,\"<b>", 13, "closed", "", &[("f5", "/etc/passwd")]),
        ];
        let advance = Advance { topic_id: "t".to_owned(), partition: 0, from: None, to: 4 };
        Writer::open(&fixture.index(), &origin).unwrap().apply(&records, &[advance]).unwrap();
        fixture
    }

    fn index(&self) -> PathBuf {
        self.directory.join("index.db")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        command.args(arguments).arg("--index").arg(self.index()).env_clear().output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        (stdout, stderr)
    }

    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        let whole = [&["sessions", "list"], arguments].concat();
        let (stdout, _) = self.ok(&whole);
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["session_id"].as_str().unwrap().to_owned();
        stdout.lines().map(id).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn list_selects_by_stream_time_and_status() {
    let fixture = Fixture::new("list");
    let cases: [(&[&str], &[&str]); 12] = [
        (&[], &[ID[0], ID[1], ID[3]]),
        (&["--stream", "a/b/room-7"], &[ID[0], ID[1]]),
        (&["--stream", "' OR 1=1 --"], &[]),
        (&["--status", "any"], &[ID[0], ID[2], ID[1], ID[3]]),
        (&["--status", "withdrawn"], &[ID[2]]),
        (&["--from", "2025-03-01T10:30:00Z"], &[ID[1], ID[3]]),
        (&["--to", "2025-03-01T12:00:00Z"], &[ID[0]]),
        (&["--from", "2025-03-01T10:29:59.999Z", "--to", "2025-03-01T12:00:00.001Z"], &[ID[0], ID[1]]),
        (&["--tz", "+08:00", "--from", "2025-03-01 20:00", "--to", "2025-03-01 20:01"], &[ID[1]]),
        (&["--tz", "-08:00", "--from", "2025-03-01 04:00", "--to", "2025-03-01 04:01"], &[ID[1]]),
        (&["--limit", "0"], &[ID[0], ID[1], ID[3]]),
        (&["--limit", "1"], &[ID[0]]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(fixture.ids(arguments), expected, "{arguments:?}");
    }
}

fn list_says_that_there_are_more() {
    let fixture = Fixture::new("more");
    for (limit, expected) in [("2", true), ("3", false), ("4", false), ("0", false)] {
        let (_, stderr) = fixture.ok(&["sessions", "list", "--limit", limit]);
        assert_eq!(stderr.contains("there are more"), expected, "limit {limit}: {stderr}");
    }
}

fn list_gives_summaries_and_segments_on_demand() {
    let fixture = Fixture::new("include");
    let (stdout, _) = fixture.ok(&["sessions", "list", "--limit", "1"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["start"], "2025-03-01T10:00:00.000Z");
    assert_eq!(summary["source"]["topic"], "recording-notifications");
    assert_eq!(summary.get("segments"), None);
    let (stdout, _) = fixture.ok(&["sessions", "list", "--limit", "1", "--include", "segments"]);
    let (shown, _) = fixture.ok(&["sessions", "show", ID[0]]);
    assert_eq!(stdout, shown, "the whole record");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["segments"].as_array().unwrap().len(), 2);
}

fn csv_has_a_header_and_quotes() {
    let fixture = Fixture::new("csv");
    let (stdout, _) = fixture.ok(&["sessions", "list", "--csv", "--tz", "+08:00", "--from", "2025-03-01 21:00"]);
    assert_eq!(
        stdout,
        format!(
            "start,end,duration,stream,session_id,revision,status,close_cause,merged_into\n\
             2025-03-01 21:00:00,2025-03-01 21:30:00,0:30:00,\"a/b/\u{1b}[2J,\"\"<b>\",{},1,closed,watermark,\n",
            ID[3]
        )
    );
    let (stdout, _) = fixture.ok(&["sessions", "show", "--csv", ID[0]]);
    assert_eq!(stdout.lines().count(), 3);
    let (stdout, _) = fixture.ok(&["recordings", "f3", "--csv"]);
    assert!(stdout.starts_with("file_id,start") && stdout.contains(ID[1]), "{stdout}");
}

fn unknown_ids_and_files_are_a_no() {
    let fixture = Fixture::new("unknown");
    let hostile = ["", "x", "'; DROP TABLE session; --", "00000000-0000-5000-8000-000000000009", "\u{1b}[2J"];
    for id in hostile {
        let cases: [&[&str]; 3] = [&["sessions", "show", id], &["sessions", "splice", id], &["recordings", id]];
        for arguments in cases {
            let output = fixture.run(arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            let (stdout, stderr) = texts(&output);
            assert!(stdout.is_empty() && stderr.starts_with("error: no session has"), "{arguments:?}: {stderr}");
            assert!(!stderr.contains('\u{1b}'), "what is quoted is not obeyed");
        }
    }
    assert_eq!(fixture.ids(&[]).len(), 3, "nothing was executed");
}

fn ids_are_found_as_people_paste_them() {
    let fixture = Fixture::new("paste");
    let pasted = format!(" {} ", ID[0].to_uppercase());
    fixture.ok(&["sessions", "show", &pasted]);
    fixture.ok(&["recordings", " f1\n"]);
}

fn recording_names_its_session() {
    let fixture = Fixture::new("recording");
    let (stdout, _) = fixture.ok(&["recordings", "f2"]);
    let recording: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(recording["file_id"], "f2");
    assert_eq!(recording["session"]["session_id"], ID[0]);
    assert_eq!(recording["bitrate_kbps"], 900);
}

fn splice_is_of_one_rendition_and_says_which_there_are() {
    let fixture = Fixture::new("splice");
    let output = fixture.run(&["sessions", "splice", ID[0], "--as", "ffconcat"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("  1: mp4, 900 kbps: 1 segments, 0:30:00"), "{}", texts(&output).1);
    let (stdout, _) = fixture.ok(&["sessions", "splice", ID[0], "--as", "ffconcat", "--rendition", "1"]);
    assert!(stdout.starts_with("ffconcat version 1.0\n"), "{stdout}");
    let (stdout, _) = fixture.ok(&["sessions", "splice", ID[1], "--as", "edit-request"]);
    let request: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(request["FileInfos"][0]["FileId"], "f3");
    let (stdout, _) = fixture.ok(&["sessions", "splice", ID[0]]);
    assert_eq!(stdout.lines().count(), 2, "every rendition as JSON");
    for (arguments, code, text) in [
        (["sessions", "splice", ID[0], "--rendition", "2"], 1, "no rendition 2"),
        (
            ["sessions", "splice", ID[2], "--gaps", "keep"],
            1,
            "was withdrawn, its files are in 00000000-0000-5000-8000-000000000001",
        ),
        (
            ["sessions", "splice", ID[3], "--as", "ffconcat"],
            1,
            "not an http or https address but a path, which --local-files allows; edit-request takes file ids",
        ),
        (["sessions", "splice", ID[0], "--as", "zip"], 2, "possible values"),
    ] {
        let output = fixture.run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(texts(&output).1.contains(text), "{}", texts(&output).1);
    }
}

fn wrong_arguments_are_wrong_usage() {
    let fixture = Fixture::new("usage");
    for arguments in [
        &["--from", "yesterday"],
        &["--from=2025-03-02", "--to=2025-03-01"],
        &["--limit", "-1"],
        &["--limit", "99999999999999999999999"],
        &["--tz", "Asia/Shanghai"],
        &["--status", "late"],
        &["--json", "--csv"],
    ] {
        let output = fixture.run(&[&["sessions", "list"], arguments as &[&str]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", texts(&output).1);
    }
}

fn index_that_is_not_there_is_a_wrong_configuration() {
    let fixture = Fixture::new("missing");
    std::fs::remove_file(fixture.index()).unwrap();
    let output = fixture.run(&["sessions", "list"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(texts(&output).1.contains("there is no index at"), "{}", texts(&output).1);
}

fn backup_copies_and_does_not_overwrite() {
    let fixture = Fixture::new("backup");
    let copy = fixture.directory.join("copy.db");
    let copy_text = copy.to_str().unwrap();
    fixture.ok(&["index", "backup", copy_text]);
    assert_eq!(fixture.run(&["index", "backup", copy_text]).status.code(), Some(2));
    std::fs::rename(&copy, fixture.index()).unwrap();
    assert_eq!(fixture.ids(&[]).len(), 3);
}

fn prune_asks_before_it_removes() {
    let fixture = Fixture::new("prune");
    assert_eq!(fixture.run(&["index", "prune", "--yes"]).status.code(), Some(2), "no retention");
    assert_eq!(fixture.run(&["index", "prune", "--retention", "1h"]).status.code(), Some(2), "no consent");
    let (stdout, _) = fixture.ok(&["index", "prune", "--retention", "1h", "--dry-run"]);
    assert!(stdout.starts_with("would remove 4 sessions"), "{stdout}");
    assert_eq!(fixture.ids(&[]).len(), 3);
    let (stdout, _) = fixture.ok(&["index", "prune", "--retention", "36500d", "--yes"]);
    assert!(stdout.starts_with("removed 0 sessions"), "{stdout}");
    let (stdout, _) = fixture.ok(&["index", "prune", "--retention", "1h", "--yes"]);
    assert!(stdout.starts_with("removed 4 sessions"), "{stdout}");
    assert!(fixture.ids(&[]).is_empty());
}

crate::tests! {
    list_selects_by_stream_time_and_status,
    list_says_that_there_are_more,
    list_gives_summaries_and_segments_on_demand,
    csv_has_a_header_and_quotes,
    unknown_ids_and_files_are_a_no,
    ids_are_found_as_people_paste_them,
    recording_names_its_session,
    splice_is_of_one_rendition_and_says_which_there_are,
    wrong_arguments_are_wrong_usage,
    index_that_is_not_there_is_a_wrong_configuration,
    backup_copies_and_does_not_overwrite,
    prune_asks_before_it_removes,
}
