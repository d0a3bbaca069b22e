//! Notes of a plan.

use super::*;

#[test]
fn notes_name_the_limits_of_the_tools() {
    for (files, expected) in [(100, 0), (101, 1), (500, 1), (501, 2)] {
        let session = session((0..files).map(|n| file(&format!("{n}"), n * 10, n * 10 + 10)).collect());
        assert_eq!(notes(&Plan::new(&session, 0).unwrap()).len(), expected, "{files} files");
    }
}

/// Returns whether a note of the plan has these words.
fn is_noted(session: &SessionRecord, words: &str) -> bool {
    let plan = Plan::new(session, 0).unwrap();
    let is_of = |form: Form| notes_for(&form.narrow(&plan), form).iter().any(|note| note.contains(words));
    let all = notes(&plan).iter().any(|note| note.contains(words));
    assert_eq!([is_of(Form::Ffconcat), is_of(Form::M3u8)], [all; 2], "{words}");
    let is_of_encoding = words.contains("pushes") || words.contains("bitrates");
    assert_eq!(is_of(Form::EditRequest), all && !is_of_encoding, "{words}: a service encodes");
    all
}

#[test]
fn notes_say_that_the_show_is_longer_than_the_plan() {
    let mut session = session(vec![file("a", 0, 10)]);
    assert!(notes(&Plan::new(&session, 0).unwrap()).is_empty());
    session.close_cause = Some(CloseCause::Limit.into());
    assert!(is_noted(&session, "the session that continues 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 has the rest"));
    session.close_cause = Some(CloseCause::Watermark.into());
    session.continues = SessionId::parse("00000000-0000-5000-8000-000000000001");
    assert!(is_noted(&session, "it continues session 00000000-0000-5000-8000-000000000001, which a limit cut off"));
    session.status = Status::Open.into();
    assert!(is_noted(&session, "still open"));
}

#[test]
fn notes_say_that_files_may_not_fit() {
    const NOTE: &str = "several pushes";
    for (start, expected) in [(7, true), (8, false), (10, false), (12, false), (13, true)] {
        assert_eq!(is_noted(&session(vec![file("a", 0, 10), file("b", start, 20)]), NOTE), expected, "{start}");
    }
    let mut session = session(vec![file("a", 0, 10), file("b", 10, 20)]);
    for (tasks, expected) in
        [([None, Some("1")], false), ([Some("1"), Some("1")], false), ([Some("1"), Some("2")], true)]
    {
        for (segment, task) in session.segments.iter_mut().zip(tasks) {
            segment.task_id = task.map(str::to_owned);
        }
        assert_eq!(is_noted(&session, NOTE), expected, "{tasks:?}");
    }
    for (size, expected) in [(1_250_000, false), (1_870_000, false), (1_880_000, true), (i64::MAX, false)] {
        session.segments[0].size_bytes = Some(1_250_000);
        session.segments[1].size_bytes = Some(size);
        assert_eq!(is_noted(&session, "bitrates range from 1000 to "), expected, "{size}");
    }
}

#[test]
fn notes_name_the_files_that_are_left_out_or_short() {
    let mut session = session((0..8).map(|n| file(&format!("c{n}"), n, 20 - n)).chain([file("e", 5, 5)]).collect());
    assert!(is_noted(
        &session,
        "left out, because other files hold the same time: files c1, c2, c3, c4, c5 and 2 more"
    ));
    assert!(is_noted(&session, "left out, because start and end are the same: file e"));
    session.segments[0].media_ms = Some(14_000);
    assert!(is_noted(
        &session,
        "less media than the interval is long, which may be lost packets or a start that is too early: file c0"
    ));
}
