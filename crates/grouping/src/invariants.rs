//! The invariants of a partition's state, as named functions.
//!
//! [`check`] looks at the whole state, [`check_touched`] at the streams and sessions that the current transaction has
//! touched. Debug builds run `check_touched` at every commit, so the cost follows the transaction and not the state. The
//! simulation and the tests of the rules run `check`, through [`crate::Grouper::check_invariants`].
//!
//! A broken invariant is a defect of this crate. It panics with its name.

use alloc::vec::Vec;

use crate::store::Store;
use crate::timeline::{Session, SessionNo, StreamNo, Timeline};

/// Panics with the name of an invariant that does not hold.
///
/// `is_scheduled` returns whether a session comes up again by itself.
pub(crate) fn check(store: &Store, is_scheduled: impl Fn(SessionNo) -> bool) {
    for (number, _) in store.timelines() {
        check_stream(store, number);
    }
    for (number, session) in store.remembered() {
        check_session(store, number, session, &is_scheduled);
    }
    let listed = store.timelines().map(|(_, timeline)| timeline.sessions().count()).sum::<usize>();
    assert_eq!(listed, store.sessions(), "every_session_is_on_one_list");
    let members = store.remembered().map(|(_, session)| session.members().len()).sum::<usize>();
    assert_eq!(members, store.files(), "every_member_is_known_by_its_file");
}

/// Panics as [`check`] does, for what the current transaction has touched.
pub(crate) fn check_touched(store: &Store, is_scheduled: impl Fn(SessionNo) -> bool) {
    let touched = || store.touched_sessions().filter_map(|number| Some((number, store.find_session(number)?)));
    let mut streams: Vec<StreamNo> = store.touched_streams().collect();
    // A session that has only grown has left the lists of its stream alone, but may have grown into its neighbour.
    streams.extend(touched().map(|(_, session)| session.stream()));
    streams.sort_unstable();
    streams.dedup();
    for number in streams {
        check_stream(store, number);
    }
    for (number, session) in touched() {
        check_session(store, number, session, &is_scheduled);
    }
}

fn check_stream(store: &Store, number: StreamNo) {
    let timeline = store.timeline(number);
    let key = timeline.key();
    assert!(listed_sessions_are_those_of_the_stream(store, number), "listed_sessions_are_those_of_the_stream: {key}");
    assert!(live_sessions_are_apart(store, timeline), "live_sessions_are_apart: {key}");
}

fn check_session(store: &Store, number: SessionNo, session: &Session, is_scheduled: impl Fn(SessionNo) -> bool) {
    let timeline = store.timeline(session.stream());
    assert!(every_session_is_on_one_list(timeline, number), "every_session_is_on_one_list: {session:?}");
    assert!(bounds_are_those_of_the_members(session), "bounds_are_those_of_the_members: {session:?}");
    assert!(bytes_are_those_of_the_members(session), "bytes_are_those_of_the_members: {session:?}");
    assert!(first_member_is_the_seed(session), "first_member_is_the_seed: {session:?}");
    assert!(every_member_is_known_by_its_file(store, session), "every_member_is_known_by_its_file: {session:?}");
    assert!(is_scheduled(number), "every_session_is_scheduled: {session:?}");
}

/// No two live sessions of a stream are within its gap of each other (rule: merge).
fn live_sessions_are_apart(store: &Store, timeline: &Timeline) -> bool {
    timeline.live().windows(2).all(|pair| {
        let [first, second] = [pair[0], pair[1]].map(|number| store.session(number));
        first.end() + timeline.gap() < second.start()
    })
}

/// Sessions on the lists of a stream are remembered, and belong to it.
fn listed_sessions_are_those_of_the_stream(store: &Store, stream: StreamNo) -> bool {
    let mut listed = store.timeline(stream).sessions();
    listed.all(|number| store.find_session(number).is_some_and(|session| session.stream() == stream))
}

/// A session is either live or frozen.
fn every_session_is_on_one_list(timeline: &Timeline, number: SessionNo) -> bool {
    timeline.sessions().filter(|listed| *listed == number).count() == 1
}

/// A session reaches from the first start of its members to their last end.
fn bounds_are_those_of_the_members(session: &Session) -> bool {
    let start = session.members().iter().map(|member| member.start()).min();
    let end = session.members().iter().map(|member| member.end()).max();
    (start, end) == (Some(session.start()), Some(session.end()))
}

/// A session counts the text of its members (rule: limits).
fn bytes_are_those_of_the_members(session: &Session) -> bool {
    session.bytes() == session.members().iter().map(|member| member.text_bytes()).sum::<u64>()
}

/// The seed, which names the session, is the member that was accepted first (rule: identity).
fn first_member_is_the_seed(session: &Session) -> bool {
    session.members().iter().all(|member| member.offset() >= session.seed().offset())
}

