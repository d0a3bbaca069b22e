//! A file as a set, and in order of arrival.

use super::support::{Files, evening, in_short, kcat, run, run_with, segment};

const DAY: i64 = 86_400;

fn lines(segments: &[(&str, &str, i64, i64)]) -> Vec<u8> {
    let lines = segments.iter().map(|(stream, file, start, end)| segment(stream, file, *start, *end) + "\n");
    lines.collect::<String>().into_bytes()
}

/// The evening without what depends on order: of two records with one file id the first stands.
fn without_conflict() -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let lines = evening().into_iter().enumerate();
    let lines = lines.map(|(offset, line)| (line.clone(), kcat(0, offset as i64, -1, &line)));
    let file = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value["file_id"].as_str().map(str::to_owned)
    };
    lines.filter(|(line, _)| file(line).is_none_or(|file| seen.insert(file))).map(|(_, line)| line).collect()
}

fn order_of_a_set_means_nothing() {
    let mut records = without_conflict();
    let expected = run_with(&[], records.join("\n").as_bytes()).succeeded();
    assert!(expected.sessions().len() > 5);
    records.reverse();
    let reversed = run_with(&[], records.join("\n").as_bytes()).succeeded();
    assert_eq!(reversed.stdout, expected.stdout);
    records.sort_by_key(|line| (line.len(), line.clone()));
    let sorted = run_with(&[], records.join("\n").as_bytes()).succeeded();
    assert_eq!(sorted.stdout, expected.stdout);
}

fn order_of_a_set_means_nothing_to_limits() {
    let files: Vec<String> = (0..9).map(|n| format!("f{n}")).collect();
    let segments: Vec<_> = (0..9).map(|n| ("a", files[n as usize].as_str(), n * 60, n * 60 + 60)).collect();
    let mut records: Vec<_> = segments
        .iter()
        .enumerate()
        .map(|(offset, (stream, file, start, end))| kcat(0, offset as i64, -1, &segment(stream, file, *start, *end)))
        .collect();
    let limit = ["--max-session-segments", "4"];
    let expected = run_with(&limit, records.join("\n").as_bytes()).succeeded();
    assert_eq!(
        expected.in_short(),
        [
            "closed limit a 18:00:00..18:04:00 f0,f1,f2,f3",
            "closed limit a 18:04:00..18:08:00 f4,f5,f6,f7",
            "open - a 18:08:00..18:09:00 f8",
        ]
    );
    let sessions = expected.sessions();
    assert_eq!(sessions[1]["continues"], sessions[0]["session_id"]);
    assert_eq!(sessions[2]["continues"], sessions[1]["session_id"]);
    records.reverse();
    assert_eq!(run_with(&limit, records.join("\n").as_bytes()).succeeded().stdout, expected.stdout);
    records.swap(2, 7);
    assert_eq!(run_with(&limit, records.join("\n").as_bytes()).succeeded().stdout, expected.stdout);
}

fn part_of_a_cut_session_is_printed_once_though_a_long_file_is_ahead_of_it() {
    let input = lines(&[
        ("a", "long", 0, 36_000),
        ("a", "1", 10, 60),
        ("a", "2", 70, 80),
        ("a", "3", 90, 99),
        ("a", "4", 99, 99),
    ]);
    let ended = run_with(&["--max-session-segments", "2"], &input).succeeded();
    assert_eq!(
        ended.in_short(),
        [
            "closed limit a 18:00:00..04:00:00 long,1",
            "closed limit a 18:01:10..18:01:39 2,3",
            "closed watermark a 18:01:39..18:01:39 4",
        ]
    );
    assert!(ended.sessions().iter().all(|session| session["revision"] == 1));
}

fn limit_cuts_where_the_worker_would_when_all_is_on_time() {
    let input = lines(&[("a", "1", 0, 60), ("a", "2", 60, 120), ("a", "3", 120, 180), ("a", "4", 180, 240)]);
    for limit in ["1", "2", "3", "4", "5"] {
        let arguments = ["--max-session-segments", limit, "--close-all"];
        let mut set = run_with(&arguments, &input).succeeded().in_short();
        let mut replay = run_with(&[&arguments[..], &["--arrival-order"]].concat(), &input).succeeded().in_short();
        set.sort();
        replay.sort();
        assert_eq!(set, replay, "{limit}");
    }
}

