//! Invalid input: the messages, the exit code, and the output that is written all the same.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

use super::support::{EVENING, Ended, Files, command, ended, kcat, run, run_with, segment};

#[track_caller]
fn check(ended: &Ended, code: i32, stderr: &str) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(ended.stderr.contains(stderr), "{stderr:?} is not in {:?}", ended.stderr);
}

fn nothing_at_all_is_no_error() {
    let files = Files::new("empty");
    let ended = run(&[&files.add("empty", "")]);
    check(&ended, 0, "read 0 = 0 accepted");
    assert_eq!(ended.stdout, "");
    assert_eq!(run_with(&[], b"\n\r\n  \n").succeeded().stdout, "");
    assert_eq!(run(&[&files.add("empty2", ""), "--format", "table"]).succeeded().stdout, "");
}

fn files_that_cannot_be_opened_are_wrong_arguments() {
    let files = Files::new("unusable");
    let directory = files.path("");
    let missing = files.path("missing");
    for (file, problem) in [(&missing, "missing does not exist"), (&directory, "is a directory")] {
        let ended = run(&[EVENING, file]);
        check(&ended, 2, problem);
        assert_eq!(ended.stdout, "", "nothing has been read");
    }
    let unreadable = files.add("unreadable", "");
    fs::set_permissions(&unreadable, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    // A superuser may read everything.
    if File::open(&unreadable).is_err() {
        check(&run(&[EVENING, &unreadable]), 2, "cannot open");
    }
}

fn garbage_is_refused_record_by_record() {
    let garbage: Vec<u8> = (0..=255).cycle().take(100_000).chain(*b"\n{}\n").collect();
    check(&run_with(&[], &garbage), 0, " not_json, 1 no_event_type");
    check(&run_with(&["--strict"], &garbage), 65, "(--strict)");
}

fn truncated_file_is_bad_data_after_all_before_it_has_been_grouped() {
    let files = Files::new("truncated");
    let lines: String = (0..5_000_i64).map(|n| segment(&format!("s{n}"), "f", 0, n) + "\n").collect();
    let packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let kept = packed.len() - 10;
    let file = files.add("a.zst", &packed[..kept]);
    let ended = run(&[&file, EVENING, "--close-all"]);
    let problem = format!("{file}: zstd data ends too early: the file is truncated (byte {kept} of the file); nothing");
    check(&ended, 65, &problem);
    let sessions = ended.sessions();
    assert!(sessions.len() > 1_000, "{}", sessions.len());
    assert!(sessions.iter().all(|session| session["status"] == "open"), "what is missing might belong to any of them");
    assert!(ended.stderr.contains(&format!("read {} = {} accepted", sessions.len(), sessions.len())));
}

fn malformed_line_of_kcat_is_bad_data_at_its_line() {
    let good = kcat(0, 0, -1, &segment("a", "f", 0, 60));
    let cut = &good[..good.len() - 9];
    let input = format!("{good}\n{cut}\n{good}\n");
    let ended = run_with(&[], input.as_bytes());
    let problem =
        format!("stdin: line 2: not a line of kcat -J: EOF while parsing a value at byte {} of the line", cut.len());
    check(&ended, 65, &problem);
    assert_eq!(ended.sessions().len(), 1);
    assert!(ended.stderr.contains("nothing after line 1 was read"), "{}", ended.stderr);
}

fn payload_that_is_not_utf8_is_read_back_to_its_bytes() {
    let line = kcat(0, 0, -1, &segment("a", "@", 0, 60));
    let mut bytes = line.into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[at] = 0xff;
    let files = Files::new("not-utf8");
    let dead = files.path("dead");
    check(&run_with(&["--dead-letters", &dead], &bytes), 0, "refused: 1 not_json");
    let dead = fs::read(dead).unwrap();
    let payload = br#","payload":"{\"event_type\":100,\"stream_id\":\"a\",\"file_id\":\""#;
    let at = memchr::memmem::find(&dead, payload).unwrap() + payload.len();
    assert_eq!(dead[at], 0xff);
}

fn reader_that_has_gone_is_a_quiet_end() {
    let lines: String = (0..20_000_i64).map(|n| segment(&format!("s{n}"), "f", 0, n) + "\n").collect();
    let files = Files::new("pipe");
    let file = files.add("in", lines);
    let mut child =
        command(&[&file]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 100];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
}

fn dead_letters_do_not_write_over_a_file() {
    let files = Files::new("dead-letters-over");
    let input = files.path("input.ndjson");
    let before = fs::read(EVENING).unwrap();
    fs::write(&input, &before).unwrap();
    check(&run(&[&input, "--dead-letters", &input]), 2, "exists: name a file that does not, or remove it");
    assert_eq!(fs::read(&input).unwrap(), before);
}

fn harmful_characters_of_a_name_are_shown_to_people() {
    let stream = "a\u{202e}b\u{2028}";
    let notification = segment(stream, "f", 0, 60);
    for arguments in [&["--format", "table"][..], &["--explain", stream]] {
        let ended = run_with(&[arguments, &["--close-all"]].concat(), notification.as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains(r"a\u{202e}b\u{2028}"), "{arguments:?}: {}", ended.stdout);
        assert!(!ended.stdout.contains('\u{202e}'), "{arguments:?}: {}", ended.stdout);
    }
}

fn full_disk_is_told() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for format in ["ndjson", "table"] {
        let output = command(&[EVENING, "--format", format]).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        check(&ended(output), 74, "error: could not write to standard output");
    }
    check(&run(&[EVENING, "--dead-letters", "/dev/full"]), 74, "could not write dead letters to /dev/full");
}

fn wrong_arguments_are_usage() {
    for arguments in [
        &["--what-if", "notification_delay=1m"][..],
        &["--what-if", "gap=soon"],
        &["--from", "xml"],
        &["--explain", "x", "--arrival-order"],
        &["--explain", "x", "--what-if", "gap=1m"],
        &["--gap", "soon"],
        &["--notification-delay", "48h"],
        &["--brokers", "a"],
        &["--grace", "1m"],
        &["--amend-window", "48h"],
    ] {
        let ended = run(&[&[EVENING], arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stderr);
    }
    check(&run(&["-", "-"]), 2, "stdin (-) is named twice");
}

crate::tests! {
    nothing_at_all_is_no_error,
    files_that_cannot_be_opened_are_wrong_arguments,
    garbage_is_refused_record_by_record,
    truncated_file_is_bad_data_after_all_before_it_has_been_grouped,
    malformed_line_of_kcat_is_bad_data_at_its_line,
    payload_that_is_not_utf8_is_read_back_to_its_bytes,
    reader_that_has_gone_is_a_quiet_end,
    dead_letters_do_not_write_over_a_file,
    harmful_characters_of_a_name_are_shown_to_people,
    full_disk_is_told,
    wrong_arguments_are_usage,
}