/// A file of a session is found when it comes again (rule: duplicate).
fn every_member_is_known_by_its_file(store: &Store, session: &Session) -> bool {
    session.members().iter().all(|member| store.is_remembered(session.stream(), member))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;
    use alloc::vec;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::segment::Segment;
    use crate::time::{Millis, Timestamp};
    use crate::{Anomalies, NewSegment, Policy, Settings};

    fn segment(offset: i64, start: i64, end: i64) -> Arc<Segment> {
        let ms = |ms| Timestamp::from_ms(ms).unwrap();
        let new = NewSegment {
            file_id: &alloc::format!("f-{offset}"),
            start: ms(start),
            end: ms(end),
            url: None,
            format: None,
            task_id: None,
            template_id: None,
            bitrate_kbps: None,
            media_ms: None,
            size_bytes: None,
            anomalies: Anomalies::NONE,
        };
        Arc::new(Segment::new(offset, &new))
    }

    fn remember(store: &mut Store, segment: &Arc<Segment>) {
        let hash = store.file_hash(0, segment.file_id());
        store.remember_file(0, hash, segment);
    }

    /// Adds a session of the segments to the first stream, as the last one of its live ones.
    fn add(store: &mut Store, segments: &[Arc<Segment>]) -> SessionNo {
        let mut session = Session::new(0, Arc::clone(&segments[0]));
        segments[1..].iter().for_each(|segment| session.add(Arc::clone(segment)));
        segments.iter().for_each(|segment| remember(store, segment));
        let number = store.add_session(session);
        let timeline = store.timeline_mut(0);
        timeline.insert_live(timeline.live().len(), number);
        number
    }

    /// Puts other members into a session, whatever it knows of them.
    fn exchange_members(store: &mut Store, number: SessionNo, members: Vec<Arc<Segment>>) {
        let session = store.take_session(number).with_members(members);
        store.timeline_mut(0).remove(number);
        let number = store.add_session(session);
        store.timeline_mut(0).insert_live(0, number);
    }

    /// The name with which a check panics, or none.
    fn broken(check: impl FnOnce()) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
        let text = panic.downcast_ref::<String>().expect("panics with a text");
        // `assert_eq!` puts its own words before ours.
        let text = text.strip_prefix("assertion `left == right` failed: ").unwrap_or(text);
        Some(text.split([':', '\n']).next().unwrap().into())
    }

    /// The name of an invariant, and what breaks it.
    type Break<'a> = (&'a str, &'a dyn Fn(&mut Store));

    /// A negative control: every invariant is noticed when it is broken, in the whole and in what was touched.
    #[test]
    fn every_invariant_is_noticed_when_it_is_broken() {
        const FIRST: SessionNo = 0;
        let [a, b] = [segment(1, 0, 10), segment(2, 5, 20)];
        let breaks: [Break<'_>; 8] = [
            ("live_sessions_are_apart", &|store| {
                add(store, &[segment(3, 25, 30)]);
            }),
            ("listed_sessions_are_those_of_the_stream", &|store| {
                let number = store.timeline(0).live()[0];
                store.add_stream("//other", Millis::ZERO);
                store.timeline_mut(1).insert_live(0, number);
            }),
            ("every_session_is_on_one_list", &|store| store.timeline_mut(0).remove(FIRST)),
            ("every_session_is_on_one_list", &|store| store.timeline_mut(0).add_frozen(FIRST)),
            ("bounds_are_those_of_the_members", &|store| exchange_members(store, FIRST, vec![Arc::clone(&a)])),
            ("bytes_are_those_of_the_members", &|store| {
                let long = segment(10_000, 0, 20);
                remember(store, &long);
                exchange_members(store, FIRST, vec![long]);
            }),
            ("first_member_is_the_seed", &|store| {
                exchange_members(store, FIRST, vec![Arc::clone(&b), Arc::clone(&a)]);
            }),
            ("every_member_is_known_by_its_file", &|store| store.forget_file(0, &a)),
        ];
        for (name, break_it) in breaks {
            let mut store = Store::default();
            store.begin();
            store.add_stream("//cam", Millis::from_ms(10).unwrap());
            add(&mut store, &[Arc::clone(&a), Arc::clone(&b)]);
            check(&store, |_| true);
            check_touched(&store, |_| true);
            store.commit();
            store.begin();
            break_it(&mut store);
            assert_eq!(broken(|| check(&store, |_| true)).as_deref(), Some(name));
            // What was broken in a session that the transaction has not touched shows in its stream, or not at all.
            let (left, _) = store.remembered().next().unwrap();
            store.past_mut(left);
            assert_eq!(broken(|| check_touched(&store, |_| true)).as_deref(), Some(name), "touched");
        }
    }

    #[test]
    fn session_that_does_not_come_up_again_is_noticed() {
        let mut store = Store::default();
        store.begin();
        store.add_stream("//cam", Millis::ZERO);
        add(&mut store, &[segment(1, 0, 10)]);
        assert_eq!(broken(|| check(&store, |_| false)).as_deref(), Some("every_session_is_scheduled"));
        assert_eq!(broken(|| check_touched(&store, |_| false)).as_deref(), Some("every_session_is_scheduled"));
    }

    #[test]
    fn segment_that_is_in_no_session_is_noticed() {
        let mut store = Store::default();
        store.add_stream("//cam", Millis::ZERO);
        remember(&mut store, &segment(1, 0, 10));
        assert_eq!(broken(|| check(&store, |_| true)).as_deref(), Some("every_member_is_known_by_its_file"));
    }

    // rule: forget
    #[test]
    fn forgotten_is_out_of_reach() {
        let span = |ms| Millis::from_ms(ms).unwrap();
        let settings = Settings {
            gap: span(3),
            recording_interval: span(5),
            max_segment: span(10),
            notification_delay: span(4),
            allowed_lateness: span(20),
            max_hold: span(30),
            ..Settings::default()
        };
        let policy = Policy::new(settings).unwrap();
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        let (session_end, gap) = (at(1_000), span(3));
        let bound = policy.forget_bound(session_end, gap);
        for (watermark, can_be_accepted) in [(bound, true), (bound + span(1), false)] {
            let touching = (980..=1_003).flat_map(|start| (0..=10).map(move |length| start + length));
            let is_any_accepted = touching.map(at).any(|end| !policy.is_late(end, watermark));
            assert_eq!(is_any_accepted, can_be_accepted, "watermark {watermark}");
        }
    }
}