fn nothing_is_late_in_a_set_and_in_arrival_order_it_is_by_a_millisecond() {
    for (late_by, expected) in [(-1, 2), (0, 2), (1, 1)] {
        let end = DAY * 1_000 + late_by;
        let newest = format!(
            r#"{{"event_type":100,"stream_id":"b","file_id":"new","start_time":{0},"end_time":{0}}}"#,
            super::support::SIX * 1_000 + end
        );
        let input = format!("{newest}\n{}\n", segment("a", "old", -60, 0));
        assert_eq!(run_with(&[], input.as_bytes()).succeeded().sessions().len(), 2);
        let replay = run_with(&["--arrival-order"], input.as_bytes()).succeeded();
        assert_eq!(replay.sessions().len(), expected, "{late_by}");
        assert_eq!(replay.stderr.contains("1 late"), expected == 1, "{late_by}");
    }
}

fn first_of_two_records_with_one_file_id_stands() {
    let input = lines(&[("a", "f", 0, 60), ("a", "f", 0, 60), ("a", "f", 0, 61), ("b", "f", 0, 90)]);
    let ended = run_with(&["--strict"], &input);
    assert_eq!(ended.code, 65);
    assert_eq!(ended.in_short(), ["open - a 18:00:00..18:01:00 f", "open - b 18:00:00..18:01:30 f"]);
    assert!(ended.stderr.contains("read 4 = 2 accepted + 1 duplicates + 1 conflicts + 0 late"), "{}", ended.stderr);
}

fn session_is_closed_a_millisecond_after_the_watermark_allows_it_and_else_open() {
    let bound = 60 + 180 + 7_200 + 900;
    for (watermark, expected) in [(bound, "open -"), (bound + 1, "closed watermark")] {
        let input = lines(&[("a", "1", 0, 60), ("b", "2", watermark, watermark)]);
        for mode in [&[][..], &["--arrival-order"], &["--all-revisions"]] {
            let ended = run_with(mode, &input).succeeded();
            assert!(ended.in_short().iter().any(|session| session.starts_with(&format!("{expected} a"))), "{mode:?}");
        }
        let ended = run_with(&["--close-all"], &input).succeeded();
        let cause = if expected == "open -" { "closed end_of_input a" } else { "closed watermark a" };
        assert!(ended.in_short().iter().any(|session| session.starts_with(cause)), "{:?}", ended.in_short());
        assert!(ended.sessions().iter().all(|session| session["revision"] == 1));
    }
}

fn each_partition_has_a_watermark_of_its_own() {
    let input = [
        kcat(0, 5, -1, &segment("a", "1", 0, 60)),
        kcat(1, 9, -1, &segment("b", "2", DAY, DAY + 60)),
        kcat(0, 6, -1, &segment("a", "3", 60, 120)),
        kcat(1, 10, -1, &segment("a", "1", 0, 60)),
    ]
    .join("\n");
    let ended = run_with(&[], input.as_bytes()).succeeded();
    assert_eq!(
        ended.in_short(),
        ["open - a 18:00:00..18:02:00 1,3", "closed watermark a 18:00:00..18:01:00 1", "open - b 18:00:00..18:01:00 2",]
    );
    let source = &ended.sessions()[0]["source"];
    let expected = serde_json::json!(
        {"topic": "recording-notifications", "partition": 0, "first_offset": 5, "last_offset": 6});
    assert_eq!(*source, expected);
}

fn timestamp_of_a_record_is_looked_at() {
    let six = super::support::SIX * 1_000;
    for (ahead_ms, expected) in [(3_600_000, "0 rejected"), (3_600_001, "1 rejected")] {
        let input = kcat(0, 0, six + 60_000 - ahead_ms, &segment("a", "1", 0, 60));
        let ended = run_with(&[], input.as_bytes()).succeeded();
        assert!(ended.stderr.contains(expected), "{ahead_ms}: {}", ended.stderr);
    }
}

fn bridge_replaces_what_was_not_final_and_shows_with_all_revisions() {
    let far = 12_000;
    let input = lines(&[
        ("a", "1", 0, 60),
        ("a", "2", 400, 460),
        ("b", "x", far, far),
        ("a", "3", 60, 400),
        ("a", "4", 20, 30),
        ("b", "y", far + 4 * DAY, far + 4 * DAY),
    ]);
    let all = run_with(&["--all-revisions"], &input).succeeded().in_short();
    assert_eq!(
        all,
        [
            "closed watermark a 18:00:00..18:01:00 1",
            "closed watermark a 18:06:40..18:07:40 2",
            "closed watermark a 18:00:00..18:07:40 1,3,2",
            "withdrawn - a 18:06:40..18:07:40 ",
            "closed watermark a 18:00:00..18:07:40 1,4,3,2",
            "closed watermark b 21:20:00..21:20:00 x",
            "open - b 21:20:00..21:20:00 y",
        ]
    );
    let ended = run_with(&["--arrival-order"], &input).succeeded();
    assert_eq!(
        ended.in_short(),
        [
            "closed watermark a 18:00:00..18:07:40 1,4,3,2",
            "closed watermark b 21:20:00..21:20:00 x",
            "open - b 21:20:00..21:20:00 y",
        ]
    );
    assert_eq!(ended.sessions()[0]["revision"], 3);
}

