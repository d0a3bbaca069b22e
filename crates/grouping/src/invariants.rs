//! What is always true of a partition's state, as named functions.
//!
//! Tests call [`check`] after every step; debug builds call it when a transaction commits. A broken one is a defect of
//! ours, so it panics with its name.

use crate::policy::Policy;
use crate::store::Store;
use crate::time::Timestamp;
use crate::timeline::{Session, SessionNo, Timeline};

/// Panics with the name of the invariant that does not hold.
pub(crate) fn check(store: &Store, is_scheduled: impl Fn(SessionNo) -> bool) {
    let mut members = 0;
    let mut listed = 0;
    for (_, timeline) in store.timelines() {
        assert!(live_sessions_are_apart(store, timeline), "live_sessions_are_apart: {}", timeline.key());
        listed += timeline.sessions().count();
    }
    for (number, session) in store.remembered() {
        let timeline = store.timeline(session.stream());
        let is_listed = timeline.live().contains(&number) != timeline.frozen().contains(&number);
        assert!(is_listed, "every_session_is_on_one_list: {}", timeline.key());
        assert!(bounds_are_those_of_the_members(session), "bounds_are_those_of_the_members: {session:?}");
        assert!(first_member_is_the_seed(session), "first_member_is_the_seed: {session:?}");
        assert!(is_scheduled(number), "every_session_is_queued_for_something: {session:?}");
        members += session.members().len();
    }
    assert_eq!(listed, store.sessions(), "every_session_is_on_one_list");
    assert_eq!(members, store.files(), "every_member_is_known_by_its_file");
}

/// No two live sessions of a stream are within its gap of each other (rule: merge).
fn live_sessions_are_apart(store: &Store, timeline: &Timeline) -> bool {
    timeline.live().windows(2).all(|pair| {
        let [first, second] = [pair[0], pair[1]].map(|number| store.session(number));
        first.end() + timeline.gap() < second.start()
    })
}

/// A session reaches from the first start of its members to their last end.
fn bounds_are_those_of_the_members(session: &Session) -> bool {
    let start = session.members().iter().map(|member| member.start()).min();
    let end = session.members().iter().map(|member| member.end()).max();
    (start, end) == (Some(session.start()), Some(session.end()))
}

/// The seed, which names the session, is the member that was accepted first (rule: identity).
fn first_member_is_the_seed(session: &Session) -> bool {
    session.members().iter().all(|member| member.offset() >= session.seed().offset())
}

/// Where a session that ends at `end` can be forgotten, whatever touches it is late (rule: forget).
///
/// Not a check of state but of a policy: `start` and `end` are those of any valid segment.
pub fn forgotten_is_out_of_reach(
    policy: &Policy,
    (session_end, gap): (Timestamp, crate::time::Millis),
    (start, end): (Timestamp, Timestamp),
    watermark: Timestamp,
) -> bool {
    let is_forgotten = watermark > policy.forget_bound(session_end, gap);
    let touches = start <= session_end + gap;
    let is_valid = start <= end && end.since(start) <= policy.settings().max_segment;
    !(is_forgotten && touches && is_valid) || policy.is_late(end, watermark)
}
