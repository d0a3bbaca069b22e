//! Logs of which retention has removed the beginning: what it may have touched is not judged, the rest is.

use super::topics::{self, A, ROOM_2, Seg, Topics, X, Z, faultless};
use crate::report::Kind;

const ROOM_3: &str = "//room-3";
/// Hours after everything else.
const YOUNG: Seg = Seg("young", 11, 20_000, 20_100);
const CLOCK: i64 = 22_000;

/// The faultless topics, a younger session, and nothing of the input before the bridge, of the output before that.
fn trimmed() -> Topics {
    let mut topics = faultless();
    let clock = topics::clock(CLOCK);
    topics.input.push(topics::record(11, "", &topics::notification("room-3", YOUNG)));
    topics.input.push(topics::record(12, "", &clock));
    topics.ends.input = [(0, 13)].into();
    topics.ends.committed = [(0, 13)].into();
    let session = topics::session(ROOM_3, YOUNG, 1, &[YOUNG], CLOCK);
    topics.output.push(topics::record(5, ROOM_3, &session));
    let head = topics::head(&session);
    let id = topics::id(ROOM_3, YOUNG);
    let written = [
        ("b/11".to_owned(), topics::batch(&[(ROOM_3, YOUNG)])),
        (format!("p/{id}"), head),
        ("m".to_owned(), topics::marker(13, CLOCK)),
    ];
    topics.changelog.extend((8..).zip(&written).map(|(offset, (key, value))| topics::record(offset, key, value)));

    topics.input.drain(..8);
    topics.output.drain(..3);
    topics.trimmed.input = [(0, 8)].into();
    topics.trimmed.output = [0].into();
    topics
}

#[test]
fn what_is_left_of_faultless_topics_is_clean() {
    let report = trimmed().report();
    assert!(report.is_clean(), "{report}");
    let text = report.to_string();
    assert!(text.contains("1 sessions that a batch job finds"), "{text}");
    assert!(text.contains("1 not judged, since what was removed may have touched them"), "{text}");
}

#[test]
fn it_is_only_because_of_what_was_removed_that_it_is_clean() {
    let mut topics = trimmed();
    topics.trimmed = Default::default();
    let kinds = topics.report().kinds();
    for kind in [Kind::RefusedNothing, Kind::RevisionMissing, Kind::Withdrawal, Kind::WrongSegment, Kind::StateUnknown]
    {
        assert!(kinds.contains(&kind), "{kind:?} is not among {kinds:?}");
    }
}

#[test]
fn younger_sessions_are_judged() {
    let mut topics = trimmed();
    topics.output.pop();
    assert_eq!(topics.report().kinds(), [Kind::NotPublished], "{}", topics.report());

    let mut topics = trimmed();
    topics.delete_state("b/11");
    assert_eq!(topics.report().kinds(), [Kind::StateLost], "{}", topics.report());
}

#[test]
fn a_duplicate_or_conflict_of_what_was_removed_is_none_of_our_business() {
    let mut topics = trimmed();
    // The hint and the late record in the middle: now a duplicate and a conflict of the first stream.
    topics.input[1] = topics::record(9, "", &topics::notification("room-1", A));
    let conflict = topics::record(10, "", &topics::notification("room-1", Seg("a", 10, 0, 101)));
    topics.letters[1] = topics::letter(1, &conflict, "conflict");
    topics.input[2] = conflict;
    let report = topics.report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn revisions_that_are_left_still_have_no_holes() {
    let mut topics = trimmed();
    let session = topics::session(ROOM_2, X, 4, &[X, Z, topics::Y], CLOCK);
    topics.output.push(topics::record(6, ROOM_2, &session));
    topics.change_state(&format!("p/{}", topics::id(ROOM_2, X)), |head| *head = topics::head(&session));
    assert_eq!(topics.report().kinds(), [Kind::RevisionMissing], "{}", topics.report());
}