fn session_that_has_grown_and_is_open_again_is_printed_once() {
    // Closed by a push that ended, then a push goes on within the gap and holds it.
    let push = |kind: u8, at: i64| {
        format!(
            r#"{{"event_type":{kind},"stream_id":"a","event_time":{},"sequence":"{at}"}}"#,
            super::support::SIX + at
        )
    };
    let started = push(1, 0);
    let ended_push = push(0, 0).replace(&format!("{}", super::support::SIX), &format!("{}", super::support::SIX + 60));
    let input = [
        started,
        segment("a", "1", 0, 60),
        ended_push,
        segment("b", "x", 2_000, 2_000),
        segment("a", "2", 200, 1_990),
        push(1, 1_995),
    ]
    .join("\n");
    let replay = run_with(&["--arrival-order"], input.as_bytes()).succeeded();
    assert_eq!(replay.in_short(), ["open - a 18:00:00..18:33:10 1,2", "open - b 18:33:20..18:33:20 x"]);
    assert_eq!(replay.sessions()[0]["revision"], 1, "as last published");
}

fn final_sessions_of_a_replay_are_those_of_the_set_when_nothing_is_late() {
    let mut input = Vec::new();
    let mut random = 7_u64;
    for n in 0..3_000_i64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stream = (random >> 33) % 7;
        let start = n * 500 - ((random >> 40) % 20_000) as i64;
        let length = ((random >> 20) % 3_000) as i64;
        input.push(segment(&format!("s{stream}"), &format!("f{n}"), start, start + length));
    }
    let input = input.join("\n");
    let of = |arguments: &[&str]| {
        let ended = run_with(arguments, input.as_bytes()).succeeded();
        let mut sessions: Vec<_> = ended.sessions().iter().map(in_short).collect();
        sessions.sort();
        assert!(sessions.len() > 500, "{}", sessions.len());
        sessions
    };
    assert_eq!(of(&["--close-all"]), of(&["--close-all", "--arrival-order"]));
    assert_eq!(of(&[]), of(&["--arrival-order"]));
}

fn dead_letters_are_read_again_as_they_were() {
    let files = Files::new("dead-letters-again");
    let (first, second) = (files.path("first"), files.path("second"));
    let refused = "not json\n\n{\"event_type\":100}\n{\"event_type\":100,\"stream_id\":\"\\u00e9\"}\n[]\n";
    let summary = |ended: &str| ended.lines().nth(1).unwrap().to_owned();
    let ended = run_with(&["--dead-letters", &first], refused.as_bytes()).succeeded();
    let again = run(&[&first, "--dead-letters", &second]).succeeded();
    let at = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(at(&ended.stderr, "refused"), "refused: 1 not_json, 1 not_an_object, 1 no_stream, 1 no_file");
    assert_eq!(at(&again.stderr, "refused"), at(&ended.stderr, "refused"), "{}", summary(&again.stderr));
    let payloads = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.map(|value| value["payload"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(payloads(&first), refused.split('\n').filter(|line| !line.is_empty()).collect::<Vec<_>>());
    assert_eq!(payloads(&second), payloads(&first));
    let line = std::fs::read_to_string(&second).unwrap();
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["topic"], "recording-notifications-dlq", "a dead letter stays one");
}

crate::tests! {
    order_of_a_set_means_nothing,
    order_of_a_set_means_nothing_to_limits,
    part_of_a_cut_session_is_printed_once_though_a_long_file_is_ahead_of_it,
    limit_cuts_where_the_worker_would_when_all_is_on_time,
    nothing_is_late_in_a_set_and_in_arrival_order_it_is_by_a_millisecond,
    first_of_two_records_with_one_file_id_stands,
    session_is_closed_a_millisecond_after_the_watermark_allows_it_and_else_open,
    each_partition_has_a_watermark_of_its_own,
    timestamp_of_a_record_is_looked_at,
    bridge_replaces_what_was_not_final_and_shows_with_all_revisions,
    session_that_has_grown_and_is_open_again_is_printed_once,
    final_sessions_of_a_replay_are_those_of_the_set_when_nothing_is_late,
    dead_letters_are_read_again_as_they_were,
}
